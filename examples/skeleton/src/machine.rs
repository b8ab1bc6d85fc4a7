//! What the library needs to know of this kernel: its frame table, its window slots, and how to take user rights back.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use congruent::{
    CacheOps, CpuContext, CpuSlots, Frame, FrameWord, Platform, Remaining, Revoke, VirtAddr, WindowArea, WindowMapper, WouldBlock,
};

use crate::PAGE;
use crate::arch::{self, Hardware};
use crate::duty::{Duty, forgotten};
use crate::space::{AddressSpace, Entry};

/// Frames that users and files can have. The kernel's own image and stacks lie below them, and have no words.
pub const FRAMES: usize = 128;

/// The number of the first of them: 1 MiB into memory.
pub const FIRST: u64 = 0x100;

/// Address spaces.
pub const SPACES: usize = 2;

/// Where windows go: three for threads (a copy needs two), one for interrupt handlers, and one for the library's maintenance in
/// each of the two.
pub const WINDOWS: WindowArea = WindowArea::new(VirtAddr(arch::WINDOWS), 3, 1);

/// All windows of a CPU.
pub(crate) const SLOTS: usize = WINDOWS.slots() as usize;

/// The machine: the kernel's own tables and what it runs on.
#[derive(Debug)]
pub struct Machine {
    pub(crate) hardware: Hardware,
    words: [FrameWord; FRAMES],
    slots: [CpuSlots; arch::CPUS],
    /// Address spaces, by number.
    pub spaces: [AddressSpace; SPACES],
    /// Frames that nobody owns, one bit each.
    free: [AtomicU32; FRAMES / 32],
    /// Frames that hold a page of a file, whether anybody has it mapped or not, one bit each.
    files: [AtomicU32; FRAMES / 32],
    /// Set by the interrupt entry for as long as a handler runs.
    pub interrupt: AtomicBool,
    /// Whether migration and preemption are off, as a count.
    pinned: AtomicU32,
}

impl Machine {
    /// All memory free, nothing cached: the state after boot has flushed the cache.
    #[must_use]
    pub fn new(hardware: Hardware) -> Self {
        Self {
            hardware,
            words: [const { FrameWord::new() }; FRAMES],
            slots: [const { CpuSlots::new() }; arch::CPUS],
            spaces: [const { AddressSpace::new() }; SPACES],
            free: [const { AtomicU32::new(u32::MAX) }; FRAMES / 32],
            files: [const { AtomicU32::new(0) }; FRAMES / 32],
            interrupt: AtomicBool::new(false),
            pinned: AtomicU32::new(0),
        }
    }

    /// A free frame, one that `suits` if there is such a one. `None` if memory is full.
    pub fn allocate(&self, suits: impl Fn(Frame) -> bool) -> Option<Frame> {
        let frames = || (FIRST..FIRST + FRAMES as u64).map(Frame).filter(|&frame| is_set(&self.free, frame));
        let frame = frames().find(|&frame| suits(frame)).or_else(|| frames().next())?;
        let (word, bit) = bit(frame)?;
        self.free[word].fetch_and(!bit, Ordering::Relaxed);
        Some(frame)
    }

    /// Gives a frame back. The library must have been told before ([`freed`](congruent::Congruent::freed)).
    pub(crate) fn release(&self, frame: Frame) {
        set(&self.free, frame);
    }

    /// Has a frame hold a page of a file from now on.
    pub(crate) fn give_to_file(&self, frame: Frame) {
        set(&self.files, frame);
    }

    /// Whether a frame holds a page of a file.
    pub(crate) fn is_of_a_file(&self, frame: Frame) -> bool {
        is_set(&self.files, frame)
    }

    /// Drops every translation of users' addresses, on all CPUs.
    pub fn flush_user_tlb(&self) {
        self.hardware.flush_user_tlb();
    }
}

fn number(frame: Frame) -> Option<usize> {
    let number = usize::try_from(frame.0.checked_sub(FIRST)?).ok()?;
    (number < FRAMES).then_some(number)
}

/// Where a set of frames has this one: the number of the word, and the bit in it.
fn bit(frame: Frame) -> Option<(usize, u32)> {
    number(frame).map(|number| (number / 32, 1 << (number % 32)))
}

fn set(frames: &[AtomicU32], frame: Frame) {
    if let Some((word, bit)) = bit(frame) {
        frames[word].fetch_or(bit, Ordering::Relaxed);
    }
}

fn is_set(frames: &[AtomicU32], frame: Frame) -> bool {
    bit(frame).is_some_and(|(word, bit)| frames[word].load(Ordering::Relaxed) & bit != 0)
}

