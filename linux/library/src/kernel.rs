//! What the library asks of Linux, answered by `linux/glue`.

use congruent::{
    CacheOps, CpuContext, CpuSlots, Frame, FrameWord, Platform, Remaining, Revoke, VirtAddr, WindowMapper, WouldBlock,
};

/// Windows of the library's own that threads of a CPU can have open: a copy has two.
pub const THREAD_SLOTS: u8 = 4;
/// And interrupts.
pub const INTERRUPT_SLOTS: u8 = 4;
/// Threads, softirqs, interrupts.
pub const LEVELS: u8 = 3;

mod glue {
    use super::{CpuSlots, FrameWord};

    unsafe extern "C" {
        pub safe fn congruent_write_back(start: usize, len: u32);
        pub safe fn congruent_invalidate(start: usize, len: u32);
        pub safe fn congruent_write_back_invalidate(start: usize, len: u32);
        pub safe fn congruent_empty();
        pub safe fn congruent_drop_instructions(start: usize, len: u32);
        pub safe fn congruent_enter() -> u32;
        pub safe fn congruent_leave();
        pub safe fn congruent_begin_busy();
        pub safe fn congruent_end_busy();
        pub safe fn congruent_word(frame: usize) -> Option<&'static FrameWord>;
        pub safe fn congruent_slots(cpu: u32) -> &'static CpuSlots;
        pub safe fn congruent_window_map(slot: usize, frame: usize);
        pub safe fn congruent_window_unmap(slot: usize);
        pub safe fn congruent_permanent(frame: usize) -> usize;
        pub safe fn congruent_revoke(frame: usize, but: u32) -> u32;
        #[cfg(target_os = "none")]
        pub safe fn congruent_bug(line: u32) -> !;
    }
}

/// Linux.
#[derive(Debug)]
pub struct Linux;

/// The library has found a mistake of the glue's, or its own.
#[cfg(target_os = "none")]
pub fn bug(line: u32) -> ! {
    glue::congruent_bug(line)
}

// SAFETY: `linux/glue/mips.c` issues the processor's hit operations for every line of the range, and `sync`.
unsafe impl CacheOps for Linux {
    unsafe fn write_back(&self, start: VirtAddr, len: u32) {
        glue::congruent_write_back(start.0 as usize, len);
    }
    unsafe fn invalidate(&self, start: VirtAddr, len: u32) {
        glue::congruent_invalidate(start.0 as usize, len);
    }
    unsafe fn write_back_invalidate(&self, start: VirtAddr, len: u32) {
        glue::congruent_write_back_invalidate(start.0 as usize, len);
    }
    unsafe fn empty(&self) {
        glue::congruent_empty();
    }
    unsafe fn drop_instructions(&self, start: VirtAddr, len: u32) {
        glue::congruent_drop_instructions(start.0 as usize, len);
    }
}

// SAFETY: windows are entries of the kernel's own page table, from which the TLB is filled again whatever it loses; the frame table has
// one entry for each frame.
unsafe impl WindowMapper for Linux {
    fn enter(&self) -> CpuContext {
        let context = glue::congruent_enter();
        CpuContext::new(context >> 8, context as u8)
    }
    fn leave(&self) {
        glue::congruent_leave();
    }
    fn begin_busy(&self) {
        glue::congruent_begin_busy();
    }
    fn end_busy(&self) {
        glue::congruent_end_busy();
    }
    fn word(&self, frame: Frame) -> Option<&FrameWord> {
        glue::congruent_word(frame.0 as usize)
    }
    fn slots(&self, cpu: u32) -> &CpuSlots {
        glue::congruent_slots(cpu)
    }
    unsafe fn map(&self, slot: VirtAddr, frame: Frame) {
        glue::congruent_window_map(slot.0 as usize, frame.0 as usize);
    }
    unsafe fn unmap(&self, slot: VirtAddr) {
        glue::congruent_window_unmap(slot.0 as usize);
    }
    fn linear(&self, frame: Frame) -> Option<VirtAddr> {
        match glue::congruent_permanent(frame.0 as usize) {
            0 => None,
            address => Some(VirtAddr(address as u64)),
        }
    }
}

impl Platform for Linux {
    const UNIPROCESSOR: bool = true;

    fn revoke(&self, frame: Frame, what: Revoke<Self>) -> Result<Remaining, WouldBlock> {
        let but = match what {
            Revoke::Writes => u32::MAX,
            Revoke::AllBut(colour) => colour.index() as u32,
        };
        match glue::congruent_revoke(frame.0 as usize, but) {
            0 => Ok(Remaining::None),
            1 => Ok(Remaining::Some),
            _ => Err(WouldBlock),
        }
    }
}
