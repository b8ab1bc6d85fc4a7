//! The instruction side's events: fetches, and maintenance of the instruction cache.
//!
//! Guarantees: a fetch of lines that were fetched before through the same colour, with nothing stored to them and no sweep since,
//! costs one compare per line. The instruction cache's lines may be longer than the data cache's: then all of the latter that one
//! of the former covers are filled and dropped together. Not here: the rules (`line`), the compact form (`code`).

use congruent_geometry::{ByteMask, PhysAddr, VirtAddr};
use congruent_trace::{Maintenance, Site};

use crate::aliases::Alias;
use crate::code::CodeKey;
use crate::finding::{Effect, Party, PartyKind};
use crate::heads::{Head, LineId};
use crate::history::{Past, Target};
use crate::ledger::Touch;
use crate::line::{CODE, Path};
use crate::old::Deed;
use crate::shadow::{PageId, Shadow};

impl Shadow {
    /// Takes a fetch that changes nothing. False, and nothing was taken, if it may change something: then it is one for
    /// [`fetch`](Self::fetch). It is of `size` bytes, at least 1, at `offset` of a page, within the page; it may span lines.
    /// `alias`: the colour in the instruction cache's geometry ([`CodeCache::geometry`](crate::CodeCache::geometry)) if tags are
    /// physical, else what [`alias`](Self::alias) says. Without an instruction cache, always false.
    #[inline]
    pub fn quiet_fetch(&mut self, page: PageId, alias: impl Into<Alias>, offset: u32, size: u32) -> bool {
        let last = offset.wrapping_add(size.wrapping_sub(1));
        let colour = u32::from(alias.into().0);
        let mut quiet = self.code.is_quiet(page.0, offset, colour);
        if (offset ^ last) >> self.geometry.line_shift() != 0 {
            let mut at = offset;
            while quiet && at < last {
                at = at.saturating_add(self.geometry.line()).min(last);
                quiet = self.code.is_quiet(page.0, at, colour);
            }
        }
        self.fetches += u64::from(quiet);
        quiet
    }

    /// A number that grows whenever a fetch that [`quiet_fetch`](Self::quiet_fetch) took, or would have taken, may change something from
    /// then on. While it stays the same, such a fetch need not be told again.
    #[must_use]
    pub fn code_changes(&self) -> u64 {
        self.code.changes()
    }

    /// Takes any fetch of `size` bytes, at least 1, at `offset` of a page, within the page; it may span lines. Whether a hazard was
    /// found in it. Ignored without an instruction cache.
    pub fn fetch(&mut self, page: PageId, vaddr: VirtAddr, offset: u32, size: u32, site: Site) -> bool {
        if !self.code.is_judged() {
            return false;
        }
        let quiet = match self.aliases.are_virtual() {
            true => {
                let alias = self.alias(page, vaddr);
                self.quiet_fetch(page, alias, offset, size)
            }
            false => self.quiet_fetch(page, self.code.geometry().colour(vaddr), offset, size),
        };
        if quiet {
            return false;
        }
        let before = self.findings.changes();
        let code = if self.aliases.are_virtual() { self.alias(page, vaddr).0 } else { self.code.place_of(vaddr) };
        self.fetches += 1;
        self.vaddr = Some(vaddr);
        let by = Party { kind: PartyKind::Fetch, site, colour: Some(code) };
        let served_by = self.code.fills_from_data().then(|| self.colour_of(vaddr));
        self.pieces(page.0, offset, size, |shadow, id, bytes| {
            shadow.meet_code_homonyms(id, code, bytes, by);
            for filled in shadow.code.fetched_with(id) {
                let bytes = if filled == id { bytes } else { ByteMask::EMPTY };
                shadow.fetch_line(filled, code, served_by, bytes, by);
            }
        });
        self.vaddr = None;
        self.findings.changes() != before
    }

    /// A fetch of these bytes of a line, or of others of the same line of the instruction cache if they are none.
    fn fetch_line(&mut self, id: LineId, code: u16, served_by: Option<u16>, bytes: ByteMask, by: Party) {
        self.touch(id, Touch::Through { colour: code | CODE, stores: false, served_by });
        self.deed(id, Deed::Nothing);
        let stamp = self.code.sweeps.stamp();
        if self.is_new_to_fetch(id, code) && !self.aliases.is_mixed(id.page, code, id.line) {
            self.code.set(id, CodeKey::Alone { colour: code, stamp, new: true });
            if let Head::Single { colour, stamp, .. } = self.heads.head(id) {
                self.heads.set_head(id, Head::Single { colour, stamp, watched: true });
            }
            return;
        }
        let place = code | CODE;
        let mut line = self.unpack(id);
        if line.is_unchanged_by_fetch(self.shape, place, served_by, bytes, stamp) {
            // Of several CPUs' fetches, those of the last one are quiet.
            let hint = self.code_hint(id, &line);
            if matches!(self.heads.head(id), Head::Record(_)) && self.code.key(id) != hint {
                self.code.set(id, hint);
            }
            self.put_aside(line);
            return;
        }
        self.settle_for(id, &mut line, place, stamp);
        let mut hazards = core::mem::take(&mut self.hazards);
        line.load(self.shape, Path::Fetch { code: place, served_by }, bytes, stamp, &mut hazards);
        self.report(id, &mut line, &mut hazards, by);
        self.hazards = hazards;
        self.close(id, line);
    }

