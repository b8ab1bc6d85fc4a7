//! Long random runs over several frames, neighbouring lines, many colours and every line length: what short sequences over one
//! line cannot reach. Accesses that span lines, DMA over many lines, epochs that run out and start over.
//!
//! Every line has a model of its own. A failure prints the seed and the number of the event.

use alloc::vec::Vec;
use std::println;

use congruent_geometry::CacheGeometry;
use congruent_machine::{CodeShape, Schedules, Shape, StateSet, Step};
use congruent_trace::Site;

use super::{Place, all_of, code_cache, config, cpu_of, every_step, pages_of};
use crate::Shadow;
use crate::heads::LAST_EPOCH;

/// Numbers that look random: Marsaglia's xorshift64.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// A frame, the colours that its model's colours stand for, and its lines from the first one on.
struct Tracked {
    colours: Vec<usize>,
    lines: Vec<(Place, StateSet)>,
}

const FRAMES: u64 = 3;
const LINES: u32 = 3;

/// One run; `last_epoch` is small to make epochs start over.
fn run(geometry: CacheGeometry, shape: Shape, last_epoch: u32, seed: u64, events: usize) -> u64 {
    let mut random = Random::new(seed);
    let steps = every_step(shape);
    let mut model = Schedules::new(shape, steps.clone());
    let mut shadow = Shadow::with_last_epoch(config(geometry, shape), last_epoch);
    let first_line = geometry.lines_per_page() - LINES;
    let mut frames: Vec<Tracked> = (0..FRAMES)
        .map(|frame| {
            let first = random.below(geometry.colours() as usize);
            let step = geometry.colours() as usize / usize::from(shape.colours);
            // Page numbers that are these colours; as many colours in the instruction cache as the model has.
            let colours = pages_of(shape, |n| (first + n * step) % geometry.colours() as usize);
            let code = shape.code.map_or(geometry, |code| code_cache(code, &geometry).geometry);
            let place = |line| (Place::new(geometry, frame * 7, line, shape.groups).with_code(code), model.start());
            Tracked { colours, lines: (first_line..first_line + LINES).map(place).collect() }
        })
        .collect();
    if shape.speculative {
        // One access makes every line of the frame live, which models of single lines do not know.
        let prefetch = steps.iter().position(|step| *step == Step::Prefetch(0)).unwrap();
        for (place, set) in frames.iter_mut().flat_map(|frame| &mut frame.lines) {
            shadow.apply(&place.event(steps[prefetch], &[0], Site(0)));
            *set = model.step(*set, prefetch).1;
        }
    }
    let mut hazards = 0;
    for number in 0..events {
        let (frame, line) = (random.below(frames.len()), random.below(LINES as usize));
        let step = steps[random.below(steps.len())];
        let site = Site(number as u32);
        let event = frames[frame].lines[line].0.event(step, &frames[frame].colours, site);
        // What the event is to each line that it reaches.
        let mut reached: Vec<(usize, usize, Step)> = Vec::new();
        match step {
            Step::Whole(..) | Step::DropCodeWhole(_) => {
                reached.extend((0..frames.len()).flat_map(|frame| (0..LINES as usize).map(move |line| (frame, line, step))));
            }
            Step::Index(op, colour, way) => {
                let meant = frames[frame].colours[usize::from(colour)];
                let set_of = |place: &Place| geometry.set(place.vaddr(meant));
                let set = set_of(&frames[frame].lines[line].0);
                for (other, tracked) in frames.iter().enumerate() {
                    let first = usize::from(colour / shape.colours * shape.colours);
                    let of_cpu = tracked.colours.iter().skip(first).position(|held| *held == meant);
                    if let Some(colour) = of_cpu.map(|colour| first + colour) {
                        let lines = (0..LINES as usize).filter(|line| set_of(&tracked.lines[*line].0) == set);
                        reached.extend(lines.map(|line| (other, line, Step::Index(op, colour as u8, way))));
                    }
                }
            }
            Step::DropCodeIndex(through, way) => {
                // One way of the instruction cache is a page: each line has a set of its own.
                for (other, tracked) in frames.iter().enumerate() {
                    assert_eq!(tracked.lines.len(), LINES as usize);
                    reached.push((other, line, Step::DropCodeIndex(through, way)));
                }
            }
            _ => reached.push((frame, line, step)),
        }
        let mut event = event;
        // Now and then an access goes on into the next lines.
        if let Some((longer, more)) =
            spanning(&event, step, &mut random, LINES as usize - 1 - line, &frames[frame].lines[line].0, shape)
        {
            event = longer;
            reached = more.into_iter().map(|(after, step)| (frame, line + after, step)).collect();
        }
        if let Some(cpu) = cpu_of(shape, step) {
            shadow.apply(&congruent_trace::Event::Cpu { cpu: cpu.into() });
        }
        let found = all_of(&mut shadow, &event);
        let mut expected_lines = 0;
        for (frame, line, step) in reached {
            let (place, set) = &mut frames[frame].lines[line];
            let number_of_step = steps.iter().position(|known| *known == step).unwrap();
            let (verdict, after) = model.step(*set, number_of_step);
            let named = place.named(&found);
            assert_eq!(
                named,
                Place::expected(verdict),
                "(judge, model) seed {seed}, event {number} {step:?} on line {line} of frame {frame}, {geometry}, epochs to {last_epoch}"
            );
            expected_lines += u64::from(verdict.groups() != 0);
            *set = after;
        }
        let mut named: Vec<_> = found.iter().map(|(_, example)| example.paddr.align_down(geometry.line().into())).collect();
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.len() as u64, expected_lines, "seed {seed}, event {number}: lines that were not accessed are named");
        hazards += found.len() as u64;
    }
    hazards
}

