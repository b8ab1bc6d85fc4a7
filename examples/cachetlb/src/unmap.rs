//! User mappings go: `flush_tlb_*` and `flush_cache_*`.
//!
//! Linux writes the cache back and empties it before a mapping goes, because nobody will know afterwards where its lines are. The
//! frame's word knows. So nothing is flushed; what users stored is brought to memory when somebody needs it there, if ever.

use congruent::{Error, Frame, VirtAddr};
use skeleton::Kernel;

use crate::{Folio, Vma};

/// Drops every translation.
pub fn flush_tlb_all(kernel: &Kernel) {
    kernel.platform().flush_user_tlb();
}

/// Drops the translations of an address space. The skeleton's processors have no other way than to drop all.
pub fn flush_tlb_mm(kernel: &Kernel, _space: usize) {
    flush_tlb_all(kernel);
}

/// Drops the translations of some addresses.
pub fn flush_tlb_range(kernel: &Kernel, _vma: &Vma, _start: VirtAddr, _end: VirtAddr) {
    flush_tlb_all(kernel);
}

/// Drops the translation of one page.
pub fn flush_tlb_page(kernel: &Kernel, _vma: &Vma, _address: VirtAddr) {
    flush_tlb_all(kernel);
}

/// Nothing, at exit and exec: the bytes are dead, and what frames still have in the cache is in their words.
pub fn flush_cache_mm(_kernel: &Kernel, _space: usize) {}

/// Nothing, at fork: parent and child read the pages where the parent has stored to them. [`folio_write_protected`] may be said
/// once the parent cannot store any more.
pub fn flush_cache_dup_mm(_kernel: &Kernel, _space: usize) {}

/// Nothing, at `munmap`, `mprotect` and `mremap`. [`folio_unmapped`] or [`folio_write_protected`] may be said afterwards.
///
/// `mremap` announces the new address with [`set_ptes`](crate::fault::set_ptes); at a congruent one that is free.
pub fn flush_cache_range(_vma: &Vma, _start: VirtAddr, _end: VirtAddr) {}

/// Nothing, before copy-on-write, in reclaim, migration and `page_mkclean`: whoever reads the page next does so at its home.
///
/// There is nothing to be done here that could not be undone by a thread that still has the mapping (Linux commit bcd022801ee5
/// tells the story); what has to be done is done after the mapping has gone, by those who need it.
pub fn flush_cache_page(_vma: &Vma, _address: VirtAddr, _frame: Frame) {}

/// Nothing, with `MMU_GATHER_NO_FLUSH_CACHE` or without: it would call [`flush_cache_range`].
pub fn tlb_start_vma(_vma: &Vma) {}

/// Translations go, caches stay.
pub fn tlb_end_vma(kernel: &Kernel, vma: &Vma) {
    flush_tlb_range(kernel, vma, vma.start, vma.start);
}

/// No hook of Linux's, and not a duty: the last mapping of these frames has gone, and the TLB entries with it. It saves the library
/// from asking the kernel to revoke what is not there (`folio_remove_rmap_ptes` is the place).
///
/// # Errors
/// [`Error::UnknownFrame`].
pub fn folio_unmapped(kernel: &Kernel, folio: Folio) -> Result<(), Error> {
    folio.frames().try_for_each(|frame| kernel.unmapped(frame))
}

/// As [`folio_unmapped`], when no mapping allows stores any more (`page_mkclean`, the end of fork).
///
/// # Errors
/// [`Error::UnknownFrame`].
pub fn folio_write_protected(kernel: &Kernel, folio: Folio) -> Result<(), Error> {
    folio.frames().try_for_each(|frame| kernel.write_protected(frame))
}
