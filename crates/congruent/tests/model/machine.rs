//! A platform that maps windows nowhere, remembers what the library asked of it, and has page tables to revoke rights from.
//!
//! Only the first line of each page is watched: the second stands for all others.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use congruent::state::State;
use congruent::{
    CacheGeometry, CacheOps, Config, ConfigError, Congruent, CpuContext, CpuSlots, Frame, FrameWord, KeptArea, KeptSlot,
    Platform, Policy, Remaining, Revoke, VirtAddr, WindowArea, WindowMapper, WouldBlock,
};

pub const PAGE: u32 = 1024;
pub const LINE: u32 = 128;
pub const HALF: u32 = LINE / 2;
const LINEAR: u64 = 0x8000_0000;
const KEPT: u64 = 0xe000_0000;
const WINDOWS: u64 = 0xf000_0000;

/// What a user's page-table entry allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Default)]
pub enum Pte {
    #[default]
    None,
    Read,
    Write,
}

/// What the library did, in order. Offsets are in bytes of the page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Did {
    Load {
        frame: u64,
        colour: usize,
        offset: u32,
        len: u32,
    },
    Store {
        frame: u64,
        colour: usize,
        offset: u32,
        len: u32,
    },
    Maintain {
        op: Maintain,
        frame: u64,
        colour: usize,
        offset: u32,
        len: u32,
    },
    DropInstructions {
        frame: u64,
    },
    /// A window was mapped, or is about to be unmapped: a core that speculates may have filled lines through it.
    Reachable {
        frame: u64,
        colour: usize,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Maintain {
    WriteBack,
    Invalidate,
    Both,
}

/// A call of the library into the kernel, in the middle of which something else can happen ([`Machine::meanwhile`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// Rights are being taken away: done, and not yet answered.
    Revoking,
    /// Bytes are about to be stored.
    Storing,
    /// Maintenance is about to be done.
    Maintaining,
    /// A window is about to be mapped.
    Mapping,
}

type Meanwhile = (When, Box<dyn FnOnce()>);

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub colours: u32,
    pub write_back: bool,
    pub speculative: bool,
    /// Whether frames have a permanent mapping; frame n has colour n there.
    pub linear: bool,
    /// Whether the kernel knows what its revocations leave.
    pub knows_remaining: bool,
    /// Kept windows per CPU.
    pub kept: u32,
    pub policy: Policy,
    /// Whether the instruction side is looked at: users execute, and code is stored.
    pub executes: bool,
    pub fetches_see_data: bool,
    /// Whether transfers are those of kernels that count none.
    pub unpaired: bool,
    /// Whether kernel code uses the frame at addresses of its own, and only says so.
    pub notices: bool,
}

impl Shape {
    pub fn of(colours: u32) -> Self {
        Self {
            colours,
            write_back: true,
            speculative: false,
            linear: true,
            knows_remaining: true,
            kept: 0,
            policy: Policy::Remember,
            executes: false,
            fetches_see_data: false,
            unpaired: false,
            notices: false,
        }
    }

    pub fn geometry(&self) -> CacheGeometry {
        CacheGeometry::with_page(self.colours * PAGE, 1, LINE, PAGE).unwrap()
    }
}

pub struct Machine {
    pub shape: Shape,
    pub words: Vec<FrameWord>,
    pub ptes: RefCell<Vec<[Pte; super::line::COLOURS]>>,
    pub log: RefCell<Vec<Did>>,
    slots: [CpuSlots; 2],
    pub context: Cell<CpuContext>,
    entered: Cell<u32>,
    unpreempted: Cell<u32>,
    mapped: RefCell<BTreeMap<u64, u64>>,
    pub window_maps: Cell<u64>,
    /// Places of the kept area of each CPU; empty without one.
    kept: [Vec<KeptSlot>; 2],
    /// How often the kernel was asked where a user has a frame mapped.
    pub looked_up: Cell<u64>,
    meanwhile: RefCell<Option<Meanwhile>>,
}

impl Machine {
    pub fn new(shape: Shape, frames: &[State], ptes: Vec<[Pte; super::line::COLOURS]>) -> Congruent<Self> {
        Self::configured(shape, frames, ptes, |_| ())
    }

    /// Of words that tests have made.
    pub fn with_words(shape: Shape, words: Vec<FrameWord>, ptes: Vec<[Pte; super::line::COLOURS]>) -> Congruent<Self> {
        Self::made(shape, words, ptes, |_| ()).unwrap()
    }

