//! The workloads by name.

use core::fmt;
use core::str::FromStr;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// What a workload is like.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// All of them, in the order in which they are listed to people.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The name as given on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// A process whose threads write while it forks; parent, threads and children break copies on write.
    ForkThreads = "fork-threads",
    /// Fork, exec, pipes and small files, as a shell's pipelines do.
    Shell = "shell",
    /// Three processes read, write and map the same files, shared and private.
    PageCache = "page-cache",
    /// 8 KiB blocks of a file with `O_DIRECT`, both directions, beside buffered access; memory aligned or not.
    DirectIo = "direct-io",
    /// A debugger reads and writes code and data of a program that runs.
    Debugger = "debugger",
    /// A ring that kernel and program both map.
    Ring = "ring",
    /// Many processes share the pages of one file, which is also read and written. Its scale is the number of processes.
    Sharers = "sharers",
    /// Memory is short and moves about: swap, mremap, mprotect, munmap, blocks of the file system.
    Memory = "memory",
    /// All of the above at once, step by step in turn.
    Everything = "everything",
    /// Any operation on anything, sensible or not.
    Chaos = "chaos",
}

impl Kind {
    /// The scale at which a workload shows what it is about and is quickly over.
    #[must_use]
    pub const fn small(self) -> u32 {
        match self {
            Self::Everything => 1,
            Self::PageCache => 24,
            Self::Memory | Self::DirectIo => 8,
            Self::Sharers => 3,
            _ => 2,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No workload has this name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownKind;

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected one of")?;
        for (i, kind) in Kind::ALL.iter().enumerate() {
            write!(f, "{} {kind}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownKind {}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.iter().copied().find(|kind| kind.name() == text).ok_or(UnknownKind)
    }
}
