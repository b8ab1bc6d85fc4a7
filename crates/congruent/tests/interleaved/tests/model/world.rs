//! What is around the library: users who do what their page-table entries allow, devices, a core that fills lines, and who watches.
//!
//! One line of each frame is watched, in two halves. The small judge says what *any* cache could show; in random runs the judge proper
//! (`congruent-shadow`) looks on as well, and a cache that holds versions of bytes and loses lines at random says what one did show.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_shadow::Shadow;
use congruent_trace::{AccessKind, DmaDirection, Event as Real, Maintenance, Scope, Site};

use super::line::{BOTH, COLOURS, Event, Halves, Line};
use super::random::Random;
use super::schedule;

pub const PAGE: u32 = 1024;
pub const LINE: u32 = 128;
pub const HALF: u32 = LINE / 2;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Default)]
pub enum Pte {
    #[default]
    None,
    Read,
    Write,
}

/// How the machine is made, and what the kernel answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub colours: u32,
    pub speculative: bool,
    pub linear: bool,
    pub kept: u32,
    /// Whether it says truthfully that nothing is left, or that it does not know.
    pub knows_remaining: bool,
    /// Whether a revocation waits for a lock, or would block.
    pub waits: bool,
    /// Whether users store, too.
    pub users_store: bool,
    /// Among how many CPUs a task moves whenever it goes on after somebody else, with its windows; 0 if it stays where it is.
    pub moves: u32,
}

impl Shape {
    pub fn geometry(&self) -> CacheGeometry {
        CacheGeometry::with_page(self.colours * PAGE, 1, LINE, PAGE).unwrap()
    }

    /// How many of the colours anybody uses.
    pub fn used(&self) -> usize {
        (self.colours as usize).min(COLOURS)
    }
}

/// What an agent can wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// The lock that orders a frame's mappings.
    Lock(usize),
    /// Bytes of a frame (two halves, and all others), and its colour (the lock of a page), which nobody else may be using, or nobody else alone.
    Bytes { frame: usize, mask: u8, alone: bool },
    /// Somebody else's step.
    Others,
}

pub struct World {
    pub shape: Shape,
    pub ptes: RefCell<Vec<[Pte; COLOURS]>>,
    /// Kernel mappings that are held: of which frame and colour, and whether stored through.
    pub holds: RefCell<Vec<(usize, usize, bool)>>,
    lines: RefCell<Vec<Line>>,
    /// How often each half was stored to, by anybody.
    stores: RefCell<Vec<[u32; 2]>>,
    /// What belongs to devices, and what of it they may still write.
    pub taken: RefCell<Vec<u8>>,
    pub written: RefCell<Vec<u8>>,
    /// How many are replacing all of a frame.
    replacing: RefCell<Vec<u32>>,
    claims: RefCell<Vec<[i32; 4]>>,
    locks: RefCell<Vec<Option<usize>>>,
    pub mapped: RefCell<HashMap<u64, (u64, u32)>>,
    /// Of each agent, and of who is alone.
    unpreempted: [Cell<u32>; 9],
    pub entered: Cell<i32>,
    /// The first thing that went wrong.
    pub hazard: RefCell<Option<String>>,
    pub watch: RefCell<Option<Watch>>,
    /// What happened, if somebody wants to read it.
    pub story: RefCell<Option<Vec<String>>>,
}

/// What had been stored to a frame at some time.
#[derive(Clone, Copy)]
pub struct Seen {
    stores: [u32; 2],
    taken: u8,
}

/// The judge proper, and a cache with versions.
pub struct Watch {
    pub judge: Shadow,
    pub bytes: Vec<Bytes>,
    pub random: Random,
}

#[derive(Clone, Default)]
pub struct Bytes {
    memory: [u32; 2],
    newest: [u32; 2],
    copies: [Option<([u32; 2], bool)>; COLOURS],
}

