//! Where the guest is stopped, because something was found there (`--stop-at`).
//!
//! Guarantees: each finding stops it once; it stands before the access if that is a load that generated code makes itself, and behind
//! the block otherwise, which the program is told. A store has been made by the time that it is heard of, and making it again would be
//! another one for a conditional store.

use congruent_shadow::Finding;
use congruent_trace::{AccessKind, Site};
use congruent_wire::{Message, StopAt};

use crate::halt::{Generated, Halt};
use crate::moment::Accessing;

use super::Session;

/// Where to stop, and whether to do so now.
pub(super) struct Stops {
    at: StopAt,
    halt: Halt,
    /// So many findings were told.
    told: u64,
    /// The first of them that asks for a stop which has not been made.
    due: Option<u64>,
    /// What a load returns to that is being taken.
    load: Option<usize>,
    /// The access that is taken.
    now: Access,
    /// That which was when generated code was left: it is executed again, and has been judged.
    again: Option<Access>,
}

/// An access, as it will be known again: of which CPU, from where, to which address.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Access {
    cpu: u32,
    site: Site,
    vaddr: u32,
}

impl Stops {
    /// Nothing was found yet.
    ///
    /// # Errors
    /// A sentence, if this QEMU cannot be stopped.
    pub fn new(at: StopAt) -> Result<Self, String> {
        let halt = Halt::find().map_err(|missing| {
            format!("--stop-at: this QEMU does not export {missing}; take a distribution's QEMU 10.0 or newer, or leave it out")
        })?;
        Ok(Self { at, halt, told: 0, due: None, load: None, now: Access::default(), again: None })
    }

    /// Something is found and told.
    pub fn found(&mut self, finding: &Finding) {
        self.told += 1;
        if self.at.covers(self.told, finding) {
            self.due.get_or_insert(self.told);
        }
    }

    /// The machine starts anew: nothing that was begun is made again.
    pub fn begin_anew(&mut self) {
        (self.load, self.again) = (None, None);
    }
}

impl Session {
    /// Whether no access has to be looked at before it is taken: none is awaited that has been judged.
    #[inline]
    pub fn awaits_nothing(&self) -> bool {
        self.stops.as_ref().is_none_or(|stops| stops.again.is_none())
    }

    /// Whether the guest is to be stopped anywhere.
    pub fn stops(&self) -> bool {
        self.stops.is_some()
    }

    /// An access begins, whose callback returns to this address. False if it is one that is executed again, and has been judged.
    pub fn begin_access(&mut self, access: &Accessing, site: Site, vaddr: u32, return_address: usize) -> bool {
        let cpu = self.turn();
        let Some(stops) = &mut self.stops else { return true };
        let now = Access { cpu, site, vaddr };
        if stops.again == Some(now) {
            stops.again = None;
            return false;
        }
        let is_load = access.shape().kind == AccessKind::Load;
        (stops.load, stops.now) = (is_load.then_some(return_address), now);
        true
    }

    /// How to stop the guest, if something asks for it now, and where to leave generated code if the instruction is to be executed again. The
    /// program has been told.
    #[inline]
    pub fn halting(&mut self) -> Option<(Halt, Option<Generated>)> {
        let stops = self.stops.as_mut()?;
        let load = stops.load.take();
        let finding = stops.due.take()?;
        let leave = load.and_then(Generated::of);
        stops.again = leave.and(Some(stops.now));
        self.telling.send(&Message::Stopped { finding, before: leave.is_some() });
        Some((stops.halt, leave))
    }
}
