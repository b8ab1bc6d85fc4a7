//! Writes of devices that are not followed, known by their outcome.
//!
//! A kernel that gives a buffer to a device throws away what the cache holds of it, and what was dirty there is lost unless the device
//! writes over it. Of a device that is followed that is seen. For any other, what memory has at that moment is kept here, which in QEMU is what the
//! CPUs have put there; when code comes back to a line of which something was discarded, memory is compared with it. Has it changed, somebody
//! else wrote, and the judge is told so ([`UNSEEN`](devices::UNSEEN)): what was read there is then not known to be old.
//!
//! It is decided by page, because a device may have written what was there before. Where a page has not changed at all, the write may still have
//! been: zeroes over zeroes. That is taken for one if what was discarded is one byte again and again, and the code that threw it away has done so
//! for such a device before.
//!
//! Guarantees: a machine that throws nothing away keeps nothing and pays a look at an empty map, on the slow path alone. Not seen: what such devices
//! read, what they write where nothing was discarded, and how often.

use std::collections::{HashMap, HashSet};

use congruent_geometry::{CacheGeometry, PhysAddr};
use congruent_trace::{AccessKind, DmaDirection, Event, Maintenance, On, Site, devices};

use super::Session;
use super::inject::Memory;
use crate::bus;
use crate::judge::Judge;
use crate::moment::Running;
use crate::translation::GRANULE;

/// How many pages are kept at most; of more, nothing is known.
const MOST: usize = 1 << 12;
/// The shortest line, in bytes.
const SHORTEST_LINE: u64 = 8;
/// And the longest.
const LONGEST_LINE: usize = 128;
const PAGE: usize = GRANULE as usize;

/// What memory had where copies were thrown away.
#[derive(Default)]
pub(super) struct Unseen {
    /// By the number of the page.
    pages: HashMap<u64, Page>,
    /// Code that has thrown away what a device then wrote.
    proven: HashSet<Site>,
    /// Whether there was more to keep than there is room for.
    full: bool,
}

/// A page of which something was thrown away.
struct Page {
    bytes: Box<[u8; PAGE]>,
    /// The lines that are kept, by their offsets.
    lines: HashSet<u64>,
    /// The code that threw it away.
    site: Site,
}

/// What a comparison says. Of several lines, the greatest counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Compared {
    /// Memory has not changed, and what was thrown away is one byte again and again.
    Uniform,
    /// It has not, and whoever wrote would have had to write the very same.
    Same,
    /// It has.
    Changed,
}

impl Unseen {
    /// Keeps what memory has in these bytes, which `site` is about to throw away, as far as there is anything to lose.
    fn keep(
        &mut self,
        judge: &Judge,
        geometry: &CacheGeometry,
        start: u64,
        len: u64,
        site: Site,
        read: impl Fn(u64, &mut [u8]) -> bool,
    ) {
        let line = u64::from(geometry.line()).clamp(SHORTEST_LINE, PAGE as u64);
        for at in (start & !(line - 1)..start.saturating_add(len)).step_by(line as usize) {
            if !judge.may_discard(PhysAddr(at)) {
                continue;
            }
            let number = at / PAGE as u64;
            if !self.pages.contains_key(&number) && self.pages.len() >= MOST {
                self.pages.retain(|number, page| !page.is_over(judge, *number));
                if self.pages.len() >= MOST {
                    self.full = true;
                    return;
                }
            }
            let page =
                self.pages.entry(number).or_insert_with(|| Page { bytes: Box::new([0; PAGE]), lines: HashSet::new(), site });
            let offset = at % PAGE as u64;
            if read(at, &mut page.bytes[offset as usize..][..line as usize]) {
                page.lines.insert(offset);
                page.site = site;
            } else {
                page.lines.remove(&offset);
            }
        }
    }

