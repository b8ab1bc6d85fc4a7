//! Blocks whose fetches change nothing, as was found when they last ran: generated code compares a word and does not call for them.
//!
//! Each block has a place in a table, and marks it when a fetch of all its bytes was found to change nothing. That stays so until the judge
//! says that fetches may change something, or an address leads elsewhere; then the marks go. Of those that were set since, nearly all are
//! of the few blocks that run just then.
//!
//! Guarantees: a block that bears its mark is one whose fetch would be taken as quiet. Two blocks that share a place take it from each
//! other. Not here: what a quiet fetch is (`congruent_shadow`), when addresses lead elsewhere (`session`).

use crate::callbacks::Fetched;
use crate::moment::{Data, Marks};

/// What a mark rests on: as long as these are the same, it is right.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Grounds {
    /// What fetches change, by the judge's count.
    pub code: u64,
    /// How often addresses have come to lead elsewhere that every change of translations leaves alone.
    pub fixed: u64,
    /// How often other addresses have.
    pub mapped: u64,
}

/// The marks that are set.
pub struct Settled {
    marks: Marks,
    grounds: Grounds,
    /// Where blocks are marked whose address is fixed, and where others.
    fixed: Vec<u32>,
    mapped: Vec<u32>,
    /// How many fetches were taken with a call.
    called: u64,
}

impl Settled {
    /// No block is.
    pub fn new(marks: Marks) -> Self {
        Self { marks, grounds: Grounds::default(), fixed: Vec::new(), mapped: Vec::new(), called: 0 }
    }

    /// What generated code is to compare.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The place of a block's mark.
    #[inline]
    pub fn place(block: Fetched) -> usize {
        // The shortest instructions have two bytes, most have four.
        (block.pc >> 2 ^ block.pc >> 1 << 13) as usize % Marks::COUNT
    }

    /// A block is called for.
    #[inline]
    pub fn count(&mut self) {
        self.called += 1;
    }

    /// A fetch of this block changes nothing, on the grounds that were [heeded](Self::heed) last.
    #[inline]
    pub fn mark(&mut self, block: Fetched, is_fixed: bool) {
        let place = Self::place(block);
        let places = if is_fixed { &mut self.fixed } else { &mut self.mapped };
        if places.len() >= Marks::COUNT {
            // Places that blocks take from each other come up again and again.
            clear(&mut self.marks, places);
        }
        places.push(place as u32);
        self.marks.set(place, block.pack() as u64);
    }

    /// Takes away the marks that rest on anything that has changed.
    #[inline]
    pub fn heed(&mut self, grounds: Grounds) {
        if grounds != self.grounds {
            self.clear(grounds);
        }
    }

    fn clear(&mut self, grounds: Grounds) {
        let before = std::mem::replace(&mut self.grounds, grounds);
        clear(&mut self.marks, &mut self.mapped);
        if (before.code, before.fixed) != (grounds.code, grounds.fixed) {
            clear(&mut self.marks, &mut self.fixed);
        }
    }

    /// How many fetches were taken without a call.
    pub fn uncalled(&self) -> u64 {
        self.marks.starts().saturating_sub(self.called)
    }
}

fn clear(marks: &mut Marks, places: &mut Vec<u32>) {
    for place in places.drain(..) {
        marks.set(place as usize, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: Fetched = Fetched { pc: 0x8000_1000, len: 8 };
    const USER: Fetched = Fetched { pc: 0x0040_2040, len: 8 };

    fn is_marked(settled: &Settled, block: Fetched) -> bool {
        settled.marks().get(Settled::place(block)) == block.pack() as u64
    }

    #[test]
    fn a_mark_goes_with_the_grounds_that_it_rests_on() {
        let first = Grounds { code: 1, fixed: 1, mapped: 1 };
        for (grounds, kernel, user) in [
            (first, true, true),
            (Grounds { mapped: 2, ..first }, true, false),
            (Grounds { fixed: 2, ..first }, false, false),
            (Grounds { code: 2, ..first }, false, false),
        ] {
            let mut settled = Settled::new(Marks::of_nobody());
            settled.heed(first);
            settled.mark(KERNEL, true);
            settled.mark(USER, false);
            settled.heed(grounds);
            assert_eq!((is_marked(&settled, KERNEL), is_marked(&settled, USER)), (kernel, user), "{grounds:?}");
        }
    }

    #[test]
    fn blocks_that_share_a_place_take_it_from_each_other_for_ever_and_none_stays_when_it_must_go() {
        let other = Fetched { len: 12, ..KERNEL };
        assert_eq!(Settled::place(KERNEL), Settled::place(other));
        let mut settled = Settled::new(Marks::of_nobody());
        for _ in 0..2 * Marks::COUNT {
            settled.mark(KERNEL, true);
            settled.mark(other, false);
            assert!(is_marked(&settled, other) && !is_marked(&settled, KERNEL));
        }
        settled.heed(Grounds { code: 1, ..Grounds::default() });
        assert!(!is_marked(&settled, other) && !is_marked(&settled, KERNEL));
    }
}
