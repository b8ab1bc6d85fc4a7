//! Addresses as distinct types: a virtual one cannot be passed where a physical one is meant.

use core::fmt;

/// A virtual address, in bytes. 32-bit guests use the low 32 bits, zero-extended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct VirtAddr(pub u64);

/// A physical address, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PhysAddr(pub u64);

/// A frame of physical memory, by number: its physical address divided by the page size.
///
/// The page size is that of the [`CacheGeometry`](crate::CacheGeometry) in use; frames of different page sizes must not be
/// mixed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Frame(pub u64);

macro_rules! address {
    ($type:ident, $letter:literal) => {
        impl $type {
            /// The address `bytes` further on; wraps around at 2^64.
            #[must_use]
            #[inline]
            pub const fn add(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }

            /// The address rounded down to a multiple of `align` bytes, which must be a power of two.
            #[must_use]
            #[inline]
            pub const fn align_down(self, align: u64) -> Self {
                Self(self.0 & !(align - 1))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, ":{:#x}"), self.0)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#010x}", self.0)
            }
        }
    };
}

address!(VirtAddr, "va");
address!(PhysAddr, "pa");

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame:{:#x}", self.0)
    }
}
