//! Holds: what binds a frame to its colour for long, for a `vmap` area, a ring, a driver; any number of them.
//!
//! A hold is a use of the frame that nobody waits for. If each counted as the guards of windows do, users who open enough rings would
//! leave none for others; so all holds of a frame are one use together.

use core::fmt;

use crate::guard::Use;
use crate::hardware::Platform;
use crate::window::Bound;
use crate::{At, Colour, Congruent, Error, Frame, ReadWrite, VirtAddr};

/// A frame bound to its colour, until this is dropped: made by [`Settled::hold`](crate::Settled::hold).
///
/// ```
/// # use congruent::*;
/// /// Memory that the kernel maps at `address` for long, and users at addresses congruent with that.
/// fn ring<P: Platform>(congruent: &Congruent<P>, frame: Frame, address: VirtAddr) -> Result<Hold<'_, P>, Error> {
///     Ok(congruent.settle::<ReadWrite>(frame, At::Colour(congruent.colour(address)))?.hold())
/// }
/// ```
#[must_use = "the frame is bound to its colour only while this lives"]
pub struct Hold<'c, P: Platform> {
    pub(crate) bound: Bound<'c, P>,
}

impl<P: Platform> Hold<'_, P> {
    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> Frame {
        self.bound.frame
    }

    /// The colour that it is bound to.
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

    /// Gives up the guard of a hold that goes on, for kernels that keep it where no guard can live. It is ended by dropping what
    /// [`Congruent::resume`] returns.
    pub fn leak(self) {
        core::mem::forget(self);
    }
}

impl<P: Platform> fmt::Debug for Hold<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hold({:#x} at colour {})", self.bound.frame.0, self.bound.colour)
    }
}

impl<P: Platform> Congruent<P> {
    /// The guard of a hold that was [leaked](Hold::leak).
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    /// // The area is unmapped: its holds, leaked when it was made, end.
    /// drop(kernel.resume(frame)?);
    /// Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownFrame`].
    ///
    /// # Panics
    /// If nothing holds the frame. (That it is this hold, and was leaked, only the caller can know.)
    pub fn resume(&self, frame: Frame) -> Result<Hold<'_, P>, Error> {
        if !P::ALIASES {
            self.check_known(frame)?;
            return Ok(Hold { bound: Bound { congruent: self, frame, colour: 0, counted: Use::none() } });
        }
        let word = self.word(frame)?;
        assert!(word.is_held(), "nothing holds frame {:#x}", frame.0);
        let colour = word.load::<P>(self.exact()).home().into();
        Ok(Hold { bound: Bound { congruent: self, frame, colour, counted: Use::held(word) } })
    }

    /// Holds many frames at once, for a `vmap` area or a ring: the first at the colour `first`, each of the others at the next. All of
    /// them are held when this returns, or none is. Ended by [`release_all`](Self::release_all).
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frames: &[Frame], area: VirtAddr) -> Result<(), Error> {
    /// kernel.hold_all(frames, kernel.colour(area))?; // `vmap`
    /// /* map them from `area` on, use them, unmap them */
    /// kernel.release_all(frames) // `vunmap`
    /// # }
    /// ```
    ///
    /// # Errors
    /// That of the first frame which could not be held ([`settle`](Self::settle)).
    ///
    /// # Panics
    /// If the colour came from another `Congruent` of this platform type, whose geometry has more colours.
    pub fn hold_all(&self, frames: &[Frame], first: Colour<P>) -> Result<(), Error> {
        for (index, &frame) in frames.iter().enumerate() {
            match self.settle::<ReadWrite>(frame, At::Colour(self.object_colour(first, index as u64))) {
                Ok(settled) => settled.hold().leak(),
                Err(error) => {
                    self.release_all(&frames[..index])?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Ends the holds of [`hold_all`](Self::hold_all), or those of some of its frames.
    ///
    /// # Errors
    /// [`Error::UnknownFrame`].
    ///
    /// # Panics
    /// If nothing holds one of the frames.
    pub fn release_all(&self, frames: &[Frame]) -> Result<(), Error> {
        frames.iter().try_for_each(|&frame| self.resume(frame).map(drop))
    }
}
