//! Second-level tables of ARMv6: one that windows are entries of, and one of users' pages.
//!
//! A process's page table is `space.rs`; the processor's is a cache of it like a TLB, filled at faults and emptied with the TLB. Boot code links
//! both tables into the first-level table. Table walks go past the data cache, so every entry is written back. Sources: ARM1176JZF-S Technical
//! Reference Manual (DDI 0301H), "c8, TLB Operations Register", "Page table format" (subpages disabled, `XP` set).

use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};

use congruent::{Frame, VirtAddr};

use super::{Hardware, WINDOWS, cp15, dsb};
use crate::PAGE;
use crate::machine::SLOTS;
use crate::space::{AddressSpace, END, Entry, START};

/// A second-level table: 256 pages, aligned to its size.
#[repr(align(1024))]
struct Table([AtomicU32; 256]);

#[unsafe(no_mangle)]
static SKELETON_WINDOWS: Table = Table([const { AtomicU32::new(0) }; 256]);

#[unsafe(no_mangle)]
static SKELETON_USERS: Table = Table([const { AtomicU32::new(0) }; 256]);

// One table is enough for ways of up to 64 KiB; ARM1136 and ARM1176 have 16 at most.
const _: () = assert!(SLOTS << 16 <= 256 << 12);
// The other is of the first MiB.
const _: () = assert!(END <= 256 * PAGE);

/// An extended small page: bufferable, cacheable, TEX 1, which is normal memory, write-back, write-allocate; global, not shared.
const PAGE_OF_MEMORY: u32 = 1 << 6 | 0b1110;
const NO_EXECUTION: u32 = 1;
/// Access permissions: all for the kernel; and loads, or all, for users.
const KERNEL: u32 = 1 << 4;
const USER_LOADS: u32 = 2 << 4;
const USER_STORES: u32 = 3 << 4;

impl Table {
    fn set(&self, page: usize, entry: u32) {
        self.0[page].store(entry, Ordering::Relaxed);
        cp15!("c7, c10", "1", self.0[page].as_ptr() as u32); // clean one line
        dsb();
    }
}

/// Drops what the unified TLB has of one page.
fn forget(address: VirtAddr) {
    cp15!("c8, c7", "1", address.0 as u32);
    dsb();
}

impl Hardware {
    pub(crate) unsafe fn map(&self, slot: VirtAddr, frame: Frame) {
        let entry = (frame.0 as u32) << 12 | PAGE_OF_MEMORY | KERNEL | NO_EXECUTION;
        SKELETON_WINDOWS.set((slot.0 - WINDOWS) as usize >> 12, entry);
    }

    pub(crate) unsafe fn unmap(&self, slot: VirtAddr) {
        SKELETON_WINDOWS.set((slot.0 - WINDOWS) as usize >> 12, 0);
        forget(slot);
    }

    /// Has the processor know what a page table says of the page at `address`.
    pub(crate) fn refill(&self, space: &AddressSpace, address: VirtAddr) {
        let Some(Entry { present: true, frame, write, execute, .. }) = space.get(address) else { return };
        let rights = if write { USER_STORES } else { USER_LOADS } | if execute { 0 } else { NO_EXECUTION };
        SKELETON_USERS.set(address.0 as usize >> 12, (frame.0 as u32) << 12 | PAGE_OF_MEMORY | rights);
        // It may have been there with fewer rights.
        forget(address);
    }

    pub(crate) fn flush_own_user_tlb(&self) {
        self.flush_user_tlb();
    }

    pub(crate) fn flush_user_tlb(&self) {
        (START as usize >> 12..END as usize >> 12).for_each(|page| SKELETON_USERS.set(page, 0));
        cp15!("c8, c7", "0", 0);
        dsb();
    }
}
