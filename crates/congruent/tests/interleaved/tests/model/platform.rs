//! The platform of the interleaved tests: at every call into it somebody else may go on, before what it does and, where it does several
//! things, in between.

use std::rc::Rc;

use congruent_interleaved::{
    CacheOps, Config, Congruent, CpuContext, CpuSlots, Frame, FrameWord, KeptArea, KeptSlot, Platform, Remaining, Revoke,
    VirtAddr, WindowArea, WindowMapper, WouldBlock,
};

use super::line::{BOTH, Event, Halves};
use super::schedule::{current, switch};
use super::world::{HALF, LINE, PAGE, Pte, Shape, World};

const LINEAR: u64 = 0x8000_0000;
const KEPT: u64 = 0xe000_0000;
const WINDOWS: u64 = 0xf000_0000;

/// How many CPUs the machine has.
const CPUS: usize = 3;

/// With two levels of interrupts.
const SLOTS: WindowArea = WindowArea::new(VirtAddr(WINDOWS), 4, 4).with_levels(3);

/// Who can have windows: each CPU, or where tasks take theirs along, each task.
const OWNERS: usize = CPUS + 9;

pub type Library = Congruent<Machine>;

pub struct Machine {
    pub world: Rc<World>,
    words: Vec<FrameWord>,
    slots: [CpuSlots; OWNERS],
    kept: [Vec<KeptSlot>; OWNERS],
}

pub fn library(world: &Rc<World>) -> Rc<Library> {
    let Shape { speculative, kept, .. } = world.shape;
    let places = || (0..kept).map(|_| KeptSlot::new()).collect();
    let machine = Machine {
        world: world.clone(),
        words: (0..world.frames()).map(|_| FrameWord::new()).collect(),
        slots: std::array::from_fn(|_| CpuSlots::new()),
        kept: std::array::from_fn(|_| places()),
    };
    let mut config = Config::new(world.shape.geometry(), SLOTS);
    config.speculative = speculative;
    config.kept = (kept > 0).then_some(KeptArea::new(VirtAddr(KEPT), kept));
    Rc::new(Congruent::new(machine, config).unwrap())
}

pub fn user_address(colour: usize) -> VirtAddr {
    VirtAddr(0x10_0000 + colour as u64 * u64::from(PAGE))
}

impl Machine {
    /// Whose windows the code that runs now has: those of its CPU; its own, if it is a task and takes them along.
    fn owner(&self) -> u32 {
        let (agent, cpu, level) = current();
        if self.world.shape.moves > 0 && level == 0 { (CPUS + agent.min(8)) as u32 } else { cpu }
    }

    /// That a window is used by whose it is, wherever that may be now.
    fn assert_own(&self, base: u64) {
        let whose = match base {
            WINDOWS.. => (base - WINDOWS) / u64::from(self.world.shape.colours * PAGE) / u64::from(SLOTS.slots()),
            _ => (base - KEPT) / u64::from(self.world.shape.kept * PAGE),
        };
        assert_eq!(whose, u64::from(self.owner()), "the window at {base:#x} is somebody else's");
    }

    /// Frame, colour and offset of an address.
    fn place(&self, address: VirtAddr) -> (usize, usize, u32) {
        let page = u64::from(PAGE);
        let offset = (address.0 % page) as u32;
        let base = address.0 - u64::from(offset);
        let frame = match self.world.mapped.borrow().get(&base) {
            Some((frame, _)) => {
                self.assert_own(base);
                *frame
            }
            None => {
                assert!(self.world.shape.linear && (LINEAR..KEPT).contains(&base), "{address} is not mapped");
                (base - LINEAR) / page
            }
        };
        (frame as usize, self.world.shape.geometry().colour(address).index(), offset)
    }

    fn maintain(&self, start: VirtAddr, event: impl Fn(usize) -> Event) {
        switch();
        let (frame, colour, offset) = self.place(start);
        if offset < LINE {
            self.world.happens(frame, event(colour));
        }
    }

    /// The halves of the watched line among these bytes, one after the other.
    fn halves(&self, address: VirtAddr, len: u32, mut each: impl FnMut(usize, usize, Halves)) {
        let (frame, colour, offset) = self.place(address);
        for half in 0..2 {
            if offset < (half + 1) * HALF && offset + len > half * HALF {
                switch();
                each(frame, colour, 1 << half);
            }
        }
    }
}

