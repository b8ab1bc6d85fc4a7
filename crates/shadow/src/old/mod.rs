//! The old bytes themselves: what an access that could see old bytes would be given.
//!
//! The rules (`line`) say *which* bytes could be old, for the worst core. Where a source can hand other bytes to its guest, it has to know
//! what they would be. So, if asked ([`Config::with_bytes`](crate::Config::with_bytes)), every schedule is gone through with the bytes themselves, of
//! the lines that have a record; of all others it is enough to know what is newest, and what memory has where that is dirty. The judge is told what
//! is stored.
//!
//! Nothing is healed: a guest that is given old bytes has nobody who mends them.
//!
//! Under virtual tags an access may meet another frame's line (`astray`).
//!
//! Guarantees: every byte that is given is one that some schedule gives; and where some schedule gives another than the newest, one is given
//! (`tests::old`, by enumeration). Not promised: that one schedule gives all of them. Each byte of each access is given what the worst
//! schedule up to it gives, and two may tell of different ones. But one schedule can be asked for ([`Schedules::Seed`]): then all bytes are those of
//! one core.

mod astray;
mod peek;
mod state;
mod states;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::{ByteMask, CacheGeometry, PhysAddr};
use congruent_trace::{AccessKind, Maintenance};

use crate::finding::PartyKind;
use crate::heads::{Head, LineId};
use crate::line::{Line, Shape, Ways};
use crate::shadow::{ByteId, PageId, Shadow};
use crate::sweep::Swept;
use state::{Held, State};
use states::{Chance, Schedule, States};

/// By which schedules old bytes are given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Schedules {
    /// By all: each access is given old bytes if any schedule gives it some.
    Worst,
    /// By one, of which this says what it leaves to chance: before everything that happens to a line, each copy of it may have been written back,
    /// unit by unit, or dropped. It is the adversarial replacement of `congruent-machine`.
    Seed(u64),
}

/// What loads would be given that could see old bytes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OldBytes {
    /// The bytes that differ from the newest, with their addresses, ascending within a line.
    pub bytes: Vec<(PhysAddr, u8)>,
    /// The finding that was made, or that what was found follows from: its place in [`Shadow::findings`].
    pub finding: Option<u32>,
}

/// What is done to a line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    /// A load of these bytes through a place, or past the cache.
    Load(Option<u16>, ByteMask),
    /// A store of these bytes through a place, or past the cache.
    Store(Option<u16>, ByteMask),
    /// A prefetch through a place.
    Prefetch(u16),
    /// Maintenance of what a place holds in some ways.
    Maintain(Maintenance, u16, Ways),
    /// What is dirty in some ways of a place is discarded by a sweep that is going on.
    Discard(u16, Ways),
    /// Nothing; what was put off is made up for.
    Nothing,
    /// These bytes are what somebody unseen has written.
    Unseen(ByteMask),
}

impl Deed {
    /// An access through a place, or past the cache.
    pub fn of_access(kind: AccessKind, place: Option<u16>, bytes: ByteMask) -> Self {
        match kind {
            AccessKind::Load => Self::Load(place, bytes),
            AccessKind::Store => Self::Store(place, bytes),
        }
    }
}

/// What is being stored, as it was told.
#[derive(Clone, Default, Debug)]
struct Storing {
    /// Where the first byte is.
    first: u64,
    bytes: Vec<u8>,
}

impl Storing {
    /// Puts what is stored of a line that begins at `first`, those of the set, into the line's bytes.
    fn put(&self, first: u64, set: ByteMask, line: &mut [u8]) {
        for at in set.offsets() {
            let told = (first + at as u64).checked_sub(self.first).and_then(|offset| self.bytes.get(offset as usize));
            if let Some(told) = told {
                line[at] = *told;
            }
        }
    }
}

