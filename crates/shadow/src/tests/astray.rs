//! The old bytes that loads are given under virtual tags, against every schedule with its values: two frames that take turns at two virtual pages.
//!
//! As `old` has it, with two differences: one need not be given for what is seen only in schedules in which a store went to another frame's copy,
//! nor where there were more states than are gone through. But what is given may be of those.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use std::println;

use congruent_machine::{Groups, Op, RemapStep, Shape};
use congruent_trace::{Maintenance, Site};

use super::homonyms::{Stage, every_step};
use super::old::{close, groups, groups_of};
use super::random::Random;
use crate::heads::LAST_EPOCH;
use crate::old::Schedules;
use crate::{Shadow, VirtualTags};

/// Most groups of a line, and virtual pages.
const GROUPS: usize = 2;
const PAGES: usize = 2;

type Versions = [u8; GROUPS];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    frame: usize,
    way: u8,
    bytes: Versions,
    dirty: u8,
}

/// The two lines in one schedule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    memory: [Versions; 2],
    held: [Option<Held>; PAGES],
    /// Whether a store went to another frame's copy.
    astray: bool,
}

/// What a load may see of a group.
struct Seen {
    group: usize,
    /// Every version that some schedule gives.
    possible: BTreeSet<u8>,
    /// Those of schedules in which no store went astray.
    counts: BTreeSet<u8>,
}

/// The two lines in every schedule.
#[derive(Clone)]
struct Everything {
    shape: Shape,
    states: BTreeSet<State>,
    newest: [Versions; 2],
    stores: u8,
}

impl State {
    fn write_back(&mut self, shape: Shape, page: usize, unit: u8) {
        let Some(held) = &mut self.held[page] else { return };
        if held.dirty >> unit & 1 != 0 {
            held.dirty &= !(1 << unit);
            let unit = groups_of(shape, unit);
            self.memory[held.frame][unit.clone()].copy_from_slice(&held.bytes[unit]);
        }
    }

    fn maintained(mut self, shape: Shape, op: Maintenance, page: usize) -> Self {
        if op.writes_back() {
            (0..shape.units()).for_each(|unit| self.write_back(shape, page, unit));
        }
        if op.invalidates() {
            self.held[page] = None;
        }
        self
    }

    /// With the page's line filled into each way for a frame, if it holds none.
    fn filled(self, shape: Shape, page: usize, frame: usize) -> Vec<Self> {
        if self.held[page].is_some() {
            return vec![self];
        }
        let with = |way| {
            let mut state = self;
            state.held[page] = Some(Held { frame, way, bytes: self.memory[frame], dirty: 0 });
            state
        };
        (0..shape.ways).map(with).collect()
    }

    /// With these groups stored, of these values, through a page that holds the frame's line, another's, or none.
    fn stored(mut self, shape: Shape, page: usize, frame: usize, mask: Groups, values: Versions) -> Self {
        let held = &mut self.held[page];
        let to_memory = shape.writes_through || held.is_none();
        for group in groups(mask) {
            if to_memory {
                self.memory[frame][group] = values[group];
            }
            if let Some(held) = held {
                held.bytes[group] = values[group];
                held.dirty |= u8::from(!shape.writes_through) << (group / usize::from(shape.groups_per_unit));
            }
        }
        self.astray |= held.is_some_and(|held| held.frame != frame);
        self
    }

    fn on_its_own(self, shape: Shape) -> Vec<Self> {
        let mut next = Vec::new();
        for (page, held) in self.held.iter().enumerate() {
            let Some(held) = held else { continue };
            for unit in (0..shape.units()).filter(|unit| held.dirty >> unit & 1 != 0) {
                let mut state = self;
                state.write_back(shape, page, unit);
                next.push(state);
            }
            if held.dirty == 0 {
                let mut state = self;
                state.held[page] = None;
                next.push(state);
            }
        }
        next
    }
}

