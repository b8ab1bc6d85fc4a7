//! What the kernel tells the library about its machine, once, at boot.

use core::fmt;

use congruent_geometry::CacheGeometry;

use crate::VirtAddr;

/// What the data cache compares its tags with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Tags {
    /// Physical addresses: VIPT, or PIPT (one colour). The cache that this library is for.
    Physical,
    /// Virtual addresses: VIVT (ARMv4, ARMv5). Refused by [`Congruent::new`](crate::Congruent::new): no two addresses are congruent
    /// there, in one address space or in two, so a window of any colour is one more alias, and a context switch has to empty the
    /// cache anyway. Such a kernel needs flushes at the user's own address, which no window can stand in for.
    Virtual,
}

/// How the kernel finds the colour for an access that may be made through any ([`At::Home`](crate::At::Home)).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// The colour through which the frame was accessed last, from its word: no search.
    Remember,
    /// The colour at which a user has it mapped, from [`Platform::user_address`](crate::Platform::user_address); the last one if
    /// nobody has. The maintenance is the same; the search is what it costs.
    ReverseLookup,
}

/// The part of the kernel's address space that belongs to windows.
///
/// ```
/// # use congruent::*;
/// // Three windows for threads, one for interrupt handlers, of which there are two levels; and one for each level's maintenance.
/// let area = WindowArea::new(VirtAddr(0xc000_0000), 3, 1).with_levels(3);
/// assert_eq!(area.slots(), 7);
/// // 32 KiB in 2 ways: a window takes a way of 16 KiB.
/// let geometry = CacheGeometry::new(32 << 10, 2, 32).unwrap();
/// assert_eq!(area.bytes(2, &geometry), 2 * 7 * (16 << 10));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WindowArea {
    /// Its first address: a multiple of the size of one way, so that a window's colour is its place.
    pub base: VirtAddr,
    /// Windows that threads of one CPU can have open at a time.
    pub thread_slots: u8,
    /// Windows that interrupt handlers of one CPU can have open at a time, besides.
    pub interrupt_slots: u8,
    /// Levels of [`CpuContext`](crate::CpuContext): 1 for threads, and 1 for each level of interrupts that can interrupt another. Each has
    /// a window of its own for the library's maintenance, which therefore never lacks one.
    pub levels: u8,
}

impl WindowArea {
    /// An area in which interrupts do not interrupt each other.
    #[must_use]
    pub const fn new(base: VirtAddr, thread_slots: u8, interrupt_slots: u8) -> Self {
        Self { base, thread_slots, interrupt_slots, levels: 2 }
    }

    /// The same with other [levels](Self::levels).
    #[must_use]
    pub const fn with_levels(mut self, levels: u8) -> Self {
        self.levels = levels;
        self
    }

    /// All windows of one CPU: of threads, of interrupts, and one for each level's maintenance.
    #[must_use]
    pub const fn slots(&self) -> u32 {
        self.thread_slots as u32 + self.interrupt_slots as u32 + self.levels as u32
    }

    /// How many bytes of address space the windows of `cpus` CPUs take: one way per slot, whatever the number of colours.
    #[must_use]
    pub const fn bytes(&self, cpus: u32, geometry: &CacheGeometry) -> u64 {
        cpus as u64 * self.slots() as u64 * stride(geometry) as u64
    }
}

/// The part of the kernel's address space in which windows stay mapped until their place is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct KeptArea {
    /// Its first address: a multiple of the size of one way.
    pub base: VirtAddr,
    /// Its pages per CPU: a power of two, as many of each colour.
    pub slots: u32,
}

impl KeptArea {
    /// An area of so many pages per CPU.
    #[must_use]
    pub const fn new(base: VirtAddr, slots: u32) -> Self {
        Self { base, slots }
    }
}

/// Bytes from one slot to the next: all colours once.
pub(crate) const fn stride(geometry: &CacheGeometry) -> u32 {
    geometry.colours() * geometry.page()
}