// SAFETY: no memory is touched.
unsafe impl CacheOps for Machine {
    unsafe fn write_back(&self, start: VirtAddr, _: u32) {
        self.maintain(start, |colour| Event::WriteBack { colour });
    }
    unsafe fn invalidate(&self, start: VirtAddr, _: u32) {
        self.maintain(start, |colour| Event::Invalidate { colour });
    }
    unsafe fn write_back_invalidate(&self, start: VirtAddr, _: u32) {
        self.maintain(start, |colour| Event::WriteBackInvalidate { colour });
    }
    unsafe fn empty(&self) {}
    unsafe fn drop_instructions(&self, start: VirtAddr, _: u32) {
        switch();
        let (frame, ..) = self.place(start);
        self.world.happens(frame, Event::DropInstructions);
    }
}

// SAFETY: every access is checked against what is mapped, and touches no memory.
unsafe impl WindowMapper for Machine {
    fn enter(&self) -> CpuContext {
        self.world.entered.set(self.world.entered.get() + 1);
        CpuContext::new(self.owner(), current().2)
    }
    fn leave(&self) {
        self.world.entered.set(self.world.entered.get() - 1);
    }
    fn begin_busy(&self) {
        switch();
        self.world.unpreempted(1);
    }
    fn end_busy(&self) {
        self.world.unpreempted(-1);
        switch();
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
        switch();
        let colour = self.world.shape.geometry().colour(slot).index() as u32;
        let before = self.world.mapped.borrow_mut().insert(slot.0, (frame.0, colour));
        assert_eq!(before, None, "two windows at {slot}");
        self.assert_own(slot.0);
    }
    unsafe fn unmap(&self, slot: VirtAddr) {
        switch();
        self.assert_own(slot.0);
        assert!(self.world.mapped.borrow_mut().remove(&slot.0).is_some(), "{slot} was not mapped");
    }
    fn linear(&self, frame: Frame) -> Option<VirtAddr> {
        self.world.shape.linear.then(|| VirtAddr(LINEAR + frame.0 * u64::from(PAGE)))
    }
    unsafe fn load(&self, from: VirtAddr, to: &mut [u8]) {
        let len = to.len() as u32;
        self.halves(from, len, |frame, colour, halves| self.world.happens(frame, Event::Load { colour, halves }));
    }
    unsafe fn store(&self, to: VirtAddr, from: &[u8]) {
        let len = from.len() as u32;
        self.halves(to, len, |frame, colour, halves| self.world.happens(frame, Event::Store { colour, halves }));
    }
    unsafe fn copy(&self, from: VirtAddr, to: VirtAddr, len: u32) {
        self.halves(from, len, |frame, colour, halves| self.world.happens(frame, Event::Load { colour, halves }));
        self.halves(to, len, |frame, colour, halves| self.world.happens(frame, Event::Store { colour, halves }));
    }
    unsafe fn zero(&self, to: VirtAddr, len: u32) {
        self.halves(to, len, |frame, colour, halves| self.world.happens(frame, Event::Store { colour, halves }));
    }
}

impl Platform for Machine {
    fn revoke(&self, frame: Frame, what: Revoke<Self>) -> Result<Remaining, WouldBlock> {
        switch();
        let world = &self.world;
        let frame = frame.0 as usize;
        // An interrupt cannot wait for what it has interrupted.
        if !world.shape.waits || current().2 > 0 {
            if !world.try_lock(frame) {
                return Err(WouldBlock);
            }
        } else {
            world.lock(frame);
        }
        for colour in 0..world.shape.used() {
            let has = world.ptes.borrow()[frame][colour];
            let left = match what {
                Revoke::Writes => has.min(Pte::Read),
                Revoke::AllBut(keep) if keep.index() == colour => has,
                Revoke::AllBut(_) => Pte::None,
            };
            if left != has {
                switch();
                world.tell(|| format!("revokes {has:?} of colour {colour} of frame {frame}, {left:?} is left"));
                world.ptes.borrow_mut()[frame][colour] = left;
            }
        }
        world.tell(|| format!("revoked {what:?} of frame {frame}"));
        let none = world.ptes.borrow()[frame].iter().all(|&pte| pte == Pte::None);
        world.unlock(frame);
        switch();
        Ok(if none && world.shape.knows_remaining { Remaining::None } else { Remaining::Some })
    }
}

/// A fetch that must see the newest of these halves.
pub fn fetched(world: &World, frame: usize, halves: Halves) {
    if halves & BOTH != 0 {
        world.happens(frame, Event::Fetch { halves: halves & BOTH, sees_data: false });
    }
}
