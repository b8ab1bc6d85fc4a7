//! Which operations by index and on a whole cache swept each set and way, so that the first after an access can be named.
//!
//! `crate::sweep` knows only the last one, which is enough to know what is held. Guarantees: exact since the last
//! [`clear`](SweepLog::clear), which the judge calls when no line has anything postponed. Costs 12 bytes per operation until then.

use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::CacheGeometry;

use super::Operation;
use crate::line::Ways;

/// Entries beyond which the judge is to settle every line, so that the log can be cleared.
const MOST: usize = 1 << 22;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The epoch, and in the lowest bit whether it empties.
    when: u32,
    by: Operation,
}

/// The operations on one cache that were put off.
#[derive(Clone, Debug)]
pub(crate) struct SweepLog {
    ways: u32,
    /// Per set and way, and last those on the whole cache; oldest first.
    slots: Vec<Vec<Entry>>,
    entries: usize,
}

impl SweepLog {
    pub fn new(geometry: &CacheGeometry) -> Self {
        let ways = geometry.ways();
        Self { ways, slots: vec![Vec::new(); (geometry.sets() * ways) as usize + 1], entries: 0 }
    }

    /// Notes an operation on one way of a set, or on all (`None`).
    pub fn push(&mut self, target: Option<(u32, u32)>, epoch: u32, empties: bool, by: Operation) {
        let at = target.map_or(self.slots.len() - 1, |(set, way)| (set * self.ways + way) as usize);
        let Some(slot) = self.slots.get_mut(at) else { return };
        // Between two operations of an epoch nothing was accessed: the second did what the first had not.
        let repeats = |last: &Entry| last.when >> 1 == epoch && (last.when & 1 == 1 || !empties);
        if !slot.last().is_some_and(repeats) {
            slot.push(Entry { when: epoch << 1 | u32::from(empties), by });
            self.entries += 1;
        }
    }

    /// The first operation on each of these ways of a set that came after the stamp and, if asked for, emptied it; and the ways that it
    /// was the first on. An operation on several ways is told once.
    pub fn first_on(&self, set: u32, ways: Ways, stamp: u32, emptying: bool) -> Vec<(Operation, Ways)> {
        let first_of = |slot: &[Entry]| {
            let after = slot.partition_point(|entry| entry.when >> 1 <= stamp);
            slot[after..].iter().find(|entry| !emptying || entry.when & 1 == 1).map(|entry| entry.by)
        };
        let Some((whole, slots)) = self.slots.split_last() else { return Vec::new() };
        let whole = first_of(whole);
        let mut found: Vec<(Operation, Ways)> = Vec::new();
        for way in 0..self.ways {
            let one = Ways::NONE.with(way);
            if ways.and(one).is_none() {
                continue;
            }
            let own = slots.get((set * self.ways + way) as usize).and_then(|slot| first_of(slot));
            let Some(by) = own.into_iter().chain(whole).min_by_key(|by| by.serial) else { continue };
            match found.iter_mut().find(|(known, _)| *known == by) {
                Some((_, ways)) => *ways = ways.or(one),
                None => found.push((by, one)),
            }
        }
        found
    }

    pub fn is_full(&self) -> bool {
        self.entries >= MOST
    }

    /// Forgets everything. Nothing may be put off.
    pub fn clear(&mut self) {
        self.slots.iter_mut().for_each(Vec::clear);
        self.entries = 0;
    }

    pub fn bytes(&self) -> usize {
        let entries: usize = self.slots.iter().map(Vec::capacity).sum();
        self.slots.capacity() * size_of::<Vec<Entry>>() + entries * size_of::<Entry>()
    }
}
