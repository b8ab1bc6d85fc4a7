//! Everything the judge does that is not the access that changes nothing: it opens a line's compact form, lets the rules act,
//! and closes it again.

use alloc::vec::Vec;

use congruent_geometry::{ByteMask, Colour, PhysAddr, VirtAddr};
use congruent_trace::{AccessKind, Maintenance, Site};

use crate::finding::{Effect, Example, Party, PartyKind};
use crate::heads::{Head, LineId, single_key};
use crate::history::{Past, Question, Target};
use crate::line::{Copy, Hazard, Line, Path, Ways, Writer, effect};
use crate::shadow::{PageId, Shadow};
use crate::sweep::Sweeps;

/// Emptied lines kept for the memory they own.
const SPARE: usize = 16;

impl Shadow {
    /// An access that may change something.
    #[cold]
    #[inline(never)]
    pub(crate) fn access_slow(&mut self, kind: AccessKind, page: PageId, colour: Colour, offset: u32, size: u32, site: Site) {
        let colour = colour.index() as u16;
        let last = offset.wrapping_add(size.wrapping_sub(1));
        if (offset ^ last) >> self.simple_shift == 0 && self.stays_simple(kind, page, colour, offset) {
            if kind == AccessKind::Store {
                self.heads.store_at(page.0, offset, size, site);
            }
            return;
        }
        self.pieces(page.0, offset, size, |shadow, id, bytes| shadow.access_line(kind, id, colour, bytes, site));
    }

    /// The commonest changes, done without looking further: a line that nobody held, or that only this colour holds and that no
    /// sweep concerned since; a load of a line that is known to be held clean. False if it is none of these.
    #[inline]
    fn stays_simple(&mut self, kind: AccessKind, page: PageId, colour: u16, offset: u32) -> bool {
        let id = LineId { page: page.0, line: offset >> self.geometry.line_shift() };
        match self.heads.head(id) {
            Head::Empty => {}
            Head::Single { colour: held, stamp } if held == colour => {
                if !self.sweeps.quiet_since(self.set_of(id, colour), stamp) {
                    return false;
                }
            }
            Head::Shared { stamp } if kind == AccessKind::Load && stamp == self.sweeps.epoch() => {
                return self.heads.names(id, colour);
            }
            _ => return false,
        }
        let stamp = self.sweeps.stamp();
        self.heads.set_head(id, Head::Single { colour, stamp });
        true
    }

    /// A prefetch of the line that holds `offset`.
    pub(crate) fn prefetch(&mut self, page: PageId, colour: Colour, offset: u32) {
        let colour = colour.index() as u16;
        self.pieces(page.0, offset, 1, |shadow, id, _| {
            if !shadow.keeps_simple(id, colour) {
                let stamp = shadow.sweeps.stamp();
                let mut line = shadow.open_for(id, colour, stamp);
                line.prefetch(shadow.shape, colour, stamp);
                shadow.close(id, line);
            }
        });
    }

    /// An access that goes past the cache: to every touched line of a physical range.
    pub(crate) fn bypass(&mut self, path: Path, kind: AccessKind, paddr: PhysAddr, len: u64, site: Site) {
        let Some(last) = len.checked_sub(1).map(|more| PhysAddr(paddr.0.saturating_add(more))) else { return };
        let frames = self.geometry.frame(paddr).0..=self.geometry.frame(last).0;
        // Frames that were never touched have no copies: their memory is all there is.
        let mut from = *frames.start();
        while let Some((&frame, &page)) = self.frames.range(from..=*frames.end()).next() {
            let base = frame << self.geometry.page_shift();
            let first = paddr.0.max(base) - base;
            let end = (last.0 - base).min(u64::from(self.geometry.page()) - 1);
            self.pieces(page, first as u32, (end - first) as u32 + 1, |shadow, id, bytes| {
                shadow.bypass_line(path, kind, id, bytes, site);
            });
            match frame.checked_add(1) {
                Some(next) if next <= *frames.end() => from = next,
                _ => break,
            }
        }
    }

