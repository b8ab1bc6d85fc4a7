//! The MIPS hardware page walker: where a mapped address leads when no TLB entry says so.
//!
//! Source: *MIPS32 Privileged Resource Architecture* (MD00090), chapter "Hardware Page Table Walker", and the registers PWBase,
//! PWField, PWSize and PWCtl there.
//!
//! Not modelled: directory entries that are leaves (huge pages), tables outside kseg0.

use super::tlb::{Cacheability, EntryLo};

/// The registers that steer the walker.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Walker {
    /// The address of the topmost table.
    pub base: u32,
    /// Where the fields of an address are.
    pub field: u32,
    /// How wide they are.
    pub size: u32,
    /// Whether the walker is in use.
    pub control: u32,
}

/// The name of one of the registers of [`Walker`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WalkerRegister {
    /// PWBase.
    Base,
    /// PWField.
    Field,
    /// PWSize.
    Size,
    /// PWCtl.
    Control,
}

/// Where an address leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walked {
    /// The physical address.
    pub paddr: u32,
    /// The attribute of the page.
    pub cacheability: Cacheability,
}

const ENABLED: u32 = 1 << 31;
const PAGE_SHIFT: u32 = 12;

/// The registers hold six-bit fields, one per level from the topmost table down to the page table entry.
const DIRECTORIES: [u32; 3] = [24, 18, 12];
const TABLE: u32 = 6;
const ENTRY: u32 = 0;

impl Walker {
    /// Whether the walker is in use.
    pub fn is_on(&self) -> bool {
        self.control & ENABLED != 0
    }

    /// One of the registers, to be written.
    pub fn register_mut(&mut self, register: WalkerRegister) -> &mut u32 {
        match register {
            WalkerRegister::Base => &mut self.base,
            WalkerRegister::Field => &mut self.field,
            WalkerRegister::Size => &mut self.size,
            WalkerRegister::Control => &mut self.control,
        }
    }

    /// Where `vaddr` leads by tables that `word` reads from physical memory; `None` if the walker is off or the page is not
    /// mapped.
    pub fn walk(&self, vaddr: u32, mut word: impl FnMut(u32) -> Option<u32>) -> Option<Walked> {
        if !self.is_on() {
            return None;
        }
        let mut table = self.base;
        for level in DIRECTORIES {
            // A width of zero means that the level does not exist.
            if six_bits(self.size, level) != 0 {
                table = word(physical(table + 4 * self.index(vaddr, level))?)?;
            }
        }
        // Entries may be longer than a pointer.
        let entry_shift = 2 + six_bits(self.size, ENTRY);
        let entry = word(physical(table.checked_add(self.index(vaddr, TABLE) << entry_shift)?)?)?;
        // The software bits of the entry go away; what is left is laid out as EntryLo.
        let entry_lo = entry.rotate_right(six_bits(self.field, ENTRY));
        let half = EntryLo(entry_lo);
        half.is_valid().then(|| Walked {
            paddr: half.frame() << PAGE_SHIFT | vaddr & ((1 << PAGE_SHIFT) - 1),
            cacheability: half.cacheability(),
        })
    }

    fn index(&self, vaddr: u32, level: u32) -> u32 {
        let (start, width) = (six_bits(self.field, level), six_bits(self.size, level));
        vaddr.checked_shr(start).unwrap_or(0) & 1u32.checked_shl(width).map_or(u32::MAX, |bit| bit - 1)
    }
}

fn six_bits(register: u32, at: u32) -> u32 {
    register >> at & 0x3f
}

/// Tables are reached through kseg0.
fn physical(vaddr: u32) -> Option<u32> {
    (vaddr >> 29 == 0b100).then_some(vaddr & 0x1fff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// As a 32-bit kernel with 4 KiB pages sets it up: two levels of 10 bits, six software bits below EntryLo's.
    const WALKER: Walker =
        Walker { base: 0x8100_0000, field: 22 << 24 | 12 << 6 | 6, size: 10 << 24 | 10 << 6, control: ENABLED };

    fn walk(walker: Walker, vaddr: u32, memory: &[(u32, u32)]) -> Option<u32> {
        let memory: HashMap<u32, u32> = memory.iter().copied().collect();
        walker.walk(vaddr, |address| Some(memory.get(&address).copied().unwrap_or(0))).map(|walked| walked.paddr)
    }

    fn entry(frame: u32, valid: bool) -> u32 {
        (frame << 6 | u32::from(valid) << 1) << 6
    }

    #[test]
    fn two_levels_lead_to_the_frame() {
        // 0x7fdf_d21c: directory index 0x1ff, table index 0x1fd.
        let directory = (0x0100_0000 + 4 * 0x1ff, 0x8120_0000);
        let page = (0x0120_0000 + 4 * 0x1fd, entry(0x10e0, true));
        assert_eq!(walk(WALKER, 0x7fdf_d21c, &[directory, page]), Some(0x010e_021c));
    }

    #[test]
    fn what_is_not_mapped_leads_nowhere() {
        let directory = (0x0100_0000 + 4 * 0x1ff, 0x8120_0000);
        let page = (0x0120_0000 + 4 * 0x1fd, entry(0x10e0, false));
        assert_eq!(walk(WALKER, 0x7fdf_d21c, &[directory, page]), None);
        assert_eq!(walk(WALKER, 0x7fdf_d21c, &[]), None);
        assert_eq!(walk(Walker { control: 0, ..WALKER }, 0x7fdf_d21c, &[directory, page]), None);
    }

    #[test]
    fn longer_entries_are_stepped_over_whole() {
        let walker = Walker { size: WALKER.size | 1, ..WALKER };
        let directory = (0x0100_0000, 0x8120_0000);
        let page = (0x0120_0000 + 8, entry(7, true));
        assert_eq!(walk(walker, 0x1234, &[directory, page]), Some(0x7234));
    }
}
