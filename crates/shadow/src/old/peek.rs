//! What somebody would be given who read memory now, before anybody is judged for it.

use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::{ByteMask, PhysAddr};

use super::Bytes;
use super::states::Schedule;
use crate::heads::{Head, LineId};
use crate::shadow::Shadow;

impl Shadow {
    /// The bytes of a physical range that memory may have old, as a device gets them that reads now. Nothing changes by it; in one schedule, the
    /// caches let everything be until then.
    pub fn old_in_memory(&mut self, paddr: PhysAddr, len: u64) -> Vec<(PhysAddr, u8)> {
        let mut all = Vec::new();
        if self.old.is_some() {
            self.each_known_line(paddr, len, |shadow, id, bytes| shadow.add_old(id, bytes, &mut all));
        }
        all
    }

    fn add_old(&mut self, id: LineId, bytes: ByteMask, all: &mut Vec<(PhysAddr, u8)>) {
        let head = self.heads.head(id);
        let may_be_old = match head {
            Head::Empty | Head::Shared { .. } => false,
            Head::Single { .. } => !self.heads.bits(id).is_empty(),
            Head::Record(_) => true,
        };
        if !may_be_old {
            return;
        }
        if !matches!(head, Head::Record(_)) {
            self.note_memory_of(id, head);
        }
        let (stamp, states) = self.states_now(id, head);
        let (first, shape) = (self.first_byte(id), self.shape);
        let Some(old) = &mut self.old else { return };
        let Bytes { schedule, cut, .. } = &mut **old;
        let after = match schedule {
            Schedule::Worst => states.outcomes(shape, schedule, cut, |state| vec![state]),
            Schedule::Seeded(_) => states.as_they_are().to_vec(),
        };
        for at in bytes.offsets() {
            let newest = old.newest(id)[at];
            if let Some(value) = after.iter().map(|state| state.memory[at]).find(|value| *value != newest) {
                all.push((PhysAddr(first + at as u64), value));
            }
        }
        if matches!(head, Head::Record(_)) {
            old.lines.insert(id, (stamp, states));
        }
    }
}
