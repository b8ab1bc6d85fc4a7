//! One state of the line in one schedule, as a number: where copies are, what is dirty, and which bytes are the newest.
//!
//! Bytes are told apart only as newest or older: two different old values behave alike, and a store makes all others old.

use congruent_trace::Maintenance;

use super::step::{Groups, Op, Shape, Step};

/// A colour's copy in one state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Held {
    pub way: u8,
    /// Units whose dirty bit is set.
    pub dirty: u8,
    /// Groups stored since they were last written back; a subset of the dirty units' groups.
    pub stored: Groups,
    /// Groups that are the newest.
    pub newest: Groups,
}

/// A packed state: four bits for memory, then fifteen for each place, first the data cache's colours, then the instruction
/// cache's (a presence bit, two for the way, four for each mask); at the end, whether it is live.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct State(pub u128);

const MEMORY_BITS: u32 = 4;
const COLOUR_BITS: u32 = 15;

/// Set once a program was seen to reach the line through the cache.
const LIVE: u128 = 1 << 127;

/// Places that fit into a state.
pub(crate) const MOST_PLACES: u8 = 8;

impl State {
    /// No copies; memory is all there is.
    pub const fn start(shape: Shape) -> Self {
        Self((1 << shape.groups) - 1)
    }

    /// Groups of which memory has the newest bytes.
    pub const fn memory(self) -> Groups {
        (self.0 & ((1 << MEMORY_BITS) - 1)) as Groups
    }

    pub const fn with_memory(self, newest: Groups) -> Self {
        Self(self.0 >> MEMORY_BITS << MEMORY_BITS | newest as u128)
    }

    pub fn held(self, colour: u8) -> Option<Held> {
        let bits = self.0 >> (MEMORY_BITS + colour as u32 * COLOUR_BITS);
        if bits & 1 == 0 {
            return None;
        }
        let four = |at: u32| (bits >> at & 15) as u8;
        Some(Held { way: (bits >> 1 & 3) as u8, dirty: four(3), stored: four(7), newest: four(11) })
    }

    pub fn with(self, colour: u8, held: Option<Held>) -> Self {
        let at = MEMORY_BITS + colour as u32 * COLOUR_BITS;
        let others = self.0 & !(((1 << COLOUR_BITS) - 1) << at);
        let bits = match held {
            None => 0,
            Some(held) => {
                1 | (held.way as u128) << 1 | (held.dirty as u128) << 3 | (held.stored as u128) << 7 | (held.newest as u128) << 11
            }
        };
        Self(others | bits << at)
    }

    /// Writes one unit of a colour's copy back.
    pub fn write_back(self, shape: Shape, colour: u8, unit: u8) -> Self {
        let Some(held) = self.held(colour) else { return self };
        let groups = shape.groups_of(unit);
        let memory = self.memory() & !groups | held.newest & groups;
        let clean = Held { dirty: held.dirty & !(1 << unit), stored: held.stored & !groups, ..held };
        self.with_memory(memory).with(colour, Some(clean))
    }

    /// Carries out maintenance of a colour's copy, if it is held.
    pub fn maintain(mut self, shape: Shape, op: Maintenance, colour: u8) -> Self {
        if op.writes_back() {
            let dirty = self.held(colour).map_or(0, |held| held.dirty);
            for unit in (0..shape.units()).filter(|unit| dirty >> unit & 1 != 0) {
                self = self.write_back(shape, colour, unit);
            }
        }
        if op.invalidates() { self.with(colour, None) } else { self }
    }