    /// Whether somebody has written to the page of these bytes, which are about to be accessed. Who is seen has told of his write before he made it,
    /// so as long as something is `pending` that may be it: `None`.
    fn was_written(
        &mut self,
        judge: &Judge,
        geometry: &CacheGeometry,
        paddr: u64,
        len: u64,
        read: impl Fn(u64, &mut [u8]) -> bool,
        pending: impl Fn() -> bool,
    ) -> Option<bool> {
        let number = paddr / PAGE as u64;
        let Some(page) = self.pages.get_mut(&number) else { return Some(false) };
        let line = u64::from(geometry.line()).clamp(SHORTEST_LINE, PAGE as u64);
        let touched = (paddr & !(line - 1)..paddr.saturating_add(len)).step_by(line as usize);
        let mut compared = None;
        for at in touched.filter(|at| at / PAGE as u64 == number) {
            compared = compared.max(page.compare(judge, number, at % PAGE as u64, line, &read));
        }
        let Some(here) = compared else { return Some(false) };
        let changed = here == Compared::Changed || {
            // The judge is asked of lines that are not what they were, and of no others: this is done at each access to such a page.
            let others = page.different(number, line, &read);
            others.into_iter().any(|offset| page.compare(judge, number, offset, line, &read) == Some(Compared::Changed))
        };
        let written = changed || here == Compared::Uniform && self.proven.contains(&page.site);
        if written {
            if pending() {
                return None;
            }
            if changed {
                self.proven.insert(page.site);
            }
            self.pages.remove(&number);
        }
        Some(written)
    }

    /// Tells the judge of what was written unseen to the pages of these bytes, which are about to be accessed. False if that cannot be said before
    /// what is `pending` of devices that are seen has been told to the judge.
    pub fn look(
        &mut self,
        judge: &mut Judge,
        geometry: &CacheGeometry,
        paddr: u64,
        len: u64,
        read: impl Fn(u64, &mut [u8]) -> bool,
        pending: impl Fn() -> bool,
    ) -> bool {
        let end = paddr.saturating_add(len);
        let mut at = paddr;
        while at < end && !self.pages.is_empty() {
            let next = (at / PAGE as u64 + 1) * PAGE as u64;
            let Some(written) = self.was_written(judge, geometry, at, next.min(end) - at, &read, &pending) else { return false };
            if written {
                let start = PhysAddr(at & !(PAGE as u64 - 1));
                let write = Event::Dma { direction: DmaDirection::Write, paddr: start, len: PAGE as u64, site: devices::UNSEEN };
                if judge.keeps_bytes() {
                    let mut bytes = [0; PAGE];
                    if read(start.0, &mut bytes) {
                        judge.tell_storing(start, &bytes);
                    }
                }
                judge.bypass(&write);
            }
            at = next;
        }
        true
    }

    /// Code has stored these bytes: QEMU tells of a store when memory has it, so there is no more to be learnt from them.
    pub fn stored(&mut self, paddr: u64, len: u64, read: impl Fn(u64, &mut [u8]) -> bool) {
        let Some(page) = self.pages.get_mut(&(paddr / PAGE as u64)) else { return };
        let from = (paddr % PAGE as u64) as usize;
        let to = (from + len as usize).min(PAGE);
        read(paddr, &mut page.bytes[from..to]);
    }

    /// As [`look`](Self::look), before this event of a device, if it reads: another may have written that. Nothing is said while something is
    /// `pending`.
    pub fn before(
        &mut self,
        judge: &mut Judge,
        geometry: &CacheGeometry,
        event: &Event,
        read: impl Fn(u64, &mut [u8]) -> bool,
        pending: impl Fn() -> bool,
    ) {
        if let Event::Dma { direction: DmaDirection::Read, paddr, len, .. } = *event {
            self.look(judge, geometry, paddr.0, len, read, pending);
        }
    }

    /// Whether nothing is kept.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// What is left out, in a sentence.
    pub fn limit(&self) -> Option<String> {
        self.full.then(|| {
            format!(
                "the guest threw away what its cache held of more than {MOST} pages at a time: where a device that is not followed wrote to \
                 others, its reader is told to read lost bytes"
            )
        })
    }

    /// Forgets what was kept: what is thrown away now is not.
    fn forget(&mut self) {
        self.pages.clear();
    }
}

