//! Steps being planned: names that do not collide with other strands', and stretches of mappings picked by chance.

use alloc::collections::VecDeque;

use congruent_machine::Random;
use congruent_vm::{AreaId, Bytes, FileId, Op, PipeId, Place, Step, TaskId};

/// The numbers that a strand may use: its own 0, 1, 2… for tasks, files and pipes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    tasks: u16,
    files: u16,
    pipes: u16,
}

impl Names {
    /// Of a strand that is alone: task 0 is the first task.
    pub fn alone() -> Self {
        Self { tasks: 0, files: 0, pipes: 0 }
    }

    /// Of one of several strands, whose task 0 somebody forks from the first task.
    pub fn of_lane(lane: u16) -> Self {
        Self { tasks: 1 + 16 * lane, files: 8 * lane, pipes: 2 * lane }
    }

    pub fn task(self, n: u16) -> TaskId {
        TaskId(self.tasks + n)
    }
}

/// What a strand is going to do.
pub(super) struct Plan {
    /// Bytes of a page.
    pub page: u32,
    /// The strand's chance.
    pub random: Random,
    names: Names,
    steps: VecDeque<Step>,
}

impl Plan {
    pub fn new(names: Names, page: u32, random: Random) -> Self {
        Self { page, random, names, steps: VecDeque::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn take(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub fn task(&self, n: u16) -> TaskId {
        self.names.task(n)
    }

    pub fn file(&self, n: u16) -> FileId {
        FileId(self.names.files + n)
    }

    pub fn pipe(&self, n: u16) -> PipeId {
        PipeId(self.names.pipes + n)
    }

    /// A seed for what is written.
    pub fn seed(&mut self) -> u32 {
        self.random.bits() as u32
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.random.below(u64::from(limit)) as u32
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.random.chance(1, n)
    }

    /// A stretch of the first `pages` pages of a mapping: mostly a few words, at times up to a page.
    pub fn some(&mut self, area: u16, pages: u32) -> Bytes {
        let words = match self.below(20) {
            0..12 => 1 + self.below(16),
            12..17 => 1 + self.below(128),
            _ => 1 + self.below(self.page / 4),
        };
        let len = (4 * words).min(self.page);
        let offset = 4 * self.below((pages * self.page - len) / 4 + 1);
        Bytes { area: AreaId(area), offset, len }
    }

    /// A stretch of a file of `pages` pages, no longer than `most`, as position and length.
    pub fn extent(&mut self, pages: u32, most: u32) -> (u32, u32) {
        let Bytes { offset, len, .. } = self.some(0, pages);
        (offset, len.min(most))
    }

    pub fn does(&mut self, task: u16, op: Op) {
        self.steps.push_back(Step { task: self.task(task), op });
    }

    /// The task stores to some of the first `pages` pages of a mapping.
    pub fn stores(&mut self, task: u16, area: u16, pages: u32) {
        let (to, seed) = (self.some(area, pages), self.seed());
        self.does(task, Op::Store { to, seed });
    }

    /// The task loads some of them.
    pub fn loads(&mut self, task: u16, area: u16, pages: u32) {
        let from = self.some(area, pages);
        self.does(task, Op::Load(from));
    }

    /// The task stores to this stretch.
    pub fn fills(&mut self, task: u16, to: Bytes) {
        let seed = self.seed();
        self.does(task, Op::Store { to, seed });
    }

    pub fn forks(&mut self, task: u16, child: u16) {
        let child = self.task(child);
        self.does(task, Op::Fork { child });
    }

    pub fn creates(&mut self, task: u16, file: u16, pages: u32) {
        let op = Op::Create { file: self.file(file), len: pages * self.page, seed: self.seed() };
        self.does(task, op);
    }

    pub fn executes(&mut self, task: u16, file: u16) {
        let op = Op::Exec { file: self.file(file), arguments: 16 + self.below(512), seed: self.seed() };
        self.does(task, op);
    }

    pub fn maps_memory(&mut self, task: u16, area: u16, pages: u32) {
        self.does(task, Op::MapAnonymous { area: AreaId(area), pages, shared: false, place: Place::Anywhere });
    }

    pub fn maps_file(&mut self, task: u16, area: u16, file: u16, pages: core::ops::Range<u32>, shared: bool) {
        let (file, first, pages) = (self.file(file), pages.start, pages.end - pages.start);
        self.does(task, Op::MapFile { area: AreaId(area), file, first, pages, shared, place: Place::Anywhere });
    }
}

/// A whole mapping's, or its beginning's, bytes.
pub(super) fn bytes(area: u16, offset: u32, len: u32) -> Bytes {
    Bytes { area: AreaId(area), offset, len }
}
