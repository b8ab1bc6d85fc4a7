//! The compact form of the many simple lines: a few bytes each, laid out so that an access that changes nothing costs one load.
//!
//! Per line a *key*: `0` for a line that no colour may hold; a colour and the epoch of its last access for a line that only
//! this colour may hold, with nothing stale and nothing lost; a set of colours for a line that several may hold, all clean and
//! new; or the place of the full record of any other line. Beside the keys one bit per byte of memory (dirty, or the set of
//! colours) and the code address of the last store. Arrays of structure, not structures in an array: loads read keys only, so
//! 64 bytes of host cache cover 512 bytes of guest memory.
//!
//! Guarantees: no index out of bounds panics; a frame costs [`bytes_per_frame`](Heads::bytes_per_frame), less than half of its
//! size for lines of 16 bytes and more. With shorter lines than 32 bytes the last store is remembered per 64 bytes, else per line.

use alloc::vec::Vec;

use congruent_geometry::{ByteMask, CacheGeometry};
use congruent_trace::Site;

use crate::shadow::ByteId;

/// Bits of a key that hold the colour.
const COLOUR_BITS: u32 = 10;
/// Bits of a key that hold the epoch.
const STAMP_BITS: u32 = 20;
const TAG_SHIFT: u32 = COLOUR_BITS + STAMP_BITS;
const TAG_SHARED: u32 = 2;
const TAG_RECORD: u32 = 3;

/// The bit of a simple line's key that takes stores, but not loads, off the quiet path.
pub(crate) const WATCHED: u32 = 1 << TAG_SHIFT;

/// The last epoch that a key has room for.
pub(crate) const LAST_EPOCH: u32 = (1 << STAMP_BITS) - 1;

/// The key of a line that only `colour` may hold, last accessed in epoch `stamp`.
#[inline]
pub(crate) const fn single_key(colour: u32, stamp: u32) -> u32 {
    stamp << COLOUR_BITS | colour
}

/// What a key says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Head {
    /// No colour may hold the line.
    Empty,
    /// Only this colour of the data cache may hold it, and its dirty bytes are in the bitmap. `watched`: stores
    /// have to be looked at, as the instruction cache may hold a copy that they make old (`code`), or nothing becomes dirty.
    Single { colour: u16, stamp: u32, watched: bool },
    /// The colours in the bitmap may hold it, all clean and new.
    Shared { stamp: u32 },
    /// It has a record of its own, at this place.
    Record(u32),
}

impl Head {
    pub const fn decode(key: u32) -> Self {
        let stamp = key >> COLOUR_BITS & LAST_EPOCH;
        match key >> TAG_SHIFT {
            TAG_SHARED => Self::Shared { stamp },
            TAG_RECORD => Self::Record(key & !(TAG_RECORD << TAG_SHIFT)),
            _ if key == 0 => Self::Empty,
            _ => Self::Single { colour: (key & ((1 << COLOUR_BITS) - 1)) as u16, stamp, watched: key & WATCHED != 0 },
        }
    }

    pub const fn encode(self) -> u32 {
        match self {
            Self::Empty => 0,
            Self::Single { colour, stamp, watched } => single_key(colour as u32, stamp) | if watched { WATCHED } else { 0 },
            Self::Shared { stamp } => TAG_SHARED << TAG_SHIFT | single_key(0, stamp),
            Self::Record(place) => TAG_RECORD << TAG_SHIFT | place,
        }
    }
}

/// One line of the touched memory: a page, and a line of that page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LineId {
    pub page: u32,
    pub line: u32,
}

/// The compact form of every line of every touched frame.
#[derive(Clone, Debug)]
pub(crate) struct Heads {
    keys: Vec<u32>,
    bits: Vec<u64>,
    sites: Vec<u32>,
    line_shift: u32,
    site_shift: u32,
    page_shift: u32,
}

