//! The simple policy that is right: flush the page whenever it crosses between program and kernel, or between colours.
//!
//! What it keeps true: outside the hooks below a frame is cached only at the one colour at which programs have it mapped; the
//! kernel's permanent address holds no copy once the kernel is done with it, and an unmapped frame is not cached at all. So
//! whoever comes next sees memory, and memory is new. Rights that would contradict this are taken back.

use congruent_geometry::{Frame, VirtAddr};
use congruent_trace::Maintenance;

use super::{Backing, Done, Page, Policy, User};
use crate::board::{Board, Hw};
use crate::errno::Errno;
use crate::site::At;
use crate::tables::Allowed;

pub(super) struct FlushAlways;

/// Brings what programs stored to memory, from every colour at which they have the frame mapped.
fn gather(hw: &mut Hw, frame: Frame) {
    let mut done = 0_usize;
    for at in 0..hw.users(frame).len() {
        let va = hw.users(frame)[at].1;
        let colour = hw.colour(va);
        if at == 0 || colour != done {
            hw.flush_at(frame, va);
        }
        done = colour;
    }
}

/// The kernel's own access, through the permanent address, which holds nothing before and after.
fn cross<R>(b: &Board, site: At, frame: Frame, work: impl FnOnce(&mut Hw, VirtAddr) -> R) -> R {
    let mut hw = b.hw();
    hw.at(site);
    gather(&mut hw, frame);
    let linear = hw.linear(frame);
    let result = work(&mut hw, linear);
    hw.at(site);
    hw.flush_page(linear);
    result
}

fn load(b: &Board, site: At, frame: Frame, offset: u32, to: &mut [u8]) -> Done {
    cross(b, site, frame, |hw, va| hw.load(va.add(offset.into()), to));
    Ok(())
}

fn store(b: &Board, site: At, frame: Frame, offset: u32, from: &[u8]) -> Done {
    cross(b, site, frame, |hw, va| hw.store(va.add(offset.into()), from));
    Ok(())
}

/// Takes all of a frame's mappings away and empties their colours.
fn evict(b: &Board, site: At, frame: Frame) {
    let mut hw = b.hw();
    hw.at(site);
    let users = hw.users(frame).to_vec();
    for (asid, va) in users {
        hw.clear_pte(asid, va);
        hw.flush_at(frame, va);
    }
}

impl Policy for FlushAlways {
    fn placement(&self, _: &Board, backing: Backing) -> Option<usize> {
        match backing {
            Backing::Private => None,
            Backing::Object(first) => Some(first as usize),
        }
    }

    fn map(&mut self, b: &Board, page: Page, at: User, allowed: Allowed, install: &mut dyn FnMut()) -> Done {
        {
            let mut hw = b.hw();
            hw.at(At::SetPte);
            let colour = hw.colour(at.va);
            let others: alloc::vec::Vec<_> =
                hw.users(page.frame).iter().copied().filter(|(_, va)| hw.colour(*va) != colour).collect();
            for (asid, va) in others {
                hw.clear_pte(asid, va);
                hw.flush_at(page.frame, va);
            }
            if allowed.execute {
                hw.flush_at(page.frame, at.va);
                hw.drop_code();
            }
        }
        install();
        Ok(())
    }

    /// Not needed, as the copy flushes its source; kernels that flushed here only were wrong (see the story in the tests).
    fn fork(&mut self, b: &Board) {
        let mut hw = b.hw();
        hw.at(At::Fork);
        hw.flush_whole();
    }

    fn unmapped(&mut self, b: &Board, page: Page, va: VirtAddr) -> Done {
        let mut hw = b.hw();
        hw.at(At::AfterUnmap);
        hw.flush_at(page.frame, va);
        Ok(())
    }

    fn clear(&mut self, b: &Board, page: Page, _: User) -> Done {
        let len = b.geometry.page();
        cross(b, At::ClearPage, page.frame, |hw, va| hw.zero(va, len));
        Ok(())
    }