fn see(states: &BTreeSet<State>, group: usize, value: impl Fn(&State) -> Option<u8>) -> Seen {
    let counting = states.iter().filter(|state| !state.astray);
    Seen { group, possible: states.iter().filter_map(&value).collect(), counts: counting.filter_map(&value).collect() }
}

impl Everything {
    fn new(shape: Shape) -> Self {
        let start = State { memory: [[0; GROUPS]; 2], held: [None; PAGES], astray: false };
        Self { shape, states: BTreeSet::from([start]), newest: [[0; GROUPS]; 2], stores: 0 }
    }

    fn close(&mut self) {
        close(&mut self.states, |state| state.on_its_own(self.shape));
    }

    /// Takes a step; of each group that it loads, what it may see.
    fn step(&mut self, step: RemapStep) -> Vec<Seen> {
        let shape = self.shape;
        if let RemapStep::Access(Op::Store, _, frame, mask) | RemapStep::Past(_, Op::Store, frame, mask) = step {
            self.stores += 1;
            groups(mask).for_each(|group| self.newest[usize::from(frame)][group] = self.stores);
        }
        let newest = self.newest;
        let mut seen = Vec::new();
        let each = |what: &dyn Fn(State) -> Vec<State>| self.states.iter().flat_map(|state| what(*state)).collect();
        self.states = match step {
            RemapStep::Access(Op::Load, page, frame, mask) => {
                let page = usize::from(page);
                let after: BTreeSet<State> = each(&|state| state.filled(shape, page, frame.into()));
                for group in groups(mask) {
                    seen.push(see(&after, group, |state| state.held[page].map(|held| held.bytes[group])));
                }
                after
            }
            RemapStep::Access(Op::Store, page, frame, mask) => each(&|state| {
                let (page, frame) = (usize::from(page), usize::from(frame));
                let filled = if shape.write_allocate { state.filled(shape, page, frame) } else { vec![state] };
                filled.into_iter().map(|state| state.stored(shape, page, frame, mask, newest[frame])).collect()
            }),
            RemapStep::Past(_, Op::Load, frame, mask) => {
                for group in groups(mask) {
                    seen.push(see(&self.states, group, |state| Some(state.memory[usize::from(frame)][group])));
                }
                return seen;
            }
            RemapStep::Past(_, Op::Store, frame, mask) => each(&|mut state| {
                let frame = usize::from(frame);
                groups(mask).for_each(|group| state.memory[frame][group] = newest[frame][group]);
                vec![state]
            }),
            RemapStep::Prefetch(page, frame) => each(&|state| {
                let mut after = state.filled(shape, page.into(), frame.into());
                after.push(state);
                after
            }),
            RemapStep::Maintain(op, page) => each(&|state| vec![state.maintained(shape, op, page.into())]),
            RemapStep::Index(op, page, way) => each(&|state| {
                let is_meant = state.held[usize::from(page)].is_some_and(|held| held.way == way);
                vec![if is_meant { state.maintained(shape, op, page.into()) } else { state }]
            }),
            RemapStep::Whole(op) => each(&|state| vec![(0..PAGES).fold(state, |state, page| state.maintained(shape, op, page))]),
            // The instruction side changes no bytes, and is given none.
            RemapStep::Fetch(..) | RemapStep::DropCode(_) | RemapStep::DropCodeIndex(..) | RemapStep::DropCodeWhole => {
                return seen;
            }
        };
        self.close();
        seen
    }
}

/// The judge beside the schedules.
#[derive(Clone)]
struct Pair<'a> {
    stage: &'a Stage,
    shadow: Shadow,
    all: Everything,
    given: u64,
    /// Whether all schedules are gone through.
    worst: bool,
}

