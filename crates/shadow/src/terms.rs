//! The words that the rules are written in: ways, copies, paths, hazards.
//!
//! Guarantees: plain values; what they mean is said here, what happens to them in `line`.

use congruent_geometry::ByteMask;

use crate::finding::{HazardClass, Party};

/// A set of ways of one cache set; up to 64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Ways(u64);

impl Ways {
    pub const NONE: Self = Self(0);

    /// Ways `0..count`.
    pub const fn first(count: u32) -> Self {
        Self(u64::MAX >> (64 - count))
    }

    pub const fn from_halves(low: u32, high: u32) -> Self {
        Self((high as u64) << 32 | low as u64)
    }

    pub const fn halves(self) -> [u32; 2] {
        [self.0 as u32, (self.0 >> 32) as u32]
    }

    pub const fn with(self, way: u32) -> Self {
        Self(self.0 | 1 << way)
    }

    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// Tells the colours of the instruction cache from those of the data cache. To the rules they are colours like any others,
/// through which nothing is ever stored.
pub(crate) const CODE: u16 = 1 << 15;

/// What one colour (of one CPU, see `cpus`) may hold of the line in some of its ways. A colour has one of these, or several with disjoint ways when a
/// sweep by index got through only some ways before the next access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Copy {
    /// A colour of the data cache, or one of the instruction cache with [`CODE`] added.
    pub colour: u16,
    /// The ways it may sit in.
    pub ways: Ways,
    /// The epoch up to which operations by index and on the whole cache are accounted for in the masks.
    pub stamp: u32,
    pub stale: ByteMask,
    pub dirty: ByteMask,
    /// Of the stale bytes: those that a write-back of this copy does not put over the newest ones any more, because it was found that it
    /// may. Nothing is spared again once something is stored through the copy.
    pub spared: ByteMask,
}

impl Copy {
    /// The same with nothing dirty.
    pub fn written_back(self) -> Self {
        Self { dirty: ByteMask::EMPTY, spared: ByteMask::EMPTY, ..self }
    }

    /// Whether it is in the instruction cache.
    pub fn is_code(&self) -> bool {
        self.colour & CODE != 0
    }

    /// Whether the two differ in their ways only.
    pub fn alike(&self, other: &Self) -> bool {
        Self { ways: other.ways, ..*self } == *other
    }
}

/// An access that made the newest value of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Writer {
    pub party: Party,
    pub bytes: ByteMask,
}

/// Bytes of one access that could be old, for one reason, made by one producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hazard {
    pub class: HazardClass,
    pub bytes: ByteMask,
    pub producer: Option<Party>,
    /// Whether there is this hazard only if something that was found before is not mended.
    pub follows: bool,
    /// Whether the producer was the last to write the line.
    pub producer_is_last: bool,
    /// Whether the bytes may still be dirty in the producer's colour.
    pub still_dirty: bool,
    /// The stamp of the producer's colour, if that may still hold the line.
    pub producer_stamp: Option<u32>,
}

/// How an access reaches the line, which decides what it can see and what a hazard is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    /// Through the cache, at this colour.
    Cached(u16),
    /// Uncached, by a program.
    Uncached,
    /// By a device.
    Dma,
    /// By a fetch, at this colour of the instruction cache ([`CODE`] included).
    Fetch {
        code: u16,
        /// The colour of the data cache that serves a miss before memory does, if one does.
        served_by: Option<u16>,
    },
}

impl Path {
    /// The colour of the data cache that a store goes through.
    pub const fn through(self) -> Option<u16> {
        if let Self::Cached(colour) = self { Some(colour) } else { None }
    }

    /// Whether an access may be given what this place holds.
    pub fn sees(self, shape: Shape, place: u16) -> bool {
        match self {
            Self::Cached(colour) => shape.are_coherent(place, colour),
            Self::Fetch { code, served_by } => {
                shape.are_coherent(place, code) || served_by.is_some_and(|colour| shape.are_coherent(place, colour))
            }
            Self::Uncached | Self::Dma => false,
        }
    }
}

/// What never changes during a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    /// Every way of a set of the data cache.
    pub all_ways: Ways,
    /// Every way of a set of the instruction cache.
    pub code_ways: Ways,
    /// What is written back together, in bytes.
    pub unit: u32,
    /// Whether stores go to memory at once.
    pub writes_through: bool,
    /// Whether a store fills a line that is absent; else it goes to memory.
    pub write_allocate: bool,
    /// Whether lines of live frames may be filled at any moment. There is one colour then.
    pub speculative: bool,
    /// The bits in which colours of the data cache differ that are not coherent with one another; all, if there is one CPU.
    pub incoherent: u16,
}

impl Shape {
    /// Every way that a copy of `colour` can sit in.
    pub const fn ways_of(&self, colour: u16) -> Ways {
        if colour & CODE == 0 { self.all_ways } else { self.code_ways }
    }

    /// Whether the hardware makes these two hold the same: they are the same colour of the data caches of one or two CPUs, or one
    /// colour of one instruction cache.
    pub const fn are_coherent(&self, one: u16, other: u16) -> bool {
        one == other || one & CODE == 0 && (one ^ other) & self.incoherent == 0
    }
}
