//! The central theorem: the machine and the judge agree.
//!
//! *No miss.* Long random programs run on the machine, beside a flat memory that always has the newest bytes. Whenever a load or a
//! device gets another byte than the flat memory has, the judge must report exactly that byte at that event. After a report the
//! lines it concerns are repaired by the means of programs (every colour written back and invalidated, then a device writes the
//! newest bytes), so both are of one mind again and the run goes on; the repair itself must not be reported.
//!
//! *No false alarm.* Short random programs run up to the judge's first report. For every byte it names, some seed of the
//! adversarial replacement must make the machine return the old byte; or, where a store is reported to be endangered, lose it
//! once everything is written back.

use std::collections::BTreeSet;

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_machine::{CacheConfig, Config, Indexing, Maintained, Random, Replacement, Writes};
use congruent_shadow::{AddressReach, CodeCache, Config as JudgeConfig, Cpus, Shadow, VirtualTags};
use congruent_trace::Event;

use crate::program::{Computer, Step, Style, is_consumer, narrowed};

/// Colours, ways, line, unit of write-back; pages are of 1 KiB.
pub(super) const SHAPES: [(u32, u32, u32, u32); 10] = [
    (1, 2, 32, 32),
    (1, 4, 64, 32),
    (2, 1, 16, 16),
    (2, 2, 32, 32),
    (2, 4, 32, 16),
    (2, 2, 128, 64),
    (4, 1, 64, 64),
    (4, 2, 32, 16),
    (16, 1, 32, 32),
    (16, 2, 128, 128),
];

fn geometry((colours, ways, line, unit): (u32, u32, u32, u32)) -> CacheGeometry {
    CacheGeometry::with_page(colours * ways * 1024, ways, line, 1024).unwrap().with_write_back_unit(unit).unwrap()
}

/// A computer of this shape, with one of several instruction caches and ways to store, by number.
pub(super) fn computer(shape: (u32, u32, u32, u32), number: u64) -> Config {
    let (colours, _, line, _) = shape;
    let geometry = geometry(shape);
    // One colour or as many as the data cache, one way or two, lines as long or twice as long.
    let [code_colours, code_ways] = [if number & 1 == 0 { 1 } else { colours }, 1 + (number >> 1 & 1) as u32];
    let code_line = if number >> 2 & 1 == 0 { line } else { (2 * line).min(128) };
    let code = CacheGeometry::with_page(code_colours * code_ways * 1024, code_ways, code_line, 1024).unwrap();
    // Half of them store into the cache, as most cores do.
    let (writes, write_allocate) = match number % 6 {
        0 => (Writes::Through, true),
        1 => (Writes::Through, false),
        2 => (Writes::Back, false),
        _ => (Writes::Back, true),
    };
    let data = CacheConfig { writes, write_allocate, ..CacheConfig::new(geometry) };
    let speculative = colours == 1 && number >> 3 & 1 != 0;
    Config { data, code: CacheConfig::new(code), speculative, ..Config::new(geometry, 4) }
}

/// The same computer with one CPU and virtual tags, which tell address spaces apart or do not.
pub(super) fn with_virtual_tags(config: Config, indexing: Indexing) -> Config {
    let data = CacheConfig { indexing, writes: Writes::Back, ..config.data };
    // Each page has a set of its own in both caches: that lines displace one another is not judged.
    let code = config.code.geometry;
    let size = config.data.geometry.way_size() * code.ways();
    let geometry = CacheGeometry::with_page(size, code.ways(), code.line(), code.page()).unwrap();
    let code = CacheConfig { indexing, geometry, ..config.code };
    Config { cpus: 1, data, code, speculative: false, ..config }
}

/// The judge of such a computer.
fn judge(config: &Config) -> Shadow {
    Shadow::new(judge_config(config))
}

/// What the judge of such a computer assumes.
pub(super) fn judge_config(config: &Config) -> JudgeConfig {
    let judge = JudgeConfig::new(config.data.geometry).with_code(CodeCache::new(config.code.geometry)).unwrap();
    let mut judge = match config.data.indexing {
        Indexing::Vivt => judge.with_virtual_tags(VirtualTags::BySpace { shared_from: VirtAddr(u64::MAX) }).unwrap(),
        Indexing::VivtUntagged => judge.with_virtual_tags(VirtualTags::Untagged).unwrap(),
        _ => judge,
    };
    judge.writes_through = config.data.writes == Writes::Through;
    judge.write_allocate = config.data.write_allocate;
    let by_address = match config.maintained {
        Maintained::Everywhere => None,
        Maintained::ByAddress => Some(AddressReach::All),
        Maintained::Here => Some(AddressReach::Own),
    };
    if let Some(by_address) = by_address {
        judge = judge.with_cpus(Cpus { count: config.cpus as u16, by_address }).unwrap();
    }
    if config.speculative { judge.speculating().unwrap() } else { judge }
}

