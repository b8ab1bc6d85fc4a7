//! The words in which the stories are told, and the telling: each story twice, once with the code as it was, which the judge must
//! object to, and once with the library in its place, which it must not.
//!
//! Users and devices do the same in both tellings. In the second the users have page tables: they fault where the library has
//! taken a right away, and the fault handler asks the library.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;

use congruent::state::State;
use congruent::{At, Congruent, Error, Frame, Policy, Rights, Transfer, VirtAddr, WindowMapper};
use congruent_shadow::{Config, HazardClass, Shadow};
use congruent_trace::{AccessKind, DmaDirection, Event, Maintenance, Site};

use super::instructions::Instructions;
use crate::model::judged;
use crate::model::line::COLOURS;
use crate::model::machine::{Did, Machine, Pte, Shape, PAGE as PAGE_SIZE};

pub type Library = Congruent<Machine>;

/// The frame that most stories are about, and the one it is copied to.
pub const PAGE: Frame = Frame(0);
pub const COPY: Frame = Frame(4);
const FRAMES: usize = 5;
/// The colour of both frames' permanent mapping, and that of the users' mapping.
pub const LINEAR: usize = 0;
pub const USER: usize = 1;

pub type Bytes = Range<u32>;

/// Every byte of a page.
pub const ALL: Bytes = 0..PAGE_SIZE;

/// A word of the first line of a page.
pub const fn word(number: u32) -> Bytes {
    4 * number..4 * number + 4
}

/// The users' colour, or any other, for a call.
pub fn at(library: &Library, colour: usize) -> At<Machine> {
    At::Colour(library.colour_from_index(colour).unwrap())
}

/// A machine, and the library on it.
pub fn machine(shape: Shape) -> Library {
    Machine::new(shape, &[State::UNCACHED; FRAMES], vec![[Pte::None; COLOURS]; FRAMES])
}

/// Code that knows nothing of the library stores a whole page, at an address that it was given.
pub fn store_through(library: &Library, address: VirtAddr) {
    // SAFETY: this machine's addresses reach no memory.
    unsafe { library.platform().store(address, &[0; PAGE_SIZE as usize]) };
}

/// The machines on which the library tells a story.
pub fn every_machine() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for colours in [2, 4, 16] {
        for speculative in [false, true] {
            shapes.push(Shape { speculative, ..Shape::of(colours) });
        }
        shapes.push(Shape { kept: 64, ..Shape::of(colours) });
        shapes.push(Shape { policy: Policy::ReverseLookup, knows_remaining: false, ..Shape::of(colours) });
    }
    shapes
}

/// As [`every_machine`], where frames have no permanent mapping.
pub fn every_machine_with_highmem() -> Vec<Shape> {
    every_machine().into_iter().map(|shape| Shape { linear: false, ..shape }).collect()
}

