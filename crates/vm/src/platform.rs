//! The library's platform on the simulated machine: the place where `congruent` meets hardware, and the only unsafe code here.
//!
//! No memory of the host is touched: addresses are the machine's, and the machine checks each against what is mapped.

use alloc::rc::Rc;

use congruent::{
    CacheOps, CpuContext, CpuSlots, Frame, FrameWord, KeptSlot, Platform, Remaining, Revoke, VirtAddr, WindowMapper, WouldBlock,
};
use congruent_trace::Maintenance;

use crate::board::Board;

/// The simulated machine as the library knows it.
pub(crate) struct LibraryPlatform {
    board: Rc<Board>,
    /// Whether frames have a permanent mapping that the library may use.
    linear: bool,
}

impl LibraryPlatform {
    pub fn new(board: Rc<Board>, linear: bool) -> Self {
        Self { board, linear }
    }
}

// SAFETY: the machine's operations by address act in the set that the virtual address selects, on every line of which a byte lies
// in the range, on the caches of all CPUs, and are complete when they return (`congruent_machine::Machine::maintain_range`).
#[allow(unsafe_code)]
unsafe impl CacheOps for LibraryPlatform {
    unsafe fn write_back(&self, start: VirtAddr, len: u32) {
        self.board.hw().maintain(Maintenance::WriteBack, start, len);
    }

    unsafe fn invalidate(&self, start: VirtAddr, len: u32) {
        self.board.hw().maintain(Maintenance::Invalidate, start, len);
    }

    unsafe fn write_back_invalidate(&self, start: VirtAddr, len: u32) {
        self.board.hw().maintain(Maintenance::WriteBackInvalidate, start, len);
    }

    unsafe fn empty(&self) {
        self.board.hw().flush_whole();
    }

    /// An instruction cache that aliases may hold the frame under any colour: then all of it goes.
    unsafe fn drop_instructions(&self, start: VirtAddr, _: u32) {
        let mut hw = self.board.hw();
        if hw.machine.config().code.geometry.aliases() {
            hw.drop_code();
        } else {
            hw.drop_code_page(start);
        }
    }
}

// SAFETY: a mapping in the machine's tables stays until it is removed, and TLB misses find it there; the permanent mapping is
// never changed; words, slots and places are in vectors that live and stay as long as the board. A thread that is preempted goes
// on on its own CPU, as every task has one.
#[allow(unsafe_code)]
unsafe impl WindowMapper for LibraryPlatform {
    fn enter(&self) -> CpuContext {
        CpuContext::new(self.board.hw().cpu as u32, 0)
    }

    fn leave(&self) {}

    fn begin_busy(&self) {}

    fn end_busy(&self) {}

    fn word(&self, frame: Frame) -> Option<&FrameWord> {
        self.board.words.get(frame.0 as usize)
    }

    fn slots(&self, cpu: u32) -> &CpuSlots {
        &self.board.slots[cpu as usize]
    }

    fn kept(&self, cpu: u32) -> &[KeptSlot] {
        &self.board.kept[cpu as usize]
    }

    unsafe fn map(&self, slot: VirtAddr, frame: Frame) {
        let mut hw = self.board.hw();
        let cpu = hw.cpu;
        hw.map_kernel(slot, frame);
        hw.machine.note_window_map(cpu);
    }

    unsafe fn unmap(&self, slot: VirtAddr) {
        let mut hw = self.board.hw();
        let cpu = hw.cpu;
        hw.machine.tables_mut().set_kernel(slot, None);
        hw.machine.tlb_drop_page(cpu, congruent_machine::Asid(0), slot);
    }

    fn linear(&self, frame: Frame) -> Option<VirtAddr> {
        self.linear.then(|| self.board.hw().linear(frame))
    }

    unsafe fn load(&self, from: VirtAddr, to: &mut [u8]) {
        self.board.hw().load(from, to);
    }

    unsafe fn store(&self, to: VirtAddr, from: &[u8]) {
        self.board.hw().store(to, from);
    }

    unsafe fn copy(&self, from: VirtAddr, to: VirtAddr, len: u32) {
        self.board.hw().copy(from, to, len);
    }

    unsafe fn zero(&self, to: VirtAddr, len: u32) {
        self.board.hw().zero(to, len);
    }
}

impl Platform for LibraryPlatform {
    fn revoke(&self, frame: Frame, what: Revoke<Self>) -> Result<Remaining, WouldBlock> {
        let mut hw = self.board.hw();
        hw.revoke(
            frame,
            match what {
                Revoke::Writes => None,
                Revoke::AllBut(colour) => Some(colour.index()),
            },
        );
        Ok(if hw.users(frame).is_empty() { Remaining::None } else { Remaining::Some })
    }

    /// The reverse map's first entry; a search costs what reading it costs.
    fn user_address(&self, frame: Frame) -> Option<VirtAddr> {
        let mut hw = self.board.hw();
        hw.lookups += 1;
        let found = hw.users(frame).first().map(|(_, va)| *va);
        let (cpu, looked_at) = (hw.cpu, hw.users(frame).len().max(1) as u64);
        // A lock, and the nodes of an interval tree on the way to a leaf.
        hw.machine.note_work(cpu, 20 + 10 * u64::from(64 - looked_at.leading_zeros()));
        found
    }
}
