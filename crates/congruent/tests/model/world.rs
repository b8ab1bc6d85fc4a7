//! Several frames at once, living windows, and the judge looking on.

use congruent::state::State;
use congruent::{At, Congruent, Error, Frame, ReadOnly, ReadWrite, Rights, Settled, Transfer, Window};
use congruent_shadow::Shadow;
use congruent_trace::{AccessKind, DmaDirection, Event, Site};

use super::judged;
use super::kernel::{Part, PARTS};
use super::line::COLOURS;
use super::machine::{Did, Machine, Pte, Shape, HALF};

/// One frame, and what is going on with it.
#[derive(Default)]
struct Page<'c> {
    dead: bool,
    holds: Vec<Settled<'c, Machine, ReadWrite>>,
    windows: Vec<Window<'c, Machine, ReadWrite>>,
    readers: Vec<Window<'c, Machine, ReadOnly>>,
    flights: Vec<(Transfer<'c, Machine>, Part)>,
}

/// What can be done next, with frame, place and part as numbers to be taken modulo what there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Act {
    Load { frame: u8, colour: u8, half: u8 },
    Store { frame: u8, colour: u8, half: u8 },
    Map { frame: u8, colour: u8, write: bool },
    Unmap { frame: u8, colour: u8, told: bool },
    WriteProtect { frame: u8, told: bool },
    Free { frame: u8 },
    Clear { frame: u8, place: u8 },
    Fill { frame: u8, place: u8 },
    Copy { from: u8, to: u8, place: u8 },
    Read { frame: u8, half: u8 },
    Write { frame: u8, half: u8 },
    Argument { frame: u8, colour: u8 },
    OpenReader { frame: u8 },
    OpenWriter { frame: u8, place: u8 },
    Hold { frame: u8, place: u8 },
    UseWindows { frame: u8 },
    CloseOldest { frame: u8 },
    CloseNewest { frame: u8 },
    DeviceReads { frame: u8, part: u8 },
    DeviceWrites { frame: u8, part: u8 },
    Complete { frame: u8, wrote: bool },
    Interrupt { on: bool },
    Cpu { cpu: u8 },
}

pub struct World<'c> {
    congruent: &'c Congruent<Machine>,
    shadow: Shadow,
    pages: Vec<Page<'c>>,
    /// The maintenance operation with this number is left out.
    pub muted: Option<u64>,
    pub maintenance: u64,
    site: u32,
}

pub fn machine(shape: Shape, frames: usize) -> Congruent<Machine> {
    Machine::new(shape, &vec![State::UNCACHED; frames], vec![[Pte::None; COLOURS]; frames])
}

impl<'c> World<'c> {
    pub fn new(congruent: &'c Congruent<Machine>) -> Self {
        let frames = congruent.platform().words.len();
        let pages = (0..frames).map(|_| Page { dead: true, ..Page::default() }).collect();
        let shadow = Shadow::new(congruent_shadow::Config::new(*congruent.geometry()));
        Self { congruent, shadow, pages, muted: None, maintenance: 0, site: 0 }
    }

    pub fn hazards(&self) -> u64 {
        self.shadow.stats().hazards
    }

    pub fn findings(&self) -> String {
        format!("{:#?}", self.shadow.findings())
    }

    fn taken(&self, frame: usize, offset: u32, len: u32) -> bool {
        self.pages[frame].flights.iter().any(|(_, part)| {
            let (start, n) = part.bytes();
            offset < start + n && start < offset + len
        })
    }

    fn at(&self, place: u8) -> At<Machine> {
        let colours = self.congruent.geometry().colours() as usize;
        match usize::from(place) % (colours + 2) {
            0 => At::Home,
            1 => At::Linear,
            n => At::Colour(self.congruent.colour_from_index(n - 2).unwrap()),
        }
    }

    fn user(&mut self, kind: AccessKind, frame: usize, colour: usize, half: u32) {
        let (offset, vaddr) = (half * HALF, Machine::user_address(colour).add(u64::from(half * HALF)));
        let paddr = judged::paddr(frame, offset);
        let site = Site(self.site);
        if self.taken(frame, offset, HALF) {
            // He gets what he gets, but the line is filled.
            self.shadow.apply(&Event::Prefetch { vaddr, paddr, site });
        } else {
            self.shadow.apply(&Event::Access { kind, vaddr, paddr, size: HALF, site });
        }
    }

