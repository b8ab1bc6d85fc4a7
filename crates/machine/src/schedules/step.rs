//! The words of the model of one line: its shape, what a program does to it, what hardware does on its own.

use congruent_trace::Maintenance;

/// A set of byte groups of the line; bit *n* is group *n*. A group is any number of bytes that are always accessed together.
pub type Groups = u8;

/// What kind of line is modelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Colours the line can be cached under, at least 1.
    pub colours: u8,
    /// Byte groups the line consists of, 1 to 4.
    pub groups: u8,
    /// Groups that share a dirty bit and are written back together; divides `groups`.
    pub groups_per_unit: u8,
    /// Ways of each set, 1 to 4.
    pub ways: u8,
    /// Whether stores go to memory at once, and into a copy that is held; then nothing is ever dirty.
    pub writes_through: bool,
    /// Whether a store that misses fills the line first. If not, it goes to memory.
    pub write_allocate: bool,
    /// Whether the data cache, of one colour, may fill the line at any moment once there was an access or a prefetch through it.
    pub speculative: bool,
    /// The instruction cache, if instructions are fetched from the line.
    pub code: Option<CodeShape>,
    /// CPUs, at least 1. Each has such caches of its own, and so as many places as the shape has colours. Data caches are coherent at each
    /// colour: a miss is served by what another CPU holds there, and a store takes that away.
    pub cpus: u8,
    /// Whether maintenance by address reaches the caches of all CPUs.
    pub by_address_reaches_all: bool,
}

/// What the instruction cache is like. Its lines are as long as the data cache's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeShape {
    /// Colours of the instruction cache, at least 1.
    pub colours: u8,
    /// Ways of each of its sets, 1 to 4.
    pub ways: u8,
    /// Whether a miss is served by what the data cache holds in the set that the fetch's address selects there; if it holds
    /// nothing there, or if not, by memory. (Linux `arch/mips/include/asm/cpu-features.h`, `cpu_has_ic_fills_f_dc`.)
    pub fills_from_data: bool,
}

impl Shape {
    /// A write-back, write-allocate data cache whose lines are written back whole, and no instruction cache.
    #[must_use]
    pub const fn new(colours: u8, groups: u8, ways: u8) -> Self {
        Self {
            colours,
            groups,
            groups_per_unit: groups,
            ways,
            writes_through: false,
            write_allocate: true,
            speculative: false,
            code: None,
            cpus: 1,
            by_address_reaches_all: false,
        }
    }

    /// The same with several CPUs.
    #[must_use]
    pub const fn with_cpus(self, cpus: u8, by_address_reaches_all: bool) -> Self {
        Self { cpus, by_address_reaches_all, ..self }
    }

    /// The same with an instruction cache.
    #[must_use]
    pub const fn with_code(self, code: CodeShape) -> Self {
        Self { code: Some(code), ..self }
    }

    /// Places in which data caches can hold the line: the colours of the first CPU, then those of the next.
    #[must_use]
    pub const fn data_places(&self) -> u8 {
        self.colours * self.cpus
    }

    /// Places in which the line can be held: those of data caches, then those of instruction caches.
    #[must_use]
    pub const fn places(&self) -> u8 {
        self.data_places()
            + match self.code {
                Some(code) => code.colours * self.cpus,
                None => 0,
            }
    }

    /// Page numbers that one CPU's fetches can go through; those of the next CPU follow.
    #[must_use]
    pub fn pages(&self) -> u8 {
        self.colours.max(self.code.map_or(0, |code| code.colours))
    }

    /// The place of the instruction cache that a fetch through this page number uses.
    #[must_use]
    pub fn code_place(&self, through: u8) -> u8 {
        let colours = self.code.map_or(1, |code| code.colours);
        self.data_places() + through / self.pages() * colours + through % self.pages() % colours
    }

    /// Ways of the set that a place is in.
    #[must_use]
    pub fn ways_of(&self, place: u8) -> u8 {
        match self.code {
            Some(code) if place >= self.data_places() => code.ways,
            _ => self.ways,
        }
    }

    /// The place of the data cache that serves a miss of a fetch through this page number before memory does, if one does.
    #[must_use]
    pub fn serves_fetch(&self, through: u8) -> Option<u8> {
        self.code
            .filter(|code| code.fills_from_data)
            .map(|_| through / self.pages() * self.colours + through % self.pages() % self.colours)
    }

