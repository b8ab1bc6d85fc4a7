//! What is to be simulated: the computer, the policy, and what is left to chance.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use congruent_geometry::CacheGeometry;
use congruent_machine::{COSTS, CostModel, L2Config, Replacement};
use congruent_shadow::CodeCache;
use congruent_trace::Site;

/// How the kernel keeps the colours of a frame equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PolicyKind {
    /// Not at all: what breaks, and where.
    None,
    /// Flushes the page at every crossing between kernel and user; simple, right and slow.
    FlushAlways,
    /// As Linux 6.12 does on MIPS (`r4k`), known defects included.
    LinuxMips,
    /// As Linux 6.12 does on ARMv6 with an aliasing cache, known defects included.
    LinuxArm,
    /// The library `congruent`: windows of the frame's own colour.
    Window,
    /// The library, finding the colour by a search for a user's mapping.
    ReverseLookup,
    /// The library without a permanent mapping of memory: windows that stay mapped until their place is needed.
    KeptWindows,
    /// The library, with frames chosen so that their permanent address has the user's colour.
    FrameColoured,
}

impl PolicyKind {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::FlushAlways,
        Self::LinuxMips,
        Self::LinuxArm,
        Self::Window,
        Self::ReverseLookup,
        Self::KeptWindows,
        Self::FrameColoured,
    ];

    /// The name as given on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::FlushAlways => "flush-always",
            Self::LinuxMips => "linux-mips",
            Self::LinuxArm => "linux-arm",
            Self::Window => "window",
            Self::ReverseLookup => "reverse-lookup",
            Self::KeptWindows => "kept-windows",
            Self::FrameColoured => "frame-coloured",
        }
    }

    /// Whether it is the library's, which never lets anybody see old bytes.
    #[must_use]
    pub const fn is_library(self) -> bool {
        matches!(self, Self::Window | Self::ReverseLookup | Self::KeptWindows | Self::FrameColoured)
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// There is no policy of this name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSuchPolicy;

impl fmt::Display for NoSuchPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such policy; there are")?;
        PolicyKind::ALL.iter().enumerate().try_for_each(|(at, kind)| write!(f, "{} {kind}", if at == 0 { "" } else { "," }))
    }
}

impl core::error::Error for NoSuchPolicy {}

impl FromStr for PolicyKind {
    type Err = NoSuchPolicy;

    fn from_str(name: &str) -> Result<Self, NoSuchPolicy> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(NoSuchPolicy)
    }
}

/// A simulation to be made. Made with [`Setup::new`] and changed field by field.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The data cache of each CPU, and the page.
    pub dcache: CacheGeometry,
    /// The instruction cache of each CPU; its page is the data cache's.
    pub icache: CacheGeometry,
    /// A second level, for what it does to costs.
    pub l2: Option<L2Config>,
    /// CPUs. Task `n` runs on CPU `n` modulo their number.
    pub cpus: usize,
    /// Frames of memory.
    pub frames: u64,
    /// Pages of swap, taken from the beginning of the disk.
    pub swap_pages: u32,
    /// Who keeps the colours equal.
    pub policy: PolicyKind,
    /// What full sets throw out.
    pub replacement: Replacement,
    /// What things cost.
    pub cost: CostModel,
    /// Decides all that is left to chance: replacement, and what happens at the kernel's preemption points.
    pub seed: u64,
    /// How many steps ahead accesses of other threads may happen in the middle of a system call; 0 for never.
    pub lookahead: usize,
    /// Kept windows of each CPU, rounded up to a multiple of the colours (policy [`KeptWindows`](PolicyKind::KeptWindows)).
    pub kept_windows: u32,
    /// Maintenance issued from these sites does nothing: to see what breaks then.
    pub mute: Vec<Site>,
    /// Whether every event is kept, for explanations.
    pub history: bool,
}

impl Setup {
    /// One CPU of this shape under the policy [`Window`](PolicyKind::Window), with 1024 frames and as many pages of swap.
    #[must_use]
    pub fn new(dcache: CacheGeometry) -> Self {
        Self {
            dcache,
            icache: dcache,
            l2: None,
            cpus: 1,
            frames: 1024,
            swap_pages: 1024,
            policy: PolicyKind::Window,
            replacement: Replacement::Lru,
            cost: COSTS[0],
            seed: 0,
            lookahead: 16,
            kept_windows: 64,
            mute: Vec::new(),
            history: false,
        }
    }

    /// What the judge is told of this computer.
    ///
    /// # Errors
    /// If it cannot judge caches of these shapes together ([`CodeCache`]).
    pub fn judged(&self) -> Result<congruent_shadow::Config, congruent_shadow::ConfigError> {
        congruent_shadow::Config::new(self.dcache).with_code(CodeCache::new(self.icache))
    }
}

/// Why a simulation cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SetupError {
    /// The computer cannot be built.
    Machine(congruent_machine::ConfigError),
    /// The judge cannot judge it.
    Judge(congruent_shadow::ConfigError),
    /// The library cannot serve it.
    Library(congruent::ConfigError),
    /// The disk has no room for the swap.
    DiskTooSmall {
        /// Sectors that the swap takes.
        swap: u64,
        /// Sectors of the disk.
        disk: u64,
    },
    /// Pages must hold whole sectors, and blocks of a disk are pages.
    Page(u32),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(error) => error.fmt(f),
            Self::Judge(error) => error.fmt(f),
            Self::Library(error) => error.fmt(f),
            Self::DiskTooSmall { swap, disk } => {
                write!(f, "the swap takes {swap} sectors, but the disk has {disk}; give it more, or ask for less swap")
            }
            Self::Page(page) => write!(f, "pages of {page} bytes; at most 64 KiB are simulated"),
        }
    }
}

impl core::error::Error for SetupError {}
