//! The library `congruent` in the place of a policy: every hook is one call of its public surface.

use alloc::rc::Rc;
use alloc::vec::Vec;

use congruent::{
    At as Colour, Config, ConfigError, Congruent, Error, KeptArea, Policy as Finding, ReadOnly, ReadWrite, Rights, TransferId,
    WindowArea,
};
use congruent_geometry::{Frame, VirtAddr};

use super::{Backing, Done, Owner, Page, Policy, User};
use crate::board::Board;
use crate::errno::Errno;
use crate::platform::LibraryPlatform;
use crate::setup::PolicyKind;
use crate::site::At;
use crate::tables::{Allowed, KEPT, WINDOWS};

pub(super) struct Library {
    congruent: Congruent<LibraryPlatform>,
    kind: PolicyKind,
    /// What devices are writing.
    flights: Vec<TransferId>,
}

/// Everything that the library refuses passes by itself, or cannot happen in this kernel.
fn refused(error: Error) -> Errno {
    match error {
        Error::Busy(_)
        | Error::MustRevoke(_)
        | Error::InUse { .. }
        | Error::Device(_)
        | Error::Full(_)
        | Error::NoSlot { .. } => Errno::Busy,
        _ => Errno::Invalid,
    }
}

impl Library {
    pub fn new(board: Rc<Board>, kind: PolicyKind, kept: u32) -> Result<Self, ConfigError> {
        let windows = WindowArea::new(VirtAddr(WINDOWS), 4, 2);
        let mut config = Config::new(board.geometry, windows);
        config.speculative = false;
        config.policy = if kind == PolicyKind::ReverseLookup { Finding::ReverseLookup } else { Finding::Remember };
        config.kept = (kept > 0).then_some(KeptArea::new(VirtAddr(KEPT), kept.next_power_of_two()));
        board.hw().at(At::Boot);
        let platform = LibraryPlatform::new(board, kind != PolicyKind::KeptWindows);
        Ok(Self { congruent: Congruent::new(platform, config)?, kind, flights: Vec::new() })
    }

    fn colour(&self, index: usize) -> Option<congruent::Colour<LibraryPlatform>> {
        self.congruent.colour_from_index(index % self.congruent.geometry().colours() as usize)
    }

    fn of(&self, va: VirtAddr) -> Colour<LibraryPlatform> {
        Colour::Colour(self.congruent.colour(va))
    }

    /// Nobody has opened it yet, so any colour of the right number will do for what nobody maps.
    fn home(&self, colour: Option<usize>) -> Colour<LibraryPlatform> {
        colour.and_then(|index| self.colour(index)).map_or(Colour::Home, Colour::Colour)
    }
}

impl Library {
    /// Where the kernel reaches a page of the cache: where it is, but at the colour of its place in the file if it is nowhere yet
    /// (a device has filled it), so that programs that map it later find it at theirs.
    fn best(&self, page: Page) -> Colour<LibraryPlatform> {
        let nowhere = self.congruent.is_cached(page.frame) == Ok(false) && self.congruent.is_mapped(page.frame) == Ok(false);
        match page.owner {
            Owner::File { index, .. } if nowhere => Colour::Colour(self.congruent.file_colour(index)),
            _ => Colour::Home,
        }
    }
}

impl Policy for Library {
    fn placement(&self, _: &Board, backing: Backing) -> Option<usize> {
        match backing {
            Backing::Private => None,
            Backing::Object(first) => Some(self.congruent.file_colour(first).index()),
        }
    }

    /// A frame that nothing of is cached suits any colour; one chosen by its permanent address needs no window.
    fn shelf(&self, _: &Board, frame: Frame) -> Option<usize> {
        if self.kind == PolicyKind::FrameColoured {
            return self.congruent.linear_colour(frame).map(|colour| colour.index());
        }
        let hint = self.congruent.colour_hint(frame).ok()?;
        (self.congruent.is_cached(frame) == Ok(true)).then_some(hint.index())
    }

