//! Linux 6.12 on MIPS with aliasing caches (`arch/mips/mm/{c-r4k,cache,init,dma-noncoherent}.c`), defects included.
//!
//! One flag per frame (`PG_arch_1` in the sense "dirty": the permanent address has bytes that users would not see) and windows
//! (`kmap_coherent`) for frames that users map and that are not so flagged. Known defects that follow: `flush_dcache_page` does
//! not reach a user's colour; `process_vm_writev` leaves its bytes at the permanent address; rings that users map elsewhere.

use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::{Frame, VirtAddr};
use congruent_trace::Maintenance;

use super::{Backing, Done, Owner, Page, Policy, Range, User, through_linear_read, through_linear_write};
use crate::board::{Board, Hw};
use crate::errno::Errno;
use crate::site::At;
use crate::tables::Allowed;

pub(super) struct LinuxMips {
    /// `PG_dcache_dirty`, by frame.
    dirty: Vec<bool>,
}

impl LinuxMips {
    pub fn new(frames: u64) -> Self {
        Self { dirty: vec![false; frames as usize] }
    }

    fn dirty(&mut self, frame: Frame) -> &mut bool {
        &mut self.dirty[frame.0 as usize]
    }

    /// Whether the newest bytes may be in a user's colour and not at the permanent address: the condition of `kmap_coherent`.
    fn coherent(&mut self, hw: &Hw, frame: Frame) -> bool {
        hw.geometry().aliases() && !hw.users(frame).is_empty() && !*self.dirty(frame)
    }

    /// `__flush_dcache_pages`.
    fn flush_dcache(&mut self, b: &Board, page: Page, site: At) {
        let mut hw = b.hw();
        if !hw.geometry().aliases() {
            return;
        }
        hw.at(site);
        match page.owner {
            Owner::File { mapped: false, .. } => *self.dirty(page.frame) = true,
            _ => hw.flush_linear(page.frame),
        }
    }

    /// Stores to a page at a user's colour if it may be there, else at the permanent address, flagged.
    fn reach<R>(&mut self, b: &Board, site: At, page: Page, va: VirtAddr, work: impl FnOnce(&mut Hw, VirtAddr) -> R) -> R {
        let mut hw = b.hw();
        hw.at(site);
        if self.coherent(&hw, page.frame) {
            let colour = hw.colour(va);
            hw.with_window(page.frame, colour, 0, work)
        } else {
            if hw.geometry().aliases() {
                *self.dirty(page.frame) = true;
            }
            let linear = hw.linear(page.frame);
            work(&mut hw, linear)
        }
    }
}

impl Policy for LinuxMips {
    fn placement(&self, _: &Board, backing: Backing) -> Option<usize> {
        match backing {
            Backing::Private => None,
            Backing::Object(first) => Some(first as usize),
        }
    }

    fn takes_any_colour(&self) -> bool {
        false
    }

    /// `free_pages_prepare` clears the flag.
    fn freed(&mut self, _: &Board, frame: Frame) -> Done {
        *self.dirty(frame) = false;
        Ok(())
    }

    /// `__update_cache`, in `set_ptes`.
    fn map(&mut self, b: &Board, page: Page, at: User, allowed: Allowed, install: &mut dyn FnMut()) -> Done {
        {
            let mut hw = b.hw();
            let changes = hw.pte(at.asid, at.va).is_none_or(|pte| pte.frame != page.frame);
            if changes && *self.dirty(page.frame) {
                if allowed.execute || hw.alias(page.frame, at.va) {
                    hw.at(At::SetPte);
                    hw.flush_linear(page.frame);
                }
                *self.dirty(page.frame) = false;
            }
            if changes && allowed.execute {
                // The instruction cache does not fill from the data cache, and may hold what the frame was.
                hw.at(At::SetPte);
                hw.drop_code();
            }
        }
        install();
        Ok(())
    }

    fn exit(&mut self, b: &Board) {
        whole(b, At::Exit, false);
    }

    /// An address space that never ran has no ASID, and is skipped.
    fn range(&mut self, b: &Board, range: Range) {
        if !range.fresh {
            whole(b, At::FlushRange, range.execute);
        }
    }

    /// `local_r4k_flush_cache_page`: nothing for a page that is not present.
    fn page(&mut self, b: &Board, page: Page, at: User) {
        let mut hw = b.hw();
        if hw.pte(at.asid, at.va).is_none() || !hw.geometry().aliases() {
            return;
        }
        hw.at(At::FlushPage);
        if hw.machine.asid(hw.cpu) == at.asid {
            hw.flush_page(at.va);
        } else if self.coherent(&hw, page.frame) {
            let colour = hw.colour(at.va);
            hw.with_window(page.frame, colour, 0, |hw, window| hw.flush_page(window));
        } else {
            hw.flush_linear(page.frame);
        }
        if at.execute {
            hw.drop_code();
        }
    }

    fn clear(&mut self, b: &Board, page: Page, at: User) -> Done {
        let mut hw = b.hw();
        hw.at(At::ClearPage);
        let (linear, len) = (hw.linear(page.frame), hw.page());
        hw.zero(linear, len);
        if hw.alias(page.frame, at.va) {
            hw.flush_page(linear);
        }
        Ok(())
    }

    fn copy(&mut self, b: &Board, from: Page, to: Page, at: User) -> Done {
        let mut hw = b.hw();
        let (target, len) = (hw.linear(to.frame), hw.page());
        if self.coherent(&hw, from.frame) {
            let colour = hw.colour(at.va);
            hw.with_window(from.frame, colour, 0, |hw, source| hw.copy(source, target, len));
        } else {
            let source = hw.linear(from.frame);
            hw.copy(source, target, len);
        }
        // The instruction cache does not fill from the data cache, so code is flushed as well.
        if at.execute || hw.alias(to.frame, at.va) {
            hw.at(At::CopyPage);
            hw.flush_page(target);
        }
        Ok(())
    }

