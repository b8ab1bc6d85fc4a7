//! A process's page table: here an array of entries, which a real kernel has in the form of its processor's.

use core::sync::atomic::{AtomicU32, Ordering};

use congruent::{Frame, VirtAddr};

use crate::PAGE;

/// Pages of an address space.
pub const PAGES: usize = 64;

/// Its first address.
pub const START: u64 = 0x0001_0000;

/// The end of its last page.
pub const END: u64 = START + PAGES as u64 * PAGE;

/// Whether an address can be mapped.
#[must_use]
pub const fn is_user(address: VirtAddr) -> bool {
    address.0 >= START && address.0 < END
}

const USED: u32 = 1;
const PRESENT: u32 = 2;
const WRITE: u32 = 4;
const MAY_WRITE: u32 = 8;
const EXECUTE: u32 = 16;
const SHARED: u32 = 32;
const COPY: u32 = 64;

/// What one page of an address space is, and what of it the processor knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The frame.
    pub frame: Frame,
    /// Whether the processor has it. If not, it was revoked, and the next access faults it in again.
    pub present: bool,
    /// Whether the processor lets users store. If not, although they may, the next store faults.
    pub write: bool,
    /// Whether users may store.
    pub may_write: bool,
    /// Whether users may execute.
    pub execute: bool,
    /// Whether the processes that have it stay together when one stores.
    pub shared: bool,
    /// Whether a store gets a copy of its own.
    pub copy: bool,
}

impl Entry {
    /// A page that the processor has, with all the rights that users have.
    #[must_use]
    pub const fn new(frame: Frame, write: bool, execute: bool) -> Self {
        Self { frame, present: true, write, may_write: write, execute, shared: false, copy: false }
    }
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

    /// Every page that is mapped, whether the processor knows it or not.
    pub fn mapped(&self) -> impl Iterator<Item = (VirtAddr, Entry)> {
        let address = |page: usize| VirtAddr(START + page as u64 * PAGE);
        let entry = |slot: &AtomicU32| unpack(slot.load(Ordering::Relaxed));
        self.entries.iter().enumerate().filter_map(move |(page, slot)| Some((address(page), entry(slot)?)))
    }
}

fn pack(entry: Entry) -> u32 {
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    (entry.frame.0 as u32) << 12
        | USED
        | flag(entry.present, PRESENT)
        | flag(entry.write, WRITE)
        | flag(entry.may_write, MAY_WRITE)
        | flag(entry.execute, EXECUTE)
        | flag(entry.shared, SHARED)
        | flag(entry.copy, COPY)
}

fn unpack(entry: u32) -> Option<Entry> {
    let on = |bit: u32| entry & bit != 0;
    on(USED).then(|| Entry {
        frame: Frame(u64::from(entry >> 12)),
        present: on(PRESENT),
        write: on(WRITE),
        may_write: on(MAY_WRITE),
        execute: on(EXECUTE),
        shared: on(SHARED),
        copy: on(COPY),
    })
}
