//! Where to put mappings so that they cost nothing: at addresses congruent with each other.
//!
//! Any address is right (`user.rs`); these answers are about cost. The rule: page `index` of an object belongs at colour
//! `(first + index) mod colours`, where `first` is the object's own, 0 for files.

use crate::hardware::Platform;
use crate::{Colour, Congruent, VirtAddr};

/// What to tell a user who asks for an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Placement {
    /// The address is congruent: every mapping of the object can be used at the same time, at no cost.
    Free,
    /// Allowed and right, but users of other colours and this one take turns: each turn is a fault and an operation or two. For
    /// a private mapping that is written to (and so copied) soon, this is a good answer; for a shared one that is written to,
    /// refuse it with `EINVAL`, as Linux does for `MAP_FIXED | MAP_SHARED`, or allow it and let it be slow.
    TakingTurns,
}

impl<P: Platform> Congruent<P> {
    /// The colour of page `index` of an object whose first page has colour `first`.
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, first: Colour<P>) -> Result<(), Error> {
    /// let second = kernel.object_colour(first, 1);
    /// assert_eq!(kernel.object_colour(second, u64::from(kernel.geometry().colours()) - 1), first);
    /// Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the colour came from another `Congruent` of this platform type, whose geometry has more colours.
    #[must_use]
    pub fn object_colour(&self, first: Colour<P>, index: u64) -> Colour<P> {
        self.assert_own(first);
        let mask = u64::from(self.geometry().colours()) - 1;
        Colour::new(((u64::from(first.0) + index) & mask) as u16)
    }

    /// The colour of page `index` of a file: what a page-cache frame should be filled through
    /// ([`fill`](Self::fill), [`clear`](Self::clear)), before anybody maps it.
    #[must_use]
    pub fn file_colour(&self, index: u64) -> Colour<P> {
        self.object_colour(Colour::new(0), index)
    }

    /// The lowest address from `from` on for a mapping whose first page is to have `colour`: `mmap` without `MAP_FIXED`, `shmat`,
    /// `vmap`, the user's side of a ring. `None` past the end of the address space ([`Config::top`](crate::Config::top)).
    ///
    /// For `mremap` pass the colour of the old address: pages that move by a multiple of all colours move free of cost.
    ///
    /// ```
    /// # use congruent::*;
    /// /// `mmap` of a file from page `index` on, at an address of the kernel's choice.
    /// # fn example<P: Platform>(kernel: &Congruent<P>, index: u64) -> Result<(), Error> {
    /// let address = kernel.place(VirtAddr(0x1000_0000), kernel.file_colour(index));
    /// # let _ = address;
    /// Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// If the colour came from another `Congruent` of this platform type, whose geometry has more colours.
    #[must_use]
    pub fn place(&self, from: VirtAddr, colour: Colour<P>) -> Option<VirtAddr> {
        self.assert_own(colour);
        let page = u64::from(self.geometry().page());
        let start = VirtAddr(from.0.checked_add(page - 1)? & !(page - 1));
        let mask = u64::from(self.geometry().colours()) - 1;
        let ahead = (u64::from(colour.0).wrapping_sub(u64::from(self.colour(start).0))) & mask;
        start.0.checked_add(ahead * page).filter(|&address| address <= self.config().top.0).map(VirtAddr)
    }

    /// As [`place`](Self::place), the highest address that is not above `from`: for kernels that allocate top down.
    ///
    /// # Panics
    /// As [`place`](Self::place).
    #[must_use]
    pub fn place_below(&self, from: VirtAddr, colour: Colour<P>) -> Option<VirtAddr> {
        self.assert_own(colour);
        let page = u64::from(self.geometry().page());
        let start = VirtAddr(from.0 & !(page - 1));
        let mask = u64::from(self.geometry().colours()) - 1;
        let back = (u64::from(self.colour(start).0).wrapping_sub(u64::from(colour.0))) & mask;
        start.0.checked_sub(back * page).map(VirtAddr)
    }

    /// What a mapping at the fixed address `address` costs, if the object's page there belongs at `colour`.
    ///
    /// ```
    /// # use congruent::*;
    /// /// `MAP_FIXED`, as Linux decides.
    /// # fn example<P: Platform>(kernel: &Congruent<P>, address: VirtAddr, is_shared: bool, writes: bool, index: u64) -> Result<(), Error> {
    /// let free = kernel.judge(address, kernel.file_colour(index)) == Placement::Free;
    /// let allowed = free || !(is_shared && writes);
    /// # let _ = allowed;
    /// Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// As [`place`](Self::place).
    #[must_use]
    pub fn judge(&self, address: VirtAddr, colour: Colour<P>) -> Placement {
        self.assert_own(colour);
        if self.colour(address) == colour {
            Placement::Free
        } else {
            Placement::TakingTurns
        }
    }
}
