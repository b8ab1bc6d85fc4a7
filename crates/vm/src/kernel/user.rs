//! What programs do themselves, and how the kernel reaches their memory at their own addresses.
//!
//! Guarantees: an access is made page by page; each page's part happens at once, to machine and model alike. One that faults is
//! made again when the fault has been dealt with.

use alloc::vec::Vec;

use congruent_machine::{Asid, Fault, Medium};

use super::space::{Piece, pieces, within};
use super::{Kernel, Need};
use crate::board::Hw;
use crate::errno::Errno;
use crate::op::pattern;
use crate::outcome::{Whereabouts, Witness};
use crate::site::At;
use crate::watch::Sight;
use crate::{AreaId, Bytes, TaskId};

/// How often an access is tried: taking turns with others is no reason to fault for ever.
const TRIES: usize = 8;

impl<M: Medium> Kernel<M> {
    /// The pages that some bytes of a mapping of this process lie in.
    pub(super) fn reachable(&self, asid: Asid, bytes: Bytes) -> Result<(), Errno> {
        within(bytes, self.area(asid, bytes.area)?.entries.len(), self.page)
    }

    /// An access to a page of the running program, at its own address, until it does not fault.
    fn touch<R>(
        &mut self,
        (asid, area, page): (Asid, AreaId, u32),
        offset: u32,
        need: Need,
        site: At,
        mut access: impl FnMut(&mut Hw, congruent_geometry::VirtAddr) -> Result<R, Fault>,
    ) -> Result<R, Errno> {
        for _ in 0..TRIES {
            let va = self.area(asid, area)?.va(page, &self.b.geometry).add(offset.into());
            let tried = {
                let mut hw = self.b.hw();
                hw.at(site);
                access(&mut hw, va)
            };
            match tried {
                Ok(result) => return Ok(result),
                Err(_) => self.fault(asid, area, page, need, false)?,
            };
        }
        Err(Errno::Busy)
    }

    /// Loads a part of a page at the program's own address, and compares.
    fn fetch_from(
        &mut self,
        task: TaskId,
        asid: Asid,
        area: AreaId,
        piece: Piece,
        who: (Witness, At),
        to: &mut [u8],
    ) -> Result<(), Errno> {
        let (witness, site) = who;
        let place = (asid, area, piece.page);
        self.touch(place, piece.offset, Need::Read, site, |hw, va| match to.len() {
            1..=8 => {
                let value = hw.machine.load(hw.cpu, va, to.len() as u32)?.to_le_bytes();
                to.copy_from_slice(&value[..to.len()]);
                Ok(())
            }
            _ => hw.machine.read(hw.cpu, va, to),
        })?;
        let offset = piece.offset as usize;
        let want = &self.model.leaf(asid.0, area, piece.page).bytes[offset..offset + to.len()];
        if to != want {
            self.booked_at(task, asid, area, piece, (witness, site), to)?;
        }
        Ok(())
    }

    /// Books what a program's own address showed.
    fn booked_at(
        &mut self,
        task: TaskId,
        asid: Asid,
        area: AreaId,
        piece: Piece,
        who: (Witness, At),
        got: &[u8],
    ) -> Result<(), Errno> {
        let va = self.area(asid, area)?.va(piece.page, &self.b.geometry).add(piece.offset.into());
        let mut hw = self.b.hw();
        let paddr = hw.physical(va).ok();
        let offset = piece.offset as usize;
        let want = &self.model.leaf(asid.0, area, piece.page).bytes[offset..offset + got.len()];
        let start = piece.page * self.page + piece.offset;
        let place = |at: u32| Whereabouts::Memory { task, area, offset: start + at };
        self.watch.compare(&hw, &Sight { witness: who.0, site: who.1.site(), paddr }, got, want, place);
        Ok(())
    }

    /// Stores a part of a page at the program's own address.
    fn store_to(&mut self, asid: Asid, area: AreaId, piece: Piece, site: At, from: &[u8]) -> Result<(), Errno> {
        self.touch((asid, area, piece.page), piece.offset, Need::Write, site, |hw, va| match from.len() {
            1..=8 => {
                let mut value = [0; 8];
                value[..from.len()].copy_from_slice(from);
                hw.machine.store(hw.cpu, va, from.len() as u32, u64::from_le_bytes(value))
            }
            _ => hw.machine.write(hw.cpu, va, from),
        })?;
        self.model.write(asid.0, area, piece.page, piece.offset, from, true);
        Ok(())
    }

