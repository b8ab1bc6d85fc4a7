//! What the judge is to assume of the hardware, and which assumptions do not go together.

use core::fmt;

use congruent_geometry::{Behaviour, CacheGeometry, VirtAddr};

/// What the judge is to assume. Made with [`Config::new`]; fields may be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The shape of the data cache.
    pub geometry: CacheGeometry,
    /// Whether the data cache writes stores to memory at once, and into a copy that it holds. Then nothing is ever dirty, and only
    /// stale copies remain.
    pub writes_through: bool,
    /// Whether a store fills a line that the data cache does not hold. If not, it goes to memory.
    pub write_allocate: bool,
    pub(crate) speculative: bool,
    pub(crate) virtual_tags: Option<VirtualTags>,
    /// The instruction cache. If `None`, fetches and maintenance of the instruction side are ignored.
    pub code: Option<CodeCache>,
    /// Whether to remember through which calls the last store to each line came, for findings to tell of. It costs 8 bytes per
    /// line (per 32 bytes, where lines are shorter).
    pub contexts: bool,
    pub(crate) ledger: bool,
}

/// How a cache with virtual tags tells lines apart. (The physical address is kept for writing back, to where the line was filled from.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VirtualTags {
    /// By the virtual address alone (ARM926EJ-S: DDI 0198D, 4.1): what an address held in one address space is hit in the next.
    Untagged,
    /// By the virtual address and the address space ([`Event::Space`](congruent_trace::Event::Space)).
    BySpace {
        /// Addresses from here on are in all spaces, one line for all.
        shared_from: VirtAddr,
    },
}

/// An instruction cache, virtually indexed and physically tagged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CodeCache {
    /// Its shape. Its unit of write-back does not matter.
    pub geometry: CacheGeometry,
    /// Whether a miss is served by what the data cache holds in the set that the fetch's address selects there, and by memory only
    /// if that is nothing (Linux `arch/mips/include/asm/cpu-features.h`, `cpu_has_ic_fills_f_dc`). Else fetches see memory only.
    pub fills_from_data: bool,
}

impl CodeCache {
    /// An instruction cache of this shape that is filled from memory.
    #[must_use]
    pub const fn new(geometry: CacheGeometry) -> Self {
        Self { geometry, fills_from_data: false }
    }

    /// The same, filled from the data cache.
    #[must_use]
    pub const fn filled_from_data(self) -> Self {
        Self { fills_from_data: true, ..self }
    }
}

