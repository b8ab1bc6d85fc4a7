//! Threads and fork.

use alloc::vec::Vec;

use congruent_machine::Medium;

use super::Kernel;
use super::space::Entry;
use crate::TaskId;
use crate::errno::Errno;
use crate::point::Point;
use crate::tables::Allowed;

impl<M: Medium> Kernel<M> {
    fn free_name(&self, task: TaskId) -> Result<(), Errno> {
        if self.task(task).is_ok() { Err(Errno::Exists) } else { Ok(()) }
    }

    pub(super) fn thread(&mut self, task: TaskId, new: TaskId) -> Result<u32, Errno> {
        self.free_name(new)?;
        let asid = self.asid(task)?;
        self.add_task(new, asid);
        Ok(0)
    }

    /// The child gets the parent's mappings, and shares its pages until one of them stores. Pages of files it faults in.
    ///
    /// Takes effect when the TLBs have been told: a thread that still stores through a remembered translation before that stores
    /// to the frame that both will share.
    pub(super) fn fork(&mut self, task: TaskId, child: TaskId) -> Result<u32, Errno> {
        self.free_name(child)?;
        let parent = self.asid(task)?;
        self.policy.fork(&self.b);
        self.preempt(Point::ForkFlushed);
        let asid = self.new_space();
        let mut shared = Vec::new();
        for id in self.process(parent).ids() {
            let area = self.area(parent, id)?.clone();
            if let Some((key, _)) = area.object {
                let object = self.object(key);
                object.mapped += 1;
                object.writable += u32::from(area.shared && area.write);
            }
            self.process(asid).insert(id, area.clone());
            for (page, entry) in (0..).zip(&area.entries) {
                match *entry {
                    Entry::Own(frame) => {
                        self.frames.share(frame);
                        let user = self.user(asid, &area, page);
                        let old = self.b.hw().pte(parent, user.va);
                        self.b.hw().protect_quietly(parent, user.va);
                        shared.push(frame);
                        if old.is_some() {
                            // The child faults if this has to wait.
                            let _ = self.install(asid, id, page, frame, Allowed { write: false, execute: area.execute });
                        }
                        self.preempt(Point::ForkPage);
                    }
                    Entry::Swapped(slot) => self.disk.share_swap(slot),
                    Entry::Backing | Entry::Hole => {}
                }
            }
        }
        self.b.hw().drop_space(parent);
        for frame in shared {
            let page = self.page_of(frame);
            self.policy.write_protected(&self.b, page)?;
        }
        self.model.fork(parent.0, asid.0);
        self.add_task(child, asid);
        Ok(0)
    }
}
