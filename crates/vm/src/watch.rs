//! Who compares what is seen with what must be, and keeps count.

use alloc::vec::Vec;

use congruent_geometry::PhysAddr;
use congruent_trace::Site;

use crate::board::Hw;
use crate::outcome::{Corruption, Whereabouts, Witness};

/// How many corruptions are kept whole.
const KEPT: usize = 64;

#[derive(Default, Debug)]
pub(crate) struct Watch {
    pub corruptions: Vec<Corruption>,
    pub bytes: u64,
    pub unnamed: u64,
    /// The first of the current step.
    pub first: Option<Corruption>,
    /// The number of the current step.
    pub step: u64,
}

/// Bytes that somebody has seen.
pub(crate) struct Sight {
    pub witness: Witness,
    pub site: Site,
    /// Where the first byte is, if it is in memory. All of them lie in one frame.
    pub paddr: Option<PhysAddr>,
}

impl Watch {
    /// Books every byte that is not what it must be. `place` says what a byte is, by its number. Returns whether all were right.
    #[inline]
    pub fn compare(&mut self, hw: &Hw, sight: &Sight, got: &[u8], want: &[u8], place: impl Fn(u32) -> Whereabouts) -> bool {
        if got == want {
            return true;
        }
        self.book(hw, sight, got, want, &place);
        false
    }

    #[cold]
    fn book(&mut self, hw: &Hw, sight: &Sight, got: &[u8], want: &[u8], place: &dyn Fn(u32) -> Whereabouts) {
        for (at, (got, want)) in got.iter().zip(want).enumerate().filter(|(_, (got, want))| got != want) {
            let paddr = sight.paddr.map(|paddr| paddr.add(at as u64));
            let named = paddr.is_some_and(|paddr| hw.machine.sink().named(paddr));
            let corruption = Corruption {
                witness: sight.witness,
                place: place(at as u32),
                paddr,
                got: *got,
                want: *want,
                site: sight.site,
                named,
                step: self.step,
            };
            self.bytes += 1;
            self.unnamed += u64::from(!named);
            self.first.get_or_insert(corruption);
            if self.corruptions.len() < KEPT {
                self.corruptions.push(corruption);
            }
        }
    }
}
