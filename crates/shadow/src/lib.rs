//! The judge: cache events in, stale-data findings out.
//!
//! After every event [`Shadow`] answers one question: *could a core with this data cache hand out old bytes here?* It keeps no
//! data and no cache contents, only what could be where.
//!
//! ```
//! use congruent_geometry::{PhysAddr, VirtAddr};
//! use congruent_shadow::{Config, HazardClass, Shadow};
//! use congruent_trace::{AccessKind, Event, Site};
//!
//! let mut shadow = Shadow::new(Config::new("32K,4,32".parse()?));
//! let (kernel, user, paddr) = (VirtAddr(0x8000_4000), VirtAddr(0x0040_1000), PhysAddr(0x4000));
//! shadow.apply(&Event::Access { kind: AccessKind::Store, vaddr: kernel, paddr, size: 4, site: Site(0x8010_0000) });
//! // Nobody wrote the kernel's copy back.
//! shadow.apply(&Event::Access { kind: AccessKind::Load, vaddr: user, paddr, size: 4, site: Site(0x0040_0100) });
//! assert_eq!(shadow.findings()[0].class, HazardClass::ReadDirtyElsewhere);
//! # Ok::<(), congruent_geometry::ParseGeometryError>(())
//! ```
//!
//! # What it does not promise
//! - That a real core misbehaves: a finding says that *some* core with this geometry may. No finding says that none does.
//! - Anything beyond one virtually indexed data cache, and an instruction cache beside it: not write buffers, prefetch buffers and
//!   pipelines (which need barriers), second-level caches, cores with aliases or with instruction caches that fill lines without an
//!   access.
//! - Coherence of several CPUs' data caches other than colour by colour ([`Cpus`]). Unless [`Config::with_cpus`] says that there are several,
//!   events of all CPUs are taken as those of one.
//!
//! # Any chip
//! Nothing is assumed of replacement, capacity or timing. At any moment a clean line may be dropped, and a dirty one be written back
//! and then stay or be dropped. A line is filled only by an access or a prefetch (but see below), into any way of its set. Units of write-back
//! ([`write_back_unit`](CacheGeometry::write_back_unit), usually the line) are written back whole. Caches start empty.
//!
//! # Rules
//! Per line and colour there are two sets of bytes: *dirty*, stored through the colour and perhaps nowhere else; *stale*, older in
//! the colour's copy, if it is still held, than elsewhere. Per line a third: *lost*, perhaps newest nowhere. They say exactly what
//! some schedule can do (`line`, with the proof in `tests`).
//!
//! | event | is a hazard for bytes that are | because | then |
//! |---|---|---|---|
//! | load through *c* | dirty in another colour: [`ReadDirtyElsewhere`] | memory may be old, and *c*'s copy gone | *c* is filled: what memory may have old becomes stale in *c*, neighbours included |
//! | | stale in *c*: [`ReadStaleCopy`] | the copy may still be held | |
//! | | lost with an invalidated copy: [`ReadLost`] | the only newest copy was discarded | |
//! | | lost under an older copy: [`ClobberedNeighbour`] | see below | |
//! | store through *c* | dirty in another colour: [`WriteUnderDirtyAlias`] | whichever is written back last wins | filled as above; dirty in *c*, stale in every other colour that may hold a copy, no longer lost |
//! | device reads | dirty anywhere, or lost: [`DmaReadStale`] | devices see memory | |
//! | device writes | dirty anywhere: [`DmaWriteUnderDirty`] | a later write-back destroys them | stale wherever a copy may be held, no longer lost |
//! | uncached load | dirty: [`MixedAttributesRead`]; lost: as for loads | sees memory | |
//! | uncached store | dirty anywhere: [`MixedAttributesWrite`] | as for devices | as for devices |
//! | write back *c* | | | nothing is dirty in *c* |
//! | invalidate *c* | | | what was dirty in *c* is lost; *c* holds nothing |
//! | prefetch through *c* | | | filled as by a load |
//! | fetch through *i* | dirty anywhere: [`FetchDirty`] | fetches see memory | *i* is filled as by a load |
//! | | stale in *i*: [`FetchStaleCopy`] | the copy may still be held | |
//! | | lost: as for loads | | |
//! | drop *i* on the instruction side | | | *i* holds nothing |
//!
//! In a cache that writes through ([`Config::writes_through`]) nothing is ever dirty, so nothing is lost either. If stores do not
//! allocate ([`Config::write_allocate`]), a store fills nothing: what may be held becomes dirty, what is certainly not held does not.
//!
//! *Clobbered:* a byte that is stale in a unit with a dirty byte is lost at once and stays so until it is written again: the newest
//! copy may be evicted first and the stale one, for its neighbour's sake, after it. Nothing is reported until somebody reads the
//! byte: padding may be destroyed as one pleases. For the same reason a store, or a device's write, beside dirty bytes of another
//! copy is no hazard in itself; one *over* them is, because those bytes were somebody's.
//!
//! A byte of an access to which several rules apply is reported under the first, in the order of the table. [`ReadStaleCopy`] yields
//! to the lost classes where the newest bytes were stored through the very colour that reads them: the old copy is then a refill.
//!
//! # The instruction side
//! Judged if [`Config::code`] says what the instruction cache is like. A colour *i* of the instruction cache is one more colour that
//! may hold the line, through which nothing is ever stored: stores of all kinds make its copy stale as they do other colours'. A
//! fetch sees memory, or its own copy; where the instruction cache is filled from the data cache
//! ([`fills_from_data`](CodeCache::fills_from_data)), what the fetch's address selects there is seen in place of memory: dirty bytes
//! of that one colour are no hazard, stale ones are ([`FetchStaleCopy`]). Operations on one cache do not touch the other.
//!
//! # Cores that fill lines on their own
//! With [`Config::speculating`], any line of a *live* frame may be filled at any moment, with what memory then has: so a copy is
//! never gone for good, and an invalidate before a device writes does not help. A frame is live once any byte of it was accessed or
//! prefetched through the data cache; it is taken to stay so, as kernels keep their memory mapped. This is judged for data caches of
//! one colour; the instruction side is filled by fetches only.
//!
//! # Several CPUs
//! With [`Config::with_cpus`] each CPU ([`Event::Cpu`](congruent_trace::Event::Cpu)) has caches of its own. Data caches are taken to be coherent
//! at each colour ([`Cpus`]), so loads and stores through one colour see one another whichever CPU makes them, and all of the table
//! holds as it stands. What differs is what maintenance reaches: operations by index and on the whole cache act on one CPU, those by
//! address on one or all ([`AddressReach`]). An instruction cache holds what its own CPU fetched.
//!
//! # Virtual tags
//! With [`Config::with_virtual_tags`] a copy is found again only through the virtual page, and perhaps the address space
//! ([`VirtualTags`]), that it was filled through; in both caches, if the instruction side is judged. All of the above holds with
//! *alias*, such a page, in place of colour: two addresses
//! are never congruent. Findings go on naming colours, which say what set a line is in. A copy is written back to where it was filled
//! from. Maintenance by address acts on the virtual line, whatever it is mapped to meanwhile.
//!
//! What an alias holds for one frame is hit by who means another. So, before anything else in the table:
//!
//! | event | is a hazard if | then |
//! |---|---|---|
//! | load through a page | it may hold another frame's copy of that line: [`ReadHomonym`] | that copy is as good as written back and invalidated |
//! | store through it | the same: [`WriteHomonym`] | the same |
//! | fetch through it | the instruction cache may hold another frame's: [`ReadHomonym`] | that copy is as good as dropped |
//! | prefetch through it | never | the page may hold either |
//! | maintenance by address | | every frame's copy under the address is meant |
//!
//! Lines that compete for a set are not taken to displace one another, as ever.
//!
//! # By index, and the whole cache
//! An operation on one set and way reaches a line only if it sits in that way, which no chip tells. So a colour is swept when every
//! way was operated on that its copy may sit in: all of them, after an access, since the access may have found the line dropped and
//! filled it anywhere. A copy that was dirty or stale in a way *before* such an access may still be so in the ways not yet swept, and
//! in no other: what a sweep has done is not undone by an access in its midst. Operations on the whole cache are sweeps of every way.
//! A sweep that discards makes lost only what is dirty in its way.
//!
//! # After a finding
//! Hazardous bytes are healed before the access takes effect, as if the missing maintenance had been done, and no more than that: what
//! the access sees of them is the newest, and so is memory; they are no longer dirty where the access does not look, and a unit none of
//! whose other bytes is dirty counts as written back. Other old copies stay old: they need maintenance of their own. What the access
//! itself writes becomes dirty or stale as usual, so that it can be found as the producer of the next hazard. Bytes that were not
//! accessed are not healed.
//!
//! Who meets the same bytes later is no finding, because the remedy of the first would have helped him as well. Where it will not be
//! carried out, because the finding is let pass, he has to be known: so a line that was healed is also judged as if it had not been,
//! and what is found there alone is kept as a [`Consequence`] of the findings that hide it.
//!
//! # Parties
//! The producer is the last known writer of the bytes. While only one colour may hold a line, only its last store is remembered (per
//! line; per 64 bytes where lines are shorter than 32 bytes); from then on up to four writers of a line are told apart.
//!
//! # Cost
//! An access that changes nothing: one load and one compare. Memory: 44 % of the touched frames for lines of 16 bytes, 38 %, 25 % and
//! 19 % for 32, 64 and 128, and some 80 bytes for each line that several colours hold with something dirty, stale or lost. Half of
//! the touched memory is exceeded when one line in 100 is such (lines of 16 bytes), one in 20 (32 bytes).
//!
//! [`ReadDirtyElsewhere`]: HazardClass::ReadDirtyElsewhere
//! [`ReadStaleCopy`]: HazardClass::ReadStaleCopy
//! [`ReadLost`]: HazardClass::ReadLost
//! [`ClobberedNeighbour`]: HazardClass::ClobberedNeighbour
//! [`WriteUnderDirtyAlias`]: HazardClass::WriteUnderDirtyAlias
//! [`DmaReadStale`]: HazardClass::DmaReadStale
//! [`DmaWriteUnderDirty`]: HazardClass::DmaWriteUnderDirty
//! [`ReadHomonym`]: HazardClass::ReadHomonym
//! [`WriteHomonym`]: HazardClass::WriteHomonym
//! [`FetchDirty`]: HazardClass::FetchDirty
//! [`FetchStaleCopy`]: HazardClass::FetchStaleCopy
//! [`MixedAttributesRead`]: HazardClass::MixedAttributesRead
//! [`MixedAttributesWrite`]: HazardClass::MixedAttributesWrite

