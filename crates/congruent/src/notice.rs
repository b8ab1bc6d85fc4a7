//! Kernel code that asks nothing before it uses a frame at an address of its own, and can only say so: notices, and windows made of them.
//!
//! A kernel whose file systems and drivers know `page_address` and `flush_dcache_folio` has no guard to keep and nobody to refuse. It
//! says [`kernel_touches`](Congruent::kernel_touches) before, and [`kernel_stored`](Congruent::kernel_stored) after: two notices that
//! cannot fail, revoke nothing, and may be made under any lock.
//!
//! What that costs is a guarantee. Between the two, users who have the frame mapped at another colour go on loading what they had; and
//! what they store to the very lines that the kernel stores to is lost, or the kernel's is. From the second notice on everybody sees the
//! newest. A [`Window`](crate::Window) has no such gap; it may have to wait or to revoke instead.

use core::fmt;
use core::marker::PhantomData;

use crate::hardware::Platform;
use crate::reach::Reach;
use crate::state::{Place, Plan, Rules, State};
use crate::{At, Colour, Congruent, Error, Frame, VirtAddr};

impl<P: Platform> Congruent<P> {
    /// Kernel code is about to load from the frame through `at`, and perhaps to store: what it loads there is the newest.
    ///
    /// Say it when users may have stored since it was said last, and when a frame is allocated (what its former owner left dirty at
    /// another colour would come out over the kernel's stores). At most two operations; nothing at the home. Nobody is revoked.
    /// Waits for another CPU that maintains the frame, for a bounded time; must not interrupt such maintenance.
    ///
    /// If the kernel stores, then until it has [said so](Self::kernel_stored) nobody else stores to the same lines, announces a
    /// mapping of the frame, [settles](Self::settle) or overwrites it at a colour of his own choice, or has a counted
    /// [transfer](Self::device_writes) of it. (Linux: the folio is locked, or not yet anybody's.) Windows at the home, reads by
    /// devices, transfers [by range](Self::sync_for_device) and mappings that go are in nobody's way.
    ///
    /// Counterpart of `flush_dcache_folio` before the kernel reads.
    ///
    /// ```
    /// # use congruent::*;
    /// /// Old code copies through `page_address`.
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    /// kernel.kernel_touches(frame, At::Linear)?;
    /// /* load and store at the permanent address */
    /// kernel.kernel_stored(frame, At::Linear)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownFrame`], [`Error::NoLinearMapping`]: mistakes, and nothing else.
    ///
    /// # Panics
    /// With more than [`EXACT_COLOURS`](crate::EXACT_COLOURS) colours, unless the core is said to speculate
    /// ([`Config::speculative`](crate::Config::speculative)): accesses that nobody announces are like those of a core that does.
    pub fn kernel_touches(&self, frame: Frame, at: At<P>) -> Result<(), Error> {
        self.notice(frame, at, State::touched)
    }

    /// Kernel code has stored to the frame through `at`, having said before that it would touch it: from now on all users see it.
    ///
    /// Nothing is done while nobody maps the frame: it is known then where the newest bytes are. Otherwise the stores are written
    /// back, and what users' colours hold is dropped. Waits as [`kernel_touches`](Self::kernel_touches) does.
    ///
    /// Counterpart of `flush_dcache_folio` after the kernel has written.
    ///
    /// # Errors
    /// As [`kernel_touches`](Self::kernel_touches).
    ///
    /// # Panics
    /// As [`kernel_touches`](Self::kernel_touches).
    pub fn kernel_stored(&self, frame: Frame, at: At<P>) -> Result<(), Error> {
        self.notice(frame, at, State::stored)
    }

