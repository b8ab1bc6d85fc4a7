//! The programs that were seen to run, by number; and the guest's physical memory as `tasks` wants to see it.
//!
//! Guarantees: one name has one number for the whole run. Pure: memory is read by whoever asks for a number.

use std::ops::Range;

use congruent_arch::{Arch, Endian, KernelMemory};
use congruent_geometry::PhysAddr;

use crate::tasks::{Memory, Tasks};
use crate::translation::GRANULE;

/// The names of the guest's programs.
pub struct Programs {
    /// Where the guest has its kernel.
    kernel: KernelMemory,
    endian: Endian,
    tasks: Tasks,
    /// By number.
    names: Vec<String>,
}

impl Programs {
    /// None yet, of a guest of this architecture.
    pub fn of(arch: Arch) -> Self {
        let facts = arch.facts();
        Self { kernel: facts.kernel_memory, endian: facts.endian, tasks: Tasks::default(), names: Vec::new() }
    }

    /// The number of the program whose translations begin at `table`. `read` reads physical memory within a page, and says whether it could.
    pub fn number(&mut self, table: PhysAddr, read: impl FnMut(PhysAddr, &mut [u8]) -> bool) -> Option<u32> {
        let mut memory = Linear { kernel: self.kernel, endian: self.endian, read };
        let name = self.tasks.name(memory.address(table)?, &mut memory)?;
        let known = self.names.iter().position(|known| *known == name);
        let number = known.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        });
        Some(number as u32)
    }

    /// The name behind a number.
    pub fn name(&self, number: u32) -> Option<&str> {
        self.names.get(number as usize).map(String::as_str)
    }

    /// All names, by number.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// Physical memory by the addresses of the kernel's linear mapping.
struct Linear<F> {
    kernel: KernelMemory,
    endian: Endian,
    read: F,
}

impl<F: FnMut(PhysAddr, &mut [u8]) -> bool> Linear<F> {
    /// Where the kernel has a physical address.
    fn address(&self, physical: PhysAddr) -> Option<u32> {
        let offset = physical.0.checked_sub(self.kernel.physical)?;
        u32::try_from(self.kernel.linear + offset).ok()
    }
}

impl<F: FnMut(PhysAddr, &mut [u8]) -> bool> Memory for Linear<F> {
    fn image(&self) -> Range<u32> {
        let start = self.kernel.linear as u32;
        start..start.saturating_add(self.kernel.length as u32)
    }

    fn read(&mut self, address: u32, to: &mut [u8]) -> bool {
        let Some(offset) = u64::from(address).checked_sub(self.kernel.linear) else { return false };
        let mut at = self.kernel.physical + offset;
        let mut rest = to;
        while !rest.is_empty() {
            let on_page = (GRANULE - at as u32 % GRANULE) as usize;
            let (piece, after) = rest.split_at_mut(on_page.min(rest.len()));
            if !(self.read)(PhysAddr(at), piece) {
                return false;
            }
            at += piece.len() as u64;
            rest = after;
        }
        true
    }

    fn word(&mut self, address: u32) -> Option<u32> {
        let mut bytes = [0; 4];
        let there = self.read(address, &mut bytes);
        let word = match self.endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        };
        there.then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linear(endian: Endian) -> Linear<impl FnMut(PhysAddr, &mut [u8]) -> bool> {
        let kernel = KernelMemory { physical: 0x1000_0000, linear: 0xc000_0000, length: 0x10000 };
        // A page of memory that says of each byte where it is, and none after it.
        let read = |at: PhysAddr, to: &mut [u8]| {
            assert!(at.0 % u64::from(GRANULE) + to.len() as u64 <= u64::from(GRANULE), "a piece lies on one page");
            let here = (0x1000_0000..0x1000_2000).contains(&at.0);
            to.iter_mut().zip(at.0..).for_each(|(byte, at)| *byte = at as u8);
            here
        };
        Linear { kernel, endian, read }
    }

    #[test]
    fn memory_is_read_where_the_kernel_sees_it_and_in_its_byte_order() {
        assert_eq!(linear(Endian::Little).word(0xc000_0010), Some(0x1312_1110));
        assert_eq!(linear(Endian::Big).word(0xc000_0010), Some(0x1011_1213));
        assert_eq!(linear(Endian::Little).word(0xc000_0ffe), Some(0x0100_fffe), "over the end of a page");
        assert_eq!(linear(Endian::Little).address(PhysAddr(0x1000_4000)), Some(0xc000_4000));
    }

    #[test]
    fn what_lies_outside_is_not_read() {
        for outside in [0xbfff_fffc, 0xc000_1ffe, 0xc000_2000, 0] {
            assert_eq!(linear(Endian::Little).word(outside), None, "{outside:#x}");
        }
        assert_eq!(linear(Endian::Little).address(PhysAddr(0x0fff_ffff)), None);
    }
}
