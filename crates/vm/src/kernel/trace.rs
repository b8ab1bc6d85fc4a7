//! Other processes' memory: what debuggers and `process_vm_*` do.

use alloc::vec;

use congruent_geometry::Frame;
use congruent_machine::{Asid, Medium};

use super::space::{Piece, pieces};
use super::{Kernel, Need};
use crate::errno::Errno;
use crate::op::pattern;
use crate::outcome::{Whereabouts, Witness};
use crate::point::Point;
use crate::policy::User;
use crate::site::At;
use crate::watch::Sight;
use crate::{AreaId, Bytes, TaskId};

impl<M: Medium> Kernel<M> {
    /// A page of another process, present and prepared: `get_user_pages_remote`.
    fn pin_remote(&mut self, asid: Asid, area: AreaId, page: u32, need: Need, force: bool) -> Result<(Frame, User), Errno> {
        if self.area(asid, area)?.ring {
            return Err(Errno::Fault);
        }
        let frame = self.fault(asid, area, page, need, force)?;
        let user = self.user(asid, self.area(asid, area)?, page);
        let subject = self.page_of(frame);
        self.policy.pin(&self.b, subject, user)?;
        Ok((frame, user))
    }

    /// The kernel saw bytes of a process's page.
    fn remote_seen(&mut self, (target, asid, area): (TaskId, Asid, AreaId), piece: Piece, frame: Frame, site: At, got: &[u8]) {
        let sight = Sight { witness: Witness::Kernel, site: site.site(), paddr: Some(self.base(frame).add(piece.offset.into())) };
        let offset = piece.offset as usize;
        let want = &self.model.leaf(asid.0, area, piece.page).bytes[offset..offset + got.len()];
        let start = piece.page * self.page + piece.offset;
        let place = |at: u32| Whereabouts::Memory { task: target, area, offset: start + at };
        self.watch.compare(&self.b.hw(), &sight, got, want, place);
    }

    pub(super) fn peek(&mut self, target: TaskId, from: Bytes) -> Result<u32, Errno> {
        let asid = self.asid(target)?;
        self.reachable(asid, from)?;
        for piece in pieces(from, self.page) {
            let (frame, user) = self.pin_remote(asid, from.area, piece.page, Need::Read, false)?;
            let mut bytes = vec![0; piece.len as usize];
            let page = self.page_of(frame);
            self.policy.peek(&self.b, page, user, piece.offset, &mut bytes)?;
            self.remote_seen((target, asid, from.area), piece, frame, At::Peek, &bytes);
            self.preempt(Point::BetweenPages);
        }
        Ok(from.len)
    }

    pub(super) fn poke(&mut self, target: TaskId, to: Bytes, seed: u32) -> Result<u32, Errno> {
        let asid = self.asid(target)?;
        self.reachable(asid, to)?;
        for piece in pieces(to, self.page) {
            let (frame, user) = self.pin_remote(asid, to.area, piece.page, Need::Write, true)?;
            let bytes: vec::Vec<u8> = (piece.done..piece.done + piece.len).map(|at| pattern(seed, at)).collect();
            let page = self.page_of(frame);
            self.policy.poke(&self.b, page, user, piece.offset, &bytes)?;
            self.model.write(asid.0, to.area, piece.page, piece.offset, &bytes, false);
            self.preempt(Point::BetweenPages);
        }
        Ok(to.len)
    }

    pub(super) fn remote_read(
        &mut self,
        task: TaskId,
        target: TaskId,
        from: Bytes,
        area: AreaId,
        offset: u32,
    ) -> Result<u32, Errno> {
        let asid = self.asid(target)?;
        self.reachable(asid, from)?;
        self.reachable(self.asid(task)?, Bytes { area, offset, len: from.len })?;
        for piece in pieces(from, self.page) {
            let (frame, _) = self.pin_remote(asid, from.area, piece.page, Need::Read, false)?;
            let mut bytes = vec![0; piece.len as usize];
            let page = self.page_of(frame);
            self.policy.remote_read(&self.b, page, piece.offset, &mut bytes)?;
            self.remote_seen((target, asid, from.area), piece, frame, At::RemoteRead, &bytes);
            self.give_to_user(task, Bytes { area, offset: offset + piece.done, len: piece.len }, &bytes)?;
            self.preempt(Point::BetweenPages);
        }
        Ok(from.len)
    }

    pub(super) fn remote_write(
        &mut self,
        task: TaskId,
        target: TaskId,
        to: Bytes,
        area: AreaId,
        offset: u32,
    ) -> Result<u32, Errno> {
        let asid = self.asid(target)?;
        self.reachable(asid, to)?;
        self.reachable(self.asid(task)?, Bytes { area, offset, len: to.len })?;
        for piece in pieces(to, self.page) {
            let mut bytes = vec![0; piece.len as usize];
            self.take_from_user(task, Bytes { area, offset: offset + piece.done, len: piece.len }, &mut bytes)?;
            let (frame, _) = self.pin_remote(asid, to.area, piece.page, Need::Write, false)?;
            let page = self.page_of(frame);
            self.policy.remote_write(&self.b, page, piece.offset, &bytes)?;
            self.model.write(asid.0, to.area, piece.page, piece.offset, &bytes, true);
            self.preempt(Point::BetweenPages);
        }
        Ok(to.len)
    }
}
