//! A kernel that does with one frame whatever a kernel may do, and users who do whatever their mappings allow.

use congruent::state::State;
use congruent::{At, Congruent, Error, Frame, FrameWord, PhysAddr, ReadOnly, ReadWrite, Rights, TransferId};

use super::line::{Event, Halves, BOTH, COLOURS};
use super::machine::{Did, Machine, Maintain, Pte, Shape, HALF, LINE, PAGE};

/// The frame under test, and one to copy to and from.
pub const FRAME: Frame = Frame(0);
pub const OTHER: Frame = Frame(1);

/// What a transfer covers of the page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Part {
    Whole,
    /// The watched line.
    Line,
    /// Its first half.
    Half,
    /// Lines other than the watched one.
    Others,
}

pub const PARTS: [Part; 4] = [Part::Whole, Part::Line, Part::Half, Part::Others];

impl Part {
    pub fn bytes(self) -> (u32, u32) {
        match self {
            Part::Whole => (0, PAGE),
            Part::Line => (0, LINE),
            Part::Half => (0, HALF),
            Part::Others => (LINE, LINE),
        }
    }

    pub fn halves(self) -> Halves {
        match self {
            Part::Whole | Part::Line => BOTH,
            Part::Half => 1,
            Part::Others => 0,
        }
    }
}

/// Everything about the frame but its line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Scene {
    pub state: State,
    pub ptes: [Pte; COLOURS],
    /// Holds that read, and holds that write, as somebody else has them: at most one of each.
    pub reader: bool,
    pub writer: bool,
    /// Transfers going on, by part.
    pub flights: [u8; 4],
    /// Whether what it holds is nobody's.
    pub dead: bool,
    /// Whether code that knows only the permanent address has it.
    pub given: bool,
    /// Whether users may have fetched from it, rightly or not.
    pub executable: bool,
    /// What devices have been given by a kernel that counts nothing.
    pub handed: [bool; 4],
    /// Through which colour kernel code is at work without a guard, and whether on the watched line.
    pub touching: Option<(usize, bool)>,
}

impl Scene {
    pub fn boot() -> Self {
        Self {
            state: State::UNCACHED,
            ptes: [Pte::None; COLOURS],
            reader: false,
            writer: false,
            flights: [0; 4],
            dead: true,
            given: false,
            executable: false,
            handed: [false; 4],
            touching: None,
        }
    }

    /// Halves that a device owns, or kernel code that nobody else may store beside.
    fn taken(&self) -> Halves {
        if matches!(self.touching, Some((_, true))) {
            return BOTH;
        }
        let flying = PARTS.iter().zip(self.flights).filter(|&(_, n)| n > 0).fold(0, |all, (part, _)| all | part.halves());
        PARTS.iter().zip(self.handed).filter(|&(_, handed)| handed).fold(flying, |all, (part, _)| all | part.halves())
    }

    /// Whether a device is writing some of these bytes already.
    fn overlaps(&self, part: Part) -> bool {
        let (start, len) = part.bytes();
        PARTS.iter().zip(self.flights).any(|(other, n)| {
            let (other, other_len) = other.bytes();
            n > 0 && start < other + other_len && other < start + len
        })
    }

    fn in_flight(&self) -> bool {
        self.flights.iter().any(|&n| n > 0)
    }

    fn mapped(&self) -> bool {
        self.ptes.iter().any(|&pte| pte != Pte::None)
    }

    /// What can happen to the line without a call: users, holders, devices, the core itself.
    pub fn spontaneous(&self, shape: &Shape, mut happens: impl FnMut(Event)) {
        let linear = shape.linear.then_some(FRAME.0 as usize);
        let mut access = |colour: usize, writes: bool| {
            for halves in [1, 2] {
                if halves & self.taken() == 0 {
                    happens(Event::Load { colour, halves });
                    if writes {
                        happens(Event::Store { colour, halves });
                    }
                }
            }
        };
        for (colour, &pte) in self.ptes.iter().enumerate() {
            if pte != Pte::None {
                access(colour, pte == Pte::Write);
            }
        }
        if self.reader || self.writer {
            access(usize::from(self.state.home()), self.writer);
        }
        if self.given {
            access(linear.unwrap(), true);
        }
        for (part, (n, handed)) in PARTS.into_iter().zip(self.flights.into_iter().zip(self.handed)) {
            if (n > 0 || handed) && part.halves() != 0 {
                happens(Event::DeviceWrites { halves: part.halves() });
            }
        }
        if let Some((colour, true)) = self.touching {
            for halves in [1, 2] {
                if !self.dead {
                    happens(Event::Load { colour, halves });
                    happens(Event::Store { colour, halves });
                }
            }
            happens(Event::Fill { colour });
        }
        // A user may load what a device is writing, and gets what he gets; but it fills the line.
        for (colour, &pte) in self.ptes.iter().enumerate() {
            if pte != Pte::None && (shape.speculative || self.taken() != 0) {
                happens(Event::Fill { colour });
            }
        }
        if let (Some(colour), true) = (linear, shape.speculative) {
            happens(Event::Fill { colour });
        }
        if shape.executes && (self.executable || shape.speculative) {
            happens(Event::FillInstructions { sees_data: shape.fetches_see_data });
        }
    }
}