    /// Maintenance by address.
    pub(crate) fn maintain_line(&mut self, op: Maintenance, vaddr: VirtAddr, paddr: PhysAddr, site: Site) {
        let Some(id) = self.line_id(paddr) else { return };
        let colour = self.colour_of(vaddr);
        let writer = self.last_writer(id);
        let effect = self.maintain_line_now(op, id, colour);
        let past = Past { target: Target::Line(id), op, colour: Some(colour), site, effect, muted: false, epoch: 0, writer };
        self.history.push(past);
    }

    /// Maintenance of one set and way. A set or way that the geometry does not have holds nothing.
    pub(crate) fn maintain_index(&mut self, op: Maintenance, set: u32, way: u32, site: Site) {
        if set >= self.geometry.sets() || way >= self.geometry.ways() {
            return;
        }
        let epoch = self.begin_sweep();
        if Self::discards(op) {
            let lines = self.geometry.lines_per_page();
            let colour = (set / lines) as u16;
            let mut line = set % lines;
            // A way smaller than a page: several lines of a page share the set.
            while line < lines {
                for page in 0..self.heads.pages() {
                    self.discard(LineId { page, line }, Some(colour), Ways::NONE.with(way));
                }
                line += self.geometry.sets();
            }
        }
        self.sweeps.sweep(set, way, op.invalidates());
        self.push_sweep(Target::Index { set }, op, site, epoch);
    }

    /// Maintenance of the whole cache.
    pub(crate) fn maintain_whole(&mut self, op: Maintenance, site: Site) {
        let epoch = self.begin_sweep();
        if Self::discards(op) {
            for page in 0..self.heads.pages() {
                for line in 0..self.geometry.lines_per_page() {
                    self.discard(LineId { page, line }, None, self.shape.all_ways);
                }
            }
        }
        self.sweeps.sweep_all(op.invalidates());
        self.push_sweep(Target::Whole, op, site, epoch);
    }

    /// Makes every stamp the first one, because epochs have run out.
    #[cold]
    pub(crate) fn restart_epochs(&mut self) {
        let stamp = self.sweeps.stamp();
        let lines = self.geometry.lines_per_page();
        let ids = move |pages| (0..pages).flat_map(move |page| (0..lines).map(move |line| LineId { page, line }));
        for id in ids(self.heads.pages()) {
            if self.heads.head(id) == Head::Empty {
                continue;
            }
            let mut line = self.open(id);
            let mut at = 0;
            while let Some(copy) = line.copies.get(at) {
                let colour = copy.colour;
                line.resolve(colour, stamp, |colour, stamp| self.sweeps.since(self.set_of(id, colour), stamp));
                // Copies of the colour may have moved; it is done when all of them carry the stamp.
                at = line.copies.iter().position(|copy| copy.stamp != stamp).unwrap_or(line.copies.len());
            }
            self.close(id, line);
        }
        self.sweeps.restart();
        self.history.restart();
        let stamp = self.sweeps.stamp();
        for id in ids(self.heads.pages()) {
            match self.heads.head(id) {
                Head::Single { colour, .. } => self.heads.set_head(id, Head::Single { colour, stamp }),
                Head::Shared { .. } => self.heads.set_head(id, Head::Shared { stamp }),
                Head::Empty | Head::Record(_) => {}
            }
        }
        for line in self.records.all() {
            line.copies.iter_mut().for_each(|copy| copy.stamp = stamp);
        }
        self.now = single_key(0, stamp);
    }

    /// The line that holds `paddr`, if its frame was touched.
    pub(crate) fn line_id(&self, paddr: PhysAddr) -> Option<LineId> {
        let page = *self.frames.get(&self.geometry.frame(paddr).0)?;
        Some(LineId { page, line: self.geometry.page_offset(paddr.0) >> self.geometry.line_shift() })
    }

    pub(crate) fn colour_of(&self, vaddr: VirtAddr) -> u16 {
        self.geometry.colour(vaddr).index() as u16
    }