/// The bytes of every touched frame, and the states of its lines.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    schedule: Schedule,
    page_bytes: usize,
    line_bytes: usize,
    /// By page: what was stored last.
    newest: Vec<Box<[u8]>>,
    /// By page: what memory has if what is dirty was not written back; where nothing is dirty, the newest.
    memory: Vec<Box<[u8]>>,
    /// Of pages, whether their bytes were told.
    told: Vec<bool>,
    /// Lines that have a record, or will: since when sweeps are to be made up for, and the states.
    lines: BTreeMap<LineId, (u32, States)>,
    storing: Storing,
    seen: OldBytes,
    /// How often there were more states than are gone through.
    cut: u64,
    /// Whether a line's bytes may be met where another's are expected, so that one old value does not stand for another.
    strays: bool,
    /// The lines of the access in hand that go to another frame's copy instead, in the one schedule that is followed.
    astray: Vec<LineId>,
}

impl Bytes {
    /// `strays`: whether tags are virtual.
    pub fn new(geometry: &CacheGeometry, which: Schedules, strays: bool) -> Self {
        let schedule = match which {
            Schedules::Worst => Schedule::Worst,
            Schedules::Seed(seed) => Schedule::Seeded(Chance::new(seed)),
        };
        Self {
            schedule,
            page_bytes: geometry.page() as usize,
            line_bytes: geometry.line() as usize,
            newest: Vec::new(),
            memory: Vec::new(),
            told: Vec::new(),
            lines: BTreeMap::new(),
            storing: Storing::default(),
            seen: OldBytes::default(),
            cut: 0,
            strays,
            astray: Vec::new(),
        }
    }

    /// Adds a page, of zeros until its bytes are told.
    pub fn push_page(&mut self) {
        self.newest.push(vec![0; self.page_bytes].into());
        self.memory.push(vec![0; self.page_bytes].into());
        self.told.push(false);
    }

    /// What is found now is that, or follows from it. Fetches are given nothing.
    pub fn blame(&mut self, consumer: PartyKind, finding: u32) {
        if consumer != PartyKind::Fetch {
            self.seen.finding.get_or_insert(finding);
        }
    }

    /// Sweeps before this stamp have been made up for, everywhere.
    pub fn restart(&mut self, stamp: u32) {
        self.lines.values_mut().for_each(|(since, _)| *since = stamp);
    }

    fn start(&self, id: LineId) -> usize {
        id.line as usize * self.line_bytes
    }

    fn newest(&self, id: LineId) -> &[u8] {
        &self.newest[id.page as usize][self.start(id)..][..self.line_bytes]
    }

    fn memory(&self, id: LineId) -> &[u8] {
        &self.memory[id.page as usize][self.start(id)..][..self.line_bytes]
    }

    /// Of all but these bytes of a line, memory has the newest.
    fn note_memory(&mut self, id: LineId, maybe_old: ByteMask) {
        let range = self.start(id)..self.start(id) + self.line_bytes;
        let (newest, memory) = (&self.newest[id.page as usize][range.clone()], &mut self.memory[id.page as usize][range]);
        if maybe_old.is_empty() {
            memory.copy_from_slice(newest);
            return;
        }
        for (at, (memory, newest)) in memory.iter_mut().zip(newest).enumerate() {
            if maybe_old.0 >> at & 1 == 0 {
                *memory = *newest;
            }
        }
    }

    /// What is being stored of a line becomes the newest.
    fn take_stored(&mut self, id: LineId, first: u64, set: ByteMask) {
        let range = self.start(id)..self.start(id) + self.line_bytes;
        self.storing.put(first, set, &mut self.newest[id.page as usize][range]);
    }

    /// The one or more states that a line without old bytes is in.
    fn states_of(&self, id: LineId, line: &Line, unit: u32) -> States {
        let mut states = vec![State { memory: self.newest(id).into(), held: Vec::new() }];
        let mut places: Vec<u16> = line.copies.iter().filter(|copy| !copy.is_code()).map(|copy| copy.colour).collect();
        places.sort_unstable();
        places.dedup();
        for place in places {
            let copies = || line.copies.iter().filter(|copy| copy.colour == place);
            let with = |state: State| {
                copies().map(move |copy| {
                    let mut state = state.clone();
                    // Where nothing is dirty it was written back.
                    copy.dirty.offsets().for_each(|at| state.memory[at] = self.memory(id)[at]);
                    state.held.push(Held {
                        place,
                        ways: copy.ways,
                        dirty: copy.dirty.widen(unit),
                        bytes: self.newest(id).into(),
                    });
                    state
                })
            };
            states = states.into_iter().flat_map(with).collect();
        }
        States::of(states)
    }

