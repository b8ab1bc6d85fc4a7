//! The accesses that are not quiet: what they change, what they are found to be.
//!
//! From the commonest to the rarest: a line that stays simple, a simple line that is looked at again, a full record that does
//! not change, and at last the rules.

use alloc::vec::Vec;

use congruent_geometry::{ByteMask, Frame, PhysAddr, VirtAddr};
use congruent_trace::{AccessKind, Site};

use crate::aliases::Alias;
use crate::finding::{Example, Finding, HazardClass, OnCpus, Party, PartyKind, Side};
use crate::heads::{Head, LineId};
use crate::history::Question;
use crate::ledger::Touch;
use crate::line::{Hazard, Line, Path};
use crate::old::Deed;
use crate::shadow::{PageId, Shadow};

impl Shadow {
    /// An access that may change something.
    #[cold]
    #[inline(never)]
    pub(crate) fn access_slow(&mut self, kind: AccessKind, page: PageId, alias: Alias, offset: u32, size: u32, site: Site) {
        let colour = alias.0 | self.places.base();
        if self.aliases.are_virtual() {
            self.meet_homonyms_in(kind, page, colour, offset, size, site);
        }
        let byte = self.byte(page, offset);
        // The ledger looks at every line before it changes, and so does who keeps the bytes.
        let simple = self.is_simple(byte, size) && !self.looks_at_lines();
        if simple && self.stays_simple(kind, page, colour, offset) {
            if kind == AccessKind::Store {
                if self.shape.writes_through {
                    self.heads.set_site(LineId { page: page.0, line: offset >> self.geometry.line_shift() }, site);
                } else {
                    self.heads.store_at(byte, size, site);
                }
            }
        } else {
            self.access_lines(kind, page, colour, offset, size, site);
        }
        self.note_live(page);
    }

    /// The rest. Not part of the above, so that what is commoner need not make room for it.
    #[inline(never)]
    fn access_lines(&mut self, kind: AccessKind, page: PageId, colour: u16, offset: u32, size: u32, site: Site) {
        self.pieces(page.0, offset, size, |shadow, id, bytes| shadow.access_line(kind, id, colour, bytes, site));
    }

    #[inline(never)]
    fn meet_homonyms_in(&mut self, kind: AccessKind, page: PageId, alias: u16, offset: u32, size: u32, site: Site) {
        let kind = if kind == AccessKind::Load { PartyKind::Load } else { PartyKind::Store };
        let by = Party { kind, site, colour: Some(alias) };
        self.pieces(page.0, offset, size, |shadow, id, bytes| {
            shadow.meet_homonyms(id, alias, bytes, Some(by));
        });
    }

    /// The commonest changes, done without looking further: a line that nobody held, or that only this colour holds and that no
    /// sweep concerned since; a load of a line that is known to be held clean. False if it is none of these.
    #[inline]
    fn stays_simple(&mut self, kind: AccessKind, page: PageId, colour: u16, offset: u32) -> bool {
        let id = LineId { page: page.0, line: offset >> self.geometry.line_shift() };
        let mixed = self.aliases.is_mixed(page.0, colour, id.line);
        if mixed || kind == AccessKind::Store && self.store_is_special(id) {
            return false;
        }
        match self.heads.head(id) {
            Head::Empty => {}
            Head::Single { colour: held, stamp, watched } if held == colour => {
                if !self.sweeps.quiet_since(self.set_of(id, colour), stamp) {
                    return false;
                }
                if kind == AccessKind::Load {
                    // To the instruction cache a load is nothing.
                    let stamp = self.sweeps.stamp();
                    self.heads.set_head(id, Head::Single { colour, stamp, watched });
                    return true;
                }
            }
            Head::Shared { stamp } if kind == AccessKind::Load && stamp == self.sweeps.epoch() => {
                return self.heads.names(id, colour);
            }
            _ => return false,
        }
        self.set_single(kind, id, colour);
        true
    }

    /// Notes that a page was accessed through the data cache.
    fn note_live(&mut self, page: PageId) {
        if let Some(live) = self.live.get_mut(page.0 as usize) {
            *live = true;
        }
    }

