//! A disk that reads and writes memory by itself, past the caches; what it stores on is the caller's.
//!
//! Guarantees: sectors are moved in order, each wholly or not at all; an error says how many were. Not here: host files (the
//! program has a [`Medium`] for those), time, queues.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use congruent_geometry::PhysAddr;
use congruent_trace::Site;

use crate::computer::Machine;
use crate::device::NoSuchMemory;
use crate::sink::Sink;
use crate::tlb::Refill;

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// What a disk stores on.
pub trait Medium {
    /// How many sectors it has.
    fn sectors(&self) -> u64;

    /// Reads a sector that it has.
    ///
    /// # Errors
    /// What is wrong with the medium; the bytes are not to be used then.
    fn read(&mut self, sector: u64, to: &mut [u8; SECTOR]) -> Result<(), MediumError>;

    /// Writes a sector that it has.
    ///
    /// # Errors
    /// What is wrong with the medium; the sector holds what it held.
    fn write(&mut self, sector: u64, from: &[u8; SECTOR]) -> Result<(), MediumError>;
}

/// What can be wrong with a sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum MediumError {
    /// It cannot be read.
    Unreadable,
    /// It cannot be written.
    Unwritable,
    /// There is no room to write it.
    Full,
}

/// A medium that is gone when the program ends. What is left over beyond the last whole sector is not used.
impl Medium for Vec<u8> {
    fn sectors(&self) -> u64 {
        (self.len() / SECTOR) as u64
    }

    fn read(&mut self, sector: u64, to: &mut [u8; SECTOR]) -> Result<(), MediumError> {
        let at = sector as usize * SECTOR;
        to.copy_from_slice(self.get(at..at + SECTOR).ok_or(MediumError::Unreadable)?);
        Ok(())
    }

    fn write(&mut self, sector: u64, from: &[u8; SECTOR]) -> Result<(), MediumError> {
        let at = sector as usize * SECTOR;
        self.get_mut(at..at + SECTOR).ok_or(MediumError::Unwritable)?.copy_from_slice(from);
        Ok(())
    }
}

/// A medium with bad places, to see what a kernel makes of them.
#[derive(Clone, Debug)]
pub struct Damaged<M> {
    /// What is under the damage.
    pub medium: M,
    unreadable: BTreeMap<u64, MediumError>,
    unwritable: BTreeMap<u64, MediumError>,
}

impl<M> Damaged<M> {
    /// A medium without damage as yet.
    pub const fn new(medium: M) -> Self {
        Self { medium, unreadable: BTreeMap::new(), unwritable: BTreeMap::new() }
    }

    /// From now on reading this sector fails.
    pub fn fail_reads(&mut self, sector: u64, error: MediumError) {
        self.unreadable.insert(sector, error);
    }

    /// From now on writing this sector fails.
    pub fn fail_writes(&mut self, sector: u64, error: MediumError) {
        self.unwritable.insert(sector, error);
    }

    /// Undoes all damage.
    pub fn repair(&mut self) {
        self.unreadable.clear();
        self.unwritable.clear();
    }
}

impl<M: Medium> Medium for Damaged<M> {
    fn sectors(&self) -> u64 {
        self.medium.sectors()
    }

    fn read(&mut self, sector: u64, to: &mut [u8; SECTOR]) -> Result<(), MediumError> {
        self.unreadable.get(&sector).map_or(Ok(()), |error| Err(*error))?;
        self.medium.read(sector, to)
    }

    fn write(&mut self, sector: u64, from: &[u8; SECTOR]) -> Result<(), MediumError> {
        self.unwritable.get(&sector).map_or(Ok(()), |error| Err(*error))?;
        self.medium.write(sector, from)
    }
}

/// Why a transfer ended early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskError {
    /// Sectors moved before.
    pub done: u64,
    /// The sector that was not.
    pub sector: u64,
    /// Why not.
    pub reason: DiskErrorReason,
}

/// Why a sector was not moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DiskErrorReason {
    /// The disk ends before it.
    BeyondEnd,
    /// The medium failed.
    Medium(MediumError),
    /// There is no memory where it was to come from or go to.
    Memory(NoSuchMemory),
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sector = self.sector;
        match self.reason {
            DiskErrorReason::BeyondEnd => write!(f, "sector {sector} is beyond the end of the disk"),
            DiskErrorReason::Medium(MediumError::Unreadable) => write!(f, "sector {sector} cannot be read"),
            DiskErrorReason::Medium(MediumError::Unwritable) => write!(f, "sector {sector} cannot be written"),
            DiskErrorReason::Medium(MediumError::Full) => write!(f, "no room for sector {sector}: the medium is full"),
            DiskErrorReason::Memory(error) => write!(f, "sector {sector}: {error}"),
        }
    }
}

impl core::error::Error for DiskError {}

/// The disk.
#[derive(Clone, Debug)]
pub struct Disk<M> {
    medium: M,
    device: Site,
}

impl<M: Medium> Disk<M> {
    /// A disk on this medium. `device` is the site of its transfers' events.
    pub const fn new(medium: M, device: Site) -> Self {
        Self { medium, device }
    }

    /// What it stores on.
    pub const fn medium(&self) -> &M {
        &self.medium
    }

    /// What it stores on, to be changed.
    pub const fn medium_mut(&mut self) -> &mut M {
        &mut self.medium
    }

    /// Moves sectors from the disk to memory: the device writes memory.
    ///
    /// # Errors
    /// [`DiskError`] at the first sector that cannot be moved.
    pub fn read<T: Refill, S: Sink>(
        &mut self,
        machine: &mut Machine<T, S>,
        first: u64,
        sectors: u64,
        to: PhysAddr,
    ) -> Result<(), DiskError> {
        self.each(first, sectors, to, |disk, sector, to| {
            let mut bytes = [0; SECTOR];
            disk.medium.read(sector, &mut bytes).map_err(DiskErrorReason::Medium)?;
            machine.device_writes(disk.device, to, &bytes).map_err(DiskErrorReason::Memory)
        })
    }

    /// Moves sectors from memory to the disk: the device reads memory.
    ///
    /// # Errors
    /// [`DiskError`] at the first sector that cannot be moved.
    pub fn write<T: Refill, S: Sink>(
        &mut self,
        machine: &mut Machine<T, S>,
        first: u64,
        sectors: u64,
        from: PhysAddr,
    ) -> Result<(), DiskError> {
        self.each(first, sectors, from, |disk, sector, from| {
            let mut bytes = [0; SECTOR];
            machine.device_reads(disk.device, from, &mut bytes).map_err(DiskErrorReason::Memory)?;
            disk.medium.write(sector, &bytes).map_err(DiskErrorReason::Medium)
        })
    }

    fn each(
        &mut self,
        first: u64,
        sectors: u64,
        memory: PhysAddr,
        mut one: impl FnMut(&mut Self, u64, PhysAddr) -> Result<(), DiskErrorReason>,
    ) -> Result<(), DiskError> {
        for done in 0..sectors {
            let sector = first.saturating_add(done);
            let moved = if sector < self.medium.sectors() {
                one(self, sector, memory.add(done * SECTOR as u64))
            } else {
                Err(DiskErrorReason::BeyondEnd)
            };
            moved.map_err(|reason| DiskError { done, sector, reason })?;
        }
        Ok(())
    }
}
