//! Where the judge's work meets the ledger: operations are booked, and lines looked at before anything happens to them.
//!
//! Guarantees: without a ledger each of these is one compare, none of them on the quiet path. A change is noted when the judge carries an
//! operation out on the line: at once for operations by address, when the line is next looked at for sweeps. Accesses that change
//! nothing need no look: what they could tell of earlier operations, the first of them told, or what they store tells the next look.

use congruent_geometry::ByteMask;
use congruent_trace::{Maintenance, Scope, Site};

use super::changes::Fate;
use super::{Change, LedgerLine, Operation, Reach, Touch, What};
use crate::finding::Side;
use crate::heads::LineId;
use crate::line::{CODE, Copy, Line, Ways};
use crate::shadow::Shadow;

impl Shadow {
    /// What maintenance was good for so far, in order of first appearance; empty unless
    /// [`Config::with_ledger`](crate::Config::with_ledger) asked for it.
    #[must_use]
    pub fn ledger(&self) -> &[LedgerLine] {
        self.ledger.as_ref().map_or(&[], |ledger| ledger.lines())
    }

    /// An operation comes.
    pub(crate) fn book(&mut self, side: Side, scope: Scope, site: Site) {
        let context = self.origins.context();
        let Some(ledger) = &mut self.ledger else { return };
        let geometry = if side == Side::Data { &self.geometry } else { self.code.geometry() };
        let (reach, lines) = match scope {
            Scope::Line { .. } => (Reach::Line, 1),
            Scope::Index { set, way } => (Reach::Index, u32::from(set < geometry.sets() && way < geometry.ways())),
            Scope::Whole => (Reach::Whole, geometry.sets() * geometry.ways()),
        };
        ledger.begin((site, context, side, reach), lines);
        ledger.look_away();
    }

    /// Somebody comes to the line, before anything happens to it.
    #[inline]
    pub(crate) fn touch(&mut self, id: LineId, touch: Touch) {
        if self.ledger.is_some() {
            self.touch_now(id, touch);
        }
    }

    #[inline(never)]
    fn touch_now(&mut self, id: LineId, touch: Touch) {
        self.catch_up(id);
        if let Some(ledger) = &mut self.ledger {
            ledger.meet(id, touch);
            ledger.look(id, Some(touch));
        }
    }

    /// An operation by address comes to a line, before it is carried out.
    pub(crate) fn touch_by_operation(&mut self, id: LineId, op: Maintenance, colour: u16) {
        if Self::discards(op) {
            self.touch(id, Touch::Discard { colour: Some(colour) });
        } else if self.ledger.is_some() {
            self.catch_up(id);
        }
    }

    /// Takes note of what was stored since the line was last looked at.
    fn catch_up(&mut self, id: LineId) {
        if !self.ledger.as_ref().is_some_and(|ledger| ledger.has_changes(id)) {
            return;
        }
        let line = self.unpack(id);
        let Some(ledger) = &mut self.ledger else { return };
        ledger.review(id, |change| {
            let of_change = |copy: &&Copy| copy.colour == change.colour && !copy.ways.and(change.ways).is_none();
            match &mut change.what {
                What::WroteBack(left) => {
                    let anew = line.copies.iter().filter(of_change).map(|copy| copy.dirty).reduce(|all, dirty| all & dirty);
                    *left -= anew.unwrap_or(ByteMask::EMPTY);
                    if left.is_empty() { Fate::Undone } else { Fate::Stays }
                }
                What::Dropped { old } => {
                    *old |= line.copies.iter().any(|copy| copy.colour != change.colour && !copy.dirty.is_empty());
                    Fate::Stays
                }
            }
        });
        self.put_aside(line);
    }

    /// Sweeps that were put off are about to be carried out on the line: those that got through all ways of a copy, or (`resolved`) all
    /// on the copies of one colour.
    pub(crate) fn note_sweeps(&mut self, id: LineId, line: &Line, resolved: Option<u16>) {
        if self.ledger.is_none() {
            return;
        }
        for copy in line.copies.iter().filter(|copy| resolved.is_none_or(|colour| colour == copy.colour)) {
            let swept = self.swept(id, copy.colour, copy.stamp);
            let carried_out = |ways: Ways| {
                let all = copy.ways.without(ways).is_none();
                if all || resolved.is_some() { copy.ways.and(ways) } else { Ways::NONE }
            };
            let (set, in_code) = (self.set_in_its_cache(id, copy.colour), copy.is_code());
            let first = |shadow: &Self, ways, emptying| {
                let Some(ledger) = &shadow.ledger else { return alloc::vec::Vec::new() };
                let log = if in_code { &ledger.code_sweeps } else { &ledger.data_sweeps };
                log.first_on(set, ways, copy.stamp, emptying)
            };
            let written = carried_out(swept.written_back);
            if !written.is_none() && !copy.dirty.is_empty() {
                for (by, ways) in first(self, written, false) {
                    self.note_write_back(id, line, copy, by, ways);
                }
            }
            let emptied = carried_out(swept.invalidated);
            if !emptied.is_none() {
                for (by, ways) in first(self, emptied, true) {
                    self.note_drop(id, copy, by, ways);
                }
            }
        }
    }

