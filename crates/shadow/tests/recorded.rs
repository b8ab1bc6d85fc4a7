//! What a recording keeps is all that matters: random runs, judged whole and as kept, under many caches.

use std::collections::BTreeSet;

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_machine::Random;
use congruent_shadow::{Config, Effect, Example, Finding, LedgerLine, Shadow};
use congruent_trace::file::{ChainId, Filter, Operation, Target};
use congruent_trace::{AccessKind, DmaDirection, Event, IndexForm, Maintenance, Site};

const FORM: IndexForm = IndexForm::WayAboveSet;
/// The caches under which a kept run must be worth as much as the whole: colours, lengths of lines and ways differ.
const CACHES: [&str; 7] = ["32K,4,32", "64K,4,32", "16K,4,32", "16K,1,16", "128K,2,128", "32K,8,64", "8K,4,16"];
/// Virtual pages through which the one frame is reached; congruent with one another under some caches.
const PAGES: [u64; 4] = [0x8000_4000, 0x0040_1000, 0x0040_2000, 0x0040_4000];
const FRAME: u64 = 0x4000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Event(Event),
    Operation(Operation),
}

/// How a run is judged: under which cache, and what is muted.
#[derive(Clone, Copy, Debug)]
struct Judging {
    geometry: CacheGeometry,
    muted: Option<u32>,
}

struct Judged {
    shadow: Shadow,
    judging: Judging,
}

impl Judged {
    fn new(judging: Judging) -> Self {
        Self { shadow: Shadow::new(Config::new(judging.geometry)), judging }
    }

    /// Whether a hazard was found in it.
    fn take(&mut self, step: &Step) -> bool {
        let before = self.shadow.hazards();
        match step {
            Step::Event(event) => self.shadow.apply(event),
            Step::Operation(operation) => {
                for event in operation.events(&self.judging.geometry, FORM) {
                    if self.judging.muted == Some(operation.site.0 % 3) {
                        self.shadow.apply_muted(&event);
                    } else {
                        self.shadow.apply(&event);
                    }
                }
            }
        }
        self.shadow.hazards() > before
    }

    fn findings(mut self, steps: &[Step]) -> Vec<Finding> {
        for step in steps {
            self.take(step);
        }
        self.shadow.findings().to_vec()
    }
}

/// What is kept of a run that is judged so, and the findings of that judging.
fn record(steps: &[Step], judging: Judging) -> (Vec<Step>, Vec<Finding>) {
    let (mut live, mut filter, mut kept, mut era) = (Judged::new(judging), Filter::new(), Vec::new(), 0);
    for step in steps {
        let hazardous = live.take(step);
        let mut keep = |age: u64, event: &Event| kept.push((2 * (era - age), Step::Event(*event)));
        match step {
            Step::Event(Event::Access { kind, vaddr, paddr, size, site }) => {
                filter.access(*kind, *vaddr, *paddr, *size, *site, hazardous, &mut keep);
            }
            Step::Event(Event::Prefetch { vaddr, paddr, site }) => filter.prefetch(*vaddr, *paddr, *site, &mut keep),
            Step::Event(event) => filter.bypass(event, &mut keep),
            Step::Operation(operation) => {
                filter.before_operation(operation.op, operation.target, &mut keep);
                kept.push((2 * era + 1, *step));
                era += 1;
            }
        }
    }
    filter.finish(&mut |age: u64, event: &Event| kept.push((2 * (era - age), Step::Event(*event))));
    // Within its era, an event comes before the operation that ends it.
    kept.sort_by_key(|(place, _)| *place);
    (kept.into_iter().map(|(_, step)| step).collect(), live.shadow.findings().to_vec())
}

