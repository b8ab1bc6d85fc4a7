//! What the library adds to a kernel, in instructions: fifteen entry points, on a kernel all of whose own code is elsewhere.
//!
//! Compiled for bare MIPS by `cargo xtask embed`, which counts the instructions and looks for some that must not be there. Never run.
#![cfg_attr(target_os = "none", no_std)]

use congruent::{
    At, CacheOps, Config, Congruent, CpuContext, CpuSlots, Error, Frame, FrameWord, Platform, Remaining, Revoke, Rights,
    TransferId, VirtAddr, WindowMapper, WouldBlock, Wrote,
};

/// What is not the library's: the kernel and its hardware.
mod kernel {
    unsafe extern "C" {
        pub safe fn maintain(what: u32, start: usize, len: u32);
        pub safe fn enter() -> u32;
        pub safe fn leave();
        pub safe fn begin_busy();
        pub safe fn end_busy();
        pub safe fn word(frame: usize) -> Option<&'static congruent::FrameWord>;
        pub safe fn slots(cpu: u32) -> &'static congruent::CpuSlots;
        pub safe fn map(slot: usize, frame: usize);
        pub safe fn unmap(slot: usize);
        pub safe fn linear(frame: usize) -> usize;
        pub safe fn transfer(what: u32, from: usize, to: usize, len: usize);
        pub safe fn revoke(frame: usize, but: u32) -> u32;
        pub safe fn install();
    }
}

/// A kernel for a MIPS of 32 bits.
#[derive(Debug)]
pub struct Mips;

// SAFETY: never run.
unsafe impl CacheOps for Mips {
    unsafe fn write_back(&self, start: VirtAddr, len: u32) {
        kernel::maintain(0, start.0 as usize, len);
    }
    unsafe fn invalidate(&self, start: VirtAddr, len: u32) {
        kernel::maintain(1, start.0 as usize, len);
    }
    unsafe fn write_back_invalidate(&self, start: VirtAddr, len: u32) {
        kernel::maintain(2, start.0 as usize, len);
    }
    unsafe fn empty(&self) {
        kernel::maintain(3, 0, 0);
    }
    unsafe fn drop_instructions(&self, start: VirtAddr, len: u32) {
        kernel::maintain(4, start.0 as usize, len);
    }
}

// SAFETY: never run.
unsafe impl WindowMapper for Mips {
    #[inline]
    fn enter(&self) -> CpuContext {
        let context = kernel::enter();
        CpuContext::new(context >> 8, context as u8)
    }
    fn leave(&self) {
        kernel::leave();
    }
    fn begin_busy(&self) {
        kernel::begin_busy();
    }
    fn end_busy(&self) {
        kernel::end_busy();
    }
    fn word(&self, frame: Frame) -> Option<&FrameWord> {
        kernel::word(frame.0 as usize)
    }
    fn slots(&self, cpu: u32) -> &CpuSlots {
        kernel::slots(cpu)
    }
    unsafe fn map(&self, slot: VirtAddr, frame: Frame) {
        kernel::map(slot.0 as usize, frame.0 as usize);
    }
    unsafe fn unmap(&self, slot: VirtAddr) {
        kernel::unmap(slot.0 as usize);
    }
    #[inline]
    fn linear(&self, frame: Frame) -> Option<VirtAddr> {
        match kernel::linear(frame.0 as usize) {
            0 => None,
            address => Some(VirtAddr(address as u64)),
        }
    }
    unsafe fn load(&self, from: VirtAddr, to: &mut [u8]) {
        kernel::transfer(0, from.0 as usize, to.as_mut_ptr() as usize, to.len());
    }
    unsafe fn store(&self, to: VirtAddr, from: &[u8]) {
        kernel::transfer(1, from.as_ptr() as usize, to.0 as usize, from.len());
    }
    unsafe fn copy(&self, from: VirtAddr, to: VirtAddr, len: u32) {
        kernel::transfer(2, from.0 as usize, to.0 as usize, len as usize);
    }
    unsafe fn zero(&self, to: VirtAddr, len: u32) {
        kernel::transfer(3, 0, to.0 as usize, len as usize);
    }
}

