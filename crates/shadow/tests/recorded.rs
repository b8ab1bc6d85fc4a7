//! What a recording keeps is all that matters: random runs, judged whole and as kept, under many caches.

use std::collections::BTreeSet;

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_machine::Random;
use congruent_shadow::{CodeCache, Config, Consequence, Contexts, Effect, Example, Finding, HazardClass, LedgerLine, Shadow};
use congruent_trace::file::{Access, Filter, Moment};
use congruent_trace::{AccessKind, Context, DmaDirection, Event, IndexForm, Maintenance, On, Operation, Site, Target};

const FORM: IndexForm = IndexForm::WayAboveSet;
/// The caches under which a kept run must be worth as much as the whole: colours, lengths of lines and ways differ.
const CACHES: [&str; 7] = ["32K,4,32", "64K,4,32", "16K,4,32", "16K,1,16", "128K,2,128", "32K,8,64", "8K,4,16"];
/// Virtual pages through which the one frame is reached; congruent with one another under some caches.
const PAGES: [u64; 4] = [0x8000_4000, 0x0040_1000, 0x0040_2000, 0x0040_4000];
const FRAME: u64 = 0x4000;

/// What happened, and through which calls.
#[derive(Clone, Copy, Debug)]
struct Step {
    what: What,
    context: Context,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Event(Event),
    Operation(Operation),
}

/// How a run is judged: under which caches, and what is muted.
#[derive(Clone, Copy, Debug)]
struct Judging {
    caches: Config,
    muted: Option<u32>,
}

impl Judging {
    /// Whether lines are filled at every access, and at no other time.
    fn is_usual(&self) -> bool {
        self.caches.write_allocate && !self.caches.is_speculative()
    }
}

struct Judged {
    shadow: Shadow,
    judging: Judging,
}

impl Judged {
    fn new(judging: Judging) -> Self {
        Self { shadow: Shadow::new(judging.caches.with_contexts(true)), judging }
    }

    /// Whether a hazard was found in it.
    fn take(&mut self, step: &Step) -> bool {
        self.shadow.set_context(step.context);
        match step.what {
            What::Event(event) => self.shadow.apply(&event),
            What::Operation(operation) => {
                self.shadow.operate(&operation, FORM, self.judging.muted == Some(operation.site.0 % 3));
                false
            }
        }
    }

    fn findings(mut self, steps: &[Step]) -> Vec<Finding> {
        for step in steps {
            self.take(step);
        }
        self.shadow.findings().to_vec()
    }
}

/// What is kept of a run that is judged so, the findings of that judging, and how many loads and stores went the recorder's quick ways.
fn record(steps: &[Step], judging: Judging) -> (Vec<Step>, Vec<Finding>, [u64; 2]) {
    let filter = Filter::new(FORM);
    let mut filter = if judging.is_usual() { filter } else { filter.for_every_core() };
    let (mut live, mut kept, mut era, mut quiet) = (Judged::new(judging), Vec::new(), 0, [0u64; 2]);
    for step in steps {
        let now = Moment { hazardous: live.take(step), context: step.context };
        let mut keep = |age: u64, context: Option<Context>, event: &Event| {
            // Where any chain will do, one that nobody has.
            let context = context.unwrap_or(Context(u32::MAX));
            kept.push((2 * (era - age), Step { what: What::Event(*event), context }));
        };
        match step.what {
            What::Event(Event::Access { kind, vaddr, paddr, size, site }) => {
                let access = Access { kind, vaddr, paddr, size, site };
                // The ways that a recorder may take.
                match kind {
                    AccessKind::Load if !now.hazardous && filter.quiet_load(vaddr, paddr, size) => quiet[0] += 1,
                    AccessKind::Store
                        if !now.hazardous
                            && let Some(store) = filter.quiet_store(vaddr, paddr, size, site, step.context) =>
                    {
                        filter.take_store(store);
                        quiet[1] += 1;
                    }
                    AccessKind::Load | AccessKind::Store => filter.access(access, now, &mut keep),
                }
            }
            What::Event(Event::Prefetch { vaddr, paddr, site }) => filter.prefetch(vaddr, paddr, site, &mut keep),
            What::Event(Event::Fetch { vaddr, paddr, size, site }) => filter.fetch(vaddr, paddr, size, site, now, &mut keep),
            What::Event(event) => filter.bypass(&event, now, &mut keep),
            What::Operation(operation) => {
                filter.before_operation(operation, &mut keep);
                kept.push((2 * era + 1, *step));
                era += 1;
            }
        }
    }
    filter.finish(&mut |age, context, event| {
        kept.push((2 * (era - age), Step { what: What::Event(*event), context: context.unwrap_or_default() }));
    });
    // Within its era, an event comes before the operation that ends it.
    kept.sort_by_key(|(place, _)| *place);
    (kept.into_iter().map(|(_, step)| step).collect(), live.shadow.findings().to_vec(), quiet)
}