    fn read(&mut self, b: &Board, page: Page, offset: u32, to: &mut [u8]) -> Done {
        if let Owner::File { writable: true, .. } = page.owner {
            self.flush_dcache(b, page, At::FlushFolio);
        }
        through_linear_read(b, At::FileRead, page.frame, offset, to);
        Ok(())
    }

    fn write(&mut self, b: &Board, page: Page, offset: u32, from: &[u8]) -> Done {
        if let Owner::File { writable: true, .. } = page.owner {
            self.flush_dcache(b, page, At::FlushFolio);
        }
        through_linear_write(b, At::FileWrite, page.frame, offset, from);
        self.flush_dcache(b, page, At::FlushFolio);
        Ok(())
    }

    fn splice(&mut self, b: &Board, page: Page) {
        if let Owner::File { writable: true, .. } = page.owner {
            self.flush_dcache(b, page, At::FlushFolio);
        }
    }

    fn pin(&mut self, b: &Board, page: Page, at: User) -> Done {
        {
            let mut hw = b.hw();
            if page.owner == Owner::Anon && hw.alias(page.frame, at.va) {
                hw.at(At::GupAnon);
                if self.coherent(&hw, page.frame) {
                    let colour = hw.colour(at.va);
                    hw.with_window(page.frame, colour, 0, |hw, window| hw.flush_page(window));
                } else {
                    hw.flush_linear(page.frame);
                }
            }
        }
        self.flush_dcache(b, page, At::Gup);
        Ok(())
    }

    fn peek(&mut self, b: &Board, page: Page, at: User, offset: u32, to: &mut [u8]) -> Done {
        self.reach(b, At::Peek, page, at.va, |hw, va| hw.load(va.add(offset.into()), to));
        Ok(())
    }

    fn poke(&mut self, b: &Board, page: Page, at: User, offset: u32, from: &[u8]) -> Done {
        self.reach(b, At::Poke, page, at.va, |hw, va| hw.store(va.add(offset.into()), from));
        if at.execute {
            self.page(b, page, at);
        }
        Ok(())
    }

    /// `flush_arg_page` comes to nothing: the new address space has no ASID yet.
    fn argument(&mut self, b: &Board, page: Page, _: User, _: VirtAddr, offset: u32, from: &[u8]) -> Done {
        through_linear_write(b, At::Argument, page.frame, offset, from);
        self.flush_dcache(b, page, At::FlushArgument);
        Ok(())
    }

    fn device_reads(&mut self, b: &Board, page: Page, offset: u32, len: u32) -> Done {
        let mut hw = b.hw();
        hw.at(At::DmaToDevice);
        let linear = hw.linear(page.frame);
        hw.maintain(Maintenance::WriteBackInvalidate, linear.add(offset.into()), len);
        Ok(())
    }

    /// Lines at either end that are not whole are written back first.
    fn device_writes(&mut self, b: &Board, page: Page, offset: u32, len: u32) -> Done {
        let mut hw = b.hw();
        hw.at(At::DmaFromDevice);
        let start = hw.linear(page.frame).add(offset.into());
        for end in [start, start.add(u64::from(len) - 1)] {
            hw.maintain(Maintenance::WriteBackInvalidate, end, 1);
        }
        hw.maintain(Maintenance::Invalidate, start, len);
        Ok(())
    }

    fn vmap(&mut self, b: &Board, _: &[Page], _: VirtAddr) -> Done {
        whole(b, At::Vmap, false);
        Ok(())
    }

    fn vunmap(&mut self, b: &Board, _: &[Page], _: VirtAddr) -> Done {
        whole(b, At::Vunmap, false);
        Ok(())
    }

    fn vmap_flush(&mut self, b: &Board, va: VirtAddr, len: u32) {
        vmap_range(b, At::FlushVmap, va, len);
    }

    fn vmap_invalidate(&mut self, b: &Board, va: VirtAddr, len: u32) {
        vmap_range(b, At::InvalidateVmap, va, len);
    }

    fn ring(&mut self, b: &Board, frame: Frame, _: VirtAddr) -> Result<VirtAddr, Errno> {
        let mut hw = b.hw();
        hw.at(At::RingSetup);
        let (linear, len) = (hw.linear(frame), hw.page());
        hw.zero(linear, len);
        hw.flush_page(linear);
        Ok(linear)
    }

    /// `flush_icache_range` on the program's own addresses.
    fn sync_code(&mut self, b: &Board, _: Page, at: User, offset: u32, len: u32) -> Done {
        let mut hw = b.hw();
        hw.at(At::SyncCode);
        hw.maintain(Maintenance::WriteBackInvalidate, at.va.add(offset.into()), len);
        hw.drop_code();
        Ok(())
    }
}

fn whole(b: &Board, site: At, code: bool) {
    let mut hw = b.hw();
    hw.at(site);
    if hw.geometry().aliases() {
        hw.flush_whole();
    }
    if code {
        hw.drop_code();
    }
}

/// Both directions do the same: write back and invalidate.
fn vmap_range(b: &Board, site: At, va: VirtAddr, len: u32) {
    let mut hw = b.hw();
    hw.at(site);
    if len >= hw.geometry().size() {
        hw.flush_whole();
    } else {
        hw.maintain(Maintenance::WriteBackInvalidate, va, len);
    }
}
