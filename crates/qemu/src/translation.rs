//! Where virtual addresses lead: a direct-mapped memory of recent translations, void at each TLB maintenance.
//!
//! Asking QEMU for the physical address of every access costs more than judging it. A guest cannot change where an address
//! leads without an instruction that its decoder knows (a TLB write, a new address space, a new table base), so what was
//! true at the last access stays true until one of these runs.
//!
//! Where the same address means something else in each space (PA-RISC), a translation belongs to its space, and the space of the next
//! look-ups is set first. On other guests there is one space, and it costs nothing.
//!
//! Remembered are cacheable memory and, apart from it, pages that only go past the cache to frames that nothing has reached through it: what
//! happens there cannot matter until something does. Everything else is rare and takes the slow path each time.

use std::collections::HashMap;

use congruent_shadow::{Alias, ByteId};

const PAGE_SHIFT: u32 = 12;
/// What is remembered together, in bytes. No guest has smaller pages in use.
pub const GRANULE: u32 = 1 << PAGE_SHIFT;
const ENTRIES: usize = 1024;
/// Above every page number, below every generation: no tag of cacheable memory has it. Small enough to stand in an instruction.
const HARMLESS: u64 = 1 << 30;

/// Above every page number, below [`HARMLESS`]: the number of a space.
const SPACE_SHIFT: u32 = 20;
const SPACE: u64 = HARMLESS - (1 << SPACE_SHIFT);
/// As many spaces are told apart before all is forgotten.
const MOST_SPACES: usize = (SPACE >> SPACE_SHIFT) as usize + 1;

/// A page of cacheable memory and how it is reached.
#[derive(Clone, Copy, Default)]
pub struct Translation {
    /// The generation in the upper half; in the lower one the number of the space and the virtual page number.
    tag: u64,
    /// Where in the judge's memory the granule starts.
    start: ByteId,
    /// What the judge knows the virtual page by: its colour, unless tags are virtual.
    pub alias: Alias,
}

impl Translation {
    /// The byte that an address of this granule leads to.
    #[inline]
    pub fn byte(&self, vaddr: u32) -> ByteId {
        self.start.with(vaddr % GRANULE)
    }
}

/// What is known of an address.
#[derive(Clone, Copy)]
pub enum Known<'a> {
    /// It leads to cacheable memory.
    Cached(&'a Translation),
    /// It leads past the cache to a frame that was never in it.
    Harmless,
    /// Nothing.
    Nothing,
}

/// The remembered translations of one CPU.
pub struct Translations {
    /// The generation and the number of the space. Starts at one, so that the all-zero tag of an unused entry is never current.
    generation: u64,
    entries: Box<[Translation; ENTRIES]>,
    /// The space, and the one before it with its number.
    space: u32,
    before: (u32, u64),
    numbers: HashMap<u32, u64>,
}

impl Translations {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self {
            generation: 1 << 32,
            entries: Box::new([Translation::default(); ENTRIES]),
            space: 0,
            before: (0, 0),
            numbers: HashMap::from([(0, 0)]),
        }
    }

    /// What is asked and remembered from now on is of this space. The first one is space 0.
    #[inline]
    pub fn enter(&mut self, space: u32) {
        if space != self.space {
            self.change_space(space);
        }
    }

    fn change_space(&mut self, space: u32) {
        let left = (self.space, self.generation & SPACE);
        let (number, before) = if self.before.0 == space {
            (self.before.1, left)
        } else if let Some(&number) = self.numbers.get(&space) {
            (number, left)
        } else if self.numbers.len() < MOST_SPACES {
            let number = (self.numbers.len() as u64) << SPACE_SHIFT;
            self.numbers.insert(space, number);
            (number, left)
        } else {
            // Numbers are given anew, so what the old ones stood for must not be met.
            self.forget();
            self.numbers = HashMap::from([(space, 0)]);
            (0, (space, 0))
        };
        (self.space, self.before) = (space, before);
        self.generation = self.generation & !SPACE | number;
    }

    /// Forgets everything, at the cost of one addition.
    pub fn forget(&mut self) {
        self.generation += 1 << 32;
    }

    /// What is known of an address.
    #[inline]
    pub fn find(&self, vaddr: u32) -> Known<'_> {
        let page = vaddr >> PAGE_SHIFT;
        let entry = &self.entries[page as usize % ENTRIES];
        match entry.tag ^ (self.generation | u64::from(page)) {
            0 => Known::Cached(entry),
            HARMLESS => Known::Harmless,
            _ => Known::Nothing,
        }
    }

    /// Remembers that the page of `vaddr` leads past the cache to a frame that was never in it. Void, like everything, after
    /// [`forget`](Self::forget), which is due when a frame gets into the cache.
    pub fn remember_harmless(&mut self, vaddr: u32) {
        let page = vaddr >> PAGE_SHIFT;
        self.entries[page as usize % ENTRIES].tag = self.generation | HARMLESS | u64::from(page);
    }

    /// Remembers where the page of `vaddr` leads: `start` is where the granule starts.
    pub fn remember(&mut self, vaddr: u32, start: ByteId, alias: Alias) {
        let page = vaddr >> PAGE_SHIFT;
        self.entries[page as usize % ENTRIES] = Translation { tag: self.generation | u64::from(page), start, alias };
    }
}

