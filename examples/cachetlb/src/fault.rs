//! User mappings come: `set_ptes`, and the copies and clears before it.
//!
//! Here is the one duty that a kernel has: no page-table entry without [`set_ptes`], before the entry exists.

use congruent::{At, Error, Frame, Rights, VirtAddr};
use skeleton::{Kernel, PAGE, space::Entry};

use crate::{Folio, Vma};

/// Maps a folio at `address`. What is due is done for each page before its entry exists, so that no other thread of the process can
/// use it too early.
///
/// # Errors
/// [`Error`]: the pages before the one that it names are mapped. After [`Error::Busy`] and [`Error::Device`] the access faults
/// again and finds the rest missing.
pub fn set_ptes(kernel: &Kernel, vma: &Vma, address: VirtAddr, folio: Folio) -> Result<(), Error> {
    let rights = Rights::READ.with_write(vma.write).with_execute(vma.execute);
    for (page, frame) in folio.frames().enumerate() {
        let address = address.add(page as u64 * PAGE);
        let entry = Entry::new(frame, vma.write, vma.execute);
        kernel.map_user(frame, address, rights, || kernel.platform().spaces[vma.space].set(address, Some(entry)))?;
    }
    Ok(())
}

/// Nothing, at the end of a fault: [`set_ptes`] has done it, before anybody could see the page.
pub fn update_mmu_cache_range(_vma: &Vma, _address: VirtAddr, _pages: u32) {}

/// Nothing, before a user mapping: [`set_ptes`] knows from the rights whether fetches must see the page.
pub fn flush_icache_pages(_vma: &Vma, _folio: Folio) {}

/// As [`flush_icache_pages`].
pub fn flush_icache_page(_vma: &Vma, _frame: Frame) {}

/// Copy-on-write: `to` becomes a copy of `from`, for a process that has faulted at `address`.
///
/// # Errors
/// [`Error`].
pub fn copy_user_highpage(kernel: &Kernel, to: Frame, from: Frame, address: VirtAddr) -> Result<(), Error> {
    kernel.copy(from, to, At::Colour(kernel.colour(address)))
}

/// The same, under the name that architectures without high memory give it.
///
/// # Errors
/// [`Error`].
pub fn copy_user_page(kernel: &Kernel, to: Frame, from: Frame, address: VirtAddr) -> Result<(), Error> {
    copy_user_highpage(kernel, to, from, address)
}

/// A page of zeros for a process that has faulted at `address`.
///
/// # Errors
/// [`Error`].
pub fn clear_user_highpage(kernel: &Kernel, frame: Frame, address: VirtAddr) -> Result<(), Error> {
    kernel.clear(frame, At::Colour(kernel.colour(address)))
}

/// The same, under the name that architectures without high memory give it.
///
/// # Errors
/// [`Error`].
pub fn clear_user_page(kernel: &Kernel, frame: Frame, address: VirtAddr) -> Result<(), Error> {
    clear_user_highpage(kernel, frame, address)
}

/// A kernel's page for users (`vm_insert_page`): a mapping like any other. The kernel's own accesses go through windows from now on.
///
/// # Errors
/// [`Error`].
pub fn vm_insert_page(kernel: &Kernel, vma: &Vma, address: VirtAddr, frame: Frame) -> Result<(), Error> {
    set_ptes(kernel, vma, address, Folio::of(frame))
}
