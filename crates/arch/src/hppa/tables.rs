//! Where Linux on PA-RISC says that addresses lead, for maintenance that no translation was loaded for.
//!
//! Hardware would trap there and have one loaded; QEMU does nothing, and so the answer is what the kernel's handlers would have loaded.
//! Sources: arch/parisc/kernel/entry.S (`L2_ptep`, `get_pgd`, `do_alias`), include/asm/pgtable.h and fixmap.h of Linux 6.12.
//!
//! Not modelled: tables of three levels, which 64-bit kernels have.

/// The frame and attributes of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry(u32);

impl Entry {
    /// Where an address of its page leads.
    pub fn physical(self, vaddr: u32) -> u32 {
        self.0 & !0xfff | vaddr & 0xfff
    }
}

/// The entry of an address in two levels of 1024 words, of which the first is at the physical address `root`. `word` reads memory.
pub fn walk(root: u32, vaddr: u32, mut word: impl FnMut(u32) -> Option<u32>) -> Option<Entry> {
    const TABLE_PRESENT: u32 = 1;
    const PAGE_PRESENT: u32 = 1 << 9;
    let table = word((root & !0xfff).checked_add((vaddr >> 22) * 4)?)?;
    if table & TABLE_PRESENT == 0 {
        return None;
    }
    // The low four bits are flags; the rest is an address, shifted right.
    let table = (table & !0xf) << 8;
    let entry = word((table & !0xfff) + (vaddr >> 12 & 0x3ff) * 4)?;
    (entry & PAGE_PRESENT != 0).then_some(Entry(entry))
}

/// The general registers that hold the frames behind Linux's temporary mappings, by which it flushes pages under a colour of its choice.
pub const ALIAS_REGISTERS: [u8; 2] = [26, 23];

/// Which of [`ALIAS_REGISTERS`] says where an address of the kernel's leads, if it is in the region of temporary mappings: two times
/// 4 MiB below the kernel's image.
pub fn alias_register(vaddr: u32) -> Option<u8> {
    const HALF: u32 = 1 << 22;
    const END: u32 = 0x1000_0000;
    (END - 2 * HALF..END).contains(&vaddr).then(|| ALIAS_REGISTERS[usize::from(vaddr & HALF != 0)])
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_tables_of_linux_lead_to_the_frame() {
        let memory: HashMap<u32, u32> = [(0x0050_0000 + 4 * 0x100, 0x6123), (0x0061_2000 + 4 * 0x3f0, 0x0777_7f2b)].into();
        let word = |address: u32| Some(memory.get(&address).copied().unwrap_or(0));
        let vaddr = 0x4000_0000 | 0x3f0 << 12 | 0xabc;
        assert_eq!(walk(0x0050_0000, vaddr, word).map(|entry| entry.physical(vaddr)), Some(0x0777_7abc));
        // Its neighbour is not present, nor is the next table.
        assert_eq!(walk(0x0050_0000, vaddr + 0x1000, word), None);
        assert_eq!(walk(0x0050_0000, vaddr + (1 << 22), word), None);
        assert_eq!(walk(0x0050_0000, vaddr, |_| None), None);
    }

    #[test]
    fn temporary_mappings_are_two_halves_below_the_kernel() {
        assert_eq!(alias_register(0x0f7f_ffff), None);
        assert_eq!(alias_register(0x0f80_0000), Some(26));
        assert_eq!(alias_register(0x0fbf_ffff), Some(26));
        assert_eq!(alias_register(0x0fc0_0000), Some(23));
        assert_eq!(alias_register(0x0fff_ffff), Some(23));
        assert_eq!(alias_register(0x1000_0000), None);
    }
}
