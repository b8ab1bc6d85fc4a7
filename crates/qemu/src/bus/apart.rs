//! Memory that one device reads in place of the guest's: granules of it, each with its own bytes.
//!
//! QEMU has the address translated while a device maps what it is going to read, and reads what is mapped when it likes. So a granule is filled
//! when its address is asked for, and is not filled anew before the transfer is over, which whoever says what is in it has to know.
//!
//! Unsafe, because QEMU is given the memory.

#![allow(unsafe_code)]

use super::qemu::{AddressSpace, Entry, READ, WRITE};
use crate::ram::Bytes;
use crate::translation::GRANULE;

/// How many granules there are: more than any transfer has that is common.
pub const ROOM: usize = 1024;

/// Where what a device is about to read is put.
pub struct Apart {
    /// The number of a granule, below [`ROOM`].
    pub granule: usize,
    /// What is to be there, if it is not there yet.
    pub bytes: Option<Box<Bytes>>,
}

/// Asked by QEMU on any thread for the address that a device is about to read: `None` if that is to come from the guest's memory.
pub type Reads = unsafe fn(u64) -> Option<Apart>;

/// The memory, and who says what is in it.
pub(super) struct Granules {
    start: usize,
    space: usize,
    reads: Reads,
}

impl Granules {
    /// `space` has [`ROOM`] granules of memory, from `start` on in this process.
    pub fn new(start: *mut u8, space: AddressSpace, reads: Reads) -> Self {
        Self { start: start as usize, space: space as usize, reads }
    }

    /// Where an access of a device leads that would go on at the same address of `beyond`.
    ///
    /// # Safety
    /// Called by QEMU when it has the address translated.
    pub unsafe fn entry(&self, beyond: AddressSpace, address: u64, reads: bool) -> Entry {
        let mask = u64::from(GRANULE) - 1;
        let from = address & !mask;
        let memory = Entry { space: beyond, from, to: from, mask, allowed: READ | WRITE, process: 0 };
        if !reads {
            return memory;
        }
        // SAFETY: by this function's contract.
        let Some(Apart { granule, bytes }) = (unsafe { (self.reads)(address) }).filter(|apart| apart.granule < ROOM) else {
            return memory;
        };
        let offset = granule * GRANULE as usize;
        if let Some(bytes) = bytes {
            // SAFETY: there is room for so many granules, and nobody reads this one before it is given out here.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), (self.start as *mut u8).add(offset), bytes.len()) };
        }
        Entry { space: self.space as AddressSpace, to: offset as u64, ..memory }
    }
}
