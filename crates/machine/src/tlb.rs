//! The translations a CPU remembers, with the attributes of real page tables, and the faults that come of them.
//!
//! Guarantees: a translation is used as it was when it was filled, however the tables have changed since, until it is dropped:
//! a kernel that forgets a TLB flush is found out. Entries are replaced in turn.
//! Not here: page tables (the kernel's, behind [`Refill`]), and permissions of user against kernel mode: the kernel model that
//! gives out addresses knows who runs.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use congruent_geometry::{Frame, VirtAddr};

/// The number of an address space, as the TLB knows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Asid(pub u16);

/// What a page may be used for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Rights {
    /// Loads.
    pub read: bool,
    /// Stores.
    pub write: bool,
    /// Instruction fetches.
    pub execute: bool,
}

impl Rights {
    /// Loads only.
    pub const READ: Self = Self { read: true, write: false, execute: false };
    /// Loads and stores.
    pub const WRITE: Self = Self { read: true, write: true, execute: false };
    /// All three.
    pub const ALL: Self = Self { read: true, write: true, execute: true };
}

/// What a page-table entry says of a page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Mapping {
    /// Where it is.
    pub frame: Frame,
    /// What it may be used for.
    pub rights: Rights,
    /// Whether accesses go through the caches.
    pub cached: bool,
    /// Whether it is the same in every address space.
    pub global: bool,
}

impl Mapping {
    /// A cached mapping of one address space.
    #[must_use]
    pub const fn new(frame: Frame, rights: Rights) -> Self {
        Self { frame, rights, cached: true, global: false }
    }

    /// The same for every address space.
    #[must_use]
    pub const fn global(self) -> Self {
        Self { global: true, ..self }
    }

    /// The same past the caches.
    #[must_use]
    pub const fn uncached(self) -> Self {
        Self { cached: false, ..self }
    }
}

/// Where a CPU finds a translation that its TLB does not have: the kernel's page tables.
pub trait Refill {
    /// What the tables say of the page that begins at `page`, in this address space; `None` if nothing.
    fn refill(&mut self, cpu: usize, asid: Asid, page: VirtAddr) -> Option<Mapping>;

    /// What the page that begins at `page` reaches, if CPUs translate it without their TLBs: the permanent mapping of memory, which
    /// is a segment of the address space on MIPS (KSEG0) and SH (P1), and few large entries elsewhere. Always the same.
    #[inline]
    fn direct(&self, page: VirtAddr) -> Option<Mapping> {
        let _ = page;
        None
    }
}

impl<F: FnMut(usize, Asid, VirtAddr) -> Option<Mapping>> Refill for F {
    fn refill(&mut self, cpu: usize, asid: Asid, page: VirtAddr) -> Option<Mapping> {
        self(cpu, asid, page)
    }
}

/// Why an access was not made. Nothing has changed, except perhaps the TLB.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fault {
    /// The first address that could not be accessed.
    pub vaddr: VirtAddr,
    /// Why.
    pub kind: FaultKind,
}

/// Why an address could not be accessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultKind {
    /// The tables say nothing of its page.
    NotMapped,
    /// Its page may not be loaded from.
    NotReadable,
    /// Its page may not be stored to.
    NotWritable,
    /// Instructions may not be fetched from its page.
    NotExecutable,
    /// Its page is mapped to a frame that the machine does not have: a bus error.
    NoMemory(Frame),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vaddr = self.vaddr;
        match self.kind {
            FaultKind::NotMapped => write!(f, "{vaddr} is not mapped"),
            FaultKind::NotReadable => write!(f, "{vaddr} is not readable"),
            FaultKind::NotWritable => write!(f, "{vaddr} is not writable"),
            FaultKind::NotExecutable => write!(f, "{vaddr} is not executable"),
            FaultKind::NoMemory(frame) => write!(f, "{vaddr} is mapped to {frame:?}, which does not exist"),
        }
    }
}

impl core::error::Error for Fault {}

/// What an access asks of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    Read,
    Write,
    Execute,
    /// Cache maintenance and prefetches: a translation, no right.
    Nothing,
}

