//! What a process of the log has: its addresses, its open files, its threads.

use alloc::collections::{BTreeMap, BTreeSet};

use congruent_vm::{AreaId, FileId, PipeId, TaskId};

use super::space::Space;

/// What a descriptor stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Open {
    File { file: FileId, direct: bool, append: bool },
    PipeOut(PipeId),
    PipeIn(PipeId),
}

/// A descriptor: what it stands for, as a place in the list of all that was opened, where positions are shared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Descriptor {
    pub opened: usize,
    pub close_on_exec: bool,
}

/// A process.
#[derive(Clone, Default, Debug)]
pub(super) struct Process {
    pub space: Space,
    pub descriptors: BTreeMap<i64, Descriptor>,
    pub threads: BTreeSet<TaskId>,
    /// The end of the heap, once the log has shown it.
    pub heap_end: Option<u64>,
    /// The mapping for buffers whose place is not known.
    pub scratch: Option<AreaId>,
    /// Whether it is a program, with code and a stack as areas 0 and 1; what the log begins with is none yet.
    pub program: bool,
    /// Where the next unplaced buffer goes.
    pub next_buffer: u32,
}

impl Process {
    /// A mapping's number that is not in use.
    pub fn free_area(&self) -> AreaId {
        let first = if self.program { 2 } else { 0 };
        let mut taken = self.space.areas();
        taken.extend(self.scratch);
        // A process has at most 65530 mappings (vm.max_map_count), so one is always free.
        (first..=u16::MAX).map(AreaId).find(|area| !taken.contains(area)).unwrap_or(AreaId(u16::MAX))
    }

    /// Becomes another program.
    pub fn exec(&mut self, task: TaskId) {
        self.space = Space::default();
        self.descriptors.retain(|_, descriptor| !descriptor.close_on_exec);
        self.threads = BTreeSet::from([task]);
        self.heap_end = None;
        self.scratch = None;
        self.program = true;
    }
}
