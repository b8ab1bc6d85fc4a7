//! What the ledger calls redundant can be left out: all of it, each operation alone, and any part of it.
//!
//! A run is judged twice, whole and with operations muted of which no line mattered; the hazards must be the same, event by event.
//! Every sequence up to a length, in which each operation is a site of its own; and long random runs over several lines, in which few
//! sites operate again and again.

use alloc::vec::Vec;
use std::println;

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_machine::{CodeShape, Shape, Step};
use congruent_trace::{AccessKind, Event, Maintenance, Scope, Site};

use super::random::Random;
use super::sequences::{in_order, one_group};
use super::{Place, code_cache, config, every_step, found_by};
use crate::finding::{Example, HazardClass};
use crate::heads::LAST_EPOCH;
use crate::{Config, LedgerLine, Shadow};

type Hazards = Vec<(HazardClass, Example)>;

const fn is_operation(event: &Event) -> bool {
    matches!(event, Event::Maintain { .. } | Event::MaintainCode { .. })
}

fn site_of(event: &Event) -> Option<Site> {
    match *event {
        Event::Maintain { site, .. } | Event::MaintainCode { site, .. } => Some(site),
        _ => None,
    }
}

/// The sites of which no line mattered.
fn redundant(ledger: &[LedgerLine]) -> Vec<Site> {
    let mut sites: Vec<Site> = ledger.iter().map(|line| line.site).collect();
    sites.sort();
    sites.dedup();
    sites.retain(|site| ledger.iter().all(|line| line.site != *site || line.mattered == 0));
    sites
}

/// The first event at which the hazards are others if these sites are muted.
fn first_difference(config: Config, last_epoch: u32, run: &[(Event, Hazards)], muted: &[Site]) -> Option<usize> {
    let mut shadow = Shadow::with_last_epoch(config, last_epoch);
    run.iter().position(|(event, hazards)| {
        if site_of(event).is_some_and(|site| muted.contains(&site)) {
            shadow.apply_muted(event);
            return false;
        }
        found_by(&mut shadow, event) != *hazards
    })
}

/// A place for a shape's line, on short pages of long lines: the judge is copied at every event.
fn place_of(shape: Shape) -> Place {
    let way = 1024 * u32::from(shape.colours).next_power_of_two();
    let geometry = CacheGeometry::with_page(way * u32::from(shape.ways), shape.ways.into(), 128, 1024).unwrap();
    let geometry = geometry.with_write_back_unit(128 / u32::from(shape.units())).unwrap();
    let place = Place::new(geometry, 5, 3, shape.groups);
    shape.code.map_or(place, |code| place.with_code(code_cache(code, &geometry).geometry))
}

struct Enumeration {
    config: Config,
    steps: Vec<Step>,
    place: Place,
    colours: Vec<usize>,
    run: Vec<(Event, Hazards)>,
    so_far: Vec<Step>,
    left_out: u64,
    mattered: u64,
}

impl Enumeration {
    fn of(shape: Shape, keep: impl Fn(&Step) -> bool, length: usize) {
        let place = place_of(shape);
        let mut all = Self {
            config: config(place.geometry, shape),
            steps: every_step(shape).into_iter().filter(one_group).filter(keep).collect(),
            place,
            colours: (0..shape.colours.max(shape.code.map_or(0, |code| code.colours)).into()).collect(),
            run: Vec::new(),
            so_far: Vec::new(),
            left_out: 0,
            mattered: 0,
        };
        let shadow = Shadow::new(all.config.with_ledger().unwrap());
        all.extend(&shadow, length);
        println!("{shape:?}: {} operations left out, {} mattered", all.left_out, all.mattered);
        assert!(all.left_out > 500 && all.mattered > 100, "too tame");
    }

