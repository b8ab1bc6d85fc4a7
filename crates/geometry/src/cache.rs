//! The shape of one level-1 data cache, and what it says about addresses.

use core::fmt;

use crate::{Frame, PhysAddr, VirtAddr};

/// The index bits of an address above the page offset. Two addresses of one frame with the same colour select the same set.
///
/// Only a [`CacheGeometry`] makes one, so a colour is always below that geometry's [`colours`](CacheGeometry::colours).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Colour(u16);

impl Colour {
    /// The colour as a number, `0..colours`, for indexing tables.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "colour:{}", self.0)
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The shape of a virtually indexed, physically tagged, write-back data cache over pages of one size.
///
/// Sizes are in bytes and powers of two. A cache whose ways are no larger than a page has one colour: it cannot alias.
///
/// With the feature `serde` it is written as `size`, `ways`, `line`, `page` and `write_back_unit`, and what no cache can have is refused when
/// it is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(into = "crate::numbers::Numbers", try_from = "crate::numbers::Numbers")
)]
pub struct CacheGeometry {
    size: u32,
    ways: u32,
    line: u32,
    page: u32,
    write_back_unit: u32,
    // Derived once, because the path of every access needs them.
    line_shift: u32,
    page_shift: u32,
    colour_mask: u32,
}

/// Why a cache of this shape cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GeometryError {
    /// The named quantity is zero or not a power of two.
    NotPowerOfTwo(&'static str, u32),
    /// Lines are 4 to 128 bytes.
    LineOutOfRange(u32),
    /// Pages are 1 KiB to 1 MiB.
    PageOutOfRange(u32),
    /// One way would hold less than one line.
    WayShorterThanLine {
        /// Bytes in one way.
        way: u32,
        /// Bytes in one line.
        line: u32,
    },
    /// More than 1024 colours (PA-RISC's number, the most of any known core).
    TooManyColours(u32),
    /// More than 64 ways (ARM920T's number, the most of any core in view), which a machine word can name.
    TooManyWays(u32),
    /// The unit of write-back is longer than the line or not a power of two.
    WriteBackUnit(u32),
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotPowerOfTwo(what, value) => write!(f, "the {what} must be a power of two, not {value}"),
            Self::LineOutOfRange(line) => write!(f, "the line must be 4 to 128 bytes long, not {line}"),
            Self::PageOutOfRange(page) => write!(f, "the page size must be 1K to 1M, not {page} bytes"),
            Self::WayShorterThanLine { way, line } => {
                write!(f, "one way would be {way} bytes, shorter than a line of {line}")
            }
            Self::TooManyColours(colours) => write!(f, "{colours} colours; 1024 are supported"),
            Self::TooManyWays(ways) => write!(f, "{ways} ways; 64 are supported"),
            Self::WriteBackUnit(unit) => {
                write!(f, "the unit of write-back must be a power of two no longer than the line, not {unit}")
            }
        }
    }
}

impl core::error::Error for GeometryError {}

impl CacheGeometry {
    /// A cache of `size` bytes in `ways` ways with lines of `line` bytes, under 4 KiB pages. Lines are written back whole.
    ///
    /// # Errors
    /// [`GeometryError`] if no cache can have this shape.
    pub const fn new(size: u32, ways: u32, line: u32) -> Result<Self, GeometryError> {
        Self::with_page(size, ways, line, 4096)
    }

