//! A line as it is if nothing of what was found is mended: so that nobody who reads old bytes is missed because of who read them first.
//!
//! A finding heals the line, as its remedy would have (`line`). Whoever meets the same bytes later is then no finding of his own, as
//! one mended bug should not leave a report of hundreds. But a finding may be let pass, and then nobody mends anything. So from a
//! line's first finding on, until both are the same again, it is judged a second time with nothing healed. What is found there alone
//! *follows* from the findings before it on this line, and counts if one of those does not.
//!
//! Guarantees: what is found in the healed line is found here as well, or was. Exact, as the rules are (proved in this crate's tests).

use alloc::boxed::Box;
use alloc::vec::Vec;

use congruent_geometry::ByteMask;
use congruent_trace::Maintenance;

use crate::finding::{HazardClass, Party};
use crate::line::{Copy, Hazard, Line, Shape, Ways, Writer};

/// See the file's head.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Unhealed {
    /// Without writers: they are the healed line's.
    pub line: Line,
    /// What was healed since the two parted: findings by their places in the list, in ascending order.
    pub follows: Vec<u32>,
}

impl Line {
    /// Keeps the line as it is now, because it will be healed.
    pub(crate) fn part(&mut self) {
        if self.unhealed.is_none() {
            let (copies, writers) = (self.copies.clone(), Vec::new());
            let line = Self { copies, discarded: self.discarded, clobbered: self.clobbered, writers, unhealed: None };
            self.unhealed = Some(Box::new(Unhealed { line, follows: Vec::new() }));
        }
    }

    /// Notes which finding the line was healed after.
    pub(crate) fn note_healed(&mut self, finding: u32) {
        if let Some(other) = &mut self.unhealed
            && let Err(at) = other.follows.binary_search(&finding)
        {
            other.follows.insert(at, finding);
        }
    }

    /// Whether the two are the same again; then there is one.
    pub(crate) fn rejoin(&mut self) {
        let sorted = |copies: &[Copy]| {
            let mut copies = copies.to_vec();
            copies.sort_unstable();
            copies
        };
        if let Some(other) = &self.unhealed
            && other.line.lost() == self.lost()
            && other.line.copies.len() == self.copies.len()
            && sorted(&other.line.copies) == sorted(&self.copies)
        {
            self.unhealed = None;
        }
    }

    /// Heals the line of what a place holds: it is as good as written back and dropped, but for who judges it unhealed.
    pub(crate) fn drop_healed(&mut self, place: u16, ways: Ways) {
        let other = self.unhealed.take();
        self.maintain(Maintenance::WriteBackInvalidate, place, ways);
        self.unhealed = other;
    }

    /// Takes the line as it is if nothing is mended.
    #[cfg(test)]
    pub(crate) fn forget_healing(&mut self) {
        if let Some(other) = self.unhealed.take() {
            let writers = core::mem::take(&mut self.writers);
            *self = Self { writers, ..other.line };
        }
    }

    /// Does the same to the line and to what it is if nothing is mended.
    pub(crate) fn each(&mut self, mut what: impl FnMut(&mut Self)) {
        if let Some(other) = &mut self.unhealed {
            what(&mut other.line);
        }
        what(self);
    }

    /// Every copy that may be held, whether anything is mended or not.
    pub(crate) fn all_copies(&self) -> impl Iterator<Item = &Copy> {
        self.copies.iter().chain(self.unhealed.iter().flat_map(|other| &other.line.copies))
    }

    /// Reports those of these bytes that are hazardous as long as nothing is mended, if the line was ever healed.
    pub(crate) fn judge_unhealed<const N: usize>(
        &self,
        bytes: ByteMask,
        hazards: &mut Vec<Hazard>,
        shape: Shape,
        reasons: impl Fn(&Self, &[Writer]) -> [(HazardClass, ByteMask); N],
    ) {
        let Some(other) = &self.unhealed else { return };
        let mut found = ByteMask::EMPTY;
        for (class, mask) in reasons(&other.line, &self.writers) {
            let left = (bytes & mask) - found;
            found |= left;
            by_producer(left, &self.writers, |bytes, producer| {
                hazards.push(Hazard { follows: true, ..other.line.hazard(shape, class, bytes, producer) });
            });
        }
    }
}

/// Parts bytes by who is known to have written them.
pub(crate) fn by_producer(bytes: ByteMask, writers: &[Writer], mut each: impl FnMut(ByteMask, Option<Party>)) {
    let mut left = bytes;
    for writer in writers {
        let made = left & writer.bytes;
        if !made.is_empty() {
            each(made, Some(writer.party));
            left -= made;
        }
    }
    if !left.is_empty() {
        each(left, None);
    }
}
