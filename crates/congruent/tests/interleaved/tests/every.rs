//! Two calls at a time, at every place of one the other: every schedule with a bounded number of preemptions, after every one of the
//! histories that a frame can have.
//!
//! What can go on at each place is all that there is: the calls of another CPU, an interrupt of the same, another thread of it; after
//! every step all users do all that their mappings allow, and a core that speculates fills every line that it can.

mod model;

use std::rc::Rc;

use congruent_interleaved::{At, Frame, ReadOnly};
use model::calls::{Call, Kernel, Part, Place};
use model::platform::library;
use model::schedule::{Agent, Every, alone, run};
use model::world::{Shape, World};

const FRAME: usize = 0;

/// What happened before, call by call.
fn histories() -> Vec<Vec<Call>> {
    let frame = FRAME;
    let clear = |colour| Call::Clear { frame, place: Place::Colour(colour) };
    let map = |colour, write| Call::Map { frame, colour, write, execute: false };
    let quit = |colour| Call::Quit { frame, colour };
    let device = Call::FromDevice { frame, part: Part::Whole };
    let to_device = Call::ToDevice { frame, part: Part::Whole };
    vec![
        vec![clear(0)],
        vec![clear(0), map(0, true)],
        vec![clear(0), map(0, true), quit(0)],
        vec![clear(0), map(0, false), map(1, false)],
        vec![clear(0), map(0, false), map(1, false), quit(0)],
        vec![clear(0), map(0, false), map(1, false), quit(1)],
        vec![clear(0), to_device, device],
        vec![clear(0), map(1, true), to_device, quit(1), device],
        vec![clear(1), Call::Keep { frame, colour: 1 }],
        vec![clear(0), Call::Map { frame, colour: 1, write: false, execute: true }],
    ]
}

fn calls() -> Vec<Call> {
    let frame = FRAME;
    let mut calls = Vec::new();
    for colour in 0..2 {
        calls.extend([false, true].map(|write| Call::Map { frame, colour, write, execute: false }));
        calls.push(Call::Clear { frame, place: Place::Colour(colour) });
        calls.push(Call::Hold { frame, place: Place::Colour(colour), write: true });
        calls.push(Call::Unmap { frame, colour });
        calls.push(Call::Notice { frame, colour });
        calls.push(Call::MapAll { colour, write: colour == 1 });
    }
    calls.extend([
        Call::Map { frame, colour: 1, write: false, execute: true },
        Call::Hold { frame, place: Place::Colour(0), write: false },
        Call::Hold { frame, place: Place::Colour(1), write: false },
        Call::Protect { frame },
        Call::Read { frame, part: Part::Line },
        Call::Write { frame, part: Part::Half },
        Call::Clear { frame, place: Place::Home },
        Call::ToDevice { frame, part: Part::Whole },
        Call::FromDevice { frame, part: Part::Whole },
        Call::FromDevice { frame, part: Part::Half },
        Call::FromDevice { frame, part: Part::Others },
        Call::Sync { frame },
        Call::Range { frame, part: Part::Whole },
        Call::Range { frame, part: Part::Half },
        Call::Flushed { frame, place: Place::Home },
    ]);
    calls
}

/// Where the second call is made: CPU and level.
const PLACES: [(u32, u8); 3] = [(1, 0), (0, 1), (0, 0)];

/// Tries everything; panics with the first run that anybody could have seen old bytes in. Returns how many runs there were.
fn every(shape: Shape, preemptions: u32, places: &[(u32, u8)], pairs: impl Fn(Call, Call) -> bool) -> u64 {
    let mut runs = 0;
    for history in histories() {
        for &first in &calls() {
            for &second in &calls() {
                if !pairs(first, second) {
                    continue;
                }
                for &(cpu, level) in places.iter().filter(|(_, level)| *level == 0 || second.suits_interrupts()) {
                    let mut schedule = Every::new(preemptions);
                    loop {
                        runs += 1;
                        if let Some(wrong) = one(shape, &history, &[(first, 0, 0), (second, cpu, level)], 0, &mut schedule) {
                            panic!(
                                "{wrong}\n{shape:?}\nafter {history:?}\n{first:?} and, on CPU {cpu} at level {level}, {second:?}\n{:?}",
                                schedule.path()
                            );
                        }
                        if !schedule.next() {
                            break;
                        }
                    }
                }
            }
        }
    }
    runs
}

