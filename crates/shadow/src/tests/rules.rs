//! The central theorem, for the rules: on one line, `Line` and the model of every schedule agree after *any* sequence of events.
//!
//! Both are finite, so the pairs of states that they can be in together are finite too. The tests walk through all of them:
//! whatever the length of a sequence, it ends in a pair that was looked at. For each pair and event the hazardous bytes must
//! be the same (no miss, no false alarm), and so must the reason: an old copy that may be hit, or old memory that may be read. The model
//! heals nothing: from the first hazard on, what is found and what is said to follow from it are together all that it finds.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec;
use alloc::vec::Vec;
use std::println;

use congruent_geometry::ByteMask;
use congruent_machine::{Bypass, CodeShape, Groups, Op, Schedules, Shape as LineShape, Step};
use congruent_trace::{Maintenance, Site};

use crate::finding::{Party, PartyKind};
use crate::line::{CODE, Hazard, Line, Path, Shape, Ways};

use super::{every_step, is_write};

fn bytes(groups: Groups) -> ByteMask {
    ByteMask(u128::from(groups))
}

fn rules_of(shape: LineShape) -> Shape {
    let code_ways = Ways::first(shape.code.map_or(1, |code| code.ways.into()));
    Shape {
        all_ways: Ways::first(shape.ways.into()),
        code_ways,
        unit: shape.groups_per_unit.into(),
        writes_through: shape.writes_through,
        write_allocate: shape.write_allocate,
        speculative: shape.speculative,
        incoherent: if shape.cpus == 1 { u16::MAX } else { CODE | (u16::from(shape.colours) - 1) },
    }
}

/// The rules' number of a place of an instruction cache.
fn code_number(shape: LineShape, place: u8) -> u16 {
    u16::from(place - shape.data_places()) | CODE
}

fn code_colour(shape: LineShape, through: u8) -> u16 {
    code_number(shape, shape.code_place(through))
}

/// Carries the step out on a line whose groups are single bytes.
pub(super) fn carry_out(line: &mut Line, shape: LineShape, step: Step) -> Vec<Hazard> {
    let rules = rules_of(shape);
    let by = Party { kind: PartyKind::Store, site: Site(1), colour: None };
    let mut hazards = Vec::new();
    // From the first access on, and so never without a copy again.
    let live = shape.speculative && (!line.copies.is_empty() || matches!(step, Step::Access(..) | Step::Prefetch(_)));
    let mut access = |path, op, groups| match op {
        Op::Load => line.load(rules, path, bytes(groups), 0, &mut hazards),
        Op::Store => line.store(rules, path, bytes(groups), by, 0, &mut hazards),
    };
    match step {
        Step::Access(op, colour, groups) => access(Path::Cached(colour.into()), op, groups),
        Step::Past(Bypass::Dma, op, groups) => access(Path::Dma, op, groups),
        Step::Past(Bypass::Uncached, op, groups) => access(Path::Uncached, op, groups),
        Step::Fetch(through, groups) => {
            let served_by = shape.serves_fetch(through).map(u16::from);
            access(Path::Fetch { code: code_colour(shape, through), served_by }, Op::Load, groups);
        }
        Step::Prefetch(colour) => line.prefetch(rules, colour.into(), 0),
        Step::Maintain(op, colour) => {
            for place in shape.reached_with(colour) {
                line.maintain(op, place.into(), rules.all_ways);
            }
        }
        Step::Index(op, colour, way) => {
            line.maintain(op, colour.into(), Ways::NONE.with(way.into()));
        }
        Step::Whole(op, cpu) => {
            for colour in shape.data_places_of(cpu) {
                line.maintain(op, colour.into(), rules.all_ways);
            }
        }
        Step::DropCode(through) => {
            for place in shape.reached_with(shape.code_place(through)) {
                line.maintain(Maintenance::Invalidate, code_number(shape, place), rules.code_ways);
            }
        }
        Step::DropCodeIndex(through, way) => {
            line.maintain(Maintenance::Invalidate, code_colour(shape, through), Ways::NONE.with(way.into()));
        }
        Step::DropCodeWhole(cpu) => {
            for place in shape.code_places_of(cpu) {
                line.maintain(Maintenance::Invalidate, code_number(shape, place), rules.code_ways);
            }
        }
    }
    if live {
        line.speculate(rules, 0);
    }
    hazards
}

