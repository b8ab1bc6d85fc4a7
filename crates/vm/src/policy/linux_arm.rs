//! Linux 6.12 on ARMv6 with an aliasing cache (`arch/arm/mm/{flush,copypage-v6,mmu,dma-mapping}.c`), defects included.
//!
//! One flag per frame (`PG_arch_1` in the sense "clean") and windows for copies; page tables change under operations on the whole
//! cache. Known defects that follow: bytes that ptrace writes stay at the permanent address; `process_vm_writev` likewise; rings
//! that users map at another colour.

use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::{Frame, VirtAddr};
use congruent_trace::Maintenance;

use super::{Backing, Done, Owner, Page, Policy, Range, User, through_linear_read, through_linear_write};
use crate::board::{Board, Hw};
use crate::site::At;
use crate::tables::Allowed;

pub(super) struct LinuxArm {
    /// `PG_dcache_clean`, by frame.
    clean: Vec<bool>,
}

impl LinuxArm {
    pub fn new(frames: u64) -> Self {
        Self { clean: vec![false; frames as usize] }
    }

    fn clean(&mut self, frame: Frame) -> &mut bool {
        &mut self.clean[frame.0 as usize]
    }

    /// `flush_dcache_folio`.
    fn flush_dcache(&mut self, b: &Board, page: Page, site: At) {
        let mut hw = b.hw();
        if !hw.geometry().aliases() {
            return;
        }
        hw.at(site);
        let unmapped = hw.users(page.frame).is_empty();
        if matches!(page.owner, Owner::File { .. }) && unmapped {
            *self.clean(page.frame) = false;
        } else {
            flush_folio(&mut hw, page);
            hw.drop_code();
            *self.clean(page.frame) = true;
        }
    }
}

/// `__flush_dcache_folio`: the permanent address, and the colour that the page of a file has by its number.
fn flush_folio(hw: &mut Hw, page: Page) {
    hw.flush_linear(page.frame);
    if let Owner::File { index, .. } = page.owner {
        let va = VirtAddr(index << hw.geometry().page_shift());
        flush_pfn_alias(hw, page.frame, va);
    }
}

/// Always through the window, even where the colours agree.
fn flush_pfn_alias(hw: &mut Hw, frame: Frame, va: VirtAddr) {
    let colour = hw.colour(va);
    hw.with_window(frame, colour, 0, |hw, window| hw.flush_page(window));
}

/// `discard_old_kernel_data`: what the frame held is dead.
fn discard(hw: &mut Hw, frame: Frame) {
    let (linear, len) = (hw.linear(frame), hw.page());
    hw.maintain(Maintenance::Invalidate, linear, len);
}

fn whole(b: &Board, site: At, code: bool) {
    let mut hw = b.hw();
    if hw.geometry().aliases() {
        hw.at(site);
        hw.flush_whole();
        if code {
            hw.drop_code();
        }
    }
}

impl Policy for LinuxArm {
    fn placement(&self, _: &Board, backing: Backing) -> Option<usize> {
        match backing {
            Backing::Private => None,
            Backing::Object(first) => Some(first as usize),
        }
    }

    fn takes_any_colour(&self) -> bool {
        false
    }

    /// `free_pages_prepare` clears the flag: a new page counts as dirty.
    fn freed(&mut self, _: &Board, frame: Frame) -> Done {
        *self.clean(frame) = false;
        Ok(())
    }

    /// `__sync_icache_dcache`, in `set_ptes`.
    fn map(&mut self, b: &Board, page: Page, _: User, allowed: Allowed, install: &mut dyn FnMut()) -> Done {
        {
            let mut hw = b.hw();
            hw.at(At::SetPte);
            let aliases = hw.geometry().aliases();
            // Without aliases only code matters.
            if (aliases || allowed.execute) && !core::mem::replace(self.clean(page.frame), true) {
                flush_folio(&mut hw, page);
            }
            if allowed.execute {
                hw.drop_code();
            }
        }
        install();
        Ok(())
    }

    fn fork(&mut self, b: &Board) {
        whole(b, At::Fork, false);
    }

    fn exit(&mut self, b: &Board) {
        whole(b, At::Exit, false);
    }

    fn range(&mut self, b: &Board, range: Range) {
        whole(b, At::FlushRange, range.execute);
    }

    fn page(&mut self, b: &Board, page: Page, at: User) {
        let mut hw = b.hw();
        if hw.geometry().aliases() {
            hw.at(At::FlushPage);
            flush_pfn_alias(&mut hw, page.frame, at.va);
            hw.drop_code();
        }
    }

    /// `v6_clear_user_highpage_aliasing`.
    fn clear(&mut self, b: &Board, page: Page, at: User) -> Done {
        let mut hw = b.hw();
        hw.at(At::ClearPage);
        let (linear, len) = (hw.linear(page.frame), hw.page());
        if hw.geometry().aliases() {
            discard(&mut hw, page.frame);
            let colour = hw.colour(at.va);
            hw.with_window(page.frame, colour, 1, |hw, window| hw.zero(window, len));
        } else {
            hw.zero(linear, len);
        }
        Ok(())
    }

