//! Physical memory, and the second-level cache that stands before it.
//!
//! Guarantees: everyone who looks here sees the same bytes; what a level-1 cache holds and has not written back is not here.

use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::{CacheGeometry, PhysAddr};

use crate::config::L2Config;
use crate::counters::Counters;

/// The bytes of every frame.
#[derive(Clone, Debug)]
pub struct Memory {
    bytes: Vec<u8>,
    frames: u64,
    l2: Option<Level2>,
}

impl Memory {
    pub(crate) fn new(frames: u64, page: &CacheGeometry, l2: Option<L2Config>) -> Self {
        Self { bytes: vec![0; (frames << page.page_shift()) as usize], frames, l2: l2.map(Level2::new) }
    }

    /// How many frames there are.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// How many bytes there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Never: a machine has memory.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Copies bytes out, as a debugger would: no cache is looked at, no event emitted.
    ///
    /// # Panics
    /// If there is no such memory.
    pub fn read(&self, from: PhysAddr, to: &mut [u8]) {
        let from = from.0 as usize;
        to.copy_from_slice(&self.bytes[from..from + to.len()]);
    }

    /// Copies bytes in, as a loader does before the machine starts: no cache is told, no event emitted.
    ///
    /// # Panics
    /// If there is no such memory.
    pub fn write(&mut self, to: PhysAddr, from: &[u8]) {
        let to = to.0 as usize;
        self.bytes[to..to + from.len()].copy_from_slice(from);
    }

    /// Fills a line of a level-1 cache.
    pub(crate) fn fill(&mut self, line: PhysAddr, to: &mut [u8], counters: &mut Counters) {
        if self.l2.as_mut().is_some_and(|l2| l2.access(line)) {
            counters.l2_fills += 1;
        } else {
            counters.memory_fills += 1;
        }
        self.read(line, to);
    }
}

/// The tags of a second-level cache: its bytes are always those of memory, as nobody can look past it.
#[derive(Clone, Debug)]
struct Level2 {
    line_shift: u32,
    ways: usize,
    set_mask: usize,
    /// Per set, the line numbers it holds, those used last first; shorter while the set is not full.
    sets: Vec<Vec<u64>>,
}

impl Level2 {
    fn new(config: L2Config) -> Self {
        let sets = config.geometry.sets() as usize;
        Self {
            line_shift: config.geometry.line_shift(),
            ways: config.geometry.ways() as usize,
            set_mask: sets - 1,
            sets: vec![Vec::new(); sets],
        }
    }

    /// Whether it holds the line, which it does from now on.
    fn access(&mut self, line: PhysAddr) -> bool {
        let number = line.0 >> self.line_shift;
        let set = &mut self.sets[number as usize & self.set_mask];
        let held = set.iter().position(|held| *held == number);
        match held {
            Some(at) => set[..=at].rotate_right(1),
            None => {
                set.truncate(self.ways - 1);
                set.insert(0, number);
            }
        }
        held.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_level_holds_what_was_used_last() {
        let geometry = CacheGeometry::new(2 * 64, 2, 64).unwrap();
        let mut l2 = Level2::new(L2Config { geometry });
        let mut hits = |lines: &[u64]| lines.iter().map(|line| l2.access(PhysAddr(line * 64))).collect::<Vec<_>>();
        assert_eq!(hits(&[0, 1, 0, 2, 0, 1]), [false, false, true, false, true, false]);
    }
}
