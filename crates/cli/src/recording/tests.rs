//! A replay is a check over again: random runs, given to a judge as they happen and through a recording, come to the same.
//!
//! Nothing is left out of the recording here (what may be is the theorem of `crates/shadow/tests/recorded.rs`), and the judge on the
//! spot is given maintenance line by line, by rules that are written down once more below. So whatever coding, decoding or
//! taking apart does to an operation would be seen, in findings, the ledger or the counters.

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_machine::Random;
use congruent_shadow::{CodeCache, Config, Shadow};
use congruent_trace::file::{ChainId, Header, Layout, Recorded, VERSION, Validity, Writer};
use congruent_trace::{AccessKind, DmaDirection, Event, IndexForm, Maintenance, On, Operation, Scope, Site, Target};

use super::{Muting, judge};

const RUNS: u64 = 1_000;
const STEPS: u64 = 160;
const PAGE: u64 = 4096;
const FORMS: [IndexForm; 3] = [IndexForm::WayAboveSet, IndexForm::WayOnTop, IndexForm::Resolved];

#[derive(Clone, Copy, Debug)]
enum Step {
    Event(Event),
    /// And whether it is muted.
    Operation(Operation, bool),
}

fn some<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(of.len() as u64) as usize]
}

fn caches(random: &mut Random) -> Config {
    let data: CacheGeometry = some(random, &["32K,4,32", "16K,1,16", "128K,2,128", "32K,8,64"]).parse().unwrap();
    let usual = Config::new(data);
    let usual = match random.below(4) {
        0 => usual.writing_through(),
        1 => usual.without_write_allocate(),
        2 => usual.speculating().unwrap_or(usual),
        _ => usual,
    };
    let code = CacheGeometry::new(32 << 10, 4, data.line().max(64)).unwrap();
    let usual = if random.below(2) == 0 { usual.with_code(CodeCache::new(code)).unwrap() } else { usual };
    usual.with_contexts(true).with_ledger().unwrap()
}

/// Two frames, each reached through two pages, near the ends of lines and pages.
fn step(random: &mut Random, caches: &Config, form: IndexForm) -> Step {
    let frame = random.below(2);
    let vpage = some(random, &[0x8000_4000, 0x0040_1000]) + frame * 0x2000;
    let offset = some(random, &[0, 4, 12, 28, 30, 60, 100, 124, 0xff0, 0xffc]);
    let (vaddr, paddr) = (VirtAddr(vpage + offset), PhysAddr(0x4000 + frame * PAGE + offset));
    let size = some(random, &[1, 2, 4]);
    let site = Site(0x1000 + 4 * random.below(5) as u32);
    let (kind, direction) = some(random, &[(AccessKind::Load, DmaDirection::Read), (AccessKind::Store, DmaDirection::Write)]);
    let on = some(random, &[Maintenance::WriteBack, Maintenance::Invalidate, Maintenance::WriteBackInvalidate].map(On::Data));
    let on = if random.below(4) == 0 { On::Code } else { on };
    let muted = random.below(6) == 0;
    let operation = |target| Step::Operation(Operation { on, target, site }, muted);
    match random.below(24) {
        0..4 => operation(Target::Bytes { vaddr, paddr, bytes: 1 }),
        4 | 5 => {
            let bytes = (1 + random.below(300)).min(PAGE - offset) as u32;
            operation(Target::Bytes { vaddr, paddr, bytes })
        }
        6..9 => {
            let (set, way) = ((vaddr.0 as u32 >> caches.geometry.line_shift()) % caches.geometry.sets(), random.below(4) as u32);
            operation(Target::Index(match form {
                IndexForm::WayAboveSet => vaddr.0 as u32 & 0xffff | way << 13,
                IndexForm::WayOnTop => set << caches.geometry.line_shift() | way << 30,
                IndexForm::Resolved => IndexForm::resolved(set, way),
            }))
        }
        9 => operation(Target::Whole),
        10 => Step::Event(Event::Uncached { kind, paddr, size, site }),
        11 => Step::Event(Event::Prefetch { vaddr, paddr, site }),
        12 => Step::Event(Event::Dma { direction, paddr, len: 40, site: Site(7) }),
        13 | 14 => Step::Event(Event::Fetch { vaddr, paddr, size, site: Site(vaddr.0 as u32) }),
        _ => Step::Event(Event::Access { kind, vaddr, paddr, size, site }),
    }
}

