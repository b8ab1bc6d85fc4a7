//! Devices that move bytes from and to memory by themselves: they see memory, and no first-level cache.

use core::fmt;

use congruent_geometry::PhysAddr;
use congruent_trace::{DmaDirection, Event, Site};

use crate::computer::Machine;
use crate::sink::Sink;
use crate::tlb::Refill;

/// A device was told to use memory that does not exist. Nothing was moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSuchMemory {
    /// Where the transfer was to begin.
    pub paddr: PhysAddr,
    /// Its length in bytes.
    pub len: u64,
}

impl fmt::Display for NoSuchMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a device was told to move {} bytes at {}, where there is no memory", self.len, self.paddr)
    }
}

impl core::error::Error for NoSuchMemory {}

impl<T: Refill, S: Sink> Machine<T, S> {
    /// A device reads memory.
    ///
    /// # Errors
    /// [`NoSuchMemory`] if the range is not all memory.
    pub fn device_reads(&mut self, device: Site, from: PhysAddr, to: &mut [u8]) -> Result<(), NoSuchMemory> {
        self.transfer(device, DmaDirection::Read, from, to.len())?;
        self.memory.read(from, to);
        Ok(())
    }

    /// A device writes memory.
    ///
    /// # Errors
    /// [`NoSuchMemory`] if the range is not all memory.
    pub fn device_writes(&mut self, device: Site, to: PhysAddr, from: &[u8]) -> Result<(), NoSuchMemory> {
        self.transfer(device, DmaDirection::Write, to, from.len())?;
        self.memory.write(to, from);
        Ok(())
    }

    fn transfer(&mut self, device: Site, direction: DmaDirection, paddr: PhysAddr, len: usize) -> Result<(), NoSuchMemory> {
        let len = len as u64;
        let end = paddr.0.checked_add(len).filter(|end| *end <= self.memory.len());
        let Some(end) = end else { return Err(NoSuchMemory { paddr, len }) };
        if len == 0 {
            return Ok(());
        }
        self.tell(Event::Dma { direction, paddr, len, site: device });
        if self.adversary.is_some() {
            let line = u64::from(self.config.data.geometry.line());
            for line in (paddr.align_down(line).0..end).step_by(line as usize) {
                self.stir(PhysAddr(line));
            }
        }
        Ok(())
    }
}
