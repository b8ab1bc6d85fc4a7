//! The old bytes that the judge gives out, and those that the machine returns.
//!
//! *None is withheld.* Long random programs run on the machine, and nothing is repaired. Whenever a load or a device gets another byte than the flat
//! memory has, the judge of the worst schedules must give an old one there, at that very event.
//!
//! *None is made up.* Short random programs run until the judge gives old bytes, of all schedules or of one by a seed. For each of them some seed
//! of the adversarial replacement must make the machine return that very byte.
//!
//! Under virtual tags a program ends where a store may go to another frame's copy: the judge holds that to be mended.

use std::collections::BTreeMap;

use congruent_geometry::{CacheGeometry, PhysAddr};
use congruent_machine::{Config, Maintained, Random, Replacement};
use congruent_shadow::{HazardClass, Schedules, Shadow};
use congruent_trace::{AccessKind, DmaDirection, Event};

use crate::program::{Computer, Step, Style};
use crate::theorem::{SHAPES, VIRTUAL_TAGS, computer, judge_config, with_cpus, with_virtual_tags};

fn judge(config: &Config, schedules: Schedules) -> Shadow {
    Shadow::new(judge_config(config).with_bytes(schedules).unwrap())
}

/// What the judge gives when these events happen, by address. `before` is what memory would have had before them, without caches.
fn given(judge: &mut Shadow, geometry: &CacheGeometry, before: &[u8], step: &Step, events: &[Event]) -> BTreeMap<PhysAddr, u8> {
    let mut given = BTreeMap::new();
    for event in events {
        if let Event::Access { paddr, .. } | Event::Fetch { paddr, .. } | Event::Prefetch { paddr, .. } = *event {
            let page = judge.page(geometry.frame(paddr));
            if judge.lacks_bytes(page) {
                let start = geometry.frame_base(geometry.frame(paddr)).0 as usize;
                judge.tell_page(page, &before[start..start + geometry.page() as usize]);
            }
        }
        let stored = match *event {
            Event::Access { kind: AccessKind::Store, paddr, size, .. }
            | Event::Uncached { kind: AccessKind::Store, paddr, size, .. } => Some((paddr, size.into())),
            Event::Dma { direction: DmaDirection::Write, paddr, len, .. } => Some((paddr, len)),
            _ => None,
        };
        if let (Some((paddr, len)), Some(value)) = (stored, step.value()) {
            judge.tell_storing(paddr, &vec![value; len as usize]);
        }
        judge.apply(event);
        given.extend(judge.take_old_bytes().into_iter().flat_map(|old| old.bytes));
    }
    given
}

/// Without what is not modelled of the bytes.
fn plain(config: Config) -> Config {
    Config { speculative: false, ..config }
}

/// Whether a store may have gone to another frame's copy, and be missing where it belongs.
fn is_astray(judge: &Shadow) -> bool {
    let found = judge.findings().iter().map(|finding| finding.class);
    found.chain(judge.consequences().map(|consequence| consequence.finding.class)).any(|class| class == HazardClass::WriteHomonym)
}

/// Runs one long program; how many old bytes were returned, and how many were given.
fn run(config: Config, seed: u64) -> (u64, u64) {
    let mut computer = Computer::new(config);
    let mut judge = judge(&config, Schedules::Worst);
    let mut random = Random::new(seed);
    let style = Style::long(&mut random, &config);
    let (mut returned, mut all) = (0, 0);
    for number in 0..200 {
        let step = style.step(number, &mut random, &config.data.geometry);
        let before = computer.newest().to_vec();
        let old = computer.take(&step);
        let given = given(&mut judge, &config.data.geometry, &before, &step, &computer.events());
        all += given.len() as u64;
        // Fetches are given nothing.
        for byte in old.iter().filter(|_| !matches!(step, Step::Fetch { .. })) {
            returned += 1;
            assert!(
                given.contains_key(byte),
                "{config:?}, seed {seed}, step {number}: {step:?} returned an old byte at {byte}, and none is given"
            );
        }
        if is_astray(&judge) {
            break;
        }
    }
    (returned, all)
}

#[test]
fn whenever_the_machine_returns_an_old_byte_the_judge_gives_one() {
    for replacement in [Replacement::Adversarial, Replacement::Lru] {
        let (mut returned, mut all) = (0, 0);
        for (number, shape) in SHAPES.into_iter().enumerate() {
            for seed in 0..8 {
                let seed = seed * SHAPES.len() as u64 + number as u64;
                let config = plain(Config { replacement, seed, ..computer(shape, seed) });
                let two = |maintained| with_cpus(config, maintained);
                for config in [config, Config { cpus: 2, ..config }, two(Maintained::ByAddress), two(Maintained::Here)] {
                    let (old, given) = run(config, seed);
                    (returned, all) = (returned + old, all + given);
                }
            }
        }
        println!("{replacement:?}: {returned} old bytes returned, one given for each; {all} given");
        assert!(returned > 2000, "{replacement:?}: only {returned} old bytes: the programs are not what they should be");
    }
}