    /// The places of one CPU's data cache.
    pub fn data_places_of(&self, cpu: u8) -> impl Iterator<Item = u8> + use<> {
        let first = cpu * self.colours;
        first..first + self.colours
    }

    /// The places of one CPU's instruction cache.
    pub fn code_places_of(&self, cpu: u8) -> impl Iterator<Item = u8> + use<> {
        let colours = self.code.map_or(0, |code| code.colours);
        let first = self.data_places() + cpu * colours;
        first..first + colours
    }

    /// The places of data caches in other CPUs that are coherent with this one.
    pub fn siblings(&self, place: u8) -> impl Iterator<Item = u8> + use<> {
        let (colours, all) = (self.colours, self.data_places());
        (0..all).filter(move |other| place < all && *other != place && other % colours == place % colours)
    }

    /// The places that maintenance by address of this one reaches.
    pub fn reached_with(&self, place: u8) -> impl Iterator<Item = u8> + use<> {
        let data = self.data_places();
        let (first, colours) = if place < data { (0, self.colours) } else { (data, self.code.map_or(1, |code| code.colours)) };
        let colour = (place - first) % colours;
        let all = (0..self.cpus).map(move |cpu| first + cpu * colours + colour);
        let reaches_all = self.by_address_reaches_all;
        all.filter(move |other| reaches_all || *other == place)
    }

    /// Units of the line.
    #[must_use]
    pub const fn units(&self) -> u8 {
        self.groups / self.groups_per_unit
    }

    /// The groups of a unit.
    #[must_use]
    pub const fn groups_of(&self, unit: u8) -> Groups {
        ((1 << self.groups_per_unit) - 1) << (unit * self.groups_per_unit)
    }

    /// The units that these groups lie in, bit *n* for unit *n*.
    #[must_use]
    pub fn units_of(&self, groups: Groups) -> u8 {
        (0..self.units()).filter(|unit| self.groups_of(*unit) & groups != 0).fold(0, |units, unit| units | 1 << unit)
    }
}

/// Load or store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Op {
    /// Bytes flow from the line.
    Load,
    /// Bytes flow into it.
    Store,
}

/// Who accesses memory past the cache.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bypass {
    /// A program, through an uncached mapping.
    Uncached,
    /// A device.
    Dma,
}

/// What a program or a device does to the line. With several CPUs, colours and page numbers stand for those of a CPU: see
/// [`Shape::data_places`] and [`Shape::pages`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// An access through the cache.
    Access(Op, u8, Groups),
    /// A prefetch through a colour: may fill.
    Prefetch(u8),
    /// An access past the cache.
    Past(Bypass, Op, Groups),
    /// Maintenance by address, of one colour.
    Maintain(Maintenance, u8),
    /// Maintenance of one way of the set that a colour selects.
    Index(Maintenance, u8, u8),
    /// Maintenance of the whole cache of this CPU.
    Whole(Maintenance, u8),
    /// A fetch of instructions through a page with this number: its remainders are the colours, in either cache.
    Fetch(u8, Groups),
    /// The instruction cache drops the line, in the colour of this page number.
    DropCode(u8),
    /// The instruction cache drops what is in one way of the set that this page number selects.
    DropCodeIndex(u8, u8),
    /// The instruction cache of this CPU is emptied.
    DropCodeWhole(u8),
}

/// What hardware does: on its own, or as it carries out a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    /// A dirty unit of a colour's copy goes to memory; the copy stays.
    WriteBack(u8, u8),
    /// A clean copy of a colour is dropped.
    Drop(u8),
    /// An absent line of a colour is filled into this way, though nobody asked for it.
    Fill(u8, u8),
    /// The next step is carried out. If it fills the line, the copy goes into this way; `None` if it fills nothing.
    Step(Step, Option<u8>),
}

/// Which bytes of a step are hazardous, and why.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Verdict {
    /// A load or fetch may hit a copy in which these are old.
    pub hit_old: Groups,
    /// A load or fetch may miss, or a load goes past the cache, and memory (or what serves the miss) has old ones.
    pub memory_old: Groups,
    /// A store to these while some other copy may hold them dirty: stored through it and not written back since.
    pub threatened: Groups,
}

impl Verdict {
    /// All hazardous bytes.
    #[must_use]
    pub const fn groups(&self) -> Groups {
        self.hit_old | self.memory_old | self.threatened
    }
}
