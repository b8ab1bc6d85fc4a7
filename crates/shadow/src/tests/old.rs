//! The old bytes that loads are given, against every schedule with its values: each is one that some schedule gives, and every byte that some
//! schedule gives old is given.
//!
//! The model of `congruent-machine` tells bytes apart as newest or older. Here it matters which older one, so the schedules are gone through with
//! the versions themselves.

use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use std::println;

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_machine::{Bypass, Groups, Op, Shape, Step};
use congruent_trace::{AccessKind, Event, Maintenance, Site};

use super::random::Random;
use super::sequences::{in_order, one_group};
use super::{Place, config, cpu_of, every_step, pages_of};
use crate::heads::LAST_EPOCH;
use crate::old::Schedules;
use crate::{CodeCache, Config, ConfigError, Shadow};

/// Most groups of a line, and places that may hold it.
const GROUPS: usize = 2;
const PLACES: usize = 4;

type Versions = [u8; GROUPS];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    way: u8,
    bytes: Versions,
    dirty: u8,
}

/// The line in one schedule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    memory: Versions,
    held: [Option<Held>; PLACES],
}

/// The line in every schedule.
#[derive(Clone)]
struct Everything {
    shape: Shape,
    states: BTreeSet<State>,
    newest: Versions,
    stores: u8,
}

/// The groups of a set.
pub(super) fn groups(mask: Groups) -> impl Iterator<Item = usize> {
    (0..GROUPS).filter(move |group| mask >> group & 1 != 0)
}

/// The groups of a unit of writing back.
pub(super) fn groups_of(shape: Shape, unit: u8) -> core::ops::Range<usize> {
    let per = usize::from(shape.groups_per_unit);
    usize::from(unit) * per..(usize::from(unit) + 1) * per
}

/// Adds whatever states those that are there become by themselves.
pub(super) fn close<S: Copy + Ord>(states: &mut BTreeSet<S>, on_its_own: impl Fn(S) -> Vec<S>) {
    let mut left: Vec<S> = states.iter().copied().collect();
    while let Some(state) = left.pop() {
        left.extend(on_its_own(state).into_iter().filter(|next| states.insert(*next)));
    }
}

impl State {
    fn write_back(&mut self, shape: Shape, colour: usize) {
        for unit in 0..shape.units() {
            self.write_back_unit(shape, colour, unit);
        }
    }

    fn write_back_unit(&mut self, shape: Shape, colour: usize, unit: u8) {
        let Some(held) = &mut self.held[colour] else { return };
        if held.dirty >> unit & 1 != 0 {
            held.dirty &= !(1 << unit);
            let unit = groups_of(shape, unit);
            self.memory[unit.clone()].copy_from_slice(&held.bytes[unit]);
        }
    }

    fn maintain(&mut self, shape: Shape, op: Maintenance, colour: usize) {
        if op.writes_back() {
            self.write_back(shape, colour);
        }
        if op.invalidates() {
            self.held[colour] = None;
        }
    }

    /// The same colour of other CPUs.
    fn siblings(shape: Shape, place: usize) -> impl Iterator<Item = usize> {
        let colours = usize::from(shape.colours);
        (0..usize::from(shape.data_places())).filter(move |other| *other != place && other % colours == place % colours)
    }

    /// With the line filled into each way, if it is not held: from another CPU's copy, with or without what is dirty there, or from memory.
    fn filled(self, shape: Shape, place: usize) -> Vec<Self> {
        if self.held[place].is_some() {
            return vec![self];
        }
        let with = |way| {
            let mut state = self;
            let served = Self::siblings(shape, place).find_map(|sibling| self.held[sibling]);
            let bytes = served.map_or(self.memory, |held| held.bytes);
            state.held[place] = Some(Held { way, bytes, dirty: 0 });
            [state, state.passed(shape, place)]
        };
        (0..shape.ways).flat_map(with).collect()
    }