    fn notice(&self, frame: Frame, at: At<P>, step: fn(State, u16, &Rules, &mut Plan)) -> Result<(), Error> {
        if !P::ALIASES {
            return self.check_known(frame);
        }
        let colour = match self.place_of(frame, at, false).map_err(|denied| self.denied(frame, denied))? {
            Place::Fixed(colour) => colour,
            Place::Home(_) => self.word(frame)?.load::<P>(self.exact()).home(),
        };
        assert!(self.exact() || self.config().speculative, "notices need `speculative` where there are so many colours");
        self.word(frame)?;
        self.surely(frame, self.whole_page(), &|state: State, rules: &Rules, plan: &mut Plan| {
            step(state, colour, rules, plan);
            Ok(())
        });
        Ok(())
    }

    /// A window that takes nothing away: *flush at close*. It can be opened whatever users and devices do, revokes nobody, and is seen
    /// by users at other colours when it is closed; the weaker guarantee is that of [the notices](Self::kernel_touches).
    ///
    /// For kernels whose `kmap` cannot fail and is called under locks that a revocation would need. Where
    /// [`window`](Self::window) can be had, it is better, and cheaper.
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    /// let window = kernel.flushed_window(frame, At::Home)?;
    /// window.write(0, b"superblock")
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSlot`], which an area that is large enough excludes; [`Error::UnknownFrame`], [`Error::NoLinearMapping`].
    ///
    /// # Panics
    /// As [`kernel_touches`](Self::kernel_touches).
    pub fn flushed_window(&self, frame: Frame, at: At<P>) -> Result<FlushedWindow<'_, P>, Error> {
        let colour = match at {
            _ if !P::ALIASES => 0,
            At::Home => self.word(frame)?.load::<P>(self.exact()).home(),
            At::Colour(colour) => colour.0,
            At::Linear => self.linear_colour(frame).ok_or(Error::NoLinearMapping(frame))?.0,
        };
        // In this order: a core that speculates fills lines through a window as soon as there is one.
        self.kernel_touches(frame, At::Colour(Colour::new(colour)))?;
        let reach = Reach::new(self, frame, colour.into()).map_err(|denied| self.denied(frame, denied))?;
        Ok(FlushedWindow { congruent: self, frame, colour, reach, _one_cpu: PhantomData })
    }
}

/// A frame mapped for the kernel's loads and stores, whose users are shown the stores when this is dropped
/// ([`Congruent::flushed_window`]).
#[must_use = "the frame is mapped only while this lives"]
pub struct FlushedWindow<'c, P: Platform> {
    congruent: &'c Congruent<P>,
    frame: Frame,
    colour: u16,
    reach: Reach<'c, P>,
    _one_cpu: PhantomData<*mut ()>,
}

impl<P: Platform> FlushedWindow<'_, P> {
    /// The first byte of the page, for the kernel's own routines.
    #[must_use]
    pub const fn address(&self) -> VirtAddr {
        self.reach.address
    }

    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> Frame {
        self.frame
    }

    /// Copies bytes from offset `offset` of the page.
    ///
    /// # Errors
    /// [`Error::OutOfPage`].
    pub fn read(&self, offset: u32, to: &mut [u8]) -> Result<(), Error> {
        self.congruent.check_bounds(self.frame, offset, to.len())?;
        // SAFETY: the page is mapped while `reach` lives, and the bytes lie within it.
        unsafe { self.congruent.platform().load(self.address().add(u64::from(offset)), to) };
        Ok(())
    }

    /// Copies bytes to offset `offset` of the page.
    ///
    /// # Errors
    /// [`Error::OutOfPage`].
    pub fn write(&self, offset: u32, from: &[u8]) -> Result<(), Error> {
        self.congruent.check_bounds(self.frame, offset, from.len())?;
        // SAFETY: as for `read`, and the mapping is writable.
        unsafe { self.congruent.platform().store(self.address().add(u64::from(offset)), from) };
        Ok(())
    }
}

impl<P: Platform> Drop for FlushedWindow<'_, P> {
    fn drop(&mut self) {
        let known = self.congruent.kernel_stored(self.frame, At::Colour(Colour::new(self.colour)));
        debug_assert!(known.is_ok(), "it was known when this was opened");
    }
}

impl<P: Platform> fmt::Debug for FlushedWindow<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FlushedWindow({:#x} at colour {})", self.frame.0, self.colour)
    }
}