/// One random step. Accesses crowd at the start of a block and across its end, so that they meet.
fn step(random: &mut Random, pages: u64, sites: u64, only_accesses: u64) -> Step {
    let vaddr_page = PAGES[random.below(pages) as usize];
    let size = [1, 2, 4, 4, 8][random.below(5) as usize];
    let offset = match random.below(8) {
        0 => 120 + random.below(16),
        1 => random.below(256),
        _ => random.below(12) * 4,
    };
    let offset = if size == 4 { offset & !3 } else { offset };
    let (vaddr, paddr) = (VirtAddr(vaddr_page + offset), PhysAddr(FRAME + offset));
    let site = Site(0x1000 + 4 * random.below(sites) as u32);
    let kind = if random.below(2) == 0 { AccessKind::Load } else { AccessKind::Store };
    let op = [Maintenance::WriteBack, Maintenance::WriteBackInvalidate, Maintenance::Invalidate][random.below(3) as usize];
    let operation = |target| Step::Operation(Operation { op, target, site, chain: ChainId(0), muted: false });
    match random.below(only_accesses) {
        0 | 1 => operation(Target::Bytes { vaddr, paddr, bytes: 1 }),
        2 => operation(Target::Bytes { vaddr, paddr, bytes: 100 }),
        // The few sets around the block, in any of eight ways.
        3 => operation(Target::Index((vaddr_page as u32 & 0x3000) + (offset as u32) + ((random.below(8) as u32) << 12))),
        4 if random.below(4) == 0 => operation(Target::Whole),
        5 => Step::Event(Event::Uncached { kind, paddr, size, site }),
        6 => {
            let direction = if kind == AccessKind::Load { DmaDirection::Read } else { DmaDirection::Write };
            Step::Event(Event::Dma { direction, paddr, len: 40, site: Site(7) })
        }
        7 => Step::Event(Event::Prefetch { vaddr, paddr, site }),
        _ => Step::Event(Event::Access { kind, vaddr, paddr, size, site }),
    }
}

fn run(random: &mut Random) -> Vec<Step> {
    let (pages, sites) = (1 + random.below(4), 1 + random.below(6));
    let only_accesses = [8, 20, 80, 400][random.below(4) as usize];
    let length = 10 + random.below(150);
    let single_ways = random.below(2) == 0;
    let whole = |step| match step {
        Step::Operation(operation) if !single_ways && matches!(operation.target, Target::Index(_)) => {
            Step::Operation(Operation { target: Target::Whole, ..operation })
        }
        other => other,
    };
    (0..length).map(|_| whole(step(random, pages, sites, only_accesses))).collect()
}

fn judgings() -> impl Iterator<Item = Judging> {
    let geometries = CACHES.into_iter().map(|cache| cache.parse().unwrap());
    geometries.flat_map(|geometry| [None, Some(0), Some(1)].map(|muted| Judging { geometry, muted }))
}

/// Findings without what sweeps are said to have done to the line: the judge knows that only as exactly as the line was looked at
/// in between, and so one of two sweeps in a row may be told as the one that did it.
fn without_effects_of_sweeps(mut findings: Vec<Finding>) -> Vec<Finding> {
    let past = findings.iter_mut().flat_map(|finding| &mut finding.maintenance_between);
    past.filter(|past| past.colour.is_none()).for_each(|past| past.effect = Effect::Nothing);
    findings
}

/// Whether a producer is always the same. The judge remembers the last store per 64 bytes where lines are of 16, and tells four
/// writers of a line apart, of which a long line can have more: which of them it names depends on accesses that are not kept.
fn names_one_producer(geometry: &CacheGeometry) -> bool {
    (32..=64).contains(&geometry.line())
}

/// Whether single ways were swept. A line of which that happened between its stores gets a record of its own in the judge, at the
/// next access; until then all its stores are told as the last one. So who is named depends on accesses that are not kept.
fn sweeps_single_ways(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::Operation(Operation { target: Target::Index(_), .. })))
}

