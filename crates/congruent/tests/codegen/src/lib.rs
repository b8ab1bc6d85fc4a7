//! Each function twice under one name: through the library, on a machine whose one colour is known at compile time, and (feature
//! `plain`) as a kernel without the library would write it, with the same copies that tolerate races.
//!
//! Checks that have nothing to do with caches are kept in the plain versions (a page is not copied to itself) or made at compile time in
//! both (bounds: where they are not known, each optimiser has its own way to put the same comparison). Compared by
//! `crates/congruent/tests/codegen.rs`; nothing here is ever run.
#![no_std]

use congruent::Frame;

const PAGE: u32 = 4096;

/// The permanent mapping of all memory.
const fn linear(frame: Frame) -> u64 {
    0x8000_0000 + frame.0 * PAGE as u64
}

#[cfg(not(feature = "plain"))]
mod through_the_library {
    use congruent::{
        At, CacheGeometry, CacheOps, Config, Congruent, CpuContext, CpuSlots, Frame, FrameWord, Platform, ReadOnly, Remaining,
        Revoke, Rights, VirtAddr, WindowArea, WindowMapper, WouldBlock,
    };

    use super::{PAGE, linear};

    /// A machine whose ways are pages; or, as an opposite, one that is not known to be.
    struct Machine<const ALIASES: bool>;

    // SAFETY: never run.
    unsafe impl<const ALIASES: bool> CacheOps for Machine<ALIASES> {
        unsafe fn write_back(&self, _: VirtAddr, _: u32) {}
        unsafe fn invalidate(&self, _: VirtAddr, _: u32) {}
        unsafe fn write_back_invalidate(&self, _: VirtAddr, _: u32) {}
        unsafe fn empty(&self) {}
        unsafe fn drop_instructions(&self, _: VirtAddr, _: u32) {}
    }

    /// One for all frames: they are plain bytes, every one.
    static WORD: FrameWord = FrameWord::new();
    static SLOTS: CpuSlots = CpuSlots::new();

    // SAFETY: never run.
    unsafe impl<const ALIASES: bool> WindowMapper for Machine<ALIASES> {
        fn enter(&self) -> CpuContext {
            CpuContext::new(0, 0)
        }
        fn leave(&self) {}
        fn begin_busy(&self) {}
        fn end_busy(&self) {}
        fn word(&self, _: Frame) -> Option<&FrameWord> {
            Some(&WORD)
        }
        fn slots(&self, _: u32) -> &CpuSlots {
            &SLOTS
        }
        unsafe fn map(&self, _: VirtAddr, _: Frame) {}
        unsafe fn unmap(&self, _: VirtAddr) {}
        fn linear(&self, frame: Frame) -> Option<VirtAddr> {
            Some(VirtAddr(linear(frame)))
        }
    }

    impl<const ALIASES: bool> Platform for Machine<ALIASES> {
        const ALIASES: bool = ALIASES;
        const COHERENT_DEVICES: bool = true;
        fn revoke(&self, _: Frame, _: Revoke<Self>) -> Result<Remaining, WouldBlock> {
            Ok(Remaining::None)
        }
    }

    const CONFIG: Config = Config::new(
        match CacheGeometry::new(4 * PAGE, 4, 32) {
            Ok(geometry) => geometry,
            Err(_) => panic!("four ways of a page each"),
        },
        WindowArea::new(VirtAddr(0), 2, 2),
    );

    #[inline(always)]
    fn kernel() -> Congruent<Machine<false>> {
        match Congruent::new(Machine, CONFIG) {
            Ok(congruent) => congruent,
            Err(_) => unreachable!(),
        }
    }

    /// A page of zeros.
    #[unsafe(no_mangle)]
    pub fn clear(frame: Frame) -> bool {
        kernel().clear(frame, At::Home).is_ok()
    }

    /// A page of zeros for a user.
    #[unsafe(no_mangle)]
    pub fn clear_for_a_user(frame: Frame, address: VirtAddr) -> bool {
        let kernel = kernel();
        kernel.clear(frame, At::Colour(kernel.colour(address))).is_ok()
    }

    /// A copy of a page.
    #[unsafe(no_mangle)]
    pub fn copy(from: Frame, to: Frame) -> bool {
        kernel().copy(from, to, At::Home).is_ok()
    }

    /// A copy of a page for a user.
    #[unsafe(no_mangle)]
    pub fn copy_for_a_user(from: Frame, to: Frame, address: VirtAddr) -> bool {
        let kernel = kernel();
        kernel.copy(from, to, At::Colour(kernel.colour(address))).is_ok()
    }

