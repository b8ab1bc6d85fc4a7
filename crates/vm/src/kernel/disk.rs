//! The disk: blocks of a page each, some of them swap, and the device that moves them from and to memory.
//!
//! Guarantees: bytes move past the caches, in pieces of at most a sector; a failed sector is an error and moves nothing.

use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::PhysAddr;
use congruent_machine::{Medium, MediumError, SECTOR};

use crate::board::Board;
use crate::errno::Errno;

pub(crate) struct Disk<M> {
    pub medium: M,
    page: u32,
    /// Free blocks; the last goes first.
    free: Vec<u64>,
    /// How many processes share each page of swap.
    swap: Vec<u32>,
}

/// Where a transfer's bytes are in memory.
pub(crate) type Pieces<'a> = &'a [(PhysAddr, u32)];

impl<M: Medium> Disk<M> {
    pub fn new(medium: M, page: u32, swap_pages: u32) -> Self {
        let per_page = u64::from(page) / SECTOR as u64;
        let blocks = medium.sectors() / per_page;
        Self { medium, page, free: (u64::from(swap_pages)..blocks).rev().collect(), swap: vec![0; swap_pages as usize] }
    }

    /// Sectors of a page.
    pub const fn per_page(&self) -> u64 {
        self.page as u64 / SECTOR as u64
    }

    /// Takes blocks, all or none.
    pub fn take_blocks(&mut self, count: usize) -> Result<Vec<u64>, Errno> {
        let left = self.free.len().checked_sub(count).ok_or(Errno::NoSpace)?;
        Ok(self.free.drain(left..).rev().collect())
    }

    pub fn give_blocks(&mut self, blocks: &[u64]) {
        self.free.extend(blocks.iter().rev());
    }

    pub fn take_swap(&mut self) -> Result<u32, Errno> {
        let slot = self.swap.iter().position(|users| *users == 0).ok_or(Errno::NoSpace)?;
        self.swap[slot] = 1;
        Ok(slot as u32)
    }

    pub fn share_swap(&mut self, slot: u32) {
        self.swap[slot as usize] += 1;
    }

    pub fn give_swap(&mut self, slot: u32) {
        self.swap[slot as usize] -= 1;
    }

    /// Writes a block by other means than this machine's, as when a disk is prepared.
    pub fn prepare(&mut self, block: u64, bytes: &[u8]) -> Result<(), Errno> {
        for (number, part) in bytes.chunks(SECTOR).enumerate() {
            let mut sector = [0; SECTOR];
            sector[..part.len()].copy_from_slice(part);
            self.medium.write(block * self.per_page() + number as u64, &sector).map_err(failed)?;
        }
        Ok(())
    }

    /// The device writes memory: one sector goes to these pieces, one after the other.
    pub fn read_sector(&mut self, b: &Board, sector: u64, to: Pieces<'_>) -> Result<(), Errno> {
        let mut bytes = [0; SECTOR];
        self.medium.read(sector, &mut bytes).map_err(|_| Errno::Io)?;
        let mut done = 0;
        for (paddr, len) in to {
            let next = done + *len as usize;
            b.hw().device_writes(*paddr, &bytes[done..next]).map_err(|_| Errno::Fault)?;
            done = next;
        }
        Ok(())
    }

    /// The device reads memory: these pieces make one sector, which is returned.
    pub fn write_sector(&mut self, b: &Board, sector: u64, from: Pieces<'_>) -> Result<[u8; SECTOR], Errno> {
        let mut bytes = [0; SECTOR];
        let mut done = 0;
        for (paddr, len) in from {
            let next = done + *len as usize;
            b.hw().device_reads(*paddr, &mut bytes[done..next]).map_err(|_| Errno::Fault)?;
            done = next;
        }
        self.medium.write(sector, &bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// The device writes a frame with a block.
    pub fn read_block(&mut self, b: &Board, block: u64, to: PhysAddr) -> Result<(), Errno> {
        for number in 0..self.per_page() {
            let piece = [(to.add(number * SECTOR as u64), SECTOR as u32)];
            self.read_sector(b, block * self.per_page() + number, &piece)?;
        }
        Ok(())
    }

    /// The device reads a frame into a block. What it read is in `seen`, as far as it came.
    pub fn write_block(&mut self, b: &Board, block: u64, from: PhysAddr, seen: &mut Vec<u8>) -> Result<(), Errno> {
        seen.clear();
        for number in 0..self.per_page() {
            let piece = [(from.add(number * SECTOR as u64), SECTOR as u32)];
            let bytes = self.write_sector(b, block * self.per_page() + number, &piece)?;
            seen.extend_from_slice(&bytes);
        }
        Ok(())
    }
}

/// What a write that the medium refused means to programs.
const fn failed(error: MediumError) -> Errno {
    match error {
        MediumError::Full => Errno::NoSpace,
        _ => Errno::Io,
    }
}
