//! What the judge is to assume of the hardware, and which assumptions do not go together.

use core::fmt;

use congruent_geometry::{Behaviour, CacheGeometry, VirtAddr};

use crate::aliases::MOST;
use crate::cpus::Cpus;
use crate::old::Schedules;

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
    pub(crate) cpus: Cpus,
    /// The instruction cache. If `None`, fetches and maintenance of the instruction side are ignored.
    pub code: Option<CodeCache>,
    /// Whether to remember through which calls the last store to each line came, for findings to tell of. It costs 8 bytes per
    /// line (per 32 bytes, where lines are shorter).
    pub contexts: bool,
    pub(crate) ledger: bool,
    pub(crate) bytes: Option<Schedules>,
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

/// An instruction cache, virtually indexed, with tags like the data cache's.
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
    /// Virtual tags are judged only of data caches that fill lines at accesses, and of instruction caches that memory fills.
    VirtualTags,
    /// The ledger follows a line by its colours, which virtual tags do not have.
    LedgerOfVirtualTags,
    /// The ledger follows one CPU's caches.
    LedgerOfCpus,
    /// Old bytes are known of caches that fill lines at accesses.
    Bytes,
    /// Several CPUs are judged only where data caches are written back, allocate, have physical tags and fill lines at accesses, and
    /// where instruction caches are filled from memory.
    Cpus,
    /// The caches of so many CPUs have more colours together than there are numbers for.
    TooManyCpus {
        /// How many there may be.
        most: u16,
    },
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
                "caches with virtual tags are judged without speculative fills, and beside instruction caches that are filled from memory; \
                 leave out what says otherwise",
            ),
            Self::LedgerOfVirtualTags => f.write_str("there is no ledger of caches with virtual tags; leave it out"),
            Self::Bytes => f.write_str(
                "which old bytes would be seen is known of caches that fill lines at accesses only; leave out what says otherwise, or do \
                 not ask for them",
            ),
            Self::LedgerOfCpus => f.write_str("there is no ledger of several CPUs; leave it out, or start one CPU"),
            Self::Cpus => f.write_str(
                "several CPUs are judged with data caches that write back, allocate at stores, have physical tags and fill lines at \
                 accesses only, and with instruction caches that are filled from memory; leave out what says otherwise, or judge one CPU",
            ),
            Self::TooManyCpus { most } => write!(f, "so many CPUs are not judged with these caches; start at most {most}"),
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
            cpus: Cpus::ONE,
            code: None,
            contexts: false,
            ledger: false,
            bytes: None,
        }
    }

    /// A data cache that behaves so, and with an instruction cache of this shape that is filled from memory, if there is one.
    ///
    /// # Errors
    /// As [`behaving`](Self::behaving) and [`with_code`](Self::with_code).
    pub const fn of(data: CacheGeometry, behaviour: Behaviour, code: Option<CacheGeometry>) -> Result<Self, ConfigError> {
        match (Self::new(data).behaving(behaviour), code) {
            (Ok(config), Some(code)) => config.with_code(CodeCache::new(code)),
            (config, _) => config,
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
        if self.cpus.count > 1 {
            return Err(ConfigError::Cpus);
        }
        if self.bytes.is_some() {
            return Err(ConfigError::Bytes);
        }
        if self.geometry.aliases() {
            return Err(ConfigError::SpeculativeAliases { colours: self.geometry.colours() });
        }
        Ok(Self { speculative: true, ..self })
    }

    /// The same, with caches that find their lines by virtual addresses only: the data cache, and the instruction cache if it is
    /// judged. Then every address of a frame is an alias, and an address may hit what it held for another frame.
    ///
    /// # Errors
    /// [`ConfigError::VirtualTags`] if the core is speculative, or its instruction cache is filled from the data cache.
    pub const fn with_virtual_tags(self, tags: VirtualTags) -> Result<Self, ConfigError> {
        if self.speculative || matches!(self.code, Some(code) if code.fills_from_data) {
            return Err(ConfigError::VirtualTags);
        }
        if self.ledger {
            return Err(ConfigError::LedgerOfVirtualTags);
        }
        if self.cpus.count > 1 {
            return Err(ConfigError::Cpus);
        }
        Ok(Self { virtual_tags: Some(tags), ..self })
    }

    /// The same, with a data cache that behaves so. Virtual tags are those that no address space is part of.
    ///
    /// # Errors
    /// As [`speculating`](Self::speculating), [`with_virtual_tags`](Self::with_virtual_tags) and [`with_cpus`](Self::with_cpus).
    pub const fn behaving(self, behaviour: Behaviour) -> Result<Self, ConfigError> {
        let plain = Self { writes_through: behaviour.write_through, write_allocate: behaviour.write_allocate, ..self };
        let tagged = match behaviour.virtual_tags {
            true => plain.with_virtual_tags(VirtualTags::Untagged),
            false => Ok(Self { virtual_tags: None, ..plain }),
        };
        match tagged {
            Ok(tagged) if behaviour.speculative => tagged.speculating(),
            Ok(tagged) => Self { speculative: false, ..tagged }.with_cpus(self.cpus),
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
        if self.cpus.count > 1 {
            return Err(ConfigError::LedgerOfCpus);
        }
        Ok(Self { ledger: true, ..self })
    }

    /// The same, with the old bytes themselves ([`Shadow::take_old_bytes`](crate::Shadow::take_old_bytes)). It costs twice the touched memory, and
    /// time on accesses that change something.
    ///
    /// # Errors
    /// [`ConfigError::Bytes`].
    pub const fn with_bytes(self, schedules: Schedules) -> Result<Self, ConfigError> {
        if self.speculative {
            return Err(ConfigError::Bytes);
        }
        Ok(Self { bytes: Some(schedules), ..self })
    }

    /// The same, with this instruction cache.
    ///
    /// # Errors
    /// [`ConfigError`] if the judge cannot take the two together.
    pub const fn with_code(self, code: CodeCache) -> Result<Self, ConfigError> {
        if self.virtual_tags.is_some() && code.fills_from_data {
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
        Self { code: Some(code), ..self }.with_cpus(self.cpus)
    }

    /// The same with these CPUs, each with such caches of its own.
    ///
    /// # Errors
    /// [`ConfigError::Cpus`] if there are several and caches of another kind than those that are judged of several,
    /// [`ConfigError::TooManyCpus`] if their colours are more than 1,024 together.
    pub const fn with_cpus(self, cpus: Cpus) -> Result<Self, ConfigError> {
        if cpus.count <= 1 {
            return Ok(Self { cpus: Cpus { count: 1, ..cpus }, ..self });
        }
        let (fills_from_data, code_colours) = match self.code {
            Some(code) => (code.fills_from_data, code.geometry.colours()),
            None => (false, 1),
        };
        let usual = self.write_allocate && !self.writes_through && !self.speculative && self.virtual_tags.is_none();
        if !usual || fills_from_data {
            return Err(ConfigError::Cpus);
        }
        if self.ledger {
            return Err(ConfigError::LedgerOfCpus);
        }
        let data_colours = self.geometry.colours();
        let colours = if code_colours > data_colours { code_colours } else { data_colours };
        let most = MOST as u32 / colours.next_power_of_two();
        if cpus.count as u32 > most {
            return Err(ConfigError::TooManyCpus { most: most as u16 });
        }
        Ok(Self { cpus, ..self })
    }

    /// The CPUs that are judged.
    #[must_use]
    pub const fn cpus(&self) -> Cpus {
        self.cpus
    }
}
