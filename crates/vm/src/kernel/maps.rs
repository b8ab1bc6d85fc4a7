//! Mappings come, change, move and go.
//!
//! Guarantees: in every case the order is the kernel's of `cachetlb.rst`: the policy is told, the entries change, the TLBs are told,
//! and only then frames are given up.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use congruent_geometry::VirtAddr;
use congruent_machine::{Asid, Medium};

use super::Kernel;
use super::files::{Key, Object};
use super::space::{Area, Entry};
use crate::errno::Errno;
use crate::model::Source;
use crate::point::Point;
use crate::policy::{self, Backing};
use crate::tables::Allowed;
use crate::{AreaId, FileId, Place, TaskId};

/// The most pages of one mapping: a mistyped number should not take the host down.
const MOST_PAGES: u32 = 1 << 20;

impl<M: Medium> Kernel<M> {
    /// An address for a mapping.
    pub(super) fn place(
        &mut self,
        asid: Asid,
        pages: u32,
        place: Place,
        backing: Backing,
        shared: bool,
    ) -> Result<VirtAddr, Errno> {
        let geometry = self.b.geometry;
        let colours = geometry.colours() as usize;
        let best = self.policy.placement(&self.b, backing).map(|colour| colour % colours);
        let colour = match place {
            Place::Anywhere => best,
            Place::Colour(colour) => Some(usize::from(colour) % colours),
        };
        if shared && best.is_some() && colour != best && !self.policy.takes_any_colour() {
            return Err(Errno::Invalid);
        }
        self.process(asid).gap(&geometry, pages, colour).ok_or(Errno::NoMemory)
    }

    pub(super) fn check_new(&mut self, asid: Asid, id: AreaId, pages: u32) -> Result<(), Errno> {
        if pages == 0 || pages > MOST_PAGES {
            return Err(Errno::Invalid);
        }
        if self.area(asid, id).is_ok() { Err(Errno::Exists) } else { Ok(()) }
    }