/// Where, without the type of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    Home,
    Linear,
    Colour(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Call {
    Map {
        colour: usize,
        write: bool,
    },
    /// For execution alone, or with loads.
    Execute {
        colour: Option<usize>,
    },
    StopExecuting,
    Unmap {
        colour: usize,
        told: bool,
    },
    WriteProtect {
        told: bool,
    },
    Free,
    Clear(Place),
    CopyFrom,
    CopyTo(Place),
    Read(Halves),
    Write(Halves),
    Poke,
    Hold {
        place: Place,
        write: bool,
    },
    Release {
        write: bool,
    },
    DeviceReads(Part),
    DeviceWrites(Part),
    Complete(Part),
    Hand(Part),
    Take(Part),
    /// Kernel code is going to load.
    Look(Place),
    /// It is going to load and store: the watched line, or others.
    Touch(Place, bool),
    Stored,
    SyncInstructions,
    GiveToKernel,
    TakeBack,
}

/// Every call that a kernel may make in this scene.
pub fn calls(scene: &Scene, shape: &Shape, used: usize) -> Vec<Call> {
    let mut calls = counted(scene, shape, used);
    if shape.notices {
        noticed(scene, shape, used, &mut calls);
    }
    if !shape.unpaired {
        return calls;
    }
    // In the place of transfers that are counted. Who counts none keeps away from the buffer, and from the lines that it is in.
    let given = scene.handed != [false; 4];
    calls.retain(|call| match call {
        Call::DeviceWrites(_) | Call::Complete(_) => false,
        Call::Clear(_) | Call::CopyTo(_) | Call::CopyFrom | Call::Free | Call::GiveToKernel | Call::TakeBack | Call::Poke => {
            !given
        }
        _ => true,
    });
    if !scene.dead {
        let parts = [Part::Whole, Part::Line, Part::Others];
        // Nor does kernel code touch what a device has.
        let beside =
            |part: Part| scene.touching.map_or(true, |(_, watched)| part == if watched { Part::Others } else { Part::Line });
        let apart = |part: Part| beside(part) && (!given || scene.handed[part as usize]);
        calls.extend(parts.into_iter().filter(|&part| apart(part)).map(Call::Hand));
        calls.retain(|call| match call {
            Call::Look(_) => !given,
            Call::Touch(_, watched) => !given || scene.handed[if *watched { Part::Others } else { Part::Line } as usize],
            _ => true,
        });
        calls.extend(parts.into_iter().filter(|&part| scene.handed[part as usize]).map(Call::Take));
    }
    calls
}

/// With what kernel code does that only says so, and keeps away from what others use meanwhile.
fn noticed(scene: &Scene, shape: &Shape, used: usize, calls: &mut Vec<Call>) {
    if let Some((_, watched)) = scene.touching {
        calls.retain(|call| match call {
            Call::Unmap { .. } | Call::WriteProtect { .. } => true,
            Call::Read(_) | Call::Write(_) | Call::Hold { place: Place::Home, .. } | Call::Release { .. } => !watched,
            Call::DeviceReads(part) => !watched && *part == Part::Line,
            _ => false,
        });
        calls.push(Call::Stored);
    } else if !scene.given && !scene.in_flight() {
        let mut places: Vec<_> = (0..used).map(Place::Colour).collect();
        places.extend((shape.linear && FRAME.0 as usize >= used).then_some(Place::Linear));
        for place in places {
            calls.extend((!scene.dead).then_some(Call::Look(place)));
            calls.push(Call::Touch(place, true));
            calls.extend((!scene.dead).then_some(Call::Touch(place, false)));
        }
    }
}

fn counted(scene: &Scene, shape: &Shape, used: usize) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut places = vec![Place::Home];
    places.extend(shape.linear.then_some(Place::Linear));
    places.extend((0..used).map(Place::Colour));
    if scene.given {
        return given(scene, used);
    }
    for &place in &places {
        calls.push(Call::Clear(place));
        calls.push(Call::CopyTo(place));
    }
    if scene.flights.iter().sum::<u8>() < if shape.executes { 1 } else { 2 } {
        let possible = |part: &Part| (*part == Part::Whole || !(scene.dead || shape.executes)) && !scene.overlaps(*part);
        calls.extend(PARTS.into_iter().filter(possible).map(Call::DeviceWrites));
    }
    calls.extend(PARTS.into_iter().zip(scene.flights).filter(|&(_, n)| n > 0).map(|(part, _)| Call::Complete(part)));
    if scene.dead {
        calls.extend((shape.linear && !scene.in_flight()).then_some(Call::GiveToKernel));
        return calls;
    }
    for colour in 0..used {
        calls.extend([false, true].map(|write| Call::Map { colour, write }));
        calls.extend(shape.executes.then_some(Call::Execute { colour: Some(colour) }));
        if scene.ptes[colour] != Pte::None {
            calls.extend([false, true].map(|told| Call::Unmap { colour, told }));
        }
    }
    if shape.executes {
        calls.push(Call::Execute { colour: None });
        calls.extend(scene.executable.then_some(Call::StopExecuting));
    }
    if scene.ptes.contains(&Pte::Write) {
        calls.extend([false, true].map(|told| Call::WriteProtect { told }));
    }
    if !scene.mapped() && !scene.executable && !scene.reader && !scene.writer && !scene.in_flight() {
        calls.push(Call::Free);
    }
    for write in [false, true].into_iter().filter(|write| *write || !shape.executes) {
        if !(if write { scene.writer } else { scene.reader }) {
            calls.extend(places.iter().map(|&place| Call::Hold { place, write }));
        } else {
            calls.push(Call::Release { write });
        }
    }
    calls.extend(
        [1, 2]
            .into_iter()
            .filter(|halves| halves & scene.taken() == 0)
            .flat_map(|halves| [Call::Read(halves), Call::Write(halves)]),
    );
    if scene.taken() == 0 {
        calls.extend([Call::CopyFrom, Call::Poke, Call::SyncInstructions]);
        calls.extend(PARTS.map(Call::DeviceReads));
    }
    calls
}

