//! From a line's compact form to the full one that the rules act on, and back to the simplest form that says the same.

use congruent_geometry::{ByteMask, PhysAddr, VirtAddr};

use crate::code::CodeKey;
use crate::finding::{Effect, Party, PartyKind, Side};
use crate::heads::{Head, LineId};
use crate::line::{CODE, Copy, Line, Writer};
use crate::shadow::Shadow;
use crate::sweep::{Sweeps, Swept};

/// Emptied lines kept for the memory they own.
const SPARE: usize = 16;

impl Shadow {
    /// The line that holds `paddr`, if its frame was touched.
    pub(crate) fn line_id(&self, paddr: PhysAddr) -> Option<LineId> {
        let page = self.frames.find(self.geometry.frame(paddr))?;
        Some(LineId { page, line: self.geometry.page_offset(paddr.0) >> self.geometry.line_shift() })
    }

    pub(crate) fn colour_of(&self, vaddr: VirtAddr) -> u16 {
        self.geometry.colour(vaddr).index() as u16
    }

    /// The colour of a place of a data cache, which says which sets its lines are in.
    pub(crate) fn colour_at(&self, page: u32, place: u16) -> u16 {
        self.aliases.colour(page, self.places.colour(place))
    }

    /// The set in which a place of a data cache holds the line, the sets of each CPU after those of the one before.
    pub(crate) fn set_of(&self, id: LineId, place: u16) -> u32 {
        let set = (u32::from(self.colour_at(id.page, place)) * self.geometry.lines_per_page() + id.line) & self.set_mask;
        u32::from(self.places.cpu_of(place)) * (self.set_mask + 1) + set
    }

    /// The colour of a place of an instruction cache.
    pub(crate) fn code_colour(&self, page: u32, place: u16) -> u16 {
        self.aliases.colour_in(self.code.geometry(), page, self.places.code_colour(place))
    }

    /// The last access known to have written the line.
    pub(crate) fn last_writer(&mut self, id: LineId) -> Option<Party> {
        match self.heads.head(id) {
            Head::Single { colour, .. } if !self.heads.bits(id).is_empty() => {
                Some(Party { kind: PartyKind::Store, site: self.heads.site(id), colour: Some(colour) })
            }
            Head::Record(_) => {
                let line = self.unpack(id);
                let writer = line.last_writer();
                self.put_aside(line);
                writer
            }
            _ => None,
        }
    }

    pub(crate) fn open(&mut self, id: LineId) -> Line {
        let mut line = self.unpack(id);
        self.settle(id, &mut line);
        line
    }

    /// As [`settle`](Self::settle), for an access through `colour`, which will get a new stamp.
    pub(crate) fn settle_for(&mut self, id: LineId, line: &mut Line, colour: u16, stamp: u32) {
        self.settle(id, line);
        self.note_sweeps(id, line, Some(colour));
        line.resolve(colour, stamp, &|colour, stamp| self.swept(id, colour, stamp));
    }

    /// What was done since a stamp to the ways in which a copy of the line may sit; the colour says in which cache.
    pub(crate) fn swept(&self, id: LineId, colour: u16, stamp: u32) -> Swept {
        if colour & CODE == 0 {
            self.sweeps.since(self.set_of(id, colour), stamp)
        } else {
            let place = colour & !CODE;
            let set = self.code.set_of(id, self.places.cpu_of_code(place), self.code_colour(id.page, place));
            self.code.sweeps.since(set, stamp)
        }
    }

    /// The line in full, as it was left.
    pub(crate) fn unpack(&mut self, id: LineId) -> Line {
        let mut line = self.spare.pop().unwrap_or_default();
        let all_ways = self.shape.all_ways;
        let none = ByteMask::EMPTY;
        let copy = |colour, stamp, dirty| Copy { colour, ways: all_ways, stamp, stale: none, dirty, spared: none };
        match self.heads.head(id) {
            Head::Empty => {}
            Head::Single { colour, stamp, .. } => {
                let dirty = self.heads.bits(id);
                line.copies.push(copy(colour, stamp, dirty));
                if !dirty.is_empty() {
                    line.note_writer(Party { kind: PartyKind::Store, site: self.heads.site(id), colour: Some(colour) }, dirty);
                }
            }
            Head::Shared { stamp } => {
                let held = (0..self.heads.shared_limit() as u16).filter(|colour| self.heads.names(id, *colour));
                line.copies.extend(held.map(|colour| copy(colour, stamp, none)));
            }
            Head::Record(place) => {
                self.records.read(place, &mut line);
                return line;
            }
        }
        if let CodeKey::Alone { colour, stamp, .. } = self.code.key(id) {
            // What is dirty was stored since the copy was made, or before that and not written back.
            let stale = line.copies.iter().fold(ByteMask::EMPTY, |mask, copy| mask | copy.dirty);
            let ways = self.shape.code_ways;
            line.copies.push(Copy { colour: colour | CODE, ways, stamp, stale, dirty: none, spared: none });
        }
        line
    }

    /// Whether the core may fill the line though nobody asks for it. Such a line is never simply empty: with that it may hold what
    /// memory has.
    pub(crate) fn is_live(&self, id: LineId) -> bool {
        self.live.get(id.page as usize).is_some_and(|live| *live)
    }

