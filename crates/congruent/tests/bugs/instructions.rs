//! The instruction side as a second judge: a cache that stores never enter, filled from the memory behind the data cache.
//!
//! To it every store of the data side is what a device's is to a cache: memory may have changed, and copies from before are old.
//! It may have changed when the bytes were stored, or as late as when they were written back; both make what was fetched before
//! old. Whether a *new* fetch finds the bytes in memory is the first judge's to say: to the data cache a fetch is a device.

use std::collections::BTreeSet;

use congruent_geometry::{CacheGeometry, PhysAddr};
use congruent_shadow::{Config, Finding, Shadow};
use congruent_trace::{AccessKind, DmaDirection, Event, Maintenance, Scope, Site};

use crate::model::judged;
use crate::model::line::COLOURS;
use crate::model::machine::{LINE, PAGE};

pub struct Instructions {
    judge: Shadow,
    /// Lines that were stored to and not written back since.
    unwritten: BTreeSet<u64>,
}

impl Instructions {
    pub fn new(geometry: CacheGeometry) -> Self {
        Self { judge: Shadow::new(Config::new(geometry)), unwritten: BTreeSet::new() }
    }

    pub fn findings(&self) -> &[Finding] {
        self.judge.findings()
    }

    /// What happened on the data side.
    pub fn beside(&mut self, event: &Event) {
        match *event {
            Event::Access { kind: AccessKind::Store, paddr, size, site, .. } => {
                let lines = paddr.0 / u64::from(LINE)..(paddr.0 + u64::from(size)).div_ceil(u64::from(LINE));
                self.unwritten.extend(lines);
                self.memory_changes(paddr, size, site);
            }
            Event::Maintain { op, scope: Scope::Line { paddr, .. }, site }
                if op.writes_back() && self.unwritten.remove(&(paddr.0 / u64::from(LINE))) =>
            {
                self.memory_changes(paddr.align_down(u64::from(LINE)), LINE, site);
            }
            Event::Dma { direction: DmaDirection::Write, .. } => {
                self.judge.apply(event);
            }
            _ => {}
        }
    }

    fn memory_changes(&mut self, paddr: PhysAddr, len: u32, site: Site) {
        self.judge.apply(&Event::Dma { direction: DmaDirection::Write, paddr, len: u64::from(len), site });
    }

    pub fn fetch(&mut self, frame: usize, colour: usize, offset: u32, len: u32, site: Site) {
        self.judge.apply(&judged::access(AccessKind::Load, frame, colour, offset, len, site));
    }

    /// A core that speculates fetches what nobody executes.
    pub fn speculate(&mut self, frame: usize, colour: usize, site: Site) {
        for event in judged::fills(frame, colour, site) {
            self.judge.apply(&event);
        }
    }

    /// Drops the copies of a frame through one colour.
    pub fn drop_colour(&mut self, frame: usize, colour: usize, site: Site) {
        for event in judged::maintenance(Maintenance::Invalidate, frame, colour, 0, PAGE, site) {
            self.judge.apply(&event);
        }
    }

    /// Drops the copies of a frame, under whichever colour: what `CacheOps::drop_instructions` promises.
    pub fn drop_frame(&mut self, frame: usize, site: Site) {
        (0..COLOURS).for_each(|colour| self.drop_colour(frame, colour, site));
    }
}