    pub(super) fn load(&mut self, task: TaskId, bytes: Bytes) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        self.reachable(asid, bytes)?;
        let mut scratch = core::mem::take(&mut self.scratch);
        let mut result = Ok(bytes.len);
        for piece in pieces(bytes, self.page) {
            scratch.resize(piece.len as usize, 0);
            let who = (Witness::Task(task), At::UserLoad);
            if let Err(error) = self.fetch_from(task, asid, bytes.area, piece, who, &mut scratch) {
                result = Err(error);
                break;
            }
        }
        self.scratch = scratch;
        result
    }

    pub(super) fn store(&mut self, task: TaskId, to: Bytes, seed: u32) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        self.reachable(asid, to)?;
        let mut scratch = core::mem::take(&mut self.scratch);
        let mut result = Ok(to.len);
        for piece in pieces(to, self.page) {
            scratch.clear();
            scratch.extend((piece.done..piece.done + piece.len).map(|at| pattern(seed, at)));
            if let Err(error) = self.store_to(asid, to.area, piece, At::UserStore, &scratch) {
                result = Err(error);
                break;
            }
        }
        self.scratch = scratch;
        result
    }

    pub(super) fn increment(&mut self, task: TaskId, area: AreaId, offset: u32) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        if !offset.is_multiple_of(4) {
            return Err(Errno::Invalid);
        }
        let bytes = Bytes { area, offset, len: 4 };
        self.reachable(asid, bytes)?;
        let piece = Piece { page: offset / self.page, offset: offset % self.page, len: 4, done: 0 };
        let old = self.touch((asid, area, piece.page), piece.offset, Need::Write, At::UserIncrement, |hw, va| {
            hw.machine.update(hw.cpu, va, 4, |old| u64::from((old as u32).wrapping_add(1)))
        })? as u32;
        self.incremented(task, asid, area, piece, old)?;
        Ok(4)
    }

    /// An increment has taken effect.
    pub(super) fn incremented(&mut self, task: TaskId, asid: Asid, area: AreaId, piece: Piece, old: u32) -> Result<(), Errno> {
        self.booked_at(task, asid, area, piece, (Witness::Task(task), At::UserIncrement), &old.to_le_bytes())?;
        let new = old.wrapping_add(1).to_le_bytes();
        self.model.write(asid.0, area, piece.page, piece.offset, &new, true);
        Ok(())
    }

    pub(super) fn run(&mut self, task: TaskId, bytes: Bytes) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        self.reachable(asid, bytes)?;
        if !self.area(asid, bytes.area)?.execute {
            return Err(Errno::Fault);
        }
        for piece in pieces(bytes, self.page) {
            // A program that has not said that it wrote code may run the old; the site tells the two apart.
            let early = self.model.leaf(asid.0, bytes.area, piece.page).unsynced;
            let site = if early { At::UserRunEarly } else { At::UserRun };
            let mut got = Vec::with_capacity(piece.len as usize);
            for at in (0..piece.len).step_by(8) {
                let size = (piece.len - at).min(8);
                let place = (asid, bytes.area, piece.page);
                let fetched =
                    self.touch(place, piece.offset + at, Need::Execute, site, |hw, va| hw.machine.fetch(hw.cpu, va, size))?;
                got.extend_from_slice(&fetched.to_le_bytes()[..size as usize]);
            }
            // Mapping the page for execution may just have made it new.
            if !early {
                self.booked_at(task, asid, bytes.area, piece, (Witness::Task(task), site), &got)?;
            }
        }
        Ok(bytes.len)
    }

    pub(super) fn sync_code(&mut self, task: TaskId, bytes: Bytes) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        self.reachable(asid, bytes)?;
        for piece in pieces(bytes, self.page) {
            // Cache instructions fault as loads do.
            let frame = self.fault(asid, bytes.area, piece.page, Need::Read, false)?;
            let user = self.user(asid, self.area(asid, bytes.area)?, piece.page);
            let page = self.page_of(frame);
            self.policy.sync_code(&self.b, page, user, piece.offset, piece.len)?;
            if piece.len == self.page {
                self.model.synced(asid.0, bytes.area, piece.page);
            }
        }
        Ok(bytes.len)
    }

    /// The kernel takes bytes from the running program, page by page; what it saw goes on, right or wrong.
    pub(super) fn take_from_user(&mut self, task: TaskId, from: Bytes, to: &mut [u8]) -> Result<(), Errno> {
        let asid = self.asid(task)?;
        self.reachable(asid, from)?;
        for piece in pieces(from, self.page) {
            let part = &mut to[piece.done as usize..(piece.done + piece.len) as usize];
            self.fetch_from(task, asid, from.area, piece, (Witness::Kernel, At::CopyFromUser), part)?;
        }
        Ok(())
    }

    /// The kernel gives bytes to the running program, page by page.
    pub(super) fn give_to_user(&mut self, task: TaskId, to: Bytes, from: &[u8]) -> Result<(), Errno> {
        let asid = self.asid(task)?;
        self.reachable(asid, to)?;
        for piece in pieces(to, self.page) {
            let part = &from[piece.done as usize..(piece.done + piece.len) as usize];
            self.store_to(asid, to.area, piece, At::CopyToUser, part)?;
        }
        Ok(())
    }
}
