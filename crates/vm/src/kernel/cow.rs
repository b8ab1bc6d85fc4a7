//! Copy on write.

use congruent_geometry::Frame;
use congruent_machine::{Asid, Medium};

use super::Kernel;
use super::frames::Use;
use super::space::Entry;
use crate::AreaId;
use crate::errno::Errno;
use crate::outcome::{Whereabouts, Witness};
use crate::point::Point;
use crate::site::At;
use crate::watch::Sight;

impl<M: Medium> Kernel<M> {
    /// The process gets a copy of a page of its own: `wp_page_copy`. The new frame is not mapped yet.
    pub(super) fn copy_page(&mut self, asid: Asid, id: AreaId, number: u32, old: Frame) -> Result<Frame, Errno> {
        let user = self.user(asid, self.area(asid, id)?, number);
        // Making room must not take the source away.
        self.frames.pin(old);
        let new = self.allocate(Some(self.b.geometry.colour(user.va).index()), Use::Anon);
        self.frames.unpin(old);
        let new = new?;
        self.preempt(Point::BeforeCopy);
        let (source, target) = (self.page_of(old), self.page_of(new));
        if let Err(error) = self.policy.copy(&self.b, source, target, user) {
            self.release(new);
            return Err(error);
        }
        self.model.privatise(asid.0, id, number);
        self.check_copy(asid, id, number, old);
        // Another thread that loads a file's page here would see what is stored to the file until the entry changes; to let that
        // happen would need a model with two answers.
        let anonymous = self.frames.used(old) == Use::Anon;
        self.policy.page(&self.b, source, user);
        if anonymous {
            self.preempt(Point::AfterCopy);
        }
        self.uninstall(asid, user.va)?;
        self.set_entry(asid, id, number, Entry::Own(new))?;
        if anonymous {
            self.release(old);
        }
        Ok(new)
    }

    /// Whether the kernel copied what it had to. What it did copy is the page's contents from now on.
    fn check_copy(&mut self, asid: Asid, id: AreaId, number: u32, old: Frame) {
        let hw = self.b.hw();
        let want = &self.model.leaf(asid.0, id, number).bytes;
        let start = number * self.page;
        let task = self.now;
        let sight = Sight { witness: Witness::Kernel, site: At::CopySource.site(), paddr: Some(self.b.geometry.frame_base(old)) };
        let place = |at: u32| Whereabouts::Memory { task, area: id, offset: start + at };
        let right = self.watch.compare(&hw, &sight, &hw.copied, want, place);
        if !right {
            self.model.write(asid.0, id, number, 0, &hw.copied, false);
        }
    }
}