// SAFETY: each operation is the architecture's (arch/), which says why it is complete when it returns. What is left out is left out
// for a test that wants to see old bytes found.
unsafe impl CacheOps for Machine {
    unsafe fn write_back(&self, start: VirtAddr, len: u32) {
        if !forgotten(Duty::WriteBack) {
            // SAFETY: the same contract; likewise below.
            unsafe { self.hardware.write_back(start, len) }
        }
    }

    unsafe fn invalidate(&self, start: VirtAddr, len: u32) {
        if !forgotten(Duty::Invalidate) {
            // SAFETY: as above.
            unsafe { self.hardware.invalidate(start, len) }
        }
    }

    unsafe fn write_back_invalidate(&self, start: VirtAddr, len: u32) {
        if !forgotten(Duty::WriteBackInvalidate) {
            // SAFETY: as above.
            unsafe { self.hardware.write_back_invalidate(start, len) }
        }
    }

    unsafe fn empty(&self) {
        if !forgotten(Duty::Empty) {
            self.hardware.empty();
        }
    }

    unsafe fn drop_instructions(&self, _: VirtAddr, _: u32) {
        // All of them: the frame may be there under any colour.
        if !forgotten(Duty::DropInstructions) {
            self.hardware.drop_instructions();
        }
    }
}

// SAFETY: `map` and `unmap` are the architecture's (arch/), whose mappings stay until removed; the permanent mapping covers all
// frames and never changes; words and slots are fields, one each; frames from `FIRST` on hold no object of the kernel's.
unsafe impl WindowMapper for Machine {
    fn enter(&self) -> CpuContext {
        self.pinned.fetch_add(1, Ordering::Relaxed);
        CpuContext::new(arch::cpu() as u32, u8::from(self.interrupt.load(Ordering::Relaxed)))
    }

    fn leave(&self) {
        self.pinned.fetch_sub(1, Ordering::Relaxed);
    }

    fn begin_busy(&self) {
        self.pinned.fetch_add(1, Ordering::Relaxed);
    }

    fn end_busy(&self) {
        self.pinned.fetch_sub(1, Ordering::Relaxed);
    }

    fn word(&self, frame: Frame) -> Option<&FrameWord> {
        number(frame).map(|number| &self.words[number])
    }

    fn slots(&self, cpu: u32) -> &CpuSlots {
        &self.slots[cpu as usize]
    }

    unsafe fn map(&self, slot: VirtAddr, frame: Frame) {
        // SAFETY: the same contract.
        unsafe { self.hardware.map(slot, frame) }
    }

    unsafe fn unmap(&self, slot: VirtAddr) {
        // SAFETY: the same contract.
        unsafe { self.hardware.unmap(slot) }
    }

    fn linear(&self, frame: Frame) -> Option<VirtAddr> {
        number(frame).map(|_| VirtAddr(arch::LINEAR + frame.0 * PAGE))
    }

    // The host has no windows, so what an address reaches is looked up.
    #[cfg(not(target_os = "none"))]
    unsafe fn load(&self, from: VirtAddr, to: &mut [u8]) {
        self.hardware.load(from, to);
    }
    #[cfg(not(target_os = "none"))]
    unsafe fn store(&self, to: VirtAddr, from: &[u8]) {
        self.hardware.store(to, from);
    }
    #[cfg(not(target_os = "none"))]
    unsafe fn copy(&self, from: VirtAddr, to: VirtAddr, len: u32) {
        self.hardware.copy(from, to, len);
    }
    #[cfg(not(target_os = "none"))]
    unsafe fn zero(&self, to: VirtAddr, len: u32) {
        self.hardware.zero(to, len);
    }
}

impl Platform for Machine {
    const UNIPROCESSOR: bool = arch::CPUS == 1;

    fn revoke(&self, frame: Frame, what: Revoke<Self>) -> Result<Remaining, WouldBlock> {
        if forgotten(Duty::Revoke) {
            return Ok(Remaining::Some);
        }
        let mut remaining = Remaining::None;
        for space in &self.spaces {
            for (address, entry) in space.mapped() {
                if entry.frame != frame || !entry.present {
                    continue;
                }
                match what {
                    Revoke::AllBut(colour) if arch::colour(self, address) != colour.index() => {
                        space.set(address, Some(Entry { present: false, write: false, ..entry }));
                    }
                    Revoke::Writes => {
                        space.set(address, Some(Entry { write: false, ..entry }));
                        remaining = Remaining::Some;
                    }
                    Revoke::AllBut(_) => remaining = Remaining::Some,
                }
            }
        }
        // After the page tables, before the library's maintenance: from here on no user can store any more.
        if !forgotten(Duty::RevokeTlb) {
            self.flush_user_tlb();
        }
        Ok(remaining)
    }
}
