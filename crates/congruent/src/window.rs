//! Settled frames and windows: the two steps of every access, in types.
//!
//! [`Settled`] is the proof that a frame may be accessed through a colour: its debts are paid, and as long as the proof lives
//! nobody can take the frame to another colour. A [`Window`] is an address; it can be made from a proof only. So a window on a
//! frame that owes a flush does not compile:
//!
//! ```compile_fail,E0599
//! # use congruent::*;
//! fn hasty(frame: Frame) {
//!     let _ = frame.open(); // a frame is not a proof
//! }
//! ```
//! and this is how it is done:
//! ```
//! # use congruent::*;
//! fn proper<P: Platform>(congruent: &Congruent<P>, frame: Frame) -> Result<(), Error> {
//!     let settled: Settled<'_, P, ReadOnly> = congruent.settle(frame, At::Home)?;
//!     let window = settled.open()?;
//!     let mut first = [0];
//!     window.read(0, &mut first)
//! }
//! ```

use core::fmt;
use core::marker::PhantomData;

use crate::engine::Asked;
use crate::error::Denied;
use crate::guard::Use;
use crate::hardware::Platform;
use crate::reach::Reach;
use crate::state::{AccessKind, Place};
use crate::{Colour, Congruent, Error, Frame, Hold, VirtAddr};

/// Through which colour a frame is to be accessed.
#[non_exhaustive]
pub enum At<P: ?Sized> {
    /// Whichever costs least. For every access of the kernel for a moment: the users' mappings stay, and there is never any
    /// alias maintenance for it but dropping an old copy.
    Home,
    /// This one, because somebody is going to access it there for long: a user, a `vmap` area, a ring.
    Colour(Colour<P>),
    /// That of the permanent kernel mapping, for code that knows only that address.
    Linear,
}

impl<P: ?Sized> Clone for At<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P: ?Sized> Copy for At<P> {}
impl<P: ?Sized> fmt::Debug for At<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home => f.write_str("Home"),
            Self::Colour(colour) => write!(f, "Colour({colour:?})"),
            Self::Linear => f.write_str("Linear"),
        }
    }
}

mod access {
    use crate::state::AccessKind;

    pub trait Sealed {
        const KIND: AccessKind;
    }
}

/// What a window is for: [`ReadOnly`] or [`ReadWrite`].
pub trait Access: access::Sealed {}

/// An [`Access`] that may store.
pub trait Stores: Access {}

/// Loads only.
#[derive(Clone, Copy, Debug)]
pub enum ReadOnly {}
/// Loads and stores.
#[derive(Clone, Copy, Debug)]
pub enum ReadWrite {}

impl access::Sealed for ReadOnly {
    const KIND: AccessKind = AccessKind::Read;
}
impl access::Sealed for ReadWrite {
    const KIND: AccessKind = AccessKind::Write;
}
impl Access for ReadOnly {}
impl Access for ReadWrite {}
impl Stores for ReadWrite {}

/// A frame, and the colour that it is bound to: what proofs and holds have in common.
pub(crate) struct Bound<'c, P: Platform> {
    pub(crate) congruent: &'c Congruent<P>,
    pub(crate) frame: Frame,
    pub(crate) colour: u32,
    pub(crate) counted: Use<'c, P>,
}

impl<P: Platform> Bound<'_, P> {
    pub(crate) const fn colour(&self) -> Colour<P> {
        Colour::new(self.colour as u16)
    }

    pub(crate) fn linear_address(&self) -> Option<VirtAddr> {
        let address = self.congruent.platform().linear(self.frame)?;
        (u32::from(self.congruent.colour(address).0) == self.colour).then_some(address)
    }
}

/// The proof that a frame may be accessed through one colour, and the reason why it stays so: while this lives, the frame is not
/// taken to another colour ([`Error::InUse`]).
///
/// One of these is for a moment. What is kept for long is made a [`Hold`].
#[must_use = "the frame is bound to its colour only while this lives"]
pub struct Settled<'c, P: Platform, A: Access> {
    bound: Bound<'c, P>,
    access: PhantomData<A>,
}

impl<P: Platform, A: Access> Settled<'_, P, A> {
    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> Frame {
        self.bound.frame
    }

    /// The colour through which it may be accessed.
    #[must_use]
    pub const fn colour(&self) -> Colour<P> {
        self.bound.colour()
    }

    /// The frame's permanent kernel address, if that is of this colour: what code that knows nothing of windows may use while this
    /// lives.
    #[must_use]
    pub fn linear_address(&self) -> Option<VirtAddr> {
        self.bound.linear_address()
    }
}

