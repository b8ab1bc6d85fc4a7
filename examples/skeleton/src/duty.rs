//! What a kernel owes the library, each of which a test can have this kernel leave out: `congruent check` must then find it.
//!
//! Only the feature `forgetful` makes anything of it, in a kernel for a board: one build is linked once for each duty, with the duty's number as
//! the value of a symbol. In all others [`forgotten`] is a constant.

use congruent::{Error, Frame, VirtAddr};

use crate::{Kernel, PAGE, arch};

/// A duty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Duty {
    /// `CacheOps::empty`, at boot.
    Empty = 1,
    /// `CacheOps::write_back`.
    WriteBack,
    /// `CacheOps::invalidate`.
    Invalidate,
    /// `CacheOps::write_back_invalidate`, which only cores are asked for that fill no line that nobody asked for.
    WriteBackInvalidate,
    /// `CacheOps::drop_instructions`.
    DropInstructions,
    /// `Platform::revoke`: page tables stay as they are.
    Revoke,
    /// The end of `Platform::revoke`: TLBs stay as they are.
    RevokeTlb,
    /// `CacheOps::drop_instructions` reaches other CPUs, too.
    OtherInstructions,
    /// A page that was revoked is announced when it comes back (`map_user`).
    Announce,
    /// System calls reach a user's memory through the library.
    Window,
    /// `write_protected` is said only when it is true.
    WriteProtected,
    /// `unmapped` is said only when it is true.
    Unmapped,
    /// `poke` where code is stored, not `write`.
    Instructions,
    /// `device_reads`.
    DeviceReads,
    /// `device_writes`.
    DeviceWrites,
    /// A transfer is completed when the device has finished, not sooner.
    Complete,
}

impl Duty {
    /// Every one.
    pub const ALL: [Self; 16] = [
        Self::Empty,
        Self::WriteBack,
        Self::Invalidate,
        Self::WriteBackInvalidate,
        Self::DropInstructions,
        Self::Revoke,
        Self::RevokeTlb,
        Self::OtherInstructions,
        Self::Announce,
        Self::Window,
        Self::WriteProtected,
        Self::Unmapped,
        Self::Instructions,
        Self::DeviceReads,
        Self::DeviceWrites,
        Self::Complete,
    ];
}

/// Whether this kernel leaves a duty out.
#[cfg(all(feature = "forgetful", target_os = "none"))]
pub fn forgotten(duty: Duty) -> bool {
    unsafe extern "C" {
        /// At the address that is the duty's number; nothing lies there.
        static skeleton_forgets: u8;
    }
    (&raw const skeleton_forgets).addr() == duty as usize
}

/// Whether this kernel leaves a duty out: never.
#[cfg(not(all(feature = "forgetful", target_os = "none")))]
#[inline]
pub const fn forgotten(_: Duty) -> bool {
    false
}

/// What a kernel does that knows of no colours: it loads a frame's bytes through its permanent address.
pub(crate) fn load_at_permanent_address(kernel: &Kernel, frame: Frame, offset: u32, to: &mut [u8]) -> Result<(), Error> {
    kernel.is_cached(frame)?;
    let address = VirtAddr(arch::LINEAR + frame.0 * PAGE + u64::from(offset));
    // SAFETY: the frame has a word, so the permanent mapping covers it; no Rust object lives there.
    unsafe { congruent::WindowMapper::load(kernel.platform(), address, to) };
    Ok(())
}
