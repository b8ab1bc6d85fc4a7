//! The guest is given old bytes (`--inject`): what the judge has to know for it, and what is delivered.
//!
//! Memory always has the guest's own bytes, the newest, so that whoever is not judged (walks of page tables, loads that QEMU makes for itself)
//! sees what it would see without us. Only for one load at a time does it show what a core could have given (`redo`, `ram`).
//!
//! Guarantees: old bytes are delivered where a finding is, or what follows from one, and nowhere else: of what the judge knows of memory, what a
//! device writes may be late by a moment. Not here: which bytes are old (`congruent_shadow`), what devices are given (`apart`).

use std::collections::BTreeMap;

use congruent_geometry::PhysAddr;
use congruent_shadow::{Finding, Key, PageId};
use congruent_trace::{AccessKind, DmaDirection, Event, Site};
use congruent_wire::{Delivered, Delivery, Message};

use super::Session;
use super::apart::SetApart;
use super::leave::Leaving;
use super::redo::{Redo, Shown};
use crate::access::{AccessInfo, AccessShape};
use crate::bus;
use crate::judge::Judge;
use crate::ram::{Granule, Ram};
use crate::translation::{GRANULE, Known};

/// The longest transfer of a device whose bytes are told, in bytes: longer than any that a kernel asks for.
const LONGEST_TRANSFER: u64 = 64 << 20;

/// The longest access.
const LONGEST: usize = 64;

/// What is known for it.
pub(super) struct Inject {
    ram: Ram,
    /// Whether what memory had at first is kept.
    begun: bool,
    /// The granules of the judge's memory.
    granules: Vec<Option<Granule>>,
    /// What is being delivered, and because of which finding.
    delivering: Option<(Key, Delivery)>,
    delivered: BTreeMap<Key, Delivered>,
    /// Loads that could not be made again.
    undelivered: u64,
    /// What devices are given.
    pub apart: SetApart,
}

impl Inject {
    /// Nothing is known yet.
    ///
    /// # Errors
    /// A sentence, if this QEMU lacks something.
    pub fn find() -> Result<Self, String> {
        let ram = Ram::find().map_err(|missing| {
            format!("--inject: this QEMU does not export {missing}; take a distribution's QEMU 10.0 or newer, or leave it out")
        })?;
        let (granules, delivered) = (Vec::new(), BTreeMap::new());
        Ok(Self { ram, begun: false, granules, delivering: None, delivered, undelivered: 0, apart: SetApart::default() })
    }

    /// The machine starts anew, with a new judge.
    pub fn begin_anew(&mut self) {
        self.begun = false;
        self.granules.clear();
        self.delivering = None;
        self.apart.begin_anew();
    }

    fn granule_of(&self, number: u64) -> Option<Granule> {
        self.granules.get((number / u64::from(GRANULE)) as usize).copied().flatten()
    }

    /// Tells the judge of a page, in which so many bytes at an offset have just been stored.
    fn meet(&mut self, judge: &mut Judge, page: PageId, size: usize, offset: usize, stored: usize) {
        let start = judge.paddr(page, 0).0;
        let first = (judge.byte(page, 0).number() / u64::from(GRANULE)) as usize;
        let count = size / GRANULE as usize;
        if self.granules.len() < first + count {
            self.granules.resize(first + count, None);
        }
        let mut bytes = vec![0; size];
        for at in 0..count {
            let Some(granule) = self.ram.granule(start + (at as u64) * u64::from(GRANULE)) else { continue };
            self.granules[first + at] = Some(granule);
            let range = at * GRANULE as usize..(at + 1) * GRANULE as usize;
            granule.read(0, &mut bytes[range.clone()]);
            if range.contains(&offset) {
                let before = self.ram.first(granule);
                let end = (offset + stored).min(range.end);
                bytes[offset..end].copy_from_slice(&before[offset - range.start..end - range.start]);
            }
        }
        judge.tell_page(page, &bytes);
    }

    /// What was delivered, in the order of these findings.
    pub fn delivered(&self, findings: &[Finding]) -> Vec<Option<Delivered>> {
        findings.iter().map(|finding| self.delivered.get(&finding.key()).cloned()).collect()
    }