    pub fn configured(
        shape: Shape,
        frames: &[State],
        ptes: Vec<[Pte; super::line::COLOURS]>,
        change: impl Fn(&mut Config),
    ) -> Congruent<Self> {
        Self::attempt(shape, frames, ptes, change).unwrap()
    }

    pub fn attempt(
        shape: Shape,
        frames: &[State],
        ptes: Vec<[Pte; super::line::COLOURS]>,
        change: impl Fn(&mut Config),
    ) -> Result<Congruent<Self>, ConfigError> {
        let words = frames.iter().map(|&state| FrameWord::with_state(state)).collect();
        Self::made(shape, words, ptes, change)
    }

    fn made(
        shape: Shape,
        words: Vec<FrameWord>,
        ptes: Vec<[Pte; super::line::COLOURS]>,
        change: impl Fn(&mut Config),
    ) -> Result<Congruent<Self>, ConfigError> {
        let windows = WindowArea::new(VirtAddr(WINDOWS), 4, 2);
        let mut config = Config::new(shape.geometry(), windows);
        config.write_back = shape.write_back;
        config.speculative = shape.speculative;
        config.kept = (shape.kept > 0).then_some(KeptArea::new(VirtAddr(KEPT), shape.kept));
        config.policy = shape.policy;
        config.fetches_see_data = shape.fetches_see_data;
        change(&mut config);
        let kept = config.kept.map_or(0, |area| area.slots);
        let places = || (0..kept).map(|_| KeptSlot::new()).collect();
        let machine = Self {
            shape,
            words,
            ptes: RefCell::new(ptes),
            log: RefCell::default(),
            slots: [CpuSlots::new(), CpuSlots::new()],
            context: Cell::new(CpuContext::new(0, 0)),
            entered: Cell::new(0),
            unpreempted: Cell::new(0),
            mapped: RefCell::default(),
            window_maps: Cell::new(0),
            kept: [places(), places()],
            looked_up: Cell::new(0),
            meanwhile: RefCell::default(),
        };
        Congruent::new(machine, config)
    }

    /// A user address of this colour.
    pub fn user_address(colour: usize) -> VirtAddr {
        VirtAddr(0x10_0000 + colour as u64 * u64::from(PAGE))
    }

    /// Whether other threads may run here now.
    pub fn preemptible(&self) -> bool {
        self.unpreempted.get() == 0
    }

    /// No window is open and nobody is bound to a CPU.
    pub fn is_idle(&self) -> bool {
        let kept = self.kept[0].len() + self.kept[1].len();
        self.entered.get() == 0
            && self.preemptible()
            && (kept > 0 || self.mapped.borrow().is_empty())
            && self.slots.iter().all(|slots| slots.taken() == 0)
    }

    /// Has another CPU do something when the library is next in the middle of this.
    pub fn meanwhile(&self, when: When, what: impl FnOnce() + 'static) {
        *self.meanwhile.borrow_mut() = Some((when, Box::new(what)));
    }

    fn now(&self, when: When) {
        let what = self.meanwhile.borrow_mut().take_if(|(then, _)| *then == when);
        if let Some((_, what)) = what {
            what();
        }
    }

    fn place(&self, address: VirtAddr) -> (u64, usize, u32) {
        let page = u64::from(PAGE);
        let offset = (address.0 % page) as u32;
        let base = address.0 - u64::from(offset);
        let frame = match self.mapped.borrow().get(&base) {
            Some(&frame) => frame,
            None => {
                assert!(self.shape.linear, "{address} is not mapped");
                let frame = (base - LINEAR) / page;
                assert!((frame as usize) < self.words.len(), "{address} is not mapped");
                frame
            }
        };
        (frame, self.shape.geometry().colour(address).index(), offset)
    }

    fn reachable(&self, slot: VirtAddr) {
        if self.shape.speculative {
            let (frame, colour, _) = self.place(slot);
            self.log.borrow_mut().push(Did::Reachable { frame, colour });
        }
    }

    fn maintain(&self, op: Maintain, start: VirtAddr, len: u32) {
        assert!(start.0 % u64::from(LINE) == 0 && len % LINE == 0);
        self.now(When::Maintaining);
        let (frame, colour, offset) = self.place(start);
        self.log.borrow_mut().push(Did::Maintain { op, frame, colour, offset, len });
    }