impl World {
    pub fn new(shape: Shape, frames: usize) -> Self {
        Self {
            shape,
            ptes: RefCell::new(vec![[Pte::None; COLOURS]; frames]),
            holds: RefCell::default(),
            lines: RefCell::new(vec![Line::default(); frames]),
            stores: RefCell::new(vec![[0; 2]; frames]),
            taken: RefCell::new(vec![0; frames]),
            written: RefCell::new(vec![0; frames]),
            replacing: RefCell::new(vec![0; frames]),
            claims: RefCell::new(vec![[0; 4]; frames]),
            locks: RefCell::new(vec![None; frames]),
            mapped: RefCell::default(),
            unpreempted: std::array::from_fn(|_| Cell::new(0)),
            entered: Cell::new(0),
            hazard: RefCell::default(),
            watch: RefCell::default(),
            story: RefCell::default(),
        }
    }

    pub fn frames(&self) -> usize {
        self.lines.borrow().len()
    }

    pub fn is_over(&self, wait: Wait) -> bool {
        match wait {
            Wait::Others => true,
            Wait::Lock(frame) => self.locks.borrow()[frame].is_none(),
            Wait::Bytes { frame, mask, alone } => {
                let claims = self.claims.borrow()[frame];
                (0..4).filter(|bit| mask >> bit & 1 != 0).all(|bit| if alone { claims[bit] == 0 } else { claims[bit] >= 0 })
            }
        }
    }

    pub fn is_unpreempted(&self, agent: usize) -> bool {
        self.unpreempted[agent].get() > 0
    }

    pub fn unpreempted(&self, change: i32) {
        let cell = &self.unpreempted[schedule::current().0.min(8)];
        cell.set(cell.get().checked_add_signed(change).expect("begun before it ended"));
    }

    pub fn lock(&self, frame: usize) {
        schedule::wait(self, Wait::Lock(frame));
        self.locks.borrow_mut()[frame] = Some(schedule::current().0);
    }

    /// Takes the lock if nobody has it.
    pub fn try_lock(&self, frame: usize) -> bool {
        let free = self.is_over(Wait::Lock(frame));
        if free {
            self.lock(frame);
        }
        free
    }

    pub fn unlock(&self, frame: usize) {
        self.locks.borrow_mut()[frame] = None;
    }

    /// The kernel's own order among those who use bytes of a frame and devices that write them.
    pub fn claim(&self, frame: usize, mask: u8, alone: bool) {
        schedule::wait(self, Wait::Bytes { frame, mask, alone });
        for bit in (0..4).filter(|bit| mask >> bit & 1 != 0) {
            self.claims.borrow_mut()[frame][bit] += if alone { -1 } else { 1 };
        }
    }

    pub fn unclaim(&self, frame: usize, mask: u8, alone: bool) {
        for bit in (0..4).filter(|bit| mask >> bit & 1 != 0) {
            self.claims.borrow_mut()[frame][bit] -= if alone { -1 } else { 1 };
        }
    }

    /// How often the halves of a frame have been stored to, and which of its bytes somebody is storing to now.
    pub fn seen(&self, frame: usize) -> Seen {
        let replaced = self.replacing.borrow()[frame] > 0;
        Seen { stores: self.stores.borrow()[frame], taken: if replaced { 7 } else { self.taken.borrow()[frame] } }
    }

    /// While this runs the whole frame is replaced: nobody finds what it held, and no device that was told to read it still does.
    pub fn replaced<R>(&self, frame: usize, what: impl FnOnce() -> R) -> R {
        self.stores.borrow_mut()[frame].iter_mut().for_each(|stores| *stores += 1);
        self.replacing.borrow_mut()[frame] += 1;
        let result = what();
        self.replacing.borrow_mut()[frame] -= 1;
        result
    }