/// What follows from the findings of a run.
fn consequences(steps: &[Step], judging: Judging) -> Vec<Consequence> {
    let mut judged = Judged::new(judging);
    for step in steps {
        judged.take(step);
    }
    judged.shadow.consequences().cloned().collect()
}

/// What random runs consist of.
#[derive(Clone, Copy)]
struct Mix {
    pages: u64,
    sites: u64,
    contexts: u64,
    /// The more, the fewer steps are anything but accesses and fetches.
    only_accesses: u64,
    /// Whether instructions are fetched.
    fetches: bool,
    single_ways: bool,
}

impl Mix {
    fn random(random: &mut Random) -> Self {
        Self {
            pages: 1 + random.below(4),
            sites: 1 + random.below(6),
            contexts: 1 + random.below(3),
            only_accesses: [10, 20, 80, 400][random.below(4) as usize],
            fetches: random.below(2) == 0,
            single_ways: random.below(2) == 0,
        }
    }

    fn run(self, random: &mut Random) -> Vec<Step> {
        let length = 10 + random.below(150);
        (0..length).map(|_| Step { context: Context(1 + random.below(self.contexts) as u32), what: self.step(random) }).collect()
    }

    /// One random step. Accesses crowd at the start of a block and across its end, so that they meet.
    fn step(self, random: &mut Random) -> What {
        let vaddr_page = PAGES[random.below(self.pages) as usize];
        let size = [1, 2, 4, 4, 8][random.below(5) as usize];
        let offset = match random.below(8) {
            0 => 120 + random.below(16),
            1 => random.below(256),
            _ => random.below(12) * 4,
        };
        let offset = if size == 4 { offset & !3 } else { offset };
        let (vaddr, paddr) = (VirtAddr(vaddr_page + offset), PhysAddr(FRAME + offset));
        let site = Site(0x1000 + 4 * random.below(self.sites) as u32);
        let kind = if random.below(2) == 0 { AccessKind::Load } else { AccessKind::Store };
        let op = [Maintenance::WriteBack, Maintenance::WriteBackInvalidate, Maintenance::Invalidate][random.below(3) as usize];
        let on = if self.fetches && random.below(2) == 0 { On::Code } else { On::Data(op) };
        let operation = |target| What::Operation(Operation { on, target, site });
        match random.below(self.only_accesses) {
            0 | 1 => operation(Target::Bytes { vaddr, paddr, bytes: 1 }),
            2 => operation(Target::Bytes { vaddr, paddr, bytes: 100 }),
            3 if !self.single_ways => operation(Target::Whole),
            // The few sets around the block, in any of eight ways.
            3 => operation(Target::Index((vaddr_page as u32 & 0x3000) + (offset as u32) + ((random.below(8) as u32) << 12))),
            4 if random.below(4) == 0 => operation(Target::Whole),
            5 => What::Event(Event::Uncached { kind, paddr, size, site }),
            6 => {
                let direction = if kind == AccessKind::Load { DmaDirection::Read } else { DmaDirection::Write };
                What::Event(Event::Dma { direction, paddr, len: 40, site: Site(7) })
            }
            7 => What::Event(Event::Prefetch { vaddr, paddr, site }),
            _ if self.fetches && random.below(3) == 0 => {
                let size = size + 4 * random.below(20) as u32;
                What::Event(Event::Fetch { vaddr, paddr, size, site: Site(vaddr.0 as u32) })
            }
            _ => What::Event(Event::Access { kind, vaddr, paddr, size, site }),
        }
    }
}

