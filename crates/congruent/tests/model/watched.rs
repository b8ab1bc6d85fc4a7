//! A kernel whose every step the judge sees, for stories.

use std::cell::RefCell;

use congruent::state::State;
use congruent::{At, Congruent, Error, Frame, Rights};
use congruent_shadow::{Config, Shadow};
use congruent_trace::{AccessKind, DmaDirection, Event, Site};

use super::judged;
use super::line::COLOURS;
use super::machine::{Machine, Pte, Shape, HALF, PAGE};

pub type Kernel = &'static Congruent<Machine>;

/// The frame of most stories.
pub const FRAME: Frame = Frame(0);
pub const READ: Rights = Rights::READ;

/// A kernel, and the judge who watches. Frame n has colour n in the permanent mapping.
pub struct Watched {
    pub kernel: Kernel,
    judge: RefCell<Shadow>,
}

impl Watched {
    pub fn of(shape: Shape) -> &'static Self {
        let kernel = Machine::new(shape, &[State::UNCACHED; 4], vec![[Pte::None; COLOURS]; 4]);
        let judge = RefCell::new(Shadow::new(Config::new(shape.geometry())));
        // For ever, so that what happens in the middle of a call can use it.
        Box::leak(Box::new(Self { kernel: Box::leak(Box::new(kernel)), judge }))
    }

    pub fn at(&self, colour: usize) -> At<Machine> {
        At::Colour(self.kernel.colour_from_index(colour).unwrap())
    }

    /// A fault: the mapping is announced, and made.
    pub fn map(&self, frame: Frame, colour: usize, rights: Rights) -> Result<(), Error> {
        self.kernel.map_user(frame, Machine::user_address(colour), rights, || self.install(frame, colour, rights))
    }

    pub fn install(&self, frame: Frame, colour: usize, rights: Rights) {
        let pte = &mut self.kernel.platform().ptes.borrow_mut()[frame.0 as usize][colour];
        *pte = (*pte).max(if rights.write { Pte::Write } else { Pte::Read });
    }

    pub fn user(&self, kind: AccessKind, frame: Frame, colour: usize) {
        let has = self.kernel.platform().ptes.borrow()[frame.0 as usize][colour];
        let needs = if kind == AccessKind::Store { Pte::Write } else { Pte::Read };
        assert!(has >= needs, "the user would fault");
        self.drain();
        self.judge.borrow_mut().apply(&judged::access(kind, frame.0 as usize, colour, 0, HALF, Site(0)));
    }

    pub fn device(&self, direction: DmaDirection, frame: Frame) {
        self.drain();
        let (paddr, len) = (judged::paddr(frame.0 as usize, 0), u64::from(PAGE));
        self.judge.borrow_mut().apply(&Event::Dma { direction, paddr, len, site: Site(0) });
    }

    /// Hands what the library did to the judge.
    pub fn drain(&self) {
        let log = std::mem::take(&mut *self.kernel.platform().log.borrow_mut());
        for did in log {
            judged::events(did, Site(0), |event| {
                self.judge.borrow_mut().apply(&event);
            });
        }
    }

    pub fn clean(&self) {
        self.drain();
        let judge = self.judge.borrow();
        assert!(judge.stats().hazards == 0, "{:#?}", judge.findings());
    }
}