    /// As [`new`](Self::new), under pages of `page` bytes.
    ///
    /// # Errors
    /// [`GeometryError`] if no cache can have this shape.
    pub const fn with_page(size: u32, ways: u32, line: u32, page: u32) -> Result<Self, GeometryError> {
        if !size.is_power_of_two() {
            return Err(GeometryError::NotPowerOfTwo("cache size", size));
        }
        if !ways.is_power_of_two() {
            return Err(GeometryError::NotPowerOfTwo("number of ways", ways));
        }
        if ways > 64 {
            return Err(GeometryError::TooManyWays(ways));
        }
        if !line.is_power_of_two() {
            return Err(GeometryError::NotPowerOfTwo("line length", line));
        }
        if !page.is_power_of_two() {
            return Err(GeometryError::NotPowerOfTwo("page size", page));
        }
        if line < 4 || line > 128 {
            return Err(GeometryError::LineOutOfRange(line));
        }
        if page < 1 << 10 || page > 1 << 20 {
            return Err(GeometryError::PageOutOfRange(page));
        }
        let way = size / ways;
        if way < line {
            return Err(GeometryError::WayShorterThanLine { way, line });
        }
        let colours = if way > page { way / page } else { 1 };
        if colours > 1024 {
            return Err(GeometryError::TooManyColours(colours));
        }
        Ok(Self {
            size,
            ways,
            line,
            page,
            write_back_unit: line,
            line_shift: line.trailing_zeros(),
            page_shift: page.trailing_zeros(),
            colour_mask: colours - 1,
        })
    }

    /// The same cache with a dirty bit per `unit` bytes instead of per line (ARM1136 and ARM1176: half a line; ARM1136 TRM,
    /// "Cache organization").
    ///
    /// # Errors
    /// [`GeometryError::WriteBackUnit`] if `unit` is longer than the line or not a power of two.
    pub const fn with_write_back_unit(self, unit: u32) -> Result<Self, GeometryError> {
        if !unit.is_power_of_two() || unit > self.line {
            return Err(GeometryError::WriteBackUnit(unit));
        }
        Ok(Self { write_back_unit: unit, ..self })
    }

    /// The whole cache, in bytes.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Ways of each set.
    #[must_use]
    pub const fn ways(&self) -> u32 {
        self.ways
    }

    /// One line, in bytes.
    #[must_use]
    #[inline]
    pub const fn line(&self) -> u32 {
        self.line
    }

    /// One page, in bytes.
    #[must_use]
    #[inline]
    pub const fn page(&self) -> u32 {
        self.page
    }

    /// What is written back together, in bytes: the line, or less.
    #[must_use]
    #[inline]
    pub const fn write_back_unit(&self) -> u32 {
        self.write_back_unit
    }

    /// One way, in bytes.
    #[must_use]
    pub const fn way_size(&self) -> u32 {
        self.size / self.ways
    }

    /// Sets of the cache: lines of one way.
    #[must_use]
    pub const fn sets(&self) -> u32 {
        self.way_size() / self.line
    }

    /// How many colours a frame can be cached under; 1 when the cache cannot alias.
    #[must_use]
    #[inline]
    pub const fn colours(&self) -> u32 {
        self.colour_mask + 1
    }

    /// Whether one frame can be cached under several colours at once.
    #[must_use]
    pub const fn aliases(&self) -> bool {
        self.colour_mask != 0
    }

    /// Lines of one page.
    #[must_use]
    #[inline]
    pub const fn lines_per_page(&self) -> u32 {
        self.page >> self.line_shift
    }

    /// log2 of the line length.
    #[must_use]
    #[inline]
    pub const fn line_shift(&self) -> u32 {
        self.line_shift
    }

    /// log2 of the page size.
    #[must_use]
    #[inline]
    pub const fn page_shift(&self) -> u32 {
        self.page_shift
    }

    /// The colour of a virtual address.
    #[must_use]
    #[inline]
    pub const fn colour(&self, address: VirtAddr) -> Colour {
        Colour(((address.0 >> self.page_shift) as u32 & self.colour_mask) as u16)
    }

    /// The colour with this number, `None` if the geometry has no such colour.
    #[must_use]
    pub const fn colour_from_index(&self, index: usize) -> Option<Colour> {
        if index <= self.colour_mask as usize {
            Some(Colour(index as u16))
        } else {
            None
        }
    }

    /// All colours, in order.
    pub fn all_colours(&self) -> impl ExactSizeIterator<Item = Colour> + DoubleEndedIterator + Clone {
        (0..self.colours() as u16).map(Colour)
    }

    /// The set that a virtual address selects, `0..sets`.
    #[must_use]
    #[inline]
    pub const fn set(&self, address: VirtAddr) -> u32 {
        (address.0 >> self.line_shift) as u32 & (self.sets() - 1)
    }