    /// The last access known to have written the line.
    pub(crate) fn last_writer(&self, id: LineId) -> Option<Party> {
        match self.heads.head(id) {
            Head::Single { colour, .. } if !self.heads.bits(id).is_empty() => {
                Some(Party { kind: PartyKind::Store, site: self.heads.site(id), colour: Some(colour) })
            }
            Head::Record(place) => self.records.get(place).last_writer(),
            _ => None,
        }
    }

    /// Cuts a range of a page into lines.
    fn pieces(&mut self, page: u32, offset: u32, size: u32, mut each: impl FnMut(&mut Self, LineId, ByteMask)) {
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
        match kind {
            AccessKind::Load => {
                if self.keeps_simple(id, colour) {
                    return;
                }
                let stamp = self.sweeps.stamp();
                if let Head::Record(place) = self.heads.head(id)
                    && self.records.get(place).is_unchanged_by_load(self.shape, colour, bytes, stamp)
                {
                    return;
                }
                let mut line = self.open_for(id, colour, stamp);
                let mut hazards = core::mem::take(&mut self.hazards);
                line.load(self.shape, Path::Cached(colour), bytes, stamp, &mut hazards);
                self.report(id, &mut hazards, by(PartyKind::Load));
                self.hazards = hazards;
                self.close(id, line);
            }
            AccessKind::Store => {
                if self.keeps_single(id, colour) {
                    let bits = self.heads.bits(id) | bytes;
                    self.heads.set_bits(id, bits);
                    self.heads.set_site(id, site);
                    return;
                }
                let stamp = self.sweeps.stamp();
                if let Head::Record(place) = self.heads.head(id) {
                    let line = self.records.get_mut(place);
                    if line.is_unchanged_by_store(self.shape, colour, bytes, stamp) {
                        line.note_writer(by(PartyKind::Store), bytes);
                        return;
                    }
                }
                let mut line = self.open_for(id, colour, stamp);
                let mut hazards = core::mem::take(&mut self.hazards);
                line.store(self.shape, Path::Cached(colour), bytes, by(PartyKind::Store), stamp, &mut hazards);
                self.report(id, &mut hazards, by(PartyKind::Store));
                self.hazards = hazards;
                self.close(id, line);
            }
        }
    }

    fn bypass_line(&mut self, path: Path, kind: AccessKind, id: LineId, bytes: ByteMask, site: Site) {
        match (self.heads.head(id), kind) {
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
        self.report(id, &mut hazards, by);
        self.hazards = hazards;
        self.close(id, line);
    }

    /// Carries out an access of a line that no colour but `colour` may hold, and that stays so; false if it is not such.
    fn keeps_single(&mut self, id: LineId, colour: u16) -> bool {
        match self.heads.head(id) {
            Head::Empty => {}
            Head::Single { colour: held, stamp } if held == colour => {
                let swept = self.sweeps.since(self.set_of(id, colour), stamp);
                if self.shape.all_ways.without(swept.written_back).is_none() {
                    self.heads.set_bits(id, ByteMask::EMPTY);
                } else if !swept.written_back.is_none() && !self.heads.bits(id).is_empty() {
                    // Dirty in some ways only.
                    return false;
                }
            }
            _ => return false,
        }
        let stamp = self.sweeps.stamp();
        self.heads.set_head(id, Head::Single { colour, stamp });
        true
    }

    /// As [`keeps_single`](Self::keeps_single), or clean lines that several colours hold and go on holding.
    fn keeps_simple(&mut self, id: LineId, colour: u16) -> bool {
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
            _ => self.keeps_single(id, colour),
        }
    }