    fn kernel_colour(&self, _: &Board, index: u64) -> Option<usize> {
        Some(self.congruent.file_colour(index).index())
    }

    fn freed(&mut self, b: &Board, frame: Frame) -> Done {
        b.hw().at(At::AfterUnmap);
        self.congruent.freed(frame).map_err(refused)
    }

    fn map(&mut self, b: &Board, page: Page, at: User, allowed: Allowed, install: &mut dyn FnMut()) -> Done {
        b.hw().at(At::SetPte);
        let rights = Rights::READ.with_write(allowed.write).with_execute(allowed.execute);
        self.congruent.map_user(page.frame, at.va, rights, install).map_err(refused)
    }

    fn unmapped(&mut self, b: &Board, page: Page, _: VirtAddr) -> Done {
        if b.hw().users(page.frame).is_empty() { self.congruent.unmapped(page.frame).map_err(refused) } else { Ok(()) }
    }

    fn write_protected(&mut self, b: &Board, page: Page) -> Done {
        if b.hw().writable(page.frame) { Ok(()) } else { self.congruent.write_protected(page.frame).map_err(refused) }
    }

    fn clear(&mut self, b: &Board, page: Page, at: User) -> Done {
        b.hw().at(At::ClearPage);
        self.congruent.clear(page.frame, self.of(at.va)).map_err(refused)
    }

    fn copy(&mut self, b: &Board, from: Page, to: Page, at: User) -> Done {
        b.hw().at(At::CopyPage);
        if matches!(from.owner, Owner::File { .. }) {
            drop(self.congruent.settle::<ReadOnly>(from.frame, self.best(from)).map_err(refused)?);
        }
        self.congruent.copy(from.frame, to.frame, self.of(at.va)).map_err(refused)
    }

    fn read(&mut self, b: &Board, page: Page, offset: u32, to: &mut [u8]) -> Done {
        b.hw().at(At::FileRead);
        let settled = self.congruent.settle::<ReadOnly>(page.frame, self.best(page)).map_err(refused)?;
        settled.open().and_then(|window| window.read(offset, to)).map_err(refused)
    }

    fn write(&mut self, b: &Board, page: Page, offset: u32, from: &[u8]) -> Done {
        b.hw().at(At::FileWrite);
        let settled = self.congruent.settle::<ReadWrite>(page.frame, self.best(page)).map_err(refused)?;
        settled.open().and_then(|window| window.write(offset, from)).map_err(refused)
    }

    fn read_pipe(&mut self, b: &Board, frame: Frame, offset: u32, to: &mut [u8]) -> Done {
        b.hw().at(At::PipeBuffer);
        self.congruent.read(frame, offset, to).map_err(refused)
    }

    fn write_pipe(&mut self, b: &Board, frame: Frame, from: &[u8]) -> Done {
        b.hw().at(At::PipeBuffer);
        let at = self.home(self.shelf(b, frame));
        self.congruent.fill(frame, at, from).map_err(refused)
    }

    fn fill(&mut self, b: &Board, page: Page, from: &[u8]) -> Done {
        b.hw().at(At::FileWrite);
        let colour = match page.owner {
            Owner::File { index, .. } => Some(self.congruent.file_colour(index).index()),
            _ => None,
        };
        self.congruent.fill(page.frame, self.home(colour), from).map_err(refused)
    }

    fn vmap_colour(&self, _: &Board, first: u64) -> Option<usize> {
        Some(self.congruent.file_colour(first).index())
    }

    fn peek(&mut self, b: &Board, page: Page, _: User, offset: u32, to: &mut [u8]) -> Done {
        b.hw().at(At::Peek);
        self.congruent.read(page.frame, offset, to).map_err(refused)
    }