/// One run of these calls, while so many others use the frame where it is.
fn one(shape: Shape, history: &[Call], calls: &[(Call, u32, u8)], others: usize, schedule: &mut Every) -> Option<String> {
    alone();
    let world = Rc::new(World::new(shape, 2));
    let kernel = Rc::new(Kernel { library: library(&world), world: world.clone() });
    for &call in history {
        kernel.perform(call).expect("alone, everything can be done");
        world.others(None);
    }
    let others: Vec<_> = (0..others).map(|_| kernel.library.settle::<ReadOnly>(Frame(FRAME as u64), At::Home).unwrap()).collect();
    let is_crowded = others.len() > 1;
    let agents = calls.iter().map(|&(call, cpu, level)| {
        let kernel = kernel.clone();
        Agent::new(cpu, level, move || {
            let done = kernel.perform(call);
            assert!(!is_crowded || done.is_ok(), "{call:?}: {done:?}");
        })
    });
    run(&world, agents.collect(), schedule, |world| world.others(None));
    drop(others);
    if is_crowded {
        let elsewhere =
            kernel.library.settle::<ReadOnly>(Frame(FRAME as u64), At::Colour(kernel.library.colour_from_index(1).unwrap()));
        assert!(elsewhere.is_ok(), "a use of the frame has not ended: {elsewhere:?}", elsewhere = elsewhere.err());
    }
    if world.hazard.borrow().is_none() {
        // Whatever they did, everybody can go on, and sees the newest.
        for colour in [0, 1] {
            let _ = kernel.perform(Call::Map { frame: FRAME, colour, write: colour == 1, execute: false });
            world.others(None);
        }
        let _ = kernel.perform(Call::Read { frame: FRAME, part: Part::Whole });
        let _ = kernel.perform(Call::ToDevice { frame: FRAME, part: Part::Whole });
    }
    world.hazard.take()
}

fn shape() -> Shape {
    Shape {
        colours: 2,
        speculative: false,
        linear: true,
        kept: 0,
        knows_remaining: true,
        waits: true,
        users_store: true,
        moves: 0,
    }
}

fn order(first: Call, second: Call) -> bool {
    format!("{first:?}") <= format!("{second:?}")
}

/// A soak tries more of them.
fn preemptions(otherwise: u32) -> u32 {
    std::env::var("INTERLEAVED_PREEMPTIONS").map_or(otherwise, |text| text.parse().expect("INTERLEAVED_PREEMPTIONS"))
}

#[test]
fn no_two_calls_on_two_cpus_let_anybody_see_old_bytes() {
    let mut runs = 0;
    for (users_store, speculative) in [(true, false), (false, true)] {
        runs += every(Shape { users_store, speculative, ..shape() }, preemptions(2), &PLACES[..1], order);
    }
    println!("{runs} runs");
}

#[test]
fn no_call_that_an_interrupt_makes_in_the_middle_of_one_lets_anybody_see_old_bytes() {
    let mut runs = 0;
    for linear in [true, false] {
        for speculative in [true, false] {
            runs += every(Shape { speculative, linear, ..shape() }, preemptions(1), &PLACES[1..2], |_, _| true);
        }
    }
    println!("{runs} runs");
}

#[test]
fn no_call_of_another_thread_of_the_cpu_lets_anybody_see_old_bytes() {
    println!("{} runs", every(Shape { linear: false, ..shape() }, preemptions(2), &PLACES[2..], order));
}

#[test]
fn no_task_that_goes_on_on_another_cpu_in_the_middle_of_a_call_lets_anybody_see_old_bytes() {
    let mut runs = 0;
    for (kept, most) in [(0, 2), (4, 1)] {
        let shape = Shape { moves: 2, kept, linear: false, ..shape() };
        runs += every(shape, preemptions(most), &[PLACES[0], PLACES[2]], order);
        // Interrupts stay on their CPU.
        runs += every(shape, preemptions(1), &PLACES[1..2], |_, _| true);
    }
    println!("{runs} runs");
}

#[test]
fn nobody_of_a_crowd_is_refused_and_when_all_have_ended_the_frame_can_move() {
    let frame = FRAME;
    let uses = [
        Call::Read { frame, part: Part::Half },
        Call::Hold { frame, place: Place::Colour(0), write: false },
        Call::Map { frame, colour: 0, write: true, execute: false },
        Call::MapAll { colour: 0, write: false },
    ];
    let clear = Call::Clear { frame, place: Place::Colour(0) };
    let mut runs = 0;
    // Seven are counted one by one.
    for others in [6, 7] {
        for (first, second) in uses.iter().flat_map(|&first| uses.map(|second| (first, second))) {
            for third in uses {
                let mut schedule = Every::new(preemptions(2));
                loop {
                    runs += 1;
                    let calls = [(first, 0, 0), (second, 1, 0), (third, 1, 0)];
                    let wrong = one(shape(), &[clear], &calls, others, &mut schedule);
                    assert!(wrong.is_none(), "{wrong:?}\n{others} and {calls:?}\n{:?}", schedule.path());
                    if !schedule.next() {
                        break;
                    }
                }
            }
        }
    }
    println!("{runs} runs");
}

#[test]
fn nor_if_the_kernel_answers_late_and_little() {
    let mut runs = 0;
    for (knows_remaining, waits, kept) in [(false, true, 0), (true, false, 0), (true, true, 4)] {
        let linear = kept == 0;
        runs += every(Shape { knows_remaining, waits, kept, linear, ..shape() }, preemptions(1), &PLACES[..1], |_, _| true);
    }
    println!("{runs} runs");
}
