//! Maintenance: by address at once, by index and whole as an entry in the table of sweeps.
//!
//! The exception is a sweep that discards: what it does to dirty bytes cannot wait, because a later write-back of the same way
//! would hide it. Such sweeps happen when a kernel first switches its cache on; they look at every touched line of the set.

use alloc::vec::Vec;

use congruent_geometry::{ByteMask, PhysAddr, VirtAddr};
use congruent_trace::{Maintenance, Site};

use crate::finding::Effect;
use crate::heads::{Head, LineId};
use crate::history::{Past, Target};
use crate::ledger::Touch;
use crate::line::{Copy, Ways, effect};
use crate::old::Deed;
use crate::shadow::Shadow;

impl Shadow {
    /// Maintenance by address.
    pub(crate) fn maintain_line(&mut self, op: Maintenance, vaddr: VirtAddr, paddr: PhysAddr, site: Site) {
        if !self.aliases.are_virtual() {
            if let Some(id) = self.line_id(paddr) {
                for place in self.places.reached(self.colour_of(vaddr)) {
                    self.maintain_alias(op, id, place, site);
                }
            }
            return;
        }
        for (id, alias) in self.meant_by(None, vaddr) {
            self.maintain_alias(op, id, alias, site);
        }
    }

    fn maintain_alias(&mut self, op: Maintenance, id: LineId, alias: u16, site: Site) {
        let writer = self.last_writer(id);
        let effect = self.maintain_line_now(op, id, alias);
        let past = Past {
            target: Target::Line(id),
            cpu: self.places.of_many(self.places.cpu_of(alias)),
            op,
            colour: Some(alias),
            site,
            effect,
            muted: false,
            epoch: 0,
            code_epoch: None,
            writer,
        };
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
        let set = u32::from(self.places.cpu()) * self.geometry.sets() + set;
        self.sweeps.sweep(set, way, op.invalidates());
        self.log_sweep(Some((set, way)), op.invalidates());
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
        self.sweeps.sweep_all(self.places.cpu(), op.invalidates());
        self.log_sweep(None, op.invalidates());
        self.push_sweep(Target::Whole, op, site, epoch);
    }