    fn maintain_line_now(&mut self, op: Maintenance, id: LineId, colour: u16) -> Effect {
        match self.heads.head(id) {
            Head::Empty => return Effect::Nothing,
            Head::Single { colour: held, .. } if held != colour => return Effect::Nothing,
            Head::Single { stamp, .. } if self.sweeps.quiet_since(self.set_of(id, colour), stamp) => {
                let dirty = !self.heads.bits(id).is_empty();
                if op.writes_back() || !dirty {
                    self.heads.set_bits(id, ByteMask::EMPTY);
                    if op.invalidates() {
                        self.heads.set_head(id, Head::Empty);
                    }
                    return effect(op, true, dirty);
                }
            }
            _ => {}
        }
        let mut line = self.open(id);
        let effect = line.maintain(op, colour, self.shape.all_ways);
        self.close(id, line);
        effect
    }

    /// What a pure invalidate of these ways does to the dirty bytes of a line. What it does to clean copies can wait.
    fn discard(&mut self, id: LineId, colour: Option<u16>, ways: Ways) {
        match self.heads.head(id) {
            Head::Empty | Head::Shared { .. } => return,
            Head::Single { colour: held, .. } if colour.is_some_and(|colour| colour != held) => return,
            Head::Single { .. } if self.heads.bits(id).is_empty() => return,
            Head::Record(place) => {
                let line = self.records.get(place);
                if !line.copies.iter().any(|copy| colour.is_none_or(|colour| colour == copy.colour) && !copy.dirty.is_empty()) {
                    return;
                }
            }
            Head::Single { .. } => {}
        }
        let stamp = self.sweeps.stamp();
        let mut line = self.open(id);
        let dirty: Vec<u16> = line.copies.iter().filter(|copy| !copy.dirty.is_empty()).map(|copy| copy.colour).collect();
        for held in dirty {
            if colour.is_none_or(|colour| colour == held) {
                line.resolve(held, stamp, |colour, stamp| self.sweeps.since(self.set_of(id, colour), stamp));
                line.maintain(Maintenance::Invalidate, held, ways);
            }
        }
        self.close(id, line);
    }

    fn push_sweep(&mut self, target: Target, op: Maintenance, site: Site, epoch: u32) {
        let past = Past { target, op, colour: None, site, effect: Effect::Nothing, muted: false, epoch, writer: None };
        self.history.push(past);
    }

    pub(crate) fn set_of(&self, id: LineId, colour: u16) -> u32 {
        let lines = self.geometry.lines_per_page();
        (u32::from(colour) * lines + id.line) & (self.geometry.sets() - 1)
    }

    /// The line in full, with every postponed operation that is complete carried out.
    fn open(&mut self, id: LineId) -> Line {
        let mut line = match self.heads.head(id) {
            Head::Record(place) => self.records.take(place),
            head => {
                let mut line = self.spare.pop().unwrap_or_default();
                let clean = |colour, stamp| Copy {
                    colour,
                    ways: self.shape.all_ways,
                    stamp,
                    stale: ByteMask::EMPTY,
                    dirty: ByteMask::EMPTY,
                };
                let bits = self.heads.bits(id);
                match head {
                    Head::Single { colour, stamp } => {
                        line.copies.push(Copy { dirty: bits, ..clean(colour, stamp) });
                        if !bits.is_empty() {
                            let by = Party { kind: PartyKind::Store, site: self.heads.site(id), colour: Some(colour) };
                            line.note_writer(by, bits);
                        }
                    }
                    Head::Shared { stamp } => {
                        let held = (0..self.heads.shared_limit() as u16).filter(|colour| bits.0 >> colour & 1 != 0);
                        line.copies.extend(held.map(|colour| clean(colour, stamp)));
                    }
                    Head::Empty | Head::Record(_) => {}
                }
                line
            }
        };
        let oldest = line.copies.iter().map(|copy| copy.stamp).min().unwrap_or(0);
        let effect = line.settle(|colour, stamp| self.sweeps.since(self.set_of(id, colour), stamp));
        if effect != Effect::Nothing {
            self.history.push_swept(id, oldest, self.sweeps.epoch(), effect);
        }
        line
    }

    /// As [`open`](Self::open), for an access through `colour`, which will get a new stamp.
    fn open_for(&mut self, id: LineId, colour: u16, stamp: u32) -> Line {
        let mut line = self.open(id);
        line.resolve(colour, stamp, |colour, stamp| self.sweeps.since(self.set_of(id, colour), stamp));
        line
    }

