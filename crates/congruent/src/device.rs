//! Devices that read and write memory behind the caches.
//!
//! A device reads and writes memory; the newest bytes may be in a cache, in any colour. Which colour it is the frame's word knows,
//! so one operation at the right place does, where the linear address and a flush per user mapping would be needed otherwise.
//! Buffers may begin and end anywhere: the lines at either end keep their neighbours' bytes.

use core::fmt;

use crate::engine::Range;
use crate::hardware::Platform;
use crate::reach::Reach;
use crate::state::{DeviceWrites, DeviceWrote, Maintenance, Plan, Rules, State};
use crate::{Congruent, Error, Frame};

impl<P: Platform> Congruent<P> {
    /// A device is about to read `len` bytes of the frame: makes memory as new as the caches. Bytes stored after this may or may not
    /// reach the device, as on any machine.
    ///
    /// Counterpart of `arch_sync_dma_for_device` towards a device, and of `flush_anon_page`, `flush_dcache_folio` and
    /// `flush_kernel_vmap_range` before it.
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    /// kernel.device_reads(frame, 0, 512)?;
    /// /* tell the disk */
    /// Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownFrame`], [`Error::OutOfPage`]. What passes: [`Error::Busy`]; on a platform that does not
    /// [alias](crate::Platform::ALIASES), [`Error::NoSlot`] for frames without a permanent mapping.
    pub fn device_reads(&self, frame: Frame, offset: u32, len: u32) -> Result<(), Error> {
        let range = self.transfer_range(frame, offset, len)?;
        if P::COHERENT_DEVICES || len == 0 {
            return self.check_known(frame);
        }
        if !P::ALIASES {
            self.check_known(frame)?;
            let reach = Reach::new(self, frame, 0).map_err(|denied| self.denied(frame, denied))?;
            self.issue(Maintenance::WriteBack, reach.address, range);
            return Ok(());
        }
        let whole = range == self.whole_page();
        self.transact(frame, range, &|state: State, _: &Rules, plan: &mut Plan| {
            state.device_reads(whole, plan);
            Ok(())
        })
    }

    /// A device is about to write `len` bytes of the frame. Until the transfer is [completed](Transfer::complete) nobody gets new
    /// access to the frame ([`Error::Device`]); users keep the mappings they have, but if the bytes do not make whole lines they
    /// lose the right to store meanwhile, because a store next to them would put their old values into the cache.
    ///
    /// The bytes belong to the device until then: what users do to them through mappings they have is lost or not, as on any
    /// machine.
    ///
    /// Counterpart of `arch_sync_dma_for_device` from a device, and of `invalidate_kernel_vmap_range`.
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    /// let transfer = kernel.device_writes(frame, 0, 512)?;
    /// /* tell the disk, and wait for it */
    /// transfer.complete().map_err(|(_, error)| error)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownFrame`], [`Error::OutOfPage`], [`Error::PartOfLine`]. What passes: [`Error::Busy`], [`Error::MustRevoke`];
    /// [`Error::InUse`] if a window or hold is open, or the kernel has the frame, and the bytes do not make whole lines;
    /// [`Error::NoSlot`] as for [`device_reads`](Self::device_reads).
    pub fn device_writes(&self, frame: Frame, offset: u32, len: u32) -> Result<Transfer<'_, P>, Error> {
        let range = self.transfer_range(frame, offset, len)?;
        let transfer = || Transfer { congruent: self, frame, range };
        if P::COHERENT_DEVICES || len == 0 {
            return self.check_known(frame).map(|()| transfer());
        }
        let line = self.geometry().line();
        let aligned = (offset | len) & (line - 1) == 0;
        if !P::ALIASES {
            if !aligned {
                return Err(Error::PartOfLine { frame, offset, len });
            }
            self.check_known(frame)?;
            let reach = Reach::new(self, frame, 0).map_err(|denied| self.denied(frame, denied))?;
            self.issue(Maintenance::WriteBackInvalidate, reach.address, range);
            return Ok(transfer());
        }
        let whole = range == self.whole_page();
        self.transact(frame, range, &DeviceWrites { whole, aligned }).map(|()| transfer())
    }

    /// Devices that see the data caches do not see the instruction side.
    fn forget_fetchable(&self, frame: Frame) -> Result<(), Error> {
        if !P::ALIASES {
            return Ok(());
        }
        self.transact(frame, self.whole_page(), &|state: State, _: &Rules, plan: &mut Plan| {
            state.device_wrote_caches(plan);
            Ok(())
        })
    }

    /// A transfer that was [leaked](Transfer::leak), to be completed.
    ///
    /// ```
    /// # use congruent::*;
    /// /// The driver keeps the name; the interrupt handler ends what it names.
    /// # fn example<P: Platform>(kernel: &Congruent<P>, transfer: Transfer<'_, P>) -> Result<(), Error> {
    /// let kept: TransferId = transfer.leak();
    /// let again = kernel.resume_transfer(kept);
    /// again.complete().map_err(|(_, error)| error)
    /// # }
    /// ```
    pub const fn resume_transfer(&self, transfer: TransferId) -> Transfer<'_, P> {
        Transfer { congruent: self, frame: transfer.frame, range: transfer.range }
    }

    fn transfer_range(&self, frame: Frame, offset: u32, len: u32) -> Result<Range, Error> {
        self.check_bounds(frame, offset, len as usize)?;
        Ok(Range { offset, len })
    }
}