impl Platform for Mips {
    #[cfg(feature = "uniprocessor")]
    const UNIPROCESSOR: bool = true;

    fn revoke(&self, frame: Frame, what: Revoke<Self>) -> Result<Remaining, WouldBlock> {
        let but = match what {
            Revoke::Writes => u32::MAX,
            Revoke::AllBut(colour) => colour.index() as u32,
        };
        match kernel::revoke(frame.0 as usize, but) {
            0 => Ok(Remaining::None),
            1 => Ok(Remaining::Some),
            _ => Err(WouldBlock),
        }
    }
}

type Kernel = Congruent<Mips>;

/// Boot.
#[unsafe(no_mangle)]
fn text_boot(config: &Config) -> Option<Kernel> {
    Congruent::new(Mips, *config).ok()
}

/// A fault.
#[unsafe(no_mangle)]
fn text_map(kernel: &Kernel, frame: Frame, address: VirtAddr, rights: Rights) -> Result<(), Error> {
    kernel.map_user(frame, address, rights, || kernel::install())
}

/// A mapping that has gone.
#[unsafe(no_mangle)]
fn text_unmapped(kernel: &Kernel, frame: Frame) -> Result<(), Error> {
    kernel.unmapped(frame)
}

/// Fork, writeback.
#[unsafe(no_mangle)]
fn text_write_protected(kernel: &Kernel, frame: Frame) -> Result<(), Error> {
    kernel.write_protected(frame)
}

/// A free frame.
#[unsafe(no_mangle)]
fn text_freed(kernel: &Kernel, frame: Frame) -> Result<(), Error> {
    kernel.freed(frame)
}

/// A page of zeros.
#[unsafe(no_mangle)]
fn text_clear(kernel: &Kernel, frame: Frame, address: VirtAddr) -> Result<(), Error> {
    kernel.clear(frame, At::Colour(kernel.colour(address)))
}

/// Copy-on-write.
#[unsafe(no_mangle)]
fn text_copy(kernel: &Kernel, from: Frame, to: Frame, address: VirtAddr) -> Result<(), Error> {
    kernel.copy(from, to, At::Colour(kernel.colour(address)))
}

/// `read(2)`.
#[unsafe(no_mangle)]
fn text_read(kernel: &Kernel, frame: Frame, offset: u32, to: &mut [u8]) -> Result<(), Error> {
    kernel.read(frame, offset, to)
}

/// `write(2)`.
#[unsafe(no_mangle)]
fn text_write(kernel: &Kernel, frame: Frame, offset: u32, from: &[u8]) -> Result<(), Error> {
    kernel.write(frame, offset, from)
}

/// A breakpoint.
#[unsafe(no_mangle)]
fn text_poke(kernel: &Kernel, frame: Frame, offset: u32, from: &[u8]) -> Result<(), Error> {
    kernel.poke(frame, offset, from)
}

/// Towards a device.
#[unsafe(no_mangle)]
fn text_device_reads(kernel: &Kernel, frame: Frame, offset: u32, len: u32) -> Result<(), Error> {
    kernel.device_reads(frame, offset, len)
}

/// From a device.
#[unsafe(no_mangle)]
fn text_device_writes(kernel: &Kernel, frame: Frame, offset: u32, len: u32) -> Result<TransferId, Error> {
    Ok(kernel.device_writes(frame, offset, len)?.leak())
}

/// The end of it.
#[unsafe(no_mangle)]
fn text_complete(kernel: &Kernel, transfer: TransferId) -> Result<(), Error> {
    kernel.resume_transfer(transfer).complete().map_err(|(_, error)| error)
}

/// A user's page, worked on by a driver.
#[unsafe(no_mangle)]
fn text_pin(kernel: &Kernel, frame: Frame) -> Result<(), Error> {
    kernel.pin(frame, At::Linear, |page| {
        kernel::install();
        page.finish(Wrote::Data, ())
    })
}

/// `cacheflush(2)`.
#[unsafe(no_mangle)]
fn text_sync_instructions(kernel: &Kernel, frame: Frame) -> Result<(), Error> {
    kernel.sync_instructions(frame)
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