    /// Stores the line in the simplest form that says the same.
    fn close(&mut self, id: LineId, mut line: Line) {
        let place = match self.heads.head(id) {
            Head::Record(place) => Some(place),
            _ => None,
        };
        let (head, bits) = match self.simple_form(id, &line) {
            Some(simple) => {
                // Only the producer of dirty bytes can ever be asked for.
                let dirty = |writer: &&Writer| matches!(simple, (Head::Single { .. }, dirty) if writer.bytes.intersects(dirty));
                if let Some(writer) = line.writers.iter().rev().find(dirty) {
                    self.heads.set_site(id, writer.party.site);
                }
                if let Some(place) = place {
                    self.records.free(place);
                }
                if self.spare.len() < SPARE {
                    line.clear();
                    self.spare.push(line);
                }
                simple
            }
            None => {
                let place = match place {
                    Some(place) => {
                        self.records.put(place, line);
                        place
                    }
                    None => self.records.insert(line),
                };
                (Head::Record(place), ByteMask::EMPTY)
            }
        };
        self.heads.set_head(id, head);
        self.heads.set_bits(id, bits);
    }

    /// The compact form of the line, if it has one.
    fn simple_form(&self, id: LineId, line: &Line) -> Option<(Head, ByteMask)> {
        if !line.lost().is_empty() {
            return None;
        }
        let whole = |copy: &Copy| copy.ways == self.shape.all_ways && copy.stale.is_empty();
        match line.copies[..] {
            [] => Some((Head::Empty, ByteMask::EMPTY)),
            [only] if whole(&only) => Some((Head::Single { colour: only.colour, stamp: only.stamp }, only.dirty)),
            [_] => None,
            ref several => {
                let limit = self.heads.shared_limit();
                let quiet = |sweeps: &Sweeps, copy: &Copy| sweeps.quiet_since(self.set_of(id, copy.colour), copy.stamp);
                let clean = |copy: &Copy| {
                    whole(copy) && copy.dirty.is_empty() && u32::from(copy.colour) < limit && quiet(&self.sweeps, copy)
                };
                if !several.iter().all(clean) {
                    return None;
                }
                let bits = several.iter().fold(0, |bits, copy| bits | 1 << copy.colour);
                // Nothing was done to any of their sets since their stamps, so the latest will do for all.
                let stamp = several.iter().map(|copy| copy.stamp).max().unwrap_or(0);
                Some((Head::Shared { stamp }, ByteMask(bits)))
            }
        }
    }

    /// Books the hazards that an access of the line was found to have.
    fn report(&mut self, id: LineId, hazards: &mut Vec<Hazard>, consumer: Party) {
        for hazard in hazards.drain(..) {
            let first = hazard.bytes.first().unwrap_or(0);
            let frame = self.frame_of[id.page as usize];
            let line_base = u64::from(id.line) << self.geometry.line_shift();
            let paddr = self.geometry.frame_base(frame).add(line_base + u64::from(first));
            // The access may have begun in an earlier line or byte; the address named is that of the old byte.
            let in_page = u64::from(self.geometry.page()) - 1;
            let vaddr = self.vaddr.map(|vaddr| VirtAddr(vaddr.0 & !in_page | paddr.0 & in_page));
            let example = Example { vaddr, paddr, bytes: hazard.bytes.count() };
            let lines = self.geometry.lines_per_page();
            let question = Question {
                id,
                producer: hazard.producer,
                producer_is_last: hazard.producer_is_last,
                still_dirty: hazard.still_dirty,
                // The stamp of the consumer's colour is that of the consumer.
                producer_stamp: hazard
                    .producer_stamp
                    .filter(|_| hazard.producer.is_some_and(|producer| producer.colour != consumer.colour)),
                concerns: &|set| set % lines == id.line % lines.min(self.geometry.sets()),
            };
            self.findings.record(hazard.class, consumer, hazard.producer, example, || self.history.between(&question));
        }
    }
}
