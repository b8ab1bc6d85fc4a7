//! Leaving generated code: to stop the guest at a finding, or to have a load made again with other bytes.
//!
//! Guarantees: what is to be stopped at is told; what memory shows for a load is written before it is made, and taken away before anything
//! else is judged. An access that saw what was shown for another is made again, or the check ends as incomplete.

use congruent_trace::{AccessKind, Site};
use congruent_wire::{FailureKind, Message};

use super::Session;
use super::reach::Reached;
use super::redo::{Access, Begun, Leave, Redo};
use crate::halt::{Generated, Halt};
use crate::moment::Accessing;
use crate::translation::GRANULE;

/// How generated code is to be left.
pub struct Left {
    /// With which the guest is to be stopped, if it is.
    pub stop: Option<Halt>,
    /// Where, and with which, if the instruction is to be executed again.
    pub at: Option<(Halt, Generated)>,
}

/// How generated code is left.
pub(super) struct Leaving {
    halt: Halt,
    pub redo: Redo,
    /// The access in hand saw what was shown for another.
    astray: bool,
}

impl Leaving {
    /// What leaving takes, if anything asks for it.
    ///
    /// # Errors
    /// A sentence, if this QEMU lacks something.
    pub fn find(stops: bool, injects: bool) -> Result<Option<Self>, String> {
        let option = match (stops, injects) {
            (false, false) => return Ok(None),
            (_, true) => "--inject",
            (true, false) => "--stop-at",
        };
        let halt = Halt::find().map_err(|missing| {
            format!("{option}: this QEMU does not export {missing}; take a distribution's QEMU 10.0 or newer, or leave it out")
        })?;
        Ok(Some(Self { halt, redo: Redo::default(), astray: false }))
    }
}

impl Session {
    /// Whether generated code is ever left.
    pub fn leaves(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether no access has to be looked at before it is taken: none is awaited that has been judged.
    #[inline]
    pub fn awaits_nothing(&self) -> bool {
        self.idle
    }

    /// The machine starts anew: nothing that was begun is made again.
    pub(super) fn leaving_begins_anew(&mut self) {
        if let Some(leaving) = &mut self.leaving {
            leaving.redo.begin_anew();
            leaving.astray = false;
            self.idle = true;
        }
        if let Some(inject) = &mut self.inject {
            inject.begin_anew();
        }
    }

    /// An access begins, whose callback returns to this address. False if it is not to be judged: it has been, or it will be made again first.
    pub fn begin_access(&mut self, access: &Accessing, site: Site, vaddr: u32, return_address: usize) -> bool {
        if self.leaving.is_none() {
            return true;
        }
        let shape = access.shape();
        let now = Access { cpu: self.turn(), site, vaddr, size: shape.size };
        let stored = if shape.kind == AccessKind::Store { shape.size.min(GRANULE - vaddr % GRANULE) } else { 0 };
        let paddr = if self.awaits_nothing() { None } else { self.physical(access, vaddr, stored) };
        let Some(leaving) = &mut self.leaving else { return true };
        let load = (shape.kind == AccessKind::Load).then_some(return_address);
        let begun = leaving.redo.begin(now, paddr, load);
        leaving.astray = begun == Begun::Astray;
        self.idle = leaving.redo.is_idle();
        self.write_memory();
        if begun == Begun::Pass {
            self.note_delivered();
        }
        begun == Begun::Judge
    }

    /// Something that is no load or store is about to be looked at: memory has its own again.
    #[inline]
    pub(super) fn show_own(&mut self) {
        if !self.idle
            && let Some(leaving) = &mut self.leaving
        {
            leaving.redo.interrupt();
            self.idle = leaving.redo.is_idle();
            self.write_memory();
        }
    }

    /// Where an access goes, if to memory.
    fn physical(&mut self, access: &Accessing, vaddr: u32, stored: u32) -> Option<u64> {
        match self.reach(access, vaddr, stored) {
            Reached::Cached(page, offset) => Some(self.judge.paddr(page, offset).0),
            Reached::Uncached(paddr) => Some(paddr.0),
            Reached::Harmless | Reached::Device(_) | Reached::Nothing => None,
        }
    }

    /// How to stop the guest, if it is to be stopped now, and where to leave generated code if the instruction is to be executed again. The
    /// program has been told.
    #[inline]
    pub fn leave(&mut self) -> Option<Left> {
        if self.leaving.is_some() { self.leave_now() } else { None }
    }

    fn leave_now(&mut self) -> Option<Left> {
        let finding = self.stops.as_mut().and_then(super::Stops::take);
        let leaving = self.leaving.as_mut()?;
        let halt = leaving.halt;
        let astray = std::mem::take(&mut leaving.astray);
        let left = leaving.redo.leave(finding.is_some(), astray);
        self.idle = leaving.redo.is_idle();
        let Leave { stop, at } = left?;
        if let Some(finding) = finding {
            self.telling.send(&Message::Stopped { finding, before: at.is_some() });
        }
        if astray && at.is_none() {
            self.stop(FailureKind::Internal, "an access saw old bytes that were meant for another one".into());
        }
        self.write_memory();
        Some(Left { stop: stop.then_some(halt), at: at.map(|at| (halt, at)) })
    }
}