    /// With what is dirty on other CPUs dirty here.
    fn passed(mut self, shape: Shape, place: usize) -> Self {
        for sibling in Self::siblings(shape, place) {
            let dirty = self.held[sibling].as_mut().map_or(0, |held| core::mem::take(&mut held.dirty));
            if let Some(own) = &mut self.held[place] {
                own.dirty |= dirty;
            }
        }
        self
    }

    fn on_its_own(self, shape: Shape) -> Vec<Self> {
        let mut next = Vec::new();
        for (colour, held) in self.held.iter().enumerate() {
            let Some(held) = held else { continue };
            for unit in (0..shape.units()).filter(|unit| held.dirty >> unit & 1 != 0) {
                let mut state = self;
                state.write_back_unit(shape, colour, unit);
                next.push(state);
            }
            if held.dirty == 0 {
                let mut state = self;
                state.held[colour] = None;
                next.push(state);
            }
        }
        next
    }
}

impl Everything {
    fn new(shape: Shape) -> Self {
        let start = State { memory: [0; GROUPS], held: [None; PLACES] };
        Self { shape, states: BTreeSet::from([start]), newest: [0; GROUPS], stores: 0 }
    }

    fn close(&mut self) {
        close(&mut self.states, |state| state.on_its_own(self.shape));
    }

    /// Takes a step. Of each group that it loads, every version that some schedule gives.
    fn step(&mut self, step: Step) -> Vec<(usize, BTreeSet<u8>)> {
        let shape = self.shape;
        let mut seen = Vec::new();
        if let Step::Access(Op::Store, _, mask) | Step::Past(_, Op::Store, mask) = step {
            self.stores += 1;
            groups(mask).for_each(|group| self.newest[group] = self.stores);
        }
        let newest = self.newest;
        let each = |what: &mut dyn FnMut(State) -> Vec<State>| self.states.iter().flat_map(|state| what(*state)).collect();
        let after: BTreeSet<State> = match step {
            Step::Access(Op::Load, colour, mask) => {
                let after: BTreeSet<State> = each(&mut |state| state.filled(shape, colour.into()));
                for group in groups(mask) {
                    let value = |state: &State| state.held[usize::from(colour)].map(|held| held.bytes[group]);
                    seen.push((group, after.iter().filter_map(value).collect()));
                }
                after
            }
            Step::Access(Op::Store, colour, mask) => each(&mut |state| {
                let filled = if shape.write_allocate { state.filled(shape, colour.into()) } else { vec![state] };
                let store = |state: State| {
                    let mut state = state.passed(shape, colour.into());
                    State::siblings(shape, colour.into()).for_each(|sibling| state.held[sibling] = None);
                    let held = &mut state.held[usize::from(colour)];
                    for group in groups(mask) {
                        if shape.writes_through || held.is_none() {
                            state.memory[group] = newest[group];
                        }
                        if let Some(held) = held {
                            held.bytes[group] = newest[group];
                            let unit = group / usize::from(shape.groups_per_unit);
                            held.dirty |= u8::from(!shape.writes_through) << unit;
                        }
                    }
                    state
                };
                filled.into_iter().map(store).collect()
            }),
            Step::Past(_, Op::Load, mask) => {
                for group in groups(mask) {
                    seen.push((group, self.states.iter().map(|state| state.memory[group]).collect()));
                }
                return seen;
            }
            Step::Past(_, Op::Store, mask) => each(&mut |mut state| {
                groups(mask).for_each(|group| state.memory[group] = newest[group]);
                vec![state]
            }),
            Step::Prefetch(colour) => each(&mut |state| {
                let mut after = state.filled(shape, colour.into());
                after.push(state);
                after
            }),
            Step::Maintain(op, colour) => each(&mut |mut state| {
                state.maintain(shape, op, colour.into());
                if shape.by_address_reaches_all {
                    State::siblings(shape, colour.into()).for_each(|sibling| state.maintain(shape, op, sibling));
                }
                vec![state]
            }),
            Step::Index(op, colour, way) => each(&mut |mut state| {
                if state.held[usize::from(colour)].is_some_and(|held| held.way == way) {
                    state.maintain(shape, op, colour.into());
                }
                vec![state]
            }),
            Step::Whole(op, cpu) => each(&mut |mut state| {
                let first = usize::from(cpu * shape.colours);
                (first..first + usize::from(shape.colours)).for_each(|place| state.maintain(shape, op, place));
                vec![state]
            }),
            Step::Fetch(..) | Step::DropCode(_) | Step::DropCodeIndex(..) | Step::DropCodeWhole(_) => unreachable!("{step:?}"),
        };
        self.states = after;
        self.close();
        seen
    }
}