/// Which of these bytes the judge names when these events happen: each is tried alone.
fn named(judge: &Shadow, events: &[Event], bytes: impl IntoIterator<Item = PhysAddr>) -> BTreeSet<PhysAddr> {
    let is_named = |byte: &PhysAddr| {
        let mut judge = judge.clone();
        for event in events {
            if let Some(narrow) = narrowed(event, *byte) {
                let mut alone = judge.clone();
                alone.apply(&narrow);
                if alone.stats().hazards > judge.stats().hazards {
                    return true;
                }
            }
            judge.apply(event);
        }
        false
    };
    bytes.into_iter().filter(is_named).collect()
}

/// Runs one long program; returns how many old bytes were returned, and how many reports there were.
fn run(config: Config, seed: u64) -> (u64, u64) {
    let (geometry, replacement, cpus) = (config.data.geometry, config.replacement, config.cpus);
    let mut computer = Computer::new(config);
    let mut judge = judge(&config);
    let mut random = Random::new(seed);
    let style = Style::long(&mut random, &config);
    let (mut old_bytes, mut reports) = (0, 0);
    for number in 0..300 {
        let step = style.step(number, &mut random, &geometry);
        let old = computer.take(&step);
        let events = computer.events();
        if !old.is_empty() {
            let seen = named(&judge, &events, old.iter().copied());
            assert_eq!(
                seen, old,
                "missed: {geometry} {:?} {replacement:?}, {cpus} CPUs, seed {seed}, step {number}: {step:?}",
                config.data.indexing
            );
            old_bytes += old.len() as u64;
        }
        let before = judge.stats().hazards;
        for event in &events {
            judge.apply(event);
        }
        let after = judge.stats().hazards;
        if after > before {
            reports += after - before;
            computer.repair(&step);
            for event in &computer.events() {
                judge.apply(event);
            }
            assert_eq!(judge.stats().hazards, after, "a repair was reported: {geometry}, seed {seed}, step {number}: {step:?}");
        }
    }
    (old_bytes, reports)
}

#[test]
fn whenever_the_machine_returns_an_old_byte_the_judge_has_named_it() {
    let first = 0;
    for replacement in [Replacement::Adversarial, Replacement::Random, Replacement::Lru] {
        let (mut old_bytes, mut reports) = (0, 0);
        for (number, shape) in SHAPES.into_iter().enumerate() {
            for cpus in [1, 2] {
                for seed in first..first + 40 {
                    let seed = seed * SHAPES.len() as u64 + number as u64;
                    let (old, reported) = run(Config { replacement, cpus, seed, ..computer(shape, seed) }, seed);
                    old_bytes += old;
                    reports += reported;
                }
            }
        }
        println!("{replacement:?}: {old_bytes} old bytes returned, all of them named; {reports} reports");
        assert!(old_bytes > 2000, "{replacement:?}: only {old_bytes} old bytes: the programs are not what they should be");
    }
}

/// The steps of a random short program up to and including the first that the judge reports, and the bytes it names.
fn first_report(config: &Config, random: &mut Random) -> Option<(Vec<Step>, BTreeSet<PhysAddr>)> {
    let geometry = &config.data.geometry;
    let style = Style::short(random, config);
    let mut computer = Computer::new(*config);
    let mut judge = judge(config);
    let mut steps = Vec::new();
    for number in 0..7 {
        let step = style.step(number, random, geometry);
        computer.take(&step);
        let events = computer.events();
        let before = judge.clone();
        for event in &events {
            judge.apply(event);
        }
        steps.push(step);
        if judge.stats().hazards > 0 {
            let bytes = events.iter().filter(|event| is_consumer(event)).flat_map(crate::program::bytes);
            return Some((steps, named(&before, &events, bytes)));
        }
    }
    None
}

/// Seeds tried before a report is called a false alarm. All but few reports are shown by the first hundred.
const SEEDS: u64 = 30_000;

/// Tries seeds until every named byte was returned old, or lost; returns how many it took.
fn earn(config: &Config, steps: &[Step], named: &BTreeSet<PhysAddr>) -> Result<u64, BTreeSet<PhysAddr>> {
    let mut left = named.clone();
    let (last, before) = steps.split_last().expect("a report has an event");
    for seed in 0..SEEDS {
        let replacement = Replacement::Adversarial;
        let mut computer = Computer::new(Config { replacement, seed, ..*config });
        before.iter().for_each(|step| drop(computer.take(step)));
        let old = computer.take(last);
        assert!(old.is_subset(named), "missed: seed {seed} shows {old:?}, named are {named:?}, of {steps:?}");
        left.retain(|byte| !old.contains(byte));
        if last.stores() {
            let lost = computer.lost_once_written_back(last);
            left.retain(|byte| !lost.contains(byte));
        }
        if left.is_empty() {
            return Ok(seed + 1);
        }
    }
    Err(left)
}

