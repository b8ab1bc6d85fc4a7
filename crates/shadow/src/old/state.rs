//! One line in one schedule, with its bytes: what memory has, what each place holds.
//!
//! Guarantees: only what hardware can do happens. The schedules are those of `congruent-machine`, which shares no code with this and tells bytes
//! apart as newest and older only; here they are the bytes themselves, because they are to be handed out.

use alloc::boxed::Box;
use alloc::vec::Vec;

use congruent_geometry::ByteMask;
use congruent_trace::Maintenance;

use crate::line::{Shape, Ways};
use crate::sweep::Swept;

/// What a place holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Held {
    pub place: u16,
    /// The ways that it may sit in.
    pub ways: Ways,
    /// Units that are to be written back, whole.
    pub dirty: ByteMask,
    pub bytes: Box<[u8]>,
}

impl Held {
    /// Stores bytes, those of the set, of these.
    fn store(&mut self, shape: Shape, set: ByteMask, values: &[u8]) {
        set.offsets().for_each(|at| self.bytes[at] = values[at]);
        if !shape.writes_through {
            self.dirty |= set.widen(shape.unit);
        }
    }
}

/// The line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct State {
    pub memory: Box<[u8]>,
    /// In the order of places.
    pub held: Vec<Held>,
}

impl State {
    pub fn held_at(&self, place: u16) -> Option<&Held> {
        self.held.iter().find(|held| held.place == place)
    }

    /// What hardware may do on its own: write a unit back, drop a clean copy.
    pub fn moves(&self, shape: Shape) -> impl Iterator<Item = Self> {
        self.held.iter().enumerate().flat_map(move |(at, held)| {
            let mut next = Vec::new();
            let mut left = held.dirty;
            while let Some(first) = left.first() {
                let unit = ByteMask::range(first, 1).widen(shape.unit) & held.dirty;
                left -= unit;
                let mut state = self.clone();
                state.write_back(at, unit);
                next.push(state);
            }
            if held.dirty.is_empty() {
                let mut state = self.clone();
                state.held.remove(at);
                next.push(state);
            }
            next
        })
    }

    fn write_back(&mut self, at: usize, units: ByteMask) {
        let held = &mut self.held[at];
        for byte in (units & held.dirty).offsets() {
            self.memory[byte] = held.bytes[byte];
        }
        held.dirty -= units;
    }

    /// With the line held at a place, in any way if it was not. A miss is served by another CPU's copy, which may pass on what is dirty, or by
    /// memory.
    pub fn filled(self, shape: Shape, place: u16) -> Vec<Self> {
        if self.held_at(place).is_some() {
            return alloc::vec![self];
        }
        let sibling = self.held.iter().find(|held| shape.are_coherent(held.place, place));
        let bytes = sibling.map_or(&self.memory, |held| &held.bytes).clone();
        let mut filled = self;
        let at = filled.held.partition_point(|held| held.place < place);
        filled.held.insert(at, Held { place, ways: shape.ways_of(place), dirty: ByteMask::EMPTY, bytes });
        let passed = filled.clone().pass_dirty(shape, place);
        if passed == filled { alloc::vec![filled] } else { alloc::vec![filled, passed] }
    }

    /// What other CPUs have dirty at the colour of this place becomes this place's to write back; they keep clean copies.
    fn pass_dirty(mut self, shape: Shape, place: u16) -> Self {
        let mut passed = ByteMask::EMPTY;
        for held in self.held.iter_mut().filter(|held| held.place != place && shape.are_coherent(held.place, place)) {
            passed |= core::mem::take(&mut held.dirty);
        }
        if let Some(own) = self.held.iter_mut().find(|held| held.place == place) {
            own.dirty |= passed;
        }
        self
    }

    /// Stores bytes through a place, which is filled first if stores allocate; those of the set, of these.
    pub fn stored(self, shape: Shape, place: u16, set: ByteMask, values: &[u8]) -> Vec<Self> {
        let filled = if shape.write_allocate { self.filled(shape, place) } else { alloc::vec![self] };
        let store = |state: Self| {
            let mut state = state.pass_dirty(shape, place);
            state.held.retain(|held| held.place == place || !shape.are_coherent(held.place, place));
            let held = state.held.iter_mut().find(|held| held.place == place);
            let to_memory = shape.writes_through || held.is_none();
            if let Some(held) = held {
                held.store(shape, set, values);
            }
            if to_memory {
                set.offsets().for_each(|at| state.memory[at] = values[at]);
            }
            state
        };
        filled.into_iter().map(store).collect()
    }

    /// With bytes stored into what a place holds, if it holds any, that are meant for another frame's line: memory of this one is not stored to.
    pub fn stored_astray(mut self, shape: Shape, place: u16, set: ByteMask, values: &[u8]) -> Self {
        if let Some(held) = self.held.iter_mut().find(|held| held.place == place) {
            held.store(shape, set, values);
        }
        self
    }

    /// Carries out maintenance of the copy that a place may hold in some ways: as it is if it sits in one of them, and if it does not.
    pub fn maintained(self, op: Maintenance, place: u16, ways: Ways) -> Vec<Self> {
        let reached =
            |held: &Held| if op.invalidates() { (Ways::NONE, held.ways.and(ways)) } else { (held.ways.and(ways), Ways::NONE) };
        self.parted(place, reached, op.writes_back())
    }

    /// Carries out what was swept of the ways of a place.
    pub fn swept(self, place: u16, swept: Swept) -> Vec<Self> {
        // What discards is carried out at once.
        self.parted(
            place,
            |held| (held.ways.and(swept.written_back).without(swept.invalidated), held.ways.and(swept.invalidated)),
            true,
        )
    }

    /// One state for each part of the ways that a copy may sit in: those in which it is cleaned, those that are emptied, and the others.
    fn parted(self, place: u16, parts: impl Fn(&Held) -> (Ways, Ways), writes_back: bool) -> Vec<Self> {
        let Some(at) = self.held.iter().position(|held| held.place == place) else { return alloc::vec![self] };
        let ways = self.held[at].ways;
        let (cleaned, emptied) = parts(&self.held[at]);
        let untouched = ways.without(cleaned).without(emptied);
        let written_back = || {
            let mut state = self.clone();
            if writes_back {
                state.write_back(at, state.held[at].dirty);
            }
            state
        };
        let mut states = Vec::new();
        if !emptied.is_none() {
            let mut state = written_back();
            state.held.remove(at);
            states.push(state);
        }
        if !cleaned.is_none() {
            let mut state = written_back();
            state.held[at].ways = cleaned;
            states.push(state);
        }
        if !untouched.is_none() {
            let mut state = self;
            state.held[at].ways = untouched;
            states.push(state);
        }
        states
    }

    /// Whether this may do all the harm that the other may: it holds the same, as dirty, and nothing newer. What is newest is said; without it,
    /// every value does a harm of its own.
    pub fn is_worse(&self, other: &Self, newest: Option<&[u8]>) -> bool {
        let all_old = |own: &[u8], other: &[u8], newest: &[u8]| {
            own.iter().zip(other).zip(newest).all(|((own, other), newest)| own != newest || other == newest)
        };
        let no_newer = |own: &[u8], other: &[u8]| own == other || newest.is_some_and(|newest| all_old(own, other, newest));
        let alike = |(own, other): (&Held, &Held)| {
            (own.place, own.ways, own.dirty) == (other.place, other.ways, other.dirty) && no_newer(&own.bytes, &other.bytes)
        };
        self.held.len() == other.held.len()
            && no_newer(&self.memory, &other.memory)
            && self.held.iter().zip(&other.held).all(alike)
    }
}