/// The judge beside the schedules.
#[derive(Clone)]
struct Pair {
    place: Place,
    colours: Vec<usize>,
    shadow: Shadow,
    all: Everything,
    given: u64,
    /// What devices would be given.
    foreseen: u64,
    /// Whether every old byte that is possible is given.
    worst: bool,
}

impl Pair {
    fn new(shape: Shape, last_epoch: u32, schedules: Schedules) -> Self {
        assert!(usize::from(shape.groups) <= GROUPS && usize::from(shape.data_places()) <= PLACES);
        let way = 1024 * u32::from(shape.colours).next_power_of_two();
        let geometry = CacheGeometry::with_page(way * u32::from(shape.ways), shape.ways.into(), 128, 1024).unwrap();
        let geometry = geometry.with_write_back_unit(128 / u32::from(shape.units())).unwrap();
        let place = Place::new(geometry, 5, 3, shape.groups);
        let mut shadow = Shadow::with_last_epoch(config(geometry, shape).with_bytes(schedules).unwrap(), last_epoch);
        let page = shadow.page(geometry.frame(place.paddr));
        assert!(shadow.lacks_bytes(page));
        shadow.tell_page(page, &[0; 1024]);
        assert!(!shadow.lacks_bytes(page));
        Self {
            place,
            colours: pages_of(shape, |page| page),
            shadow,
            all: Everything::new(shape),
            given: 0,
            foreseen: 0,
            worst: schedules == Schedules::Worst,
        }
    }

    fn take(&mut self, step: Step, so_far: &[Step]) {
        let (place, shape) = (self.place, self.all.shape);
        let event = place.event(step, &self.colours, Site(1));
        if let Some(cpu) = cpu_of(shape, step) {
            self.shadow.apply(&Event::Cpu { cpu: cpu.into() });
        }
        if let Step::Access(Op::Store, _, mask) | Step::Past(_, Op::Store, mask) = step {
            let (start, len) = place.bytes(mask);
            self.shadow.tell_storing(place.paddr.add(start), &vec![self.all.stores + 1; len as usize]);
        }
        let foreseen = match event {
            Event::Dma { paddr, len, .. } => self.shadow.old_in_memory(paddr, len),
            _ => Vec::new(),
        };
        self.shadow.apply(&event);
        let old = self.shadow.take_old_bytes();
        let seen = self.all.step(step);
        let bytes = old.map(|old| old.bytes).unwrap_or_default();
        if matches!(step, Step::Past(Bypass::Dma, Op::Load, _)) {
            assert!(!self.worst || foreseen == bytes, "{shape:?}: after {so_far:#?}\nat {step:?}: {foreseen:?} was foreseen");
            for (at, value) in foreseen {
                let group = ((at.0 - place.paddr.0) as u32 / place.group) as usize;
                let possible = seen.iter().any(|(seen, versions)| *seen == group && versions.contains(&value));
                assert!(
                    possible && value != self.all.newest[group],
                    "{shape:?}: after {so_far:#?}\nat {step:?}: {value} was foreseen"
                );
                self.foreseen += 1;
            }
        }
        let mut expected = 0;
        for (group, versions) in &seen {
            let (start, len) = place.bytes(1 << group);
            let range = place.paddr.0 + start..place.paddr.0 + start + u64::from(len);
            let given: Vec<u8> = bytes.iter().filter(|(at, _)| range.contains(&at.0)).map(|(_, value)| *value).collect();
            let newest = self.all.newest[*group];
            let is_old = versions.iter().any(|version| *version != newest);
            let expectation = if is_old { len as usize } else { 0 };
            assert!(
                given.len() == expectation || !self.worst && given.is_empty(),
                "{shape:?}: after {so_far:#?}\nat {step:?}: group {group}, {versions:?}"
            );
            expected += given.len();
            for value in given {
                self.given += 1;
                assert!(
                    versions.contains(&value) && value != newest,
                    "{shape:?}: after {so_far:#?}\nat {step:?}: {value} is given for group {group}, possible are {versions:?}, newest is {newest}"
                );
            }
        }
        assert_eq!(bytes.len(), expected, "bytes that were not asked for, after {so_far:#?}\nat {step:?}");
    }

