//! Files for programs: made, read and written through the page cache, synchronised, dropped from the cache.

use alloc::vec;
use alloc::vec::Vec;

use congruent_machine::Medium;

use super::Kernel;
use super::files::{Cached, Key, Object};
use super::frames::Use;
use super::space::pieces;
use crate::errno::Errno;
use crate::op::pattern;
use crate::outcome::{Whereabouts, Witness};
use crate::point::Point;
use crate::site::At;
use crate::watch::Sight;
use crate::{AreaId, Bytes, FileId, TaskId};

impl<M: Medium> Kernel<M> {
    pub(super) fn create(&mut self, file: FileId, len: u32, seed: u32) -> Result<u32, Errno> {
        let key = Key::File(file);
        let old = self.objects.get(&key);
        if old.is_some_and(|object| object.mapped > 0 || object.piped > 0) {
            return Err(Errno::Busy);
        }
        let pages = len.div_ceil(self.page) as usize;
        // The new one's blocks first, so that an old one is not lost if there are too few.
        let blocks = self.disk.take_blocks(pages)?;
        let bytes: Vec<u8> = (0..len).map(|at| pattern(seed, at)).collect();
        let mut whole = bytes.clone();
        whole.resize(pages * self.page as usize, 0);
        for (block, part) in blocks.iter().zip(whole.chunks(self.page as usize)) {
            if let Err(error) = self.disk.prepare(*block, part) {
                self.disk.give_blocks(&blocks);
                return Err(error);
            }
        }
        if let Some(old) = self.objects.remove(&key) {
            for cached in old.cache.values() {
                self.release(cached.frame);
            }
            self.disk.give_blocks(&old.blocks);
        }
        self.model.create(file, &whole);
        self.objects.insert(key, Object { len, blocks, ..Object::default() });
        Ok(len)
    }

    pub(super) fn read(&mut self, task: TaskId, file: FileId, at: u32, to: Bytes) -> Result<u32, Errno> {
        self.reachable(self.asid(task)?, to)?;
        let len = to.len.min(self.file(file)?.len.saturating_sub(at));
        for piece in pieces(Bytes { area: AreaId(0), offset: at, len }, self.page) {
            let target = Bytes { offset: to.offset + piece.done, len: piece.len, ..to };
            let done = self.read_piece(task, file, piece.page, piece.offset, target);
            match done {
                Err(error) if piece.done == 0 => return Err(error),
                Err(_) => return Ok(piece.done),
                Ok(()) => self.preempt(Point::BetweenPages),
            }
        }
        Ok(len)
    }

    fn read_piece(&mut self, task: TaskId, file: FileId, index: u32, offset: u32, to: Bytes) -> Result<(), Errno> {
        let frame = self.cached(Key::File(file), index, None)?;
        let page = self.page_of(frame);
        let mut bytes = vec![0; to.len as usize];
        self.policy.read(&self.b, page, offset, &mut bytes)?;
        self.file_seen(file, index, offset, At::FileRead, Some(frame), &bytes);
        self.give_to_user(task, to, &bytes)
    }

    /// The kernel saw bytes of a file.
    pub(super) fn file_seen(
        &mut self,
        file: FileId,
        index: u32,
        offset: u32,
        site: At,
        frame: Option<congruent_geometry::Frame>,
        got: &[u8],
    ) {
        let start = index * self.page + offset;
        let paddr = frame.map(|frame| self.base(frame).add(offset.into()));
        let sight = Sight { witness: Witness::Kernel, site: site.site(), paddr };
        let want = &self.model.file_bytes(file, index)[offset as usize..offset as usize + got.len()];
        self.watch.compare(&self.b.hw(), &sight, got, want, |at| Whereabouts::File { file, offset: start + at });
    }

    pub(super) fn write(&mut self, task: TaskId, file: FileId, at: u32, from: Bytes) -> Result<u32, Errno> {
        self.reachable(self.asid(task)?, from)?;
        let end = at.checked_add(from.len).ok_or(Errno::Invalid)?;
        self.extend(file, end)?;
        for piece in pieces(Bytes { area: AreaId(0), offset: at, len: from.len }, self.page) {
            let source = Bytes { offset: from.offset + piece.done, len: piece.len, ..from };
            let mut bytes = vec![0; piece.len as usize];
            let done = self
                .take_from_user(task, source, &mut bytes)
                .and_then(|()| self.write_piece(file, piece.page, piece.offset, &bytes));
            match done {
                Err(error) if piece.done == 0 => return Err(error),
                Err(_) => return Ok(piece.done),
                Ok(()) => {
                    let object = self.file(file)?;
                    object.len = object.len.max(at + piece.done + piece.len);
                    self.preempt(Point::BetweenPages);
                }
            }
        }
        Ok(from.len)
    }

    /// Gives a file blocks up to this length, all or none. Its length does not change.
    pub(super) fn extend(&mut self, file: FileId, end: u32) -> Result<(), Errno> {
        let page = self.page;
        let have = self.file(file)?.blocks.len();
        let want = end.div_ceil(page) as usize;
        if want > have {
            let fresh = self.disk.take_blocks(want - have)?;
            for block in &fresh {
                if let Err(error) = self.disk.prepare(*block, &vec![0; page as usize]) {
                    self.disk.give_blocks(&fresh);
                    return Err(error);
                }
            }
            self.file(file)?.blocks.extend(fresh);
            self.model.extend(file, want as u32);
        }
        Ok(())
    }

    fn write_piece(&mut self, file: FileId, index: u32, offset: u32, from: &[u8]) -> Result<(), Errno> {
        let key = Key::File(file);
        let known = self.object(key).cache.contains_key(&index);
        if from.len() == self.page as usize && !known {
            let frame = self.allocate(self.policy.kernel_colour(&self.b, index.into()), Use::File(key, index))?;
            let page = self.page_of(frame);
            if let Err(error) = self.policy.fill(&self.b, page, from) {
                self.release(frame);
                return Err(error);
            }
            self.object(key).cache.insert(index, Cached { frame, dirty: true });
        } else {
            let frame = self.cached(key, index, None)?;
            let page = self.page_of(frame);
            self.policy.write(&self.b, page, offset, from)?;
            self.soil(key, index);
        }
        self.model.write_file(file, index, offset, from);
        Ok(())
    }

    pub(super) fn sync(&mut self, file: FileId) -> Result<u32, Errno> {
        let pages: Vec<u32> = self.file(file)?.cache.iter().filter(|(_, page)| page.dirty).map(|(index, _)| *index).collect();
        let mut result = Ok(pages.len() as u32);
        for index in pages {
            // The others can be saved even if one cannot.
            if let Err(error) = self.write_back(file, index) {
                result = Err(error);
            }
        }
        result
    }

    pub(super) fn evict(&mut self, file: FileId) -> Result<u32, Errno> {
        let synced = self.sync(file);
        let pages: Vec<(u32, Cached)> = self.file(file)?.cache.iter().map(|(index, page)| (*index, *page)).collect();
        let mut dropped = 0;
        for (index, cached) in pages {
            if !cached.dirty && self.droppable(cached.frame) {
                self.drop_cached(file, index);
                dropped += 1;
            }
        }
        synced.map(|_| dropped)
    }
}
