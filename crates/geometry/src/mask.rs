//! One bit per byte of a cache line.

use core::fmt;
use core::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, Not, Sub, SubAssign};

/// A set of bytes of one cache line; bit *n* is the byte at offset *n*. Lines of up to 128 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct ByteMask(pub u128);

impl ByteMask {
    /// No byte.
    pub const EMPTY: Self = Self(0);

    /// The `len` bytes that start at `offset`. `offset + len` is at most 128.
    ///
    /// # Panics
    /// In debug builds, if the bytes do not lie within 128.
    #[must_use]
    #[inline]
    pub const fn range(offset: u32, len: u32) -> Self {
        debug_assert!(offset + len <= 128);
        if len == 0 {
            Self::EMPTY
        } else {
            Self((u128::MAX >> (128 - len)) << offset)
        }
    }

    /// Whether no byte is in the set.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the two sets share a byte.
    #[must_use]
    #[inline]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// How many bytes are in the set.
    #[must_use]
    #[inline]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// The offset of the first byte, `None` if empty.
    #[must_use]
    #[inline]
    pub const fn first(self) -> Option<u32> {
        if self.0 == 0 {
            None
        } else {
            Some(self.0.trailing_zeros())
        }
    }

    /// The offsets of its bytes, ascending.
    pub fn offsets(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let at = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (at < u128::BITS).then_some(at as usize)
        })
    }

    /// The set grown to whole units of `unit` bytes (a power of two, at most 128): every unit of which a byte is in the set.
    ///
    /// Caches write back whole units, dirty bytes and their neighbours alike.
    #[must_use]
    pub const fn widen(self, unit: u32) -> Self {
        let mut left = self.0;
        let mut out = 0;
        while left != 0 {
            let start = left.trailing_zeros() / unit * unit;
            let whole = Self::range(start, unit).0;
            out |= whole;
            left &= !whole;
        }
        Self(out)
    }
}

impl BitOr for ByteMask {
    type Output = Self;
    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for ByteMask {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for ByteMask {
    type Output = Self;
    #[inline]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitAndAssign for ByteMask {
    #[inline]
    fn bitand_assign(&mut self, other: Self) {
        self.0 &= other.0;
    }
}

/// Set difference: the bytes of `self` that are not in `other`.
impl Sub for ByteMask {
    type Output = Self;
    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl SubAssign for ByteMask {
    #[inline]
    fn sub_assign(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl Not for ByteMask {
    type Output = Self;
    #[inline]
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl fmt::Debug for ByteMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes:{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_exactly_their_bytes() {
        for offset in 0..=128 {
            for len in 0..=128 - offset {
                let mask = ByteMask::range(offset, len);
                assert_eq!(mask.count(), len);
                assert_eq!(mask.first(), (len > 0).then_some(offset));
                assert!(mask.offsets().eq(offset as usize..(offset + len) as usize));
            }
        }
    }

    #[test]
    fn widening_covers_each_touched_unit_whole() {
        assert_eq!(ByteMask::range(3, 2).widen(4), ByteMask::range(0, 8));
        assert_eq!(ByteMask::range(16, 1).widen(16), ByteMask::range(16, 16));
        assert_eq!(ByteMask::EMPTY.widen(32), ByteMask::EMPTY);
        assert_eq!(ByteMask::range(127, 1).widen(128), ByteMask::range(0, 128));
    }
}