    /// Whether the line is in a compact form, nothing of it dirty, and no other colour of the instruction cache may hold it: then it
    /// is held new after the fetch, whatever was swept.
    fn is_new_to_fetch(&self, id: LineId, code: u16) -> bool {
        let clean = match self.heads.head(id) {
            Head::Empty | Head::Shared { .. } => true,
            Head::Single { .. } => self.heads.bits(id).is_empty(),
            Head::Record(_) => false,
        };
        clean
            && match self.code.key(id) {
                CodeKey::Empty => true,
                CodeKey::Alone { colour, .. } => colour == code,
                CodeKey::InRecord => false,
            }
    }

    /// Drops a line of the instruction cache by address.
    pub(crate) fn maintain_code_line(&mut self, vaddr: VirtAddr, paddr: PhysAddr, site: Site) {
        for (id, place) in self.code_meant_by(self.line_id(paddr), vaddr) {
            for id in self.code.fetched_with(id) {
                let writer = self.last_writer(id);
                let effect = self.drop_code(id, place);
                self.history.push(Past {
                    target: Target::Line(id),
                    cpu: self.places.of_many(self.places.cpu_of_code(place)),
                    op: Maintenance::Invalidate,
                    colour: Some(place),
                    site,
                    effect,
                    muted: false,
                    epoch: 0,
                    code_epoch: Some(0),
                    writer,
                });
            }
        }
    }

    /// Drops what a place of an instruction cache holds of a line.
    pub(crate) fn drop_code(&mut self, id: LineId, colour: u16) -> Effect {
        self.touch_by_operation(id, Maintenance::Invalidate, colour | CODE);
        let head = self.heads.head(id);
        match (self.code.key(id), head) {
            (CodeKey::Empty, _) => return Effect::Nothing,
            (_, Head::Record(_)) | (CodeKey::InRecord, _) => {}
            (CodeKey::Alone { colour: held, .. }, _) if held == colour && self.ledger.is_some() => {}
            (CodeKey::Alone { colour: held, .. }, _) => {
                if held != colour {
                    return Effect::Nothing;
                }
                self.code.set(id, CodeKey::Empty);
                if let Head::Single { colour, stamp, .. } = head {
                    self.heads.set_head(id, Head::Single { colour, stamp, watched: self.shape.writes_through });
                }
                return Effect::Dropped;
            }
        }
        let mut line = self.open(id);
        self.note_operation(id, &line, Maintenance::Invalidate, colour | CODE, self.shape.code_ways);
        let effect = line.maintain(Maintenance::Invalidate, colour | CODE, self.shape.code_ways);
        self.close(id, line);
        effect
    }

    /// Empties one set and way of the instruction cache. A set or way that it does not have holds nothing.
    pub(crate) fn maintain_code_index(&mut self, set: u32, way: u32, site: Site) {
        if set >= self.code.geometry().sets() || way >= self.code.geometry().ways() {
            return;
        }
        let code_epoch = self.begin_code_sweep();
        let set = u32::from(self.places.cpu()) * self.code.geometry().sets() + set;
        self.code.sweeps.sweep(set, way, true);
        self.log_code_sweep(Some((set, way)));
        self.push_code_sweep(Target::Index { set }, site, code_epoch);
    }

    /// Empties the instruction cache.
    pub(crate) fn maintain_code_whole(&mut self, site: Site) {
        let code_epoch = self.begin_code_sweep();
        self.code.sweeps.sweep_all(self.places.cpu(), true);
        self.log_code_sweep(None);
        self.push_code_sweep(Target::Whole, site, code_epoch);
    }

    /// Operations by index and on the whole instruction cache are told apart from fetches by their epoch.
    pub(crate) fn begin_code_sweep(&mut self) -> u32 {
        if self.code.sweeps.is_exhausted() || self.is_sweep_log_full() {
            self.restart_epochs();
        }
        self.code.begin_sweep()
    }

    fn push_code_sweep(&mut self, target: Target, site: Site, code_epoch: u32) {
        self.history.push(Past {
            target,
            cpu: self.places.of_many(self.places.cpu()),
            op: Maintenance::Invalidate,
            colour: None,
            site,
            effect: Effect::Nothing,
            muted: false,
            epoch: self.sweeps.epoch(),
            code_epoch: Some(code_epoch),
            writer: None,
        });
    }
}
