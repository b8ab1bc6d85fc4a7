//! The kernel's own accesses to what frames hold: clear, copy, read, write, and their like in other address spaces.
//!
//! All of them go through windows of the frame's own colour, so users need not be disturbed and nothing is flushed: a user who has
//! the page mapped, in whatever address space and with whatever rights, sees the same bytes.
//!
//! Who stores a whole page may discard what the cache had of it. Where that is done the frame is busy until the last byte is stored:
//! nobody, neither reader nor device, sees what an earlier owner had left in memory. Only those who fetch through a mapping for
//! execution alone are not kept away: a kernel takes such a mapping away before it replaces the page.

use crate::engine::Asked;
use crate::guard::Use;
use crate::hardware::Platform;
use crate::state::{Access, AccessKind};
use crate::window::{At, ReadOnly, ReadWrite};
use crate::{Congruent, Error, Frame, VirtAddr};

impl<P: Platform> Congruent<P> {
    /// Stores every byte of a frame: `stores` is given the page's address, once.
    #[inline]
    fn overwrite(&self, frame: Frame, at: At<P>, mut stores: impl FnMut(VirtAddr)) -> Result<(), Error> {
        if !P::ALIASES {
            stores(self.window::<ReadWrite>(frame)?.address());
            return Ok(());
        }
        self.overwrite_tracked(frame, at, &mut stores)
    }

    #[inline(never)]
    fn overwrite_tracked(&self, frame: Frame, at: At<P>, stores: &mut dyn FnMut(VirtAddr)) -> Result<(), Error> {
        let done = self.place_of(frame, at, false).and_then(|place| {
            let step = Access { place, kind: AccessKind::Overwrite };
            let done = self.take(&mut Asked { frame, range: self.whole_page(), step: &step, stores: Some(&mut *stores) })?;
            if done.is_stored {
                return Ok(());
            }
            // Nothing was discarded, so others may look on.
            let _counted = Use::<P>::counted(&done);
            self.through(frame, done.home, stores)
        });
        done.map_err(|denied| self.denied(frame, denied))
    }