    fn extend(&mut self, shadow: &Shadow, left: usize) {
        if left == 0 {
            return self.check(shadow);
        }
        for step in self.steps.clone() {
            let judged = matches!(step, Step::Access(..) | Step::Past(..) | Step::Fetch(..));
            if left == 1 && !judged || !in_order(1, &self.so_far, step) {
                continue;
            }
            let event = self.place.event(step, &self.colours, Site(1 + self.so_far.len() as u32));
            let mut shadow = shadow.clone();
            let hazards = found_by(&mut shadow, &event);
            shadow.spare.clear();
            self.run.push((event, hazards));
            self.so_far.push(step);
            self.extend(&shadow, left - 1);
            self.so_far.pop();
            self.run.pop();
        }
    }

    fn check(&mut self, shadow: &Shadow) {
        let redundant = redundant(shadow.ledger());
        self.left_out += redundant.len() as u64;
        self.mattered += shadow.ledger().iter().map(|line| line.mattered).sum::<u64>();
        let alone = redundant.iter().map(core::slice::from_ref);
        for muted in alone.chain((redundant.len() > 1).then_some(&redundant[..])) {
            if let Some(at) = first_difference(self.config, LAST_EPOCH, &self.run, muted) {
                panic!("without {muted:?} event {at} differs: {:#?}\n{:#?}", self.so_far, shadow.ledger());
            }
        }
    }
}

#[test]
fn five_events_over_two_colours() {
    Enumeration::of(
        Shape::new(2, 2, 1),
        |step| !matches!(step, Step::Index(..) | Step::Past(congruent_machine::Bypass::Uncached, ..)),
        5,
    );
}

#[test]
fn six_events_of_programs_and_devices() {
    let keep = |step: &Step| match step {
        Step::Access(..) | Step::Maintain(Maintenance::WriteBackInvalidate | Maintenance::WriteBack, _) => true,
        Step::Past(by, ..) => *by == congruent_machine::Bypass::Dma,
        _ => false,
    };
    Enumeration::of(Shape::new(2, 1, 1), keep, 6);
}

#[test]
fn five_events_with_sweeps_of_two_ways() {
    let keep = |step: &Step| {
        matches!(
            step,
            Step::Access(..)
                | Step::Index(Maintenance::WriteBackInvalidate | Maintenance::Invalidate, ..)
                | Step::Whole(Maintenance::WriteBackInvalidate | Maintenance::WriteBack, _)
                | Step::Maintain(Maintenance::WriteBack, _)
        )
    };
    Enumeration::of(Shape::new(2, 1, 2), keep, 5);
}

#[test]
fn five_events_with_fetches() {
    for fills_from_data in [false, true] {
        let shape = Shape::new(2, 1, 1).with_code(CodeShape { colours: 1, ways: 1, fills_from_data });
        let keep = |step: &Step| {
            !matches!(step, Step::Index(..) | Step::Past(congruent_machine::Bypass::Uncached, ..) | Step::Prefetch(_))
        };
        Enumeration::of(shape, keep, if fills_from_data { 4 } else { 5 });
    }
}

#[test]
fn four_events_written_through_or_without_allocation() {
    for (writes_through, write_allocate) in [(true, true), (true, false), (false, false)] {
        let shape = Shape { writes_through, write_allocate, ..Shape::new(2, 2, 1) };
        Enumeration::of(shape, |step| !matches!(step, Step::Index(..)), 4);
    }
}

#[test]
fn five_events_on_a_speculative_core() {
    let shape = Shape { speculative: true, ..Shape::new(1, 2, 1) };
    Enumeration::of(shape, |step| !matches!(step, Step::Past(congruent_machine::Bypass::Uncached, ..)), 5);
}

