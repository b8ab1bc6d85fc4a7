//! What computer is to be built: caches, TLB, CPUs, memory; and why one cannot be.

use core::fmt;

use congruent_geometry::CacheGeometry;

/// Which addresses choose a line's set and tell it from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Indexing {
    /// The set by the virtual address, the tag by the physical one: the cache that aliases.
    Vipt,
    /// Both by the virtual address and the address space: every mapping is an alias, and physical memory is known to the
    /// cache only for write-backs. Global mappings are shared by all address spaces.
    Vivt,
    /// Both by the virtual address alone (ARM926EJ-S: DDI 0198D, 4.1): as `Vivt`, with one address space for all. An address that is
    /// mapped to another frame without a flush hits what was held for the one before.
    VivtUntagged,
    /// Both by the physical address: no aliases.
    Pipt,
}

impl Indexing {
    /// Whether lines are found by virtual addresses only.
    #[must_use]
    pub const fn has_virtual_tags(self) -> bool {
        matches!(self, Self::Vivt | Self::VivtUntagged)
    }
}

/// How stores travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Writes {
    /// Into the cache, and to memory when the line is written back.
    Back,
    /// To memory at once, and into a copy that is held.
    Through,
}

/// What is thrown out of a full set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Replacement {
    /// A free way; else what was used longest ago.
    Lru,
    /// A free way; else any, by the seed.
    Random,
    /// The enemy of wrong software: any way; and before everything that happens to a line of memory, each copy of it may have been
    /// written back, unit by unit, or dropped, by the seed. Every schedule that hardware is allowed has a chance, so what a
    /// kind replacement hides for years is seen in a few seeds.
    Adversarial,
}

/// One level-1 cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheConfig {
    /// Its shape. The unit of write-back is honoured.
    pub geometry: CacheGeometry,
    /// Its indexing and tags.
    pub indexing: Indexing,
    /// Its writes.
    pub writes: Writes,
    /// Whether a store that misses fills the line first. If not, it goes to memory.
    pub write_allocate: bool,
}

impl CacheConfig {
    /// A virtually indexed, physically tagged, write-back, write-allocate cache.
    #[must_use]
    pub const fn new(geometry: CacheGeometry) -> Self {
        Self { geometry, indexing: Indexing::Vipt, writes: Writes::Back, write_allocate: true }
    }
}

/// A unified second-level cache.
///
/// It stands before memory for everyone, devices and uncached accesses included, so no byte differs for its being there: it is
/// known by its tags only, and changes what accesses cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct L2Config {
    /// Its shape; physically indexed and tagged, LRU. Its page size and unit of write-back do not matter.
    pub geometry: CacheGeometry,
}

/// Which CPUs' level-1 caches maintenance acts on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Maintained {
    /// All, by operations of all kinds: the machine stands in for the interrupts by which a kernel has them done. A line that CPUs
    /// share sits in the same way on all of them. So all CPUs' copies of one colour are one copy to a judge of one CPU.
    Everywhere,
    /// All by operations by address, of either side; the CPU's own by index and as a whole. Whether a dirty line that another CPU loads
    /// moves, or leaves a clean copy behind, or is shared and stays whose it was, is left to chance under adversarial replacement.
    ByAddress,
    /// The CPU's own. Dirty lines move as above.
    Here,
}

/// The computer. Made with [`Config::new`] and changed field by field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Frames of memory, from physical address 0.
    pub frames: u64,
    /// CPUs, each with its own level-1 caches and TLB.
    pub cpus: usize,
    /// The data cache of each CPU; its page size is the machine's.
    pub data: CacheConfig,
    /// The instruction cache of each CPU. What it says of writes is ignored.
    pub code: CacheConfig,
    /// The second-level cache, if there is one.
    pub l2: Option<L2Config>,
    /// Pages that each TLB holds; replaced in turn.
    pub tlb_entries: usize,
    /// Which CPUs' caches maintenance acts on.
    pub maintained: Maintained,
    /// What full sets throw out.
    pub replacement: Replacement,
    /// Whether data caches may fill a line that nobody asked for, once something of its frame was accessed through the cache. Shown
    /// by adversarial replacement only.
    pub speculative: bool,
    /// Decides all that is left to chance.
    pub seed: u64,
}

/// The most memory that is modelled: a mistyped number should not take the host down.
const MOST_MEMORY: u64 = 16 << 30;

/// The most CPUs that are modelled.
const MOST_CPUS: usize = 64;