impl Page {
    /// What of the line at this offset was thrown away, compared with what memory has now; `None` if nothing was that is kept.
    fn compare(
        &mut self,
        judge: &Judge,
        number: u64,
        offset: u64,
        line: u64,
        read: impl Fn(u64, &mut [u8]) -> bool,
    ) -> Option<Compared> {
        if !self.lines.contains(&offset) {
            return None;
        }
        let at = number * PAGE as u64 + offset;
        let discarded = judge.discarded(PhysAddr(at));
        if discarded.is_empty() {
            // Written since, by somebody who was seen.
            self.lines.remove(&offset);
            return None;
        }
        // Small, because this is asked of every line of a page: no cache that is judged has longer lines.
        let mut now = [0; LONGEST_LINE];
        let now = now.get_mut(..line as usize)?;
        if !read(at, now) {
            return None;
        }
        let pairs = || {
            let before = self.bytes[offset as usize..].iter();
            before.zip(now.iter()).enumerate().filter(|(place, _)| discarded.0 >> place & 1 != 0).map(|(_, pair)| pair)
        };
        let first = pairs().next().map(|(before, _)| *before)?;
        Some(if pairs().any(|(before, now)| before != now) {
            Compared::Changed
        } else if pairs().all(|(before, _)| *before == first) {
            Compared::Uniform
        } else {
            Compared::Same
        })
    }

    /// The kept lines in which memory is not what it was.
    fn different(&self, number: u64, line: u64, read: impl Fn(u64, &mut [u8]) -> bool) -> Vec<u64> {
        let mut now = [0; PAGE];
        if !read(number * PAGE as u64, &mut now) {
            return Vec::new();
        }
        let line = line as usize;
        let differs = |offset: &u64| self.bytes[*offset as usize..][..line] != now[*offset as usize..][..line];
        self.lines.iter().copied().filter(differs).collect()
    }

    /// Whether all that was thrown away has been written since.
    fn is_over(&self, judge: &Judge, number: u64) -> bool {
        self.lines.iter().all(|offset| judge.discarded(PhysAddr(number * PAGE as u64 + offset)).is_empty())
    }
}

impl Session {
    /// Something is about to be thrown away, perhaps.
    pub(super) fn keep_discarded(&mut self, on: On, paddr: Option<PhysAddr>, len: u32, site: Site, now: &Running) {
        if on != On::Data(Maintenance::Invalidate) {
            return;
        }
        match paddr {
            Some(PhysAddr(start)) => {
                let own = Memory::of(self.inject.as_ref(), self.leaving.as_ref());
                let read = |at, to: &mut [u8]| own.is_read(at, to, |at, to| now.physical_bytes(at, to));
                self.unseen.keep(&self.judge, &self.reach.geometry, start, len.into(), site, read);
            }
            None => self.unseen.forget(),
        }
    }

    /// Code is about to access these bytes of memory in a way that changes something.
    #[inline]
    pub(super) fn look_for_unseen(&mut self, kind: AccessKind, paddr: PhysAddr, len: u32, now: &Running) {
        if !self.unseen.is_empty() {
            self.look_for_unseen_now(kind, paddr, len, now);
        }
    }

    #[cold]
    fn look_for_unseen_now(&mut self, kind: AccessKind, paddr: PhysAddr, len: u32, now: &Running) {
        loop {
            let own = Memory::of(self.inject.as_ref(), self.leaving.as_ref());
            let read = |at, to: &mut [u8]| own.is_read(at, to, |at, to| now.physical_bytes(at, to));
            if kind == AccessKind::Store {
                self.unseen.stored(paddr.0, len.into(), read);
            }
            if self.unseen.look(&mut self.judge, &self.reach.geometry, paddr.0, len.into(), read, bus::is_pending) {
                return;
            }
            self.take_transfers();
        }
    }

    /// Nothing was thrown away yet.
    pub(super) fn forget_unseen(&mut self) {
        self.unseen = Unseen::default();
    }
}

#[cfg(test)]
mod tests {
    use congruent_geometry::VirtAddr;
    use congruent_shadow::Config;
    use congruent_trace::{IndexForm, Operation, Target};

    use super::*;

    const BUFFER: u64 = 0x5_0000;

    /// A machine with memory, of which the plugin sees what its CPU does.
    struct Machine {
        judge: Judge,
        geometry: CacheGeometry,
        memory: Vec<u8>,
        unseen: Unseen,
    }

    /// Reads this memory, as QEMU does.
    fn reader(memory: &[u8]) -> impl Fn(u64, &mut [u8]) -> bool {
        |at, to| {
            to.copy_from_slice(&memory[at as usize..][..to.len()]);
            true
        }
    }

