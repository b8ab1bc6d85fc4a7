//! Direct I/O: the device works on the program's own frames, at any byte.
//!
//! Guarantees: while it does, the pages are pinned, and accesses of other threads to the very bytes do not happen (what they would
//! see or leave behind is nobody's promise); accesses to their neighbours do.

use alloc::vec::Vec;

use congruent_geometry::{Frame, PhysAddr};
use congruent_machine::{Medium, SECTOR};

use super::files::Key;
use super::frames::Use;
use super::space::{Piece, pieces};
use super::{Kernel, Need};
use crate::errno::Errno;
use crate::outcome::{Whereabouts, Witness};
use crate::point::Point;
use crate::site::At;
use crate::watch::Sight;
use crate::{Bytes, FileId, TaskId};

/// A part of the program's memory in one frame.
#[derive(Clone, Copy)]
struct Part {
    frame: Frame,
    piece: Piece,
}

const SECTOR_LEN: u32 = SECTOR as u32;

impl<M: Medium> Kernel<M> {
    /// The pages of some bytes, present and pinned: `get_user_pages`.
    fn pin_user(&mut self, task: TaskId, bytes: Bytes, need: Need) -> Result<Vec<Part>, Errno> {
        let asid = self.asid(task)?;
        self.reachable(asid, bytes)?;
        if self.area(asid, bytes.area)?.ring {
            return Err(Errno::Fault);
        }
        let mut parts = Vec::new();
        for piece in pieces(bytes, self.page) {
            let pinned = self.fault(asid, bytes.area, piece.page, need, false).and_then(|frame| {
                self.frames.pin(frame);
                parts.push(Part { frame, piece });
                let user = self.user(asid, self.area(asid, bytes.area)?, piece.page);
                let page = self.page_of(frame);
                self.policy.pin(&self.b, page, user)
            });
            if let Err(error) = pinned {
                self.unpin_user(&parts);
                return Err(error);
            }
        }
        self.transfers = parts.iter().map(|part| (self.paddr(part), part.piece.len)).collect();
        Ok(parts)
    }

    fn unpin_user(&mut self, parts: &[Part]) {
        self.transfers.clear();
        for part in parts {
            self.frames.unpin(part.frame);
        }
    }

    fn paddr(&self, part: &Part) -> PhysAddr {
        self.base(part.frame).add(part.piece.offset.into())
    }

    /// Where the bytes of one sector of a transfer are.
    fn sector_pieces(&self, parts: &[Part], sector: u32) -> Vec<(PhysAddr, u32)> {
        let (start, end) = (sector * SECTOR_LEN, (sector + 1) * SECTOR_LEN);
        let overlap = |part: &Part| {
            let from = part.piece.done.max(start);
            let to = (part.piece.done + part.piece.len).min(end);
            (from < to).then(|| (self.paddr(part).add(u64::from(from - part.piece.done)), to - from))
        };
        parts.iter().filter_map(overlap).collect()
    }

    /// The sector of the disk that holds this byte of a file.
    fn sector_of(&mut self, file: FileId, at: u32) -> u64 {
        let (page, per_page) = (self.page, self.disk.per_page());
        let block = self.object(Key::File(file)).blocks[(at / page) as usize];
        block * per_page + u64::from(at % page / SECTOR_LEN)
    }

    fn check_direct(&mut self, file: FileId, at: u32, len: u32) -> Result<(), Errno> {
        let object = self.file(file)?;
        let piped = object.piped > 0;
        if !at.is_multiple_of(SECTOR_LEN) || !len.is_multiple_of(SECTOR_LEN) || at.checked_add(len).is_none() {
            return Err(Errno::Invalid);
        }
        if piped { Err(Errno::Busy) } else { Ok(()) }
    }

    fn pages_of(&self, at: u32, len: u32) -> core::ops::Range<u32> {
        at / self.page..(at + len).div_ceil(self.page)
    }

