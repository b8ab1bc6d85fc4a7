//! Why a system call failed, in the words that programs know.

use core::fmt;

/// An error number. Nothing that was written before is lost by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Errno {
    /// There is no such file, pipe or mapping (`ENOENT`).
    NotFound,
    /// There is no such task (`ESRCH`).
    NoTask,
    /// The disk failed (`EIO`); as for memory that a failing disk should fill (`SIGBUS`).
    Io,
    /// No frame is free, and none could be freed (`ENOMEM`).
    NoMemory,
    /// The memory is not mapped, or not for this (`EFAULT`, `SIGSEGV`).
    Fault,
    /// The name is taken (`EEXIST`).
    Exists,
    /// Somebody uses it now (`EBUSY`).
    Busy,
    /// The call makes no sense: unaligned, out of range, at an address of the wrong colour (`EINVAL`).
    Invalid,
    /// The disk is full, or its swap (`ENOSPC`).
    NoSpace,
}

impl Errno {
    /// Its name as C programs know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "ENOENT",
            Self::NoTask => "ESRCH",
            Self::Io => "EIO",
            Self::NoMemory => "ENOMEM",
            Self::Fault => "EFAULT",
            Self::Exists => "EEXIST",
            Self::Busy => "EBUSY",
            Self::Invalid => "EINVAL",
            Self::NoSpace => "ENOSPC",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = match self {
            Self::NotFound => "no such file, pipe or mapping",
            Self::NoTask => "no such task",
            Self::Io => "the disk failed",
            Self::NoMemory => "out of memory",
            Self::Fault => "bad address",
            Self::Exists => "the name is taken",
            Self::Busy => "in use",
            Self::Invalid => "invalid argument",
            Self::NoSpace => "no space left on the disk",
        };
        write!(f, "{} ({says})", self.name())
    }
}

impl core::error::Error for Errno {}
