//! The unified TLB of an SH-4 as software fills it: for each page, what the last entry that was loaded for it said.
//!
//! An access to a translated address succeeds only through an entry, and an entry that software has since invalidated is forgotten
//! here too, so what was loaded last is what holds. Replacement is not followed: an entry that the hardware has thrown out would be
//! loaded again, from page tables that cannot have changed without an invalidation.
//!
//! Where no entry was ever loaded and the hardware would take an exception to have one loaded (QEMU does not, at maintenance), the
//! page tables decide. They are the operating system's own: [`walk`] reads those of Linux.
//!
//! Source: *SH7751 Group User's Manual: Hardware*, chapter 3. Not modelled: pages of 1 KiB.

use std::collections::HashMap;

const PAGE_SHIFT: u32 = 12;
const SPACE: u32 = 0xff;
const SHARED: u32 = 1 << 1;
const VALID: u32 = 1 << 8;

/// The low half of a TLB entry: frame and attributes, laid out as PTEL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry(u32);

impl From<u32> for Entry {
    fn from(low: u32) -> Self {
        Self(low)
    }
}

impl Entry {
    /// It translates anything at all.
    pub fn is_valid(self) -> bool {
        self.0 & VALID != 0
    }

    /// Its page has 1 KiB.
    pub fn is_small(self) -> bool {
        self.pages() == 0
    }

    /// Accesses go through the cache.
    pub fn is_cached(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// Stores go to memory at once.
    pub fn is_write_through(self) -> bool {
        self.0 & 1 != 0
    }

    /// How many 4 KiB pages it covers; 0 for a page of 1 KiB.
    fn pages(self) -> u32 {
        match (self.0 >> 7 & 1, self.0 >> 4 & 1) {
            (0, 0) => 0,
            (0, _) => 1,
            (_, 0) => 16,
            _ => 256,
        }
    }

    /// The physical address of `vaddr`.
    fn physical(self, vaddr: u32) -> u32 {
        let within = (self.pages().max(1) << PAGE_SHIFT) - 1;
        self.0 & 0x1fff_f000 & !within | vaddr & within
    }
}

/// What has been loaded and not been invalidated.
#[derive(Default)]
pub struct Tlb {
    /// By page and address space; entries that all address spaces share are under [`ANY_SPACE`].
    loaded: HashMap<(u32, u16), Entry>,
}

const ANY_SPACE: u16 = 0x100;

impl Tlb {
    /// `ldtlb`: the registers PTEH and PTEL become an entry.
    pub fn load(&mut self, high: u32, low: u32) {
        let (space, entry) = ((high & SPACE) as u16, Entry(low));
        let first = high >> PAGE_SHIFT & !(entry.pages().max(1) - 1);
        for page in first..first + entry.pages().max(1) {
            // One of the two would be a second entry for the same address.
            self.loaded.remove(&(page, space));
            self.loaded.remove(&(page, ANY_SPACE));
            if low & VALID != 0 {
                self.loaded.insert((page, if low & SHARED != 0 { ANY_SPACE } else { space }), entry);
            }
        }
    }

    /// A store to the address array of the TLB: the entry of one page, or an entry by its number, becomes invalid.
    pub fn store_tag(&mut self, address: u32, value: u32, space: u16) {
        const ASSOCIATIVE: u32 = 1 << 7;
        if address & ASSOCIATIVE == 0 || value & VALID != 0 {
            // Which page had that number is not followed.
            return self.clear();
        }
        let page = value >> PAGE_SHIFT;
        let Some(entry) = self.find(page, space) else { return };
        let first = page & !(entry.pages().max(1) - 1);
        for page in first..first + entry.pages().max(1) {
            self.loaded.remove(&(page, space));
            self.loaded.remove(&(page, ANY_SPACE));
        }
    }

    /// Every entry becomes invalid.
    pub fn clear(&mut self) {
        self.loaded.clear();
    }

    fn find(&self, page: u32, space: u16) -> Option<Entry> {
        self.loaded.get(&(page, space)).or_else(|| self.loaded.get(&(page, ANY_SPACE))).copied()
    }

    /// The entry for an address.
    pub fn entry(&self, vaddr: u32, space: u16) -> Option<Entry> {
        self.find(vaddr >> PAGE_SHIFT, space)
    }

