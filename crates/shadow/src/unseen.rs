//! Writes of devices that nobody saw: told of by their outcome, when memory is not what it was when the last copy of it was thrown away.
//!
//! Bytes whose newest value was discarded with a copy are lost, unless a device has written them since. A source that sees no such write, but
//! sees that the bytes have changed, says so by a write whose device is [`UNSEEN`](congruent_trace::devices::UNSEEN). When that was, between
//! the discarding and now, is not known; so of what was discarded nothing is old any more, neither in memory nor where it was filled in
//! again since, and nothing becomes old either. Guarantees: bytes that were not discarded are judged as before.

use congruent_geometry::{ByteMask, PhysAddr};

use crate::heads::{Head, LineId};
use crate::ledger::Touch;
use crate::line::Line;
use crate::old::Deed;
use crate::shadow::Shadow;

impl Shadow {
    /// Whether dropping every copy of the line at this address may discard bytes that are newest there.
    #[must_use]
    pub fn may_discard(&self, paddr: PhysAddr) -> bool {
        self.line_id(paddr).is_some_and(|id| match self.heads.head(id) {
            Head::Empty | Head::Shared { .. } => false,
            Head::Single { .. } => !self.heads.bits(id).is_empty(),
            Head::Record(_) => true,
        })
    }

    /// The bytes of the line at this address whose newest value was discarded with a copy, and not written since, as far as is known.
    #[must_use]
    pub fn discarded(&self, paddr: PhysAddr) -> ByteMask {
        self.line_id(paddr).map_or(ByteMask::EMPTY, |id| self.discarded_of(id))
    }

    fn discarded_of(&self, id: LineId) -> ByteMask {
        let Head::Record(place) = self.heads.head(id) else { return ByteMask::EMPTY };
        let mut line = Line::default();
        self.records.read(place, &mut line);
        line.unhealed.as_ref().map_or(line.discarded, |other| line.discarded | other.line.discarded)
    }

    /// A device that is not seen has written to these bytes.
    pub(crate) fn take_unseen_write(&mut self, paddr: PhysAddr, len: u64) {
        self.unseen_writes += 1;
        self.each_known_line(paddr, len, |shadow, id, bytes| {
            let discarded = bytes & shadow.discarded_of(id);
            if discarded.is_empty() {
                return;
            }
            shadow.touch(id, Touch::Past { stores: true, bytes: discarded });
            shadow.deed(id, Deed::Unseen(discarded));
            let mut line = shadow.open(id);
            line.each(|line| line.forget_discarded(discarded));
            shadow.close(id, line);
        });
    }
}

impl Line {
    /// Of these bytes nothing is known to be old any more.
    fn forget_discarded(&mut self, bytes: ByteMask) {
        let bytes = bytes & self.discarded;
        self.discarded -= bytes;
        self.clobbered -= bytes;
        for copy in &mut self.copies {
            copy.stale -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use congruent_geometry::VirtAddr;
    use congruent_trace::{AccessKind, DmaDirection, Event, Maintenance, Scope, Site, devices};

    use super::*;
    use crate::{Config, HazardClass};

    const PADDR: PhysAddr = PhysAddr(0x4000);

    fn access(kind: AccessKind, page: u64, offset: u64) -> Event {
        Event::Access { kind, vaddr: VirtAddr(page << 12 | offset), paddr: PADDR.add(offset), size: 4, site: Site(1) }
    }

    fn maintain(op: Maintenance, page: u64) -> Event {
        Event::Maintain { op, scope: Scope::Line { vaddr: VirtAddr(page << 12), paddr: PADDR }, site: Site(2) }
    }

    const UNSEEN: Event = Event::Dma { direction: DmaDirection::Write, paddr: PADDR, len: 4096, site: devices::UNSEEN };

    /// The classes of what is found when these events are judged.
    fn found(events: &[Event]) -> std::vec::Vec<HazardClass> {
        let mut judge = Shadow::new(Config::new("32K,4,32".parse().unwrap()));
        for event in events {
            judge.apply(event);
        }
        judge.findings().iter().map(|finding| finding.class).collect()
    }

    use AccessKind::{Load, Store};

    #[test]
    fn what_was_discarded_and_written_by_nobody_knows_whom_is_not_lost() {
        let discarded = [access(Store, 1, 0), maintain(Maintenance::Invalidate, 1)];
        assert_eq!(found(&[&discarded[..], &[access(Load, 1, 0)]].concat()), [HazardClass::ReadLost]);
        for page in [1, 2] {
            assert_eq!(found(&[&discarded[..], &[UNSEEN, access(Load, page, 0)]].concat()), []);
            // Nor is it where a neighbour's load has filled it in before anybody knew.
            assert_eq!(found(&[&discarded[..], &[access(Load, page, 8), UNSEEN, access(Load, page, 0)]].concat()), []);
        }
    }

    #[test]
    fn what_was_not_discarded_is_as_old_as_it_was() {
        let dirty = [access(Store, 1, 0), UNSEEN, access(Load, 2, 0)];
        assert_eq!(found(&dirty), [HazardClass::ReadDirtyElsewhere]);
        let copy = [access(Load, 2, 0), access(Store, 1, 0), maintain(Maintenance::WriteBack, 1), UNSEEN, access(Load, 2, 0)];
        assert_eq!(found(&copy), [HazardClass::ReadStaleCopy]);
        // What is stored after the discarding is nobody else's.
        let later = [access(Store, 1, 0), maintain(Maintenance::Invalidate, 1), UNSEEN, access(Store, 1, 0), access(Load, 2, 0)];
        assert_eq!(found(&later), [HazardClass::ReadDirtyElsewhere]);
        let again = [access(Store, 1, 0), maintain(Maintenance::Invalidate, 1), UNSEEN, access(Store, 1, 0)];
        let again = [&again[..], &[maintain(Maintenance::Invalidate, 1), access(Load, 1, 0)]].concat();
        assert_eq!(found(&again), [HazardClass::ReadLost]);
    }

    #[test]
    fn it_is_known_what_dropping_a_line_would_discard_and_what_was() {
        let mut judge = Shadow::new(Config::new("32K,4,32".parse().unwrap()));
        assert!(!judge.may_discard(PADDR));
        judge.apply(&access(Load, 1, 0));
        assert!(!judge.may_discard(PADDR));
        judge.apply(&access(Store, 1, 4));
        assert!(judge.may_discard(PADDR) && judge.discarded(PADDR).is_empty());
        judge.apply(&maintain(Maintenance::Invalidate, 1));
        assert_eq!(judge.discarded(PADDR), ByteMask::range(4, 4));
        judge.apply(&UNSEEN);
        assert!(judge.discarded(PADDR).is_empty() && !judge.may_discard(PADDR));
        assert_eq!(judge.stats().unseen_writes, 1);
    }
}