    /// A part of a page.
    #[unsafe(no_mangle)]
    pub fn read(frame: Frame, to: &mut [u8; 512]) -> bool {
        kernel().read(frame, 1024, to).is_ok()
    }

    /// A part of a page.
    #[unsafe(no_mangle)]
    pub fn write(frame: Frame, from: &[u8; 512]) -> bool {
        kernel().write(frame, 1024, from).is_ok()
    }

    /// One byte through a window.
    #[unsafe(no_mangle)]
    pub fn first_byte(frame: Frame) -> u8 {
        let mut byte = [0];
        match kernel().window::<ReadOnly>(frame) {
            Ok(window) if window.read(0, &mut byte).is_ok() => byte[0],
            _ => 0,
        }
    }

    /// A page-table entry.
    #[unsafe(no_mangle)]
    pub fn map(frame: Frame, address: VirtAddr, entry: &mut u64) -> bool {
        kernel().map_user(frame, address, Rights::WRITE, || *entry = frame.0).is_ok()
    }

    /// The end of a mapping and of a frame.
    #[unsafe(no_mangle)]
    pub fn end(frame: Frame) -> bool {
        let kernel = kernel();
        kernel.write_protected(frame).is_ok() && kernel.unmapped(frame).is_ok() && kernel.freed(frame).is_ok()
    }

    /// A transfer to a device that sees the caches.
    #[unsafe(no_mangle)]
    pub fn to_device(frame: Frame) -> bool {
        kernel().device_reads(frame, 0, PAGE).is_ok()
    }

    /// The opposite: nothing is known at compile time, so this cannot be a plain copy.
    #[unsafe(no_mangle)]
    pub fn copy_where_it_may_alias(from: Frame, to: Frame) -> bool {
        match Congruent::new(Machine::<true>, CONFIG) {
            Ok(congruent) => congruent.copy(from, to, At::Home).is_ok(),
            Err(_) => unreachable!(),
        }
    }
}

#[cfg(feature = "plain")]
mod plain {
    use congruent::{Frame, VirtAddr, bytes};

    use super::{PAGE, linear};

    fn page(frame: Frame) -> VirtAddr {
        VirtAddr(linear(frame))
    }

    /// A page of zeros.
    #[unsafe(no_mangle)]
    pub fn clear(frame: Frame) -> bool {
        // SAFETY: never run.
        unsafe { bytes::zero(page(frame), PAGE) };
        true
    }

    /// A page of zeros for a user.
    #[unsafe(no_mangle)]
    pub fn clear_for_a_user(frame: Frame, _: VirtAddr) -> bool {
        clear(frame)
    }

    /// A copy of a page.
    #[unsafe(no_mangle)]
    pub fn copy(from: Frame, to: Frame) -> bool {
        if from == to {
            return false;
        }
        // SAFETY: never run.
        unsafe { bytes::copy(page(from), page(to), PAGE) };
        true
    }

    /// A copy of a page for a user.
    #[unsafe(no_mangle)]
    pub fn copy_for_a_user(from: Frame, to: Frame, _: VirtAddr) -> bool {
        copy(from, to)
    }

    /// A part of a page.
    #[unsafe(no_mangle)]
    pub fn read(frame: Frame, to: &mut [u8; 512]) -> bool {
        // SAFETY: never run.
        unsafe { bytes::load(page(frame).add(1024), to) };
        true
    }

    /// A part of a page.
    #[unsafe(no_mangle)]
    pub fn write(frame: Frame, from: &[u8; 512]) -> bool {
        // SAFETY: never run.
        unsafe { bytes::store(page(frame).add(1024), from) };
        true
    }

    /// One byte.
    #[unsafe(no_mangle)]
    pub fn first_byte(frame: Frame) -> u8 {
        let mut byte = [0];
        // SAFETY: never run.
        unsafe { bytes::load(page(frame), &mut byte) };
        byte[0]
    }

    /// A page-table entry.
    #[unsafe(no_mangle)]
    pub fn map(frame: Frame, _: VirtAddr, entry: &mut u64) -> bool {
        *entry = frame.0;
        true
    }

    /// The end of a mapping and of a frame.
    #[unsafe(no_mangle)]
    pub fn end(_: Frame) -> bool {
        true
    }

    /// A transfer to a device that sees the caches.
    #[unsafe(no_mangle)]
    pub fn to_device(_: Frame) -> bool {
        true
    }

    /// A copy of a page.
    #[unsafe(no_mangle)]
    pub fn copy_where_it_may_alias(from: Frame, to: Frame) -> bool {
        copy(from, to)
    }
}
