//! Why an operation could not be done: always with the frame, never silently.

use core::fmt;

use crate::hardware::Platform;
use crate::state::Refusal;
use crate::{Congruent, Frame};

/// Why an operation could not be done. Nothing has changed then.
///
/// ```
/// # use congruent::*;
/// /// A fault: whatever passes by itself, the program simply faults again.
/// fn fault<P: Platform>(kernel: &Congruent<P>, frame: Frame, address: VirtAddr) -> Result<(), Error> {
///     loop {
///         match kernel.map_user(frame, address, Rights::READ, || { /* set the entry */ }) {
///             Err(Error::Busy(_)) => core::hint::spin_loop(), // another CPU, for a bounded time
///             Err(error) if error.is_transient() => return Ok(()), // let go of locks, let others run, fault again
///             done => return done,
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Error {
    /// [`WindowMapper::word`](crate::WindowMapper::word) knows no such frame.
    UnknownFrame(Frame),
    /// Another CPU is doing maintenance on the frame, or the code that this interrupt came from is. That takes a bounded time
    /// ([`WindowMapper::begin_busy`](crate::WindowMapper::begin_busy)): whatever locks are held, try again at once. Only an
    /// interrupt handler that can interrupt maintenance must leave it to deferred work.
    Busy(Frame),
    /// User rights to the frame must be taken away first, and that is not possible now: [`Platform::revoke`] would have blocked, or
    /// somebody else is at it. Let go of the locks that it may need (those of page tables, of reverse maps), let others run, and
    /// try again.
    ///
    /// [`Platform::revoke`]: crate::Platform::revoke
    MustRevoke(Frame),
    /// The frame is in use through another colour (a window is open, a hold or a mapping exists).
    InUse {
        /// The frame.
        frame: Frame,
        /// The number of the colour in use.
        home: u16,
    },
    /// A device is writing the frame. Wait for the transfer to end.
    Device(Frame),
    /// The frame belongs to kernel code that uses its permanent address ([`give_to_kernel`](crate::Congruent::give_to_kernel)): the
    /// library does not touch it, and nobody can map it at another colour.
    Kernel(Frame),
    /// More than half a dozen others are about to use the frame at this very moment: each is a thread between two instructions, that is
    /// to be counted with the others or is ending. Let them run, and try again. There is no other limit: of windows, holds, mappings
    /// being installed and transfers a frame can have as many as memory can remember.
    Full(Frame),
    /// All window slots of this CPU and context are taken: the area has too few for the nesting that happens, or threads that were
    /// preempted have them ([`WindowMapper::enter`](crate::WindowMapper::enter)).
    NoSlot {
        /// The frame that was to be mapped.
        frame: Frame,
        /// The CPU.
        cpu: u32,
        /// The level ([`CpuContext::level`](crate::CpuContext::level)).
        level: u8,
    },
    /// The bytes do not lie within the page.
    OutOfPage {
        /// The frame.
        frame: Frame,
        /// Where they begin, in bytes from the start of the page.
        offset: u32,
        /// How many they are.
        len: usize,
    },
    /// A device is to write a part of a line, on a platform that does not [alias](crate::Platform::ALIASES) and whose devices do not
    /// see the caches: nothing is tracked there that would keep others from storing to the rest of the line meanwhile. Use a
    /// buffer of whole lines; or `ALIASES = true`, which tracks frames on a cache with one colour as well.
    PartOfLine {
        /// The frame.
        frame: Frame,
        /// Where the bytes begin, in bytes from the start of the page.
        offset: u32,
        /// How many they are.
        len: u32,
    },
    /// The frame has no permanent kernel mapping.
    NoLinearMapping(Frame),
    /// A frame cannot be copied to itself.
    SameFrame(Frame),
}

impl Error {
    /// Whether the same call may succeed later, without the caller's doing: [`Busy`](Self::Busy), at once;
    /// [`MustRevoke`](Self::MustRevoke), [`InUse`](Self::InUse), [`Device`](Self::Device), [`Full`](Self::Full) and
    /// [`NoSlot`](Self::NoSlot), when somebody else has ended what he does. The others are mistakes, or final.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        use Error::{Busy, Device, Full, InUse, MustRevoke, NoSlot};
        matches!(self, Busy(_) | MustRevoke(_) | InUse { .. } | Device(_) | Full(_) | NoSlot { .. })
    }
}

/// Why something cannot be done, in two registers: what an [`Error`] says besides is known where the call returns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Denied {
    Refused(Refusal),
    UnknownFrame,
    NoLinearMapping,
    NoSlot { level: u8, cpu: u32 },
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<P: Platform> Congruent<P> {
    /// What a caller is told.
    #[cold]
    #[inline(never)]
    pub(crate) fn denied(&self, frame: Frame, denied: Denied) -> Error {
        let refusal = match denied {
            Denied::Refused(refusal) => refusal,
            Denied::UnknownFrame => return Error::UnknownFrame(frame),
            Denied::NoLinearMapping => return Error::NoLinearMapping(frame),
            Denied::NoSlot { level, cpu } => return Error::NoSlot { frame, cpu, level },
        };
        let home = self.state_of(frame).home();
        match refusal {
            Refusal::Busy => Error::Busy(frame),
            Refusal::Revoking => Error::MustRevoke(frame),
            Refusal::InUse => Error::InUse { frame, home },
            Refusal::Device => Error::Device(frame),
            Refusal::Kernel => Error::Kernel(frame),
            Refusal::Full => Error::Full(frame),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UnknownFrame(frame) => write!(f, "there is no frame {:#x}", frame.0),
            Self::Busy(frame) => write!(f, "maintenance is going on for frame {:#x}", frame.0),
            Self::MustRevoke(frame) => write!(f, "user rights to frame {:#x} cannot be taken away now", frame.0),
            Self::InUse { frame, home } => write!(f, "frame {:#x} is in use through colour {home}", frame.0),
            Self::Device(frame) => write!(f, "a device is writing frame {:#x}", frame.0),
            Self::Kernel(frame) => write!(f, "frame {:#x} belongs to the kernel, at its permanent address", frame.0),
            Self::Full(frame) => write!(f, "frame {:#x} has too many users at a time", frame.0),
            Self::NoSlot { frame, cpu, level } => {
                write!(f, "no window slot of level {level} is free on CPU {cpu} for frame {:#x}", frame.0)
            }
            Self::OutOfPage { frame, offset, len } => {
                write!(f, "{len} bytes at offset {offset:#x} do not lie within frame {:#x}", frame.0)
            }
            Self::PartOfLine { frame, offset, len } => {
                write!(f, "{len} bytes at offset {offset:#x} of frame {:#x} share a line with others", frame.0)
            }
            Self::NoLinearMapping(frame) => write!(f, "frame {:#x} has no permanent kernel mapping", frame.0),
            Self::SameFrame(frame) => write!(f, "frame {:#x} cannot be copied to itself", frame.0),
        }
    }
}

impl core::error::Error for Error {}