    /// Whether a store to a line in compact form may do more than make the one copy dirty that it makes sure of: it may leave the
    /// line absent, or leave copies in the instruction cache old without anything being dirty.
    fn store_is_special(&self, id: LineId) -> bool {
        !self.shape.write_allocate && self.is_absent(id) || self.shape.writes_through && self.code.may_hold(id)
    }

    /// Whether the data cache certainly does not hold the line.
    fn is_absent(&self, id: LineId) -> bool {
        self.heads.head(id) == Head::Empty && !self.is_live(id)
    }

    /// Notes an access of a line that only this colour of the data cache may hold.
    #[inline]
    fn set_single(&mut self, kind: AccessKind, id: LineId, colour: u16) {
        let stamp = self.sweeps.stamp();
        if kind == AccessKind::Store {
            self.code.outdate(id);
        }
        let watched = self.shape.writes_through || self.code.is_new(id);
        self.heads.set_head(id, Head::Single { colour, stamp, watched });
    }

    /// Takes a prefetch of the line that holds `offset` of a page: it may be filled, and nothing is consumed.
    pub fn prefetch(&mut self, page: PageId, vaddr: VirtAddr, offset: u32) {
        let colour = self.alias(page, vaddr).0 | self.places.base();
        self.pieces(page.0, offset, 1, |shadow, id, bytes| {
            shadow.touch(id, Touch::Through { colour, stores: false, served_by: None });
            let both = shadow.meet_homonyms(id, colour, bytes, None);
            shadow.deed(id, Deed::Prefetch(colour));
            if both || !shadow.keeps_simple(AccessKind::Load, id, colour) {
                let stamp = shadow.sweeps.stamp();
                let mut line = shadow.unpack(id);
                shadow.settle_for(id, &mut line, colour, stamp);
                line.prefetch(shadow.shape, colour, stamp);
                shadow.close(id, line);
            }
        });
        self.note_live(page);
    }

    /// An access that goes past the cache: to every touched line of a physical range.
    pub(crate) fn bypass(&mut self, path: Path, kind: AccessKind, paddr: PhysAddr, len: u64, site: Site) {
        // Frames that were never touched have no copies: their memory is all there is.
        self.each_known_line(paddr, len, |shadow, id, bytes| shadow.bypass_line(path, kind, id, bytes, site));
    }

    /// Goes through the lines of a physical range, where frames were touched.
    pub(crate) fn each_known_line(&mut self, paddr: PhysAddr, len: u64, mut each: impl FnMut(&mut Self, LineId, ByteMask)) {
        let Some(last) = len.checked_sub(1).map(|more| PhysAddr(paddr.0.saturating_add(more))) else { return };
        let (mut from, end_frame) = (self.geometry.frame(paddr), self.geometry.frame(last));
        while let Some((frame, page)) = self.frames.next(from, end_frame) {
            let base = self.geometry.frame_base(frame).0;
            let first = paddr.0.max(base) - base;
            let end = (last.0 - base).min(u64::from(self.geometry.page()) - 1);
            self.pieces(page, first as u32, (end - first) as u32 + 1, &mut each);
            let Some(next) = frame.0.checked_add(1) else { break };
            from = Frame(next);
        }
    }

    /// Cuts a range of a page into lines.
    pub(crate) fn pieces(&mut self, page: u32, offset: u32, size: u32, mut each: impl FnMut(&mut Self, LineId, ByteMask)) {
        let line_bytes = self.geometry.line();
        let (mut at, end) = (offset, offset.saturating_add(size).min(self.geometry.page()));
        while at < end {
            let line = at >> self.geometry.line_shift();
            let start = at & (line_bytes - 1);
            let len = (line_bytes - start).min(end - at);
            each(self, LineId { page, line }, ByteMask::range(start, len));
            at += len;
        }
    }