    /// `v6_copy_user_highpage_aliasing`.
    fn copy(&mut self, b: &Board, from: Page, to: Page, at: User) -> Done {
        let mut hw = b.hw();
        hw.at(At::CopyPage);
        let len = hw.page();
        if !hw.geometry().aliases() {
            let (source, target) = (hw.linear(from.frame), hw.linear(to.frame));
            hw.copy(source, target, len);
            return Ok(());
        }
        if !core::mem::replace(self.clean(from.frame), true) {
            flush_folio(&mut hw, from);
        }
        discard(&mut hw, to.frame);
        let colour = hw.colour(at.va);
        hw.with_window(from.frame, colour, 0, |hw, source| {
            hw.with_window(to.frame, colour, 1, |hw, target| hw.copy(source, target, len));
        });
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

    /// `__flush_anon_page`, then `flush_dcache_page`.
    fn pin(&mut self, b: &Board, page: Page, at: User) -> Done {
        if page.owner == Owner::Anon {
            let mut hw = b.hw();
            if hw.geometry().aliases() {
                hw.at(At::GupAnon);
                flush_pfn_alias(&mut hw, page.frame, at.va);
                hw.drop_code();
                hw.flush_linear(page.frame);
            }
        }
        self.flush_dcache(b, page, At::Gup);
        Ok(())
    }

    /// `flush_ptrace_access` after the store: the user's colour, not the one that was stored to.
    fn poke(&mut self, b: &Board, page: Page, at: User, offset: u32, from: &[u8]) -> Done {
        through_linear_write(b, At::Poke, page.frame, offset, from);
        let mut hw = b.hw();
        if hw.geometry().aliases() {
            hw.at(At::PtraceAccess);
            flush_pfn_alias(&mut hw, page.frame, at.va);
            hw.drop_code();
        } else if at.execute {
            hw.at(At::PtraceAccess);
            hw.flush_linear(page.frame);
            hw.drop_code();
        }
        Ok(())
    }

    fn argument(&mut self, b: &Board, page: Page, at: User, _: VirtAddr, offset: u32, from: &[u8]) -> Done {
        {
            // `flush_arg_page` comes before the bytes, `flush_dcache_page` after.
            let mut hw = b.hw();
            if hw.geometry().aliases() {
                hw.at(At::FlushArgument);
                flush_pfn_alias(&mut hw, page.frame, at.va);
                hw.drop_code();
            }
        }
        through_linear_write(b, At::Argument, page.frame, offset, from);
        self.flush_dcache(b, page, At::FlushArgument);
        Ok(())
    }

    fn device_reads(&mut self, b: &Board, page: Page, offset: u32, len: u32) -> Done {
        let mut hw = b.hw();
        hw.at(At::DmaToDevice);
        let linear = hw.linear(page.frame);
        hw.maintain(Maintenance::WriteBack, linear.add(offset.into()), len);
        Ok(())
    }

    fn device_writes(&mut self, b: &Board, page: Page, offset: u32, len: u32) -> Done {
        invalidate_for_device(b, At::DmaFromDevice, page.frame, offset, len);
        Ok(())
    }

    fn device_wrote(&mut self, b: &Board, page: Page, offset: u32, len: u32) -> Done {
        invalidate_for_device(b, At::DmaUnmap, page.frame, offset, len);
        if len == b.geometry.page() {
            *self.clean(page.frame) = true;
        }
        Ok(())
    }

    fn vmap(&mut self, b: &Board, _: &[Page], _: VirtAddr) -> Done {
        whole(b, At::Vmap, true);
        Ok(())
    }

    fn vunmap(&mut self, b: &Board, _: &[Page], _: VirtAddr) -> Done {
        whole(b, At::Vunmap, true);
        Ok(())
    }

    fn vmap_flush(&mut self, b: &Board, va: VirtAddr, len: u32) {
        let mut hw = b.hw();
        hw.at(At::FlushVmap);
        hw.maintain(Maintenance::WriteBackInvalidate, va, len);
    }

    fn vmap_invalidate(&mut self, b: &Board, va: VirtAddr, len: u32) {
        let mut hw = b.hw();
        hw.at(At::InvalidateVmap);
        hw.maintain(Maintenance::WriteBackInvalidate, va, len);
    }

    /// `coherent_user_range`, on the program's own addresses.
    fn sync_code(&mut self, b: &Board, _: Page, at: User, offset: u32, len: u32) -> Done {
        let mut hw = b.hw();
        hw.at(At::SyncCode);
        hw.maintain(Maintenance::WriteBack, at.va.add(offset.into()), len);
        hw.drop_code();
        Ok(())
    }
}

/// `v6_dma_inv_range`: lines at either end that are not whole are written back first.
fn invalidate_for_device(b: &Board, site: At, frame: Frame, offset: u32, len: u32) {
    let mut hw = b.hw();
    hw.at(site);
    let line = u64::from(hw.geometry().line());
    let start = hw.linear(frame).add(offset.into());
    let end = start.add(len.into());
    for edge in [start, end] {
        if edge.0 % line != 0 {
            hw.maintain(Maintenance::WriteBack, edge, 1);
        }
    }
    hw.maintain(Maintenance::Invalidate, start, len);
}