    /// Fills a frame with zeros, in the colour in which it will be used first: pass that of the faulting address.
    ///
    /// At most one operation: what a former owner left dirty in another colour is discarded. None if the allocator followed
    /// [`colour_hint`](Self::colour_hint). Counterpart of `clear_user_highpage`.
    ///
    /// ```
    /// # use congruent::*;
    /// /// A page of zeros for a fault at `address`: at the colour at which it is used first.
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame, address: VirtAddr) -> Result<(), Error> {
    /// kernel.clear(frame, At::Colour(kernel.colour(address)))?;
    /// kernel.map_user(frame, address, Rights::WRITE, || { /* set the entry */ })
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownFrame`]; [`Error::Kernel`] if kernel code has the frame. What passes: [`Error::Busy`], [`Error::MustRevoke`],
    /// [`Error::InUse`], [`Error::Device`], [`Error::Full`], [`Error::NoSlot`];
    /// [`Error::NoLinearMapping`] for [`At::Linear`].
    #[inline]
    pub fn clear(&self, frame: Frame, at: At<P>) -> Result<(), Error> {
        // SAFETY: the whole page is mapped, writable, while this runs.
        self.overwrite(frame, at, |page| unsafe { self.platform().zero(page, self.page()) })
    }

    /// Copies one frame to another: the copy of copy-on-write. The source is read where it is newest, though a thread may have
    /// written it a moment ago; pass the colour of the faulting address for the destination.
    ///
    /// At most one operation, as [`clear`](Self::clear). Counterpart of `copy_user_highpage`.
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, old: Frame, new: Frame, address: VirtAddr) -> Result<(), Error> {
    /// kernel.copy(old, new, At::Colour(kernel.colour(address)))
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`clear`](Self::clear), of either frame; [`Error::SameFrame`].
    #[inline]
    pub fn copy(&self, from: Frame, to: Frame, at: At<P>) -> Result<(), Error> {
        if from == to {
            return Err(Error::SameFrame(from));
        }
        if !P::ALIASES {
            let source = self.window::<ReadOnly>(from)?;
            // SAFETY: both pages are mapped while this runs, and are different frames.
            return self.overwrite(to, at, |page| unsafe { self.platform().copy(source.address(), page, self.page()) });
        }
        let mut result = Ok(());
        self.through_window(from, AccessKind::Read, &mut |source| {
            // SAFETY: as above.
            let stored = self.overwrite_tracked(to, at, &mut |page| unsafe { self.platform().copy(source, page, self.page()) });
            if stored.is_err() {
                result = stored;
            }
        })?;
        result
    }

    /// Fills a frame from kernel memory, the rest with zeros: a page of a file from a device that is read by the processor.
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame, index: u64, sector: &[u8]) -> Result<(), Error> {
    /// kernel.fill(frame, At::Colour(kernel.file_colour(index)), sector)
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`clear`](Self::clear); [`Error::OutOfPage`] if `bytes` are more than a page.
    pub fn fill(&self, frame: Frame, at: At<P>, bytes: &[u8]) -> Result<(), Error> {
        self.check_bounds(frame, 0, bytes.len())?;
        let len = bytes.len() as u32;
        // SAFETY: the whole page is mapped, writable, while this runs; `len` is at most a page.
        self.overwrite(frame, at, |page| unsafe {
            self.platform().store(page, bytes);
            self.platform().zero(page.add(u64::from(len)), self.page() - len);
        })
    }

    /// Reads a part of a frame: `read(2)` from the page cache, `PTRACE_PEEKDATA`, `/proc/pid/mem`, `process_vm_readv`.
    ///
    /// Counterpart of `flush_dcache_folio` before a read, and of `copy_from_user_page`.
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    /// let mut word = [0; 4];
    /// kernel.read(frame, 0x120, &mut word) // what a debugger peeks at
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownFrame`], [`Error::OutOfPage`]; [`Error::Kernel`] if kernel code has the frame. What passes: [`Error::Busy`],
    /// [`Error::Device`], [`Error::Full`], [`Error::NoSlot`]; under [`Policy::ReverseLookup`](crate::Policy::ReverseLookup) also
    /// [`Error::MustRevoke`].
    #[inline]
    pub fn read(&self, frame: Frame, offset: u32, to: &mut [u8]) -> Result<(), Error> {
        self.check_bounds(frame, offset, to.len())?;
        if !P::ALIASES {
            return self.window::<ReadOnly>(frame)?.read(offset, to);
        }
        // SAFETY: the page is mapped while this runs, and the bytes lie within it.
        self.through_window(frame, AccessKind::Read, &mut |page| unsafe { self.platform().load(page.add(offset.into()), to) })
    }

    /// Writes a part of a frame: `write(2)` to the page cache, `process_vm_writev`.
    ///
    /// Counterpart of `flush_dcache_folio` before and after a write.
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame, line: &[u8]) -> Result<(), Error> {
    /// match kernel.write(frame, 0, line) {
    ///     // Another CPU is at work on the frame, for a bounded time.
    ///     Err(Error::Busy(_)) => kernel.write(frame, 0, line),
    ///     done => done,
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`read`](Self::read), and [`Error::MustRevoke`] if users of several colours read the frame.
    #[inline]
    pub fn write(&self, frame: Frame, offset: u32, from: &[u8]) -> Result<(), Error> {
        self.check_bounds(frame, offset, from.len())?;
        if !P::ALIASES {
            return self.window::<ReadWrite>(frame)?.write(offset, from);
        }
        // SAFETY: as for `read`, and the mapping is writable.
        self.through_window(frame, AccessKind::Write, &mut |page| unsafe { self.platform().store(page.add(offset.into()), from) })
    }

    /// Writes a part of a frame that somebody may execute: `PTRACE_POKETEXT`, breakpoints, uprobes. Fetches that begin after this
    /// see it.
    ///
    /// Counterpart of `copy_to_user_page` on an executable mapping.
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    /// kernel.poke(frame, 0x40, &[0x4d, 0, 0, 0]) // `break`, little-endian MIPS
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`write`](Self::write). If it is [`Error::Busy`] or [`Error::Device`], the bytes may have been stored, and fetches not have been
    /// told: call again.
    pub fn poke(&self, frame: Frame, offset: u32, from: &[u8]) -> Result<(), Error> {
        self.write(frame, offset, from)?;
        self.sync_instructions(frame)
    }

    /// Writes a part of an argument page of a program that is going to see it at `address`, its final one, once it runs.
    ///
    /// Counterpart of `flush_arg_page`; if the stack is shifted later by a multiple of all colours, nothing more is due.
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame, stack: VirtAddr) -> Result<(), Error> {
    /// kernel.write_argument(frame, stack, b"/bin/sh\0")
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`clear`](Self::clear); [`Error::OutOfPage`].
    pub fn write_argument(&self, frame: Frame, address: VirtAddr, from: &[u8]) -> Result<(), Error> {
        let offset = self.geometry().page_offset(address.0);
        self.check_bounds(frame, offset, from.len())?;
        self.settle::<ReadWrite>(frame, At::Colour(self.colour(address)))?.open()?.write(offset, from)
    }
}