    /// What was not delivered, in sentences; `left_out` is what the judge says of [its states](congruent_shadow::Shadow::states_left_out).
    pub fn limits(&self, left_out: u64) -> Vec<String> {
        let given = match bus::sets_apart() {
            false => "to loads: walks of page tables, fetches and devices",
            true => "to loads and to the IDE controller: walks of page tables, fetches and other devices",
        };
        let mut limits = vec![format!("old bytes were given {given} had the newest")];
        limits.extend(self.apart.limit());
        if self.undelivered > 0 {
            limits.push(format!(
                "{} loads that QEMU makes in functions of its own (such as `ll`) had the newest bytes, because they cannot be made again",
                self.undelivered
            ));
        }
        if left_out > 0 {
            limits.push(format!(
                "{left_out} times a line of memory could be in more states than are gone through; loads may have had the newest bytes there"
            ));
        }
        limits
    }
}

/// The guest's memory without what it shows for a load.
#[derive(Clone, Copy, Default)]
pub(super) struct Memory<'a> {
    /// Where the judge is told bytes.
    ram: Option<&'a Ram>,
    redo: Option<&'a Redo>,
}

impl<'a> Memory<'a> {
    pub fn of(inject: Option<&'a Inject>, leaving: Option<&'a Leaving>) -> Self {
        Self { ram: inject.map(|inject| &inject.ram), redo: leaving.map(|leaving| &leaving.redo) }
    }

    /// Whether memory could be read in this way; what it shows for a load is not what was read.
    pub fn is_read(self, paddr: u64, to: &mut [u8], read: impl FnOnce(u64, &mut [u8]) -> bool) -> bool {
        let is_read = read(paddr, to);
        if let Some(redo) = self.redo {
            redo.undo(paddr, to);
        }
        is_read
    }

    /// As [`is_read`](Self::is_read), where the judge is told bytes; where no memory lies, nothing is read.
    pub fn reads(self, paddr: u64, to: &mut [u8]) -> bool {
        let Some(ram) = self.ram else { return false };
        self.is_read(paddr, to, |at, to| {
            ram.read(at, to);
            true
        })
    }

    /// The little-endian word at an address, if memory lies there and the judge is told bytes.
    pub fn word(self, paddr: u64) -> Option<u32> {
        self.ram?.granule(paddr / u64::from(GRANULE) * u64::from(GRANULE))?;
        let mut bytes = [0; 4];
        self.reads(paddr, &mut bytes).then(|| u32::from_le_bytes(bytes))
    }

    /// So many bytes from an address on, if the judge is told bytes.
    pub fn bytes(self, paddr: PhysAddr, len: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.reads(paddr.0, &mut bytes).then_some(bytes)
    }

    /// Tells the judge what a device has written, if that is what it is about to be told of.
    pub fn tell_moved(self, judge: &mut Judge, event: &Event) {
        let &Event::Dma { direction: DmaDirection::Write, paddr, len, .. } = event else { return };
        if let Some(bytes) = self.bytes(paddr, len.min(LONGEST_TRANSFER) as usize) {
            judge.tell_storing(paddr, &bytes);
        }
    }
}

impl Session {
    /// As [`quiet_recorded_access`](Self::quiet_recorded_access), of a run in which generated code may be left and bytes may have to be known; false
    /// also while a load is awaited. Cannot panic either.
    #[inline(always)]
    pub fn quiet_known_access(&mut self, info: AccessInfo, vaddr: u32, site: Site) -> bool {
        if !self.awaits_nothing() {
            return false;
        }
        if self.inject.is_none() {
            return self.quiet_recorded_access(info, vaddr, site);
        }
        let (Some(AccessShape { kind: AccessKind::Store, size }), Known::Cached(target)) =
            (self.known_shape(info), self.reach.translations.find(vaddr))
        else {
            return self.quiet_recorded_access(info, vaddr, site);
        };
        let (byte, alias) = (target.byte(vaddr), target.alias);
        let recorded = self.recorded_address(vaddr);
        if self.callers.unknown || !self.judge.quiet_recorded_store(byte, alias, recorded, size, site) {
            return false;
        }
        if let Some(granule) = self.inject.as_ref().and_then(|inject| inject.granule_of(byte.number())) {
            let offset = (vaddr % GRANULE) as usize;
            // What is stored of a length that the compiler knows is copied by one instruction.
            match size {
                4 => self.judge.tell_stored(byte, &granule.get::<4>(offset)),
                1 => self.judge.tell_stored(byte, &granule.get::<1>(offset)),
                2 => self.judge.tell_stored(byte, &granule.get::<2>(offset)),
                8 => self.judge.tell_stored(byte, &granule.get::<8>(offset)),
                _ => self.judge.tell_stored(byte, &granule.get::<LONGEST>(offset)[..(size as usize).min(LONGEST)]),
            }
        }
        true
    }