/// Every call for a frame that kernel code has, which stores to it whenever it likes.
fn given(scene: &Scene, used: usize) -> Vec<Call> {
    let mut calls = vec![Call::TakeBack];
    if !scene.mapped() && !scene.in_flight() {
        calls.push(Call::Free);
    }
    for colour in 0..used {
        calls.extend([false, true].map(|write| Call::Map { colour, write }));
        if scene.ptes[colour] != Pte::None {
            calls.extend([false, true].map(|told| Call::Unmap { colour, told }));
        }
    }
    if scene.ptes.contains(&Pte::Write) {
        calls.extend([false, true].map(|told| Call::WriteProtect { told }));
    }
    if scene.flights.iter().sum::<u8>() < 2 {
        calls.extend(PARTS.into_iter().filter(|&part| !scene.overlaps(part)).map(Call::DeviceWrites));
    }
    calls.extend(PARTS.into_iter().zip(scene.flights).filter(|&(_, n)| n > 0).map(|(part, _)| Call::Complete(part)));
    if scene.taken() == 0 {
        calls.push(Call::SyncInstructions);
        calls.extend(PARTS.map(Call::DeviceReads));
    }
    calls
}

/// What a call came to.
pub struct Outcome {
    pub scene: Scene,
    pub events: Vec<Step>,
    pub error: Option<Error>,
    pub window_maps: u64,
}

/// An event on the watched line, and whether the library issued it as maintenance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Step {
    pub event: Event,
    pub maintenance: bool,
}