    /// Hands what the library did to the judge.
    fn drain(&mut self) {
        let log = std::mem::take(&mut *self.congruent.platform().log.borrow_mut());
        for did in log {
            let mut muted = false;
            if let Did::Maintain { .. } = did {
                muted = self.muted == Some(self.maintenance);
                self.maintenance += 1;
            }
            let judge = &mut self.shadow;
            judged::events(did, Site(self.site), |event| {
                if muted {
                    judge.apply_muted(&event);
                } else {
                    judge.apply(&event);
                }
            });
        }
    }

    /// Does it if that is legal for a kernel, or for a user; errors of the library are answers, not failures.
    pub fn act(&mut self, act: Act) {
        self.site += 1;
        let _ = self.try_act(act);
        self.drain();
        self.speculate();
    }

    /// A core that speculates fills through every live mapping.
    fn speculate(&mut self) {
        let machine = self.congruent.platform();
        if !machine.shape.speculative {
            return;
        }
        for frame in 0..self.pages.len() {
            for colour in judged::live_mappings(self.congruent, frame) {
                self.fill(frame, colour);
            }
        }
    }

    fn fill(&mut self, frame: usize, colour: usize) {
        for event in judged::fills(frame, colour, Site(self.site)) {
            self.shadow.apply(&event);
        }
    }