    fn copy(&mut self, b: &Board, from: Page, to: Page, _: User) -> Done {
        let mut hw = b.hw();
        hw.at(At::CopySourceFlush);
        gather(&mut hw, from.frame);
        let (source, target, len) = (hw.linear(from.frame), hw.linear(to.frame), hw.page());
        hw.copy(source, target, len);
        hw.at(At::CopyPage);
        hw.flush_page(source);
        hw.flush_page(target);
        Ok(())
    }

    fn read(&mut self, b: &Board, page: Page, offset: u32, to: &mut [u8]) -> Done {
        load(b, At::FileRead, page.frame, offset, to)
    }

    fn write(&mut self, b: &Board, page: Page, offset: u32, from: &[u8]) -> Done {
        store(b, At::FileWrite, page.frame, offset, from)
    }

    fn read_pipe(&mut self, b: &Board, frame: Frame, offset: u32, to: &mut [u8]) -> Done {
        load(b, At::PipeBuffer, frame, offset, to)
    }

    fn write_pipe(&mut self, b: &Board, frame: Frame, from: &[u8]) -> Done {
        store(b, At::PipeBuffer, frame, 0, from)
    }

    fn peek(&mut self, b: &Board, page: Page, _: User, offset: u32, to: &mut [u8]) -> Done {
        load(b, At::Peek, page.frame, offset, to)
    }

    fn poke(&mut self, b: &Board, page: Page, at: User, offset: u32, from: &[u8]) -> Done {
        store(b, At::Poke, page.frame, offset, from)?;
        if at.execute {
            b.hw().drop_code();
        }
        Ok(())
    }

    fn remote_read(&mut self, b: &Board, page: Page, offset: u32, to: &mut [u8]) -> Done {
        load(b, At::RemoteRead, page.frame, offset, to)
    }

    fn remote_write(&mut self, b: &Board, page: Page, offset: u32, from: &[u8]) -> Done {
        store(b, At::RemoteWrite, page.frame, offset, from)
    }

    fn argument(&mut self, b: &Board, page: Page, _: User, _: VirtAddr, offset: u32, from: &[u8]) -> Done {
        store(b, At::Argument, page.frame, offset, from)
    }

    /// A program may go on storing while a device reads; what it stores then may or may not be read.
    fn device_reads(&mut self, b: &Board, page: Page, _: u32, _: u32) -> Done {
        let mut hw = b.hw();
        hw.at(At::DmaToDevice);
        gather(&mut hw, page.frame);
        Ok(())
    }

    /// Nobody maps the frame while a device writes it: a store beside what it writes would bring the old bytes back.
    fn device_writes(&mut self, b: &Board, page: Page, _: u32, _: u32) -> Done {
        evict(b, At::DmaFromDevice, page.frame);
        Ok(())
    }

    fn vmap(&mut self, b: &Board, pages: &[Page], _: VirtAddr) -> Done {
        for page in pages {
            evict(b, At::Vmap, page.frame);
        }
        Ok(())
    }

    fn vunmap(&mut self, b: &Board, pages: &[Page], va: VirtAddr) -> Done {
        let mut hw = b.hw();
        hw.at(At::Vunmap);
        let len = hw.page() * pages.len() as u32;
        hw.maintain(Maintenance::WriteBackInvalidate, va, len);
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

    /// A ring is used by both sides at once, so flushing at crossings cannot work: the kernel reaches it at the program's colour.
    fn ring(&mut self, b: &Board, frame: Frame, own: VirtAddr) -> Result<VirtAddr, Errno> {
        cross(b, At::RingSetup, frame, |hw, va| {
            let len = hw.page();
            hw.zero(va, len);
        });
        b.hw().map_kernel(own, frame);
        Ok(own)
    }

    fn ring_end(&mut self, b: &Board, frame: Frame, own: VirtAddr) -> Done {
        let _ = frame;
        let mut hw = b.hw();
        hw.at(At::RingSetup);
        hw.flush_page(own);
        hw.unmap_kernel(own);
        Ok(())
    }

    fn sync_code(&mut self, b: &Board, page: Page, at: User, _: u32, _: u32) -> Done {
        let mut hw = b.hw();
        hw.at(At::SyncCode);
        hw.flush_at(page.frame, at.va);
        hw.drop_code();
        Ok(())
    }
}