/// Carries the step out; returns the bytes it found hazardous in copies, in memory, and as threatened by a store; at last, those that
/// are hazardous only if nothing is mended.
fn act(line: &mut Line, shape: LineShape, step: Step) -> [ByteMask; 4] {
    let rules = rules_of(shape);
    let stale_in = |colour: u16, groups| {
        let own = line.copies.iter().filter(|copy| rules.are_coherent(copy.colour, colour));
        own.fold(ByteMask::EMPTY, |stale, copy| stale | copy.stale) & bytes(groups)
    };
    let stale = match step {
        Step::Access(Op::Load, colour, groups) => stale_in(colour.into(), groups),
        Step::Fetch(through, groups) => stale_in(code_colour(shape, through), groups),
        _ => ByteMask::EMPTY,
    };
    let hazards = carry_out(line, shape, step);
    let found = |write: bool| {
        let of_kind = hazards.iter().filter(|hazard| !hazard.follows && is_write(hazard.class) == write);
        of_kind.fold(ByteMask::EMPTY, |found, hazard| found | hazard.bytes)
    };
    // A byte that may be both hit old and read old from memory is reported once; the rest must come from memory.
    let elsewhere = found(false) - stale;
    let follows = hazards.iter().filter(|hazard| hazard.follows);
    let follows = follows.fold(ByteMask::EMPTY, |all, hazard| all | hazard.bytes);
    [stale, elsewhere, found(true), follows]
}

/// Whether the quick checks say that the access changes nothing.
fn is_claimed_unchanged(line: &Line, shape: LineShape, step: Step) -> bool {
    let rules = rules_of(shape);
    match step {
        Step::Fetch(through, groups) => {
            let served_by = shape.serves_fetch(through).map(u16::from);
            line.is_unchanged_by_fetch(rules, code_colour(shape, through), served_by, bytes(groups), 0)
        }
        Step::Access(Op::Load, colour, groups) => line.is_unchanged_by_load(rules, colour.into(), bytes(groups), 0),
        Step::Access(Op::Store, colour, groups) => line.is_unchanged_by_store(rules, colour.into(), bytes(groups), 0),
        _ => false,
    }
}

/// Forgets what has no bearing on the rules.
fn canonical(mut line: Line) -> Line {
    line.each(|line| {
        line.writers.clear();
        line.copies.sort_unstable();
        // Which way of being lost it was matters to the report only.
        (line.discarded, line.clobbered) = (line.lost(), ByteMask::EMPTY);
    });
    line.rejoin();
    line
}

/// Walks through all pairs of the model's states and the line's, the line taken as it is if nothing is mended. Returns how many there are.
fn agree_for_ever(shape: LineShape) -> usize {
    let unhealed = |mut line: Line| {
        line.forget_healing();
        line
    };
    remembers_nothing_superfluous(shape, walk(shape, unhealed, Behind::Findings))
}

/// The same up to the first finding, for shapes that have too many pairs behind it.
fn agree_until_something_is_found(shape: LineShape) -> usize {
    remembers_nothing_superfluous(shape, walk(shape, |line| line, Behind::Nothing))
}

/// All pairs with what was healed, of which there are more.
fn agree_for_ever_after_findings(shape: LineShape) {
    walk(shape, |line| line, Behind::Findings);
}

fn remembers_nothing_superfluous(shape: LineShape, (pairs, sets): (usize, usize)) -> usize {
    if shape.ways == 1 && shape.code.is_none_or(|code| code.ways == 1) {
        assert_eq!(pairs, sets, "{shape:?}: the rules remember something superfluous");
    }
    pairs
}

/// Whether a walk goes on behind steps with findings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    Findings,
    Nothing,
}