    /// The halves that nobody has stored to since, and that were nobody's then and are not now.
    pub fn unchanged(&self, frame: usize, since: Seen) -> Halves {
        let now = self.seen(frame);
        let same = u8::from(now.stores[0] == since.stores[0]) | u8::from(now.stores[1] == since.stores[1]) << 1;
        same & !since.taken & !now.taken
    }

    /// One more line of the story.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut *self.story.borrow_mut() {
            let (agent, cpu, level) = schedule::current();
            let who = if agent > 8 { "nobody".to_owned() } else { format!("agent {agent} on CPU {cpu}.{level}") };
            story.push(format!("{who}: {}", line()));
        }
    }

    pub fn happens(&self, frame: usize, event: Event) {
        self.tell(|| format!("frame {frame}: {event:?}"));
        if self.hazard.borrow().is_some() {
            return;
        }
        if let Event::Store { halves, .. } | Event::DeviceWrites { halves } = event {
            for half in (0..2).filter(|half| halves >> half & 1 != 0) {
                self.stores.borrow_mut()[frame][half] += 1;
            }
        }
        let judged = self.lines.borrow_mut()[frame].apply(event, true);
        if let Err(hazard) = judged {
            *self.hazard.borrow_mut() =
                Some(format!("{hazard:?} by {event:?} of frame {frame}, agent {:?}", schedule::current()));
        }
        if let Some(watch) = &mut *self.watch.borrow_mut()
            && let Some(wrong) = watch.happens(frame, event)
        {
            self.hazard.borrow_mut().get_or_insert(wrong);
        }
    }

    /// Everything that users, holders and the core can do now: all of it, or what chance picks.
    pub fn others(&self, mut chance: Option<&mut Random>) {
        let frames = self.frames();
        for frame in 0..frames {
            let (ptes, taken) = (self.ptes.borrow()[frame], self.taken.borrow()[frame]);
            let mut accessed = |colour: usize, stores: bool, user: bool| {
                for half in [1, 2] {
                    if let Some(random) = &mut chance
                        && !random.one_in(4)
                    {
                        continue;
                    }
                    if half & taken != 0 {
                        // A user gets what he gets, and the line is filled. The kernel keeps away.
                        if user {
                            self.happens(frame, Event::Fill { colour });
                        }
                        continue;
                    }
                    self.happens(frame, Event::Load { colour, halves: half });
                    if stores && self.shape.users_store && chance.as_mut().is_none_or(|random| random.one_in(2)) {
                        self.happens(frame, Event::Store { colour, halves: half });
                    }
                }
            };
            for (colour, pte) in ptes.into_iter().enumerate().filter(|(_, pte)| *pte != Pte::None) {
                accessed(colour, pte == Pte::Write, true);
            }
            for (_, colour, stores) in self.holds.borrow().iter().copied().filter(|(held, ..)| *held == frame) {
                accessed(colour, stores, false);
            }
            if self.shape.speculative {
                if self.shape.linear {
                    self.happens(frame, Event::Fill { colour: self.linear_colour(frame) });
                }
                let windows: Vec<_> = self.mapped.borrow().values().filter(|(at, _)| *at == frame as u64).copied().collect();
                for (_, colour) in windows {
                    self.happens(frame, Event::Fill { colour: colour as usize });
                }
            }
            let written = self.written.borrow()[frame] & BOTH;
            if written != 0 && chance.as_mut().is_none_or(|random| random.one_in(4)) {
                self.happens(frame, Event::DeviceWrites { halves: written });
            }
        }
        if let Some(watch) = &mut *self.watch.borrow_mut() {
            watch.evicts();
        }
    }

    pub fn linear_colour(&self, frame: usize) -> usize {
        frame % self.shape.colours as usize
    }
}