/// log2 of the bytes that one word of the bitmap covers.
const WORD_SHIFT: u32 = 6;

impl Heads {
    pub fn new(geometry: &CacheGeometry) -> Self {
        let line_shift = geometry.line_shift();
        let site_shift = if line_shift < 5 { 6 } else { line_shift };
        Self { keys: Vec::new(), bits: Vec::new(), sites: Vec::new(), line_shift, site_shift, page_shift: geometry.page_shift() }
    }

    /// Accesses that do not cross a multiple of 2 to the power of this are within one line and one word of the bitmap.
    pub fn simple_shift(&self) -> u32 {
        if self.line_shift < WORD_SHIFT { self.line_shift } else { WORD_SHIFT }
    }

    /// Adds a page, its lines held by nobody.
    pub fn push_page(&mut self) {
        // Little more at a time: memory is promised, and what is reserved counts. Large blocks grow without being copied.
        fn grow<T: Clone>(array: &mut Vec<T>, by: usize, zero: T) {
            if array.capacity() - array.len() < by {
                array.reserve_exact(by.max(array.len() / 32 / by * by));
            }
            array.resize(array.len() + by, zero);
        }
        grow(&mut self.keys, 1 << (self.page_shift - self.line_shift), 0);
        grow(&mut self.bits, 1 << (self.page_shift - WORD_SHIFT), 0);
        grow(&mut self.sites, 1 << (self.page_shift - self.site_shift), 0);
    }

    /// The key of the line that holds a byte, if its page exists.
    #[inline]
    pub fn key_at(&self, byte: ByteId) -> Option<u32> {
        self.keys.get((byte.0 >> self.line_shift) as usize).copied()
    }

    /// Adds `size` bytes to the bitmap, all within the word that holds the first, and notes who stored them.
    #[inline]
    pub fn store_at(&mut self, byte: ByteId, size: u32, site: Site) {
        // Never shifts by more than 63, so that even a size that cannot be does not panic.
        let mask = (u64::MAX >> (64u32.wrapping_sub(size) & 63)) << (byte.0 & 63);
        if let Some(word) = self.bits.get_mut((byte.0 >> WORD_SHIFT) as usize) {
            *word |= mask;
        }
        if let Some(last) = self.sites.get_mut((byte.0 >> self.site_shift) as usize) {
            *last = site.0;
        }
    }

    #[inline]
    pub fn head(&self, id: LineId) -> Head {
        self.key_at(self.byte(id)).map_or(Head::Empty, Head::decode)
    }

    /// The first byte of a line.
    fn byte(&self, id: LineId) -> ByteId {
        ByteId(u64::from(id.page) << self.page_shift | u64::from(id.line) << self.line_shift)
    }

    pub fn set_head(&mut self, id: LineId, head: Head) {
        let at = self.byte(id).0 >> self.line_shift;
        if let Some(key) = self.keys.get_mut(at as usize) {
            *key = head.encode();
        }
    }

    /// The line's part of the bitmap.
    pub fn bits(&self, id: LineId) -> ByteMask {
        let (at, shift, mask) = self.bits_place(id);
        let word = |at: usize| self.bits.get(at).map_or(0, |word| *word);
        if self.line_shift > WORD_SHIFT {
            return ByteMask(u128::from(word(at + 1)) << 64 | u128::from(word(at)));
        }
        ByteMask(u128::from(word(at) >> shift & mask))
    }

    /// Whether the bitmap of a shared line names the colour.
    #[inline]
    pub fn names(&self, id: LineId, colour: u16) -> bool {
        let (at, shift, _) = self.bits_place(id);
        u32::from(colour) < self.shared_limit() && self.bits.get(at).is_some_and(|word| word >> shift >> colour & 1 != 0)
    }