    fn poke(&mut self, b: &Board, page: Page, at: User, offset: u32, from: &[u8]) -> Done {
        b.hw().at(At::Poke);
        match at.execute {
            true => self.congruent.poke(page.frame, offset, from),
            false => self.congruent.write(page.frame, offset, from),
        }
        .map_err(refused)
    }

    fn remote_read(&mut self, b: &Board, page: Page, offset: u32, to: &mut [u8]) -> Done {
        b.hw().at(At::RemoteRead);
        self.congruent.read(page.frame, offset, to).map_err(refused)
    }

    fn remote_write(&mut self, b: &Board, page: Page, offset: u32, from: &[u8]) -> Done {
        b.hw().at(At::RemoteWrite);
        self.congruent.write(page.frame, offset, from).map_err(refused)
    }

    fn argument(&mut self, b: &Board, page: Page, _: User, last: VirtAddr, offset: u32, from: &[u8]) -> Done {
        b.hw().at(At::Argument);
        self.congruent.write_argument(page.frame, last.add(offset.into()), from).map_err(refused)
    }

    fn device_reads(&mut self, b: &Board, page: Page, offset: u32, len: u32) -> Done {
        b.hw().at(At::DmaToDevice);
        self.congruent.device_reads(page.frame, offset, len).map_err(refused)
    }

    fn device_writes(&mut self, b: &Board, page: Page, offset: u32, len: u32) -> Done {
        b.hw().at(At::DmaFromDevice);
        self.flights.push(self.congruent.device_writes(page.frame, offset, len).map_err(refused)?.leak());
        Ok(())
    }

    fn device_wrote(&mut self, b: &Board, page: Page, offset: u32, len: u32) -> Done {
        b.hw().at(At::DmaUnmap);
        let ended = |flight: &TransferId| flight.frame() == page.frame && flight.bytes() == (offset, len);
        let flight = self.flights.iter().position(ended).expect("a transfer that ends has begun");
        self.congruent.resume_transfer(self.flights.swap_remove(flight)).complete().map_err(|(transfer, error)| {
            self.flights.push(transfer.leak());
            refused(error)
        })
    }

    /// Each frame is held at the area's colour for as long as the area lives.
    fn vmap(&mut self, b: &Board, pages: &[Page], va: VirtAddr) -> Done {
        b.hw().at(At::Vmap);
        let mut step = 0;
        for (number, page) in pages.iter().enumerate() {
            match self.congruent.settle::<ReadWrite>(page.frame, self.of(va.add(step))) {
                Ok(settled) => settled.hold().leak(),
                Err(error) => {
                    for held in &pages[..number] {
                        drop(self.congruent.resume(held.frame).map_err(refused)?);
                    }
                    return Err(refused(error));
                }
            }
            step += u64::from(b.geometry.page());
        }
        Ok(())
    }

    fn vunmap(&mut self, _: &Board, pages: &[Page], _: VirtAddr) -> Done {
        for page in pages {
            drop(self.congruent.resume(page.frame).map_err(refused)?);
        }
        Ok(())
    }

    fn ring(&mut self, b: &Board, frame: Frame, own: VirtAddr) -> Result<VirtAddr, Errno> {
        b.hw().at(At::RingSetup);
        self.congruent.clear(frame, self.of(own)).map_err(refused)?;
        self.congruent.settle::<ReadWrite>(frame, self.of(own)).map_err(refused)?.hold().leak();
        b.hw().map_kernel(own, frame);
        Ok(own)
    }

    fn ring_end(&mut self, b: &Board, frame: Frame, own: VirtAddr) -> Done {
        b.hw().unmap_kernel(own);
        drop(self.congruent.resume(frame).map_err(refused)?);
        Ok(())
    }

    fn sync_code(&mut self, b: &Board, page: Page, _: User, _: u32, _: u32) -> Done {
        b.hw().at(At::SyncCode);
        self.congruent.sync_instructions(page.frame).map_err(refused)
    }
}
