//! The guest's memory as bytes of this process: read where a plugin function would be slow, written so that one load sees other bytes.
//!
//! QEMU's plugin interface of 10.0 has no function that writes. Its executable exports those that its devices use (`system/memory.h`,
//! `system/ramblock.h`, 10.0 to 11.1). Writes go through QEMU, which translates code anew that they change.
//!
//! QEMU's functions for memory may be called from any thread.
//!
//! Guarantees: only memory is read and written, never a device's registers. What memory had when the guest began can be asked for later.
//!
//! Unsafe, because functions are found by their names and taken for what QEMU's headers say, and because memory is reached by pointers.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::NonNull;

use crate::api::find;
use crate::exported::exported;
use crate::translation::GRANULE;

const SIZE: usize = GRANULE as usize;

/// Bytes of a granule.
pub type Bytes = [u8; SIZE];

/// A granule of the guest's memory, in this process. It stays good: no memory of the supported machines can be unplugged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granule(NonNull<u8>);

impl Granule {
    /// So many bytes of it from an offset on; zeroes beyond its end.
    #[inline]
    pub fn get<const N: usize>(self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.read(offset, &mut bytes);
        bytes
    }

    /// What it has from an offset on; nothing beyond its end.
    #[inline]
    pub fn read(self, offset: usize, to: &mut [u8]) {
        let length = to.len().min(SIZE.saturating_sub(offset));
        // SAFETY: within the granule. Devices may write it meanwhile; whichever bytes are read, some of theirs or those before, are as good.
        unsafe { std::ptr::copy_nonoverlapping(self.0.add(offset.min(SIZE)).as_ptr(), to.as_mut_ptr(), length) };
    }
}

exported! {
    /// QEMU's functions for memory.
    struct Functions {
        address_space_map: fn(*mut c_void, u64, *mut u64, bool, u64) -> *mut c_void;
        address_space_unmap: fn(*mut c_void, *mut c_void, u64, bool, u64);
        address_space_rw: fn(*mut c_void, u64, u64, *mut c_void, u64, bool) -> c_uint;
        qemu_ram_foreach_block: fn(unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int, *mut c_void) -> c_int;
        qemu_ram_block_from_host: fn(*mut c_void, bool, *mut u64) -> *mut c_void;
        qemu_ram_get_host_addr: fn(*mut c_void) -> *mut c_void;
        qemu_ram_get_used_length: fn(*mut c_void) -> u64;
    }
}

/// The guest's memory.
pub struct Ram {
    functions: Functions,
    /// The address space of the guest's CPUs.
    memory: *mut c_void,
    /// What granules had when the guest began, but for those of zeroes.
    first: HashMap<usize, Box<Bytes>>,
}

impl Ram {
    /// Finds the functions in the running QEMU.
    ///
    /// # Errors
    /// The name of what it does not export.
    pub fn find() -> Result<Self, &'static str> {
        let memory = find(c"address_space_memory").ok_or("address_space_memory")?;
        Ok(Self { functions: Functions::find()?, memory, first: HashMap::new() })
    }

    /// Keeps what all memory has now.
    pub fn keep_first(&mut self) {
        struct Kept<'a> {
            functions: &'a Functions,
            first: &'a mut HashMap<usize, Box<Bytes>>,
        }
        /// # Safety
        /// Called by QEMU with a block of memory and a [`Kept`].
        unsafe extern "C" fn keep(block: *mut c_void, kept: *mut c_void) -> c_int {
            // SAFETY: by this function's contract; so below. A block has so many bytes there.
            let (kept, start, length) = unsafe {
                let kept = &mut *kept.cast::<Kept<'_>>();
                let functions = kept.functions;
                let start = (functions.qemu_ram_get_host_addr)(block).cast::<u8>();
                (kept, start, (functions.qemu_ram_get_used_length)(block) as usize)
            };
            for offset in (0..length / SIZE * SIZE).step_by(SIZE) {
                if start.is_null() {
                    break;
                }
                // SAFETY: within the block. No device runs before the guest does, and no CPU of it does now.
                let bytes = unsafe { &*start.add(offset).cast::<Bytes>() };
                if bytes.iter().any(|byte| *byte != 0) {
                    kept.first.insert(start as usize + offset, Box::new(*bytes));
                }
            }
            0
        }
        self.first.clear();
        let mut kept = Kept { functions: &self.functions, first: &mut self.first };
        // SAFETY: the blocks are gone through while this function runs, and the value is what the function expects.
        unsafe { (self.functions.qemu_ram_foreach_block)(keep, (&raw mut kept).cast()) };
    }

    /// The granule that begins at a physical address, if memory lies there.
    pub fn granule(&self, paddr: u64) -> Option<Granule> {
        let functions = &self.functions;
        let mut length = SIZE as u64;
        // SAFETY: any address may be mapped, from any thread; what comes is given back. A copy that QEMU makes of what is no memory is in no
        // block.
        let (host, block) = unsafe {
            let host = (functions.address_space_map)(self.memory, paddr, &raw mut length, false, 0);
            if host.is_null() {
                return None;
            }
            let mut offset = 0;
            let block = (functions.qemu_ram_block_from_host)(host, false, &raw mut offset);
            (functions.address_space_unmap)(self.memory, host, length, false, 0);
            (host, block)
        };
        let is_whole = !block.is_null() && length == SIZE as u64;
        NonNull::new(host.cast()).filter(|_| is_whole).map(Granule)
    }

    /// Reads memory from a physical address on; where none lies, nothing is changed.
    pub fn read(&self, paddr: u64, to: &mut [u8]) {
        let mut at = 0;
        while at < to.len() {
            let offset = ((paddr + at as u64) % u64::from(GRANULE)) as usize;
            let piece = (to.len() - at).min(SIZE - offset);
            if let Some(granule) = self.granule(paddr + at as u64 - offset as u64) {
                granule.read(offset, &mut to[at..at + piece]);
            }
            at += piece;
        }
    }

    /// What a granule had when the guest began.
    pub fn first(&self, Granule(host): Granule) -> Bytes {
        self.first.get(&(host.as_ptr() as usize)).map_or([0; SIZE], |bytes| **bytes)
    }

    /// Has memory show these bytes.
    pub fn write(&self, paddr: u64, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        let functions = &self.functions;
        // SAFETY: the buffer has the length that is passed; memory may be written from any thread.
        unsafe {
            (functions.address_space_rw)(self.memory, paddr, 0, bytes.as_mut_ptr().cast(), bytes.len() as u64, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_qemu_has_no_memory() {
        assert_eq!(Ram::find().err(), Some("address_space_memory"));
    }

    #[test]
    fn nothing_is_read_beyond_a_granule() {
        let mut memory = Box::new([7u8; SIZE]);
        memory[SIZE - 1] = 8;
        let granule = Granule(NonNull::from(&mut *memory).cast());
        let mut bytes = [0; 4];
        granule.read(SIZE - 2, &mut bytes);
        assert_eq!(bytes, [7, 8, 0, 0]);
        granule.read(SIZE + 5, &mut bytes);
        assert_eq!(bytes, [7, 8, 0, 0]);
    }
}
