//! The TLB of MIPS32, which software fills: wired entries for windows, the others for users.
//!
//! A wired entry is not replaced by refills, so a window stays whatever else the TLB has to hold (SH's first `kmap_coherent` lost its entry in
//! mid-copy). One address space is in the TLB at a time, under one ASID: a switch empties it. Sources: MIPS32 Architecture Volume III, "Wired
//! Register", "TLB Initialization", "EntryLo0, EntryLo1".

use core::arch::asm;

use congruent::{Frame, VirtAddr};

use super::{Hardware, LINEAR, WINDOWS, cpus};
use crate::machine::SLOTS;
use crate::space::{AddressSpace, Entry};

/// EntryLo: cacheable, coherent with other CPUs (5 in bits 5 to 3); dirty, which means writable; valid; global.
const CACHEABLE: u32 = 5 << 3;
const WRITABLE: u32 = 1 << 2;
const VALID: u32 = 1 << 1;
const GLOBAL: u32 = 1;

pub(super) fn config1() -> u32 {
    let config1: u32;
    // SAFETY: reads a register that every Release 1 processor has.
    unsafe { asm!(".set noat", "mfc0 {0}, $16, 1", out(reg) config1, options(nomem, nostack)) };
    config1
}

/// Reserves the first entries of this CPU's TLB, and empties all.
pub(super) fn wire(entries: u32) {
    // SAFETY: the entries become ours; boot has put nothing in them.
    unsafe { asm!(".set noat", "mtc0 {0}, $6", "ehb", in(reg) entries, options(nostack)) };
    for entry in 0..entries {
        write_entry(entry, unused(entry), 0, 0);
    }
    flush();
}

/// An address for an entry that maps nothing: another one for each, and never looked up, because KSEG0 is not mapped by the TLB.
const fn unused(entry: u32) -> u32 {
    LINEAR as u32 + (entry << 13)
}

/// Drops every entry of this CPU's that is not wired.
pub(super) fn flush() {
    for entry in SLOTS as u32..=(config1() >> 25 & 0x3f) {
        write_entry(entry, unused(entry), 0, 0);
    }
}

/// Writes a TLB entry, interrupts off, and leaves EntryHi, which holds the current address space, as it was.
fn write_entry(entry: u32, hi: u32, lo0: u32, lo1: u32) {
    // SAFETY: the entry is a window's, or maps no kernel address.
    unsafe {
        asm!(
            ".set push",
            ".set noat",
            "di {status}",
            "ehb",
            "mfc0 {saved}, $10",
            "mtc0 {entry}, $0",
            "mtc0 {hi}, $10",
            "mtc0 {lo0}, $2",
            "mtc0 {lo1}, $3",
            "mtc0 $zero, $5",
            "ehb",
            "tlbwi",
            "ehb",
            "mtc0 {saved}, $10",
            "mtc0 {status}, $12",
            "ehb",
            ".set pop",
            status = out(reg) _,
            saved = out(reg) _,
            entry = in(reg) entry,
            hi = in(reg) hi,
            lo0 = in(reg) lo0,
            lo1 = in(reg) lo1,
            options(nostack),
        );
    }
}

/// The entry that has this address, if there is one.
fn probe(address: u32) -> Option<u32> {
    let index: i32;
    // SAFETY: EntryHi is of users' addresses, of which there is one space at a time.
    unsafe {
        asm!(
            ".set noat", "mtc0 {0}, $10", "ehb", "tlbp", "ehb", "mfc0 {1}, $0",
            in(reg) address, out(reg) index, options(nostack),
        );
    }
    u32::try_from(index).ok()
}

/// An entry that refills may replace, as the processor chooses it.
fn random() -> u32 {
    let index: u32;
    // SAFETY: reads a register, which keeps away from wired entries.
    unsafe { asm!(".set noat", "mfc0 {0}, $1", out(reg) index, options(nomem, nostack)) };
    index
}

impl Hardware {
    /// The entry of a window is that of its slot, because a slot has one window open at a time. The slots of the CPUs follow one another, and each
    /// has a TLB of its own.
    fn entry(&self, slot: VirtAddr) -> u32 {
        (slot.0 as u32 - WINDOWS as u32) / self.geometry.way_size() % SLOTS as u32
    }

    pub(crate) unsafe fn map(&self, slot: VirtAddr, frame: Frame) {
        // The other page of the pair is global, too, and not valid.
        let lo = (frame.0 as u32) << 6 | CACHEABLE | WRITABLE | VALID | GLOBAL;
        let odd = slot.0 & 0x1000 != 0;
        let (lo0, lo1) = if odd { (GLOBAL, lo) } else { (lo, GLOBAL) };
        write_entry(self.entry(slot), slot.0 as u32 & !0x1fff, lo0, lo1);
    }

    pub(crate) unsafe fn unmap(&self, slot: VirtAddr) {
        let entry = self.entry(slot);
        write_entry(entry, unused(entry), 0, 0);
    }

    /// Has the processor know what a page table says of the pair of pages around `address`.
    pub(crate) fn refill(&self, space: &AddressSpace, address: VirtAddr) {
        let pair = address.align_down(0x2000);
        let lo = |entry: Option<Entry>| match entry {
            Some(Entry { present: true, frame, write, .. }) => {
                (frame.0 as u32) << 6 | CACHEABLE | VALID | if write { WRITABLE } else { 0 }
            }
            _ => 0,
        };
        let place = probe(pair.0 as u32).unwrap_or_else(random);
        write_entry(place, pair.0 as u32, lo(space.get(pair)), lo(space.get(pair.add(0x1000))));
    }

    pub(crate) fn flush_own_user_tlb(&self) {
        flush();
    }

    pub(crate) fn flush_user_tlb(&self) {
        flush();
        cpus::ask_others(cpus::TRANSLATIONS);
    }
}
