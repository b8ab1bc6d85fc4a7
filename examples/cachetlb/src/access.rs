//! The kernel touches users' pages: everything that Linux surrounds with `flush_dcache_folio`.
//!
//! The kernel goes where the newest bytes are, through a window of the page's own colour. Users see what it stores and it sees what
//! they store, whoever they are, so there is nothing to flush before or after.

use congruent::{At, Error, Finished, Frame, Pinned, ReadWrite, VirtAddr, Window};
use skeleton::{Kernel, Machine};

use crate::{Folio, Vma};

/// Nothing, after the kernel has stored to a page of a file, nor before it reads one: `write`, `read`, `fill` and windows are at
/// the page's home.
pub fn flush_dcache_folio(_kernel: &Kernel, _folio: Folio) {}

/// As [`flush_dcache_folio`].
pub fn flush_dcache_page(_kernel: &Kernel, _frame: Frame) {}

/// Nothing: no list of mappings is walked.
pub fn flush_dcache_mmap_lock() {}

/// Nothing: no list of mappings is walked.
pub fn flush_dcache_mmap_unlock() {}

/// Nothing, before the kernel looks at an anonymous page; before a device does,
/// [`arch_sync_dma_for_device`](crate::device::arch_sync_dma_for_device).
pub fn flush_anon_page(_vma: &Vma, _frame: Frame, _address: VirtAddr) {}

/// `kmap_local_page`: the page, for a moment. Dropping it is `kunmap_local`; any order will do.
///
/// # Errors
/// [`Error`].
pub fn kmap_local_page(kernel: &Kernel, frame: Frame) -> Result<Window<'_, Machine, ReadWrite>, Error> {
    kernel.window(frame)
}

/// `kmap_coherent`: the page, for a moment, congruent with the user's `address`. Dropping it is `kunmap_coherent`.
///
/// There is no page on which it must not be used: what the page owes is paid first. [`kmap_local_page`] costs less where the
/// address does not matter.
///
/// # Errors
/// [`Error`].
pub fn kmap_coherent(kernel: &Kernel, frame: Frame, address: VirtAddr) -> Result<Window<'_, Machine, ReadWrite>, Error> {
    kernel.settle(frame, At::Colour(kernel.colour(address)))?.open()
}

/// Nothing, before the kernel's mappings of high memory are used again: a window that goes leaves its lines to the frame's word.
pub fn flush_cache_kmaps() {}

/// `ptrace` and `/proc/pid/mem` write to a process.
///
/// # Errors
/// [`Error`].
pub fn copy_to_user_page(kernel: &Kernel, vma: &Vma, frame: Frame, address: VirtAddr, from: &[u8]) -> Result<(), Error> {
    let offset = kernel.geometry().page_offset(address.0);
    if vma.execute { kernel.poke(frame, offset, from) } else { kernel.write(frame, offset, from) }
}

/// `ptrace` and `/proc/pid/mem` read from a process.
///
/// # Errors
/// [`Error`].
pub fn copy_from_user_page(kernel: &Kernel, frame: Frame, address: VirtAddr, to: &mut [u8]) -> Result<(), Error> {
    kernel.read(frame, kernel.geometry().page_offset(address.0), to)
}

/// `process_vm_writev`, and pages written through `ITER_BVEC`: a write like any other.
///
/// # Errors
/// [`Error`].
pub fn process_vm_write(kernel: &Kernel, frame: Frame, offset: u32, from: &[u8]) -> Result<(), Error> {
    kernel.write(frame, offset, from)
}

/// exec's arguments, written before their reader runs; `address` is the final one.
///
/// # Errors
/// [`Error`].
pub fn flush_arg_page(kernel: &Kernel, frame: Frame, address: VirtAddr, from: &[u8]) -> Result<(), Error> {
    kernel.write_argument(frame, address, from)
}

/// `pin_user_pages` and `unpin_user_pages_dirty_lock` around the kernel's work on a page. The second cannot be forgotten.
///
/// # Errors
/// [`Error`].
pub fn pin_user_page<R>(
    kernel: &Kernel,
    frame: Frame,
    work: impl for<'p> FnOnce(Pinned<'p, Machine>) -> Finished<'p, R>,
) -> Result<R, Error> {
    kernel.pin(frame, At::Home, work)
}

/// Always: looking a page up without the lock needs no flush at its user's address.
#[must_use]
pub const fn gup_fast_permitted() -> bool {
    true
}