impl Need {
    pub fn of(self, rights: Rights) -> Result<(), FaultKind> {
        match self {
            Self::Read if !rights.read => Err(FaultKind::NotReadable),
            Self::Write if !rights.write => Err(FaultKind::NotWritable),
            Self::Execute if !rights.execute => Err(FaultKind::NotExecutable),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    page: u64,
    asid: Asid,
    mapping: Mapping,
}

impl Entry {
    fn is_for(&self, page: u64, asid: Asid) -> bool {
        self.page == page && (self.mapping.global || self.asid == asid)
    }
}

/// A translation used lately: what the path of every access looks at. Always one that an entry says.
#[derive(Clone, Copy, Debug)]
struct Recent {
    page: u64,
    asid: Asid,
    mapping: Mapping,
}

/// Recent translations remembered, by the low bits of their page.
const RECENT: usize = 64;

/// No page has this number, as page numbers leave the offset's bits free.
const NO_PAGE: u64 = u64::MAX;

/// One CPU's TLB.
#[derive(Clone, Debug)]
pub(crate) struct Tlb {
    pub asid: Asid,
    recent: [Recent; RECENT],
    entries: Vec<Option<Entry>>,
    next: usize,
}

impl Tlb {
    pub fn new(entries: usize) -> Self {
        let mapping = Mapping::new(Frame(0), Rights::default());
        Self {
            asid: Asid(0),
            recent: [Recent { page: NO_PAGE, asid: Asid(0), mapping }; RECENT],
            entries: vec![None; entries],
            next: 0,
        }
    }

    /// The translation of a page by number, if it was used lately.
    #[inline]
    pub fn recent(&self, page: u64) -> Option<Mapping> {
        let recent = &self.recent[page as usize % RECENT];
        (recent.page == page && recent.asid == self.asid).then_some(recent.mapping)
    }

    /// The translation of a page by number, if the TLB has it.
    pub fn find(&mut self, page: u64) -> Option<Mapping> {
        if let Some(mapping) = self.recent(page) {
            return Some(mapping);
        }
        let asid = self.asid;
        let mapping = self.entries.iter().flatten().find(|entry| entry.is_for(page, asid))?.mapping;
        self.recent[page as usize % RECENT] = Recent { page, asid, mapping };
        Some(mapping)
    }

    /// Takes in what the tables said.
    pub fn insert(&mut self, page: u64, mapping: Mapping) {
        let asid = self.asid;
        if let Some(old) = self.entries[self.next].replace(Entry { page, asid, mapping }) {
            self.forget(old.page);
        }
        self.next = (self.next + 1) % self.entries.len();
        self.recent[page as usize % RECENT] = Recent { page, asid, mapping };
    }

    /// Drops what `is_meant` says of page, address space, and whether the mapping is global.
    pub fn drop_if(&mut self, mut is_meant: impl FnMut(u64, Asid, bool) -> bool) {
        for at in 0..self.entries.len() {
            if let Some(entry) = self.entries[at]
                && is_meant(entry.page, entry.asid, entry.mapping.global)
            {
                self.entries[at] = None;
                self.forget(entry.page);
            }
        }
    }

    fn forget(&mut self, page: u64) {
        let recent = &mut self.recent[page as usize % RECENT];
        if recent.page == page {
            recent.page = NO_PAGE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(frame: u64) -> Mapping {
        Mapping::new(Frame(frame), Rights::READ)
    }

    #[test]
    fn an_entry_belongs_to_its_address_space_unless_it_is_global() {
        let mut tlb = Tlb::new(4);
        tlb.insert(1, to(10));
        tlb.insert(2, to(20).global());
        assert_eq!((tlb.find(1), tlb.find(2)), (Some(to(10)), Some(to(20).global())));
        tlb.asid = Asid(7);
        assert_eq!((tlb.find(1), tlb.find(2)), (None, Some(to(20).global())));
    }

    #[test]
    fn the_oldest_entry_makes_room_and_is_not_remembered_elsewhere() {
        let mut tlb = Tlb::new(2);
        for page in 0..3 {
            tlb.insert(page, to(page));
        }
        assert_eq!((tlb.find(0), tlb.find(1), tlb.find(2)), (None, Some(to(1)), Some(to(2))));
        // Two pages that share a place among the recent ones.
        tlb.insert(64 + 2, to(9));
        assert_eq!((tlb.find(2), tlb.find(66), tlb.find(1)), (Some(to(2)), Some(to(9)), None));
    }

    #[test]
    fn a_dropped_page_is_gone_for_every_address_space_that_was_meant() {
        let mut tlb = Tlb::new(4);
        tlb.insert(1, to(10).global());
        tlb.asid = Asid(1);
        assert!(tlb.find(1).is_some());
        tlb.drop_if(|page, _, _| page == 1);
        assert_eq!(tlb.find(1), None);
        tlb.asid = Asid(0);
        assert_eq!(tlb.find(1), None);
    }
}
