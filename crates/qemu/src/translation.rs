//! Where virtual addresses lead: a direct-mapped memory of recent translations, void at each TLB maintenance.
//!
//! Asking QEMU for the physical address of every access costs more than judging it. A guest cannot change where an address
//! leads without an instruction that `guest/` knows (a TLB write, a new address space, a new table base), so what was
//! true at the last access stays true until one of these runs.
//!
//! Remembered are cacheable memory and, apart from it, pages that only go past the cache to frames that nothing has reached through it: what
//! happens there cannot matter until something does. Everything else is rare and takes the slow path each time.

use congruent_shadow::{Alias, PageId};

const PAGE_SHIFT: u32 = 12;
/// What is remembered together, in bytes. No guest has smaller pages in use.
pub const GRANULE: u32 = 1 << PAGE_SHIFT;
const ENTRIES: usize = 1024;
/// Above every page number, below every generation: no tag of cacheable memory has it.
const HARMLESS: u64 = 1 << 31;

/// A page of cacheable memory and how it is reached.
#[derive(Clone, Copy, Default)]
pub struct Translation {
    /// The generation in the upper half, the virtual page number in the lower.
    tag: u64,
    /// The shadow of the frame.
    pub page: PageId,
    /// What the judge knows the virtual page by: its colour, unless tags are virtual.
    pub alias: Alias,
    /// Where the 4 KiB granule starts in the frame, for pages longer than that.
    pub offset: u32,
}

/// The remembered translations of one CPU.
pub struct Translations {
    /// Starts at one, so that the all-zero tag of an unused entry is never current.
    generation: u64,
    entries: Box<[Translation; ENTRIES]>,
}

impl Translations {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self { generation: 1 << 32, entries: Box::new([Translation::default(); ENTRIES]) }
    }

    /// Forgets everything, at the cost of one addition.
    pub fn forget(&mut self) {
        self.generation += 1 << 32;
    }

    /// What is known of the page of `vaddr`.
    #[inline]
    pub fn find(&self, vaddr: u32) -> Option<&Translation> {
        let page = vaddr >> PAGE_SHIFT;
        let entry = &self.entries[page as usize % ENTRIES];
        (entry.tag == self.generation | u64::from(page)).then_some(entry)
    }

    /// Whether the page of `vaddr` leads past the cache to a frame that was never in it.
    pub fn is_harmless(&self, vaddr: u32) -> bool {
        let page = vaddr >> PAGE_SHIFT;
        self.entries[page as usize % ENTRIES].tag == self.generation | HARMLESS | u64::from(page)
    }

    /// Remembers that the page of `vaddr` leads past the cache to a frame that was never in it. Void, like everything, after
    /// [`forget`](Self::forget), which is due when a frame gets into the cache.
    pub fn remember_harmless(&mut self, vaddr: u32) {
        let page = vaddr >> PAGE_SHIFT;
        self.entries[page as usize % ENTRIES].tag = self.generation | HARMLESS | u64::from(page);
    }

    /// Remembers where the page of `vaddr` leads.
    pub fn remember(&mut self, vaddr: u32, page: PageId, alias: Alias, offset: u32) {
        let number = vaddr >> PAGE_SHIFT;
        self.entries[number as usize % ENTRIES] = Translation { tag: self.generation | u64::from(number), page, alias, offset };
    }
}