impl<'a> Pair<'a> {
    fn new(stage: &'a Stage, last_epoch: u32, schedules: Schedules) -> Self {
        let shape = stage.shape;
        assert!(usize::from(shape.groups) <= GROUPS && usize::from(shape.colours) <= PAGES);
        let mut shadow = Shadow::with_last_epoch(stage.config().with_bytes(schedules).unwrap(), last_epoch);
        for frame in 0..2 {
            let page = shadow.page(stage.geometry.frame(stage.paddr(frame)));
            shadow.tell_page(page, &[0; 1024]);
        }
        Self { stage, shadow, all: Everything::new(shape), given: 0, worst: schedules == Schedules::Worst }
    }

    /// Whether every old byte that is possible is given.
    fn is_whole(&self) -> bool {
        self.worst && self.shadow.states_left_out() == 0
    }

    fn take(&mut self, step: RemapStep, so_far: &[RemapStep]) {
        let (stage, shape) = (self.stage, self.stage.shape);
        if let RemapStep::Access(Op::Store, _, frame, mask) | RemapStep::Past(_, Op::Store, frame, mask) = step {
            let (start, len) = stage.bytes(mask);
            self.shadow.tell_storing(stage.paddr(frame).add(start), &vec![self.all.stores + 1; len as usize]);
        }
        self.shadow.apply(&stage.event(step, Site(1)));
        let old = self.shadow.take_old_bytes();
        let seen = self.all.step(step);
        let bytes = old.map(|old| old.bytes).unwrap_or_default();
        let (RemapStep::Access(_, _, frame, _) | RemapStep::Past(_, _, frame, _)) = step else {
            assert!(bytes.is_empty(), "{shape:?}: after {so_far:#?}\nat {step:?}: {bytes:?} for nobody");
            return;
        };
        let mut expected = 0;
        for Seen { group, possible, counts } in &seen {
            let (start, len) = stage.bytes(1 << group);
            let first = stage.paddr(frame).0 + start;
            let range = first..first + u64::from(len);
            let given: Vec<u8> = bytes.iter().filter(|(at, _)| range.contains(&at.0)).map(|(_, value)| *value).collect();
            let newest = self.all.newest[usize::from(frame)][*group];
            let place = format_args!("{shape:?}: after {so_far:#?}\nat {step:?}: group {group}, newest is {newest}");
            let is_old = counts.iter().any(|version| *version != newest);
            assert!(given.is_empty() || given.len() == len as usize, "{place}: of one value, and {} are given", given.len());
            assert!(!(given.is_empty() && is_old && self.is_whole()), "{place}: {counts:?} are possible, and none is given");
            expected += given.len();
            for value in given {
                self.given += 1;
                assert!(possible.contains(&value) && value != newest, "{place}: {value} is given, possible are {possible:?}");
            }
        }
        assert_eq!(bytes.len(), expected, "bytes that were not asked for, after {so_far:#?}\nat {step:?}");
    }

    fn extend(&self, steps: &[RemapStep], so_far: &mut Vec<RemapStep>, left: usize) -> u64 {
        if left == 0 {
            assert!(self.is_whole(), "{:?}: more states than are gone through after {so_far:#?}", self.stage.shape);
            return self.given;
        }
        let mut given = 0;
        for step in steps {
            // The first event is one of frame 0 and page 0, as sequences that differ in their names are alike.
            let first = matches!(step, RemapStep::Access(_, 0, 0, _) | RemapStep::Prefetch(0, 0));
            let loads = matches!(step, RemapStep::Access(Op::Load, ..) | RemapStep::Past(_, Op::Load, ..));
            if so_far.is_empty() && !first || left == 1 && !loads {
                continue;
            }
            let mut next = self.clone();
            next.take(*step, so_far);
            so_far.push(*step);
            given += next.extend(steps, so_far, left - 1);
            so_far.pop();
        }
        given
    }
}

fn sequences(shape: Shape, length: usize, wanted: impl Fn(&RemapStep) -> bool) {
    let stage = Stage::new(shape);
    let steps: Vec<RemapStep> = every_step(shape).into_iter().filter(wanted).collect();
    let given = Pair::new(&stage, LAST_EPOCH, Schedules::Worst).extend(&steps, &mut Vec::new(), length);
    println!("{shape:?}, {length} of {} steps: {given} old bytes", steps.len());
    assert!(given > 1000, "{shape:?}: too tame");
}

