//! The host in the place of a processor: memory is an array, caches there are none, windows are looked up.
//!
//! It lets the rest of this kernel run in tests. Stale bytes cannot happen here; that they cannot happen elsewhere either is what
//! the library's own tests show, under the judge.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::vec::Vec;

use congruent::{CacheGeometry, Frame, VirtAddr};

use crate::machine::{FIRST, FRAMES, SLOTS};
use crate::{Machine, PAGE};

/// The permanent mapping begins here.
pub const LINEAR: u64 = 0x8000_0000;
/// The window area begins here.
pub const WINDOWS: u64 = 0xc000_0000;

/// One.
pub const CPUS: usize = 1;

/// The number of this CPU.
pub const fn cpu() -> usize {
    0
}

/// Memory, and which frame each window slot reaches.
#[derive(Debug)]
pub struct Hardware {
    geometry: CacheGeometry,
    memory: Vec<UnsafeCell<u8>>,
    windows: [AtomicU64; SLOTS],
    /// How often anything was written back or invalidated.
    maintenance: AtomicUsize,
}

impl Hardware {
    /// A machine with a cache of 32 KiB in two ways: four colours.
    #[must_use]
    pub fn new() -> Self {
        match CacheGeometry::new(32 << 10, 2, 32) {
            Ok(geometry) => Self::with_cache(geometry),
            Err(error) => panic!("{error}"),
        }
    }

    /// A machine with this cache.
    #[must_use]
    pub fn with_cache(geometry: CacheGeometry) -> Self {
        let memory = (0..FRAMES * PAGE as usize).map(|_| UnsafeCell::new(0)).collect();
        Self { geometry, memory, windows: [const { AtomicU64::new(0) }; SLOTS], maintenance: AtomicUsize::new(0) }
    }

    pub(crate) fn data_cache(&self) -> CacheGeometry {
        self.geometry
    }

    /// How many operations on the caches there were.
    #[must_use]
    pub fn maintenance(&self) -> usize {
        self.maintenance.load(Ordering::Relaxed)
    }

    pub(crate) fn flush_user_tlb(&self) {}

    // There is no cache, so every operation is complete when it begins.
    pub(crate) unsafe fn write_back(&self, _: VirtAddr, _: u32) {
        self.maintenance.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) unsafe fn invalidate(&self, _: VirtAddr, _: u32) {
        self.maintenance.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) unsafe fn write_back_invalidate(&self, _: VirtAddr, _: u32) {
        self.maintenance.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn empty(&self) {}

    pub(crate) fn drop_instructions(&self) {
        self.maintenance.fetch_add(1, Ordering::Relaxed);
    }

    fn slot(&self, address: VirtAddr) -> &AtomicU64 {
        &self.windows[((address.0 - WINDOWS) / u64::from(self.geometry.way_size())) as usize]
    }

    pub(crate) unsafe fn map(&self, slot: VirtAddr, frame: Frame) {
        let before = self.slot(slot).swap(frame.0, Ordering::Relaxed);
        assert_eq!(before, 0, "the window at {slot} was mapped already");
    }

    pub(crate) unsafe fn unmap(&self, slot: VirtAddr) {
        self.slot(slot).store(0, Ordering::Relaxed);
    }

    /// Where in `memory` an address of the kernel's points.
    fn place(&self, address: VirtAddr) -> usize {
        let frame = if address.0 >= WINDOWS {
            let frame = self.slot(address).load(Ordering::Relaxed);
            assert_ne!(frame, 0, "nothing is mapped at {address}");
            frame
        } else {
            (address.0 - LINEAR) / PAGE
        };
        ((frame - FIRST) * PAGE + address.0 % PAGE) as usize
    }

    /// As a user or the kernel sees it: there is one copy of everything.
    pub fn load(&self, from: VirtAddr, to: &mut [u8]) {
        let place = self.place(from);
        for (to, cell) in to.iter_mut().zip(&self.memory[place..]) {
            // SAFETY: `Hardware` is not `Sync`, so there is no other thread, and no reference is kept.
            *to = unsafe { *cell.get() };
        }
    }

    /// As [`load`](Self::load).
    pub fn store(&self, to: VirtAddr, from: &[u8]) {
        let place = self.place(to);
        for (cell, from) in self.memory[place..].iter().zip(from) {
            // SAFETY: as in `load`.
            unsafe { *cell.get() = *from };
        }
    }

    pub(crate) fn copy(&self, from: VirtAddr, to: VirtAddr, len: u32) {
        let mut bytes = std::vec![0; len as usize];
        self.load(from, &mut bytes);
        self.store(to, &bytes);
    }

    pub(crate) fn zero(&self, to: VirtAddr, len: u32) {
        self.store(to, &std::vec![0; len as usize]);
    }
}

impl Default for Hardware {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// What a user's load from a frame gives. For tests.
    pub fn peek(&self, frame: Frame, offset: u64, to: &mut [u8]) {
        self.hardware.load(VirtAddr(LINEAR + frame.0 * PAGE + offset), to);
    }

    /// What a user's store to a frame does. For tests.
    pub fn poke(&self, frame: Frame, offset: u64, from: &[u8]) {
        self.hardware.store(VirtAddr(LINEAR + frame.0 * PAGE + offset), from);
    }

    /// How many operations on the caches there were. For tests.
    #[must_use]
    pub fn maintenance(&self) -> usize {
        self.hardware.maintenance()
    }
}
