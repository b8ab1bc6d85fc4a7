//! Random runs beyond what can be tried one by one: several agents with programs of many calls, nested interrupts, several frames,
//! kept windows, four colours and sixteen. The judge proper looks on, and a cache that holds versions of bytes.
//!
//! A seed is a run. `INTERLEAVED_STEPS=100000000` makes it a soak, `INTERLEAVED_SEED=7` begins elsewhere; every failure names its seed.

mod model;

use std::cell::RefCell;
use std::rc::Rc;

use congruent_shadow::{Config, Shadow};
use model::calls::{Call, Kernel, Part, Place};
use model::platform::library;
use model::random::Random;
use model::schedule::{Agent, alone, run};
use model::world::{Bytes, Shape, Watch, World};

fn call(random: &mut Random, shape: &Shape, frames: usize) -> Call {
    let frame = random.below(frames);
    let colours = shape.used();
    let colour = random.below(colours);
    let place = match random.below(4) {
        0 => Place::Home,
        1 if shape.linear && frame < 4 => Place::Linear,
        _ => Place::Colour(colour),
    };
    let part = *random.pick(&[Part::Whole, Part::Line, Part::Half, Part::Others]);
    // Where so many colours are tracked as one, the core must be said to speculate.
    let notices = shape.colours <= 8 || shape.speculative;
    match random.below(24) {
        19 if frames > 1 && colour + 1 < colours => Call::MapAll { colour, write: random.one_in(2) },
        20 | 21 => Call::Range { frame, part },
        22 if notices => Call::Notice { frame, colour },
        23 if notices => Call::Flushed { frame, place },
        0..5 => Call::Map { frame, colour, write: random.one_in(2), execute: random.one_in(4) },
        5 => Call::Unmap { frame, colour },
        6 => Call::Quit { frame, colour },
        7 => Call::Protect { frame },
        8 | 9 => Call::Read { frame, part },
        10 | 11 => Call::Write { frame, part },
        12 => Call::Clear { frame, place },
        13 => Call::Copy { from: frame, to: (frame + 1) % frames, place },
        14 => Call::Hold { frame, place, write: random.one_in(2) },
        15 => Call::ToDevice { frame, part },
        16 | 17 => Call::FromDevice { frame, part },
        18 => Call::Sync { frame },
        _ => Call::Map { frame, colour, write: false, execute: false },
    }
}

fn shape(random: &mut Random) -> Shape {
    let speculative = random.one_in(2);
    let linear = random.one_in(2);
    Shape {
        colours: *random.pick(&[1, 2, 2, 4, 16]),
        speculative,
        linear,
        kept: if speculative || linear { 0 } else { *random.pick(&[0, 16]) },
        knows_remaining: !random.one_in(4),
        waits: random.one_in(2),
        users_store: true,
        moves: if random.one_in(3) { 3 } else { 0 },
    }
}

/// One run; how many steps it had, or what somebody saw, with the story if it is to be told.
fn one(seed: u64, told: bool) -> Result<u64, String> {
    alone();
    let random = &mut Random::seeded(seed);
    let shape = shape(random);
    let frames = 1 + random.below(3);
    let world = Rc::new(World::new(shape, frames));
    *world.watch.borrow_mut() = Some(Watch {
        judge: Shadow::new(Config::new(shape.geometry())),
        bytes: vec![Bytes::default(); frames],
        random: Random::seeded(seed ^ 0x5555),
    });
    *world.story.borrow_mut() = told.then(Vec::new);
    let kernel = Rc::new(Kernel { library: library(&world), world: world.clone() });
    for frame in 0..frames {
        kernel.perform(Call::Clear { frame, place: Place::Home }).expect("alone, everything can be done");
    }
    // Threads of three CPUs, two on one of them, and interrupts of two levels: those of the higher one also interrupt handlers.
    let mut agents = Vec::new();
    for (cpu, level, calls) in [(0, 0, 12), (1, 0, 12), (2, 0, 8), (0, 0, 6), (0, 1, 3), (0, 2, 2), (1, 1, 3), (1, 2, 2)] {
        if agents.len() >= 2 && random.one_in(2) {
            continue;
        }
        assert!(agents.len() < 8, "the world knows so many");
        let program: Vec<_> = (0..1 + random.below(calls))
            .map(|_| call(random, &shape, frames))
            .filter(|call| level == 0 || call.suits_interrupts())
            .collect();
        let kernel = kernel.clone();
        agents.push(Agent::new(cpu, level, move || program.into_iter().for_each(|call| _ = kernel.perform(call))));
    }
    let chance = RefCell::new(Random::seeded(seed ^ 0xaaaa));
    let steps = run(&world, agents, random, |world| {
        let mut chance = chance.borrow_mut();
        if chance.one_in(2) {
            world.others(Some(&mut chance));
        }
    });
    match world.hazard.take() {
        None => Ok(steps),
        Some(wrong) => {
            let story = world.story.take().unwrap_or_default();
            Err(format!("seed {seed}: {wrong}\n{shape:?}, {frames} frames\n{}", story.join("\n")))
        }
    }
}

#[test]
fn no_random_run_of_many_agents_lets_anybody_see_old_bytes() {
    let number = |name, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().expect(name));
    let (most, mut seed) = (number("INTERLEAVED_STEPS", 5_000_000), number("INTERLEAVED_SEED", 1));
    let (mut steps, first) = (0, seed);
    while steps < most {
        steps += one(seed, false).unwrap_or_else(|_| panic!("{}", one(seed, true).expect_err("a seed is a run")));
        seed += 1;
    }
    println!("{steps} steps in {} runs, from seed {first}", seed - first);
}
