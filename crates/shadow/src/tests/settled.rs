//! Fetches that were found to change nothing, remembered: as long as [`Shadow::code_changes`] says the same, each of them would still be taken as
//! quiet, whatever was done in between. Sources that leave out such fetches rest on that.
//!
//! Long random runs of every event there is, over several frames. A failure prints the seed and the number of the event.

use alloc::vec::Vec;

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_machine::{CodeShape, Shape, Step};
use congruent_trace::{DmaDirection, Event, Site, devices};

use super::random::Random;
use super::{Place, code_cache, config, cpu_of, every_step, pages_of};
use crate::Shadow;
use crate::heads::LAST_EPOCH;
use crate::shadow::PageId;

/// A fetch: the page, where it reads, where in the page, and how much.
type Fetch = (PageId, VirtAddr, u32, u32);

fn is_quiet(shadow: &mut Shadow, (page, vaddr, offset, size): Fetch) -> bool {
    let colour = shadow.code.geometry().colour(vaddr);
    shadow.quiet_fetch(page, colour, offset, size)
}

/// What reaches everything: if it came as often as the rest, nothing would be remembered for long.
fn is_rare(step: Step) -> bool {
    matches!(step, Step::DropCodeWhole(_) | Step::DropCodeIndex(..) | Step::Whole(..) | Step::Index(..))
}

/// One run; how often a remembered fetch was tried again, and how often what was remembered had to be forgotten.
fn run(geometry: CacheGeometry, shape: Shape, last_epoch: u32, seed: u64) -> (u64, u64) {
    const LINES: u32 = 4;
    let mut random = Random::new(seed);
    let steps = every_step(shape);
    let (fetches, others): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(|step| matches!(step, Step::Fetch(..)));
    let (rare, usual): (Vec<Step>, Vec<Step>) = others.into_iter().partition(|step| is_rare(*step));
    let colours = pages_of(shape, |n| n % geometry.colours() as usize);
    let code = code_cache(shape.code.unwrap(), &geometry).geometry;
    let places: Vec<Place> = (0..3)
        .flat_map(|frame| (0..LINES).map(move |line| Place::new(geometry, frame * 7, line, shape.groups).with_code(code)))
        .collect();
    let mut shadow = Shadow::with_last_epoch(config(geometry, shape), last_epoch);
    let (mut remembered, mut changes) = (Vec::<Fetch>::new(), 0);
    let (mut tried, mut forgotten) = (0, 0);
    let mut turn = 0;
    for number in 0..20_000 {
        // As in life: nearly every event is a fetch of code that always runs at the same address, on the CPU that ran before.
        let (from, strays) = match random.below(400) {
            0 => (&rare, true),
            1..20 => (&usual, true),
            fetch => (&fetches, fetch < 24),
        };
        if random.below(100) == 0 {
            turn = random.below(shape.cpus.into()) as u8;
        }
        let at = random.below(places.len());
        let place = places[at];
        let fits = |step: &&Step| {
            let is_home = |through: u8| strays || usize::from(through % shape.pages()) == at % usize::from(shape.pages());
            let is_of_turn = cpu_of(shape, **step).is_none_or(|cpu| cpu == turn);
            is_of_turn && if let Step::Fetch(through, _) = step { is_home(*through) } else { true }
        };
        let fitting: Vec<&Step> = from.iter().filter(fits).collect();
        let step = *fitting[random.below(fitting.len())];
        let event = match random.below(2000) {
            // A device that nobody sees has no step.
            0 => Event::Dma { direction: DmaDirection::Write, paddr: PhysAddr(0), len: 1 << 16, site: devices::UNSEEN },
            _ => place.event(step, &colours, Site(number)),
        };
        shadow.apply(&Event::Cpu { cpu: turn.into() });
        shadow.apply(&event);
        if shadow.code_changes() != changes {
            forgotten += u64::from(!remembered.is_empty());
            remembered.clear();
            changes = shadow.code_changes();
        }
        for fetch in &remembered {
            let quiet = is_quiet(&mut shadow, *fetch);
            assert!(quiet, "seed {seed}, event {number} {event:x?}: {fetch:x?} changes something, and nobody was told");
        }
        tried += remembered.len() as u64;
        if let Event::Fetch { vaddr, paddr, size, .. } = event {
            let fetch = (shadow.page(geometry.frame(paddr)), vaddr, geometry.page_offset(paddr.0), size);
            if !remembered.contains(&fetch) && is_quiet(&mut shadow, fetch) {
                remembered.push(fetch);
            }
        }
        assert_eq!(shadow.code_changes(), changes, "seed {seed}, event {number}: a quiet fetch changes nothing");
    }
    (tried, forgotten)
}

#[test]
fn a_fetch_that_was_quiet_stays_so_until_it_is_said_that_fetches_may_change_something() {
    let usual = CodeShape { colours: 2, ways: 2, fills_from_data: false };
    let shape = Shape::new(2, 2, 1);
    let (mut tried, mut forgotten) = (0, 0);
    for code in [usual, CodeShape { fills_from_data: true, ..usual }, CodeShape { colours: 1, ..usual }] {
        let with_code = shape.with_code(code);
        for shape in [with_code, Shape { writes_through: true, ..with_code }, Shape { write_allocate: false, ..with_code }] {
            for (seed, last_epoch) in [(1, LAST_EPOCH), (2, LAST_EPOCH), (3, 3), (4, 40)] {
                let geometry = CacheGeometry::new(16 << 10, 1, 32).unwrap();
                let geometry = geometry.with_write_back_unit(32 / u32::from(shape.units())).unwrap();
                let (times, changes) = run(geometry, shape, last_epoch, seed);
                (tried, forgotten) = (tried + times, forgotten + changes);
            }
        }
    }
    assert!(tried > 1_000_000 && forgotten > 1_000, "{tried}, {forgotten}: hardly anything was tried");
}

#[test]
fn of_several_cpus_none_rests_on_what_another_has_fetched() {
    let code = CodeShape { colours: 1, ways: 1, fills_from_data: false };
    let geometry = CacheGeometry::new(8 << 10, 1, 32).unwrap();
    for seed in 1..5 {
        let (tried, forgotten) = run(geometry, Shape::new(2, 1, 1).with_code(code).with_cpus(2, true), LAST_EPOCH, seed);
        assert!(tried > 10_000 && forgotten > 100, "seed {seed}: {tried}, {forgotten}");
    }
}