/// How many pairs there are, and of how many states of the model.
fn walk(shape: LineShape, kept: impl Fn(Line) -> Line, behind: Behind) -> (usize, usize) {
    let mut model = Schedules::new(shape, every_step(shape));
    let steps = model.steps().to_vec();
    let start = (model.start(), Line::default());
    let mut seen = BTreeSet::from([start.clone()]);
    let mut left = VecDeque::from([(start, 0)]);
    // How each pair was first reached: from which one, by which step. Breadth first, so a failure shows a shortest sequence.
    let mut reached: Vec<(usize, Option<Step>)> = vec![(0, None)];
    let (mut compared, mut unchanged) = (0u64, 0u64);
    while let Some(((set, line), at)) = left.pop_front() {
        for (number, step) in steps.iter().enumerate() {
            let mut next = line.clone();
            let claimed_unchanged = is_claimed_unchanged(&line, shape, *step);
            let [stale, elsewhere, threatened, follows] = act(&mut next, shape, *step);
            let (verdict, after) = model.step(set, number);
            compared += 1;
            let found = stale | elsewhere | threatened;
            let all = bytes(verdict.groups());
            let first = line.unhealed.is_none();
            let expected = [verdict.hit_old, verdict.memory_old & !verdict.hit_old, verdict.threatened].map(bytes);
            // As long as nothing was healed, the reasons are the same; from then on, what is found is true, and what follows is the rest.
            let agree = if first { [stale, elsewhere, threatened] == expected && follows.is_empty() } else { true };
            if !agree || found | follows != all || found.intersects(follows) {
                let so_far = history(&reached, at);
                let judge = [stale, elsewhere, threatened, follows];
                panic!("{shape:?}\nafter {so_far:#?}\n{step:?}: judge {judge:?}, model {verdict:?}");
            }
            if behind == Behind::Nothing && !all.is_empty() {
                continue;
            }
            let next = canonical(kept(next));
            assert!(!claimed_unchanged || next == line, "{line:?} is changed by {step:?}: {next:?}");
            unchanged += u64::from(claimed_unchanged);
            let next = (after, next);
            if seen.insert(next.clone()) {
                reached.push((at, Some(*step)));
                left.push_back((next, reached.len() - 1));
            }
        }
    }
    let sets = seen.iter().map(|(set, _)| *set).collect::<BTreeSet<_>>().len();
    println!("{shape:?}: {} pairs, {sets} sets, {compared} events compared, {unchanged} change nothing", seen.len());
    (seen.len(), sets)
}

/// The steps that led to a pair.
fn history(reached: &[(usize, Option<Step>)], mut at: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while let (from, Some(step)) = reached[at] {
        steps.push(step);
        at = from;
    }
    steps.reverse();
    steps
}

#[test]
fn two_colours_and_two_byte_groups_agree_for_ever() {
    // The figure of ADR 0001.
    assert_eq!(agree_for_ever(LineShape::new(2, 2, 1)), 23_287);
}

#[test]
fn what_is_found_and_what_follows_from_it_are_all_there_is_for_ever() {
    for shape in [LineShape::new(2, 1, 1), LineShape::new(1, 2, 1), LineShape::new(1, 1, 2), LineShape::new(3, 1, 1)] {
        agree_for_ever_after_findings(shape);
    }
    for code in code(1, 1) {
        agree_for_ever_after_findings(LineShape::new(2, 1, 1).with_code(code));
        agree_for_ever_after_findings(LineShape::new(1, 2, 1).with_code(code));
    }
    let shape = LineShape::new(2, 1, 1);
    agree_for_ever_after_findings(LineShape { write_allocate: false, ..shape });
    agree_for_ever_after_findings(shape.with_cpus(2, false));
    agree_for_ever_after_findings(LineShape { speculative: true, ..LineShape::new(1, 2, 1) });
}

#[test]
fn half_line_write_back_agrees_for_ever() {
    agree_for_ever(LineShape { groups_per_unit: 1, ..LineShape::new(2, 2, 1) });
}

#[test]
fn index_operations_on_two_ways_agree_for_ever() {
    agree_for_ever(LineShape::new(2, 1, 2));
}

#[test]
fn three_colours_agree_for_ever() {
    agree_for_ever(LineShape::new(3, 1, 1));
}

#[test]
fn three_ways_agree_for_ever() {
    agree_for_ever(LineShape::new(1, 2, 3));
}

