//! Recordings: the part of a run's events that can change a verdict, in a file.
//!
//! [`Filter`] decides what is kept, [`Writer`] writes it, [`Layout`] tells what a file holds and whether it is whole, and
//! [`play`] gives its contents to a [`Visitor`]. `docs/recordings.md` describes the format and what a recording guarantees.
//!
//! Guarantees: what the writer was given comes out of [`play`], in order; a file that was cut or changed anywhere is never
//! taken for whole. Not here: judging, and whether the run itself ended well (the program adds that as [`RunEnd`]).

mod bounds;
mod chains;
mod codec;
mod filter;
mod frame;
mod pack;
mod play;
mod writer;

use std::string::String;
use std::vec::Vec;

use congruent_geometry::{Behaviour, CacheGeometry};
use serde::{Deserialize, Serialize};

use crate::{Event, IndexForm, Operation};

pub use bounds::Bounds;
pub use chains::{CallChains, ChainId};
pub use filter::{Access, Filter, Keep, Moment, QuietStore};
pub use frame::Layout;
pub use pack::pack;
pub use play::{Visitor, chains, play};
pub use writer::{Writer, append_end};

/// The version of the format; a reader refuses any other.
pub const VERSION: u32 = 2;

/// The first block of a file: what was recorded, and what it may be used for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub version: u32,
    /// The guest's architecture as QEMU names it.
    pub target: String,
    /// The data cache that the run was judged with.
    pub geometry: CacheGeometry,
    /// What that does beside its shape.
    pub behaviour: Behaviour,
    /// The instruction cache that the run was judged with, if any.
    pub code: Option<CacheGeometry>,
    /// How operands of index operations name sets and ways.
    pub index: IndexForm,
    /// The sites given to `--mute`, as the user wrote them.
    pub muted: Vec<String>,
    /// The highest plugin interface version that the QEMU offered; 0 if the source was not QEMU.
    pub qemu_api: i32,
    /// Under which caches the events kept are all that matter.
    pub valid: Validity,
}

/// Under which caches a recording may be judged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Validity {
    /// The shortest line, in bytes.
    pub shortest_line: u32,
    /// The longest line, in bytes.
    pub longest_line: u32,
    /// The page, in bytes.
    pub page: u32,
    /// The shortest way, in bytes.
    pub shortest_way: u32,
    /// Whether the instruction side is kept.
    pub fetches: bool,
    /// Whether it is good for caches that do not allocate at stores, or that fill lines nobody asked for.
    pub every_core: bool,
}

impl Validity {
    /// What [`Filter`] guarantees, without the instruction side and for usual cores.
    pub const OF_FILTER: Self =
        Self { shortest_line: 16, longest_line: 128, page: 4096, shortest_way: 1024, fetches: false, every_core: false };

    /// Of the recording of a run that is judged under a data cache that behaves so, with or without the instruction side.
    #[must_use]
    pub const fn of_run(behaviour: Behaviour, fetches: bool) -> Self {
        Self { fetches, every_core: !behaviour.write_allocate || behaviour.speculative, ..Self::OF_FILTER }
    }

    /// Why a recording cannot be judged under this instruction cache, if it cannot.
    #[must_use]
    pub fn refuses_code(&self, geometry: &CacheGeometry) -> Option<String> {
        if !self.fetches {
            return Some("the recording has no instruction fetches; record with --icache, too".into());
        }
        self.refuses(geometry)
    }

    /// Why a recording cannot be judged under a data cache that behaves so, if it cannot.
    #[must_use]
    pub fn refuses_behaviour(&self, behaviour: Behaviour) -> Option<&'static str> {
        if behaviour.virtual_tags {
            return Some("recordings leave out what only virtual tags make a hazard; judge those in a check without --record");
        }
        let is_usual = behaviour.write_allocate && !behaviour.speculative;
        (!is_usual && !self.every_core).then_some(
            "the recording leaves out what matters to caches that do not allocate at stores or fill lines on their own; record with \
             that option, too",
        )
    }

    /// Why a recording cannot be judged under a cache of this shape, if it cannot.
    #[must_use]
    pub fn refuses(&self, geometry: &CacheGeometry) -> Option<String> {
        let (line, way) = (geometry.line(), geometry.way_size());
        if line < self.shortest_line || line > self.longest_line {
            let (shortest, longest) = (self.shortest_line, self.longest_line);
            return Some(std::format!("a recording can be judged with lines of {shortest} to {longest} bytes, not {line}"));
        }
        if geometry.page() != self.page {
            return Some(std::format!("the recording is of pages of {} bytes, not {}", self.page, geometry.page()));
        }
        if way < self.shortest_way {
            return Some(std::format!("a recording can be judged with ways of {} bytes or more, not {way}", self.shortest_way));
        }
        None
    }
}

/// The recorder's last words, written when the guest leaves.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Footer {
    /// Cacheable loads and stores of the run, kept or not.
    pub accesses: u64,
    /// Uncached accesses to memory, kept or not.
    pub uncached: u64,
    /// Instruction fetches, kept or not.
    pub fetches: u64,
    /// What the judge of the run needed, in bytes of memory; unknown in recordings that were made before this was kept.
    #[serde(default)]
    pub shadow_bytes: Option<u64>,
    /// Events in the file.
    pub events: u64,
    /// The checksum of the checksums of all blocks before the footer, in their order; unknown in recordings that were made before this
    /// was kept, which do not show that they are whole.
    #[serde(default)]
    pub blocks: Option<u32>,
    /// What the run could not observe, in sentences.
    pub limits: Vec<String>,
    /// What the guest calls the programs that call chains belong to.
    #[serde(default)]
    pub programs: Vec<String>,
}

/// How the run ended; the program writes it when QEMU is gone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RunEnd {
    /// Why the run is incomplete; nothing if it is complete.
    pub incomplete_because: Option<String>,
    /// What the kernel called itself on its console; nothing if it did not, or in recordings that were made before this was kept.
    #[serde(default)]
    pub kernel: Option<String>,
}

/// Whether an era ends with this event, as it does with every operation. What is kept late says of which era it is.
pub(crate) fn ends_era(event: &Event) -> bool {
    matches!(event, Event::Space { .. } | Event::Cpu { .. })
}

/// One maintenance operation of a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Recorded {
    /// What was done.
    pub operation: Operation,
    /// The calls it was made under.
    pub chain: ChainId,
    /// Whether `--mute` made it do nothing in the recorded run.
    pub muted: bool,
}

/// Why a file cannot be used, or only up to somewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The first byte of the part that is wrong.
    pub position: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

impl core::fmt::Display for Damage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} at byte {}", self.what, self.position)
    }
}

impl core::error::Error for Damage {}

/// Why a file is no recording that this version can read.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// It does not begin as recordings do.
    NotARecording,
    /// It is of another version of the format.
    Version(u32),
    /// Its header cannot be used.
    Header(Damage),
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotARecording => f.write_str("it is no recording; make one with `congruent check --record FILE`"),
            Self::Version(version) => {
                write!(f, "it is of version {version} of the format and this program reads {VERSION}; record again")
            }
            Self::Header(damage) => write!(f, "its header is damaged ({damage}); record again"),
        }
    }
}

impl core::error::Error for OpenError {}