    fn extend(&self, steps: &[Step], so_far: &mut Vec<Step>, left: usize) -> u64 {
        if left == 0 {
            return self.given;
        }
        let mut given = 0;
        for step in steps {
            let loads = matches!(step, Step::Access(Op::Load, ..) | Step::Past(_, Op::Load, _));
            if left == 1 && !loads || !in_order(self.all.shape.cpus, so_far, *step) {
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

fn sequences(shape: Shape, length: usize, wanted: impl Fn(&Step) -> bool) {
    let steps: Vec<Step> = every_step(shape).into_iter().filter(|step| one_group(step) && wanted(step)).collect();
    let given = Pair::new(shape, LAST_EPOCH, Schedules::Worst).extend(&steps, &mut Vec::new(), length);
    println!("{shape:?}, {length} of {} steps: {given} old bytes", steps.len());
    assert!(given > 1000, "{shape:?}: too tame");
}

fn without_uncached(step: &Step) -> bool {
    !matches!(step, Step::Past(Bypass::Uncached, ..))
}

#[test]
fn four_events_of_every_kind() {
    for shape in [Shape::new(2, 2, 1), Shape { groups_per_unit: 1, ..Shape::new(2, 2, 1) }, Shape::new(3, 1, 1)] {
        sequences(shape, 4, |_| true);
    }
}

#[test]
fn five_events_on_two_colours() {
    sequences(Shape::new(2, 2, 1), 5, |step| {
        matches!(step, Step::Access(..) | Step::Maintain(Maintenance::WriteBack | Maintenance::Invalidate, _))
    });
}

#[test]
fn five_events_with_sweeps_and_devices() {
    sequences(Shape::new(2, 2, 1), 5, |step| without_uncached(step) && !matches!(step, Step::Index(..)));
}

#[test]
fn five_events_written_through_or_without_allocation() {
    for (writes_through, write_allocate) in [(true, true), (true, false), (false, false)] {
        let shape = Shape { writes_through, write_allocate, ..Shape::new(2, 2, 1) };
        sequences(shape, 5, |step| without_uncached(step) && !matches!(step, Step::Index(..) | Step::Prefetch(_)));
    }
}

/// Long sequences. What is possible grows with their length, so lines are begun anew now and then.
fn long(shape: Shape, seeds: u64, seeded: bool) {
    let steps = every_step(shape);
    let (mut given, mut foreseen) = (0, 0);
    for seed in 1..=seeds {
        let mut random = Random::new(seed);
        let mut pair = Pair::new(
            shape,
            if seed % 4 == 0 { 3 } else { LAST_EPOCH },
            if seeded { Schedules::Seed(seed) } else { Schedules::Worst },
        );
        let mut so_far = Vec::new();
        for _ in 0..24 {
            let step = steps[random.below(steps.len())];
            pair.take(step, &so_far);
            so_far.push(step);
        }
        given += pair.given;
        foreseen += pair.foreseen;
    }
    println!("{shape:?}, seeds 1 to {seeds}: {given} old bytes, {foreseen} that devices would be given");
    assert!(given > 1000 && foreseen > 100, "{shape:?}: too tame");
}

#[test]
fn four_events_on_two_cpus() {
    for reaches_all in [false, true] {
        let shape = Shape::new(2, 1, 1).with_cpus(2, reaches_all);
        sequences(shape, 4, |_| true);
    }
}

#[test]
fn long_sequences_on_two_cpus_and_in_two_ways() {
    long(Shape::new(2, 2, 2), 300, false);
    for reaches_all in [false, true] {
        long(Shape::new(2, 2, 1).with_cpus(2, reaches_all), 150, false);
    }
}

#[test]
fn long_sequences_on_three_colours() {
    long(Shape::new(3, 2, 1), 300, false);
    long(Shape { groups_per_unit: 1, ..Shape::new(3, 2, 1) }, 300, false);
}

#[test]
fn one_schedule_gives_what_is_possible() {
    long(Shape::new(3, 2, 1), 300, true);
    long(Shape::new(2, 2, 2), 300, true);
    long(Shape::new(2, 2, 1).with_cpus(2, true), 300, true);
}

#[test]
fn caches_of_which_old_bytes_are_not_known_are_refused_whichever_is_asked_for_first() {
    let of = |text: &str| Config::new(text.parse().unwrap());
    let worst = Schedules::Worst;
    let aliasing = of("32K,4,32");
    let alone = of("16K,4,32");
    assert_eq!(alone.speculating().unwrap().with_bytes(worst).err(), Some(ConfigError::Bytes));
    assert_eq!(alone.with_bytes(worst).unwrap().speculating().err(), Some(ConfigError::Bytes));
    // Who does not ask is told nothing.
    let mut judge = Shadow::new(aliasing);
    let page = judge.page(congruent_geometry::Frame(1));
    judge.tell_page(page, &[1; 4096]);
    assert!(!judge.keeps_bytes() && !judge.lacks_bytes(page) && judge.take_old_bytes().is_none());
}

#[test]
fn what_a_load_is_given_is_blamed_on_no_fetch() {
    let config = Config::new("32K,4,32".parse().unwrap()).with_code(CodeCache::new("16K,4,32".parse().unwrap())).unwrap();
    let mut judge = Shadow::new(config.with_bytes(Schedules::Worst).unwrap());
    let site = Site(1);
    let access = |kind, page: u64, offset: u64| {
        let (vaddr, paddr) = (VirtAddr(page << 12 | offset), PhysAddr(0x4000 + offset));
        Event::Access { kind, vaddr, paddr, size: 4, site }
    };
    // Of two lines, one is fetched from and one is loaded from.
    for offset in [0, 64] {
        judge.tell_storing(PhysAddr(0x4000 + offset), &[1; 4]);
        judge.apply(&access(AccessKind::Store, 0, offset));
    }
    assert!(judge.apply(&Event::Fetch { vaddr: VirtAddr(0), paddr: PhysAddr(0x4000), size: 4, site }), "it is dirty");
    judge.apply(&access(AccessKind::Load, 1, 64));
    let blamed = judge.take_old_bytes().and_then(|old| old.finding).map(|finding| judge.findings()[finding as usize].class);
    assert_eq!(blamed, Some(crate::HazardClass::ReadDirtyElsewhere));
}

#[test]
fn a_line_in_more_states_than_are_gone_through_is_counted_and_still_gives_old_bytes() {
    let held_by = |colours: u64| {
        let mut judge = Shadow::new(Config::new("64K,1,32".parse().unwrap()).with_bytes(Schedules::Worst).unwrap());
        let paddr = PhysAddr(0x4000);
        let access = |kind, colour: u64| Event::Access { kind, vaddr: VirtAddr(colour << 12), paddr, size: 4, site: Site(1) };
        for colour in 0..colours {
            judge.apply(&access(AccessKind::Load, colour));
        }
        judge.tell_storing(paddr, &[1; 4]);
        judge.apply(&access(AccessKind::Store, 0));
        judge.apply(&access(AccessKind::Load, 1));
        let given = judge.take_old_bytes().map(|old| old.bytes.into_iter().map(|(_, byte)| byte).collect::<Vec<_>>());
        assert_eq!(given, Some(vec![0; 4]), "{colours} colours");
        judge.states_left_out()
    };
    assert_eq!(held_by(8), 0);
    assert!(held_by(16) > 0);
}