/// Makes the call on the real library.
pub fn perform(scene: &Scene, call: Call, shape: Shape) -> Outcome {
    let holds = usize::from(scene.reader) + usize::from(scene.writer);
    let words = vec![FrameWord::with_state(scene.state).with_holds(holds), FrameWord::new()];
    let congruent = Machine::with_words(shape, words, vec![scene.ptes, [Pte::None; COLOURS]]);
    let mut after = *scene;
    let result = make(&congruent, call, &mut after);
    let machine = congruent.platform();
    assert!(machine.is_idle() || matches!(call, Call::Hold { .. }), "{call:?} left a window open");
    after.state = machine.words[0].state(shape.colours);
    let revoked = machine.ptes.borrow()[0];
    if result.is_err() {
        assert_eq!(after.state, scene.state, "{call:?} failed and changed the state");
        assert_eq!(revoked, scene.ptes, "{call:?} failed and took rights away");
        let untouched = machine.log.borrow().iter().all(|&did| watched(did).is_none());
        assert!(untouched, "{call:?} failed and did {:?}", machine.log.borrow());
        after = *scene;
    } else {
        // The library takes rights away; the call itself gives some.
        for (pte, left) in after.ptes.iter_mut().zip(revoked) {
            *pte = (*pte).min(left);
        }
        if let Call::Map { colour, write } = call {
            after.ptes[colour] = after.ptes[colour].max(if write { Pte::Write } else { Pte::Read });
        }
        if let Call::Execute { colour: Some(colour) } = call {
            after.ptes[colour] = after.ptes[colour].max(Pte::Read);
        }
    }
    let mut events: Vec<Step> = machine.log.borrow().iter().filter_map(|&did| watched(did)).collect();
    // Where the instruction side is not looked at, nobody can say whether it was needed.
    events.retain(|step| shape.executes || step.event != Event::DropInstructions);
    if result.is_ok() {
        let halves = match call {
            Call::DeviceReads(part) => part.halves(),
            // A fetch finds what a device would.
            Call::SyncInstructions | Call::Poke if !shape.executes => BOTH,
            _ => 0,
        };
        if halves != 0 {
            events.push(Step { event: Event::DeviceReads { halves }, maintenance: false });
        }
        if shape.executes && matches!(call, Call::SyncInstructions | Call::Poke | Call::Execute { .. }) {
            // Now, if not later, a fetch sees the newest.
            let fetch = Event::Fetch { halves: BOTH, sees_data: shape.fetches_see_data };
            events.push(Step { event: fetch, maintenance: false });
        }
        if call == Call::GiveToKernel {
            // Its new owner stores every byte before anything else.
            events
                .push(Step { event: Event::Store { colour: usize::from(after.state.home()), halves: BOTH }, maintenance: false });
        }
        if let (Call::Look(place) | Call::Touch(place, _), false, 0) = (call, scene.dead, scene.taken()) {
            let colour = if let Place::Colour(colour) = place { colour } else { FRAME.0 as usize };
            events.push(Step { event: Event::Load { colour, halves: BOTH }, maintenance: false });
        }
        if let (Call::Stored, true, Some((colour, _))) = (call, scene.dead, scene.touching) {
            events.insert(0, Step { event: Event::Store { colour, halves: BOTH }, maintenance: false });
        }
        if matches!(call, Call::Complete(_)) && scene.dead {
            // Nobody but the device has written it, so it has.
            events.insert(0, Step { event: Event::DeviceWrites { halves: BOTH }, maintenance: false });
        }
    }
    Outcome { scene: after, events, error: result.err(), window_maps: machine.window_maps.get() }
}

