//! Every sequence of events up to a length, through the judge's public face: compact forms, postponed sweeps, findings.
//!
//! `rules` proves what the rules say of one line for ever; here it is the machinery around them that is tried. Colours and
//! byte groups are first used in order, since sequences that differ only in their names are alike. The last event is always
//! one that can be judged.

use alloc::vec::Vec;
use std::println;

use congruent_geometry::CacheGeometry;
use congruent_machine::{Bypass, CodeShape, Schedules, Shape, StateSet, Step};
use congruent_trace::{Event, Maintenance, Site};

use super::{Place, all_of, code_cache, config, cpu_of, every_step, pages_of};
use crate::Shadow;

struct Enumeration {
    shape: Shape,
    model: Schedules,
    steps: Vec<Step>,
    place: Place,
    colours: Vec<usize>,
    sequences: u64,
}

impl Enumeration {
    fn new(shape: Shape, steps: Vec<Step>) -> Self {
        // Short pages of long lines: the judge is copied at every event.
        let way = 1024 * u32::from(shape.colours).next_power_of_two();
        let geometry = CacheGeometry::with_page(way * u32::from(shape.ways), shape.ways.into(), 128, 1024).unwrap();
        let geometry = geometry.with_write_back_unit(128 / u32::from(shape.units())).unwrap();
        let place = Place::new(geometry, 5, 3, shape.groups);
        let code = shape.code.map(|code| code_cache(code, &geometry).geometry);
        let place = code.map_or(place, |code| place.with_code(code));
        let colours = pages_of(shape, |page| page);
        Self { shape, model: Schedules::new(shape, steps.clone()), steps, place, colours, sequences: 0 }
    }

    fn run(mut self, length: usize) {
        let shadow = Shadow::new(config(self.place.geometry, self.shape));
        let start = self.model.start();
        self.extend(&shadow, start, &mut Vec::new(), length);
        println!("{} sequences of {length} events, {} steps, {} sets", self.sequences, self.steps.len(), self.model.reached());
    }

    fn extend(&mut self, shadow: &Shadow, set: StateSet, so_far: &mut Vec<Step>, left: usize) {
        if left == 0 {
            self.sequences += 1;
            return;
        }
        for number in 0..self.steps.len() {
            let step = self.steps[number];
            let judged = matches!(step, Step::Access(..) | Step::Past(..) | Step::Fetch(..));
            if left == 1 && !judged || !in_order(self.shape.cpus, so_far, step) {
                continue;
            }
            let event = self.place.event(step, &self.colours, Site(1 + so_far.len() as u32));
            let mut shadow = shadow.clone();
            if let Some(cpu) = cpu_of(self.shape, step) {
                shadow.apply(&Event::Cpu { cpu: cpu.into() });
            }
            let named = self.place.named(&all_of(&mut shadow, &event));
            let (verdict, after) = self.model.step(set, number);
            // Not worth a copy.
            shadow.spare.clear();
            assert_eq!(
                named,
                Place::expected(verdict),
                "(judge, model) after {so_far:#?}\nat {step:?}: {:#?}",
                shadow.findings()
            );
            so_far.push(step);
            self.extend(&shadow, after, so_far, left - 1);
            so_far.pop();
        }
    }
}

/// Whether the sequence goes on with a colour and a group already used, or the next one.
pub(super) fn in_order(cpus: u8, so_far: &[Step], step: Step) -> bool {
    let parts = |step: Step| match step {
        Step::Access(_, colour, groups) => (Some(colour), groups),
        Step::Prefetch(colour) | Step::Maintain(_, colour) | Step::Index(_, colour, _) => (Some(colour), 0),
        Step::Fetch(through, groups) => (Some(through), groups),
        Step::DropCode(through) | Step::DropCodeIndex(through, _) => (Some(through), 0),
        Step::Past(_, _, groups) => (None, groups),
        Step::Whole(..) | Step::DropCodeWhole(_) => (None, 0),
    };
    let next_colour = so_far.iter().filter_map(|step| parts(*step).0).max().map_or(0, |colour| colour + 1);
    let used = so_far.iter().fold(0, |used, step| used | parts(*step).1);
    let (colour, groups) = parts(step);
    // With several CPUs, places are alike only as far as the first goes.
    let next_colour = if cpus > 1 && next_colour > 0 { u8::MAX } else { next_colour };
    colour.is_none_or(|colour| colour <= next_colour) && (used | groups) & ((used | groups) + 1) == 0
}

pub(super) fn one_group(step: &Step) -> bool {
    match step {
        Step::Access(_, _, groups) | Step::Past(_, _, groups) | Step::Fetch(_, groups) => groups.is_power_of_two(),
        _ => true,
    }
}

#[test]
fn six_events_over_two_colours_and_two_byte_groups() {
    let shape = Shape::new(2, 2, 1);
    let steps = every_step(shape).into_iter().filter(one_group);
    // Uncached accesses take the way of DMA; five events of every kind include them.
    let steps = steps.filter(|step| !matches!(step, Step::Past(Bypass::Uncached, ..) | Step::Index(..)));
    Enumeration::new(shape, steps.collect()).run(6);
}