/// One random run: a few sites, each of which always does the same kind of thing. Returns the sites left out and the lines that mattered.
fn random_run(shape: Shape, seed: u64, last_epoch: u32) -> (usize, u64) {
    let mut random = Random::new(seed);
    let place = place_of(shape);
    let judged = config(place.geometry, shape);
    let steps = every_step(shape);
    let (operations, accesses): (Vec<Step>, Vec<Step>) =
        steps.into_iter().partition(|step| is_operation(&place.event(*step, &[0, 1, 2, 3], Site(0))));
    let lines: Vec<Place> =
        (0..4).map(|n| Place { paddr: PhysAddr(place.paddr.0 + (n % 2) * 4096 + n / 2 * 128), ..place }).collect();
    // Few accesses, so that operations are not always in between.
    let accesses: Vec<Step> = (0..6).map(|_| accesses[random.below(accesses.len())]).collect();
    let sites: Vec<Step> = (0..6).map(|_| operations[random.below(operations.len())]).collect();
    let mut shadow = Shadow::with_last_epoch(judged.with_ledger().unwrap(), last_epoch);
    let mut run: Vec<(Event, Hazards)> = Vec::new();
    for _ in 0..80 {
        let line = &lines[random.below(lines.len())];
        let event = if random.below(3) == 0 {
            let site = random.below(sites.len());
            line.event(sites[site], &[0, 1, 2, 3], Site(100 + site as u32))
        } else {
            line.event(accesses[random.below(accesses.len())], &[0, 1, 2, 3], Site(1))
        };
        run.push((event, found_by(&mut shadow, &event)));
    }
    let ledger = shadow.ledger();
    assert!(ledger.iter().all(|line| line.mattered <= line.lines), "seed {seed}: {ledger:#?}");
    let redundant = redundant(ledger);
    let some: Vec<Site> = redundant.iter().copied().filter(|_| random.below(2) == 0).collect();
    for muted in [&redundant, &some] {
        if let Some(at) = first_difference(judged, last_epoch, &run, muted) {
            panic!("seed {seed}, {shape:?}: without {muted:?} event {at} differs\n{ledger:#?}\n{:#?}", &run[..=at]);
        }
    }
    // The ledger changes nothing that is found.
    let without: Vec<Hazards> = {
        let mut shadow = Shadow::with_last_epoch(judged, last_epoch);
        run.iter().map(|(event, _)| found_by(&mut shadow, event)).collect()
    };
    assert!(run.iter().map(|(_, hazards)| hazards).eq(&without), "seed {seed}: the ledger changed what is found");
    (redundant.len(), ledger.iter().map(|line| line.mattered).sum())
}

#[test]
fn long_runs_in_which_few_sites_operate_again_and_again() {
    let code = CodeShape { colours: 1, ways: 2, fills_from_data: false };
    let served = CodeShape { colours: 1, ways: 1, fills_from_data: true };
    let shapes = [
        Shape::new(2, 2, 1),
        Shape::new(2, 2, 2),
        Shape::new(3, 1, 1),
        Shape { groups_per_unit: 1, ..Shape::new(2, 2, 1) },
        Shape::new(2, 1, 1).with_code(code),
        Shape::new(2, 1, 2).with_code(served),
        Shape { writes_through: true, ..Shape::new(2, 1, 2).with_code(code) },
        Shape { write_allocate: false, ..Shape::new(2, 2, 2) },
        Shape { writes_through: true, write_allocate: false, ..Shape::new(2, 1, 1) },
        Shape { speculative: true, ..Shape::new(1, 2, 2) },
    ];
    for (number, shape) in shapes.into_iter().enumerate() {
        let (mut left_out, mut mattered) = (0, 0);
        for seed in 0..1500 {
            let last_epoch = if seed % 4 == 3 { 5 } else { LAST_EPOCH };
            let (sites, lines) = random_run(shape, seed << 8 | number as u64, last_epoch);
            left_out += sites;
            mattered += lines;
        }
        println!("{shape:?}: {left_out} sites left out, {mattered} lines mattered");
        assert!(left_out > 500 && mattered > 500, "too tame");
    }
}

const LINE: PhysAddr = PhysAddr(0x4000);