    pub fn set_bits(&mut self, id: LineId, bits: ByteMask) {
        let (at, shift, mask) = self.bits_place(id);
        if let Some(word) = self.bits.get_mut(at) {
            *word = *word & !(mask << shift) | (bits.0 as u64 & mask) << shift;
        }
        if self.line_shift > WORD_SHIFT
            && let Some(word) = self.bits.get_mut(at + 1)
        {
            *word = (bits.0 >> 64) as u64;
        }
    }

    /// How many colours the bitmap of a line can name.
    pub fn shared_limit(&self) -> u32 {
        1 << self.simple_shift()
    }

    pub fn site(&self, id: LineId) -> Site {
        Site(self.sites.get(self.site_place(id)).copied().unwrap_or(0))
    }

    pub fn set_site(&mut self, id: LineId, site: Site) {
        let at = self.site_place(id);
        if let Some(last) = self.sites.get_mut(at) {
            *last = site.0;
        }
    }

    /// Pages so far.
    pub fn pages(&self) -> u32 {
        (self.keys.len() >> (self.page_shift - self.line_shift)) as u32
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.keys.capacity() * size_of::<u32>()
            + self.bits.capacity() * size_of::<u64>()
            + self.sites.capacity() * size_of::<u32>()
    }

    /// Bytes that one page takes.
    #[cfg(test)]
    pub fn bytes_per_frame(&self) -> usize {
        (4 << (self.page_shift - self.line_shift))
            + (8 << (self.page_shift - WORD_SHIFT))
            + (4 << (self.page_shift - self.site_shift))
    }

    /// Word, shift and mask of the line's bits (of its first 64, for longer lines).
    fn bits_place(&self, id: LineId) -> (usize, u32, u64) {
        let byte = self.byte(id).0;
        let bits = 1 << self.simple_shift();
        ((byte >> WORD_SHIFT) as usize, byte as u32 & ((1 << WORD_SHIFT) - 1), u64::MAX >> (64 - bits))
    }

    fn site_place(&self, id: LineId) -> usize {
        (self.byte(id).0 >> self.site_shift) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_costs_less_than_half_of_its_size() {
        for (line, bytes) in [(16, 1792), (32, 1536), (64, 1024), (128, 768)] {
            let mut heads = Heads::new(&CacheGeometry::new(64 << 10, 4, line).unwrap());
            assert_eq!(heads.bytes_per_frame(), bytes);
            for _ in 0..1000 {
                heads.push_page();
            }
            assert!(heads.bytes() < 1000 * 4096 / 2, "lines of {line} bytes: {}", heads.bytes());
        }
    }

    #[test]
    fn keys_tell_every_head_apart() {
        let heads = [
            Head::Empty,
            Head::Record(0),
            Head::Record((1 << 30) - 1),
            Head::Shared { stamp: 1 },
            Head::Shared { stamp: LAST_EPOCH },
        ];
        let singles = [(0, 1), (1023, 1), (0, LAST_EPOCH), (1023, LAST_EPOCH)];
        let singles =
            [false, true].into_iter().flat_map(|watched| singles.map(|(colour, stamp)| Head::Single { colour, stamp, watched }));
        for head in heads.into_iter().chain(singles) {
            assert_eq!(Head::decode(head.encode()), head);
        }
    }

    #[test]
    fn bits_of_neighbouring_lines_do_not_touch() {
        for line in [4, 8, 16, 32, 64, 128] {
            let mut heads = Heads::new(&CacheGeometry::new(64 << 10, 4, line).unwrap());
            heads.push_page();
            heads.push_page();
            let all = ByteMask::range(0, line);
            for page in 0..2 {
                for at in 0..4096 / line {
                    let id = LineId { page, line: at };
                    heads.set_bits(id, all);
                    let set = (0..4096 / line).filter(|other| !heads.bits(LineId { page, line: *other }).is_empty()).count();
                    assert_eq!((heads.bits(id), set), (all, 1));
                    heads.set_bits(id, ByteMask::EMPTY);
                }
            }
        }
    }
}