/// The machine, and the choices the kernel makes: [`new`](Self::new) assumes the worst, and what is known better is then set.
///
/// ```
/// # use congruent::*;
/// let geometry = CacheGeometry::new(32 << 10, 2, 32).unwrap();
/// let mut config = Config::new(geometry, WindowArea::new(VirtAddr(0xc000_0000), 3, 1));
/// config.speculative = false; // an in-order core, by its manual
/// config.kept = Some(KeptArea::new(VirtAddr(0xc010_0000), 64));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The data cache, as read from the processor at boot, and the page size.
    pub geometry: CacheGeometry,
    /// Where windows are mapped.
    pub windows: WindowArea,
    /// What its tags are.
    pub tags: Tags,
    /// Whether stores stay in the cache until written back.
    pub write_back: bool,
    /// Whether the core may fill lines that nobody accessed, through any live mapping. If in doubt, yes: it costs an invalidation
    /// here and there; a wrong no costs data.
    pub speculative: bool,
    /// Whether instruction fetches that miss look into the data cache (Linux calls it `cpu_has_ic_fills_f_dc`), so that nothing has
    /// to be written back for them. What the instruction side holds already is dropped all the same.
    pub fetches_see_data: bool,
    /// How windows find their colour.
    pub policy: Policy,
    /// Where windows stay mapped, if they do.
    pub kept: Option<KeptArea>,
    /// The last address of the address space, the last of its page: that of the machine this was compiled for, if not told otherwise.
    pub top: VirtAddr,
}

impl Config {
    /// A write-back, physically tagged cache on a core that may speculate.
    #[must_use]
    pub const fn new(geometry: CacheGeometry, windows: WindowArea) -> Self {
        Self {
            geometry,
            windows,
            tags: Tags::Physical,
            write_back: true,
            speculative: true,
            fetches_see_data: false,
            policy: Policy::Remember,
            kept: None,
            top: VirtAddr(usize::MAX as u64),
        }
    }
}

/// Why the library cannot serve this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The cache is virtually tagged; see [`Tags::Virtual`].
    VirtuallyTagged,
    /// The window area or the kept area does not begin at a multiple of all colours.
    MisplacedWindows {
        /// Where it begins.
        base: VirtAddr,
        /// What its beginning must be a multiple of, in bytes.
        align: u32,
    },
    /// There must be at most 32 slots per CPU, at least two of them for threads (a copy has two windows open) and one for the
    /// maintenance of each level.
    Slots {
        /// For threads.
        thread: u8,
        /// For interrupts.
        interrupt: u8,
        /// Levels.
        levels: u8,
    },
    /// The platform says that the cache cannot alias, and its geometry says that it can.
    Aliases {
        /// How many colours the geometry has.
        colours: u32,
    },
    /// The pages of the kept area are not a power of two, as many of each colour.
    KeptSlots(u32),
    /// The last address is not the last of all colours.
    Top(VirtAddr),
    /// Kept windows are live mappings, and a speculating core may fill lines through them that nobody asked for.
    KeptWindowsOnSpeculatingCore,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::VirtuallyTagged => {
                f.write_str("the cache is virtually tagged: no window can be congruent with a user's address")
            }
            Self::MisplacedWindows { base, align } => {
                write!(f, "the window area begins at {base}, not at a multiple of {align:#x}")
            }
            Self::Slots { thread, interrupt, levels } => write!(
                f,
                "{thread} thread and {interrupt} interrupt slots, {levels} levels; at least 2 for threads, 1 level, at most 32 together"
            ),
            Self::Aliases { colours } => write!(f, "the platform says its cache cannot alias, but it has {colours} colours"),
            Self::KeptSlots(slots) => {
                write!(f, "{slots} kept windows per CPU are not a power of two with as many of each colour")
            }
            Self::Top(top) => write!(f, "the address space ends at {top}, which is not the end of a page of the last colour"),
            Self::KeptWindowsOnSpeculatingCore => f.write_str("kept windows cannot be used on a core that speculates"),
        }
    }
}

impl core::error::Error for ConfigError {}
