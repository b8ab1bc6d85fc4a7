//! What a miss does: who makes room, where the bytes come from, and what becomes of other CPUs' copies.

use congruent_geometry::PhysAddr;

use crate::cache::{At, Place, Slot};
use crate::computer::{Machine, Side};

/// The longest line there is, in bytes.
const LONGEST: usize = 128;

/// What one CPU's cache gives another's.
struct Supply {
    /// Where it was. All data caches are of one shape, and it goes to the same place, so that operations by index take all
    /// copies of a set alike.
    slot: Slot,
    bytes: [u8; LONGEST],
    dirty: u128,
}

impl<T, S> Machine<T, S> {
    /// Makes a CPU's cache hold a line, and says where and whether it was absent.
    pub(crate) fn bring(&mut self, cpu: usize, side: Side, at: At) -> (Slot, bool) {
        let cache = self.cores[cpu].cache(side);
        let place = cache.place(at);
        if let Some(slot) = cache.find(place) {
            cache.touch(slot);
            return (slot, false);
        }
        let line = at.paddr.align_down(cache.line() as u64);
        let supply = match side {
            Side::Data => self.supplied_by_others(cpu, place),
            Side::Code => None,
        };
        let slot = self.make_room(cpu, side, place, supply.as_ref().map(|supply| supply.slot));
        let core = &mut self.cores[cpu];
        let cache = match side {
            Side::Data => &mut core.data,
            Side::Code => &mut core.code,
        };
        let bytes = cache.install(slot, place, line);
        match supply {
            Some(supply) => {
                bytes.copy_from_slice(&supply.bytes[..bytes.len()]);
                cache.set_dirty(slot, supply.dirty);
                core.counters.snoops += 1;
            }
            None => self.memory.fill(line, bytes, &mut core.counters),
        }
        cache.touch(slot);
        (slot, true)
    }

    /// Takes the copies that other CPUs hold in the same set away, because this one stores. If this CPU has a copy they hold the
    /// same bytes and are clean; if it has none, what is dirty goes to memory first.
    pub(crate) fn claim(&mut self, cpu: usize, place: Place) {
        if self.cores.len() == 1 {
            return;
        }
        for other in (0..self.cores.len()).filter(|other| *other != cpu) {
            let theirs = &mut self.cores[other].data;
            if let Some(slot) = theirs.find(place) {
                let written = theirs.write_back(slot, &mut self.memory);
                theirs.drop_line(slot);
                self.cores[cpu].counters.snoops += 1;
                self.cores[cpu].counters.write_backs += u64::from(written);
            }
        }
    }

    /// What another CPU's copy in the same set gives, if there is one. A dirty copy moves; a clean one stays and is shared.
    fn supplied_by_others(&mut self, cpu: usize, place: Place) -> Option<Supply> {
        for other in (0..self.cores.len()).filter(|other| *other != cpu) {
            let theirs = &mut self.cores[other].data;
            if let Some(slot) = theirs.find(place) {
                let from = theirs.line_bytes(slot);
                let mut bytes = [0; LONGEST];
                bytes[..from.len()].copy_from_slice(from);
                let dirty = theirs.dirty(slot);
                if dirty != 0 {
                    theirs.drop_line(slot);
                }
                return Some(Supply { slot, bytes, dirty });
            }
        }
        None
    }

    /// An empty slot of the set, if need be by throwing something out: this one, or what the replacement chooses.
    fn make_room(&mut self, cpu: usize, side: Side, place: Place, slot: Option<Slot>) -> Slot {
        let core = &mut self.cores[cpu];
        let cache = match side {
            Side::Data => &mut core.data,
            Side::Code => &mut core.code,
        };
        let slot = slot.unwrap_or_else(|| cache.victim(place.set));
        if cache.held(slot).is_some() {
            core.counters.evictions += 1;
            core.counters.write_backs += u64::from(cache.write_back(slot, &mut self.memory));
            cache.drop_line(slot);
        }
        slot
    }

    /// Whether some data cache holds a dirty copy of the line of `paddr`: for tests and explanations.
    #[must_use]
    pub fn is_dirty_anywhere(&self, paddr: PhysAddr) -> bool {
        self.cores.iter().any(|core| {
            let line = paddr.align_down(core.data.line() as u64);
            core.data.copies(line).any(|slot| core.data.is_dirty(slot))
        })
    }
}