impl<'c, P: Platform, A: Access> Settled<'c, P, A> {
    /// The proof, for a use of the frame.
    #[inline]
    pub(crate) const fn new(congruent: &'c Congruent<P>, frame: Frame, colour: u32, counted: Use<'c, P>) -> Self {
        Self { bound: Bound { congruent, frame, colour, counted }, access: PhantomData }
    }

    /// The same, of the kind that it was counted for.
    #[inline]
    fn typed<B: Access>(self) -> Settled<'c, P, B> {
        Settled { bound: self.bound, access: PhantomData }
    }

    /// Maps the frame at an address of its colour: the permanent one if it fits, a window slot of this CPU otherwise.
    ///
    /// # Errors
    /// [`Error::NoSlot`].
    #[inline]
    pub fn open(self) -> Result<Window<'c, P, A>, Error> {
        if P::ALIASES {
            self.open_tracked()
        } else {
            self.reached()
        }
    }

    /// Compiled once.
    #[inline(never)]
    fn open_tracked(self) -> Result<Window<'c, P, A>, Error> {
        self.reached()
    }

    #[inline]
    fn reached(self) -> Result<Window<'c, P, A>, Error> {
        let Bound { congruent, frame, colour, .. } = self.bound;
        if let Some(address) = Reach::permanent(congruent, frame, colour) {
            return Ok(Window { reach: Reach::at_permanent(congruent, address), settled: self });
        }
        match Reach::window(congruent, frame, colour, false) {
            Ok(reach) => Ok(Window { reach, settled: self }),
            Err(denied) => Err(congruent.denied(frame, denied)),
        }
    }

    /// Makes it a hold, for long.
    pub fn hold(self) -> Hold<'c, P> {
        let mut bound = self.bound;
        bound.counted.hold();
        Hold { bound }
    }
}

/// A frame mapped at an address of the right colour, until dropped. It belongs to the CPU that opened it:
///
/// ```compile_fail,E0277
/// # use congruent::*;
/// fn elsewhere<P: Platform + Sync>(window: Window<'static, P, ReadOnly>) {
///     fn send<T: Send>(_: T) {}
///     send(window);
/// }
/// ```
/// and one for reading cannot store:
/// ```compile_fail,E0599
/// # use congruent::*;
/// fn scribble<P: Platform>(window: &Window<'_, P, ReadOnly>) {
///     let _ = window.write(0, b"x");
/// }
/// ```
#[must_use = "the frame is mapped only while this lives"]
pub struct Window<'c, P: Platform, A: Access> {
    // Dropped in this order: first the mapping goes, then the frame may move.
    reach: Reach<'c, P>,
    settled: Settled<'c, P, A>,
}

impl<P: Platform, A: Access> Window<'_, P, A> {
    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> Frame {
        self.settled.frame()
    }

    /// Its colour.
    #[must_use]
    pub const fn colour(&self) -> Colour<P> {
        self.settled.colour()
    }

    /// The first byte of the page, for the kernel's own routines. Do not store through the address of a window for reading.
    #[must_use]
    pub const fn address(&self) -> VirtAddr {
        self.reach.address
    }

    /// Copies bytes from offset `offset` of the page.
    ///
    /// # Errors
    /// [`Error::OutOfPage`].
    #[inline]
    pub fn read(&self, offset: u32, to: &mut [u8]) -> Result<(), Error> {
        let congruent = self.settled.bound.congruent;
        congruent.check_bounds(self.frame(), offset, to.len())?;
        // SAFETY: the page is mapped while `reach` lives, and the bytes lie within it.
        unsafe { congruent.platform().load(self.address().add(u64::from(offset)), to) };
        Ok(())
    }
}

impl<P: Platform, A: Stores> Window<'_, P, A> {
    /// Copies bytes to offset `offset` of the page.
    ///
    /// # Errors
    /// [`Error::OutOfPage`].
    #[inline]
    pub fn write(&self, offset: u32, from: &[u8]) -> Result<(), Error> {
        let congruent = self.settled.bound.congruent;
        congruent.check_bounds(self.frame(), offset, from.len())?;
        // SAFETY: as for `read`, and the mapping is writable.
        unsafe { congruent.platform().store(self.address().add(u64::from(offset)), from) };
        Ok(())
    }
}

