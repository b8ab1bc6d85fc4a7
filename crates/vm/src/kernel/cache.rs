//! The page cache: pages come from the disk when they are needed, go back when they are dirty, and can be dropped.
//!
//! Guarantees: a page that could not be written stays in the cache, dirty.

use alloc::vec::Vec;

use congruent_geometry::Frame;
use congruent_machine::Medium;

use super::Kernel;
use super::files::{Cached, Key};
use super::frames::Use;
use crate::FileId;
use crate::errno::Errno;
use crate::outcome::{Whereabouts, Witness};
use crate::point::Point;
use crate::policy::User;
use crate::site::At;
use crate::watch::Sight;

impl<M: Medium> Kernel<M> {
    /// The frame of a page of an object, read from the disk if need be. `user` is the page of the program that asks, if one does.
    pub(super) fn cached(&mut self, key: Key, index: u32, user: Option<User>) -> Result<Frame, Errno> {
        if let Some(cached) = self.object(key).cache.get(&index) {
            return Ok(cached.frame);
        }
        let frame = match key {
            Key::File(_) => {
                let block = self.object(key).blocks.get(index as usize).copied().ok_or(Errno::Fault)?;
                let frame = self.allocate(self.policy.kernel_colour(&self.b, index.into()), Use::File(key, index))?;
                if let Err(error) = self.read_in(frame, block) {
                    self.release(frame);
                    return Err(error);
                }
                frame
            }
            Key::Memory(_) => {
                let user = user.ok_or(Errno::Fault)?;
                let frame = self.allocate(Some(self.b.geometry.colour(user.va).index()), Use::File(key, index))?;
                let page = self.page_of(frame);
                if let Err(error) = self.policy.clear(&self.b, page, user) {
                    self.release(frame);
                    return Err(error);
                }
                frame
            }
        };
        self.object(key).cache.insert(index, Cached { frame, dirty: false });
        Ok(frame)
    }

    /// A block comes from the disk to a frame that nobody maps.
    pub(super) fn read_in(&mut self, frame: Frame, block: u64) -> Result<(), Errno> {
        let page = self.page_of(frame);
        self.policy.device_writes(&self.b, page, 0, self.page)?;
        let to = self.base(frame);
        let moved = self.disk.read_block(&self.b, block, to);
        self.policy.device_wrote(&self.b, page, 0, self.page)?;
        moved
    }

    /// Writes a page of a file to the disk if it is dirty.
    pub(super) fn write_back(&mut self, file: FileId, index: u32) -> Result<(), Errno> {
        let key = Key::File(file);
        let Some(Cached { frame, dirty: true }) = self.object(key).cache.get(&index).copied() else { return Ok(()) };
        self.clean_mappings(frame)?;
        self.preempt(Point::WriteBack);
        let page = self.page_of(frame);
        self.policy.device_reads(&self.b, page, 0, self.page)?;
        self.write_out(file, index, frame)?;
        if let Some(cached) = self.object(key).cache.get_mut(&index) {
            cached.dirty = false;
        }
        Ok(())
    }

    /// Stores of programs fault from now on: `page_mkclean`.
    fn clean_mappings(&mut self, frame: Frame) -> Result<(), Errno> {
        let page = self.page_of(frame);
        let users = self.b.hw().users(frame).to_vec();
        let mut protected = false;
        for (asid, va) in users {
            let pte = self.b.hw().pte(asid, va);
            if pte.is_some_and(|pte| pte.allowed.write) {
                let execute = pte.is_some_and(|pte| pte.allowed.execute);
                self.policy.page(&self.b, page, User { asid, va, execute });
                self.b.hw().protect(asid, va);
                protected = true;
            }
        }
        if protected { self.policy.write_protected(&self.b, page) } else { Ok(()) }
    }

    /// The device takes a page that has been prepared for it; what it took is compared.
    pub(super) fn write_out(&mut self, file: FileId, index: u32, frame: Frame) -> Result<(), Errno> {
        let block = self.object(Key::File(file)).blocks[index as usize];
        let mut seen = Vec::new();
        let (from, page) = (self.base(frame), self.page);
        let moved = self.disk.write_block(&self.b, block, from, &mut seen);
        let sight = Sight { witness: Witness::Disk, site: At::Disk.site(), paddr: Some(from) };
        let place = |at: u32| Whereabouts::File { file, offset: index * page + at };
        let want = &self.model.file_bytes(file, index)[..seen.len()];
        self.watch.compare(&self.b.hw(), &sight, &seen, want, place);
        self.model.write_disk(file, index, 0, &seen);
        moved
    }

    /// Takes a clean page out of the cache. It is mapped nowhere.
    pub(super) fn drop_cached(&mut self, file: FileId, index: u32) {
        if let Some(cached) = self.object(Key::File(file)).cache.remove(&index) {
            self.model.dropped(file, index);
            self.release(cached.frame);
        }
    }

    /// Whether a cached page can be dropped once it is clean: nobody has it but the cache.
    pub(super) fn droppable(&self, frame: Frame) -> bool {
        self.frames.refs(frame) == 1 && !self.frames.pinned(frame) && self.b.hw().users(frame).is_empty()
    }

    /// Takes every program's mapping of a cached page away.
    pub(super) fn unmap_cached(&mut self, frame: Frame) -> Result<(), Errno> {
        let users = self.b.hw().users(frame).to_vec();
        for (asid, va) in users {
            let page = self.page_of(frame);
            let execute = self.b.hw().pte(asid, va).is_some_and(|pte| pte.allowed.execute);
            self.policy.page(&self.b, page, User { asid, va, execute });
            self.uninstall(asid, va)?;
        }
        Ok(())
    }
}
