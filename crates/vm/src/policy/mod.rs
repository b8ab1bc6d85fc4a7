//! What a policy is asked: every place at which a kernel touches a frame that programs map, or changes such a mapping.
//!
//! The hooks are those of Linux's `cachetlb.rst`, at the places where Linux calls them, and a few
//! more for what it has no hook for: what became true (unmapped, write-protected, freed), the end of a transfer, the kernel's own
//! mappings. The default of each is to do nothing about caches and to reach frames through their permanent address: that is the
//! policy `none`.

mod flush_always;
mod library;
mod linux_arm;
mod linux_mips;

use alloc::boxed::Box;
use alloc::rc::Rc;

use congruent_geometry::{Frame, VirtAddr};
use congruent_machine::Asid;

use crate::board::Board;
use crate::errno::Errno;
use crate::setup::{PolicyKind, Setup, SetupError};
use crate::site::At;
use crate::tables::Allowed;

/// What the kernel's frame table says of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Page {
    pub frame: Frame,
    pub owner: Owner,
}

/// Who has a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// The kernel itself.
    Kernel,
    /// Processes, as anonymous memory.
    Anon,
    /// The page cache (anonymous memory that processes share is a file without a name).
    File {
        /// The page of the file.
        index: u64,
        /// Whether any process maps any of the file (`mapping_mapped`).
        mapped: bool,
        /// Whether any process maps it shared and writable (`mapping_writably_mapped`).
        writable: bool,
    },
}

/// A page of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct User {
    pub asid: Asid,
    pub va: VirtAddr,
    /// Whether the mapping may be executed.
    pub execute: bool,
}

/// Entries that are about to change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    /// Whether the mapping may be executed.
    pub execute: bool,
    /// Whether the address space is new and has never run.
    pub fresh: bool,
}

/// What is being mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Backing {
    /// Private anonymous memory.
    Private,
    /// A file, or memory that processes share, from this page on.
    Object(u64),
}

pub(crate) type Done = Result<(), Errno>;

/// A way of keeping colours equal.
pub(crate) trait Policy {
    /// The colour at which a mapping is put when the program leaves it to the kernel; `None` if any will do.
    fn placement(&self, b: &Board, backing: Backing) -> Option<usize> {
        let _ = (b, backing);
        None
    }

    /// Whether a shared mapping may be put at another colour than [`placement`](Self::placement)'s.
    fn takes_any_colour(&self) -> bool {
        true
    }

    /// The colour at which a free frame is best used next; `None` if it is all the same.
    fn shelf(&self, b: &Board, frame: Frame) -> Option<usize> {
        let _ = (b, frame);
        None
    }

    /// The colour at which the kernel keeps a page that nobody maps yet.
    fn kernel_colour(&self, b: &Board, index: u64) -> Option<usize> {
        let _ = (b, index);
        None
    }

    /// A frame became free.
    fn freed(&mut self, b: &Board, frame: Frame) -> Done {
        let _ = (b, frame);
        Ok(())
    }

    /// An entry is about to be made or to get more rights: `set_ptes`, `update_mmu_cache_range`. `install` makes it.
    fn map(&mut self, b: &Board, page: Page, at: User, allowed: Allowed, install: &mut dyn FnMut()) -> Done {
        let _ = (b, page, at, allowed);
        install();
        Ok(())
    }

    /// Fork is about to begin: `flush_cache_dup_mm`.
    fn fork(&mut self, b: &Board) {
        let _ = b;
    }

    /// An address space is about to go: `flush_cache_mm`.
    fn exit(&mut self, b: &Board) {
        let _ = b;
    }

    /// Entries of a mapping are about to change: `flush_cache_range`.
    fn range(&mut self, b: &Board, range: Range) {
        let _ = (b, range);
    }

    /// One entry is about to change: `flush_cache_page`.
    fn page(&mut self, b: &Board, page: Page, at: User) {
        let _ = (b, page, at);
    }

    /// An entry has gone, from the TLBs as well.
    fn unmapped(&mut self, b: &Board, page: Page, va: VirtAddr) -> Done {
        let _ = (b, page, va);
        Ok(())
    }

    /// No program may store to the frame any more.
    fn write_protected(&mut self, b: &Board, page: Page) -> Done {
        let _ = (b, page);
        Ok(())
    }