/// The access, made to go on to the end of up to `more` further lines, and what it is to each line.
fn spanning(
    event: &congruent_trace::Event,
    step: Step,
    random: &mut Random,
    more: usize,
    place: &Place,
    shape: Shape,
) -> Option<(congruent_trace::Event, Vec<(usize, Step)>)> {
    use congruent_trace::Event;
    let more = random.below(more + 1);
    let all = (1 << shape.groups) - 1;
    let groups = match step {
        Step::Access(_, _, groups) | Step::Past(_, _, groups) | Step::Fetch(_, groups) => groups,
        _ => return None,
    };
    // Only from the last group of a line can it go on.
    if more == 0 || groups >> (shape.groups - 1) == 0 {
        return None;
    }
    let added = more as u32 * place.geometry.line();
    let event = match *event {
        Event::Access { kind, vaddr, paddr, size, site } => Event::Access { kind, vaddr, paddr, size: size + added, site },
        Event::Uncached { kind, paddr, size, site } => Event::Uncached { kind, paddr, size: size + added, site },
        Event::Fetch { vaddr, paddr, size, site } => Event::Fetch { vaddr, paddr, size: size + added, site },
        Event::Dma { direction, paddr, len, site } => Event::Dma { direction, paddr, len: len + u64::from(added), site },
        _ => return None,
    };
    let further = (1..=more).map(|line| match step {
        Step::Access(op, colour, _) => (line, Step::Access(op, colour, all)),
        Step::Past(by, op, _) => (line, Step::Past(by, op, all)),
        Step::Fetch(through, _) => (line, Step::Fetch(through, all)),
        other => (line, other),
    });
    Some((event, [(0, step)].into_iter().chain(further).collect()))
}