impl<P: Platform> Congruent<P> {
    /// Pays what the frame owes for an access through a colour, and binds it to that colour.
    ///
    /// `At::Home` costs no maintenance, except that an old copy is dropped after a device wrote the frame. Other colours cost at
    /// most two operations, and user rights at other colours that contradict the access are revoked.
    ///
    /// ```
    /// # use congruent::*;
    /// /// A cipher that knows the permanent address only.
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    /// let settled = kernel.settle::<ReadWrite>(frame, At::Linear)?;
    /// let page = settled.linear_address();
    /// # let _ = page;
    /// Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Nothing has changed then. [`Error::UnknownFrame`]; [`Error::NoLinearMapping`] for `At::Linear`; [`Error::Kernel`] if kernel code has
    /// the frame. What passes: [`Error::Busy`], [`Error::MustRevoke`] (let go of locks), [`Error::InUse`], [`Error::Device`],
    /// [`Error::Full`].
    ///
    /// # Panics
    /// If the colour came from another `Congruent` of this platform type, whose geometry has more colours.
    #[inline]
    pub fn settle<A: Access>(&self, frame: Frame, at: At<P>) -> Result<Settled<'_, P, A>, Error> {
        if !P::ALIASES {
            self.check_known(frame)?;
            return Ok(Settled::new(self, frame, 0, Use::none()));
        }
        match self.bind(frame, at, <A as access::Sealed>::KIND) {
            Ok((counted, colour)) => Ok(Settled::new(self, frame, colour, counted)),
            Err(denied) => Err(self.denied(frame, denied)),
        }
    }

    /// A use of the frame, and the colour of it. Compiled once, for all kinds of access.
    #[inline(never)]
    fn bind(&self, frame: Frame, at: At<P>, kind: AccessKind) -> Result<(Use<'_, P>, u32), Denied> {
        let step = crate::state::Access { place: self.place_of(frame, at, true)?, kind };
        let done = self.take(&mut Asked { frame, range: self.whole_page(), step: &step, stores: None })?;
        Ok((Use::counted(&done), done.home))
    }

    #[inline(never)]
    pub(crate) fn window_tracked(&self, frame: Frame, kind: AccessKind) -> Result<Window<'_, P, ReadWrite>, Error> {
        match self.bind(frame, At::Home, kind) {
            Ok((counted, colour)) => Settled::new(self, frame, colour, counted).reached(),
            Err(denied) => Err(self.denied(frame, denied)),
        }
    }

    /// Does something at the frame's home, through a window. `what` is given the page's address, once.
    #[inline(never)]
    pub(crate) fn through_window(&self, frame: Frame, kind: AccessKind, what: &mut dyn FnMut(VirtAddr)) -> Result<(), Error> {
        let done = self.bind(frame, At::Home, kind).and_then(|(_counted, colour)| self.through(frame, colour, what));
        done.map_err(|denied| self.denied(frame, denied))
    }

    /// Does something to a frame that is bound to this colour, through a window. `what` is given the page's address, once.
    #[inline(never)]
    pub(crate) fn through(&self, frame: Frame, colour: u32, what: &mut dyn FnMut(VirtAddr)) -> Result<(), Denied> {
        if let Some(address) = Reach::permanent(self, frame, colour) {
            what(address);
            return Ok(());
        }
        let reach = Reach::window(self, frame, colour, false);
        // Looked at where it is. To move it, the processor would have to wait until all parts of it have been stored.
        reach.as_ref().map(|reach| what(reach.address)).map_err(|&denied| denied)
    }

    /// The place, as far as it is known without looking at the state.
    #[inline(never)]
    pub(crate) fn place_of(&self, frame: Frame, at: At<P>, may_look_up: bool) -> Result<Place, Denied> {
        Ok(match at {
            At::Home => Place::Home(if may_look_up { self.looked_up(frame) } else { None }),
            At::Colour(colour) => {
                self.assert_own(colour);
                Place::Fixed(colour.0)
            }
            At::Linear => Place::Fixed(self.linear_colour(frame).ok_or(Denied::NoLinearMapping)?.0),
        })
    }

    /// [`settle`](Self::settle) and [`open`](Settled::open) in one: a window at the frame's home colour.
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    /// let window = kernel.window::<ReadWrite>(frame)?;
    /// window.write(0, &[1])?;
    /// window.read(1, &mut [0])
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`settle`](Self::settle). If it is [`Error::NoSlot`], the frame may have been settled; nothing that it holds is lost.
    #[inline]
    pub fn window<A: Access>(&self, frame: Frame) -> Result<Window<'_, P, A>, Error> {
        if !P::ALIASES {
            return self.settle(frame, At::Home)?.open();
        }
        let Window { reach, settled } = self.window_tracked(frame, <A as access::Sealed>::KIND)?;
        Ok(Window { reach, settled: settled.typed() })
    }
}
