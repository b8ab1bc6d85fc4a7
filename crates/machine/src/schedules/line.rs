//! One line with real bytes and one schedule: what a witness is replayed on.
//!
//! Guarantees: only what hardware can do happens; anything else is refused. Values are counted up, so the newest value of a
//! group is known and a returned byte is old exactly if it is smaller.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use congruent_trace::Maintenance;

use super::step::{Bypass, Groups, Move, Op, Shape, Step};

/// A move that hardware could not make in this state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Impossible {
    /// Nothing is held in this colour.
    NotHeld(u8),
    /// The unit is clean: there is nothing to write back.
    UnitClean(u8, u8),
    /// A dirty copy is never dropped without being written back.
    StillDirty(u8),
    /// Nothing that the core knows of reaches the line through this colour.
    NotLive(u8),
    /// The step misses and must say which way it fills.
    NoWay(u8),
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHeld(colour) => write!(f, "colour {colour} holds nothing"),
            Self::UnitClean(colour, unit) => write!(f, "unit {unit} of colour {colour} is clean"),
            Self::StillDirty(colour) => write!(f, "colour {colour} is still dirty"),
            Self::NotLive(colour) => write!(f, "nothing reaches the line through colour {colour} yet"),
            Self::NoWay(colour) => write!(f, "a miss of colour {colour} fills some way"),
        }
    }
}

impl core::error::Error for Impossible {}

#[derive(Clone, Debug)]
struct Held {
    way: u8,
    bytes: Vec<u32>,
    dirty: Vec<bool>,
}

/// The line: memory, and what each colour holds.
#[derive(Clone, Debug)]
pub struct Line {
    shape: Shape,
    memory: Vec<u32>,
    held: Vec<Option<Held>>,
    newest: Vec<u32>,
    live: bool,
}