    /// The least that stands for these states of a line.
    fn least(&mut self, id: LineId, states: Vec<State>, shape: Shape) -> States {
        let mut cut = 0;
        let least = States::least(states, shape, self.newest(id), self.strays, &mut cut);
        self.cut += cut;
        least
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        2 * self.newest.len() * self.page_bytes + self.lines.values().map(|(_, states)| states.bytes()).sum::<usize>()
    }
}

impl Shadow {
    /// Whether old bytes are known, which it takes that all are told.
    #[must_use]
    pub fn keeps_bytes(&self) -> bool {
        self.old.is_some()
    }

    /// Whether the bytes of this page have not been told; false unless they are kept.
    #[must_use]
    #[inline]
    pub fn lacks_bytes(&self, page: PageId) -> bool {
        self.old.as_ref().is_some_and(|old| !old.told.get(page.0 as usize).copied().unwrap_or(true))
    }

    /// Tells what memory had in a page before anything was stored to it.
    pub fn tell_page(&mut self, page: PageId, bytes: &[u8]) {
        let Some(old) = &mut self.old else { return };
        let at = page.0 as usize;
        if let (Some(newest), Some(memory), Some(told)) = (old.newest.get_mut(at), old.memory.get_mut(at), old.told.get_mut(at))
            && newest.len() == bytes.len()
        {
            newest.copy_from_slice(bytes);
            memory.copy_from_slice(bytes);
            *told = true;
        }
    }

    /// Tells what a [quiet store](Self::quiet_store) has stored: these bytes, from this one on.
    #[inline(always)]
    pub fn tell_stored(&mut self, byte: ByteId, bytes: &[u8]) {
        let (page, offset) = self.page_of(byte);
        let Some(old) = &mut self.old else { return };
        let newest = old.newest.get_mut(page.0 as usize).and_then(|page| page.get_mut(offset as usize..));
        if let Some(newest) = newest.and_then(|newest| newest.get_mut(..bytes.len())) {
            newest.copy_from_slice(bytes);
        }
    }

    /// What was told of as about to be stored was stored quietly.
    #[inline]
    pub(crate) fn take_quietly_stored(&mut self, byte: ByteId, size: u32) {
        if let Some(old) = &mut self.old {
            let told = core::mem::take(&mut old.storing.bytes);
            self.tell_stored(byte, told.get(..size as usize).unwrap_or_default());
            if let Some(old) = &mut self.old {
                // Kept for its memory.
                old.storing.bytes = told;
                old.storing.bytes.clear();
            }
        }
    }

    /// Tells what will be stored by the next event: these bytes, from this address on.
    pub fn tell_storing(&mut self, paddr: PhysAddr, bytes: &[u8]) {
        if let Some(old) = &mut self.old {
            old.storing.first = paddr.0;
            old.storing.bytes.clear();
            old.storing.bytes.extend_from_slice(bytes);
        }
    }

    /// What the loads since the last call would have been given where they could see old bytes; `None` if that is nowhere. Asked after each
    /// access.
    pub fn take_old_bytes(&mut self) -> Option<OldBytes> {
        let seen = &mut self.old.as_mut()?.seen;
        if seen.bytes.is_empty() {
            seen.finding = None;
            return None;
        }
        // What was met of other frames was seen before what was not.
        seen.bytes.sort_by_key(|(paddr, _)| *paddr);
        seen.bytes.dedup_by_key(|(paddr, _)| *paddr);
        Some(core::mem::take(seen))
    }

