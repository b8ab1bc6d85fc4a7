//! Virtual tags: an access that goes to another frame's line, which the cache still holds under the same address.
//!
//! What becomes of two frames' lines hangs together there: while one is held the other is not, and a store to the one is none to the other. Each
//! is gone through by itself all the same. That is right as long as whatever happens to one line can happen to it whatever the others do, and it
//! can, since every copy may have gone before an access. But that a store went to another frame's copy, *and so is missing where it belongs*,
//! depends on what became of the other. The judge finds such a store and holds it to be mended; here its own frame gets it as well, and the
//! other frame's copy has it for as long as the judge takes that to be held. So every byte that is given is one that some schedule gives, and
//! one is given wherever a schedule in which no store went astray gives another than the newest (`tests::astray`).
//!
//! In one schedule ([`Schedules::Seed`](super::Schedules::Seed)) a load or a prefetch that hits another frame's copy fills nothing, and before
//! a store such a copy is written back and dropped.

use alloc::vec;

use congruent_geometry::{ByteMask, PhysAddr};
use congruent_trace::{AccessKind, Maintenance};

use super::Bytes;
use super::state::State;
use super::states::Schedule;
use crate::heads::{Head, LineId};
use crate::shadow::Shadow;

impl Bytes {
    /// Whether what is done to this line now goes to another frame's copy, and is done to that.
    pub(super) fn takes_astray(&mut self, id: LineId) -> bool {
        let place = self.astray.iter().position(|line| *line == id);
        place.map(|place| self.astray.swap_remove(place)).is_some()
    }
}

impl Shadow {
    /// An access of these bytes of a line, or a prefetch if it is of no kind, is about to go to what this place may hold of another frame's
    /// line, `met`. What is done to the line itself is said next.
    #[inline]
    pub(crate) fn go_astray(&mut self, kind: Option<AccessKind>, id: LineId, bytes: ByteMask, met: LineId, place: u16) {
        if self.old.is_some() {
            self.go_astray_now(kind, id, bytes, met, place);
        }
    }

    #[inline(never)]
    fn go_astray_now(&mut self, kind: Option<AccessKind>, id: LineId, bytes: ByteMask, met: LineId, place: u16) {
        let head = self.heads.head(met);
        if !matches!(head, Head::Record(_)) {
            self.note_memory_of(met, head);
        }
        let (stamp, states) = self.states_now(met, head);
        let first = self.first_byte(id);
        let shape = self.shape;
        let Some(old) = &mut self.old else { return };
        let is_one = matches!(old.schedule, Schedule::Seeded(_));
        let mut stored = old.newest(id).to_vec();
        old.storing.put(first, bytes, &mut stored);
        let step = |state: State| match kind {
            Some(AccessKind::Store) if is_one => state.maintained(Maintenance::WriteBackInvalidate, place, shape.all_ways),
            Some(AccessKind::Store) => vec![state.stored_astray(shape, place, bytes, &stored)],
            Some(AccessKind::Load) | None => vec![state],
        };
        let after = states.outcomes(shape, &mut old.schedule, &mut old.cut, step);
        if kind == Some(AccessKind::Load) {
            for at in bytes.offsets() {
                let newest = old.newest(id)[at];
                let mut values = after.iter().filter_map(|state| state.held_at(place).map(|held| held.bytes[at]));
                if let Some(value) = values.find(|value| *value != newest) {
                    old.seen.bytes.push((PhysAddr(first + at as u64), value));
                }
            }
        }
        if is_one && after.iter().any(|state| state.held_at(place).is_some()) {
            old.astray.push(id);
        }
        let states = old.least(met, after, shape);
        old.lines.insert(met, (stamp, states));
    }
}