fn run(random: &mut Random) -> Vec<Step> {
    Mix::random(random).run(random)
}

/// What a recording is to be good for: data caches and what they do at stores, instruction caches with shorter ways and more, and
/// mutings. Each with a random one of the ways in which its data cache may behave.
fn judgings(random: &mut Random) -> Vec<Judging> {
    let caches = CACHES.into_iter().flat_map(|cache| {
        let geometry: CacheGeometry = cache.parse().unwrap();
        let line = geometry.line();
        let code = [(8 << 10, 2, line), (32 << 10, 4, line.max(64))];
        let code = code.map(|(size, ways, line)| CacheGeometry::new(size, ways, line).unwrap());
        [None, Some(code[0]), Some(code[1])].map(|code| (geometry, code))
    });
    let mutings = caches.flat_map(|caches| [None, Some(0), Some(1)].map(|muted| (caches, muted)));
    mutings
        .map(|((geometry, code), muted)| {
            let usual = Config::new(geometry);
            let caches = match random.below(8) {
                0 => usual.writing_through(),
                1 => usual.without_write_allocate(),
                2 => usual.writing_through().without_write_allocate(),
                3 => usual.speculating().unwrap_or(usual),
                _ => usual,
            };
            let caches = code.map_or(caches, |code| caches.with_code(CodeCache::new(code)).unwrap());
            Judging { caches, muted }
        })
        .collect()
}

/// One of them.
fn some_judging(random: &mut Random) -> Judging {
    let all = judgings(random);
    all[random.below(all.len() as u64) as usize]
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
    steps.iter().any(|step| matches!(step.what, What::Operation(Operation { target: Target::Index(_), .. })))
}

/// Findings by class and consumer alone; without counts, because a hazard counts once for each of its producers. Whether a lost byte
/// is told as a stale one depends on its producers, too.
fn without_producers(findings: &[Finding]) -> BTreeSet<String> {
    let class = |finding: &Finding| match finding.class {
        HazardClass::ClobberedNeighbour | HazardClass::ReadLost => HazardClass::ReadStaleCopy,
        class => class,
    };
    findings.iter().map(|finding| format!("{:?} {:?}", class(finding), finding.consumer)).collect()
}

/// The first finding, as far as every judging of a recording must agree on it.
fn first(steps: &[Step], findings: Vec<Finding>, judging: Judging) -> Option<Finding> {
    let first = Finding { count: 0, ..without_effects_of_sweeps(findings).into_iter().next()? };
    if names_one_producer(&judging.caches.geometry) && !sweeps_single_ways(steps) {
        return Some(first);
    }
    // Of several bytes of one access, the first that is told is the oldest producer's.
    let example = Example { vaddr: None, paddr: PhysAddr(0), bytes: 0 };
    let contexts = Contexts { producer: Context::NONE, ..first.contexts };
    Some(Finding { producer: None, maintenance_between: Vec::new(), example, contexts, ..first })
}

#[test]
fn a_recording_judged_as_it_was_gives_the_same_findings() {
    let (mut found, mut taken) = (0, [0; 2]);
    for seed in 0..30_000 {
        let mut random = Random::new(seed);
        let steps = run(&mut random);
        let judging = some_judging(&mut random);
        let (kept, live, quiet) = record(&steps, judging);
        taken.iter_mut().zip(quiet).for_each(|(taken, quiet)| *taken += quiet);
        found += u32::from(!live.is_empty());
        let replayed = Judged::new(judging).findings(&kept);
        if !names_one_producer(&judging.caches.geometry) {
            assert_eq!(first(&steps, replayed, judging), first(&steps, live, judging), "seed {seed}, {judging:?}");
        } else if sweeps_single_ways(&steps) {
            assert_eq!(without_producers(&replayed), without_producers(&live), "seed {seed}, {judging:?}");
        } else {
            assert_eq!(without_effects_of_sweeps(replayed), without_effects_of_sweeps(live), "seed {seed}, {judging:?}");
            assert_eq!(consequences(&kept, judging), consequences(&steps, judging), "seed {seed}, {judging:?}");
        }
    }
    assert!(found > 24_000, "only {found} runs in which anything was found: the runs are not what they should be");
    assert!(taken.iter().all(|taken| *taken > 20_000), "{taken:?} loads and stores went the quick ways");
}

