//! What other threads do where the kernel may be interrupted: accesses of their own.
//!
//! Only accesses that need nothing of the kernel happen: one that would fault waits for the locks that the kernel holds here. So the
//! kernel's own state does not change at these places; caches, memory and the model do.

use congruent_geometry::PhysAddr;
use congruent_machine::Medium;

use super::space::{Piece, pieces, within};
use super::{Kernel, Task};
use crate::op::pattern;
use crate::outcome::{Whereabouts, Witness};
use crate::point::Point;
use crate::site::At;
use crate::watch::Sight;
use crate::{Bytes, Op, Step, TaskId};

impl<M: Medium> Kernel<M> {
    /// Other threads may run here, if the scheduler likes.
    pub(super) fn preempt(&mut self, point: Point) {
        while !self.ahead.is_empty() && self.random.chance(1, 2) {
            let chosen = self.random.index(self.ahead.len());
            let step = self.ahead[chosen];
            let first_of_its_task = self.ahead.iter().take(chosen).all(|earlier| earlier.task != step.task);
            if !step.op.is_access() || step.task == self.now || !first_of_its_task {
                continue;
            }
            let Ok(task) = self.task(step.task) else { continue };
            if self.access_now(&step, task).is_some() {
                self.ahead.remove(chosen);
                *self.preempted.entry(point).or_default() += 1;
            }
        }
    }

    /// Makes an access that needs no help, as if its thread had been given the CPU.
    fn access_now(&mut self, step: &Step, task: Task) -> Option<()> {
        let (before, cpu, asid, site) = {
            let hw = self.b.hw();
            (self.now, hw.cpu, hw.machine.asid(hw.cpu), hw.machine.site(task.cpu))
        };
        self.run_on(step.task, task);
        let done = self.attempt(step, task);
        self.b.hw().machine.set_site(task.cpu, site);
        if task.cpu == cpu {
            self.b.hw().machine.set_asid(cpu, asid);
        } else {
            self.b.hw().cpu = cpu;
        }
        self.now = before;
        done
    }

    fn attempt(&mut self, step: &Step, task: Task) -> Option<()> {
        let bytes = match step.op {
            Op::Load(bytes) | Op::Store { to: bytes, .. } => bytes,
            Op::Increment { area, offset } if offset.is_multiple_of(4) => Bytes { area, offset, len: 4 },
            _ => return None,
        };
        if bytes.len == 0 {
            return None;
        }
        let area = self.area(task.asid, bytes.area).ok()?;
        within(bytes, area.entries.len(), self.page).ok()?;
        let va = area.base.add(bytes.offset.into());
        if self.collides(va, bytes.len) {
            return None;
        }
        let mut hw = self.b.hw();
        match step.op {
            Op::Load(_) => {
                hw.at(At::UserLoad);
                let mut got = core::mem::take(&mut self.scratch);
                got.resize(bytes.len as usize, 0);
                let cpu = hw.cpu;
                let done = hw.machine.read(cpu, va, &mut got).ok();
                drop(hw);
                if done.is_some() {
                    for piece in pieces(bytes, self.page) {
                        let part = &got[piece.done as usize..(piece.done + piece.len) as usize];
                        self.saw(step.task, task, bytes, piece, At::UserLoad, part);
                    }
                }
                self.scratch = got;
                done
            }
            Op::Store { seed, .. } => {
                hw.at(At::UserStore);
                let data: alloc::vec::Vec<u8> = (0..bytes.len).map(|at| pattern(seed, at)).collect();
                let cpu = hw.cpu;
                hw.machine.write(cpu, va, &data).ok()?;
                drop(hw);
                for piece in pieces(bytes, self.page) {
                    let part = &data[piece.done as usize..(piece.done + piece.len) as usize];
                    self.model.write(task.asid.0, bytes.area, piece.page, piece.offset, part, true);
                }
                Some(())
            }
            _ => {
                hw.at(At::UserIncrement);
                let cpu = hw.cpu;
                let old = hw.machine.update(cpu, va, 4, |old| u64::from((old as u32).wrapping_add(1))).ok()? as u32;
                drop(hw);
                let piece = pieces(bytes, self.page).next()?;
                self.incremented(step.task, task.asid, bytes.area, piece, old).ok()
            }
        }
    }

    fn saw(&mut self, id: TaskId, task: Task, bytes: Bytes, piece: Piece, site: At, got: &[u8]) {
        let Ok(area) = self.area(task.asid, bytes.area) else { return };
        let va = area.va(piece.page, &self.b.geometry).add(piece.offset.into());
        let mut hw = self.b.hw();
        let paddr = hw.physical(va).ok();
        let offset = piece.offset as usize;
        let want = &self.model.leaf(task.asid.0, bytes.area, piece.page).bytes[offset..offset + got.len()];
        let start = piece.page * self.page + piece.offset;
        let place = |at: u32| Whereabouts::Memory { task: id, area: bytes.area, offset: start + at };
        self.watch.compare(&hw, &Sight { witness: Witness::Task(id), site: site.site(), paddr }, got, want, place);
    }

    /// Whether these bytes of the running program are ones that a device is working on: what a program does to those is its own
    /// affair. True as well where they cannot be reached.
    fn collides(&self, va: congruent_geometry::VirtAddr, len: u32) -> bool {
        if self.transfers.is_empty() {
            return false;
        }
        let mut hw = self.b.hw();
        let page = u64::from(self.page);
        let mut at = va;
        let end = va.add(len.into());
        while at < end {
            let next = at.align_down(page).add(page).min(end);
            let Ok(paddr) = hw.physical(at) else { return true };
            let until = paddr.add(next.0 - at.0);
            let hit = |(start, len): &(PhysAddr, u32)| *start < until && paddr < start.add(u64::from(*len));
            if self.transfers.iter().any(hit) {
                return true;
            }
            at = next;
        }
        false
    }
}
