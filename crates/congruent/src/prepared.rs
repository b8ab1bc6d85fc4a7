//! Many mappings at once: prepared where sleeping is allowed, made under a lock.
//!
//! A fault that maps what lies around it, fork, `mremap` and `mmap` of a device's ring make many page-table entries with one lock held. All
//! that may wait, take rights away or fail is done before, for all of them; and if one cannot be had, none stays bound.

use core::fmt;

use crate::hardware::Platform;
use crate::{Congruent, Error, Frame, Prepared, Rights, VirtAddr};

/// Mappings of many frames for which everything has been done but to make the page-table entries: made by [`Congruent::prepare_all`].
///
/// While it lives the frames keep their colours, and nobody takes the rights away that were asked for.
#[must_use = "the frames are bound to their colours only while this lives"]
pub struct PreparedAll<'c, 'f, P: Platform> {
    congruent: &'c Congruent<P>,
    frames: &'f [Frame],
    first: VirtAddr,
    /// Those before this one are uses by themselves, the others holds.
    alone: usize,
}

impl<P: Platform> PreparedAll<'_, '_, P> {
    /// The frames, in the order of their addresses.
    #[must_use]
    pub const fn frames(&self) -> &[Frame] {
        self.frames
    }

    /// Makes the entries: `install` makes one, and is called for each. As with [`Prepared::install`](crate::Prepared::install), none of
    /// it can fail or wait. A mapping that turns out not to be wanted is left out by `install`; what the library thinks of
    /// it costs at most a revocation later.
    #[inline]
    pub fn install(self, mut install: impl FnMut(Frame, VirtAddr)) {
        for (index, &frame) in self.frames.iter().enumerate() {
            install(frame, self.congruent.page_from(self.first, index));
        }
    }
}

/// Also if the kernel's closure panics.
impl<P: Platform> Drop for PreparedAll<'_, '_, P> {
    fn drop(&mut self) {
        for (index, &frame) in self.frames.iter().enumerate() {
            if let (true, Ok(word)) = (P::ALIASES, self.congruent.word(frame)) {
                word.end::<P>(index >= self.alone);
            }
        }
    }
}

impl<P: Platform> fmt::Debug for PreparedAll<'_, '_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PreparedAll({} frames from {})", self.frames.len(), self.first)
    }
}

impl<P: Platform> Congruent<P> {
    /// [`prepare`](Self::prepare) for many frames, of which the first is to be mapped at `first` and each of the others at the next page.
    /// All of them are prepared when this returns, or none is.
    ///
    /// ```
    /// # use congruent::*;
    /// /// A fault in a file: maps what of it is in memory around the address.
    /// fn around<P: Platform>(kernel: &Congruent<P>, cached: &[Frame], first: VirtAddr) -> Result<(), Error> {
    ///     let prepared = kernel.prepare_all(cached, first, Rights::READ)?; // may sleep
    ///     // Take the page table's lock.
    ///     prepared.install(|frame, address| { /* set the entry, unless there is one */ });
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// That of the first frame which could not be prepared ([`prepare`](Self::prepare)); [`Error::Kernel`] if kernel code has one of them
    /// at whatever colour: such a frame is mapped by itself. Those before it may have been brought to their colour, and are not bound to it.
    pub fn prepare_all<'f>(&self, frames: &'f [Frame], first: VirtAddr, rights: Rights) -> Result<PreparedAll<'_, 'f, P>, Error> {
        let mut all = PreparedAll { congruent: self, frames: &frames[..0], first, alone: frames.len() };
        for (index, &frame) in frames.iter().enumerate() {
            let Prepared { mut counted, .. } = self.prepare(frame, self.page_from(first, index), rights)?;
            if P::ALIASES && !counted.is_counted() {
                // Nothing keeps it from being returned and used elsewhere, so it could not be told in the end from those that are.
                return Err(Error::Kernel(frame));
            }
            if index > all.alone {
                counted.hold();
            } else if counted.is_hold() {
                all.alone = index;
            }
            // Its use ends with all the others'.
            core::mem::forget(counted);
            all.frames = &frames[..=index];
        }
        Ok(all)
    }

    /// The address of a page, so many pages after another.
    fn page_from(&self, first: VirtAddr, index: usize) -> VirtAddr {
        first.add(index as u64 * u64::from(self.page()))
    }
}
