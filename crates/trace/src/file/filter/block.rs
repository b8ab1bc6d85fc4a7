//! Blocks of memory, and where they are found: what the filter knows of each, and the masks of their bytes.

use std::collections::HashMap;
use std::vec::Vec;

use congruent_geometry::PhysAddr;

/// log2 of the length of a block.
pub const BLOCK_SHIFT: u32 = 7;
/// A block, in bytes: the longest line.
pub const BLOCK: u32 = 1 << BLOCK_SHIFT;
pub const PAGE_SHIFT: u32 = 12;
pub const BLOCKS: usize = 1 << (PAGE_SHIFT - BLOCK_SHIFT);
/// Blocks of a page that an operation by index tells apart: as many as the shortest way holds.
pub const CLASSES: usize = 8;
/// The shortest line, in bytes: what an access is sure to fill.
pub const SHORTEST: u32 = 16;
/// Shortest lines of a block.
pub const LINES: usize = (BLOCK / SHORTEST) as usize;

/// What is known of a block.
#[derive(Clone, Copy, Default)]
pub struct Block {
    /// The virtual page of the run, and the CPU; zero if nobody ever came.
    pub who: u64,
    pub generation: u32,
    /// Where what is put off is kept, plus one.
    pub pending: u32,
    /// Where its fetches are kept, plus one; zero if it was never fetched from.
    pub fetches: u32,
    /// The code address of the stores kept in this run, if it was one, and through which calls they came.
    pub storer: u32,
    pub storer_context: u32,
    /// More than one virtual page accessed it, or something else happened to it.
    pub shared: bool,
    /// A hazard was found in it: everything is kept from then on.
    pub alarmed: bool,
    /// It is on the list of its class.
    pub listed: bool,
    /// Something was stored to it: not all that caches may hold of it is the same.
    pub written: bool,
    /// Bytes loaded in this run (in a private block: filled), and stored.
    pub loaded: u128,
    pub stored: u128,
}

/// All blocks of the frames that were touched, by number.
#[derive(Default)]
pub struct Blocks {
    near: Vec<u32>,
    far: HashMap<u64, u32>,
    pages: Vec<[Block; BLOCKS]>,
    bases: Vec<u64>,
}

/// Frames below this are found by their number.
const NEAR_FRAMES: u64 = 1 << 20;

impl Blocks {
    /// How many there are.
    pub fn len(&self) -> u32 {
        (self.pages.len() * BLOCKS) as u32
    }

    #[inline]
    pub fn get(&self, at: u32) -> &Block {
        &self.pages[at as usize / BLOCKS][at as usize % BLOCKS]
    }

    #[inline]
    pub fn get_mut(&mut self, at: u32) -> &mut Block {
        &mut self.pages[at as usize / BLOCKS][at as usize % BLOCKS]
    }

    /// The physical address at which a block begins.
    pub fn base(&self, at: u32) -> u64 {
        self.bases[at as usize / BLOCKS] + u64::from(at) % BLOCKS as u64 * u64::from(BLOCK)
    }

    /// The block that holds an address, if its frame is known.
    #[inline]
    pub fn find(&self, paddr: PhysAddr) -> Option<u32> {
        let frame = paddr.0 >> PAGE_SHIFT;
        let page = if frame < NEAR_FRAMES {
            self.near.get(frame as usize).copied().filter(|page| *page != 0)
        } else {
            self.far.get(&frame).copied()
        };
        page.map(|page| (page - 1) * BLOCKS as u32 + (paddr.0 as u32 >> BLOCK_SHIFT) % BLOCKS as u32)
    }

    /// The block that holds an address, and whether its frame was not known before: then its blocks are copies of `fresh`.
    #[inline]
    pub fn find_or_make(&mut self, paddr: PhysAddr, fresh: Block) -> (u32, bool) {
        match self.find(paddr) {
            Some(at) => (at, false),
            None => (self.make(paddr, fresh), true),
        }
    }

    #[cold]
    fn make(&mut self, paddr: PhysAddr, fresh: Block) -> u32 {
        let frame = paddr.0 >> PAGE_SHIFT;
        self.pages.push([fresh; BLOCKS]);
        self.bases.push(frame << PAGE_SHIFT);
        let page = self.pages.len() as u32;
        if frame < NEAR_FRAMES {
            if self.near.len() <= frame as usize {
                self.near.resize(frame as usize + 1, 0);
            }
            self.near[frame as usize] = page;
        } else {
            self.far.insert(frame, page);
        }
        (page - 1) * BLOCKS as u32 + (paddr.0 as u32 >> BLOCK_SHIFT) % BLOCKS as u32
    }
}

/// The class of a block.
pub const fn class(at: u32) -> usize {
    at as usize % CLASSES
}

/// The mask of some bytes of a block.
#[inline]
pub fn bytes(first: u32, size: u32) -> u128 {
    (u128::MAX >> (BLOCK - size)) << first
}

/// The shortest lines that hold these bytes, whole.
#[inline]
pub fn widened(mask: u128) -> u128 {
    const FIRSTS: u128 = u128::MAX / ((1 << SHORTEST) - 1);
    // Gathers each line's bytes in its first one, then spreads that over the line.
    let mut gathered = mask;
    for shift in [8, 4, 2, 1] {
        gathered |= gathered >> shift;
    }
    (gathered & FIRSTS) * ((1 << SHORTEST) - 1)
}

/// The first address of every block that a range concerns.
pub fn blocks_of(paddr: PhysAddr, len: u64) -> impl Iterator<Item = PhysAddr> + use<> {
    let first = paddr.0 >> BLOCK_SHIFT;
    let end = if len == 0 { first } else { (paddr.0.saturating_add(len - 1) >> BLOCK_SHIFT) + 1 };
    (first..end).map(|block| PhysAddr(block << BLOCK_SHIFT))
}

/// The bytes of the block at `part` that a range concerns.
pub fn part_of(paddr: PhysAddr, len: u64, part: PhysAddr) -> u128 {
    let first = paddr.0.max(part.0);
    let end = paddr.0.saturating_add(len).min(part.0 + u64::from(BLOCK));
    bytes((first - part.0) as u32, (end - first) as u32)
}

/// Every stretch of set bits: the first and how many.
pub fn stretches(mut mask: u128) -> impl Iterator<Item = (u32, u32)> {
    core::iter::from_fn(move || {
        let first = (mask != 0).then(|| mask.trailing_zeros())?;
        let size = (!(mask >> first)).trailing_zeros();
        mask &= !bytes(first, size);
        Some((first, size))
    })
}