    fn access_line(&mut self, kind: AccessKind, id: LineId, colour: u16, bytes: ByteMask, site: Site) {
        let by = |kind| Party { kind, site, colour: Some(colour) };
        self.touch(id, Touch::Through { colour, stores: kind == AccessKind::Store, served_by: None });
        self.deed(id, Deed::of_access(kind, Some(colour), bytes));
        match kind {
            AccessKind::Load => {
                if self.keeps_simple(kind, id, colour) {
                    return;
                }
                let stamp = self.sweeps.stamp();
                let mut line = self.unpack(id);
                if line.is_unchanged_by_load(self.shape, colour, bytes, stamp) {
                    self.put_aside(line);
                    return;
                }
                self.settle_for(id, &mut line, colour, stamp);
                let mut hazards = core::mem::take(&mut self.hazards);
                line.load(self.shape, Path::Cached(colour), bytes, stamp, &mut hazards);
                self.report(id, &mut line, &mut hazards, by(PartyKind::Load));
                self.hazards = hazards;
                self.close(id, line);
            }
            AccessKind::Store => {
                if self.store_is_special(id) {
                    if self.is_absent(id) && !self.code.may_hold(id) {
                        return;
                    }
                } else if self.keeps_single(kind, id, colour) {
                    if !self.shape.writes_through {
                        let bits = self.heads.bits(id) | bytes;
                        self.heads.set_bits(id, bits);
                    }
                    self.heads.set_site(id, site);
                    return;
                }
                let stamp = self.sweeps.stamp();
                let mut line = self.unpack(id);
                let party = by(PartyKind::Store);
                if line.is_unchanged_by_store(self.shape, colour, bytes, stamp) && line.is_last_written_by(party, bytes) {
                    self.put_aside(line);
                    return;
                }
                self.settle_for(id, &mut line, colour, stamp);
                let mut hazards = core::mem::take(&mut self.hazards);
                line.store(self.shape, Path::Cached(colour), bytes, by(PartyKind::Store), stamp, &mut hazards);
                self.report(id, &mut line, &mut hazards, by(PartyKind::Store));
                self.hazards = hazards;
                self.close(id, line);
            }
        }
    }

    fn bypass_line(&mut self, path: Path, kind: AccessKind, id: LineId, bytes: ByteMask, site: Site) {
        self.touch(id, Touch::Past { stores: kind == AccessKind::Store, bytes });
        self.deed(id, Deed::of_access(kind, None, bytes));
        match (self.heads.head(id), kind) {
            (Head::Empty, AccessKind::Store) if self.code.may_hold(id) || self.is_live(id) => {}
            (Head::Empty, _) | (Head::Shared { .. }, AccessKind::Load) => return,
            (Head::Single { .. }, AccessKind::Load) if self.heads.bits(id).is_empty() => return,
            _ => {}
        }
        let kind_of = match (path, kind) {
            (Path::Dma, _) => PartyKind::Dma,
            (_, AccessKind::Load) => PartyKind::UncachedLoad,
            (_, AccessKind::Store) => PartyKind::UncachedStore,
        };
        let by = Party { kind: kind_of, site, colour: None };
        let mut line = self.open(id);
        let mut hazards = core::mem::take(&mut self.hazards);
        // Nothing is filled, so no stamp is used.
        match kind {
            AccessKind::Load => line.load(self.shape, path, bytes, 0, &mut hazards),
            AccessKind::Store => line.store(self.shape, path, bytes, by, 0, &mut hazards),
        }
        self.report(id, &mut line, &mut hazards, by);
        self.hazards = hazards;
        self.close(id, line);
    }

    /// Carries out an access of a line that no colour but `colour` may hold, and that stays so; false if it is not such.
    fn keeps_single(&mut self, kind: AccessKind, id: LineId, colour: u16) -> bool {
        if self.aliases.is_mixed(id.page, colour, id.line) {
            return false;
        }
        match self.heads.head(id) {
            Head::Empty => {}
            Head::Single { colour: held, stamp, .. } if held == colour => {
                let swept = self.sweeps.since(self.set_of(id, colour), stamp);
                if !swept.written_back.is_none() && self.code.is_outdated(id) {
                    // What stops being dirty goes on being old in the instruction cache.
                    return false;
                }
                if !swept.invalidated.is_none() && kind == AccessKind::Store && !self.shape.write_allocate {
                    // It may be absent, and stay so.
                    return false;
                }
                if self.shape.all_ways.without(swept.written_back).is_none() {
                    self.note_sweeps_of_single(id, colour);
                    self.heads.set_bits(id, ByteMask::EMPTY);
                } else if !swept.written_back.is_none() && !self.heads.bits(id).is_empty() {
                    // Dirty in some ways only.
                    return false;
                }
            }
            _ => return false,
        }
        self.set_single(kind, id, colour);
        true
    }