    pub(super) fn map_anonymous(
        &mut self,
        task: TaskId,
        id: AreaId,
        pages: u32,
        shared: bool,
        place: Place,
    ) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        self.check_new(asid, id, pages)?;
        let backing = if shared { Backing::Object(0) } else { Backing::Private };
        let base = self.place(asid, pages, place, backing, shared)?;
        let object = shared.then(|| (self.new_memory(pages), 0));
        self.add_area(asid, id, base, pages, object, shared);
        Ok(0)
    }

    /// Memory without a name that processes can share.
    pub(super) fn new_memory(&mut self, pages: u32) -> Key {
        let number = self.next_memory;
        self.next_memory += 1;
        self.model.make_object(number, pages);
        self.objects.insert(Key::Memory(number), Object::default());
        Key::Memory(number)
    }

    #[expect(clippy::too_many_arguments, reason = "they are those of the call")]
    pub(super) fn map_file(
        &mut self,
        task: TaskId,
        id: AreaId,
        file: FileId,
        first: u32,
        pages: u32,
        shared: bool,
        place: Place,
    ) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        self.check_new(asid, id, pages)?;
        self.file(file)?;
        first.checked_add(pages).ok_or(Errno::Invalid)?;
        let base = self.place(asid, pages, place, Backing::Object(first.into()), shared)?;
        self.add_area(asid, id, base, pages, Some((Key::File(file), first)), shared);
        Ok(0)
    }

    pub(super) fn add_area(
        &mut self,
        asid: Asid,
        id: AreaId,
        base: VirtAddr,
        pages: u32,
        object: Option<(Key, u32)>,
        shared: bool,
    ) {
        let entries = vec![Entry::Backing; pages as usize];
        let area = Area { base, entries, object, shared, write: true, execute: false, ring: false };
        self.process(asid).insert(id, area);
        let (source, first) = match object {
            None => (Source::Zero, 0),
            Some((Key::File(file), first)) => (Source::File(file), first),
            Some((Key::Memory(number), first)) => (Source::Object(number), first),
        };
        self.model.space(asid.0).map(id, source, first, pages, shared);
        if let Some((key, _)) = object {
            let object = self.object(key);
            object.mapped += 1;
            object.writable += u32::from(shared);
        }
    }

    pub(super) fn unmap(&mut self, task: TaskId, id: AreaId, first: u32, pages: u32) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        let area = self.area(asid, id)?;
        let all = area.entries.len() as u32;
        let end = first.checked_add(pages).filter(|end| *end <= all && pages > 0).ok_or(Errno::Invalid)?;
        if area.ring && pages < all {
            return Err(Errno::Invalid);
        }
        let execute = area.execute;
        self.policy.range(&self.b, policy::Range { execute, fresh: false });
        self.preempt(Point::RangeFlushed);
        self.take_away(asid, id, first..end)?;
        if self.area(asid, id)?.entries.iter().all(|entry| *entry == Entry::Hole) {
            self.end_area(asid, id);
        }
        Ok(0)
    }

    /// Takes pages of a mapping away: entries, then TLBs, then frames.
    pub(super) fn take_away(&mut self, asid: Asid, id: AreaId, pages: Range<u32>) -> Result<(), Errno> {
        let gone = self.clear_entries(asid, id, pages.clone())?;
        for (_, va, frame, _) in gone {
            let page = self.page_of(frame);
            self.policy.unmapped(&self.b, page, va)?;
        }
        for page in pages {
            let entry = core::mem::replace(&mut self.area_mut(asid, id)?.entries[page as usize], Entry::Hole);
            match entry {
                Entry::Own(frame) => self.release(frame),
                Entry::Swapped(slot) => self.disk.give_swap(slot),
                Entry::Backing | Entry::Hole => {}
            }
        }
        Ok(())
    }

    /// Takes page-table entries away, and tells the TLBs once. Page, address, frame and rights of each.
    fn clear_entries(
        &mut self,
        asid: Asid,
        id: AreaId,
        pages: Range<u32>,
    ) -> Result<Vec<(u32, VirtAddr, congruent_geometry::Frame, Allowed)>, Errno> {
        let mut gone = Vec::new();
        for page in pages {
            let va = self.area(asid, id)?.va(page, &self.b.geometry);
            if let Some(pte) = self.b.hw().clear_quietly(asid, va) {
                gone.push((page, va, pte.frame, pte.allowed));
            }
        }
        if !gone.is_empty() {
            self.b.hw().drop_space(asid);
        }
        Ok(gone)
    }

    /// A mapping without pages goes.
    pub(super) fn end_area(&mut self, asid: Asid, id: AreaId) {
        let Some(area) = self.process(asid).remove(id) else { return };
        self.model.space(asid.0).unmap(id);
        let Some((key, _)) = area.object else { return };
        let object = self.object(key);
        object.mapped -= 1;
        object.writable -= u32::from(area.shared && area.write);
        if let (Key::Memory(number), 0) = (key, object.mapped) {
            self.end_memory(number);
        }
    }

    /// Nobody maps a piece of shared memory any more.
    fn end_memory(&mut self, number: u32) {
        self.model.end_object(number);
        let object = self.object(Key::Memory(number)).clone();
        for (index, cached) in &object.cache {
            if let Some(page) = object.ring.get(*index as usize) {
                self.policy.ring_end(&self.b, cached.frame, page.own).expect("a ring's frames are held until it goes");
            }
            self.release(cached.frame);
        }
        self.objects.remove(&Key::Memory(number));
    }

    pub(super) fn remap(&mut self, task: TaskId, id: AreaId, place: Place) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        let area = self.area(asid, id)?;
        if area.ring {
            return Err(Errno::Invalid);
        }
        let (pages, shared) = (area.entries.len() as u32, area.shared);
        let backing = match area.object {
            Some((_, first)) => Backing::Object(first.into()),
            None => Backing::Private,
        };
        let to = self.place(asid, pages, place, backing, shared)?;
        self.move_area(asid, id, to, false)?;
        Ok(0)
    }

    /// Moves a mapping to a free address: `move_page_tables`.
    pub(super) fn move_area(&mut self, asid: Asid, id: AreaId, to: VirtAddr, fresh: bool) -> Result<(), Errno> {
        let area = self.area(asid, id)?;
        let (execute, pages) = (area.execute, area.entries.len() as u32);
        self.policy.range(&self.b, policy::Range { execute, fresh });
        if !fresh {
            self.preempt(Point::RangeFlushed);
        }
        let moved = self.clear_entries(asid, id, 0..pages)?;
        self.area_mut(asid, id)?.base = to;
        for (page, va, frame, allowed) in moved {
            let subject = self.page_of(frame);
            self.policy.unmapped(&self.b, subject, va)?;
            // What has to wait is faulted in again.
            let _ = self.install(asid, id, page, frame, allowed);
        }
        Ok(())
    }

    pub(super) fn protect(&mut self, task: TaskId, id: AreaId, write: bool, execute: bool) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        let area = self.area(asid, id)?;
        if area.ring {
            return Err(Errno::Invalid);
        }
        let (old_write, old_execute, shared, object) = (area.write, area.execute, area.shared, area.object);
        let pages = area.entries.len() as u32;
        self.policy.range(&self.b, policy::Range { execute: old_execute, fresh: false });
        self.preempt(Point::RangeFlushed);
        let area = self.area_mut(asid, id)?;
        (area.write, area.execute) = (write, execute);
        if let (true, Some((key, _))) = (shared && write != old_write, object) {
            let object = self.object(key);
            object.writable = if write { object.writable + 1 } else { object.writable - 1 };
        }
        // Entries that lose something go, and so do those that must be made fit for execution: the next access makes them again.
        if (old_write && !write) || execute != old_execute {
            for (_, va, frame, _) in self.clear_entries(asid, id, 0..pages)? {
                let page = self.page_of(frame);
                self.policy.unmapped(&self.b, page, va)?;
            }
        }
        Ok(0)
    }
}