#[cfg(test)]
mod tests {
    use congruent_geometry::{CacheGeometry, VirtAddr};
    use congruent_shadow::Config;
    use congruent_trace::IndexForm;

    use super::*;
    use crate::judge::Judge;

    const GEOMETRY: CacheGeometry = match CacheGeometry::new(64 << 10, 2, 32) {
        Ok(geometry) => geometry,
        Err(_) => panic!(),
    };

    /// Three frames of a shadow.
    fn starts() -> [ByteId; 3] {
        let mut judge = Judge::new(Config::new(GEOMETRY), IndexForm::Resolved);
        [0x1000, 0x2000, 0x3000].map(|base| {
            let page = judge.page(GEOMETRY.frame(congruent_geometry::PhysAddr(base)));
            judge.byte(page, 0)
        })
    }

    /// Where the byte at offset 0x123 of the page leads, if that is known.
    fn found(known: &Translations, page: u32) -> Option<ByteId> {
        match known.find(page | 0x123) {
            Known::Cached(entry) => Some(entry.byte(page | 0x123)),
            Known::Harmless | Known::Nothing => None,
        }
    }

    fn is_harmless(known: &Translations, vaddr: u32) -> bool {
        matches!(known.find(vaddr), Known::Harmless)
    }

    #[test]
    fn the_same_address_leads_elsewhere_in_each_space_until_all_is_forgotten() {
        let starts = starts();
        let colour = GEOMETRY.colour(VirtAddr(0x5000)).into();
        let mut known = Translations::new();
        for (space, start) in starts.iter().enumerate() {
            known.enter(space as u32 * 7);
            assert_eq!(found(&known, 0x5000), None);
            // Each has a place of its own only as long as no other space uses it.
            known.remember(0x5123, *start, colour);
            assert_eq!(found(&known, 0x5000), Some(start.with(0x123)));
        }
        known.enter(7);
        assert_eq!(found(&known, 0x5000), None);
        known.enter(14);
        assert_eq!(found(&known, 0x5000), Some(starts[2].with(0x123)));
        known.remember_harmless(0x6000);
        known.enter(0);
        assert!(!is_harmless(&known, 0x6000));
        known.enter(14);
        assert!(is_harmless(&known, 0x6000));
        known.forget();
        assert!(found(&known, 0x5000).is_none() && !is_harmless(&known, 0x6000));
    }

    #[test]
    fn more_spaces_than_have_numbers_are_still_told_apart() {
        let [first, second, _] = starts();
        let colour = GEOMETRY.colour(VirtAddr(0)).into();
        let mut known = Translations::new();
        known.enter(1);
        known.remember(0x1000, first, colour);
        for space in 2..3 * MOST_SPACES as u32 {
            known.enter(space);
            assert!(found(&known, 0x1000).is_none() && found(&known, 0x2000).is_none(), "space {space}");
            known.remember(0x2000, second, colour);
            known.enter(1);
            assert!(found(&known, 0x2000).is_none(), "space {space}");
        }
    }
}
