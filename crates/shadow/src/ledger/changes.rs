//! What operations changed and nobody has met yet, line by line.
//!
//! Think of two caches, one with the operation and one without. They differ in one copy of the line: its bytes are dirty in the one and
//! written back in the other, or it is held in the one and dropped in the other. While only that copy's colour is used, nobody can
//! tell; and storing the bytes anew, or filling the copy again, makes the two alike. That ends when somebody else comes to a line
//! whose bytes were written back, or when the colour is used again while the copy that was dropped would be old.
//!
//! Guarantees: 4 bytes per line of touched memory, 40 per change; at most [`MOST`] changes of a line. Not here: when lines are looked at
//! (`book`).

use alloc::vec::Vec;

use congruent_geometry::ByteMask;

use super::Operation;
use crate::heads::LineId;
use crate::line::Ways;

/// Changes of one line that are told apart: more than bytes stored between sweeps of four ways come to in practice. Beyond it the oldest
/// is taken to matter, met or not.
const MOST: usize = 256;

/// What an operation did to a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// It wrote back these bytes. Bytes that were stored anew are taken out.
    WroteBack(ByteMask),
    /// It dropped the copy, which would be older than the newest bytes by now if `old`.
    Dropped { old: bool },
}

/// A change of a line that nobody has met yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub by: Operation,
    /// Of the copy: a colour of the data cache, or one of the instruction cache with `CODE` added.
    pub colour: u16,
    /// The ways of the copy that it concerns.
    pub ways: Ways,
    pub what: What,
}

/// Who comes to a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Touch {
    /// An access through a cache. `served_by`: the colour of the data cache that a fetch is served by, if it is.
    Through { colour: u16, stores: bool, served_by: Option<u16> },
    /// An access past the caches, of these bytes.
    Past { stores: bool, bytes: ByteMask },
    /// An operation that discards what is dirty in this colour; in all of them if `None`.
    Discard { colour: Option<u16> },
}

/// What becomes of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Somebody could tell that it was made.
    Mattered,
    /// The line is as it would be without it.
    Undone,
    /// Nobody has met it yet.
    Stays,
}

impl Change {
    /// What becomes of it when this access, or operation, comes.
    pub(super) fn meet(&mut self, touch: Touch, writes_through: bool, write_allocate: bool) -> Fate {
        match (&mut self.what, touch) {
            (What::WroteBack(_), Touch::Through { colour, stores, .. }) if colour == self.colour => {
                // A store that allocates nothing goes to memory here, and would go into the dirty copy there.
                if stores && !write_allocate { Fate::Mattered } else { Fate::Stays }
            }
            (What::WroteBack(_), Touch::Through { .. } | Touch::Past { stores: true, .. }) => Fate::Mattered,
            (What::WroteBack(left), Touch::Past { stores: false, bytes }) => {
                if bytes.intersects(*left) {
                    Fate::Mattered
                } else {
                    Fate::Stays
                }
            }
            (What::WroteBack(_), Touch::Discard { colour }) => {
                if colour.is_none_or(|colour| colour == self.colour) {
                    Fate::Mattered
                } else {
                    Fate::Stays
                }
            }
            (What::Dropped { old }, Touch::Through { colour, stores, .. }) if colour == self.colour => {
                match (stores && !write_allocate, writes_through, *old) {
                    // Nothing is filled, and memory and a copy that is held would both have the bytes.
                    (true, true, _) => Fate::Stays,
                    (true, false, _) | (false, _, true) => Fate::Mattered,
                    (false, _, false) => Fate::Undone,
                }
            }
            (What::Dropped { old: true }, Touch::Through { served_by, .. }) if served_by == Some(self.colour) => Fate::Mattered,
            (What::Dropped { old }, Touch::Through { stores, .. } | Touch::Past { stores, .. }) => {
                *old |= stores;
                Fate::Stays
            }
            (What::Dropped { .. }, Touch::Discard { .. }) => Fate::Stays,
        }
    }
}