/// Runs over this cache with several seeds, and with epochs that start over.
fn runs(size: u32, ways: u32, line: u32, units: u8, shape: Shape, events: usize) {
    let geometry = CacheGeometry::new(size, ways, line).unwrap().with_write_back_unit(line / u32::from(units)).unwrap();
    assert_eq!((u32::from(shape.ways), shape.units()), (ways, units));
    let mut hazards = 0;
    for (seed, last_epoch) in [(1, LAST_EPOCH), (2, LAST_EPOCH), (3, 3), (4, 40)] {
        hazards += run(geometry, shape, last_epoch, seed, events);
    }
    println!("{geometry}: {hazards} hazards");
    // Where little or nothing is dirty, only old copies are left to find.
    let least = if shape.writes_through || !shape.write_allocate { 100 } else { 2000 };
    assert!(hazards > least, "{geometry}: the runs are too tame");
}

#[test]
fn lines_of_16_bytes_16_colours_one_way() {
    runs(64 << 10, 1, 16, 1, Shape::new(2, 2, 1), 40_000);
}

#[test]
fn lines_of_32_bytes_4_colours_two_ways() {
    runs(32 << 10, 2, 32, 1, Shape::new(2, 1, 2), 40_000);
}

#[test]
fn lines_of_32_bytes_written_back_by_halves_4_colours() {
    runs(16 << 10, 1, 32, 2, Shape { groups_per_unit: 1, ..Shape::new(2, 2, 1) }, 40_000);
}

#[test]
fn lines_of_64_bytes_16_colours_three_of_them_used() {
    runs(64 << 10, 1, 64, 1, Shape::new(3, 1, 1), 40_000);
}

#[test]
fn lines_of_128_bytes_4_colours_four_ways() {
    runs(64 << 10, 4, 128, 1, Shape::new(1, 1, 4), 40_000);
}

#[test]
fn lines_of_8_bytes_1024_colours() {
    runs(4 << 20, 1, 8, 1, Shape::new(2, 2, 1), 20_000);
}

#[test]
fn a_cache_that_cannot_alias_with_ways_shorter_than_a_page() {
    // Two sets: lines 0 and 2 of a page share one.
    runs(128, 2, 32, 1, Shape::new(1, 2, 2), 40_000);
}

#[test]
fn code_that_is_written_fetched_and_swept() {
    for fills_from_data in [false, true] {
        let code = CodeShape { colours: 1, ways: 2, fills_from_data };
        runs(16 << 10, 1, 32, 1, Shape::new(2, 1, 1).with_code(code), 30_000);
        runs(8 << 10, 2, 64, 1, Shape::new(1, 2, 2).with_code(CodeShape { ways: 1, ..code }), 30_000);
    }
}

#[test]
fn caches_of_several_cpus() {
    let code = CodeShape { colours: 1, ways: 2, fills_from_data: false };
    for reaches_all in [false, true] {
        runs(16 << 10, 1, 32, 1, Shape::new(2, 1, 1).with_cpus(2, reaches_all), 20_000);
        runs(8 << 10, 2, 64, 1, Shape::new(1, 2, 2).with_cpus(2, reaches_all), 20_000);
        runs(4 << 10, 1, 32, 1, Shape::new(1, 1, 1).with_code(code).with_cpus(3, reaches_all), 20_000);
    }
}

#[test]
fn stores_that_go_to_memory() {
    let code = CodeShape { colours: 1, ways: 2, fills_from_data: false };
    for (writes_through, write_allocate) in [(true, true), (true, false), (false, false)] {
        let shape = Shape { writes_through, write_allocate, ..Shape::new(2, 1, 2) };
        runs(32 << 10, 2, 32, 1, shape, 20_000);
        runs(32 << 10, 2, 32, 1, shape.with_code(code), 20_000);
    }
}

#[test]
fn speculative_cores() {
    let code = CodeShape { colours: 1, ways: 1, fills_from_data: false };
    for write_allocate in [true, false] {
        let shape = Shape { speculative: true, write_allocate, ..Shape::new(1, 2, 2) };
        runs(8 << 10, 2, 32, 1, shape, 30_000);
        runs(8 << 10, 2, 32, 1, shape.with_code(code), 30_000);
    }
}