#[test]
fn six_events_with_half_line_write_back() {
    let shape = Shape { groups_per_unit: 1, ..Shape::new(2, 2, 1) };
    let steps = every_step(shape).into_iter().filter(one_group);
    let steps = steps.filter(|step| matches!(step, Step::Access(..) | Step::Maintain(..)));
    Enumeration::new(shape, steps.collect()).run(6);
}

#[test]
fn five_events_over_three_colours_and_two_byte_groups() {
    let shape = Shape::new(3, 2, 1);
    let steps = every_step(shape).into_iter().filter(|step| !matches!(step, Step::Index(..)));
    Enumeration::new(shape, steps.collect()).run(5);
}

#[test]
fn six_events_with_index_operations() {
    for ways in [1, 2] {
        let shape = Shape::new(2, 2, ways);
        let steps = every_step(shape).into_iter().filter(one_group);
        let steps = steps.filter(|step| matches!(step, Step::Access(..) | Step::Index(..) | Step::Whole(..)));
        Enumeration::new(shape, steps.collect()).run(6);
    }
}

#[test]
fn four_events_of_every_kind_on_two_ways() {
    let shape = Shape::new(2, 2, 2);
    Enumeration::new(shape, every_step(shape)).run(4);
}

#[test]
fn five_events_with_fetches() {
    for (colours, code_colours) in [(2, 1), (1, 2)] {
        for fills_from_data in [false, true] {
            let shape = Shape::new(colours, 2, 1).with_code(CodeShape { colours: code_colours, ways: 1, fills_from_data });
            let steps = every_step(shape).into_iter().filter(one_group);
            let steps = steps
                .filter(|step| !matches!(step, Step::Past(Bypass::Uncached, ..) | Step::Index(..) | Step::DropCodeIndex(..)));
            Enumeration::new(shape, steps.collect()).run(5);
        }
    }
}

#[test]
fn five_events_of_code_that_is_written_and_swept() {
    for fills_from_data in [false, true] {
        let shape = Shape::new(1, 2, 2).with_code(CodeShape { colours: 1, ways: 2, fills_from_data });
        let steps = every_step(shape).into_iter().filter(one_group);
        let steps = steps.filter(|step| {
            matches!(step, Step::Access(..) | Step::Fetch(..) | Step::DropCodeIndex(..) | Step::DropCode(_))
                || matches!(
                    step,
                    Step::Maintain(Maintenance::WriteBack | Maintenance::Invalidate, _) | Step::Whole(Maintenance::WriteBack, _)
                )
        });
        Enumeration::new(shape, steps.collect()).run(5);
    }
}

#[test]
fn five_events_written_through_or_without_allocation() {
    for (writes_through, write_allocate) in [(true, true), (true, false), (false, false)] {
        let shape = Shape { writes_through, write_allocate, ..Shape::new(2, 2, 1) };
        let code = CodeShape { colours: 1, ways: 1, fills_from_data: false };
        for shape in [shape, shape.with_code(code)] {
            let steps = every_step(shape).into_iter().filter(one_group);
            let steps = steps
                .filter(|step| !matches!(step, Step::Past(Bypass::Uncached, ..) | Step::DropCodeIndex(..) | Step::Prefetch(_)));
            Enumeration::new(shape, steps.collect()).run(if shape.code.is_some() { 4 } else { 5 });
        }
    }
}

#[test]
fn five_events_on_two_cpus() {
    for reaches_all in [false, true] {
        let shape = Shape::new(2, 1, 1).with_cpus(2, reaches_all);
        let steps = every_step(shape).into_iter();
        let steps = steps
            .filter(|step| matches!(step, Step::Access(..) | Step::Maintain(..) | Step::Whole(..) | Step::Past(Bypass::Dma, ..)));
        Enumeration::new(shape, steps.collect()).run(if reaches_all { 4 } else { 5 });
    }
}

#[test]
fn four_events_of_every_kind_on_two_cpus() {
    let code = CodeShape { colours: 1, ways: 1, fills_from_data: false };
    for reaches_all in [false, true] {
        for shape in [Shape::new(1, 1, 2), Shape::new(1, 2, 1).with_code(code)] {
            let shape = shape.with_cpus(2, reaches_all);
            Enumeration::new(shape, every_step(shape).into_iter().filter(one_group).collect()).run(4);
        }
    }
}

#[test]
fn five_events_on_a_speculative_core() {
    for (ways, write_allocate) in [(1, true), (2, true), (2, false)] {
        let shape = Shape { speculative: true, write_allocate, ..Shape::new(1, 2, ways) };
        let steps = every_step(shape).into_iter().filter(one_group);
        let steps = steps.filter(|step| !matches!(step, Step::Past(Bypass::Uncached, ..)));
        Enumeration::new(shape, steps.collect()).run(5);
    }
}