    pub(crate) fn maintain_line_now(&mut self, op: Maintenance, id: LineId, colour: u16) -> Effect {
        self.touch_by_operation(id, op, colour);
        self.deed(id, Deed::Maintain(op, colour, self.shape.all_ways));
        match self.heads.head(id) {
            Head::Empty => return Effect::Nothing,
            Head::Single { colour: held, .. } if held != colour => return Effect::Nothing,
            Head::Single { stamp, .. } if self.ledger.is_none() && self.sweeps.quiet_since(self.set_of(id, colour), stamp) => {
                let dirty = !self.heads.bits(id).is_empty();
                // What stops being dirty may go on being old in the instruction cache.
                let forgets = dirty && self.code.may_hold(id);
                if (op.writes_back() || !dirty) && !forgets {
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
        self.note_operation(id, &line, op, colour, self.shape.all_ways);
        let effect = line.maintain(op, colour, self.shape.all_ways);
        self.close(id, line);
        effect
    }

    /// What a pure invalidate of these ways does to the dirty bytes of a line. What it does to clean copies can wait.
    fn discard(&mut self, id: LineId, colour: Option<u16>, ways: Ways) {
        self.touch(id, Touch::Discard { colour });
        match self.heads.head(id) {
            Head::Empty | Head::Shared { .. } => return,
            Head::Single { colour: held, .. } if !self.is_of(id, held, colour) => return,
            Head::Single { .. } if self.heads.bits(id).is_empty() => return,
            Head::Single { .. } | Head::Record(_) => {}
        }
        let stamp = self.sweeps.stamp();
        let mut line = self.open(id);
        // Where ways are filled again at once, all of it happens at once: opened, the line is as of now.
        let live = self.is_live(id);
        let meant = |copy: &&Copy| !copy.is_code() && (live || !copy.dirty.is_empty());
        let mut meant: Vec<u16> = line.all_copies().filter(meant).map(|copy| copy.colour).collect();
        meant.sort_unstable();
        meant.dedup();
        for held in meant {
            if self.is_of(id, held, colour) {
                self.note_sweeps(id, &line, Some(held));
                line.resolve(held, stamp, &|colour, stamp| self.swept(id, colour, stamp));
                self.note_operation(id, &line, Maintenance::Invalidate, held, ways);
                self.deed(id, Deed::Discard(held, ways));
                line.maintain(Maintenance::Invalidate, held, ways);
            }
        }
        self.close(id, line);
    }

    /// Whether a place is in the data cache of the CPU that events are of, and of this colour, if one is asked for.
    fn is_of(&self, id: LineId, place: u16, colour: Option<u16>) -> bool {
        self.places.cpu_of(place) == self.places.cpu() && colour.is_none_or(|colour| colour == self.colour_at(id.page, place))
    }

    fn push_sweep(&mut self, target: Target, op: Maintenance, site: Site, epoch: u32) {
        let past = Past {
            target,
            cpu: self.places.of_many(self.places.cpu()),
            op,
            colour: None,
            site,
            effect: Effect::Nothing,
            muted: false,
            epoch,
            code_epoch: None,
            writer: None,
        };
        self.history.push(past);
    }

    /// Makes every stamp the first one, because epochs have run out.
    #[cold]
    pub(crate) fn restart_epochs(&mut self) {
        if let Some(ledger) = &mut self.ledger {
            ledger.look_away();
        }
        let stamp = self.sweeps.stamp();
        let lines = self.geometry.lines_per_page();
        let ids = move |pages| (0..pages).flat_map(move |page| (0..lines).map(move |line| LineId { page, line }));
        let code_stamp = self.code.sweeps.stamp();
        let stamp_of = |copy: &Copy, stamp, code_stamp| if copy.is_code() { code_stamp } else { stamp };
        for id in ids(self.heads.pages()) {
            if self.heads.head(id) == Head::Empty && !self.code.may_hold(id) {
                continue;
            }
            self.deed(id, Deed::Nothing);
            let mut line = self.open(id);
            let left = |copy: &&Copy| copy.stamp != stamp_of(copy, stamp, code_stamp);
            // Copies of a colour may move; it is done when all of them carry the stamp.
            loop {
                let Some(copy) = line.all_copies().find(left).copied() else { break };
                self.note_sweeps(id, &line, Some(copy.colour));
                let now = stamp_of(&copy, stamp, code_stamp);
                line.resolve(copy.colour, now, &|colour, stamp| self.swept(id, colour, stamp));
            }
            self.close(id, line);
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.data_sweeps.clear();
            ledger.code_sweeps.clear();
        }
        self.sweeps.restart();
        self.code.restart();
        self.history.restart();
        if let Some(old) = &mut self.old {
            old.restart(self.sweeps.stamp());
        }
        let (stamp, code_stamp) = (self.sweeps.stamp(), self.code.sweeps.stamp());
        for id in ids(self.heads.pages()) {
            match self.heads.head(id) {
                Head::Single { colour, watched, .. } => self.heads.set_head(id, Head::Single { colour, stamp, watched }),
                Head::Shared { .. } => self.heads.set_head(id, Head::Shared { stamp }),
                Head::Empty | Head::Record(_) => {}
            }
        }
        for place in self.records.places() {
            let mut line = self.spare.pop().unwrap_or_default();
            self.records.read(place, &mut line);
            line.each(|line| line.copies.iter_mut().for_each(|copy| copy.stamp = stamp_of(copy, stamp, code_stamp)));
            self.records.put(place, &line);
            self.put_aside(line);
        }
        self.now = self.key_now();
    }

    /// Maintenance of a whole colour or cache is told apart from accesses by its epoch.
    pub(crate) fn begin_sweep(&mut self) -> u32 {
        if self.sweeps.is_exhausted() || self.is_sweep_log_full() {
            self.restart_epochs();
        }
        let epoch = self.sweeps.begin();
        self.now = self.key_now();
        epoch
    }

    /// Whether `op` may discard dirty bytes.
    pub(crate) fn discards(op: Maintenance) -> bool {
        op.invalidates() && !op.writes_back()
    }
}