    /// The same of a line that only this colour of the data cache holds.
    pub(crate) fn note_sweeps_of_single(&mut self, id: LineId, colour: u16) {
        if self.ledger.is_some() && !self.heads.bits(id).is_empty() {
            let line = self.unpack(id);
            self.note_sweeps(id, &line, Some(colour));
            self.put_aside(line);
        }
    }

    /// The operation in hand is about to be carried out on these ways of a colour of the line.
    pub(crate) fn note_operation(&mut self, id: LineId, line: &Line, op: Maintenance, colour: u16, ways: Ways) {
        let Some(ledger) = &mut self.ledger else { return };
        let by = ledger.now();
        for copy in line.copies.iter().filter(|copy| copy.colour == colour && !copy.ways.and(ways).is_none()) {
            let ways = copy.ways.and(ways);
            if !copy.dirty.is_empty() {
                if op.writes_back() {
                    self.note_write_back(id, line, copy, by, ways);
                } else if let Some(ledger) = &mut self.ledger {
                    // What is discarded is missed, or should be.
                    ledger.credit(by);
                }
            }
            if op.invalidates() {
                self.note_drop(id, copy, by, ways);
            }
        }
    }

    fn note_write_back(&mut self, id: LineId, line: &Line, copy: &Copy, by: Operation, ways: Ways) {
        // Beside bytes that are newer elsewhere, or lost, what is dirty matters in more ways than are followed.
        let others_dirty = line.copies.iter().any(|other| other.colour != copy.colour && !other.dirty.is_empty());
        // A copy of the instruction cache that this colour served is new: fetches that others serve would change nothing, quietly.
        let served = self.code.fills_from_data() && line.copies.iter().any(Copy::is_code);
        let entangled = others_dirty || served || !copy.stale.is_empty() || !line.lost().is_empty();
        let Some(ledger) = &mut self.ledger else { return };
        if entangled {
            ledger.credit(by);
        } else {
            ledger.change(id, Change { by, colour: copy.colour, ways, what: What::WroteBack(copy.dirty) });
        }
    }

    fn note_drop(&mut self, id: LineId, copy: &Copy, by: Operation, ways: Ways) {
        let old = !copy.stale.is_empty();
        // A core that fills lines on its own holds it again at once, and new.
        let held_again = !copy.is_code() && self.is_live(id);
        let Some(ledger) = &mut self.ledger else { return };
        match (held_again, old) {
            (true, true) => ledger.credit(by),
            (true, false) => {}
            (false, _) => ledger.change(id, Change { by, colour: copy.colour, ways, what: What::Dropped { old } }),
        }
    }

    /// A sweep of the data cache was noted (`target`: set and way; the whole cache if `None`).
    pub(crate) fn log_sweep(&mut self, target: Option<(u32, u32)>, empties: bool) {
        let epoch = self.sweeps.epoch();
        if let Some(ledger) = &mut self.ledger {
            let now = ledger.now();
            ledger.data_sweeps.push(target, epoch, empties, now);
        }
    }

    /// The same of the instruction cache.
    pub(crate) fn log_code_sweep(&mut self, target: Option<(u32, u32)>) {
        let epoch = self.code.sweeps.epoch();
        if let Some(ledger) = &mut self.ledger {
            let now = ledger.now();
            ledger.code_sweeps.push(target, epoch, true, now);
        }
    }

    /// Whether what was put off is to be carried out on every line, so that less need be remembered.
    pub(crate) fn is_sweep_log_full(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| ledger.data_sweeps.is_full() || ledger.code_sweeps.is_full())
    }

    fn set_in_its_cache(&self, id: LineId, colour: u16) -> u32 {
        if colour & CODE == 0 { self.set_of(id, colour) } else { self.code.set_of(id, 0, colour & !CODE) }
    }
}
