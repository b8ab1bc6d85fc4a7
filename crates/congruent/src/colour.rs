//! Colours that cannot be taken to another machine: each carries the platform it belongs to in its type.

use core::fmt;
use core::marker::PhantomData;

/// The index bits of an address above the page offset, on the machine `P`.
///
/// Only a [`Congruent<P>`](crate::Congruent) makes one. A colour of another platform type is another type:
///
/// ```compile_fail,E0308
/// # use congruent::{Colour, Congruent, Platform, At};
/// fn mix<A: Platform, B: Platform>(a: &Congruent<A>, b: &Congruent<B>, frame: congruent::Frame) {
///     let colour: Colour<A> = a.colour(congruent::VirtAddr(0x1000));
///     let _ = b.settle::<congruent::ReadOnly>(frame, At::Colour(colour));
/// }
/// ```
pub struct Colour<P: ?Sized>(pub(crate) u16, pub(crate) PhantomData<fn() -> *const P>);

impl<P: ?Sized> Colour<P> {
    pub(crate) const fn new(index: u16) -> Self {
        Self(index, PhantomData)
    }

    /// The colour as a number, `0..colours`, for indexing tables and for messages.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

// By hand, because a derive would ask the same of `P`.
impl<P: ?Sized> Clone for Colour<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P: ?Sized> Copy for Colour<P> {}
impl<P: ?Sized> PartialEq for Colour<P> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<P: ?Sized> Eq for Colour<P> {}
impl<P: ?Sized> fmt::Debug for Colour<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "colour:{}", self.0)
    }
}