/// Findings by class and consumer alone; without counts, because a hazard counts once for each of its producers.
fn without_producers(findings: &[Finding]) -> BTreeSet<String> {
    findings.iter().map(|finding| format!("{:?} {:?}", finding.class, finding.consumer)).collect()
}

/// The first finding, as far as every judging of a recording must agree on it.
fn first(steps: &[Step], findings: Vec<Finding>, judging: Judging) -> Option<Finding> {
    let first = Finding { count: 0, ..without_effects_of_sweeps(findings).into_iter().next()? };
    if names_one_producer(&judging.geometry) && !sweeps_single_ways(steps) {
        return Some(first);
    }
    // Of several bytes of one access, the first that is told is the oldest producer's.
    let example = Example { vaddr: None, paddr: PhysAddr(0), bytes: 0 };
    Some(Finding { producer: None, maintenance_between: Vec::new(), example, ..first })
}

#[test]
fn a_recording_judged_as_it_was_gives_the_same_findings() {
    for seed in 0..30_000 {
        let mut random = Random::new(seed);
        let steps = run(&mut random);
        let judging = judgings().nth(random.below(21) as usize).unwrap();
        let (kept, live) = record(&steps, judging);
        let replayed = Judged::new(judging).findings(&kept);
        if !names_one_producer(&judging.geometry) {
            assert_eq!(first(&steps, replayed, judging), first(&steps, live, judging), "seed {seed}, {judging:?}");
        } else if sweeps_single_ways(&steps) {
            assert_eq!(without_producers(&replayed), without_producers(&live), "seed {seed}, {judging:?}");
        } else {
            assert_eq!(without_effects_of_sweeps(replayed), without_effects_of_sweeps(live), "seed {seed}, {judging:?}");
        }
    }
}

#[test]
fn a_recording_judged_otherwise_gives_the_same_verdict_and_the_same_first_finding() {
    for seed in 0..2_000 {
        let mut random = Random::new(1 << 32 | seed);
        let steps = run(&mut random);
        let recorded = judgings().nth(random.below(21) as usize).unwrap();
        let (kept, _) = record(&steps, recorded);
        for judging in judgings() {
            let first = |run: &[Step]| first(&steps, Judged::new(judging).findings(run), judging);
            assert_eq!(first(&kept), first(&steps), "seed {seed}, recorded as {recorded:?}, judged as {judging:?}");
        }
    }
}

#[test]
fn most_accesses_are_not_kept() {
    let access = |kind, offset: u64, site| {
        let (vaddr, paddr) = (VirtAddr(PAGES[0] + offset), PhysAddr(FRAME + offset));
        Step::Event(Event::Access { kind, vaddr, paddr, size: 4, site: Site(site) })
    };
    let call = [access(AccessKind::Store, 0, 4), access(AccessKind::Store, 4, 8), access(AccessKind::Load, 0, 12)];
    let steps: Vec<Step> = call.into_iter().cycle().take(30_000).collect();
    let (kept, _) = record(&steps, judgings().next().unwrap());
    assert!(kept.len() <= 4, "{} events of a function that is called again and again", kept.len());
}

/// The ledger of a run: of each site, how many lines its operations covered and how many mattered.
fn ledger(steps: &[Step], judging: Judging) -> Vec<LedgerLine> {
    let config = Config::new(judging.geometry).with_ledger().unwrap();
    let mut judged = Judged { shadow: Shadow::new(config), judging };
    for step in steps {
        judged.take(step);
    }
    judged.shadow.ledger().to_vec()
}

#[test]
fn a_recording_judged_as_it_was_gives_the_same_ledger() {
    for seed in 0..10_000 {
        let mut random = Random::new(2 << 32 | seed);
        let steps = run(&mut random);
        let judging = judgings().nth(random.below(21) as usize).unwrap();
        let (kept, _) = record(&steps, judging);
        assert_eq!(ledger(&kept, judging), ledger(&steps, judging), "seed {seed}, {judging:?}");
    }
}