/// The lines, or the set and way, of an operation in a cache of this shape, by the manuals.
fn scopes(target: Target, cache: &CacheGeometry, form: IndexForm) -> Vec<Scope> {
    let (line, sets, ways) = (cache.line(), cache.sets(), cache.ways());
    match target {
        Target::Whole => vec![Scope::Whole],
        Target::Index(operand) => vec![match form {
            IndexForm::WayAboveSet => Scope::Index { set: operand / line % sets, way: operand / line / sets % ways },
            IndexForm::WayOnTop => {
                Scope::Index { set: operand / line % sets, way: ((u64::from(operand) * u64::from(ways)) >> 32) as u32 }
            }
            IndexForm::Resolved => Scope::Index { set: operand / 256, way: operand % 256 },
        }],
        Target::Bytes { vaddr, paddr, bytes } => {
            let starts = |byte: &u64| *byte == 0 || (vaddr.0 + byte).is_multiple_of(line.into());
            let scope = |byte| Scope::Line { vaddr: VirtAddr(vaddr.0 + byte), paddr: PhysAddr(paddr.0 + byte) };
            (0..u64::from(bytes)).filter(starts).map(scope).collect()
        }
    }
}

/// Gives a step to a judge as it happens.
fn take(judge: &mut Shadow, caches: &Config, form: IndexForm, step: &Step) {
    let (operation, muted) = match step {
        Step::Event(event) => {
            judge.apply(event);
            return;
        }
        Step::Operation(operation, muted) => (operation, *muted),
    };
    let cache = match operation.on {
        On::Data(_) => caches.geometry,
        On::Code => caches.code.map_or(caches.geometry, |code| code.geometry),
    };
    for scope in scopes(operation.target, &cache, form) {
        let event = match operation.on {
            On::Data(op) => Event::Maintain { op, scope, site: operation.site },
            On::Code => Event::MaintainCode { scope, site: operation.site },
        };
        if muted {
            judge.apply_muted(&event);
        } else {
            judge.apply(&event);
        }
    }
}

#[test]
fn a_run_judged_as_it_happens_and_through_a_recording_comes_to_the_same() {
    let (mut findings, mut needed, mut needless, mut muted) = (0, 0, 0, 0);
    for seed in 0..RUNS {
        let mut random = Random::new(seed);
        let (caches, form) = (caches(&mut random), some(&mut random, &FORMS));
        let header = Header {
            version: VERSION,
            target: "mipsel".to_owned(),
            geometry: caches.geometry,
            behaviour: caches.behaviour(),
            code: caches.code.map(|code| code.geometry),
            index: form,
            muted: Vec::new(),
            qemu_api: 0,
            valid: Validity::of_run(caches.behaviour(), caches.code.is_some()),
        };
        let (mut direct, mut file) = (Shadow::new(caches), Vec::new());
        let mut writer = Writer::new(&mut file, &header).unwrap();
        let chains = [(); 3].map(|()| writer.chain(ChainId::NONE, Site(random.below(1 << 20) as u32)));
        for _ in 0..STEPS {
            let (step, chain) = (step(&mut random, &caches, form), some(&mut random, &chains));
            direct.set_context(chain.into());
            take(&mut direct, &caches, form, &step);
            match step {
                // A device's transfer has no calls.
                Step::Event(event) => writer.event(0, Some(chain), &event).unwrap(),
                Step::Operation(operation, muted) => writer.operation(&Recorded { operation, chain, muted }).unwrap(),
            }
        }
        // Without its end, so that the counters are those of the replay itself.
        writer.flush().unwrap();
        drop(writer);
        let replayed = judge(&Layout::of(&file).unwrap(), caches, &Muting::AsRecorded, |_, _| {}).unwrap();
        assert_eq!(replayed.findings, direct.findings(), "seed {seed}, {caches:?}, {form:?}");
        assert_eq!(replayed.ledger, direct.ledger(), "seed {seed}, {caches:?}, {form:?}");
        assert_eq!(replayed.stats, direct.stats(), "seed {seed}, {caches:?}, {form:?}");
        findings += replayed.findings.len();
        needed += replayed.ledger.iter().filter(|line| line.mattered > 0).count();
        needless += replayed.ledger.iter().filter(|line| line.mattered == 0).count();
        muted += replayed.stats.muted;
    }
    // About twice that is what they come to.
    let enough = findings > 5_000 && needed > 6_000 && needless > 9_000 && muted > 8_000;
    assert!(enough, "{findings} findings; {needed} and {needless} lines of ledgers; {muted} muted operations");
}