    /// As [`keeps_single`](Self::keeps_single), or clean lines that several colours hold and go on holding.
    fn keeps_simple(&mut self, kind: AccessKind, id: LineId, colour: u16) -> bool {
        let own = ByteMask(1 << colour.min(127));
        match self.heads.head(id) {
            Head::Shared { stamp } => {
                let bits = self.heads.bits(id);
                let now = self.sweeps.stamp();
                let limit = self.heads.shared_limit();
                if u32::from(colour) >= limit {
                    return false;
                }
                let quiet = |colour| self.sweeps.quiet_since(self.set_of(id, colour), stamp);
                if stamp != now && !(0..limit as u16).filter(|colour| bits.0 >> colour & 1 != 0).all(quiet) {
                    return false;
                }
                self.heads.set_bits(id, bits | own);
                self.heads.set_head(id, Head::Shared { stamp: now });
                true
            }
            _ => self.keeps_single(kind, id, colour),
        }
    }

    /// Books the hazards that an access of the line was found to have.
    pub(crate) fn report(&mut self, id: LineId, line: &mut Line, hazards: &mut Vec<Hazard>, consumer: Party) {
        // What follows does so from what was found before this access.
        hazards.sort_by_key(|hazard| !hazard.follows);
        for hazard in hazards.drain(..) {
            let first = hazard.bytes.first().unwrap_or(0);
            let frame = self.frames.of(id.page);
            let line_base = u64::from(id.line) << self.geometry.line_shift();
            let paddr = self.geometry.frame_base(frame).add(line_base + u64::from(first));
            // The access may have begun in an earlier line or byte; the address named is that of the old byte.
            let in_page = u64::from(self.geometry.page()) - 1;
            let vaddr = self.vaddr.map(|vaddr| VirtAddr(vaddr.0 & !in_page | paddr.0 & in_page));
            let example = Example { vaddr, paddr, bytes: hazard.bytes.count() };
            let concerns = |side, set| match side {
                Side::Data => {
                    let lines = self.geometry.lines_per_page().min(self.geometry.sets());
                    set % lines == id.line % lines
                }
                Side::Instruction => self.code.concerns(set, id),
            };
            let question = Question {
                id,
                producer: hazard.producer,
                producer_is_last: hazard.producer_is_last,
                still_dirty: hazard.still_dirty,
                // The stamp of the consumer's colour is that of the consumer.
                producer_stamp: hazard.producer_stamp.filter(|_| {
                    consumer.kind == PartyKind::Fetch
                        || hazard.producer.is_some_and(|producer| producer.colour != consumer.colour)
                }),
                concerns: &concerns,
            };
            let contexts = self.origins.contexts(id.page, (paddr.0 & in_page) as u32, consumer, hazard.producer);
            let cpu_of = |party| self.places.cpu_of_party(party);
            let cpus = OnCpus { consumer: cpu_of(consumer), producer: hazard.producer.and_then(cpu_of) };
            let is_homonym = matches!(hazard.class, HazardClass::ReadHomonym | HazardClass::WriteHomonym);
            let producer = hazard.producer.map(|party| if is_homonym { party } else { self.shown(id.page, party) });
            let shown = Finding {
                class: hazard.class,
                count: 1,
                consumer: self.shown(id.page, consumer),
                producer,
                example,
                maintenance_between: Vec::new(),
                cpus,
                contexts,
            };
            if hazard.follows {
                let follows = line.unhealed.as_ref().map_or(&[][..], |other| &other.follows);
                self.findings.follow(shown, follows);
                if let (Some(old), Some(first)) = (&mut self.old, follows.first()) {
                    old.blame(consumer.kind, *first);
                }
                continue;
            }
            let (history, aliases, places, code) = (&self.history, &self.aliases, &self.places, self.code.geometry());
            let past = || {
                let mut told = history.between(&question);
                for past in &mut told {
                    past.colour = past.colour.map(|place| match past.side {
                        Side::Data => aliases.colour(id.page, places.colour(place)),
                        Side::Instruction => aliases.colour_in(code, id.page, places.code_colour(place)),
                    });
                }
                told
            };
            let finding = self.findings.record(shown, past);
            line.note_healed(finding);
            if let Some(old) = &mut self.old {
                old.blame(consumer.kind, finding);
            }
        }
    }
}