    fn loads(&self, from: VirtAddr, len: u32) {
        let (frame, colour, offset) = self.place(from);
        self.log.borrow_mut().push(Did::Load { frame, colour, offset, len });
    }

    fn stores(&self, to: VirtAddr, len: u32) {
        self.now(When::Storing);
        let (frame, colour, offset) = self.place(to);
        self.log.borrow_mut().push(Did::Store { frame, colour, offset, len });
    }
}

// SAFETY: no memory is touched at all.
unsafe impl CacheOps for Machine {
    unsafe fn write_back(&self, start: VirtAddr, len: u32) {
        self.maintain(Maintain::WriteBack, start, len);
    }
    unsafe fn invalidate(&self, start: VirtAddr, len: u32) {
        self.maintain(Maintain::Invalidate, start, len);
    }
    unsafe fn write_back_invalidate(&self, start: VirtAddr, len: u32) {
        self.maintain(Maintain::Both, start, len);
    }
    unsafe fn empty(&self) {}
    unsafe fn drop_instructions(&self, start: VirtAddr, _: u32) {
        let (frame, ..) = self.place(start);
        self.log.borrow_mut().push(Did::DropInstructions { frame });
    }
}

// SAFETY: every access is checked against what is mapped, and touches no memory.
unsafe impl WindowMapper for Machine {
    fn enter(&self) -> CpuContext {
        self.entered.set(self.entered.get() + 1);
        self.context.get()
    }
    fn leave(&self) {
        self.entered.set(self.entered.get() - 1);
    }
    fn begin_busy(&self) {
        self.unpreempted.set(self.unpreempted.get() + 1);
    }
    fn end_busy(&self) {
        self.unpreempted.set(self.unpreempted.get() - 1);
    }
    fn word(&self, frame: Frame) -> Option<&FrameWord> {
        self.words.get(frame.0 as usize)
    }
    fn slots(&self, cpu: u32) -> &CpuSlots {
        &self.slots[cpu as usize]
    }
    fn kept(&self, cpu: u32) -> &[KeptSlot] {
        &self.kept[cpu as usize]
    }
    unsafe fn map(&self, slot: VirtAddr, frame: Frame) {
        self.now(When::Mapping);
        self.window_maps.set(self.window_maps.get() + 1);
        let before = self.mapped.borrow_mut().insert(slot.0, frame.0);
        assert_eq!(before, None, "two windows at {slot}");
        self.reachable(slot);
    }
    unsafe fn unmap(&self, slot: VirtAddr) {
        self.reachable(slot);
        assert!(self.mapped.borrow_mut().remove(&slot.0).is_some(), "{slot} was not mapped");
    }
    fn linear(&self, frame: Frame) -> Option<VirtAddr> {
        self.shape.linear.then(|| VirtAddr(LINEAR + frame.0 * u64::from(PAGE)))
    }
    unsafe fn load(&self, from: VirtAddr, to: &mut [u8]) {
        self.loads(from, to.len() as u32);
    }
    unsafe fn store(&self, to: VirtAddr, from: &[u8]) {
        self.stores(to, from.len() as u32);
    }
    unsafe fn copy(&self, from: VirtAddr, to: VirtAddr, len: u32) {
        self.loads(from, len);
        self.stores(to, len);
    }
    unsafe fn zero(&self, to: VirtAddr, len: u32) {
        self.stores(to, len);
    }
}

impl Platform for Machine {
    fn revoke(&self, frame: Frame, what: Revoke<Self>) -> Result<Remaining, WouldBlock> {
        let mut table = self.ptes.borrow_mut();
        let ptes = &mut table[frame.0 as usize];
        match what {
            Revoke::Writes => ptes.iter_mut().for_each(|pte| *pte = (*pte).min(Pte::Read)),
            Revoke::AllBut(keep) => {
                for (colour, pte) in ptes.iter_mut().enumerate() {
                    if colour != keep.index() {
                        *pte = Pte::None;
                    }
                }
            }
        }
        let none = self.shape.knows_remaining && ptes.iter().all(|&pte| pte == Pte::None);
        drop(table);
        self.now(When::Revoking);
        Ok(if none { Remaining::None } else { Remaining::Some })
    }

    fn user_address(&self, frame: Frame) -> Option<VirtAddr> {
        self.looked_up.set(self.looked_up.get() + 1);
        let ptes = self.ptes.borrow()[frame.0 as usize];
        ptes.iter().position(|&pte| pte != Pte::None).map(Self::user_address)
    }
}
