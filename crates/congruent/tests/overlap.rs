//! Calls that overlap, one story each: what another CPU or an interrupt does between two instructions of a call of the library.
//!
//! Each was once enough to make somebody see old bytes, or somebody else's. All interleavings of such calls are in
//! `tests/interleaved`; these are told so that they can be read.

mod model;

use std::cell::RefCell;

use congruent::state::State;
use congruent::{At, Congruent, Error, Frame, Rights};
use congruent_shadow::{Config, Shadow};
use congruent_trace::{AccessKind, DmaDirection, Event, Site};
use model::judged;
use model::line::COLOURS;
use model::machine::{HALF, Machine, PAGE, Pte, Shape};

type Kernel = &'static Congruent<Machine>;

const FRAME: Frame = Frame(0);
const READ: Rights = Rights { write: false, execute: false };

/// A kernel, and the judge who watches. Frame n has colour n in the permanent mapping.
struct Watched {
    kernel: Kernel,
    judge: RefCell<Shadow>,
}

impl Watched {
    fn of(shape: Shape) -> &'static Self {
        let kernel = Machine::new(shape, &[State::UNCACHED; 4], vec![[Pte::None; COLOURS]; 4]);
        let judge = RefCell::new(Shadow::new(Config::new(shape.geometry())));
        // For ever, so that what happens in the middle of a call can use it.
        Box::leak(Box::new(Self { kernel: Box::leak(Box::new(kernel)), judge }))
    }

    fn at(&self, colour: usize) -> At<Machine> {
        At::Colour(self.kernel.colour_from_index(colour).unwrap())
    }

    /// A fault: the mapping is announced, and made.
    fn map(&self, frame: Frame, colour: usize, rights: Rights) -> Result<(), Error> {
        self.kernel.map_user(frame, Machine::user_address(colour), rights, || self.install(frame, colour, rights))
    }

    fn install(&self, frame: Frame, colour: usize, rights: Rights) {
        let pte = &mut self.kernel.platform().ptes.borrow_mut()[frame.0 as usize][colour];
        *pte = (*pte).max(if rights.write { Pte::Write } else { Pte::Read });
    }

    fn user(&self, kind: AccessKind, frame: Frame, colour: usize) {
        let has = self.kernel.platform().ptes.borrow()[frame.0 as usize][colour];
        let needs = if kind == AccessKind::Store { Pte::Write } else { Pte::Read };
        assert!(has >= needs, "the user would fault");
        self.drain();
        self.judge.borrow_mut().apply(&judged::access(kind, frame.0 as usize, colour, 0, HALF, Site(0)));
    }

    fn device(&self, direction: DmaDirection, frame: Frame) {
        self.drain();
        let (paddr, len) = (judged::paddr(frame.0 as usize, 0), u64::from(PAGE));
        self.judge.borrow_mut().apply(&Event::Dma { direction, paddr, len, site: Site(0) });
    }

    /// Hands what the library did to the judge.
    fn drain(&self) {
        let log = std::mem::take(&mut *self.kernel.platform().log.borrow_mut());
        for did in log {
            judged::events(did, Site(0), |event| self.judge.borrow_mut().apply(&event));
        }
    }

    fn clean(&self) {
        self.drain();
        let judge = self.judge.borrow();
        assert!(judge.stats().hazards == 0, "{:#?}", judge.findings());
    }
}

/// Readers at colours 0 and 1; the home is 1.
fn spread(shape: Shape) -> &'static Watched {
    let w = Watched::of(shape);
    w.kernel.clear(FRAME, w.at(0)).unwrap();
    w.map(FRAME, 0, READ).unwrap();
    w.map(FRAME, 1, READ).unwrap();
    w
}

#[test]
fn a_mapping_that_is_being_installed_is_not_forgotten_when_the_last_of_the_others_is_revoked() {
    for device in [false, true] {
        let w = spread(Shape::of(4));
        // A third user faults at colour 1, whose entry is not there yet. Colour 1 was unmapped by its user, without a word.
        w.kernel.platform().ptes.borrow_mut()[0][1] = Pte::None;
        w.kernel
            .map_user(FRAME, Machine::user_address(1), READ, || {
                // Another CPU: the one entry that there is goes, and none is left, as the kernel says truthfully.
                if device {
                    let transfer = w.kernel.device_writes(FRAME, 0, PAGE).unwrap();
                    w.device(DmaDirection::Write, FRAME);
                    transfer.complete().unwrap();
                } else {
                    w.kernel.write(FRAME, 0, &[1; HALF as usize]).unwrap();
                }
                w.install(FRAME, 1, READ);
            })
            .unwrap();
        w.user(AccessKind::Load, FRAME, 1);
        assert!(w.kernel.state(FRAME).unwrap().mapped, "the library has forgotten that there is a user");
        // Who writes at another colour takes the user's rights away, or the user would see the old bytes for ever.
        let settled = w.kernel.settle::<congruent::Write>(FRAME, w.at(2)).unwrap();
        w.kernel.open(settled).unwrap().write(0, &[2; HALF as usize]).unwrap();
        assert_eq!(w.kernel.platform().ptes.borrow()[0], [Pte::None; COLOURS], "nobody revoked it");
        w.clean();
    }
}