#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod access;
mod aliases;
mod code;
mod config;
mod cpus;
mod fetch;
mod finding;
mod findings;
mod forms;
mod frames;
mod habits;
mod heads;
mod history;
mod homonym;
mod ledger;
mod line;
mod maintain;
mod old;
mod operate;
mod origins;
mod records;
mod shadow;
mod sweep;
mod terms;
#[cfg(test)]
mod tests;
mod unhealed;
mod unseen;
mod view;

#[cfg(doc)]
use congruent_geometry::CacheGeometry;

pub use aliases::Alias;
pub use config::{CodeCache, Config, ConfigError, VirtualTags};
pub use cpus::{AddressReach, Cpus};
pub use finding::{
    Consequence, Contexts, Effect, Example, Finding, HazardClass, Key, OnCpus, Party, PartyKind, PastMaintenance, Side,
};
pub use ledger::{LedgerLine, Reach};
pub use old::{OldBytes, Schedules};
pub use shadow::{ByteId, PageId, Shadow};
pub use view::{CopyView, LineView};

/// What the judge has seen, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Stats {
    /// Cacheable loads and stores.
    pub accesses: u64,
    /// Fetches, if the instruction side is judged; sources add those that went past the cache to memory that was never in it.
    pub fetches: u64,
    /// Uncached accesses to memory.
    pub uncached: u64,
    /// Maintenance operations: one per line for operations by address, one per operation otherwise.
    pub maintenance: u64,
    /// Of these, how many `--mute` made to do nothing.
    pub muted: u64,
    /// Frames the guest has touched.
    pub frames: u64,
    /// Bytes of shadow memory in use.
    pub shadow_bytes: u64,
    /// Hazards before they were folded into findings.
    pub hazards: u64,
    /// How often a page with virtual tags had more virtual addresses with something held under them than are told apart, so that
    /// what was held under one of them was taken as written back and dropped: hazards with that were not seen.
    pub taken_as_dropped: u64,
    /// How often memory was found changed by a device that was not seen ([`UNSEEN`](congruent_trace::devices::UNSEEN)).
    pub unseen_writes: u64,
    /// The shortest step in bytes in which the guest went through its data cache, line by line; 0 where it did not.
    pub step: u32,
    /// How far the guest's longest sweeps of its data cache by index reached, in bytes; 0 where that was not seen.
    pub sweep: u32,
}