/// Why these caches cannot be judged together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The two caches were described for pages of different sizes, in bytes.
    Pages {
        /// The data cache's.
        data: u32,
        /// The instruction cache's.
        code: u32,
    },
    /// A speculative core is judged only where its data cache has one colour.
    SpeculativeAliases {
        /// How many it has.
        colours: u32,
    },
    /// Virtual tags are judged only of data caches that fill lines at accesses, and without the instruction side.
    VirtualTags,
    /// The ledger follows a line by its colours, which virtual tags do not have.
    LedgerOfVirtualTags,
    /// The instruction cache's lines are shorter than the data cache's; or they are not equal, and it is filled from there. In
    /// bytes.
    Lines {
        /// The data cache's.
        data: u32,
        /// The instruction cache's.
        code: u32,
        /// Whether the instruction cache is filled from the data cache.
        fills_from_data: bool,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Pages { data, code } => {
                write!(f, "the data cache is described for pages of {data} bytes, the instruction cache for pages of {code}")
            }
            Self::SpeculativeAliases { colours } => write!(
                f,
                "speculative fills are judged for data caches without aliases, and this one has {colours} colours; give it ways no \
                 larger than a page"
            ),
            Self::VirtualTags => f.write_str(
                "caches with virtual tags are judged without speculative fills and without an instruction cache; leave those out",
            ),
            Self::LedgerOfVirtualTags => f.write_str("there is no ledger of caches with virtual tags; leave it out"),
            Self::Lines { data, code, fills_from_data: false } => {
                write!(f, "instruction cache lines of {code} bytes are shorter than the data cache's of {data}")
            }
            Self::Lines { data, code, fills_from_data: true } => write!(
                f,
                "an instruction cache that is filled from the data cache must have lines of its length, {data} bytes, not {code}"
            ),
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// The usual assumptions about a cache of this shape: write-back, write-allocate, filled only at accesses; the instruction side
    /// is not judged.
    #[must_use]
    pub const fn new(geometry: CacheGeometry) -> Self {
        Self {
            geometry,
            writes_through: false,
            write_allocate: true,
            speculative: false,
            virtual_tags: None,
            code: None,
            contexts: false,
            ledger: false,
        }
    }

    /// The same, with stores that go to memory at once.
    #[must_use]
    pub const fn writing_through(self) -> Self {
        Self { writes_through: true, ..self }
    }

    /// The same, with stores that go to memory if the data cache does not hold their line.
    #[must_use]
    pub const fn without_write_allocate(self) -> Self {
        Self { write_allocate: false, ..self }
    }

    /// The same, with a data cache that may fill a line at any moment if a program could access it: once any byte of its frame was
    /// accessed or prefetched through the cache (kernels keep their memory mapped, so it can be reached ever after). Then memory
    /// that a device writes must be invalidated after the transfer, not only before it.
    ///
    /// # Errors
    /// [`ConfigError::SpeculativeAliases`] if the data cache has several colours: which of them can be reached at any moment is not
    /// known. [`ConfigError::VirtualTags`] for the same reason.
    pub const fn speculating(self) -> Result<Self, ConfigError> {
        if self.virtual_tags.is_some() {
            return Err(ConfigError::VirtualTags);
        }
        if self.geometry.aliases() {
            return Err(ConfigError::SpeculativeAliases { colours: self.geometry.colours() });
        }
        Ok(Self { speculative: true, ..self })
    }

    /// The same, with a data cache that finds its lines by virtual addresses only. Then every address of a frame is an alias, and
    /// an address may hit what it held for another frame.
    ///
    /// # Errors
    /// [`ConfigError::VirtualTags`] if the core is speculative, or the instruction side is to be judged.
    pub const fn with_virtual_tags(self, tags: VirtualTags) -> Result<Self, ConfigError> {
        if self.speculative || self.code.is_some() {
            return Err(ConfigError::VirtualTags);
        }
        if self.ledger {
            return Err(ConfigError::LedgerOfVirtualTags);
        }
        Ok(Self { virtual_tags: Some(tags), ..self })
    }

    /// The same, with a data cache that behaves so. Virtual tags are those that no address space is part of.
    ///
    /// # Errors
    /// As [`speculating`](Self::speculating) and [`with_virtual_tags`](Self::with_virtual_tags).
    pub const fn behaving(self, behaviour: Behaviour) -> Result<Self, ConfigError> {
        let plain = Self { writes_through: behaviour.write_through, write_allocate: behaviour.write_allocate, ..self };
        let tagged = match behaviour.virtual_tags {
            true => plain.with_virtual_tags(VirtualTags::Untagged),
            false => Ok(Self { virtual_tags: None, ..plain }),
        };
        match tagged {
            Ok(tagged) if behaviour.speculative => tagged.speculating(),
            Ok(tagged) => Ok(Self { speculative: false, ..tagged }),
            Err(error) => Err(error),
        }
    }

    /// How the data cache behaves.
    #[must_use]
    pub const fn behaviour(&self) -> Behaviour {
        Behaviour {
            write_through: self.writes_through,
            write_allocate: self.write_allocate,
            speculative: self.speculative,
            virtual_tags: self.virtual_tags.is_some(),
        }
    }

    /// Whether the data cache may fill lines that nobody asked for.
    #[must_use]
    pub const fn is_speculative(&self) -> bool {
        self.speculative
    }

    /// The same, with call chains remembered or not.
    #[must_use]
    pub const fn with_contexts(self, contexts: bool) -> Self {
        Self { contexts, ..self }
    }

    /// The same, with a [ledger](crate::Shadow::ledger) of what maintenance was good for. It costs 4 bytes per line of touched memory,
    /// about 40 for each line that maintenance changed and nobody came to see since, and time on accesses that change something.
    ///
    /// # Errors
    /// [`ConfigError::LedgerOfVirtualTags`].
    pub const fn with_ledger(self) -> Result<Self, ConfigError> {
        if self.virtual_tags.is_some() {
            return Err(ConfigError::LedgerOfVirtualTags);
        }
        Ok(Self { ledger: true, ..self })
    }

    /// The same, with this instruction cache.
    ///
    /// # Errors
    /// [`ConfigError`] if the judge cannot take the two together.
    pub const fn with_code(self, code: CodeCache) -> Result<Self, ConfigError> {
        if self.virtual_tags.is_some() {
            return Err(ConfigError::VirtualTags);
        }
        let (data, fills_from_data) = (self.geometry, code.fills_from_data);
        if code.geometry.page() != data.page() {
            return Err(ConfigError::Pages { data: data.page(), code: code.geometry.page() });
        }
        let lines = (data.line(), code.geometry.line());
        if lines.1 < lines.0 || fills_from_data && lines.0 != lines.1 {
            return Err(ConfigError::Lines { data: lines.0, code: lines.1, fills_from_data });
        }
        Ok(Self { code: Some(code), ..self })
    }
}