    /// The set of the line number `line_in_page` of a page when it is reached through `colour`.
    #[must_use]
    #[inline]
    pub const fn set_of_line(&self, colour: Colour, line_in_page: u32) -> u32 {
        (((colour.0 as u32) << (self.page_shift - self.line_shift)) | line_in_page) & (self.sets() - 1)
    }

    /// The frame that a physical address lies in.
    #[must_use]
    #[inline]
    pub const fn frame(&self, address: PhysAddr) -> Frame {
        Frame(address.0 >> self.page_shift)
    }

    /// The first address of a frame.
    #[must_use]
    #[inline]
    pub const fn frame_base(&self, frame: Frame) -> PhysAddr {
        PhysAddr(frame.0 << self.page_shift)
    }

    /// The offset of an address in its page, in bytes.
    #[must_use]
    #[inline]
    pub const fn page_offset(&self, address: u64) -> u32 {
        address as u32 & (self.page - 1)
    }
}

impl fmt::Display for CacheGeometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: u32| bytes / 1024;
        let colours = self.colours();
        write!(
            f,
            "{} KiB, {} way{}, {}-byte lines, {} KiB pages: {} colour{}",
            kib(self.size),
            self.ways,
            if self.ways == 1 { "" } else { "s" },
            self.line,
            kib(self.page),
            colours,
            if colours == 1 { "" } else { "s" },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_the_way_over_the_page() {
        for (size, ways, line, colours) in
            [(32 << 10, 4, 32, 2), (64 << 10, 4, 32, 4), (16 << 10, 4, 32, 1), (16 << 10, 1, 32, 4), (4 << 20, 1, 32, 1024)]
        {
            let cache = CacheGeometry::new(size, ways, line).unwrap();
            assert_eq!(cache.colours(), colours, "{cache}");
            assert_eq!(cache.all_colours().len(), colours as usize);
            assert_eq!(cache.sets() * cache.ways() * cache.line(), cache.size());
        }
    }

    #[test]
    fn congruent_addresses_select_the_same_set_and_others_do_not() {
        let cache = CacheGeometry::new(64 << 10, 4, 32).unwrap();
        for a in (0..0x8000u64).step_by(32) {
            for b in [a + 0x1000, a + 0x4000, a + 0x6000] {
                let same_colour = cache.colour(VirtAddr(a)) == cache.colour(VirtAddr(b));
                assert_eq!(cache.set(VirtAddr(a)) == cache.set(VirtAddr(b)), same_colour);
            }
            let line_in_page = cache.page_offset(a) / 32;
            assert_eq!(cache.set_of_line(cache.colour(VirtAddr(a)), line_in_page), cache.set(VirtAddr(a)));
        }
    }

    #[test]
    fn shapes_that_cannot_be_are_refused() {
        use GeometryError::*;
        assert_eq!(CacheGeometry::new(48 << 10, 4, 32), Err(NotPowerOfTwo("cache size", 48 << 10)));
        assert_eq!(CacheGeometry::new(32 << 10, 0, 32), Err(NotPowerOfTwo("number of ways", 0)));
        assert_eq!(CacheGeometry::new(32 << 10, 128, 32), Err(TooManyWays(128)));
        assert_eq!(CacheGeometry::new(32 << 10, 4, 256), Err(LineOutOfRange(256)));
        assert_eq!(CacheGeometry::new(64, 4, 32), Err(WayShorterThanLine { way: 16, line: 32 }));
        assert_eq!(CacheGeometry::new(8 << 20, 1, 32), Err(TooManyColours(2048)));
        let cache = CacheGeometry::new(32 << 10, 4, 32).unwrap();
        assert_eq!(cache.with_write_back_unit(64), Err(WriteBackUnit(64)));
    }

    #[test]
    fn a_colour_exists_only_within_its_geometry() {
        let cache = CacheGeometry::new(32 << 10, 4, 32).unwrap();
        assert!(cache.colour_from_index(1).is_some());
        assert!(cache.colour_from_index(2).is_none());
    }
}