#[test]
fn for_every_byte_that_the_judge_names_first_some_schedule_shows_the_old_one() {
    let (mut reports, mut most) = (0, 0);
    for (number, shape) in SHAPES.into_iter().enumerate() {
        for seed in 0..600 {
            let seed = seed * SHAPES.len() as u64 + number as u64;
            let mut random = Random::new(seed);
            let cpus = 1 + random.index(2);
            let config = Config { cpus, ..computer(shape, random.below(24)) };
            let Some((steps, named)) = first_report(&config, &mut random) else { continue };
            match earn(&config, &steps, &named) {
                Ok(seeds) => most = most.max(seeds),
                Err(left) => panic!("false alarm: {config:?}, seed {seed}: no schedule shows {left:?} of {steps:?}"),
            }
            reports += 1;
        }
    }
    println!("{reports} reports, each byte shown; the hardest took {most} seeds");
    assert!(reports > 1000, "only {reports} reports: the programs are not what they should be");
}

/// The same computer with two CPUs that are maintained one by one.
pub(super) fn with_cpus(config: Config, maintained: Maintained) -> Config {
    let data = CacheConfig { writes: Writes::Back, write_allocate: true, ..config.data };
    Config { cpus: 2, maintained, data, speculative: false, ..config }
}

const ONE_BY_ONE: [Maintained; 2] = [Maintained::ByAddress, Maintained::Here];

#[test]
fn whenever_one_of_two_cpus_returns_an_old_byte_the_judge_has_named_it() {
    for maintained in ONE_BY_ONE {
        let mut old_bytes = 0;
        for replacement in [Replacement::Adversarial, Replacement::Random, Replacement::Lru] {
            for (number, shape) in SHAPES.into_iter().enumerate() {
                for seed in 0..20 {
                    let seed = seed * SHAPES.len() as u64 + number as u64;
                    let config = Config { replacement, seed, ..computer(shape, seed) };
                    old_bytes += run(with_cpus(config, maintained), seed).0;
                }
            }
        }
        println!("{maintained:?}: {old_bytes} old bytes returned, all of them named");
        assert!(old_bytes > 2000, "{maintained:?}: only {old_bytes} old bytes: the programs are not what they should be");
    }
}

#[test]
fn for_every_byte_that_the_judge_names_first_some_schedule_of_two_cpus_shows_the_old_one() {
    for maintained in ONE_BY_ONE {
        let (mut reports, mut most) = (0, 0);
        for (number, shape) in SHAPES.into_iter().enumerate() {
            for seed in 0..150 {
                let seed = seed * SHAPES.len() as u64 + number as u64;
                let mut random = Random::new(seed);
                let config = with_cpus(computer(shape, random.below(24)), maintained);
                let Some((steps, named)) = first_report(&config, &mut random) else { continue };
                match earn(&config, &steps, &named) {
                    Ok(seeds) => most = most.max(seeds),
                    Err(left) => panic!("false alarm: {config:?}, seed {seed}: no schedule shows {left:?} of {steps:?}"),
                }
                reports += 1;
            }
        }
        println!("{maintained:?}: {reports} reports, each byte shown; the hardest took {most} seeds");
        assert!(reports > 200, "{maintained:?}: only {reports} reports: the programs are not what they should be");
    }
}

pub(super) const VIRTUAL_TAGS: [Indexing; 2] = [Indexing::Vivt, Indexing::VivtUntagged];

#[test]
fn whenever_a_virtually_tagged_cache_returns_an_old_byte_or_another_frames_the_judge_has_named_it() {
    for indexing in VIRTUAL_TAGS {
        let mut old_bytes = 0;
        for replacement in [Replacement::Adversarial, Replacement::Random, Replacement::Lru] {
            for (number, shape) in SHAPES.into_iter().enumerate() {
                for seed in 0..20 {
                    let seed = seed * SHAPES.len() as u64 + number as u64;
                    let config = Config { replacement, seed, ..computer(shape, seed) };
                    old_bytes += run(with_virtual_tags(config, indexing), seed).0;
                }
            }
        }
        println!("{indexing:?}: {old_bytes} wrong bytes returned, all of them named");
        assert!(old_bytes > 2000, "{indexing:?}: only {old_bytes} wrong bytes: the programs are not what they should be");
    }
}

#[test]
fn for_every_byte_that_the_judge_names_first_some_virtually_tagged_cache_shows_the_wrong_one() {
    for indexing in VIRTUAL_TAGS {
        let (mut reports, mut most) = (0, 0);
        for (number, shape) in SHAPES.into_iter().enumerate() {
            for seed in 0..200 {
                let seed = seed * SHAPES.len() as u64 + number as u64;
                let mut random = Random::new(seed);
                let config = with_virtual_tags(computer(shape, random.below(24)), indexing);
                let Some((steps, named)) = first_report(&config, &mut random) else { continue };
                match earn(&config, &steps, &named) {
                    Ok(seeds) => most = most.max(seeds),
                    Err(left) => panic!("false alarm: {config:?}, seed {seed}: no schedule shows {left:?} of {steps:?}"),
                }
                reports += 1;
            }
        }
        println!("{indexing:?}: {reports} reports, each byte shown; the hardest took {most} seeds");
        assert!(reports > 200, "{indexing:?}: only {reports} reports: the programs are not what they should be");
    }
}
