//! What a kernel does with frames, and may do at the same time as anything else: it keeps its promises, and no more.

use std::rc::Rc;

use congruent_interleaved::{At, Error, Frame, PhysAddr, ReadOnly, ReadWrite, Rights};

use super::line::{BOTH, Event};
use super::platform::{Library, fetched, user_address};
use super::schedule::{current, switch};
use super::world::{HALF, LINE, PAGE, Pte, Wait, World};

/// What a call is about, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Whole,
    Line,
    Half,
    Others,
}

impl Part {
    fn bytes(self) -> (u32, u32) {
        match self {
            Self::Whole => (0, PAGE),
            Self::Line => (0, LINE),
            Self::Half => (0, HALF),
            Self::Others => (LINE, LINE),
        }
    }

    /// The lines that they lie in.
    fn lines(self) -> u8 {
        if self == Self::Half { Self::Line.mask() } else { self.mask() }
    }

    /// The first half, the second, and all else.
    fn mask(self) -> u8 {
        match self {
            Self::Whole => 7,
            Self::Line => 3,
            Self::Half => 1,
            Self::Others => 4,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Home,
    Linear,
    Colour(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// A fault.
    Map {
        frame: usize,
        colour: usize,
        write: bool,
        execute: bool,
    },
    /// A fault that maps two frames at two pages, the first at this colour.
    MapAll {
        colour: usize,
        write: bool,
    },
    /// A mapping goes; the library is told if it was the last.
    Unmap {
        frame: usize,
        colour: usize,
    },
    /// A mapping goes, and nobody says so.
    Quit {
        frame: usize,
        colour: usize,
    },
    Protect {
        frame: usize,
    },
    Read {
        frame: usize,
        part: Part,
    },
    Write {
        frame: usize,
        part: Part,
    },
    Clear {
        frame: usize,
        place: Place,
    },
    Copy {
        from: usize,
        to: usize,
        place: Place,
    },
    /// A hold, used and ended.
    Hold {
        frame: usize,
        place: Place,
        write: bool,
    },
    /// A hold that stays.
    Keep {
        frame: usize,
        colour: usize,
    },
    ToDevice {
        frame: usize,
        part: Part,
    },
    FromDevice {
        frame: usize,
        part: Part,
    },
    Sync {
        frame: usize,
    },
    /// A transfer that nobody counts.
    Range {
        frame: usize,
        part: Part,
    },
    /// Kernel code that only says what it does, at an address of this colour.
    Notice {
        frame: usize,
        colour: usize,
    },
    /// The same, through a window.
    Flushed {
        frame: usize,
        place: Place,
    },
}

/// The colour of a frame, as the lock of a page keeps it: shared by who maps it or settles it somewhere.
const COLOUR: u8 = 8;

impl Call {
    /// Whether an interrupt handler makes it: what waits for others is none of its business.
    pub fn suits_interrupts(self) -> bool {
        matches!(self, Self::Read { .. } | Self::Write { .. } | Self::ToDevice { .. } | Self::Sync { .. } | Self::Clear { .. })
    }
}

pub struct Kernel {
    pub library: Rc<Library>,
    pub world: Rc<World>,
}

impl Kernel {
    fn at(&self, place: Place) -> At<super::platform::Machine> {
        match place {
            Place::Home => At::Home,
            Place::Linear => At::Linear,
            Place::Colour(index) => At::Colour(self.library.colour_from_index(index).unwrap()),
        }
    }

    /// While this runs, no device writes these bytes.
    fn with_bytes(&self, frame: usize, mask: u8, what: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        if current().2 > 0 && !self.world.is_over(Wait::Bytes { frame, mask, alone: false }) {
            return Ok(()); // an interrupt does not wait for what it has interrupted
        }
        self.world.claim(frame, mask, false);
        let result = what();
        self.world.unclaim(frame, mask, false);
        result
    }

    pub fn perform(&self, call: Call) -> Result<(), Error> {
        self.world.tell(|| format!("{call:?} begins"));
        let result = self.make(call);
        self.world.tell(|| format!("{call:?} ends: {result:?}"));
        result
    }

    fn make(&self, call: Call) -> Result<(), Error> {
        let (library, world) = (&*self.library, &*self.world);
        let of = |frame: usize| Frame(frame as u64);
        match call {
            Call::Map { frame, colour, write, execute } => {
                self.with_bytes(frame, COLOUR, || self.map(frame, colour, write, execute))?;
            }
            Call::MapAll { colour, write } => {
                self.with_bytes(0, COLOUR, || self.with_bytes(1, COLOUR, || self.map_all(colour, write)))?;
            }
            Call::Unmap { frame, colour } => {
                world.lock(frame);
                switch();
                world.ptes.borrow_mut()[frame][colour] = Pte::None;
                let last = world.ptes.borrow()[frame].iter().all(|&pte| pte == Pte::None);
                let told = if last { library.unmapped(of(frame)) } else { Ok(()) };
                world.unlock(frame);
                told?;
            }
            Call::Quit { frame, colour } => world.ptes.borrow_mut()[frame][colour] = Pte::None,
            Call::Protect { frame } => {
                world.lock(frame);
                for colour in 0..world.shape.used() {
                    switch();
                    let pte = &mut world.ptes.borrow_mut()[frame][colour];
                    *pte = (*pte).min(Pte::Read);
                }
                let told = library.write_protected(of(frame));
                world.unlock(frame);
                told?;
            }
            Call::Read { frame, part } => self.with_bytes(frame, part.mask(), || {
                let (offset, len) = part.bytes();
                library.read(of(frame), offset, &mut vec![0; len as usize])
            })?,
            Call::Write { frame, part } => self.with_bytes(frame, part.mask(), || {
                let (offset, len) = part.bytes();
                library.write(of(frame), offset, &vec![0; len as usize])
            })?,
            Call::Clear { frame, place } => {
                self.with_bytes(frame, 7 | COLOUR, || world.replaced(frame, || library.clear(of(frame), self.at(place))))?
            }
            Call::Copy { from, to, place } => {
                self.with_bytes(from, 7, || {
                    self.with_bytes(to, 7 | COLOUR, || world.replaced(to, || library.copy(of(from), of(to), self.at(place))))
                })?;
            }
            Call::Hold { frame, place, write } => self.with_bytes(frame, 7 | COLOUR, || {
                let hold = match write {
                    true => library.settle::<ReadWrite>(of(frame), self.at(place))?.hold(),
                    false => library.settle::<ReadOnly>(of(frame), self.at(place))?.hold(),
                };
                let entry = (frame, hold.colour().index(), write);
                world.holds.borrow_mut().push(entry);
                switch();
                let found = world.holds.borrow().iter().position(|held| *held == entry).unwrap();
                world.holds.borrow_mut().swap_remove(found);
                drop(hold);
                Ok(())
            })?,
            Call::Keep { frame, colour } => {
                let settled = library.settle::<ReadWrite>(of(frame), self.at(Place::Colour(colour)))?;
                world.holds.borrow_mut().push((frame, colour, true));
                settled.hold().leak();
            }
            Call::ToDevice { frame, part } => {
                let (offset, len) = part.bytes();
                let seen = world.seen(frame);
                library.device_reads(of(frame), offset, len)?;
                // What was stored meanwhile may be there or not.
                let halves = world.unchanged(frame, seen) & part.mask() & BOTH;
                if halves != 0 {
                    world.happens(frame, Event::DeviceReads { halves });
                }
            }
            Call::FromDevice { frame, part } => {
                world.claim(frame, part.mask(), true);
                let done = self.let_device_write(frame, part);
                world.unclaim(frame, part.mask(), true);
                done?;
            }
            Call::Sync { frame } => {
                let seen = world.seen(frame);
                library.sync_instructions(of(frame))?;
                fetched(world, frame, world.unchanged(frame, seen));
            }
            Call::Range { frame, part } => {
                world.claim(frame, part.lines(), true);
                let (offset, len) = part.bytes();
                let start = PhysAddr(frame as u64 * u64::from(PAGE) + u64::from(offset));
                world.taken.borrow_mut()[frame] |= part.lines();
                library.sync_for_device(start, len.into());
                world.written.borrow_mut()[frame] |= part.mask();
                switch();
                if part.mask() & BOTH != 0 {
                    world.happens(frame, Event::DeviceWrites { halves: part.mask() & BOTH });
                }
                switch();
                world.written.borrow_mut()[frame] &= !part.mask();
                library.sync_for_cpu(start, len.into());
                world.taken.borrow_mut()[frame] &= !part.lines();
                world.unclaim(frame, part.lines(), true);
            }
            Call::Notice { frame, colour } => self.alone_with(frame, || {
                let at = self.at(Place::Colour(colour));
                library.kernel_touches(of(frame), at)?;
                for event in [Event::Load { colour, halves: 1 }, Event::Store { colour, halves: 2 }] {
                    switch();
                    world.happens(frame, event);
                }
                switch();
                library.kernel_stored(of(frame), at)
            })?,
            Call::Flushed { frame, place } => self.alone_with(frame, || {
                let window = library.flushed_window(of(frame), self.at(place))?;
                window.read(0, &mut [0; LINE as usize])?;
                window.write(HALF, &[0; HALF as usize])
            })?,
        }
        Ok(())
    }

    /// While this runs nobody else uses the frame, but users, who get what they get.
    fn alone_with(&self, frame: usize, what: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        self.world.claim(frame, 7 | COLOUR, true);
        self.world.taken.borrow_mut()[frame] |= 7;
        let result = what();
        self.world.taken.borrow_mut()[frame] &= !7;
        self.world.unclaim(frame, 7 | COLOUR, true);
        result
    }

    fn map(&self, frame: usize, colour: usize, write: bool, execute: bool) -> Result<(), Error> {
        let world = &*self.world;
        let seen = world.seen(frame);
        self.library.map_user(
            Frame(frame as u64),
            user_address(colour),
            Rights::READ.with_write(write).with_execute(execute),
            || {
                world.lock(frame);
                switch();
                let pte = &mut world.ptes.borrow_mut()[frame][colour];
                *pte = (*pte).max(if write { Pte::Write } else { Pte::Read });
                if execute {
                    fetched(world, frame, world.unchanged(frame, seen));
                }
                world.unlock(frame);
            },
        )
    }

    fn map_all(&self, first: usize, write: bool) -> Result<(), Error> {
        let world = &*self.world;
        let (frames, rights) = ([Frame(0), Frame(1)], Rights::READ.with_write(write));
        self.library.prepare_all(&frames, user_address(first), rights)?.install(|frame, address| {
            let (frame, colour) = (frame.0 as usize, world.shape.geometry().colour(address).index());
            world.lock(frame);
            switch();
            let pte = &mut world.ptes.borrow_mut()[frame][colour];
            *pte = (*pte).max(if write { Pte::Write } else { Pte::Read });
            world.unlock(frame);
        });
        Ok(())
    }

    fn let_device_write(&self, frame: usize, part: Part) -> Result<(), Error> {
        let (offset, len) = part.bytes();
        // What users do to the bytes from here on is lost or not, as on any machine.
        self.world.taken.borrow_mut()[frame] |= part.mask();
        let begun = self.library.device_writes(Frame(frame as u64), offset, len);
        let mut transfer = begun.inspect_err(|_| self.world.taken.borrow_mut()[frame] &= !part.mask())?;
        self.world.written.borrow_mut()[frame] |= part.mask();
        switch();
        if part.mask() & BOTH != 0 {
            self.world.happens(frame, Event::DeviceWrites { halves: part.mask() & BOTH });
        }
        switch();
        self.world.written.borrow_mut()[frame] &= !part.mask();
        // Whoever has it busy goes on, on another CPU; the code that this has interrupted would not.
        for _ in 0..1000 {
            match transfer.complete() {
                Ok(()) => {
                    self.world.taken.borrow_mut()[frame] &= !part.mask();
                    return Ok(());
                }
                Err((again, error)) => {
                    assert!(matches!(error, Error::Busy(_)), "{error}");
                    transfer = again;
                    switch();
                }
            }
        }
        // Never completed: the device keeps what it has.
        Ok(())
    }
}