    /// The finding that the events since the last call are to be blamed on, the first, or that what they found follows from; in place of the bytes.
    pub fn take_blamed(&mut self) -> Option<u32> {
        core::mem::take(&mut self.old.as_mut()?.seen).finding
    }

    /// How often a line could be in more states than are gone through, so that an old byte may not have been known.
    #[must_use]
    pub fn states_left_out(&self) -> u64 {
        self.old.as_ref().map_or(0, |old| old.cut)
    }

    /// Whether every line is looked at before it changes, so that none may change unseen.
    #[inline]
    pub(crate) fn looks_at_lines(&self) -> bool {
        self.ledger.is_some() || self.old.is_some()
    }

    /// Something is about to be done to a line.
    #[inline]
    pub(crate) fn deed(&mut self, id: LineId, deed: Deed) {
        if self.old.is_some() {
            self.deed_now(id, deed);
        }
    }

    #[inline(never)]
    fn deed_now(&mut self, id: LineId, deed: Deed) {
        let head = self.heads.head(id);
        let is_astray = self.old.as_mut().is_some_and(|old| old.takes_astray(id));
        if !matches!(head, Head::Record(_)) {
            self.note_memory_of(id, head);
            if let (Head::Single { colour, .. }, Deed::Maintain(op, place, _)) = (head, deed)
                && op.writes_back()
                && colour == place
                && let Some(old) = &mut self.old
            {
                old.note_memory(id, ByteMask::EMPTY);
            }
            if is_simple(head, deed) && !is_astray {
                self.take_stored(id, deed);
                return;
            }
        }
        let (stamp, states) = self.states_now(id, head);
        // What the sweep does beside it is still to come, in the same epoch. What it did here may be done again.
        let since = if matches!(deed, Deed::Discard(..)) { stamp - 1 } else { stamp };
        let (shape, first) = (self.shape, self.first_byte(id));
        let Some(old) = &mut self.old else { return };
        let mut stored = Vec::new();
        if let Deed::Store(_, set) | Deed::Unseen(set) = deed {
            old.take_stored(id, first, set);
            stored.extend_from_slice(old.newest(id));
        }
        let step = |state: State| match deed {
            Deed::Load(Some(_), _) | Deed::Prefetch(_) if is_astray => vec![state],
            Deed::Load(Some(place), _) | Deed::Prefetch(place) => {
                let mut states = state.clone().filled(shape, place);
                if matches!(deed, Deed::Prefetch(_)) {
                    states.push(state);
                }
                states
            }
            Deed::Store(Some(place), set) => state.stored(shape, place, set, &stored),
            Deed::Store(None, set) => {
                let mut state = state;
                set.offsets().for_each(|at| state.memory[at] = stored[at]);
                vec![state]
            }
            Deed::Maintain(op, place, ways) => state.maintained(op, place, ways),
            Deed::Discard(place, ways) => state.maintained(Maintenance::Invalidate, place, ways),
            Deed::Unseen(set) => {
                let mut state = state;
                for bytes in core::iter::once(&mut state.memory).chain(state.held.iter_mut().map(|held| &mut held.bytes)) {
                    set.offsets().for_each(|at| bytes[at] = stored[at]);
                }
                vec![state]
            }
            Deed::Load(None, _) | Deed::Nothing => vec![state],
        };
        let given = states.outcomes(shape, &mut old.schedule, &mut old.cut, step);
        if let Deed::Load(place, set) = deed {
            for at in set.offsets() {
                let newest = old.newest(id)[at];
                let values = given.iter().filter_map(|state| match place {
                    Some(place) => state.held_at(place).map(|held| held.bytes[at]),
                    None => Some(state.memory[at]),
                });
                if let Some(value) = values.into_iter().find(|value| *value != newest) {
                    old.seen.bytes.push((PhysAddr(first + at as u64), value));
                }
            }
        }
        let states = old.least(id, given, shape);
        old.lines.insert(id, (since, states));
    }