fn make(congruent: &Congruent<Machine>, call: Call, after: &mut Scene) -> Result<(), Error> {
    let at = |place: Place| match place {
        Place::Home => At::Home,
        Place::Linear => At::Linear,
        Place::Colour(index) => At::Colour(congruent.colour_from_index(index).unwrap()),
    };
    let bytes = [0; HALF as usize];
    let offset = |halves: Halves| if halves == 1 { 0 } else { HALF };
    match call {
        Call::Map { colour, write } => {
            let rights = Rights::READ.with_write(write);
            congruent.map_user(FRAME, Machine::user_address(colour), rights, || ())?;
        }
        Call::Execute { colour: Some(colour) } => {
            let rights = Rights::EXECUTE;
            congruent.map_user(FRAME, Machine::user_address(colour), rights, || ())?;
            after.executable = true;
        }
        Call::Execute { colour: None } => {
            congruent.map_execute_only(FRAME, || ())?;
            after.executable = true;
        }
        Call::StopExecuting => after.executable = false,
        Call::Unmap { colour, told } => {
            after.ptes[colour] = Pte::None;
            if told && !after.mapped() {
                congruent.unmapped(FRAME)?;
            }
        }
        Call::WriteProtect { told } => {
            after.ptes.iter_mut().for_each(|pte| *pte = (*pte).min(Pte::Read));
            if told {
                congruent.write_protected(FRAME)?;
            }
        }
        Call::Free => {
            congruent.freed(FRAME)?;
            after.dead = true;
            after.given = false;
        }
        Call::Clear(place) => {
            congruent.clear(FRAME, at(place))?;
            after.dead = false;
        }
        Call::CopyFrom => congruent.copy(FRAME, OTHER, At::Home)?,
        Call::CopyTo(place) => {
            congruent.copy(OTHER, FRAME, at(place))?;
            after.dead = false;
        }
        Call::Read(halves) => congruent.read(FRAME, offset(halves), &mut [0; HALF as usize])?,
        Call::Write(halves) => congruent.write(FRAME, offset(halves), &bytes)?,
        Call::Poke => congruent.poke(FRAME, 0, &bytes)?,
        Call::Hold { place, write: true } => {
            congruent.settle::<ReadWrite>(FRAME, at(place))?.hold().leak();
            after.writer = true;
        }
        Call::Hold { place, write: false } => {
            congruent.settle::<ReadOnly>(FRAME, at(place))?.hold().leak();
            after.reader = true;
        }
        Call::Release { write } => {
            drop(congruent.resume(FRAME)?);
            *(if write { &mut after.writer } else { &mut after.reader }) = false;
        }
        Call::DeviceReads(part) => {
            let (offset, len) = part.bytes();
            congruent.device_reads(FRAME, offset, len)?;
        }
        Call::DeviceWrites(part) => {
            let (offset, len) = part.bytes();
            drop(congruent.device_writes(FRAME, offset, len)?);
            after.flights[part as usize] += 1;
        }
        Call::Complete(part) => {
            let (offset, len) = part.bytes();
            congruent.resume_transfer(TransferId::new(FRAME, offset, len)).complete().map_err(|(_, error)| error)?;
            after.flights[part as usize] -= 1;
            after.dead = false;
        }
        Call::Hand(part) => {
            let (offset, len) = part.bytes();
            congruent.sync_for_device(PhysAddr(offset.into()), len.into());
            after.handed[part as usize] = true;
        }
        Call::Take(part) => {
            let (offset, len) = part.bytes();
            congruent.sync_for_cpu(PhysAddr(offset.into()), len.into());
            after.handed[part as usize] = false;
        }
        Call::Look(place) => congruent.kernel_touches(FRAME, at(place))?,
        Call::Touch(place, watched) => {
            congruent.kernel_touches(FRAME, at(place))?;
            let colour = if let Place::Colour(colour) = place { colour } else { FRAME.0 as usize };
            after.touching = Some((colour, watched));
        }
        Call::Stored => {
            let (colour, _) = after.touching.take().unwrap();
            congruent.kernel_stored(FRAME, at(Place::Colour(colour)))?;
            after.dead = false;
        }
        Call::SyncInstructions => congruent.sync_instructions(FRAME)?,
        Call::GiveToKernel => {
            congruent.give_to_kernel(FRAME)?;
            after.dead = false;
            after.given = true;
        }
        Call::TakeBack => {
            congruent.take_from_kernel(FRAME)?;
            after.given = false;
        }
    }
    Ok(())
}

/// What it means for the watched line of the frame under test.
fn watched(did: Did) -> Option<Step> {
    let halves = |offset: u32, len: u32| {
        let half = |n: u32| u8::from(offset < (n + 1) * HALF && offset + len > n * HALF) << n;
        half(0) | half(1)
    };
    let (event, maintenance) = match did {
        Did::Load { frame: 0, colour, offset, len } if offset < LINE => {
            (Event::Load { colour, halves: halves(offset, len) }, false)
        }
        Did::Store { frame: 0, colour, offset, len } if offset < LINE => {
            (Event::Store { colour, halves: halves(offset, len) }, false)
        }
        Did::Maintain { op, frame: 0, colour, offset, .. } if offset < LINE => {
            let event = match op {
                Maintain::WriteBack => Event::WriteBack { colour },
                Maintain::Invalidate => Event::Invalidate { colour },
                Maintain::Both => Event::WriteBackInvalidate { colour },
            };
            (event, true)
        }
        Did::DropInstructions { frame: 0 } => (Event::DropInstructions, true),
        Did::Reachable { frame: 0, colour } => (Event::Fill { colour }, false),
        _ => return None,
    };
    Some(Step { event, maintenance })
}