#[test]
fn a_recording_judged_otherwise_gives_the_same_verdict_and_the_same_first_finding() {
    let (mut judged, mut found) = (0, 0);
    for seed in 0..2_000 {
        let mut random = Random::new(1 << 32 | seed);
        let steps = run(&mut random);
        let recorded = some_judging(&mut random);
        let (kept, ..) = record(&steps, recorded);
        // A recording of a usual core leaves out what matters to others.
        let good_for = |judging: &Judging| judging.is_usual() || !recorded.is_usual();
        for judging in judgings(&mut random).into_iter().filter(good_for) {
            let first = |run: &[Step]| first(&steps, Judged::new(judging).findings(run), judging);
            let whole = first(&steps);
            assert_eq!(first(&kept), whole, "seed {seed}, recorded as {recorded:?}, judged as {judging:?}");
            judged += 1;
            found += u32::from(whole.is_some());
        }
    }
    assert!(
        judged > 100_000 && found > 82_000,
        "{judged} judgings, {found} that found anything: the runs are not what they should be"
    );
}

#[test]
fn most_accesses_are_not_kept() {
    let access = |kind, offset: u64, site| {
        let (vaddr, paddr) = (VirtAddr(PAGES[0] + offset), PhysAddr(FRAME + offset));
        let event = Event::Access { kind, vaddr, paddr, size: 4, site: Site(site) };
        Step { what: What::Event(event), context: Context(site) }
    };
    let fetch = |page: u64| {
        let (vaddr, paddr) = (VirtAddr(page + 0x800), PhysAddr(FRAME + 0x800));
        let event = Event::Fetch { vaddr, paddr, size: 40, site: Site(page as u32) };
        Step { what: What::Event(event), context: Context::NONE }
    };
    let sweep = Operation { on: On::Code, target: Target::Whole, site: Site(0) };
    let sweep = Step { what: What::Operation(sweep), context: Context::NONE };
    let call = [
        access(AccessKind::Store, 0, 4),
        access(AccessKind::Store, 4, 8),
        access(AccessKind::Load, 0, 12),
        fetch(PAGES[0]),
        fetch(PAGES[1]),
        sweep,
    ];
    let steps: Vec<Step> = call.into_iter().cycle().take(60_000).collect();
    let (kept, ..) = record(&steps, Judging { caches: Config::new(CACHES[0].parse().unwrap()), muted: None });
    let events = kept.iter().filter(|step| matches!(step.what, What::Event(_))).count();
    assert!(events <= 4, "{events} events of a function that is called again and again");
}

/// The ledger of a run: of each site, how many lines its operations covered and how many mattered.
fn ledger(steps: &[Step], judging: Judging) -> Vec<LedgerLine> {
    let config = judging.caches.with_ledger().unwrap();
    let mut judged = Judged { shadow: Shadow::new(config), judging };
    for step in steps {
        judged.take(step);
    }
    judged.shadow.ledger().to_vec()
}

/// Without the instruction side: which fetch a line mattered to first may be one that is not kept.
#[test]
fn a_recording_judged_as_it_was_gives_the_same_ledger() {
    let (mut needed, mut needless) = (0, 0);
    for seed in 0..10_000 {
        let mut random = Random::new(2 << 32 | seed);
        let steps = run(&mut random);
        let judging = some_judging(&mut random);
        let caches = Config::new(judging.caches.geometry).behaving(judging.caches.behaviour()).unwrap();
        let judging = Judging { caches, ..judging };
        let (kept, ..) = record(&steps, judging);
        let whole = ledger(&steps, judging);
        assert_eq!(ledger(&kept, judging), whole, "seed {seed}, {judging:?}");
        let mattered = whole.iter().filter(|line| line.mattered > 0).count();
        needed += mattered;
        needless += whole.len() - mattered;
    }
    let enough = needed > 15_000 && needless > 12_000;
    assert!(
        enough,
        "{needed} sites whose maintenance mattered and {needless} whose did not: the runs are not what they should be"
    );
}