    impl Machine {
        fn new() -> Self {
            let geometry = CacheGeometry::new(32 << 10, 4, 32).unwrap();
            let judge = Judge::new(Config::new(geometry), IndexForm::Resolved);
            Self { judge, geometry, memory: vec![0; 0x8_0000], unseen: Unseen::default() }
        }

        fn access(&mut self, kind: AccessKind, paddr: u64) {
            self.unseen.look(&mut self.judge, &self.geometry, paddr, 4, reader(&self.memory), || false);
            let page = self.judge.page(self.geometry.frame(PhysAddr(paddr)));
            self.judge.access(kind, page, VirtAddr(paddr), self.geometry.page_offset(paddr), 4, Site(1));
        }

        /// The CPU fills bytes.
        fn fill(&mut self, start: u64, len: u64, value: u8) {
            for at in (start..start + len).step_by(4) {
                self.access(AccessKind::Store, at);
            }
            self.memory[start as usize..][..len as usize].fill(value);
        }

        /// The CPU gives bytes to a device to write them.
        fn give(&mut self, start: u64, len: u64) {
            self.unseen.keep(&self.judge, &self.geometry, start, len, Site(7), reader(&self.memory));
            let target = Target::Bytes { vaddr: VirtAddr(start), paddr: PhysAddr(start), bytes: len as u32 };
            self.judge.operate(Operation { on: On::Data(Maintenance::Invalidate), target, site: Site(7) }, false);
        }

        /// A device that nobody sees writes bytes.
        fn write(&mut self, start: u64, bytes: &[u8]) {
            self.memory[start as usize..][..bytes.len()].copy_from_slice(bytes);
        }

        /// How often something could be old when all of these are loaded.
        fn hazards_of_load(&mut self, start: u64, len: u64) -> u64 {
            let before = self.judge.stats().hazards;
            for at in (start..start + len).step_by(4) {
                self.access(AccessKind::Load, at);
            }
            self.judge.stats().hazards - before
        }
    }

    #[test]
    fn what_a_device_that_nobody_sees_wrote_is_not_lost() {
        let mut machine = Machine::new();
        machine.fill(BUFFER, 4096, 0);
        machine.give(BUFFER, 4096);
        // Most of it is what was there before.
        machine.write(BUFFER + 0x123, b"x");
        assert_eq!(machine.hazards_of_load(BUFFER, 4096), 0);
        assert_eq!(machine.judge.stats().unseen_writes, 1);
    }

    #[test]
    fn what_a_device_that_is_seen_reads_may_have_been_written_by_one_that_is_not() {
        for written in [true, false] {
            let mut machine = Machine::new();
            machine.fill(BUFFER, 4096, 0);
            machine.give(BUFFER, 4096);
            if written {
                machine.write(BUFFER + 0x123, b"x");
            }
            let (paddr, site) = (PhysAddr(BUFFER), Site(3));
            let event = Event::Dma { direction: DmaDirection::Read, paddr, len: 4096, site };
            machine.unseen.before(&mut machine.judge, &machine.geometry, &event, reader(&machine.memory), || false);
            machine.judge.bypass(&event);
            assert_eq!(machine.judge.stats().hazards == 0, written);
        }
    }

    #[test]
    fn nothing_is_concluded_before_what_devices_that_are_seen_have_told_of_is_judged() {
        let mut machine = Machine::new();
        machine.fill(BUFFER, 4096, 0);
        machine.give(BUFFER, 4096);
        machine.write(BUFFER + 0x123, b"x");
        let read = reader(&machine.memory);
        for pending in [true, true, false] {
            let said = machine.unseen.look(&mut machine.judge, &machine.geometry, BUFFER, 4, &read, || pending);
            assert_eq!((said, machine.judge.stats().unseen_writes), (!pending, u64::from(!pending)));
        }
        // Of what a device was seen to write, nothing is concluded at all.
        let mut machine = Machine::new();
        machine.fill(BUFFER, 4096, 0);
        machine.give(BUFFER, 4096);
        machine.write(BUFFER + 0x120, b"x");
        let (direction, paddr, site) = (DmaDirection::Write, PhysAddr(BUFFER + 0x120), Site(3));
        machine.judge.bypass(&Event::Dma { direction, paddr, len: 8, site });
        assert_eq!(machine.hazards_of_load(BUFFER + 0x120, 8), 0);
        assert!(machine.hazards_of_load(BUFFER, 32) > 0);
        assert_eq!(machine.judge.stats().unseen_writes, 0);
    }