/// An instruction cache filled from memory, or from the data cache.
fn code(colours: u8, ways: u8) -> [CodeShape; 2] {
    [false, true].map(|fills_from_data| CodeShape { colours, ways, fills_from_data })
}

#[test]
fn fetches_through_one_colour_agree_for_ever() {
    let pairs = code(1, 1).map(|code| agree_until_something_is_found(LineShape::new(2, 2, 1).with_code(code)));
    // The figures of ADR 0003.
    assert_eq!(pairs, [10_288, 12_176]);
    for code in code(1, 1) {
        agree_for_ever(LineShape::new(2, 1, 1).with_code(code));
        agree_for_ever(LineShape::new(1, 2, 1).with_code(code));
    }
}

#[test]
fn fetches_through_two_colours_agree_for_ever() {
    for code in code(2, 1) {
        agree_for_ever(LineShape::new(2, 1, 1).with_code(code));
        agree_until_something_is_found(LineShape::new(1, 2, 1).with_code(code));
    }
}

#[test]
fn fetches_into_two_ways_agree_for_ever() {
    for code in code(1, 2) {
        agree_until_something_is_found(LineShape::new(1, 2, 1).with_code(code));
        agree_for_ever(LineShape::new(2, 1, 1).with_code(code));
    }
}

#[test]
fn writing_through_agrees_for_ever() {
    for write_allocate in [true, false] {
        let through = |shape| LineShape { writes_through: true, write_allocate, ..shape };
        agree_for_ever(through(LineShape::new(2, 2, 1)));
        agree_for_ever(through(LineShape::new(2, 1, 2)));
        for code in code(1, 1) {
            agree_for_ever(through(LineShape::new(2, 1, 1).with_code(code)));
        }
    }
}

#[test]
fn stores_that_do_not_allocate_agree_for_ever() {
    let without = |shape| LineShape { write_allocate: false, ..shape };
    agree_until_something_is_found(without(LineShape::new(2, 2, 1)));
    agree_for_ever(without(LineShape::new(2, 1, 1)));
    agree_for_ever(without(LineShape::new(2, 1, 2)));
    agree_until_something_is_found(without(LineShape { groups_per_unit: 1, ..LineShape::new(2, 2, 1) }));
    for code in code(1, 1) {
        agree_for_ever(without(LineShape::new(2, 1, 1).with_code(code)));
    }
}

#[test]
fn caches_of_two_cpus_agree_for_ever() {
    for reaches_all in [false, true] {
        agree_for_ever(LineShape::new(2, 1, 1).with_cpus(2, reaches_all));
        agree_for_ever(LineShape::new(1, 2, 1).with_cpus(2, reaches_all));
        agree_for_ever(LineShape { groups_per_unit: 1, ..LineShape::new(1, 2, 1) }.with_cpus(2, reaches_all));
        // The figure of ADR 0009.
        assert_eq!(agree_for_ever(LineShape::new(1, 1, 2).with_cpus(2, reaches_all)), 3_004);
        agree_for_ever(LineShape::new(1, 1, 1).with_cpus(3, reaches_all));
    }
}

#[test]
fn instruction_caches_of_two_cpus_agree_for_ever() {
    for reaches_all in [false, true] {
        let code = CodeShape { colours: 1, ways: 1, fills_from_data: false };
        agree_for_ever(LineShape::new(1, 1, 1).with_code(code).with_cpus(2, reaches_all));
        agree_until_something_is_found(
            LineShape::new(1, 1, 1).with_code(CodeShape { ways: 2, ..code }).with_cpus(2, reaches_all),
        );
    }
}

#[test]
fn speculative_fills_agree_for_ever() {
    let speculative = |shape| LineShape { speculative: true, ..shape };
    agree_for_ever(speculative(LineShape::new(1, 2, 1)));
    agree_for_ever(speculative(LineShape::new(1, 2, 2)));
    agree_for_ever(speculative(LineShape { groups_per_unit: 1, ..LineShape::new(1, 2, 2) }));
    agree_for_ever(speculative(LineShape { write_allocate: false, ..LineShape::new(1, 2, 2) }));
    agree_for_ever(speculative(LineShape { writes_through: true, ..LineShape::new(1, 2, 2) }));
}