#[test]
fn four_events_of_every_kind() {
    for ways in [1, 2] {
        sequences(Shape::new(2, 1, ways), 4, |_| true);
    }
}

#[test]
fn five_events_without_devices_and_sweeps() {
    for (writes_through, write_allocate) in [(false, true), (false, false), (true, true), (true, false)] {
        let shape = Shape { writes_through, write_allocate, ..Shape::new(2, 1, 1) };
        sequences(shape, 5, |step| {
            !matches!(step, RemapStep::Past(..) | RemapStep::Index(..) | RemapStep::Whole(_) | RemapStep::Prefetch(..))
        });
    }
}

#[test]
fn five_events_at_one_virtual_page_of_lines_in_halves() {
    for groups_per_unit in [1, 2] {
        let shape = Shape { groups_per_unit, ..Shape::new(1, 2, 1) };
        sequences(shape, 5, |step| !matches!(step, RemapStep::Index(..)));
    }
}

/// Long sequences. What is possible grows with their length, so lines are begun anew now and then.
fn long(shape: Shape, seeds: u64, seeded: bool) {
    let stage = Stage::new(shape);
    let steps = every_step(shape);
    let (mut given, mut whole) = (0, 0);
    for seed in 1..=seeds {
        let mut random = Random::new(seed);
        let last_epoch = if seed % 4 == 0 { 3 } else { LAST_EPOCH };
        let mut pair = Pair::new(&stage, last_epoch, if seeded { Schedules::Seed(seed) } else { Schedules::Worst });
        let mut so_far = Vec::new();
        for _ in 0..20 {
            let step = steps[random.below(steps.len())];
            pair.take(step, &so_far);
            so_far.push(step);
        }
        given += pair.given;
        whole += u64::from(pair.is_whole());
    }
    println!("{shape:?}, seeds 1 to {seeds}: {given} old bytes, {whole} gone through whole");
    assert!(given > 1000 && (seeded || 2 * whole > seeds), "{shape:?}: too tame");
}

const LONG: [Shape; 4] = [
    Shape::new(2, 1, 2),
    Shape::new(2, 2, 1),
    Shape { groups_per_unit: 1, write_allocate: false, ..Shape::new(2, 2, 2) },
    Shape { writes_through: true, ..Shape::new(2, 2, 1) },
];

#[test]
fn long_sequences() {
    LONG.into_iter().for_each(|shape| long(shape, 200, false));
}

#[test]
fn one_schedule_gives_what_is_possible() {
    LONG.into_iter().for_each(|shape| long(shape, 300, true));
}

#[test]
fn beside_what_a_store_put_into_another_frames_copy_a_load_is_given_what_is_there() {
    let stage = Stage::new(Shape::new(1, 2, 1));
    let mut pair = Pair::new(&stage, LAST_EPOCH, Schedules::Worst);
    let both = 0b11;
    // Both halves of frame 0's line, then the first of frame 1's, which goes there.
    let steps = [
        RemapStep::Access(Op::Store, 0, 0, both),
        RemapStep::Access(Op::Store, 0, 1, 1),
        RemapStep::Access(Op::Load, 0, 1, both),
    ];
    for (number, step) in steps.into_iter().enumerate() {
        pair.take(step, &steps[..number]);
    }
    assert_eq!(pair.given, 32, "the second half");
}

#[test]
fn virtual_tags_and_bytes_can_be_asked_for_in_either_order() {
    let plain = crate::Config::new("32K,4,32".parse().unwrap());
    let tagged = plain.with_virtual_tags(VirtualTags::Untagged).unwrap().with_bytes(Schedules::Worst).unwrap();
    assert_eq!(plain.with_bytes(Schedules::Worst).unwrap().with_virtual_tags(VirtualTags::Untagged), Ok(tagged));
}
