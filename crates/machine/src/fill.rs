//! What a miss does: who makes room, where the bytes come from, and what becomes of other CPUs' copies.

use congruent_geometry::PhysAddr;

use crate::adversary::Adversary;
use crate::cache::{At, Place, Slot};
use crate::computer::{Machine, Side};
use crate::config::Maintained;

/// The longest line there is, in bytes.
const LONGEST: usize = 128;

/// What one CPU's cache gives another's.
struct Supply {
    /// Where it goes, if that is decided: where it was, where operations by index are to take all copies of a set alike. All data
    /// caches are of one shape.
    slot: Option<Slot>,
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
        let slot = self.make_room(cpu, side, place, supply.as_ref().and_then(|supply| supply.slot));
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

    /// Takes the copies that other CPUs hold in the same set away, because this one stores. If this CPU has a copy they held the same
    /// bytes, and what is dirty in them may become this one's to write back; else it goes to memory first.
    pub(crate) fn claim(&mut self, cpu: usize, place: Place) {
        if self.cores.len() == 1 {
            return;
        }
        let one_by_one = self.config.maintained != Maintained::Everywhere;
        for other in (0..self.cores.len()).filter(|other| *other != cpu) {
            let theirs = &mut self.cores[other].data;
            if let Some(slot) = theirs.find(place) {
                if one_by_one && theirs.is_dirty(slot) && self.adversary.as_mut().is_some_and(Adversary::likes) {
                    let dirty = theirs.dirty(slot);
                    let own = &mut self.cores[cpu].data;
                    if let Some(own_slot) = own.find(place) {
                        own.set_dirty(own_slot, own.dirty(own_slot) | dirty);
                        self.cores[other].data.set_dirty(slot, 0);
                    }
                }
                let theirs = &mut self.cores[other].data;
                let written = theirs.write_back(slot, &mut self.memory);
                theirs.drop_line(slot);
                self.cores[cpu].counters.snoops += 1;
                self.cores[cpu].counters.write_backs += u64::from(written);
            }
        }
    }

    /// What another CPU's copy in the same set gives, if there is one. A clean copy stays and is shared; a dirty one moves, or leaves a clean
    /// one behind, or stays what it is.
    fn supplied_by_others(&mut self, cpu: usize, place: Place) -> Option<Supply> {
        for other in (0..self.cores.len()).filter(|other| *other != cpu) {
            let theirs = &mut self.cores[other].data;
            if let Some(slot) = theirs.find(place) {
                let from = theirs.line_bytes(slot);
                let mut bytes = [0; LONGEST];
                bytes[..from.len()].copy_from_slice(from);
                let dirty = theirs.dirty(slot);
                let adversary = self.adversary.as_mut().filter(|_| self.config.maintained != Maintained::Everywhere);
                let mut likes = adversary.map(|adversary| [adversary.likes(), adversary.likes()]).unwrap_or_default();
                likes[0] &= dirty != 0;
                match likes {
                    [true, true] => return Some(Supply { slot: None, bytes, dirty: 0 }),
                    [true, false] => theirs.set_dirty(slot, 0),
                    _ if dirty != 0 => theirs.drop_line(slot),
                    _ => {}
                }
                let slot = (self.config.maintained == Maintained::Everywhere).then_some(slot);
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