impl Line {
    /// Memory of zeros and empty caches.
    ///
    /// # Panics
    /// If the shape has several CPUs: which of them a move passes dirty bytes to is not written in it.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        assert!(shape.cpus == 1, "{shape:?}: witnesses are replayed on one CPU");
        let zeros = vec![0; shape.groups.into()];
        Self { shape, memory: zeros.clone(), held: vec![None; shape.places().into()], newest: zeros, live: false }
    }

    /// Makes a move and returns the groups of which it returned old bytes (none, unless it is a load).
    ///
    /// # Errors
    /// [`Impossible`] if no hardware could do this now.
    pub fn make(&mut self, what: Move) -> Result<Groups, Impossible> {
        match what {
            Move::WriteBack(colour, unit) => {
                let held = self.held[usize::from(colour)].as_ref().ok_or(Impossible::NotHeld(colour))?;
                if !held.dirty[usize::from(unit)] {
                    return Err(Impossible::UnitClean(colour, unit));
                }
                self.write_back(colour, unit);
                Ok(0)
            }
            Move::Drop(colour) => {
                let held = self.held[usize::from(colour)].as_ref().ok_or(Impossible::NotHeld(colour))?;
                if held.dirty.contains(&true) {
                    return Err(Impossible::StillDirty(colour));
                }
                self.held[usize::from(colour)] = None;
                Ok(0)
            }
            Move::Fill(colour, way) => {
                if !self.live {
                    return Err(Impossible::NotLive(colour));
                }
                self.fill(colour, Some(way))?;
                Ok(0)
            }
            Move::Step(step, way) => self.step(step, way),
        }
    }

    /// The groups whose newest value is neither in memory nor can come there: every dirty copy is written back, in the order of
    /// `colours`, and memory is compared with what was stored last.
    #[must_use]
    pub fn destroyed_if_written_back(mut self, colours: &[u8]) -> Groups {
        for colour in colours {
            self.write_back_all(*colour);
        }
        let old = |group: &u8| self.memory[usize::from(*group)] < self.newest[usize::from(*group)];
        (0..self.shape.groups).filter(old).fold(0, |groups, group| groups | 1 << group)
    }

    fn step(&mut self, step: Step, way: Option<u8>) -> Result<Groups, Impossible> {
        self.live |= self.shape.speculative && matches!(step, Step::Access(..) | Step::Prefetch(_));
        match step {
            Step::Access(op, colour, groups) => {
                if op == Op::Load || self.shape.write_allocate {
                    self.fill(colour, way)?;
                }
                let groups = self.list(groups);
                let held = self.held[usize::from(colour)].as_mut();
                match op {
                    Op::Load => Ok(older(&held.ok_or(Impossible::NotHeld(colour))?.bytes, &self.newest, &groups)),
                    Op::Store => {
                        let to_memory = self.shape.writes_through || held.is_none();
                        for group in &groups {
                            self.newest[*group] += 1;
                            if to_memory {
                                self.memory[*group] = self.newest[*group];
                            }
                        }
                        if let Some(held) = held {
                            for group in groups {
                                held.bytes[group] = self.newest[group];
                                held.dirty[group / usize::from(self.shape.groups_per_unit)] |= !self.shape.writes_through;
                            }
                        }
                        Ok(0)
                    }
                }
            }
            Step::Prefetch(colour) => {
                if way.is_some() {
                    self.fill(colour, way)?;
                }
                Ok(0)
            }
            Step::Past(Bypass::Uncached | Bypass::Dma, op, groups) => {
                let groups = self.list(groups);
                match op {
                    Op::Load => Ok(older(&self.memory, &self.newest, &groups)),
                    Op::Store => {
                        for group in groups {
                            self.newest[group] += 1;
                            self.memory[group] = self.newest[group];
                        }
                        Ok(0)
                    }
                }
            }
            Step::Maintain(op, colour) => Ok(self.maintain(op, colour)),
            Step::Index(op, colour, way) => {
                if self.held[usize::from(colour)].as_ref().is_some_and(|held| held.way == way) {
                    self.maintain(op, colour);
                }
                Ok(0)
            }
            Step::Whole(op, _) => {
                for colour in 0..self.shape.colours {
                    self.maintain(op, colour);
                }
                Ok(0)
            }
            Step::Fetch(through, groups) => {
                let place = self.shape.code_place(through);
                let data = self.shape.serves_fetch(through).and_then(|colour| self.held[usize::from(colour)].as_ref());
                let bytes = data.map_or_else(|| self.memory.clone(), |held| held.bytes.clone());
                self.fill_with(place, way, bytes)?;
                let held = self.held[usize::from(place)].as_ref().ok_or(Impossible::NotHeld(place))?;
                Ok(older(&held.bytes, &self.newest, &self.list(groups)))
            }
            Step::DropCode(through) => {
                self.held[usize::from(self.shape.code_place(through))] = None;
                Ok(0)
            }
            Step::DropCodeIndex(through, way) => {
                self.held[usize::from(self.shape.code_place(through))].take_if(|held| held.way == way);
                Ok(0)
            }
            Step::DropCodeWhole(_) => {
                self.held[usize::from(self.shape.colours)..].fill(None);
                Ok(0)
            }
        }
    }

    fn maintain(&mut self, op: Maintenance, colour: u8) -> Groups {
        if op.writes_back() {
            self.write_back_all(colour);
        }
        if op.invalidates() {
            self.held[usize::from(colour)] = None;
        }
        0
    }

    fn write_back_all(&mut self, colour: u8) {
        for unit in 0..self.shape.units() {
            self.write_back(colour, unit);
        }
    }

    fn write_back(&mut self, colour: u8, unit: u8) {
        if let Some(held) = &mut self.held[usize::from(colour)]
            && core::mem::take(&mut held.dirty[usize::from(unit)])
        {
            let first = usize::from(unit * self.shape.groups_per_unit);
            let groups = first..first + usize::from(self.shape.groups_per_unit);
            self.memory[groups.clone()].copy_from_slice(&held.bytes[groups]);
        }
    }

    fn fill(&mut self, colour: u8, way: Option<u8>) -> Result<(), Impossible> {
        self.fill_with(colour, way, self.memory.clone())
    }

    fn fill_with(&mut self, place: u8, way: Option<u8>, bytes: Vec<u32>) -> Result<(), Impossible> {
        let held = &mut self.held[usize::from(place)];
        if held.is_none() {
            let way = way.ok_or(Impossible::NoWay(place))?;
            *held = Some(Held { way, bytes, dirty: vec![false; self.shape.units().into()] });
        }
        Ok(())
    }

    fn list(&self, groups: Groups) -> Vec<usize> {
        (0..usize::from(self.shape.groups)).filter(|group| groups >> group & 1 != 0).collect()
    }
}

fn older(bytes: &[u32], newest: &[u32], groups: &[usize]) -> Groups {
    groups.iter().filter(|group| bytes[**group] < newest[**group]).fold(0, |old, group| old | 1 << group)
}
