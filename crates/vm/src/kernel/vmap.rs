//! Kernel mappings of several pages of a file at once (`vmap`), as file systems use for their blocks.

use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::{Frame, VirtAddr};
use congruent_machine::Medium;

use super::Kernel;
use super::files::Key;
use crate::FileId;
use crate::errno::Errno;
use crate::op::pattern;
use crate::point::Point;
use crate::policy::Page;
use crate::site::At;

/// Pages that the kernel has mapped one after the other.
struct Block {
    frames: Vec<Frame>,
    pages: Vec<Page>,
    va: VirtAddr,
}

impl<M: Medium> Kernel<M> {
    /// Maps pages of a file. They are pinned.
    fn vmap(&mut self, file: FileId, first: u32, pages: u32) -> Result<Block, Errno> {
        let all = self.file(file)?.blocks.len() as u32;
        let end = first.checked_add(pages).filter(|end| *end <= all && pages > 0).ok_or(Errno::Invalid)?;
        let mut frames = Vec::new();
        for index in first..end {
            match self.cached(Key::File(file), index, None) {
                Ok(frame) => {
                    self.frames.pin(frame);
                    frames.push(frame);
                }
                Err(error) => {
                    frames.iter().for_each(|frame| self.frames.unpin(*frame));
                    return Err(error);
                }
            }
        }
        let va = self.kernel_addresses(pages, self.policy.vmap_colour(&self.b, first.into()));
        let subjects: Vec<Page> = frames.iter().map(|frame| self.page_of(*frame)).collect();
        for (number, frame) in (0..).zip(&frames) {
            self.b.hw().map_kernel(va.add(number * u64::from(self.page)), *frame);
        }
        let block = Block { frames, pages: subjects, va };
        if let Err(error) = self.policy.vmap(&self.b, &block.pages, va) {
            self.drop_block(&block);
            return Err(error);
        }
        Ok(block)
    }

    fn vunmap(&mut self, block: &Block) -> Result<(), Errno> {
        let result = self.policy.vunmap(&self.b, &block.pages, block.va);
        self.drop_block(block);
        result
    }

    fn drop_block(&mut self, block: &Block) {
        for (number, frame) in (0..).zip(&block.frames) {
            self.b.hw().unmap_kernel(block.va.add(number * u64::from(self.page)));
            self.frames.unpin(*frame);
        }
    }

    pub(super) fn vmap_read(&mut self, file: FileId, first: u32, pages: u32) -> Result<u32, Errno> {
        let block = self.vmap(file, first, pages)?;
        let len = pages * self.page;
        self.policy.vmap_invalidate(&self.b, block.va, len);
        for (number, frame) in (0..).zip(&block.frames) {
            let mut bytes = vec![0; self.page as usize];
            {
                let mut hw = self.b.hw();
                hw.at(At::VmapRead);
                hw.load(block.va.add(u64::from(number) * u64::from(self.page)), &mut bytes);
            }
            self.file_seen(file, first + number, 0, At::VmapRead, Some(*frame), &bytes);
        }
        self.preempt(Point::Vmap);
        self.vunmap(&block)?;
        Ok(len)
    }

    pub(super) fn vmap_write(&mut self, file: FileId, first: u32, pages: u32, seed: u32) -> Result<u32, Errno> {
        let block = self.vmap(file, first, pages)?;
        let len = pages * self.page;
        for number in 0..pages {
            let bytes: Vec<u8> = (0..self.page).map(|at| pattern(seed, number * self.page + at)).collect();
            {
                let mut hw = self.b.hw();
                hw.at(At::VmapWrite);
                hw.store(block.va.add(u64::from(number) * u64::from(self.page)), &bytes);
            }
            self.model.write_file(file, first + number, 0, &bytes);
            self.soil(Key::File(file), first + number);
        }
        self.preempt(Point::Vmap);
        self.policy.vmap_flush(&self.b, block.va, len);
        let mut result = Ok(len);
        for number in 0..pages {
            // As any other dirty page; the area still stands, so programs of other colours wait.
            if let Err(error) = self.write_back(file, first + number) {
                result = Err(error);
            }
        }
        self.vunmap(&block)?;
        result
    }
}