    #[test]
    fn a_store_of_the_guests_own_is_nobody_elses_though_memory_has_it_before_it_is_told_of() {
        let mut machine = Machine::new();
        machine.fill(BUFFER, 64, 0);
        machine.give(BUFFER, 64);
        machine.write(BUFFER + 4, &[1; 4]);
        machine.unseen.stored(BUFFER + 4, 4, reader(&machine.memory));
        machine.access(AccessKind::Store, BUFFER + 4);
        assert_eq!(machine.judge.stats().unseen_writes, 0);
        assert!(machine.hazards_of_load(BUFFER + 32, 32) > 0);
    }

    #[test]
    fn what_nobody_wrote_is_lost() {
        for value in [0, 0x5a] {
            let mut machine = Machine::new();
            machine.fill(BUFFER, 4096, value);
            machine.give(BUFFER, 4096);
            assert!(machine.hazards_of_load(BUFFER, 4096) > 0);
            assert_eq!(machine.judge.stats().unseen_writes, 0);
        }
    }

    #[test]
    fn zeroes_over_zeroes_are_a_write_where_the_same_code_gave_memory_to_such_a_device_before() {
        let mut machine = Machine::new();
        for (buffer, first) in [(BUFFER, 1), (BUFFER + 0x1000, 0)] {
            machine.fill(buffer, 4096, 0);
            machine.give(buffer, 4096);
            machine.write(buffer, &[first]);
            assert_eq!(machine.hazards_of_load(buffer, 4096), 0);
        }
        // What is not one byte again and again would have had to be written as it was.
        let lost = BUFFER + 0x2000;
        machine.fill(lost, 4, 1);
        machine.fill(lost + 4, 4, 2);
        machine.give(lost, 32);
        assert!(machine.hazards_of_load(lost, 8) > 0);
    }

    #[test]
    fn what_was_stored_since_and_thrown_away_unseen_by_us_is_not_compared_with_what_was_before() {
        let mut machine = Machine::new();
        machine.fill(BUFFER, 32, 1);
        machine.give(BUFFER, 32);
        machine.fill(BUFFER, 32, 2);
        // Whole lines are stored anew, and nothing of them is discarded any more.
        assert_eq!(machine.hazards_of_load(BUFFER, 32), 0);
        assert_eq!(machine.judge.stats().unseen_writes, 0);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for_and_what_is_over_makes_room() {
        let mut machine = Machine::new();
        for number in 0..MOST as u64 {
            machine.unseen.pages.insert(number, Page { bytes: Box::new([0; PAGE]), lines: HashSet::from([0]), site: Site(7) });
        }
        machine.fill(BUFFER, 32, 1);
        machine.unseen.pages.remove(&(BUFFER / PAGE as u64));
        machine.unseen.pages.insert(1 << 40, Page { bytes: Box::new([0; PAGE]), lines: HashSet::new(), site: Site(7) });
        machine.give(BUFFER, 32);
        assert_eq!(machine.unseen.pages.keys().collect::<Vec<_>>(), [&(BUFFER / PAGE as u64)]);
        assert_eq!(machine.unseen.limit(), None);
    }

    #[test]
    fn that_more_was_thrown_away_than_there_is_room_for_is_said() {
        let mut machine = Machine::new();
        // None of these is over: each has a line whose newest bytes nobody has written since.
        for number in 0..MOST as u64 {
            let paddr = (number + 0x100) * PAGE as u64;
            let page = machine.judge.page(machine.geometry.frame(PhysAddr(paddr)));
            machine.judge.access(AccessKind::Store, page, VirtAddr(paddr), 0, 4, Site(1));
            let target = Target::Bytes { vaddr: VirtAddr(paddr), paddr: PhysAddr(paddr), bytes: 32 };
            machine.unseen.keep(&machine.judge, &machine.geometry, paddr, 32, Site(7), |_, _| true);
            machine.judge.operate(Operation { on: On::Data(Maintenance::Invalidate), target, site: Site(7) }, false);
        }
        assert_eq!((machine.unseen.pages.len(), machine.unseen.limit()), (MOST, None));
        machine.fill(BUFFER, 32, 1);
        machine.give(BUFFER, 32);
        assert!(machine.unseen.limit().is_some());
    }
}
