//! The last few thousand maintenance operations, so that a new finding can say what was done to its line and why it did not help.
//!
//! Guarantees: bounded, nothing per line, looked through only when a distinct finding is first made. What an operation by
//! address did is known when it is carried out. What a sweep did is known when the line is next looked at, and noted then.
//! Not promised: more than the last few operations; the exact moment of the producer, which is known only as far as epochs and
//! the line's last writer tell.

use alloc::vec::Vec;

use congruent_trace::{Maintenance, Site};

use crate::finding::{Effect, Party, PastMaintenance, Side};
use crate::heads::LineId;

/// Operations remembered.
const CAPACITY: usize = 8192;
/// Effects of sweeps remembered.
const SWEPT_CAPACITY: usize = 1024;
/// Operations told of in one finding.
const TOLD: usize = 8;

/// What an operation was aimed at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    Line(LineId),
    Index { set: u32 },
    Whole,
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past {
    pub target: Target,
    /// The CPU whose cache it acted on, if there are several.
    pub cpu: Option<u16>,
    pub op: Maintenance,
    pub colour: Option<u16>,
    pub site: Site,
    /// For operations by address.
    pub effect: Effect,
    pub muted: bool,
    /// The data side's epoch when it came.
    pub epoch: u32,
    /// For an operation on the instruction side: that side's epoch.
    pub code_epoch: Option<u32>,
    /// The last known writer of the line when the operation came, for operations by address.
    pub writer: Option<Party>,
}

impl Past {
    /// Which cache it was aimed at.
    fn side(&self) -> Side {
        if self.code_epoch.is_some() { Side::Instruction } else { Side::Data }
    }
}

/// What the sweeps of the epochs `after < epoch <= until` of one side did to a line.
#[derive(Clone, Copy, Debug)]
struct Swept {
    side: Side,
    id: LineId,
    after: u32,
    until: u32,
    effect: Effect,
}

/// A list that forgets its oldest entry when it is full.
#[derive(Clone, Debug)]
struct Ring<T> {
    entries: Vec<T>,
    next: usize,
    capacity: usize,
}

impl<T> Ring<T> {
    fn new(capacity: usize) -> Self {
        Self { entries: Vec::new(), next: 0, capacity }
    }

    fn push(&mut self, entry: T) {
        match self.entries.get_mut(self.next) {
            Some(oldest) => *oldest = entry,
            None => self.entries.push(entry),
        }
        self.next = if self.next + 1 == self.capacity { 0 } else { self.next + 1 };
    }

    /// Newest first.
    fn iter(&self) -> impl Iterator<Item = &T> {
        let (newer, older) = self.entries.split_at(self.next.min(self.entries.len()));
        newer.iter().rev().chain(older.iter().rev())
    }
}

/// What is asked of the history when a finding is made.
pub(crate) struct Question<'a> {
    pub id: LineId,
    pub producer: Option<Party>,
    /// Whether the producer was the last to write the line.
    pub producer_is_last: bool,
    /// Whether the producer's bytes are still dirty, so that any write-back of its colour came before it.
    pub still_dirty: bool,
    /// The epoch of the last access through the producer's colour, if it may still hold the line.
    pub producer_stamp: Option<u32>,
    /// Whether a set of a cache holds the line for some colour.
    pub concerns: &'a dyn Fn(Side, u32) -> bool,
}

/// The operations so far.
#[derive(Clone, Debug)]
pub(crate) struct History {
    past: Ring<Past>,
    swept: Ring<Swept>,
}

impl History {
    pub fn new() -> Self {
        Self { past: Ring::new(CAPACITY), swept: Ring::new(SWEPT_CAPACITY) }
    }

    pub fn push(&mut self, past: Past) {
        self.past.push(past);
    }

    /// Notes what sweeps later than `after` and up to `until`, in epochs of their side, did to a line.
    pub fn push_swept(&mut self, side: Side, id: LineId, after: u32, until: u32, effect: Effect) {
        self.swept.push(Swept { side, id, after, until, effect });
    }

    /// Forgets the order of what was, because epochs start over.
    pub fn restart(&mut self) {
        for past in &mut self.past.entries {
            past.epoch = 0;
            past.code_epoch = past.code_epoch.map(|_| 0);
        }
        self.swept.entries.iter_mut().for_each(|swept| (swept.after, swept.until) = (0, 0));
    }

    /// The last operations on the line since its producer, oldest first.
    pub fn between(&self, question: &Question<'_>) -> Vec<PastMaintenance> {
        let mut told: Vec<PastMaintenance> = Vec::new();
        for past in self.past.iter() {
            let side = past.side();
            let effect = match past.target {
                Target::Line(id) if id == question.id => {
                    let other_writer = question.producer_is_last && past.writer != question.producer;
                    let wrote_producer = question.still_dirty
                        && side == Side::Data
                        && past.colour == question.producer.and_then(|producer| producer.colour)
                        && past.effect != Effect::Nothing;
                    if other_writer || wrote_producer {
                        break;
                    }
                    past.effect
                }
                Target::Line(_) => continue,
                Target::Index { set } if !(question.concerns)(side, set) => continue,
                Target::Index { .. } | Target::Whole => {
                    // Sweeps of the instruction side do not begin an epoch of the data side: one of the producer's epoch may be older.
                    let too_old = |stamp| if side == Side::Data { past.epoch <= stamp } else { past.epoch < stamp };
                    if question.producer_stamp.is_some_and(too_old) {
                        break;
                    }
                    let epoch = past.code_epoch.unwrap_or(past.epoch);
                    let done = |swept: &&Swept| {
                        swept.side == side && swept.id == question.id && swept.after < epoch && epoch <= swept.until
                    };
                    match self.swept.iter().find(done) {
                        Some(swept) if !past.muted => swept.effect,
                        _ => Effect::Nothing,
                    }
                }
            };
            let told_now = PastMaintenance {
                op: past.op,
                side,
                colour: past.colour,
                site: past.site,
                effect,
                muted: past.muted,
                cpu: past.cpu,
            };
            // A sweep goes way by way: one operation, as people see it.
            let one_sweep = |earlier: &PastMaintenance| PastMaintenance { site: past.site, ..*earlier } == told_now;
            if matches!(past.target, Target::Index { .. }) && told.last().is_some_and(one_sweep) {
                continue;
            }
            if told.len() == TOLD {
                break;
            }
            told.push(told_now);
        }
        told.reverse();
        told
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.past.entries.capacity() * size_of::<Past>() + self.swept.entries.capacity() * size_of::<Swept>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_forgets_its_oldest_entry() {
        let mut ring = Ring::new(3);
        for n in 0..5 {
            ring.push(n);
            let newest_first: Vec<i32> = ring.iter().copied().collect();
            let expected: Vec<i32> = (0..=n).rev().take(3).collect();
            assert_eq!(newest_first, expected);
        }
    }
}