    /// Fills a frame with zeros for a program that will use it at `at`: `clear_user_highpage`.
    fn clear(&mut self, b: &Board, page: Page, at: User) -> Done {
        let _ = at;
        let mut hw = b.hw();
        hw.at(At::ClearPage);
        let (linear, len) = (hw.linear(page.frame), hw.page());
        hw.zero(linear, len);
        Ok(())
    }

    /// Copies a frame for a program that will use it at `at`: `copy_user_highpage`. What was copied is in [`Hw::copied`](
    /// crate::board::Hw::copied).
    fn copy(&mut self, b: &Board, from: Page, to: Page, at: User) -> Done {
        let _ = at;
        let mut hw = b.hw();
        let (source, target, len) = (hw.linear(from.frame), hw.linear(to.frame), hw.page());
        hw.copy(source, target, len);
        Ok(())
    }

    /// Reads from the page cache: `flush_dcache_folio` and a copy.
    fn read(&mut self, b: &Board, page: Page, offset: u32, to: &mut [u8]) -> Done {
        through_linear_read(b, At::FileRead, page.frame, offset, to);
        Ok(())
    }

    /// Writes to the page cache: a copy between two `flush_dcache_folio`.
    fn write(&mut self, b: &Board, page: Page, offset: u32, from: &[u8]) -> Done {
        through_linear_write(b, At::FileWrite, page.frame, offset, from);
        Ok(())
    }

    /// A page of the page cache goes into a pipe without a copy.
    fn splice(&mut self, b: &Board, page: Page) {
        let _ = (b, page);
    }

    /// Writes all of a page that is new in the page cache, and that nobody maps.
    fn fill(&mut self, b: &Board, page: Page, from: &[u8]) -> Done {
        self.write(b, page, 0, from)
    }

    /// Reads a frame out of a pipe.
    fn read_pipe(&mut self, b: &Board, frame: Frame, offset: u32, to: &mut [u8]) -> Done {
        through_linear_read(b, At::PipeBuffer, frame, offset, to);
        Ok(())
    }

    /// Writes the beginning of a fresh frame for a pipe.
    fn write_pipe(&mut self, b: &Board, frame: Frame, from: &[u8]) -> Done {
        through_linear_write(b, At::PipeBuffer, frame, 0, from);
        Ok(())
    }

    /// The kernel is about to work on a program's page: `get_user_pages`, with its `flush_anon_page` and `flush_dcache_page`.
    fn pin(&mut self, b: &Board, page: Page, at: User) -> Done {
        let _ = (b, page, at);
        Ok(())
    }

    /// A debugger reads a pinned page: `copy_from_user_page`.
    fn peek(&mut self, b: &Board, page: Page, at: User, offset: u32, to: &mut [u8]) -> Done {
        let _ = at;
        through_linear_read(b, At::Peek, page.frame, offset, to);
        Ok(())
    }

    /// A debugger writes a pinned page: `copy_to_user_page`.
    fn poke(&mut self, b: &Board, page: Page, at: User, offset: u32, from: &[u8]) -> Done {
        let _ = at;
        through_linear_write(b, At::Poke, page.frame, offset, from);
        Ok(())
    }

    /// `process_vm_readv` reads a pinned page.
    fn remote_read(&mut self, b: &Board, page: Page, offset: u32, to: &mut [u8]) -> Done {
        through_linear_read(b, At::RemoteRead, page.frame, offset, to);
        Ok(())
    }

    /// `process_vm_writev` writes a pinned page.
    fn remote_write(&mut self, b: &Board, page: Page, offset: u32, from: &[u8]) -> Done {
        through_linear_write(b, At::RemoteWrite, page.frame, offset, from);
        Ok(())
    }

    /// Exec writes arguments to a pinned page of the new stack, which is at `at` and will be at `last`: `flush_arg_page`.
    fn argument(&mut self, b: &Board, page: Page, at: User, last: VirtAddr, offset: u32, from: &[u8]) -> Done {
        let _ = (at, last);
        through_linear_write(b, At::Argument, page.frame, offset, from);
        Ok(())
    }

    /// A device is about to read part of a frame: `dma_map` towards the device.
    fn device_reads(&mut self, b: &Board, page: Page, offset: u32, len: u32) -> Done {
        let _ = (b, page, offset, len);
        Ok(())
    }

