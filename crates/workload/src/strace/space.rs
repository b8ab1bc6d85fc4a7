//! A process's addresses: which mapping of the VM stands for which stretch of them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Range;

use congruent_vm::{AreaId, Bytes};

/// A stretch of a mapping at some address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stretch {
    end: u64,
    area: AreaId,
    /// Where in the mapping it begins.
    offset: u32,
}

/// Stretches that do not overlap, by address.
#[derive(Clone, Default, Debug)]
pub(super) struct Space(BTreeMap<u64, Stretch>);

impl Space {
    /// Puts a mapping at an address where nothing is.
    pub fn insert(&mut self, range: Range<u64>, area: AreaId, offset: u32) {
        self.0.insert(range.start, Stretch { end: range.end, area, offset });
    }

    /// Takes away what is in a range, and says what that was.
    pub fn remove(&mut self, range: Range<u64>) -> Vec<Bytes> {
        let touched: Vec<(u64, Stretch)> = self.touching(&range).collect();
        let mut gone = Vec::new();
        for (start, stretch) in touched {
            self.0.remove(&start);
            let (from, until) = (range.start.max(start), range.end.min(stretch.end));
            gone.push(Bytes { area: stretch.area, offset: stretch.offset + (from - start) as u32, len: (until - from) as u32 });
            if start < from {
                self.0.insert(start, Stretch { end: from, ..stretch });
            }
            if until < stretch.end {
                self.0.insert(until, Stretch { offset: stretch.offset + (until - start) as u32, ..stretch });
            }
        }
        gone
    }

    /// The mappings behind a range, in order; `None` if some of it is not mapped.
    pub fn find(&self, range: Range<u64>) -> Option<Vec<Bytes>> {
        let mut found = Vec::new();
        let mut at = range.start;
        for (start, stretch) in self.touching(&range) {
            if start > at {
                return None;
            }
            let until = range.end.min(stretch.end);
            found.push(Bytes { area: stretch.area, offset: stretch.offset + (at - start) as u32, len: (until - at) as u32 });
            at = until;
        }
        (at >= range.end).then_some(found)
    }

    /// The mappings of which something is left.
    pub fn areas(&self) -> BTreeSet<AreaId> {
        self.0.values().map(|stretch| stretch.area).collect()
    }

    /// Whether this is all that is left of the mapping.
    pub fn is_all_of(&self, bytes: &Bytes) -> bool {
        let mut of_area = self.0.iter().filter(|(_, stretch)| stretch.area == bytes.area);
        let (first, more) = (of_area.next(), of_area.next());
        first.is_some_and(|(start, stretch)| stretch.offset == bytes.offset && stretch.end - start == u64::from(bytes.len))
            && more.is_none()
    }

    fn touching(&self, range: &Range<u64>) -> impl Iterator<Item = (u64, Stretch)> + use<'_> {
        let before = self.0.range(..range.start).next_back().filter(|(_, stretch)| stretch.end > range.start);
        let within = self.0.range(range.start..range.end.max(range.start));
        before.into_iter().chain(within).map(|(start, stretch)| (*start, *stretch))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn bytes(area: u16, offset: u32, len: u32) -> Bytes {
        Bytes { area: AreaId(area), offset, len }
    }

    #[test]
    fn a_hole_leaves_what_is_on_either_side() {
        let mut space = Space::default();
        space.insert(100..200, AreaId(1), 0);
        space.insert(200..300, AreaId(2), 50);
        assert_eq!(space.find(150..250), Some(vec![bytes(1, 50, 50), bytes(2, 50, 50)]));
        assert_eq!(space.remove(180..220), vec![bytes(1, 80, 20), bytes(2, 50, 20)]);
        assert_eq!(space.find(150..250), None);
        assert_eq!(space.find(220..300), Some(vec![bytes(2, 70, 80)]));
        assert!(space.is_all_of(&bytes(2, 70, 80)) && !space.is_all_of(&bytes(2, 70, 79)));
        assert_eq!(space.remove(0..400), vec![bytes(1, 0, 80), bytes(2, 70, 80)]);
        assert!(space.areas().is_empty());
    }

    #[test]
    fn what_ends_before_or_begins_after_is_not_touched() {
        let mut space = Space::default();
        space.insert(100..200, AreaId(0), 0);
        assert!(space.remove(0..100).is_empty() && space.remove(200..300).is_empty());
        assert_eq!(space.find(200..201), None);
        assert_eq!(space.find(99..101), None);
        assert_eq!(space.find(199..200), Some(vec![bytes(0, 99, 1)]));
    }
}