#[test]
fn whenever_a_virtually_tagged_machine_returns_a_wrong_byte_the_judge_gives_one() {
    for indexing in VIRTUAL_TAGS {
        let (mut returned, mut all) = (0, 0);
        for replacement in [Replacement::Adversarial, Replacement::Lru] {
            for (number, shape) in SHAPES.into_iter().enumerate() {
                for seed in 0..30 {
                    let seed = seed * SHAPES.len() as u64 + number as u64;
                    let config = with_virtual_tags(plain(Config { replacement, seed, ..computer(shape, seed) }), indexing);
                    let (old, given) = run(config, seed);
                    (returned, all) = (returned + old, all + given);
                }
            }
        }
        println!("{indexing:?}: {returned} wrong bytes returned, one given for each; {all} given");
        assert!(returned > 2000, "{indexing:?}: only {returned} wrong bytes: the programs are not what they should be");
    }
}

/// The steps of a random short program up to the first at which the judge gives old bytes, and those bytes.
fn first_given(config: &Config, schedules: Schedules, random: &mut Random) -> Option<(Vec<Step>, BTreeMap<PhysAddr, u8>)> {
    let style = Style::short(random, config);
    let mut computer = Computer::new(*config);
    let mut judge = judge(config, schedules);
    let mut steps = Vec::new();
    for number in 0..9 {
        let step = style.step(number, random, &config.data.geometry);
        let before = computer.newest().to_vec();
        computer.take(&step);
        let given = given(&mut judge, &config.data.geometry, &before, &step, &computer.events());
        steps.push(step);
        if !given.is_empty() {
            return Some((steps, given));
        }
    }
    None
}

/// Seeds tried before a byte is called made up.
const SEEDS: u64 = 30_000;

/// Tries seeds until each of these was returned; those that were not.
fn made_up(config: &Config, steps: &[Step], mut left: BTreeMap<PhysAddr, u8>) -> BTreeMap<PhysAddr, u8> {
    for seed in 0..SEEDS {
        let mut computer = Computer::new(Config { replacement: Replacement::Adversarial, seed, ..*config });
        for step in steps {
            computer.take(step);
        }
        for (byte, value) in computer.loaded() {
            if left.get(byte) == Some(value) {
                left.remove(byte);
            }
        }
        if left.is_empty() {
            break;
        }
    }
    left
}

/// Short programs, as many for each shape, on computers that `of` makes with some chance; of how many were bytes given, each returned.
fn each_is_returned(seeded: bool, programs: u64, of: impl Fn((u32, u32, u32, u32), &mut Random) -> Config) -> u64 {
    let mut tried = 0;
    for (number, shape) in SHAPES.into_iter().enumerate() {
        for seed in 0..programs {
            let seed = seed * SHAPES.len() as u64 + number as u64;
            let mut random = Random::new(seed);
            let config = plain(of(shape, &mut random));
            let schedules = if seeded { Schedules::Seed(seed) } else { Schedules::Worst };
            let Some((steps, given)) = first_given(&config, schedules, &mut random) else { continue };
            let left = made_up(&config, &steps, given);
            assert!(left.is_empty(), "{config:?}, {schedules:?}: no schedule returns {left:?} at the end of {steps:?}");
            tried += 1;
        }
    }
    tried
}

#[test]
fn every_byte_that_the_judge_gives_the_machine_returns_under_some_seed() {
    for seeded in [false, true] {
        let of = |shape, random: &mut Random| Config { cpus: 1 + random.index(2), ..computer(shape, random.below(24)) };
        let tried = each_is_returned(seeded, 600, of);
        println!("seeded, {seeded}: the bytes of {tried} programs, each returned");
        assert!(tried > 200, "only {tried} programs: they are not what they should be");
    }
}

#[test]
fn every_byte_that_the_judge_gives_a_virtually_tagged_machine_returns_under_some_seed() {
    for (indexing, seeded) in VIRTUAL_TAGS.into_iter().flat_map(|indexing| [(indexing, false), (indexing, true)]) {
        let of = |shape, random: &mut Random| with_virtual_tags(computer(shape, random.below(24)), indexing);
        let tried = each_is_returned(seeded, 200, of);
        println!("{indexing:?}, seeded, {seeded}: the bytes of {tried} programs, each returned");
        assert!(tried > 100, "{indexing:?}: only {tried} programs: they are not what they should be");
    }
}
