//! Linux's `cachetlb.rst`, function by function, on a kernel that embeds `congruent`.
//!
//! For whoever ports a kernel whose code calls these hooks already. Every function of the document (6.12), and of what grew around
//! it, is here under its own name, with calls of the library in the place of its flushes. Most have become empty. They stay here,
//! each with the reason, so that callers need not change on the first day; on the second they can be deleted.
//!
//! | file | hooks |
//! |---|---|
//! | `unmap.rs` | `flush_tlb_*`, `flush_cache_*`: user mappings go |
//! | `fault.rs` | `set_ptes`, `update_mmu_cache_range`, copies and clears: user mappings come |
//! | `access.rs` | the kernel touches users' pages: `flush_dcache_folio`, `copy_to_user_page`, `kmap_coherent`, pins |
//! | `code.rs` | `flush_icache_*`: the instruction side |
//! | `place.rs` | `SHMLBA`, `arch_get_unmapped_area`, `pages_do_alias`: addresses |
//! | `device.rs` | `arch_sync_dma_*`, and kernel mappings of discontiguous frames, `flush_kernel_vmap_range` |
//!
//! The table with both sides is `docs/embedding/cachetlb.md`; a test holds it against this crate. The kernel underneath is the
//! skeleton next door.
#![no_std]

pub mod access;
pub mod code;
pub mod device;
pub mod fault;
pub mod place;
pub mod unmap;

use congruent::{Frame, VirtAddr};

/// Frames in a row, as the page cache has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Folio {
    /// The first.
    pub first: Frame,
    /// How many.
    pub pages: u32,
}

impl Folio {
    /// One frame.
    #[must_use]
    pub const fn of(frame: Frame) -> Self {
        Self { first: frame, pages: 1 }
    }

    /// Its frames.
    pub fn frames(self) -> impl Iterator<Item = Frame> {
        (self.first.0..self.first.0 + u64::from(self.pages)).map(Frame)
    }
}

/// Addresses of one process that share their rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vma {
    /// The number of its address space.
    pub space: usize,
    /// The first address.
    pub start: VirtAddr,
    /// Whether users may store.
    pub write: bool,
    /// Whether users may execute (`VM_EXEC`).
    pub execute: bool,
}
