//! When each set and way of the cache was last swept, so that an operation on thousands of lines costs one table entry.
//!
//! Guarantees: for every copy of a line, the ways that were written back or emptied since its last access are known exactly,
//! however many operations there were. Not here: operations by address, which act on their one line at once, and what a pure
//! invalidate does to dirty bytes (`Shadow` applies that at once, to the few lines that hold any).
//!
//! Time is an *epoch*. It moves on at an operation if an access was stamped since the last one, so a burst of operations is
//! one epoch, and "the operation came after the access" is "epoch of the operation > stamp of the access".

use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::CacheGeometry;

use crate::line::Ways;

/// What happened to the ways of one set since some stamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Swept {
    /// Ways whose dirty bytes have reached memory, or that were emptied.
    pub written_back: Ways,
    /// Ways that were emptied.
    pub invalidated: Ways,
}

impl Swept {
    pub const NOTHING: Self = Self { written_back: Ways::NONE, invalidated: Ways::NONE };
}

#[derive(Clone, Debug)]
pub(crate) struct Sweeps {
    epoch: u32,
    last_epoch: u32,
    /// Whether an access may carry the current epoch as its stamp.
    stamped: bool,
    ways: u32,
    /// log2 of the sets of one CPU's cache.
    cpu_shift: u32,
    /// The last operation on any CPU's whole cache.
    whole: u32,
    /// The last operation on the whole cache of each CPU: any, and one that invalidates.
    whole_of: Vec<[u32; 2]>,
    /// Per set: the last operation on any of its ways.
    latest: Vec<u32>,
    /// Per set and way: the last operation, and the last that invalidates.
    written_back: Vec<u32>,
    invalidated: Vec<u32>,
}

impl Sweeps {
    /// No operation yet on the caches of these CPUs: to all that follows, their sets are numbered one CPU after the other.
    /// `last_epoch` is the highest epoch that the stamps of lines have room for.
    pub fn new(geometry: &CacheGeometry, cpus: u16, last_epoch: u32) -> Self {
        let ways = geometry.ways();
        let sets = geometry.sets() as usize * usize::from(cpus);
        let slots = sets * ways as usize;
        Self {
            epoch: 1,
            last_epoch,
            stamped: false,
            ways,
            cpu_shift: geometry.sets().trailing_zeros(),
            whole: 0,
            whole_of: vec![[0; 2]; cpus.into()],
            latest: vec![0; sets],
            written_back: vec![0; slots],
            invalidated: vec![0; slots],
        }
    }

    /// Of a cache that is not there: nothing is ever swept.
    pub fn none(last_epoch: u32) -> Self {
        Self {
            epoch: 1,
            last_epoch,
            stamped: false,
            ways: 1,
            cpu_shift: 0,
            whole: 0,
            whole_of: Vec::new(),
            latest: Vec::new(),
            written_back: Vec::new(),
            invalidated: Vec::new(),
        }
    }

    /// The stamp of an access that happens now, at least 1. Whoever asks will use it.
    pub fn stamp(&mut self) -> u32 {
        self.stamped = true;
        self.epoch
    }

    /// Now.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether the next [`begin`](Self::begin) would need an epoch that stamps have no room for.
    pub fn is_exhausted(&self) -> bool {
        self.stamped && self.epoch == self.last_epoch
    }

    /// Starts over at the first epoch. Every stamp must have been settled and replaced by [`stamp`](Self::stamp) after this.
    pub fn restart(&mut self) {
        self.epoch = 1;
        self.stamped = true;
        self.whole = 0;
        self.whole_of.fill([0; 2]);
        self.latest.fill(0);
        self.written_back.fill(0);
        self.invalidated.fill(0);
    }

    /// Begins an operation: from now on the epoch is later than every stamp given out.
    pub fn begin(&mut self) -> u32 {
        if self.stamped {
            debug_assert!(self.epoch < self.last_epoch);
            self.epoch += 1;
            self.stamped = false;
        }
        self.epoch
    }

    /// Notes that `way` of `set` was written back and, if `invalidate`, emptied, in the epoch begun last.
    pub fn sweep(&mut self, set: u32, way: u32, invalidate: bool) {
        let slot = (set * self.ways + way) as usize;
        self.latest[set as usize] = self.epoch;
        self.written_back[slot] = self.epoch;
        if invalidate {
            self.invalidated[slot] = self.epoch;
        }
    }

    /// Notes that the whole cache of a CPU was written back and, if `invalidate`, emptied, in the epoch begun last.
    pub fn sweep_all(&mut self, cpu: u16, invalidate: bool) {
        self.whole = self.epoch;
        if let Some([any, invalidating]) = self.whole_of.get_mut(usize::from(cpu)) {
            *any = self.epoch;
            if invalidate {
                *invalidating = self.epoch;
            }
        }
    }

    /// Whether nothing was done to `set` since `stamp`. If another CPU's whole cache was swept, perhaps false all the same.
    #[inline]
    pub fn quiet_since(&self, set: u32, stamp: u32) -> bool {
        self.whole <= stamp && self.latest[set as usize] <= stamp
    }

    /// What was done to the ways of `set` since `stamp`.
    pub fn since(&self, set: u32, stamp: u32) -> Swept {
        if self.quiet_since(set, stamp) {
            return Swept::NOTHING;
        }
        let [whole, whole_invalidate] = self.whole_of.get((set >> self.cpu_shift) as usize).copied().unwrap_or_default();
        let slots = (set * self.ways) as usize..((set + 1) * self.ways) as usize;
        let later = |epochs: &[u32], whole: u32| {
            if whole > stamp {
                return Ways::first(self.ways);
            }
            epochs
                .iter()
                .enumerate()
                .filter(|(_, epoch)| **epoch > stamp)
                .fold(Ways::NONE, |ways, (way, _)| ways.with(way as u32))
        };
        Swept {
            written_back: later(&self.written_back[slots.clone()], whole),
            invalidated: later(&self.invalidated[slots], whole_invalidate),
        }
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        (self.latest.len() + self.written_back.len() + self.invalidated.len()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweeps() -> Sweeps {
        Sweeps::new(&CacheGeometry::new(32 << 10, 4, 32).unwrap(), 2, 100)
    }

    #[test]
    fn an_operation_is_later_than_every_access_before_it_and_than_none_after_it() {
        let mut sweeps = sweeps();
        let before = sweeps.stamp();
        sweeps.begin();
        sweeps.sweep(7, 2, true);
        let after = sweeps.stamp();
        let done = Swept { written_back: Ways::NONE.with(2), invalidated: Ways::NONE.with(2) };
        assert_eq!(sweeps.since(7, before), done);
        assert_eq!(sweeps.since(7, after), Swept::NOTHING);
        assert_eq!(sweeps.since(8, before), Swept::NOTHING);
    }

    #[test]
    fn a_burst_is_one_epoch() {
        let mut sweeps = sweeps();
        sweeps.stamp();
        assert_eq!((sweeps.begin(), sweeps.begin(), sweeps.begin()), (2, 2, 2));
        sweeps.stamp();
        assert_eq!(sweeps.begin(), 3);
    }

    #[test]
    fn a_whole_operation_covers_every_way_of_every_set() {
        let mut sweeps = sweeps();
        let before = sweeps.stamp();
        sweeps.begin();
        sweeps.sweep_all(0, false);
        assert_eq!(sweeps.since(255, before), Swept { written_back: Ways::first(4), invalidated: Ways::NONE });
        assert_eq!(sweeps.since(256 + 255, before), Swept::NOTHING, "of the other CPU");
    }
}