    pub(super) fn direct_read(&mut self, task: TaskId, file: FileId, at: u32, to: Bytes) -> Result<u32, Errno> {
        self.check_direct(file, at, to.len)?;
        let len = self.file(file)?.len.saturating_sub(at) / SECTOR_LEN * SECTOR_LEN;
        let to = Bytes { len: to.len.min(len), ..to };
        for index in self.pages_of(at, to.len) {
            self.write_back(file, index)?;
        }
        let parts = self.pin_user(task, to, Need::Write)?;
        let mut ready = 0;
        let mut error = None;
        for part in &parts {
            let page = self.page_of(part.frame);
            if let Err(refused) = self.policy.device_writes(&self.b, page, part.piece.offset, part.piece.len) {
                error = Some(refused);
                break;
            }
            ready += 1;
        }
        let mut done = 0;
        if error.is_none() {
            self.preempt(Point::Pinned);
            while done < to.len {
                let sector = self.sector_of(file, at + done);
                let places = self.sector_pieces(&parts, done / SECTOR_LEN);
                if let Err(failed) = self.disk.read_sector(&self.b, sector, &places) {
                    error = Some(failed);
                    break;
                }
                done += SECTOR_LEN;
                self.preempt(Point::Transferring);
            }
        }
        for part in &parts[..ready] {
            let page = self.page_of(part.frame);
            self.policy.device_wrote(&self.b, page, part.piece.offset, part.piece.len)?;
            if let Use::File(key, index) = self.frames.used(part.frame) {
                // Reclaim may have written it to the disk meanwhile.
                self.soil(key, index);
            }
        }
        self.unpin_user(&parts);
        let asid = self.asid(task)?;
        let source = Bytes { area: to.area, offset: at, len: done };
        for from in pieces(source, self.page) {
            let target = Bytes { offset: to.offset + from.done, len: from.len, ..to };
            let bytes = self.model.disk_bytes(file, from.page)[from.offset as usize..(from.offset + from.len) as usize].to_vec();
            for piece in pieces(target, self.page) {
                let part = &bytes[piece.done as usize..(piece.done + piece.len) as usize];
                self.model.write(asid.0, to.area, piece.page, piece.offset, part, true);
            }
        }
        match error {
            Some(error) if done == 0 => Err(error),
            _ => Ok(done),
        }
    }

    pub(super) fn direct_write(&mut self, task: TaskId, file: FileId, at: u32, from: Bytes) -> Result<u32, Errno> {
        self.check_direct(file, at, from.len)?;
        self.reachable(self.asid(task)?, from)?;
        self.extend(file, at + from.len)?;
        for index in self.pages_of(at, from.len) {
            self.write_back(file, index)?;
        }
        let parts = self.pin_user(task, from, Need::Read)?;
        let mut seen = Vec::new();
        let written = self.write_sectors(task, file, at, from, &parts, &mut seen);
        self.unpin_user(&parts);
        self.replace_cached(file, at, &seen)?;
        match written {
            Err(error) if seen.is_empty() => Err(error),
            _ => Ok(seen.len() as u32),
        }
    }

    /// Moves sectors until one fails; what the device took of them is in `seen`.
    fn write_sectors(
        &mut self,
        task: TaskId,
        file: FileId,
        at: u32,
        from: Bytes,
        parts: &[Part],
        seen: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        for part in parts {
            let page = self.page_of(part.frame);
            self.policy.device_reads(&self.b, page, part.piece.offset, part.piece.len)?;
        }
        self.preempt(Point::Pinned);
        for done in (0..from.len).step_by(SECTOR) {
            let sector = self.sector_of(file, at + done);
            let places = self.sector_pieces(parts, done / SECTOR_LEN);
            let taken = self.disk.write_sector(&self.b, sector, &places)?;
            self.disk_took(task, file, at + done, Bytes { offset: from.offset + done, ..from }, &places, &taken);
            seen.extend_from_slice(&taken);
            self.preempt(Point::Transferring);
        }
        Ok(())
    }

    /// The disk has new bytes of a file, right or wrong: they are the file's from now on, and what is cached is old.
    fn replace_cached(&mut self, file: FileId, at: u32, seen: &[u8]) -> Result<(), Errno> {
        let len = seen.len() as u32;
        for piece in pieces(Bytes { area: crate::AreaId(0), offset: at, len }, self.page) {
            let part = &seen[piece.done as usize..(piece.done + piece.len) as usize];
            self.model.write_file(file, piece.page, piece.offset, part);
            self.model.write_disk(file, piece.page, piece.offset, part);
            let cached = self.object(Key::File(file)).cache.get(&piece.page).copied();
            if let Some(cached) = cached {
                self.unmap_cached(cached.frame)?;
                self.drop_cached(file, piece.page);
            }
        }
        let object = self.file(file)?;
        object.len = object.len.max(at + len);
        Ok(())
    }

    /// The disk has taken a sector from the program's memory.
    fn disk_took(&mut self, task: TaskId, file: FileId, at: u32, from: Bytes, places: &[(PhysAddr, u32)], seen: &[u8; SECTOR]) {
        let Ok(asid) = self.asid(task) else { return };
        let mut done = 0;
        for piece in pieces(Bytes { len: SECTOR_LEN, ..from }, self.page) {
            let got = &seen[done..done + piece.len as usize];
            let offset = piece.offset as usize;
            let want = &self.model.leaf(asid.0, from.area, piece.page).bytes[offset..offset + got.len()];
            let paddr = places.iter().scan(0, |before, (paddr, len)| {
                let start = *before;
                *before += *len as usize;
                Some((start, *paddr))
            });
            let paddr = paddr.filter(|(start, _)| *start <= done).last().map(|(start, paddr)| paddr.add((done - start) as u64));
            let sight = Sight { witness: Witness::Disk, site: At::Disk.site(), paddr };
            let before = done as u32;
            self.watch.compare(&self.b.hw(), &sight, got, want, |byte| Whereabouts::File { file, offset: at + before + byte });
            done += piece.len as usize;
        }
    }
}