    fn try_act(&mut self, act: Act) -> Result<(), Error> {
        let c = self.congruent;
        let machine = c.platform();
        let colours = c.geometry().colours() as usize;
        let frames = self.pages.len();
        let pick = |frame: u8| {
            let index = usize::from(frame) % frames;
            (index, Frame(index as u64))
        };
        let colour_of = |colour: u8| usize::from(colour) % colours.min(COLOURS);
        let bytes = [0; HALF as usize];
        match act {
            Act::Load { frame, colour, half } | Act::Store { frame, colour, half } => {
                let ((index, _), colour) = (pick(frame), colour_of(colour));
                let kind = if matches!(act, Act::Load { .. }) { AccessKind::Load } else { AccessKind::Store };
                let needs = if kind == AccessKind::Load { Pte::Read } else { Pte::Write };
                if machine.ptes.borrow()[index][colour] >= needs {
                    self.user(kind, index, colour, u32::from(half % 4));
                }
            }
            Act::Map { frame, colour, write } => {
                let ((index, frame), colour) = (pick(frame), colour_of(colour));
                if self.pages[index].dead {
                    return Ok(());
                }
                let rights = Rights::READ.with_write(write);
                c.map_user(frame, Machine::user_address(colour), rights, || {
                    let pte = &mut machine.ptes.borrow_mut()[index][colour];
                    *pte = (*pte).max(if write { Pte::Write } else { Pte::Read });
                })?;
            }
            Act::Unmap { frame, colour, told } => {
                let (index, frame) = pick(frame);
                machine.ptes.borrow_mut()[index][colour_of(colour)] = Pte::None;
                if told && machine.ptes.borrow()[index].iter().all(|&pte| pte == Pte::None) {
                    c.unmapped(frame)?;
                }
            }
            Act::WriteProtect { frame, told } => {
                let (index, frame) = pick(frame);
                machine.ptes.borrow_mut()[index].iter_mut().for_each(|pte| *pte = (*pte).min(Pte::Read));
                if told {
                    c.write_protected(frame)?;
                }
            }
            Act::Free { frame } => {
                let (index, frame) = pick(frame);
                if machine.ptes.borrow()[index].iter().all(|&pte| pte == Pte::None) {
                    c.freed(frame)?;
                    self.pages[index].dead = true;
                }
            }
            Act::Clear { frame, place } => {
                let (index, frame) = pick(frame);
                c.clear(frame, self.at(place))?;
                self.pages[index].dead = false;
            }
            Act::Fill { frame, place } => {
                let (index, frame) = pick(frame);
                c.fill(frame, self.at(place), &bytes)?;
                self.pages[index].dead = false;
            }
            Act::Copy { from, to, place } => {
                let ((from_index, from), (to_index, to)) = (pick(from), pick(to));
                if !self.pages[from_index].dead {
                    c.copy(from, to, self.at(place))?;
                    self.pages[to_index].dead = false;
                }
            }
            Act::Read { frame, half } => {
                let (index, frame) = pick(frame);
                if !self.pages[index].dead {
                    c.read(frame, u32::from(half % 4) * HALF, &mut [0; HALF as usize])?;
                }
            }
            Act::Write { frame, half } => {
                let (index, frame) = pick(frame);
                if !self.pages[index].dead {
                    c.write(frame, u32::from(half % 4) * HALF, &bytes)?;
                }
            }
            Act::Argument { frame, colour } => {
                let (index, frame) = pick(frame);
                if !self.pages[index].dead {
                    c.write_argument(frame, Machine::user_address(colour_of(colour)).add(7), b"argument")?;
                }
            }
            Act::OpenReader { frame } => {
                let (index, frame) = pick(frame);
                if !self.pages[index].dead {
                    self.pages[index].readers.push(c.window(frame)?);
                }
            }
            Act::OpenWriter { frame, place } => {
                let (index, frame) = pick(frame);
                if !self.pages[index].dead {
                    let settled = c.settle(frame, self.at(place))?;
                    self.pages[index].windows.push(settled.open()?);
                }
            }
            Act::Hold { frame, place } => {
                let (index, frame) = pick(frame);
                if !self.pages[index].dead {
                    let hold = c.settle(frame, self.at(place))?;
                    self.pages[index].holds.push(hold);
                }
            }
            Act::UseWindows { frame } => {
                let (index, _) = pick(frame);
                for half in 0..4 {
                    if !self.taken(index, half * HALF, HALF) {
                        let page = &self.pages[index];
                        page.readers.iter().try_for_each(|window| window.read(half * HALF, &mut [0; HALF as usize]))?;
                        page.windows.iter().try_for_each(|window| window.write(half * HALF, &bytes))?;
                    }
                }
            }
            Act::CloseOldest { frame } | Act::CloseNewest { frame } => {
                let page = &mut self.pages[pick(frame).0];
                let oldest = matches!(act, Act::CloseOldest { .. });
                let which = |len: usize| if oldest { 0 } else { len - 1 };
                if !page.readers.is_empty() {
                    drop(page.readers.remove(which(page.readers.len())));
                } else if !page.windows.is_empty() {
                    drop(page.windows.remove(which(page.windows.len())));
                } else if !page.holds.is_empty() {
                    drop(page.holds.remove(which(page.holds.len())));
                }
            }
            Act::DeviceReads { frame, part } => {
                let (index, frame) = pick(frame);
                let (offset, len) = PARTS[usize::from(part) % PARTS.len()].bytes();
                if self.pages[index].dead || self.taken(index, offset, len) {
                    return Ok(());
                }
                c.device_reads(frame, offset, len)?;
                self.drain();
                self.dma(DmaDirection::Read, index, offset, len);
            }
            Act::DeviceWrites { frame, part } => {
                let (index, frame) = pick(frame);
                let part = PARTS[usize::from(part) % PARTS.len()];
                let (offset, len) = part.bytes();
                let possible = part == Part::Whole || !self.pages[index].dead;
                if possible && !self.taken(index, offset, len) {
                    let transfer = c.device_writes(frame, offset, len)?;
                    self.pages[index].flights.push((transfer, part));
                }
            }
            Act::Complete { frame, wrote } => {
                let (index, _) = pick(frame);
                let Some((transfer, part)) = self.pages[index].flights.pop() else { return Ok(()) };
                if wrote || self.pages[index].dead {
                    let (offset, len) = part.bytes();
                    self.dma(DmaDirection::Write, index, offset, len);
                }
                self.pages[index].dead = false;
                transfer.complete().map_err(|(transfer, error)| {
                    self.pages[index].flights.push((transfer, part));
                    error
                })?;
            }
            Act::Interrupt { on } => {
                let context = machine.context.get();
                machine.context.set(congruent::CpuContext::new(context.cpu, u8::from(on)));
            }
            Act::Cpu { cpu } => {
                let context = machine.context.get();
                machine.context.set(congruent::CpuContext::new(u32::from(cpu % 2), context.level));
            }
        }
        Ok(())
    }

    fn dma(&mut self, direction: DmaDirection, frame: usize, offset: u32, len: u32) {
        let event = Event::Dma { direction, paddr: judged::paddr(frame, offset), len: u64::from(len), site: Site(self.site) };
        self.shadow.apply(&event);
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        for page in &mut self.pages {
            page.flights.drain(..).for_each(|(transfer, _)| drop(transfer));
        }
    }
}