impl Watch {
    fn happens(&mut self, frame: usize, event: Event) -> Option<String> {
        let site = Site(0);
        let base = PhysAddr(frame as u64 * u64::from(PAGE));
        let span = |halves: Halves| match halves {
            1 => (0, HALF),
            2 => (HALF, HALF),
            _ => (0, LINE),
        };
        let at = |colour: usize, offset: u32| VirtAddr(0x10_0000 + colour as u64 * u64::from(PAGE) + u64::from(offset));
        let line = |op, colour| Real::Maintain { op, scope: Scope::Line { vaddr: at(colour, 0), paddr: base }, site };
        let real = match event {
            Event::Load { colour, halves } | Event::Store { colour, halves } => {
                let (offset, size) = span(halves);
                let kind = if matches!(event, Event::Load { .. }) { AccessKind::Load } else { AccessKind::Store };
                Real::Access { kind, vaddr: at(colour, offset), paddr: PhysAddr(base.0 + u64::from(offset)), size, site }
            }
            Event::Fill { colour } => Real::Prefetch { vaddr: at(colour, 0), paddr: base, site },
            Event::WriteBack { colour } => line(Maintenance::WriteBack, colour),
            Event::Invalidate { colour } => line(Maintenance::Invalidate, colour),
            Event::WriteBackInvalidate { colour } => line(Maintenance::WriteBackInvalidate, colour),
            Event::DeviceReads { halves } | Event::DeviceWrites { halves } => {
                let (offset, size) = span(halves);
                let read = matches!(event, Event::DeviceReads { .. });
                let direction = if read { DmaDirection::Read } else { DmaDirection::Write };
                Real::Dma { direction, paddr: PhysAddr(base.0 + u64::from(offset)), len: size.into(), site }
            }
            Event::Fetch { .. } | Event::FillInstructions { .. } | Event::DropInstructions => return None,
        };
        self.judge.apply(&real);
        if self.judge.stats().hazards > 0 {
            return Some(format!("the judge: {:?}", self.judge.findings()));
        }
        self.bytes[frame].happens(event).map(|half| format!("old bytes in half {half} of frame {frame}, by {event:?}"))
    }

    /// Lines go when the cache likes.
    fn evicts(&mut self) {
        let frame = self.random.below(self.bytes.len());
        let colour = self.random.below(COLOURS);
        if self.random.one_in(2) {
            self.bytes[frame].write_back(colour);
            self.bytes[frame].copies[colour] = None;
        }
    }
}

impl Bytes {
    fn happens(&mut self, event: Event) -> Option<usize> {
        let halves = |halves: Halves| (0..2).filter(move |half| halves >> half & 1 != 0);
        match event {
            Event::Load { colour, halves: all } => {
                let copy = self.fill(colour).0;
                return halves(all).find(|&half| copy[half] != self.newest[half]);
            }
            Event::Store { colour, halves: all } => {
                for half in halves(all) {
                    self.newest[half] += 1;
                    let newest = self.newest[half];
                    let copy = self.fill(colour);
                    copy.0[half] = newest;
                    copy.1 = true;
                }
            }
            Event::Fill { colour } => drop(self.fill(colour)),
            Event::WriteBack { colour } => self.write_back(colour),
            Event::Invalidate { colour } => self.copies[colour] = None,
            Event::WriteBackInvalidate { colour } => {
                self.write_back(colour);
                self.copies[colour] = None;
            }
            Event::DeviceReads { halves: all } => return halves(all).find(|&half| self.memory[half] != self.newest[half]),
            Event::DeviceWrites { halves: all } => {
                for half in halves(all) {
                    self.newest[half] += 1;
                    self.memory[half] = self.newest[half];
                }
            }
            Event::Fetch { .. } | Event::FillInstructions { .. } | Event::DropInstructions => {}
        }
        None
    }

    fn fill(&mut self, colour: usize) -> &mut ([u32; 2], bool) {
        let memory = self.memory;
        self.copies[colour].get_or_insert((memory, false))
    }

    fn write_back(&mut self, colour: usize) {
        if let Some((bytes, dirty)) = &mut self.copies[colour]
            && std::mem::take(dirty)
        {
            self.memory = *bytes;
        }
    }
}
