//! A machine whose windows are its memory, and whose cache has one colour and needs no maintenance: the one that the tests run on.

use congruent::{
    CacheGeometry, CacheOps, Config, Congruent, CpuContext, CpuSlots, Frame, FrameWord, Platform, Remaining, Revoke, VirtAddr,
    WindowArea, WindowMapper, WouldBlock,
};

pub const PAGE: usize = 4096;

/// Every frame is at the address of its number, and has a word but the first, where objects of the kernel's live. Two frames side by side
/// have two words.
#[derive(Default)]
pub struct Memory<const ALIASES: bool, const COHERENT: bool> {
    words: [FrameWord; 2],
    slots: CpuSlots,
}

/// What it is like.
pub fn config() -> Config {
    let geometry = CacheGeometry::new(4 * PAGE as u32, 4, 32).unwrap();
    Config::new(geometry, WindowArea::new(VirtAddr(0), 2, 0))
}

/// The library on it.
pub fn kernel<const ALIASES: bool, const COHERENT: bool>() -> Congruent<Memory<ALIASES, COHERENT>> {
    Congruent::new(Memory::default(), config()).unwrap()
}

/// The frame of a page of the test's.
pub fn frame<T>(page: &mut T) -> Frame {
    Frame((std::ptr::from_mut(page) as usize / PAGE) as u64)
}

// SAFETY: the host keeps its caches coherent; nothing is needed.
unsafe impl<const ALIASES: bool, const COHERENT: bool> CacheOps for Memory<ALIASES, COHERENT> {
    unsafe fn write_back(&self, _: VirtAddr, _: u32) {}
    unsafe fn invalidate(&self, _: VirtAddr, _: u32) {}
    unsafe fn write_back_invalidate(&self, _: VirtAddr, _: u32) {}
    unsafe fn empty(&self) {}
    unsafe fn drop_instructions(&self, _: VirtAddr, _: u32) {}
}

// SAFETY: frame numbers are those of real pages of the test, which live as long as it.
unsafe impl<const ALIASES: bool, const COHERENT: bool> WindowMapper for Memory<ALIASES, COHERENT> {
    fn enter(&self) -> CpuContext {
        unreachable!("no window is ever needed")
    }
    fn leave(&self) {}
    fn begin_busy(&self) {}
    fn end_busy(&self) {}
    fn word(&self, frame: Frame) -> Option<&FrameWord> {
        (frame.0 != 0).then_some(&self.words[frame.0 as usize % 2])
    }
    fn slots(&self, _: u32) -> &CpuSlots {
        &self.slots
    }
    unsafe fn map(&self, _: VirtAddr, _: Frame) {}
    unsafe fn unmap(&self, _: VirtAddr) {}
    fn linear(&self, frame: Frame) -> Option<VirtAddr> {
        Some(VirtAddr(frame.0 * PAGE as u64))
    }
}

impl<const ALIASES: bool, const COHERENT: bool> Platform for Memory<ALIASES, COHERENT> {
    const ALIASES: bool = ALIASES;
    const COHERENT_DEVICES: bool = COHERENT;

    fn revoke(&self, _: Frame, _: Revoke<Self>) -> Result<Remaining, WouldBlock> {
        unreachable!("no rights are ever in the way")
    }
}
