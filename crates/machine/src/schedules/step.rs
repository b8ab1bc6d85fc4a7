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
        }
    }

    /// The same with an instruction cache.
    #[must_use]
    pub const fn with_code(self, code: CodeShape) -> Self {
        Self { code: Some(code), ..self }
    }

    /// Colours of both caches together: places in which the line can be held.
    #[must_use]
    pub const fn places(&self) -> u8 {
        self.colours
            + match self.code {
                Some(code) => code.colours,
                None => 0,
            }
    }

    /// The place of the instruction cache that a fetch through this page number uses. Places of the data cache come first.
    #[must_use]
    pub fn code_place(&self, through: u8) -> u8 {
        self.colours + through % self.code.map_or(1, |code| code.colours)
    }

    /// Ways of the set that a place is in.
    #[must_use]
    pub fn ways_of(&self, place: u8) -> u8 {
        match self.code {
            Some(code) if place >= self.colours => code.ways,
            _ => self.ways,
        }
    }

    /// The place of the data cache that serves a miss of a fetch through this page number before memory does, if one does.
    #[must_use]
    pub fn serves_fetch(&self, through: u8) -> Option<u8> {
        self.code.filter(|code| code.fills_from_data).map(|_| through % self.colours)
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

/// What a program or a device does to the line.
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
    /// Maintenance of the whole cache.
    Whole(Maintenance),
    /// A fetch of instructions through a page with this number: its remainders are the colours, in either cache.
    Fetch(u8, Groups),
    /// The instruction cache drops the line, in the colour of this page number.
    DropCode(u8),
    /// The instruction cache drops what is in one way of the set that this page number selects.
    DropCodeIndex(u8, u8),
    /// The instruction cache is emptied.
    DropCodeWhole,
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