    /// The states of a line, with all sweeps made up for, and the stamp from which on they are not.
    fn states_now(&mut self, id: LineId, head: Head) -> (u32, States) {
        let stamp = self.sweeps.stamp();
        let kept = self.old.as_mut().and_then(|old| old.lines.remove(&id)).filter(|_| matches!(head, Head::Record(_)));
        let (stamps, mut states) = match kept {
            Some((since, states)) => (states.places().map(|place| (place, since)).collect(), states),
            None => self.new_states(id),
        };
        for (place, since) in stamps {
            let swept = self.sweeps.since(self.set_of(id, place), since);
            if swept == Swept::NOTHING {
                continue;
            }
            if let Some(old) = &mut self.old {
                let after = states.outcomes(self.shape, &mut old.schedule, &mut old.cut, |state| state.swept(place, swept));
                states = old.least(id, after, self.shape);
            }
        }
        (stamp, states)
    }

    /// The states of a line of which none were kept, and for each place since when sweeps are to be made up for.
    fn new_states(&mut self, id: LineId) -> (BTreeMap<u16, u32>, States) {
        let line = self.unpack(id);
        // A fetch may have found something, and healed the line, before it had any.
        let unmended = line.unhealed.as_ref().map_or(&line, |other| &other.line);
        let data = unmended.copies.iter().filter(|copy| !copy.is_code());
        let stamps = data.map(|copy| (copy.colour, copy.stamp)).collect();
        let states = self.old.as_ref().map(|old| old.states_of(id, unmended, self.shape.unit));
        self.put_aside(line);
        (stamps, states.unwrap_or_else(|| States::of(Vec::new())))
    }

    /// Of a line without a record, what memory has.
    fn note_memory_of(&mut self, id: LineId, head: Head) {
        let maybe_old = match head {
            Head::Single { colour, stamp, .. } => {
                let swept = self.sweeps.since(self.set_of(id, colour), stamp);
                let is_clean = self.shape.all_ways.without(swept.written_back).is_none();
                if is_clean { ByteMask::EMPTY } else { self.heads.bits(id) }
            }
            Head::Empty | Head::Shared { .. } | Head::Record(_) => ByteMask::EMPTY,
        };
        if let Some(old) = &mut self.old {
            old.note_memory(id, maybe_old);
        }
    }

    /// A line stays simple: it has no states of its own, and what is being stored is the newest.
    fn take_stored(&mut self, id: LineId, deed: Deed) {
        let first = self.first_byte(id);
        let Some(old) = &mut self.old else { return };
        old.lines.remove(&id);
        if let Deed::Store(_, set) = deed {
            old.take_stored(id, first, set);
        }
    }

    /// The address of a line.
    fn first_byte(&self, id: LineId) -> u64 {
        self.geometry.frame_base(self.frames.of(id.page)).0 + (u64::from(id.line) << self.geometry.line_shift())
    }

    /// The line has been changed, and has this form now.
    #[inline]
    pub(crate) fn close_bytes(&mut self, id: LineId, head: Head) {
        if self.old.is_some() && !matches!(head, Head::Record(_)) {
            if let Some(old) = &mut self.old
                && let Some((_, states)) = old.lines.remove(&id)
            {
                let (start, memory) = (old.start(id), states.memory(old.newest(id)));
                old.memory[id.page as usize][start..][..memory.len()].copy_from_slice(&memory);
            }
            self.note_memory_of(id, head);
        }
    }
}

/// Whether a line in this form stays simple, so that its states need not be gone through.
fn is_simple(head: Head, deed: Deed) -> bool {
    match (head, deed) {
        (Head::Empty, _) | (_, Deed::Nothing) => true,
        (Head::Single { colour, .. }, Deed::Load(Some(place), _) | Deed::Store(Some(place), _) | Deed::Prefetch(place)) => {
            place == colour
        }
        (Head::Single { colour, .. }, Deed::Maintain(op, place, _)) => place != colour || op.writes_back(),
        (Head::Shared { .. }, Deed::Load(..) | Deed::Prefetch(_) | Deed::Maintain(..)) => true,
        _ => false,
    }
}