    /// A device is about to write part of a frame: `dma_map` from the device.
    fn device_writes(&mut self, b: &Board, page: Page, offset: u32, len: u32) -> Done {
        let _ = (b, page, offset, len);
        Ok(())
    }

    /// It has: `dma_unmap`.
    fn device_wrote(&mut self, b: &Board, page: Page, offset: u32, len: u32) -> Done {
        let _ = (b, page, offset, len);
        Ok(())
    }

    /// The colour at which the kernel's own mapping of pages of an object is best put; `None` if it does not care.
    fn vmap_colour(&self, b: &Board, first: u64) -> Option<usize> {
        let _ = (b, first);
        None
    }

    /// Pages have been mapped one after the other at the kernel's address `va`: `flush_cache_vmap`.
    fn vmap(&mut self, b: &Board, pages: &[Page], va: VirtAddr) -> Done {
        let _ = (b, pages, va);
        Ok(())
    }

    /// They are about to be unmapped: `flush_cache_vunmap`.
    fn vunmap(&mut self, b: &Board, pages: &[Page], va: VirtAddr) -> Done {
        let _ = (b, pages, va);
        Ok(())
    }

    /// A device is about to read what was stored through such a mapping: `flush_kernel_vmap_range`.
    fn vmap_flush(&mut self, b: &Board, va: VirtAddr, len: u32) {
        let _ = (b, va, len);
    }

    /// A device has written what is about to be loaded through it: `invalidate_kernel_vmap_range`.
    fn vmap_invalidate(&mut self, b: &Board, va: VirtAddr, len: u32) {
        let _ = (b, va, len);
    }

    /// A fresh, zeroed frame becomes page `index` of a ring that the kernel reaches at the address that is returned, until the
    /// ring goes. `own` is an address of the colour of the program's mapping.
    fn ring(&mut self, b: &Board, frame: Frame, own: VirtAddr) -> Result<VirtAddr, Errno> {
        let _ = own;
        let mut hw = b.hw();
        hw.at(At::RingSetup);
        let (linear, len) = (hw.linear(frame), hw.page());
        hw.zero(linear, len);
        Ok(linear)
    }

    /// The ring goes.
    fn ring_end(&mut self, b: &Board, frame: Frame, own: VirtAddr) -> Done {
        let _ = (b, frame, own);
        Ok(())
    }

    /// A program has written code at its own address `at`: `cacheflush(2)`.
    fn sync_code(&mut self, b: &Board, page: Page, at: User, offset: u32, len: u32) -> Done {
        let _ = (b, page, at, offset, len);
        Ok(())
    }
}

pub(crate) fn through_linear_read(b: &Board, site: At, frame: Frame, offset: u32, to: &mut [u8]) {
    let mut hw = b.hw();
    hw.at(site);
    let linear = hw.linear(frame);
    hw.load(linear.add(offset.into()), to);
}

pub(crate) fn through_linear_write(b: &Board, site: At, frame: Frame, offset: u32, from: &[u8]) {
    let mut hw = b.hw();
    hw.at(site);
    let linear = hw.linear(frame);
    hw.store(linear.add(offset.into()), from);
}

/// The policy `none`: every default.
struct Nothing;

impl Policy for Nothing {}

/// The computer and the policy that a setup asks for.
pub(crate) fn make(setup: &Setup) -> Result<(Rc<Board>, Box<dyn Policy>), SetupError> {
    let colours = setup.dcache.colours();
    let kept = match setup.policy {
        PolicyKind::KeptWindows => setup.kept_windows.max(1).next_multiple_of(colours),
        _ => 0,
    };
    let board = Rc::new(Board::new(setup, kept)?);
    let policy: Box<dyn Policy> = match setup.policy {
        PolicyKind::None => Box::new(Nothing),
        PolicyKind::FlushAlways => Box::new(flush_always::FlushAlways),
        PolicyKind::LinuxMips => Box::new(linux_mips::LinuxMips::new(setup.frames)),
        PolicyKind::LinuxArm => Box::new(linux_arm::LinuxArm::new(setup.frames)),
        kind => Box::new(library::Library::new(Rc::clone(&board), kind, kept).map_err(SetupError::Library)?),
    };
    Ok((board, policy))
}
