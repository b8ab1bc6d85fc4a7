//! A process's page table: here an array of entries, which a real kernel has in the form of its processor's.

use core::sync::atomic::{AtomicU32, Ordering};

use congruent::{Frame, VirtAddr};

use crate::PAGE;

/// Pages of an address space.
pub const PAGES: usize = 64;

/// Its first address.
pub const START: u64 = 0x0001_0000;

const PRESENT: u32 = 1;
const WRITE: u32 = 2;
const EXECUTE: u32 = 4;
/// Writable but for copy-on-write: a store faults and gets a copy.
const COPY: u32 = 8;

/// What one page of an address space is mapped to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The frame.
    pub frame: Frame,
    /// Whether users may store.
    pub write: bool,
    /// Whether users may execute.
    pub execute: bool,
    /// Whether a store gets a copy of its own.
    pub copy: bool,
}

/// A page table.
#[derive(Debug)]
pub struct AddressSpace {
    entries: [AtomicU32; PAGES],
}

impl AddressSpace {
    pub(crate) const fn new() -> Self {
        Self { entries: [const { AtomicU32::new(0) }; PAGES] }
    }

    fn slot(&self, address: VirtAddr) -> Option<&AtomicU32> {
        let page = address.0.checked_sub(START)? / PAGE;
        self.entries.get(usize::try_from(page).ok()?)
    }

    /// What `address` is mapped to.
    #[must_use]
    pub fn get(&self, address: VirtAddr) -> Option<Entry> {
        unpack(self.slot(address)?.load(Ordering::Relaxed))
    }

    /// Changes an entry. The TLB is the caller's to flush.
    ///
    /// # Panics
    /// If `address` is not one of this kernel's user addresses.
    pub fn set(&self, address: VirtAddr, entry: Option<Entry>) {
        let Some(slot) = self.slot(address) else { panic!("{address} is no user address") };
        slot.store(entry.map_or(0, pack), Ordering::Relaxed);
    }

    /// Every page that is mapped.
    pub fn mapped(&self) -> impl Iterator<Item = (VirtAddr, Entry)> {
        let address = |page: usize| VirtAddr(START + page as u64 * PAGE);
        let entry = |slot: &AtomicU32| unpack(slot.load(Ordering::Relaxed));
        self.entries.iter().enumerate().filter_map(move |(page, slot)| Some((address(page), entry(slot)?)))
    }
}

fn pack(entry: Entry) -> u32 {
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    (entry.frame.0 as u32) << 12 | PRESENT | flag(entry.write, WRITE) | flag(entry.execute, EXECUTE) | flag(entry.copy, COPY)
}

fn unpack(entry: u32) -> Option<Entry> {
    let on = |bit: u32| entry & bit != 0;
    on(PRESENT).then(|| Entry { frame: Frame(u64::from(entry >> 12)), write: on(WRITE), execute: on(EXECUTE), copy: on(COPY) })
}