fn access(kind: AccessKind, page: u64, offset: u64) -> Event {
    Event::Access { kind, vaddr: VirtAddr(page << 12 | offset), paddr: LINE.add(offset), size: 4, site: Site(1) }
}

fn operation(op: Maintenance, page: u64, site: u32) -> Event {
    Event::Maintain { op, scope: Scope::Line { vaddr: VirtAddr(page << 12), paddr: LINE }, site: Site(site) }
}

/// Per site, in order: operations, lines, lines that mattered.
fn booked(events: &[Event]) -> Vec<(u64, u64, u64)> {
    let mut shadow = Shadow::new(Config::new("32K,4,32".parse().unwrap()).with_ledger().unwrap());
    for event in events {
        shadow.apply(event);
    }
    assert!(shadow.findings().is_empty());
    shadow.ledger().iter().map(|line| (line.operations, line.lines, line.mattered)).collect()
}

#[test]
fn a_write_back_matters_once_somebody_else_comes_to_the_line() {
    use AccessKind::{Load, Store};
    use Maintenance::WriteBackInvalidate;
    let flush = operation(WriteBackInvalidate, 0, 9);
    let stored = [access(Store, 0, 0), flush];
    assert_eq!(booked(&stored), [(1, 1, 0)]);
    assert_eq!(booked(&[stored[0], flush, access(Load, 1, 8)]), [(1, 1, 1)]);
    // Only its own colour went on using it.
    assert_eq!(booked(&[stored[0], flush, access(Load, 0, 0), flush]), [(2, 2, 0)]);
    // Of two, the one that wrote back what was met.
    let again = operation(WriteBackInvalidate, 0, 10);
    assert_eq!(booked(&[stored[0], flush, stored[0], again, access(Load, 1, 0)]), [(1, 1, 0), (1, 1, 1)]);
    assert_eq!(booked(&[stored[0], flush, again, access(Load, 1, 0)]), [(1, 1, 1), (1, 1, 0)]);
}

#[test]
fn a_drop_matters_once_a_copy_that_would_be_old_is_asked_for() {
    use AccessKind::{Load, Store};
    use Maintenance::{Invalidate, WriteBackInvalidate};
    let (drop, flush) = (operation(Invalidate, 0, 9), operation(WriteBackInvalidate, 1, 10));
    let (held, other) = (access(Load, 0, 0), access(Store, 1, 0));
    assert_eq!(booked(&[held, drop, held]), [(1, 1, 0)]);
    assert_eq!(booked(&[held, drop, other, flush]), [(1, 1, 0), (1, 1, 0)]);
    assert_eq!(booked(&[held, drop, other, flush, held]), [(1, 1, 1), (1, 1, 1)]);
    // Nothing is held that could be dropped.
    assert_eq!(booked(&[drop, held, other]), [(1, 1, 0)]);
}

#[test]
fn a_whole_operation_covers_every_line_of_the_cache_and_one_by_index_one() {
    use AccessKind::{Load, Store};
    let whole = Event::Maintain { op: Maintenance::WriteBackInvalidate, scope: Scope::Whole, site: Site(9) };
    assert_eq!(booked(&[access(Store, 0, 0), whole, access(Load, 1, 0)]), [(1, 1024, 1)]);
    // The line may be in any way, so all four were needed.
    let sweep = (0..4).map(|way| Event::Maintain {
        op: Maintenance::WriteBackInvalidate,
        scope: Scope::Index { set: 0, way },
        site: Site(9),
    });
    let events: Vec<Event> = [access(Store, 0, 0)].into_iter().chain(sweep.clone()).chain([access(Load, 1, 0)]).collect();
    assert_eq!(booked(&events), [(4, 4, 4)]);
    let events: Vec<Event> = sweep.chain([access(Store, 0, 0)]).collect();
    assert_eq!(booked(&events), [(4, 4, 0)]);
}