/// Tells a story twice. As it was, the judge must report exactly `stale`: a class, and the step that could see (or destroy) newer
/// bytes. With the library it must report nothing, on any machine, though the same steps have been taken.
#[track_caller]
pub fn told(stale: &[(HazardClass, &str)], story: impl Fn(&Story<'_>)) {
    told_on(&every_machine(), stale, story);
}

/// [`told`] on some machines.
#[track_caller]
pub fn told_on(machines: &[Shape], stale: &[(HazardClass, &str)], story: impl Fn(&Story<'_>)) {
    let as_it_was = Story::new(Shape::of(4), None, true);
    story(&as_it_was);
    assert_eq!(as_it_was.findings(), stale, "what the judge says of the code as it was");
    for &shape in machines {
        let library = machine(shape);
        let with_library = Story::new(shape, Some(&library), true);
        story(&with_library);
        with_library.drain();
        assert_eq!(with_library.findings(), [], "what the judge says of the library on {shape:?}");
        for (_, step) in stale {
            assert!(with_library.accessed(step), "with the library nobody came to {step:?}, on {shape:?}");
        }
        assert!(library.platform().is_idle(), "a window stayed open on {shape:?}");
    }
}

/// What the judge says when the library's maintenance does nothing: it must be able to object, or its silence means nothing.
pub fn told_without_maintenance(story: impl Fn(&Story<'_>)) -> Vec<(HazardClass, &'static str)> {
    let shape = Shape::of(4);
    let library = machine(shape);
    let with_library = Story::new(shape, Some(&library), false);
    story(&with_library);
    with_library.drain();
    with_library.findings()
}

/// One telling of a story.
pub struct Story<'k> {
    library: Option<&'k Library>,
    /// Whether the library's maintenance has its effect.
    maintained: bool,
    shape: Shape,
    judge: RefCell<Shadow>,
    instructions: RefCell<Instructions>,
    /// The names of the steps; a step's site is its place here.
    steps: RefCell<Vec<&'static str>>,
    accessed: RefCell<BTreeSet<u32>>,
    site: Cell<Site>,
    /// Mappings that users may execute through.
    executable: RefCell<BTreeSet<(usize, usize)>>,
}

impl<'k> Story<'k> {
    fn new(shape: Shape, library: Option<&'k Library>, maintained: bool) -> Self {
        Self {
            library,
            maintained,
            shape,
            judge: RefCell::new(Shadow::new(Config::new(shape.geometry()))),
            instructions: RefCell::new(Instructions::new(shape.geometry())),
            steps: RefCell::default(),
            accessed: RefCell::default(),
            site: Cell::default(),
            executable: RefCell::default(),
        }
    }

    fn findings(&self) -> Vec<(HazardClass, &'static str)> {
        let (judge, instructions, steps) = (self.judge.borrow(), self.instructions.borrow(), self.steps.borrow());
        let findings = judge.findings().iter().chain(instructions.findings());
        findings.map(|finding| (finding.class, steps[finding.consumer.site.0 as usize])).collect()
    }

    fn accessed(&self, step: &str) -> bool {
        let site = self.steps.borrow().iter().position(|name| *name == step);
        site.is_some_and(|site| self.accessed.borrow().contains(&(site as u32)))
    }

    /// Takes a step, perhaps in the middle of another one.
    fn step<R>(&self, name: &'static str, take: impl FnOnce(Site) -> R) -> R {
        self.drain();
        let mut steps = self.steps.borrow_mut();
        let place = steps.iter().position(|step| *step == name).unwrap_or_else(|| {
            steps.push(name);
            steps.len() - 1
        });
        drop(steps);
        let site = Site(place as u32);
        let outer = self.site.replace(site);
        let result = take(site);
        self.drain();
        self.speculate();
        self.site.set(outer);
        result
    }

    fn apply(&self, event: Event) {
        if let Event::Access { site, .. } | Event::Dma { site, .. } | Event::Uncached { site, .. } = event {
            self.accessed.borrow_mut().insert(site.0);
        }
        self.judge.borrow_mut().apply(&event);
        self.instructions.borrow_mut().beside(&event);
    }

    /// Hands what the library did to the judges.
    fn drain(&self) {
        let Some(library) = self.library else { return };
        let log = std::mem::take(&mut *library.platform().log.borrow_mut());
        let maintenance = |did: &Did| matches!(did, Did::Maintain { .. } | Did::DropInstructions { .. });
        for did in log.into_iter().filter(|did| self.maintained || !maintenance(did)) {
            if let Did::DropInstructions { frame } = did {
                self.instructions.borrow_mut().drop_frame(frame as usize, self.site.get());
            }
            judged::events(did, self.site.get(), |event| self.apply(event));
        }
    }

    /// A core that speculates fills through every live mapping, on both sides.
    fn speculate(&self) {
        let Some(library) = self.library.filter(|_| self.shape.speculative) else { return };
        for frame in 0..FRAMES {
            for colour in judged::live_mappings(library, frame) {
                judged::fills(frame, colour, self.site.get()).for_each(|event| self.apply(event));
            }
            for colour in (0..COLOURS).filter(|&colour| self.rights(frame, colour).execute) {
                self.instructions.borrow_mut().speculate(frame, colour, self.site.get());
            }
        }
    }

    /// What a user may do at a colour, in the second telling.
    fn rights(&self, frame: usize, colour: usize) -> Rights {
        let pte = self.library.map_or(Pte::None, |library| library.platform().ptes.borrow()[frame][colour]);
        let execute = pte != Pte::None && self.executable.borrow().contains(&(frame, colour));
        Rights::READ.with_write(pte == Pte::Write).with_execute(execute)
    }

    /// A user needs these rights, and faults if he has them not.
    fn may(&self, frame: Frame, colour: usize, needs: Rights) {
        let Some(library) = self.library else { return };
        let place = frame.0 as usize;
        let mapped = library.platform().ptes.borrow()[place][colour] != Pte::None;
        let has = self.rights(place, colour);
        if mapped && has.write >= needs.write && has.execute >= needs.execute {
            return;
        }
        let rights = Rights::READ.with_write(has.write || needs.write).with_execute(has.execute || needs.execute);
        let mapped = library.map_user(frame, Machine::user_address(colour), rights, || self.install(frame, colour, rights));
        assert_eq!(mapped, Ok(()), "a user at colour {colour} of {frame:?} cannot go on");
    }

    /// Makes a page-table entry, as the fault handler's last deed.
    pub fn install(&self, frame: Frame, colour: usize, rights: Rights) {
        let Some(library) = self.library else { return };
        let place = (frame.0 as usize, colour);
        library.platform().ptes.borrow_mut()[place.0][place.1] = if rights.write { Pte::Write } else { Pte::Read };
        let mut executable = self.executable.borrow_mut();
        if rights.execute {
            executable.insert(place)
        } else {
            executable.remove(&place)
        };
    }

    pub fn user_load(&self, frame: Frame, colour: usize, bytes: Bytes, what: &'static str) {
        self.may(frame, colour, Rights::default());
        self.step(what, |_| self.access(AccessKind::Load, frame, colour, bytes));
    }

    pub fn user_store(&self, frame: Frame, colour: usize, bytes: Bytes, what: &'static str) {
        self.may(frame, colour, Rights::WRITE);
        self.step(what, |_| self.access(AccessKind::Store, frame, colour, bytes));
    }

    pub fn user_fetch(&self, frame: Frame, colour: usize, what: &'static str) {
        self.may(frame, colour, Rights::EXECUTE);
        self.fetch(frame, colour, what);
    }

    /// A fetch through a mapping that exists already.
    pub fn fetch(&self, frame: Frame, colour: usize, what: &'static str) {
        self.step(what, |site| {
            self.device(DmaDirection::Read, frame, word(0));
            self.instructions.borrow_mut().fetch(frame.0 as usize, colour, 0, 4, site);
        });
    }

    /// No user can store any more: `fork`, `mprotect`, or writeback has seen to it.
    pub fn write_protect(&self, frame: Frame) {
        if let Some(library) = self.library {
            library.platform().ptes.borrow_mut()[frame.0 as usize].iter_mut().for_each(|pte| *pte = (*pte).min(Pte::Read));
            library.write_protected(frame).unwrap();
        }
    }

    /// No user has it mapped any more.
    pub fn unmap(&self, frame: Frame) {
        if let Some(library) = self.library {
            library.platform().ptes.borrow_mut()[frame.0 as usize] = [Pte::None; COLOURS];
            library.unmapped(frame).unwrap();
        }
    }

    pub fn device_reads(&self, frame: Frame, bytes: Bytes, what: &'static str) {
        self.step(what, |_| self.device(DmaDirection::Read, frame, bytes));
    }

    pub fn device_writes(&self, frame: Frame, bytes: Bytes, what: &'static str) {
        self.step(what, |_| self.device(DmaDirection::Write, frame, bytes));
    }

    /// What the kernel does: as it did it then, and as it does it with the library.
    pub fn kernel<R>(
        &self,
        what: &'static str,
        then: impl FnOnce(&Then<'_, 'k>) -> R,
        now: impl FnOnce(&'k Library) -> Result<R, Error>,
    ) -> R {
        self.step(what, |_| match self.library {
            None => then(&Then(self)),
            Some(library) => now(library).unwrap_or_else(|error| panic!("{what}: {error}")),
        })
    }

    /// What the kernel did then, and need not do with the library.
    pub fn then_only(&self, what: &'static str, then: impl FnOnce(&Then<'_, 'k>)) {
        self.kernel(what, then, |_| Ok(()));
    }

    /// What the library must be told, and the kernel had nobody to tell.
    pub fn now_only(&self, what: &'static str, now: impl FnOnce(&'k Library) -> Result<(), Error>) {
        self.kernel(what, |_| (), now);
    }

    /// A frame begins as zeros: in memory then, where the caches start empty, and in the users' colour with the library.
    pub fn zeroed(&self, frame: Frame) {
        self.now_only("the frame is cleared", |library| library.clear(frame, at(library, USER)));
    }

    fn access(&self, kind: AccessKind, frame: Frame, colour: usize, bytes: Bytes) {
        self.apply(judged::access(kind, frame.0 as usize, colour, bytes.start, bytes.end - bytes.start, self.site.get()));
    }

    fn device(&self, direction: DmaDirection, frame: Frame, bytes: Bytes) {
        let (paddr, len) = (judged::paddr(frame.0 as usize, bytes.start), u64::from(bytes.end - bytes.start));
        self.apply(Event::Dma { direction, paddr, len, site: self.site.get() });
    }
}

/// What a kernel without the library can do: anything, anywhere.
pub struct Then<'s, 'k>(&'s Story<'k>);

impl Then<'_, '_> {
    pub fn load(&self, frame: Frame, colour: usize, bytes: Bytes) {
        self.0.access(AccessKind::Load, frame, colour, bytes);
    }

    pub fn store(&self, frame: Frame, colour: usize, bytes: Bytes) {
        self.0.access(AccessKind::Store, frame, colour, bytes);
    }

    pub fn copy(&self, from: Frame, from_colour: usize, to: Frame, to_colour: usize) {
        self.load(from, from_colour, ALL);
        self.store(to, to_colour, ALL);
    }

    /// Loads past the cache.
    pub fn uncached_load(&self, frame: Frame, bytes: Bytes) {
        self.uncached(AccessKind::Load, frame, bytes);
    }

    /// Stores past the cache.
    pub fn uncached_store(&self, frame: Frame, bytes: Bytes) {
        self.uncached(AccessKind::Store, frame, bytes);
    }

    fn uncached(&self, kind: AccessKind, frame: Frame, bytes: Bytes) {
        let (paddr, size) = (judged::paddr(frame.0 as usize, bytes.start), bytes.end - bytes.start);
        self.0.apply(Event::Uncached { kind, paddr, size, site: self.0.site.get() });
    }

    /// Writes a page back and invalidates it, through one colour.
    pub fn flush(&self, frame: Frame, colour: usize) {
        self.maintain(Maintenance::WriteBackInvalidate, frame, colour);
    }

    pub fn invalidate(&self, frame: Frame, colour: usize) {
        self.maintain(Maintenance::Invalidate, frame, colour);
    }

    fn maintain(&self, op: Maintenance, frame: Frame, colour: usize) {
        let site = self.0.site.get();
        judged::maintenance(op, frame.0 as usize, colour, 0, PAGE_SIZE, site).for_each(|event| self.0.apply(event));
    }

    /// Invalidates a page in the instruction cache, through one colour.
    pub fn invalidate_instructions(&self, frame: Frame, colour: usize) {
        self.0.instructions.borrow_mut().drop_colour(frame.0 as usize, colour, self.0.site.get());
    }
}

/// Ends a device's transfer, if the library began one.
pub fn complete(transfer: Option<Transfer<'_, Machine>>) -> Result<(), Error> {
    transfer.expect("begun by the library").complete().map_err(|(_, error)| error)
}
