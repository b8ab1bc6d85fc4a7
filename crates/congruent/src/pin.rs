//! User pages that the kernel works on, with a finish that cannot be forgotten.
//!
//! A pinned page whose kernel-side work is never declared finished is the root of several defects that live in Linux: nothing
//! flushes at unpin. Here the work is a closure that must return [`Finished`], and only
//! [`Pinned::finish`] makes one; dropping the page instead does not compile:
//!
//! ```compile_fail,E0308
//! # use congruent::*;
//! fn forgetful<P: Platform>(congruent: &Congruent<P>, frame: Frame) {
//!     let _ = congruent.pin(frame, At::Home, |page| drop(page));
//! }
//! ```
//! nor does finishing one page in the place of another:
//! ```compile_fail
//! # use congruent::*;
//! fn mixed_up<P: Platform>(congruent: &Congruent<P>, a: Frame, b: Frame) {
//!     let _ = congruent.pin(a, At::Home, |first| {
//!         let mut second_finished = None;
//!         let _ = congruent.pin(b, At::Home, |second| { second_finished = Some(second.finish(Wrote::Nothing, ()));
//!         first.finish(Wrote::Nothing, ()) });
//!         second_finished.unwrap()
//!     });
//! }
//! ```
//! The right way:
//! ```
//! # use congruent::*;
//! fn receive<P: Platform>(congruent: &Congruent<P>, frame: Frame) -> Result<(), Error> {
//!     congruent.pin(frame, At::Home, |page| {
//!         let written = page.write(0, b"packet");
//!         page.finish(Wrote::Data, written)
//!     })?
//! }
//! ```
//! Work that outlives the call that began it is a device's: [`Transfer`](crate::Transfer), whose end is enforced at run time.

use core::marker::PhantomData;

use crate::hardware::Platform;
use crate::window::{At, ReadWrite};
use crate::{Congruent, Error, Frame, Settled, VirtAddr};

/// What the kernel stored in a pinned page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Wrote {
    /// Nothing.
    Nothing,
    /// Bytes that nobody executes.
    Data,
    /// Bytes that may be executed.
    Code,
}

/// A page that the kernel is working on; `'p` names this one page and no other.
pub struct Pinned<'p, P: Platform> {
    congruent: &'p Congruent<P>,
    settled: Settled<'p, P, ReadWrite>,
    // Invariant, so that no other page's lifetime fits.
    _page: PhantomData<fn(&'p ()) -> &'p ()>,
}

/// The proof that a pinned page was finished, with the result of the work.
#[derive(Debug)]
pub struct Finished<'p, R> {
    result: R,
    wrote: Wrote,
    _page: PhantomData<fn(&'p ()) -> &'p ()>,
}

impl<'p, P: Platform> Pinned<'p, P> {
    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> Frame {
        self.settled.frame()
    }

    /// The permanent kernel address, for code that knows no windows; `None` unless the page was pinned
    /// [`At::Linear`] or happens to be of that colour.
    #[must_use]
    pub fn linear_address(&self) -> Option<VirtAddr> {
        self.settled.linear_address()
    }

    /// Copies bytes out of the page.
    ///
    /// # Errors
    /// As [`Congruent::read`].
    pub fn read(&self, offset: u32, to: &mut [u8]) -> Result<(), Error> {
        self.congruent.read(self.frame(), offset, to)
    }

    /// Copies bytes into the page.
    ///
    /// # Errors
    /// As [`Congruent::write`].
    pub fn write(&self, offset: u32, from: &[u8]) -> Result<(), Error> {
        self.congruent.write(self.frame(), offset, from)
    }

    /// The kernel's work on the page is done.
    #[must_use = "the closure given to `pin` must return this"]
    pub fn finish<R>(self, wrote: Wrote, result: R) -> Finished<'p, R> {
        Finished { result, wrote, _page: PhantomData }
    }
}

impl<P: Platform> Congruent<P> {
    /// Works on a user's page: at its home colour, or [`At::Linear`] for a driver or a cipher that stores through the permanent
    /// address (users at other colours fault meanwhile, and wait for the finish).
    ///
    /// Counterpart of `get_user_pages`, `kmap` and `unpin_user_pages_dirty_lock`.
    ///
    /// # Errors
    /// As [`Congruent::settle`]; the closure has not run then, unless it says [`Wrote::Code`] and fetches could not be synchronised.
    pub fn pin<R>(
        &self,
        frame: Frame,
        at: At<P>,
        work: impl for<'p> FnOnce(Pinned<'p, P>) -> Finished<'p, R>,
    ) -> Result<R, Error> {
        let settled = self.settle::<ReadWrite>(frame, at)?;
        let Finished { result, wrote, .. } = work(Pinned { congruent: self, settled, _page: PhantomData });
        if wrote == Wrote::Code {
            self.sync_instructions(frame)?;
        }
        Ok(result)
    }
}