    /// Carries out every postponed operation that is complete; where ways may be filled again at once, all of them.
    fn settle(&mut self, id: LineId, line: &mut Line) {
        let oldest = |line: &Line, code| {
            line.copies.iter().filter(|copy| copy.is_code() == code).map(|copy| copy.stamp).min().unwrap_or(0)
        };
        let (after, code_after) = (oldest(line, false), oldest(line, true));
        self.note_sweeps(id, line, None);
        let (effect, code_dropped) = line.settle(&|colour, stamp| self.swept(id, colour, stamp));
        if effect != Effect::Nothing {
            self.history.push_swept(Side::Data, id, after, self.sweeps.epoch(), effect);
        }
        if code_dropped {
            self.history.push_swept(Side::Instruction, id, code_after, self.code.sweeps.epoch(), Effect::Dropped);
        }
        if self.is_live(id) {
            let stamp = self.sweeps.stamp();
            self.note_sweeps(id, line, Some(0));
            line.resolve(0, stamp, &|colour, stamp| self.swept(id, colour, stamp));
            line.speculate(self.shape, stamp);
        }
    }

    /// Stores the line in the simplest form that says the same.
    pub(crate) fn close(&mut self, id: LineId, mut line: Line) {
        let place = match self.heads.head(id) {
            Head::Record(place) => Some(place),
            _ => None,
        };
        if self.is_live(id) {
            line.speculate(self.shape, self.sweeps.stamp());
        }
        line.rejoin();
        line.copies.sort_by_key(Copy::is_code);
        let (head, bits, code) = match (self.simple_form(id, &line), place) {
            (Some(simple), place) => {
                // Only the producer of dirty bytes can ever be asked for.
                let dirty =
                    |writer: &&Writer| matches!(simple, (Head::Single { .. }, dirty, _) if writer.bytes.intersects(dirty));
                if let Some(writer) = line.writers.iter().rev().find(dirty) {
                    self.heads.set_site(id, writer.party.site);
                }
                if let Some(place) = place {
                    self.records.free(place);
                }
                simple
            }
            (None, Some(place)) => {
                self.records.put(place, &line);
                (Head::Record(place), ByteMask::EMPTY, self.code_hint(id, &line))
            }
            (None, None) => (Head::Record(self.records.insert(&line)), ByteMask::EMPTY, self.code_hint(id, &line)),
        };
        self.heads.set_head(id, head);
        self.heads.set_bits(id, bits);
        self.code.set(id, code);
        self.close_bytes(id, head);
        self.put_aside(line);
    }

    /// The compact form of the line, if it has one. Copies of the instruction cache come last.
    fn simple_form(&self, id: LineId, line: &Line) -> Option<(Head, ByteMask, CodeKey)> {
        if !line.lost().is_empty() || line.unhealed.is_some() || self.is_mixed(id, line) {
            return None;
        }
        let (data, code) = line.copies.split_at(line.copies.partition_point(|copy| !copy.is_code()));
        let (head, bits) = self.simple_data_form(id, data)?;
        let dirty = if matches!(head, Head::Single { .. }) { bits } else { ByteMask::EMPTY };
        let code = match *code {
            [] => CodeKey::Empty,
            [only] if only.ways == self.shape.code_ways && only.stale == dirty => {
                CodeKey::Alone { colour: only.colour & !CODE, stamp: only.stamp, new: dirty.is_empty() }
            }
            _ => return None,
        };
        match head {
            Head::Single { colour, stamp, .. } => Some((
                Head::Single {
                    colour,
                    stamp,
                    watched: self.shape.writes_through || matches!(code, CodeKey::Alone { new: true, .. }),
                },
                bits,
                code,
            )),
            _ => Some((head, bits, code)),
        }
    }

    /// What the key says of a line that has a record: whether this CPU's fetches through some colour find everything new and leave it so.
    pub(crate) fn code_hint(&self, id: LineId, line: &Line) -> CodeKey {
        if line.unhealed.is_some() || self.is_mixed(id, line) {
            return if line.all_copies().any(Copy::is_code) { CodeKey::InRecord } else { CodeKey::Empty };
        }
        let (data, code) = line.copies.split_at(line.copies.partition_point(|copy| !copy.is_code()));
        let new = |copy: &Copy| copy.dirty.is_empty() && (copy.stale.is_empty() || !self.code.fills_from_data());
        let mut here = code.iter().filter(|copy| self.places.cpu_of_code(copy.colour & !CODE) == self.places.cpu());
        match (here.next(), here.next()) {
            (Some(only), None)
                if only.ways == self.shape.code_ways
                    && only.stale.is_empty()
                    && line.lost().is_empty()
                    && data.iter().all(new) =>
            {
                CodeKey::Alone { colour: only.colour & !CODE, stamp: only.stamp, new: true }
            }
            _ if code.is_empty() => CodeKey::Empty,
            _ => CodeKey::InRecord,
        }
    }

    /// Whether what some address holds of the line may be another frame's.
    fn is_mixed(&self, id: LineId, line: &Line) -> bool {
        line.copies.iter().any(|copy| self.aliases.is_mixed(id.page, copy.colour & !CODE, id.line))
    }

    /// The compact form of the data cache's copies, if they have one.
    fn simple_data_form(&self, id: LineId, copies: &[Copy]) -> Option<(Head, ByteMask)> {
        let whole = |copy: &Copy| copy.ways == self.shape.all_ways && copy.stale.is_empty();
        match *copies {
            [] => Some((Head::Empty, ByteMask::EMPTY)),
            [only] if whole(&only) => Some((Head::Single { colour: only.colour, stamp: only.stamp, watched: false }, only.dirty)),
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

    /// Keeps the memory of a line that is no longer needed.
    pub(crate) fn put_aside(&mut self, mut line: Line) {
        if self.spare.len() < SPARE {
            line.clear();
            self.spare.push(line);
        }
    }
}