    /// What memory had when the guest began is kept, once.
    #[inline]
    pub(super) fn keep_first_bytes(&mut self) {
        if let Some(inject) = &mut self.inject
            && !std::mem::replace(&mut inject.begun, true)
        {
            inject.ram.keep_first();
        }
    }

    /// The judge has a page, reached at this offset, whose bytes it may not know; so many of them have just been stored.
    pub(super) fn meet_page(&mut self, page: PageId, offset: u32, stored: u32) {
        self.keep_first_bytes();
        if let Some(inject) = self.inject.as_mut().filter(|_| self.judge.lacks_bytes(page)) {
            inject.meet(&mut self.judge, page, self.reach.geometry.page() as usize, offset as usize, stored as usize);
        }
    }

    /// The judge is told the bytes of an access that it is about to judge.
    pub(super) fn tell_access(&mut self, kind: AccessKind, page: PageId, offset: u32, size: u32) {
        let Some(inject) = &self.inject else { return };
        let byte = self.judge.byte(page, offset);
        let mut bytes = [0; LONGEST];
        let (Some(granule), Some(bytes)) = (inject.granule_of(byte.number()), bytes.get_mut(..size as usize)) else { return };
        let paddr = self.judge.paddr(page, offset);
        Memory::of(Some(inject), self.leaving.as_ref()).is_read(paddr.0, bytes, |at, to| {
            granule.read((at % u64::from(GRANULE)) as usize, to);
            true
        });
        match kind {
            AccessKind::Store => self.judge.tell_storing(paddr, bytes),
            AccessKind::Load => self.judge.tell_stored(byte, bytes),
        }
    }

    /// The same of an access past the cache.
    pub(super) fn tell_past(&mut self, kind: AccessKind, paddr: PhysAddr, size: u32) {
        let memory = Memory::of(self.inject.as_ref(), self.leaving.as_ref());
        if kind == AccessKind::Store
            && let Some(bytes) = memory.bytes(paddr, size as usize)
        {
            self.judge.tell_storing(paddr, &bytes);
        }
    }

    /// The load that was just judged is to be given what old bytes it could see.
    pub(super) fn give_old_bytes(&mut self, kind: AccessKind) {
        if self.inject.is_none() {
            return;
        }
        let Some(old) = self.judge.take_old_bytes().filter(|_| kind == AccessKind::Load) else { return };
        let memory = Memory::of(self.inject.as_ref(), self.leaving.as_ref());
        let (Some(&(first, _)), Some(&(last, _))) = (old.bytes.first(), old.bytes.last()) else { return };
        let Some(newest) = memory.bytes(first, (last.0 - first.0) as usize + 1) else { return };
        let mut got = newest.clone();
        let mut shown = Vec::new();
        for (paddr, old) in old.bytes {
            let at = (paddr.0 - first.0) as usize;
            if newest[at] != old {
                shown.push(Shown { paddr: paddr.0, old, own: newest[at] });
                got[at] = old;
            }
        }
        let (Some(inject), Some(leaving)) = (&mut self.inject, &mut self.leaving) else { return };
        let Some(finding) = old.finding.and_then(|finding| self.judge.findings().get(finding as usize)) else { return };
        if shown.is_empty() {
            return;
        }
        if !leaving.redo.can_be_made_again() {
            inject.undelivered += 1;
            return;
        }
        let accesses = self.judge.stats().accesses;
        inject.delivering = Some((finding.key(), Delivery { paddr: first, got, newest, accesses }));
        leaving.redo.show(shown);
    }

    /// A load has been made with what was shown for it.
    pub(super) fn note_delivered(&mut self) {
        if let Some((key, delivery)) = self.inject.as_mut().and_then(|inject| inject.delivering.take()) {
            self.deliver(key, delivery);
        }
    }

    /// Old bytes were delivered because of a finding.
    pub(super) fn deliver(&mut self, key: Key, delivery: Delivery) {
        let Some(inject) = &mut self.inject else { return };
        if inject.delivered.is_empty() {
            self.telling.send(&Message::Delivering { delivery: delivery.clone() });
        }
        inject.delivered.entry(key).or_insert(Delivered { count: 0, first: delivery }).count += 1;
    }

    /// Memory is told what it is to show, or its own again.
    pub(super) fn write_memory(&mut self) {
        let (Some(inject), Some(leaving)) = (&self.inject, &mut self.leaving) else { return };
        for (paddr, byte) in leaving.redo.take_writes() {
            inject.ram.write(paddr, &[byte]);
        }
    }
}
