//! The event vocabulary: what every source of Congruent says and the judge understands.
//!
//! A source (the QEMU plugin, a recording, the machine) turns what it runs into a totally ordered stream of [`Event`]s. The
//! judge, `congruent-shadow`, is the only code that decides what is stale. Events are physical facts only: no source says what
//! it believes about coherence.
//!
//! With the feature `file`, [`file`](mod@file) keeps such a stream: the events that can change a verdict, compressed.

#![no_std]
#![forbid(unsafe_code)]
#[cfg(feature = "file")]
extern crate std;

#[cfg(feature = "file")]
pub mod file;
mod index;
mod operation;

pub mod devices;

use congruent_geometry::{PhysAddr, VirtAddr};

pub use index::IndexForm;
pub use operation::{On, Operation, Target};

/// A code address: where in the guest an event came from.
///
/// Opaque to the judge, which only compares sites and hands them back. Sources of 32-bit guests use the program counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(transparent)]
pub struct Site(pub u32);

/// Through which calls an event came about: a number that the source gives to a call chain.
///
/// Opaque to the judge, which hands it back with what it finds. Only the source knows the chain behind the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Context(pub u32);

impl Context {
    /// No chain is known.
    pub const NONE: Self = Self(0);
}

/// Whether an access reads or writes. An atomic read-modify-write is a load followed by a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum AccessKind {
    /// Bytes flow to the program: a consumer.
    Load,
    /// Bytes flow from the program: a producer.
    Store,
}

/// What a maintenance operation does to the lines it covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Maintenance {
    /// Dirty bytes go to memory; the copy stays (a.k.a. clean).
    WriteBack,
    /// The copy is dropped; dirty bytes are discarded.
    Invalidate,
    /// Dirty bytes go to memory, then the copy is dropped.
    WriteBackInvalidate,
}

impl Maintenance {
    /// Whether dirty bytes reach memory.
    #[must_use]
    pub const fn writes_back(self) -> bool {
        matches!(self, Self::WriteBack | Self::WriteBackInvalidate)
    }

    /// Whether the copy is dropped.
    #[must_use]
    pub const fn invalidates(self) -> bool {
        matches!(self, Self::Invalidate | Self::WriteBackInvalidate)
    }
}

/// Which lines a maintenance operation covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Scope {
    /// The line that holds `paddr`, if it is in the set that `vaddr` selects: a copy of another colour is not touched.
    Line {
        /// The operand, as the instruction had it.
        vaddr: VirtAddr,
        /// What the operand translates to.
        paddr: PhysAddr,
    },
    /// Whatever line is in this set and way.
    Index {
        /// The set, `0..sets`.
        set: u32,
        /// The way, `0..ways`.
        way: u32,
    },
    /// The whole cache.
    Whole,
}

/// Which way a device moves bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum DmaDirection {
    /// Memory to device: the device consumes.
    Read,
    /// Device to memory: the device produces.
    Write,
}

/// One thing that happened, in program order of the whole machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Event {
    /// A load or store of `size` bytes through a cacheable mapping. It lies within one page; it may span lines.
    Access {
        /// Load or store.
        kind: AccessKind,
        /// The virtual address; its colour is what counts.
        vaddr: VirtAddr,
        /// The physical address of the same byte.
        paddr: PhysAddr,
        /// Length in bytes, at least 1.
        size: u32,
        /// The instruction.
        site: Site,
    },
    /// A load or store of memory through an uncached mapping. It lies within one page.
    Uncached {
        /// Load or store.
        kind: AccessKind,
        /// The physical address.
        paddr: PhysAddr,
        /// Length in bytes, at least 1.
        size: u32,
        /// The instruction.
        site: Site,
    },
    /// A prefetch: the line may be filled, nothing is consumed.
    Prefetch {
        /// The operand.
        vaddr: VirtAddr,
        /// What it translates to.
        paddr: PhysAddr,
        /// The instruction.
        site: Site,
    },
    /// Cache maintenance on the data side.
    Maintain {
        /// What is done.
        op: Maintenance,
        /// To which lines.
        scope: Scope,
        /// The instruction.
        site: Site,
    },
    /// Instructions are fetched. They lie within one page; they may span lines.
    Fetch {
        /// The virtual address; its colour in the instruction cache is what counts.
        vaddr: VirtAddr,
        /// The physical address of the same byte.
        paddr: PhysAddr,
        /// Length in bytes, at least 1.
        size: u32,
        /// The first instruction.
        site: Site,
    },
    /// Copies are dropped on the instruction side. (`Scope::Index` counts sets and ways of the instruction cache.)
    MaintainCode {
        /// Which lines.
        scope: Scope,
        /// The instruction.
        site: Site,
    },
    /// The CPU that the events are of from here on enters an address space. Caches with virtual tags tell spaces apart only if the
    /// hardware does; what physical tags say does not depend on it.
    Space {
        /// A number that stands for the address space.
        space: u32,
    },
    /// From here on, events are of this CPU. At the start they are of CPU 0.
    Cpu {
        /// Its number.
        cpu: u16,
    },
    /// A device moves bytes. They may span pages.
    Dma {
        /// From or to memory.
        direction: DmaDirection,
        /// The first byte.
        paddr: PhysAddr,
        /// Length in bytes.
        len: u64,
        /// A number that stands for the device.
        site: Site,
    },
}