/// A change as it is kept: 40 bytes.
#[derive(Clone, Copy, Debug)]
struct Slot {
    by: Operation,
    ways: [u32; 2],
    /// The bytes of `WroteBack`.
    bytes: [u32; 4],
    colour: u16,
    kind: Kind,
    /// The place of the change before it on its line, plus one.
    next: u32,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    WroteBack,
    DroppedNew,
    DroppedOld,
}

impl Slot {
    fn new(change: Change, next: u32) -> Self {
        let (kind, bytes) = match change.what {
            What::WroteBack(bytes) => (Kind::WroteBack, bytes),
            What::Dropped { old: false } => (Kind::DroppedNew, ByteMask::EMPTY),
            What::Dropped { old: true } => (Kind::DroppedOld, ByteMask::EMPTY),
        };
        let bytes = [0, 32, 64, 96].map(|shift| (bytes.0 >> shift) as u32);
        Self { by: change.by, ways: change.ways.halves(), bytes, colour: change.colour, kind, next }
    }

    fn change(&self) -> Change {
        let what = match self.kind {
            Kind::WroteBack => {
                What::WroteBack(ByteMask(self.bytes.iter().rev().fold(0, |mask, word| mask << 32 | u128::from(*word))))
            }
            Kind::DroppedNew => What::Dropped { old: false },
            Kind::DroppedOld => What::Dropped { old: true },
        };
        Change { by: self.by, colour: self.colour, ways: Ways::from_halves(self.ways[0], self.ways[1]), what }
    }
}

/// The changes of all lines.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    lines_per_page: u32,
    /// Per line of touched memory: the place of its latest change, plus one; zero if it has none.
    first: Vec<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Changes {
    pub fn new(lines_per_page: u32) -> Self {
        Self { lines_per_page, first: Vec::new(), slots: Vec::new(), free: Vec::new() }
    }

    pub fn push_page(&mut self) {
        self.first.resize(self.first.len() + self.lines_per_page as usize, 0);
    }

    pub fn any(&self, id: LineId) -> bool {
        self.first.get(self.at(id)).is_some_and(|first| *first != 0)
    }

    /// Adds a change; gives back the oldest one of the line if there are too many.
    pub fn add(&mut self, id: LineId, change: Change) -> Option<Change> {
        let at = self.at(id);
        let slot = Slot::new(change, *self.first.get(at)?);
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = slot;
                place
            }
            None => {
                if self.slots.len() == self.slots.capacity() {
                    // Little more at a time, as everywhere in the judge.
                    self.slots.reserve_exact(1024.max(self.slots.len() / 8));
                }
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        self.first[at] = place + 1;
        let mut kept = 0;
        let mut oldest = None;
        self.retain(id, |change| {
            kept += 1;
            if kept > MOST {
                oldest = Some(*change);
            }
            kept <= MOST
        });
        oldest
    }

    /// Keeps the changes of a line that `keep` says to, latest first.
    pub fn retain(&mut self, id: LineId, mut keep: impl FnMut(&mut Change) -> bool) {
        let at = self.at(id);
        let mut next = self.first.get(at).copied().unwrap_or(0);
        let mut last_kept: Option<usize> = None;
        while next != 0 {
            let place = next as usize - 1;
            let slot = &mut self.slots[place];
            next = slot.next;
            let mut change = slot.change();
            if keep(&mut change) {
                *slot = Slot::new(change, next);
                last_kept = Some(place);
                continue;
            }
            match last_kept {
                Some(kept) => self.slots[kept].next = next,
                None => self.first[at] = next,
            }
            self.free.push(place as u32);
        }
    }

    pub fn bytes(&self) -> usize {
        (self.first.capacity() + self.free.capacity()) * size_of::<u32>() + self.slots.capacity() * size_of::<Slot>()
    }

    fn at(&self, id: LineId) -> usize {
        (id.page * self.lines_per_page + id.line) as usize
    }
}