/// Why the computer cannot be built. (A cache of impossible shape is refused earlier, by [`CacheGeometry::new`].)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// No memory at all.
    NoFrames,
    /// More memory than is modelled.
    TooMuchMemory {
        /// The frames asked for.
        frames: u64,
        /// Bytes of one.
        page: u32,
    },
    /// No CPU, or too many.
    Cpus(usize),
    /// A TLB that holds nothing, so that no access could ever be made.
    NoTlb,
    /// The two level-1 caches were described for different pages.
    Pages {
        /// The data cache's page, in bytes.
        data: u32,
        /// The instruction cache's.
        code: u32,
    },
    /// A speculative computer whose data caches have several colours, or virtual tags: what may be filled is known by frame only.
    SpeculativeAliases,
    /// A line of the second level is shorter than one of the first.
    L2Line {
        /// Of the second level, in bytes.
        l2: u32,
        /// Of the first, in bytes.
        l1: u32,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoFrames => f.write_str("the machine needs at least one frame of memory"),
            Self::TooMuchMemory { frames, page } => {
                write!(f, "{frames} frames of {page} bytes are more than the {} GiB supported", MOST_MEMORY >> 30)
            }
            Self::Cpus(cpus) => write!(f, "{cpus} CPUs; 1 to {MOST_CPUS} are supported"),
            Self::NoTlb => f.write_str("the TLB needs at least one entry"),
            Self::Pages { data, code } => {
                write!(f, "the data cache is described for pages of {data} bytes, the instruction cache for {code}")
            }
            Self::SpeculativeAliases => {
                f.write_str("speculative fills are modelled for physically tagged data caches without aliases")
            }
            Self::L2Line { l2, l1 } => write!(f, "a second-level line of {l2} bytes is shorter than a first-level line of {l1}"),
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// One CPU with two such caches, 64 TLB entries, LRU, no second level.
    #[must_use]
    pub const fn new(geometry: CacheGeometry, frames: u64) -> Self {
        let cache = CacheConfig::new(geometry);
        Self {
            frames,
            cpus: 1,
            data: cache,
            code: cache,
            l2: None,
            tlb_entries: 64,
            maintained: Maintained::Everywhere,
            replacement: Replacement::Lru,
            speculative: false,
            seed: 0,
        }
    }

    /// Whether this computer can be built.
    ///
    /// # Errors
    /// [`ConfigError`] says why not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let page = self.data.geometry.page();
        if self.frames == 0 {
            return Err(ConfigError::NoFrames);
        }
        if self.frames > MOST_MEMORY / u64::from(page) {
            return Err(ConfigError::TooMuchMemory { frames: self.frames, page });
        }
        if self.cpus == 0 || self.cpus > MOST_CPUS {
            return Err(ConfigError::Cpus(self.cpus));
        }
        if self.tlb_entries == 0 {
            return Err(ConfigError::NoTlb);
        }
        if self.code.geometry.page() != page {
            return Err(ConfigError::Pages { data: page, code: self.code.geometry.page() });
        }
        if self.speculative && (self.data.geometry.aliases() || self.data.indexing.has_virtual_tags()) {
            return Err(ConfigError::SpeculativeAliases);
        }
        let l1 = self.data.geometry.line().max(self.code.geometry.line());
        match self.l2 {
            Some(l2) if l2.geometry.line() < l1 => Err(ConfigError::L2Line { l2: l2.geometry.line(), l1 }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn computers_that_cannot_be_are_refused_by_name() {
        let geometry = CacheGeometry::new(32 << 10, 4, 32).unwrap();
        let good = Config::new(geometry, 16);
        assert_eq!(good.check(), Ok(()));
        let other_page = CacheConfig::new(CacheGeometry::with_page(32 << 10, 4, 32, 8192).unwrap());
        let short = L2Config { geometry: CacheGeometry::new(256 << 10, 8, 16).unwrap() };
        for (bad, says) in [
            (Config { frames: 0, ..good }, "at least one frame"),
            (Config { frames: u64::MAX, ..good }, "16 GiB"),
            (Config { cpus: 0, ..good }, "0 CPUs"),
            (Config { cpus: 65, ..good }, "65 CPUs"),
            (Config { tlb_entries: 0, ..good }, "TLB"),
            (Config { code: other_page, ..good }, "8192"),
            (Config { speculative: true, ..good }, "without aliases"),
            (Config { l2: Some(short), ..good }, "line of 16 bytes"),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
