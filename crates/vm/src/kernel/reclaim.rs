//! Memory that runs short: swap, and what else can be given up.

use alloc::vec::Vec;

use congruent_geometry::Frame;
use congruent_machine::{Asid, Medium};

use super::Kernel;
use super::files::Key;
use super::frames::Use;
use super::space::Entry;
use crate::errno::Errno;
use crate::outcome::{Whereabouts, Witness};
use crate::point::Point;
use crate::site::At;
use crate::watch::Sight;
use crate::{AreaId, TaskId};

impl<M: Medium> Kernel<M> {
    /// Makes a frame free if it can: a page of the cache that nobody maps, or else a page of a process, which goes to the swap.
    pub(super) fn reclaim(&mut self) -> bool {
        let cached: Vec<_> = self
            .objects
            .iter()
            .filter_map(|(key, object)| match key {
                Key::File(file) => Some(object.cache.iter().map(|(index, cached)| (*file, *index, *cached))),
                Key::Memory(_) => None,
            })
            .flatten()
            .collect();
        // Clean ones first: they cost nothing.
        for dirty in [false, true] {
            for (file, index, page) in cached.iter().filter(|(_, _, page)| page.dirty == dirty) {
                if self.droppable(page.frame) && self.write_back(*file, *index).is_ok() {
                    self.drop_cached(*file, *index);
                    return true;
                }
            }
        }
        for space in 0..self.processes.len() {
            let asid = Asid(space as u16);
            let ids = self.processes[space].as_ref().map(|process| process.ids()).unwrap_or_default();
            for id in ids {
                let pages = self.area(asid, id).map_or(0, |area| area.entries.len() as u32);
                for page in 0..pages {
                    if self.swap_page(asid, id, page) == Ok(true) {
                        return true;
                    }
                }
            }
        }
        false
    }

    pub(super) fn swap_out(&mut self, task: TaskId, id: AreaId, first: u32, pages: u32) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        let all = self.area(asid, id)?.entries.len() as u32;
        let end = first.checked_add(pages).filter(|end| *end <= all).ok_or(Errno::Invalid)?;
        let mut out = 0;
        for page in first..end {
            match self.swap_page(asid, id, page) {
                Ok(done) => out += u32::from(done),
                Err(error) if out == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(out)
    }

    /// Puts one page out if it is the process's own and nobody shares or uses it; whether it did.
    fn swap_page(&mut self, asid: Asid, id: AreaId, number: u32) -> Result<bool, Errno> {
        let area = self.area(asid, id)?;
        let Some(Entry::Own(frame)) = area.entries.get(number as usize).copied() else { return Ok(false) };
        if self.frames.refs(frame) > 1 || self.frames.pinned(frame) {
            return Ok(false);
        }
        let user = self.user(asid, area, number);
        let slot = self.disk.take_swap()?;
        let page = self.page_of(frame);
        if self.b.hw().pte(asid, user.va).is_some() {
            self.policy.page(&self.b, page, user);
            self.uninstall(asid, user.va)?;
        }
        self.frames.pin(frame);
        self.preempt(Point::WriteBack);
        self.frames.unpin(frame);
        self.policy.device_reads(&self.b, page, 0, self.page)?;
        let mut seen = Vec::new();
        let from = self.base(frame);
        if let Err(error) = self.disk.write_block(&self.b, slot.into(), from, &mut seen) {
            self.disk.give_swap(slot);
            return Err(error);
        }
        let sight = Sight { witness: Witness::Disk, site: At::Disk.site(), paddr: Some(from) };
        let (task, start) = (self.now, number * self.page);
        let want = &self.model.leaf(asid.0, id, number).bytes;
        let place = |at: u32| Whereabouts::Memory { task, area: id, offset: start + at };
        if !self.watch.compare(&self.b.hw(), &sight, &seen, want, place) {
            self.model.write(asid.0, id, number, 0, &seen, false);
        }
        self.set_entry(asid, id, number, Entry::Swapped(slot))?;
        self.release(frame);
        Ok(true)
    }

    /// A page comes back from the swap, to a frame of this colour if one is free.
    pub(super) fn swap_in(&mut self, slot: u32, colour: usize) -> Result<Frame, Errno> {
        let frame = self.allocate(Some(colour), Use::Anon)?;
        if let Err(error) = self.read_in(frame, slot.into()) {
            self.release(frame);
            return Err(error);
        }
        self.disk.give_swap(slot);
        Ok(frame)
    }
}
