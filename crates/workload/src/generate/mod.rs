//! Seeded workloads: what each does is in a file of its own; how rounds become a stream of steps is here.
//!
//! Guarantees: the same kind, scale, seed and page size give the same steps on every host; a workload that is larger by its scale
//! begins as the smaller one does, unless its scale is a number of processes or it is made of several. Steps are sensible, but
//! for `chaos`; one may fail all the same, when a kernel refuses what a workload asks for.

mod chaos;
mod debugger;
mod direct_io;
mod fork_threads;
mod memory;
mod page_cache;
mod plan;
mod ring;
mod sharers;
mod shell;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use congruent_machine::Random;
use congruent_vm::{Op, Step, TaskId};

use crate::kind::Kind;
use plan::{Names, Plan};

/// One strand of a workload: a process tree of its own with files of its own.
trait Strand {
    /// What comes before the first round.
    fn begin(&mut self, plan: &mut Plan);
    /// A round.
    fn round(&mut self, plan: &mut Plan);
}

struct Lane {
    strand: Box<dyn Strand>,
    plan: Plan,
    rounds: u32,
    begun: bool,
}

impl Lane {
    fn next(&mut self) -> Option<Step> {
        while self.plan.is_empty() {
            if !self.begun {
                self.begun = true;
                self.strand.begin(&mut self.plan);
            } else if self.rounds > 0 {
                self.rounds -= 1;
                self.strand.round(&mut self.plan);
            } else {
                return None;
            }
        }
        self.plan.take()
    }
}

/// A workload, step by step.
pub struct Workload {
    /// What is done before the lanes begin.
    first: Vec<Step>,
    lanes: Vec<Lane>,
    random: Random,
}

/// Rounds of a workload whose scale says something else.
const ROUNDS: u32 = 64;

/// The strands of [`Kind::Everything`].
const ALL_AT_ONCE: [Kind; 8] =
    [Kind::ForkThreads, Kind::Shell, Kind::PageCache, Kind::DirectIo, Kind::Debugger, Kind::Ring, Kind::Sharers, Kind::Memory];

impl Workload {
    /// The workload of this kind, at this scale (rounds, unless the kind says otherwise), for pages of `page` bytes, which is a
    /// power of two from 1 KiB on.
    #[must_use]
    pub fn new(kind: Kind, scale: u32, seed: u64, page: u32) -> Self {
        let mut random = Random::new(seed);
        let mut first = Vec::new();
        let lanes = match kind {
            Kind::Everything => {
                let lane = |(at, kind): (usize, &Kind)| {
                    let names = Names::of_lane(at as u16);
                    first.push(Step { task: TaskId(0), op: Op::Fork { child: names.task(0) } });
                    Lane { strand: strand(*kind, 4), plan: Plan::new(names, page, random.split()), rounds: scale, begun: false }
                };
                ALL_AT_ONCE.iter().enumerate().map(lane).collect()
            }
            _ => {
                let rounds = if kind == Kind::Sharers { ROUNDS } else { scale };
                let plan = Plan::new(Names::alone(), page, random.split());
                vec![Lane { strand: strand(kind, scale), plan, rounds, begun: false }]
            }
        };
        first.reverse();
        Self { first, lanes, random }
    }
}

fn strand(kind: Kind, scale: u32) -> Box<dyn Strand> {
    match kind {
        Kind::ForkThreads => Box::new(fork_threads::ForkThreads::new()),
        Kind::Shell => Box::new(shell::Shell),
        Kind::PageCache => Box::new(page_cache::PageCache),
        Kind::DirectIo => Box::new(direct_io::DirectIo),
        Kind::Debugger => Box::new(debugger::Debugger),
        Kind::Ring => Box::new(ring::Ring::new()),
        Kind::Sharers => Box::new(sharers::Sharers::new(scale)),
        Kind::Memory => Box::new(memory::Memory),
        Kind::Chaos | Kind::Everything => Box::new(chaos::Chaos),
    }
}

impl Iterator for Workload {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some(step) = self.first.pop() {
            return Some(step);
        }
        while !self.lanes.is_empty() {
            let lane = self.random.index(self.lanes.len());
            match self.lanes[lane].next() {
                Some(step) => return Some(step),
                None => drop(self.lanes.remove(lane)),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