    /// Carries out a step; if it misses, the fill goes into `way`, or does not happen if `None` (a prefetch only).
    pub fn step(mut self, shape: Shape, step: Step, way: Option<u8>) -> Self {
        if shape.speculative && matches!(step, Step::Access(..) | Step::Prefetch(_)) {
            self.0 |= LIVE;
        }
        match step {
            Step::Access(op, colour, groups) => {
                self = self.fill_coherently(shape, colour, way);
                if op == Op::Store {
                    self = self.claim(shape, colour).outdate(shape, groups);
                    let held = self.held(colour);
                    if shape.writes_through || held.is_none() {
                        self = self.with_memory(self.memory() | groups);
                    }
                    if let Some(held) = held {
                        let soiled = if shape.writes_through { 0 } else { groups };
                        let (dirty, stored) = (held.dirty | shape.units_of(soiled), held.stored | soiled);
                        self = self.with(colour, Some(Held { dirty, stored, newest: held.newest | groups, ..held }));
                    }
                }
                self
            }
            Step::Prefetch(colour) => self.fill_coherently(shape, colour, way),
            Step::Past(_, Op::Load, _) => self,
            Step::Past(_, Op::Store, groups) => {
                let outdated = self.outdate(shape, groups);
                outdated.with_memory(outdated.memory() | groups)
            }
            Step::Maintain(op, colour) => shape.reached_with(colour).fold(self, |state, place| state.maintain(shape, op, place)),
            Step::Index(op, colour, way) => match self.held(colour) {
                Some(held) if held.way == way => self.maintain(shape, op, colour),
                _ => self,
            },
            Step::Whole(op, cpu) => shape.data_places_of(cpu).fold(self, |state, place| state.maintain(shape, op, place)),
            Step::Fetch(through, _) => self.fill_with(shape.code_place(through), way, self.seen_by_fetch(shape, through)),
            Step::DropCode(through) => {
                shape.reached_with(shape.code_place(through)).fold(self, |state, place| state.with(place, None))
            }
            Step::DropCodeIndex(through, way) => match self.held(shape.code_place(through)) {
                Some(held) if held.way == way => self.with(shape.code_place(through), None),
                _ => self,
            },
            Step::DropCodeWhole(cpu) => shape.code_places_of(cpu).fold(self, |state, place| state.with(place, None)),
        }
    }

    /// Where a step looks for its line and does not find it, if it fills it then.
    pub fn missed(self, shape: Shape, step: Step) -> Option<u8> {
        let place = match step {
            Step::Access(Op::Store, ..) if !shape.write_allocate => return None,
            Step::Access(_, colour, _) | Step::Prefetch(colour) => colour,
            Step::Fetch(through, _) => shape.code_place(through),
            _ => return None,
        };
        self.held(place).is_none().then_some(place)
    }

    /// Whether the line may be filled though nobody asked for it.
    pub const fn is_live(self) -> bool {
        self.0 & LIVE != 0
    }

    /// The groups of which a fetch that misses gets the newest bytes.
    pub fn seen_by_fetch(self, shape: Shape, through: u8) -> Groups {
        let data = shape.serves_fetch(through).and_then(|colour| self.held(colour));
        data.map_or(self.memory(), |held| held.newest)
    }

    pub fn fill(self, colour: u8, way: Option<u8>) -> Self {
        self.fill_with(colour, way, self.memory())
    }

    /// What another CPU's data cache holds at the colour of this place. If several do, they hold the same.
    pub fn served_by_sibling(self, shape: Shape, place: u8) -> Option<Held> {
        shape.siblings(place).find_map(|sibling| self.held(sibling))
    }

    /// A miss of a data cache: served by another CPU's, or by memory.
    fn fill_coherently(self, shape: Shape, place: u8, way: Option<u8>) -> Self {
        let newest = self.served_by_sibling(shape, place).map_or(self.memory(), |held| held.newest);
        self.fill_with(place, way, newest)
    }

    /// What other CPUs have dirty at the colour of this place becomes this place's to write back; they keep clean copies.
    pub fn pass_dirty(mut self, shape: Shape, place: u8) -> Self {
        for sibling in shape.siblings(place) {
            if let (Some(theirs), Some(own)) = (self.held(sibling), self.held(place)) {
                let own = Held { dirty: own.dirty | theirs.dirty, stored: own.stored | theirs.stored, ..own };
                self = self.with(place, Some(own)).with(sibling, Some(Held { dirty: 0, stored: 0, ..theirs }));
            }
        }
        self
    }

    /// A store through this place takes other CPUs' copies away, with what is dirty in them.
    fn claim(self, shape: Shape, place: u8) -> Self {
        shape.siblings(place).fold(self.pass_dirty(shape, place), |state, sibling| state.with(sibling, None))
    }

    fn fill_with(self, place: u8, way: Option<u8>, newest: Groups) -> Self {
        match (self.held(place), way) {
            (None, Some(way)) => self.with(place, Some(Held { way, dirty: 0, stored: 0, newest })),
            _ => self,
        }
    }

    /// New values of `groups` come to be somewhere: all places are older.
    fn outdate(mut self, shape: Shape, groups: Groups) -> Self {
        self = self.with_memory(self.memory() & !groups);
        for colour in 0..shape.places() {
            if let Some(held) = self.held(colour) {
                self = self.with(colour, Some(Held { newest: held.newest & !groups, ..held }));
            }
        }
        self
    }
}
