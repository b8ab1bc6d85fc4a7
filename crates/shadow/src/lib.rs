//! The judge: cache events in, stale-data findings out.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod access;
mod finding;
mod findings;
mod forms;
mod heads;
mod history;
mod line;
mod maintain;
mod records;
mod shadow;
mod sweep;
#[cfg(test)]
mod tests;

use congruent_geometry::CacheGeometry;

pub use finding::{Effect, Example, Finding, HazardClass, Party, PartyKind, PastMaintenance};
pub use shadow::{PageId, Shadow};

/// What the judge is to assume. Made with [`Config::new`]; fields may be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The shape of the data cache.
    pub geometry: CacheGeometry,
}

impl Config {
    /// The usual assumptions about a cache of this shape: write-back, write-allocate, filled only at accesses.
    #[must_use]
    pub const fn new(geometry: CacheGeometry) -> Self {
        Self { geometry }
    }
}

/// What the judge has seen, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Stats {
    /// Cacheable loads and stores.
    pub accesses: u64,
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
}