/// A transfer that goes on, by name: it cannot be copied, so it is ended once, and for the bytes for which it began.
#[must_use = "a transfer must be completed when the device has finished"]
#[derive(PartialEq, Eq, Debug)]
pub struct TransferId {
    frame: Frame,
    range: Range,
}

impl TransferId {
    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> Frame {
        self.frame
    }

    /// The bytes: where they begin in the page, and how many they are.
    #[must_use]
    pub const fn bytes(&self) -> (u32, u32) {
        (self.range.offset, self.range.len)
    }

    /// A transfer that was begun elsewhere.
    #[cfg(feature = "model")]
    pub const fn new(frame: Frame, offset: u32, len: u32) -> Self {
        Self { frame, range: Range { offset, len } }
    }
}

/// A device is writing a frame. The end of it must be told. One that is forgotten goes on, as far as the library knows: its frame
/// answers [`Error::Device`] to everybody, which is noticed, and no old bytes are read, which would not be.
#[must_use = "a transfer must be completed when the device has finished, or old bytes will be read"]
pub struct Transfer<'c, P: Platform> {
    congruent: &'c Congruent<P>,
    frame: Frame,
    range: Range,
}

impl<P: Platform> Transfer<'_, P> {
    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> Frame {
        self.frame
    }

    /// What names the transfer, for kernels that keep their requests where nothing with a lifetime can be. Its end is told with
    /// [`Congruent::resume_transfer`].
    pub const fn leak(self) -> TransferId {
        TransferId { frame: self.frame, range: self.range }
    }

    /// The device has finished, successfully or not: from now on the frame's users see what it wrote.
    ///
    /// # Errors
    /// The transfer is handed back with [`Error::Busy`]: complete it again, at once; an interrupt handler that can interrupt
    /// maintenance does so from deferred work. Or with [`Error::NoSlot`], as for [`device_reads`](Congruent::device_reads).
    pub fn complete(self) -> Result<(), (Self, Error)> {
        let (congruent, frame, range) = (self.congruent, self.frame, self.range);
        let ended = if range.len == 0 {
            Ok(())
        } else if P::COHERENT_DEVICES {
            congruent.forget_fetchable(frame)
        } else if P::ALIASES {
            let whole = range == congruent.whole_page();
            congruent.transact(frame, range, &DeviceWrote { whole })
        } else {
            Reach::new(congruent, frame, 0)
                .map(|mapping| congruent.issue(Maintenance::Invalidate, mapping.address, range))
                .map_err(|denied| congruent.denied(frame, denied))
        };
        match ended {
            Ok(()) => Ok(()),
            Err(error) => Err((self, error)),
        }
    }
}

impl<P: Platform> fmt::Debug for Transfer<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transfer({:#x}: {} bytes at {:#x})", self.frame.0, self.range.len, self.range.offset)
    }
}
