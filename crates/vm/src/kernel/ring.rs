//! Rings: memory that kernel and program both map for long, and use without a system call in between.

use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::VirtAddr;
use congruent_machine::{Asid, Medium};

use super::Kernel;
use super::files::{Cached, Key, RingPage};
use super::frames::Use;
use super::space::pieces;
use crate::errno::Errno;
use crate::op::pattern;
use crate::outcome::{Whereabouts, Witness};
use crate::policy::Backing;
use crate::site::At;
use crate::watch::Sight;
use crate::{AreaId, Bytes, Place, TaskId};

impl<M: Medium> Kernel<M> {
    /// Sets addresses of the kernel's aside, for so many pages, the first of the colour of `like`.
    pub(super) fn kernel_addresses(&mut self, pages: u32, colour: Option<usize>) -> VirtAddr {
        let geometry = self.b.geometry;
        let (page, colours) = (u64::from(geometry.page()), geometry.colours() as usize);
        let ahead = colour.map_or(0, |colour| (colour % colours + colours - geometry.colour(self.next_vmap).index()) % colours);
        let start = self.next_vmap.add(ahead as u64 * page);
        // One page is left out in between, as Linux leaves a guard page: areas come to all colours.
        self.next_vmap = start.add((u64::from(pages) + 1) * page);
        start
    }

    pub(super) fn ring_create(&mut self, task: TaskId, id: AreaId, pages: u32) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        self.check_new(asid, id, pages)?;
        let base = self.place(asid, pages, Place::Anywhere, Backing::Object(0), true)?;
        let colour = self.b.geometry.colour(base).index();
        let own = self.kernel_addresses(pages, Some(colour));
        let key = self.new_memory(pages);
        self.add_area(asid, id, base, pages, Some((key, 0)), true);
        self.area_mut(asid, id)?.ring = true;
        for index in 0..pages {
            if let Err(error) = self.ring_page(key, index, own.add(u64::from(index) * u64::from(self.page))) {
                self.take_away(asid, id, 0..pages)?;
                self.end_area(asid, id);
                return Err(error);
            }
        }
        Ok(0)
    }

    fn ring_page(&mut self, key: Key, index: u32, own: VirtAddr) -> Result<(), Errno> {
        let frame = self.allocate(Some(self.b.geometry.colour(own).index()), Use::File(key, index))?;
        match self.policy.ring(&self.b, frame, own) {
            Ok(reach) => {
                let object = self.object(key);
                object.cache.insert(index, Cached { frame, dirty: false });
                object.ring.push(RingPage { reach, own });
                Ok(())
            }
            Err(error) => {
                self.release(frame);
                Err(error)
            }
        }
    }

    /// The addresses at which the kernel reaches some bytes of a ring of the running program.
    fn ring_addresses(&mut self, asid: Asid, bytes: Bytes) -> Result<Vec<VirtAddr>, Errno> {
        self.reachable(asid, bytes)?;
        let area = self.area(asid, bytes.area)?;
        let (true, Some((key, _))) = (area.ring, area.object) else { return Err(Errno::Invalid) };
        let object = self.object(key);
        let ring: Vec<VirtAddr> = object.ring.iter().map(|page| page.reach).collect();
        Ok(pieces(bytes, self.page).map(|piece| ring[piece.page as usize].add(piece.offset.into())).collect())
    }

    pub(super) fn ring_post(&mut self, task: TaskId, to: Bytes, seed: u32) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        let addresses = self.ring_addresses(asid, to)?;
        for (piece, va) in pieces(to, self.page).zip(addresses) {
            let bytes: Vec<u8> = (piece.done..piece.done + piece.len).map(|at| pattern(seed, at)).collect();
            {
                let mut hw = self.b.hw();
                hw.at(At::RingPost);
                hw.store(va, &bytes);
            }
            self.model.write(asid.0, to.area, piece.page, piece.offset, &bytes, false);
        }
        Ok(to.len)
    }

    pub(super) fn ring_take(&mut self, task: TaskId, from: Bytes) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        let addresses = self.ring_addresses(asid, from)?;
        for (piece, va) in pieces(from, self.page).zip(addresses) {
            let mut bytes = vec![0; piece.len as usize];
            let mut hw = self.b.hw();
            hw.at(At::RingTake);
            hw.load(va, &mut bytes);
            let sight = Sight { witness: Witness::Kernel, site: At::RingTake.site(), paddr: hw.physical(va).ok() };
            let offset = piece.offset as usize;
            let want = &self.model.leaf(asid.0, from.area, piece.page).bytes[offset..offset + bytes.len()];
            let start = piece.page * self.page + piece.offset;
            let place = |at: u32| Whereabouts::Memory { task, area: from.area, offset: start + at };
            self.watch.compare(&hw, &sight, &bytes, want, place);
        }
        Ok(from.len)
    }
}
