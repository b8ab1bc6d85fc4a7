//! What came of it: per step, and at the end.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use congruent_geometry::PhysAddr;
use congruent_machine::{Counters, Cycles};
use congruent_shadow::{Finding, Stats};
use congruent_trace::{Event, Site};

use crate::point::Point;
use crate::site::site_name;
use crate::{AreaId, Errno, FileId, PipeId, PolicyKind, TaskId};

/// Who saw a wrong byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Witness {
    /// A program.
    Task(TaskId),
    /// The kernel, on behalf of somebody.
    Kernel,
    /// The disk: the wrong byte is on it now.
    Disk,
}

/// What the byte is, in the terms of programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Whereabouts {
    /// A byte of a mapping.
    Memory {
        /// A task of the process.
        task: TaskId,
        /// The mapping.
        area: AreaId,
        /// Bytes from its start.
        offset: u32,
    },
    /// A byte of a file.
    File {
        /// The file.
        file: FileId,
        /// Bytes from its start.
        offset: u32,
    },
    /// A byte that a pipe held.
    Pipe(PipeId),
}

/// A byte that was not what it had to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Corruption {
    /// Who saw it.
    pub witness: Witness,
    /// What it belongs to.
    pub place: Whereabouts,
    /// Where in memory it was, if it was in memory.
    pub paddr: Option<PhysAddr>,
    /// What was seen.
    pub got: u8,
    /// What it had to be.
    pub want: u8,
    /// The code that saw it ([`site_name`]).
    pub site: Site,
    /// Whether the judge had reported this line of memory by then.
    pub named: bool,
    /// The number of the step, from 0.
    pub step: u64,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.witness {
            Witness::Task(task) => write!(f, "task {}", task.0)?,
            Witness::Kernel => f.write_str("the kernel")?,
            Witness::Disk => f.write_str("the disk")?,
        }
        write!(f, " ({}) got {:#04x} instead of {:#04x}", site_name(self.site), self.got, self.want)?;
        match self.place {
            Whereabouts::Memory { task, area, offset } => {
                write!(f, " at byte {offset} of mapping {} of task {}", area.0, task.0)
            }
            Whereabouts::File { file, offset } => write!(f, " at byte {offset} of file {}", file.0),
            Whereabouts::Pipe(pipe) => write!(f, " from pipe {}", pipe.0),
        }
    }
}

/// What one step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepOutcome {
    /// What the program got back: for calls that move bytes, how many.
    pub result: Result<u32, Errno>,
    /// The first byte that was seen wrong during it.
    pub corrupt: Option<Corruption>,
}

/// What all steps of one kind came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Operations {
    /// How many.
    pub count: u64,
    /// How many failed.
    pub failed: u64,
    /// What the machine did for them. Not counted for the accesses of programs, page faults included: see the totals.
    pub counters: Counters,
}

/// Cache maintenance in the units in which kernels pay for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Maintenance {
    /// Lines of the data cache operated on by address.
    pub lines: u64,
    /// The same in pages' worth, rounded down.
    pub pages: u64,
    /// Operations on the whole data cache.
    pub whole: u64,
    /// Lines of the instruction cache invalidated by address.
    pub code_lines: u64,
    /// Invalidations of the whole instruction cache.
    pub code_whole: u64,
}

impl Maintenance {
    /// What these counts say of it, with so many lines of the data cache to a page.
    #[must_use]
    pub const fn of(counters: &Counters, lines_per_page: u32) -> Self {
        let lines = counters.lines_written_back + counters.lines_invalidated + counters.lines_written_back_and_invalidated;
        Self {
            lines,
            pages: lines / lines_per_page as u64,
            whole: counters.whole_operations,
            code_lines: counters.code_lines_invalidated,
            code_whole: counters.code_whole_operations,
        }
    }

    /// Whether there was none at all.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.lines == 0 && self.whole == 0 && self.code_lines == 0 && self.code_whole == 0
    }
}

/// What a simulation came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The policy.
    pub policy: PolicyKind,
    /// Steps taken.
    pub steps: u64,
    /// What the judge found. Sites are those of [`site_name`].
    pub findings: Vec<Finding>,
    /// What it found of programs that ran code which they had just written and had not said so: their own affair.
    pub excused: Vec<Finding>,
    /// What the judge saw.
    pub stats: Stats,
    /// How many bytes were seen wrong, by programs, the kernel on their behalf, or the disk.
    pub corrupted_bytes: u64,
    /// The first of them.
    pub corruptions: Vec<Corruption>,
    /// Wrong bytes on lines that the judge had not reported: always 0, or the judge is wrong.
    pub unnamed_bytes: u64,
    /// What the machine did.
    pub counters: Counters,
    /// What that cost.
    pub cycles: Cycles,
    /// Cache maintenance.
    pub maintenance: Maintenance,
    /// Searches for a user's mapping (policy [`ReverseLookup`](PolicyKind::ReverseLookup)).
    pub lookups: u64,
    /// By kind of step ([`Op::name`](crate::Op::name)).
    pub operations: BTreeMap<&'static str, Operations>,
    /// Steps that failed, by error.
    pub errors: BTreeMap<Errno, u64>,
    /// Accesses of other threads that happened in the middle of a system call.
    pub preemptions: u64,
    /// The same by where in the kernel.
    pub preempted: BTreeMap<Point, u64>,
    /// Every event, if [`Setup::history`](crate::Setup::history) asked for it.
    pub history: Vec<Event>,
}