    /// Where an address leads by the entry for it.
    pub fn physical(&self, vaddr: u32, space: u16) -> Option<u32> {
        self.entry(vaddr, space).map(|entry| entry.physical(vaddr))
    }
}

/// Where an address leads by Linux's page tables: two levels of 1024 words, the first at `base`, both in area P1
/// (arch/sh/include/asm/pgtable-2level.h, pgtable_32.h; TTB is written by `set_TTB`, asm/mmu_context.h).
pub fn walk(base: u32, vaddr: u32, mut word: impl FnMut(u32) -> Option<u32>) -> Option<u32> {
    const PRESENT: u32 = VALID;
    let in_p1 = |address: u32| (address >> 29 == 0b100).then_some(address & 0x1fff_fffc);
    let table = word(in_p1(base)? + (vaddr >> 22) * 4)?;
    let entry = word((in_p1(table)? & !0xfff) + (vaddr >> PAGE_SHIFT & 0x3ff) * 4)?;
    (entry & PRESENT != 0).then(|| Entry(entry).physical(vaddr))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHED: u32 = 1 << 3;
    const SIZE_4K: u32 = 1 << 4;
    const SIZE_64K: u32 = 1 << 7;

    fn low(frame: u32, flags: u32) -> u32 {
        frame | VALID | flags
    }

    #[test]
    fn what_was_loaded_last_holds() {
        let mut tlb = Tlb::default();
        tlb.load(0x0040_0000 | 5, low(0x0c10_0000, SIZE_4K | CACHED));
        assert_eq!(tlb.physical(0x0040_0123, 5), Some(0x0c10_0123));
        assert_eq!(tlb.physical(0x0040_0123, 6), None);
        assert_eq!(tlb.physical(0x0040_1123, 5), None);
        tlb.load(0x0040_0000 | 5, low(0x0c20_0000, SIZE_4K));
        assert_eq!(tlb.physical(0x0040_0123, 5), Some(0x0c20_0123));
        assert!(!tlb.entry(0x0040_0123, 5).unwrap().is_cached());
    }

    #[test]
    fn shared_entries_hold_in_every_address_space_until_replaced() {
        let mut tlb = Tlb::default();
        tlb.load(0xc000_0000, low(0x0c10_0000, SIZE_4K | SHARED));
        assert_eq!(tlb.physical(0xc000_0010, 77), Some(0x0c10_0010));
        tlb.load(0xc000_0000 | 77, low(0x0c30_0000, SIZE_4K));
        assert_eq!(tlb.physical(0xc000_0010, 77), Some(0x0c30_0010));
        assert_eq!(tlb.physical(0xc000_0010, 78), None);
    }

    #[test]
    fn an_invalidation_by_page_takes_the_whole_entry_of_that_space_and_no_other() {
        let mut tlb = Tlb::default();
        tlb.load(0x0040_0000 | 5, low(0x0c10_0000, SIZE_64K));
        tlb.load(0x0040_0000 | 6, low(0x0c20_0000, SIZE_64K));
        assert_eq!(tlb.physical(0x0040_f004, 5), Some(0x0c10_f004));
        tlb.store_tag(0xf600_0080, 0x0040_3000 | 5, 5);
        assert_eq!(tlb.physical(0x0040_f004, 5), None);
        assert_eq!(tlb.physical(0x0040_f004, 6), Some(0x0c20_f004));
    }

    #[test]
    fn an_invalidation_by_number_is_taken_to_reach_every_page() {
        let mut tlb = Tlb::default();
        tlb.load(0x0040_0000, low(0x0c10_0000, SIZE_4K));
        tlb.store_tag(0xf600_0300, 0, 0);
        assert_eq!(tlb.physical(0x0040_0000, 0), None);
    }

    #[test]
    fn what_an_entry_says_is_read_from_its_bits() {
        let entry = Entry::from(low(0x0c10_0000, SIZE_4K | CACHED));
        assert!(entry.is_valid() && entry.is_cached() && !entry.is_write_through() && !entry.is_small());
        let entry = Entry::from(0x0c10_0001);
        assert!(!entry.is_valid() && !entry.is_cached() && entry.is_write_through() && entry.is_small());
    }

    #[test]
    fn the_tables_of_linux_lead_to_the_frame() {
        let memory: HashMap<u32, u32> =
            [(0x0c00_1000 + 4 * 0x37f, 0x8c00_2000), (0x0c00_2000 + 4 * 0x3f0, low(0x0c77_7000, SIZE_4K | CACHED))].into();
        let word = |address: u32| Some(memory.get(&address).copied().unwrap_or(0));
        assert_eq!(walk(0x8c00_1000, 0xdfff_0abc, word), Some(0x0c77_7abc));
        assert_eq!(walk(0x8c00_1000, 0xdfff_1abc, word), None);
        assert_eq!(walk(0x8c00_1000, 0x0040_0000, word), None);
        assert_eq!(walk(0, 0xdfff_0abc, word), None);
    }
}
