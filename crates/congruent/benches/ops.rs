//! What each call of the library costs by itself, in nanoseconds: one colour known at compile time, one colour found at run time, and
//! four colours.
//!
//! The least of many short runs: what a machine does besides makes some of them longer, and none shorter. So figures of a machine that is
//! shared can be compared, if the two programs run in turn.

#![allow(missing_docs)]

extern crate congruent as library;

#[path = "ops/operations.rs"]
mod operations;

use std::hint::black_box;
use std::time::Instant;

use operations::{kernel, operations, Idle};

/// Short runs of each operation, and calls in each: 0.2 ms of the longest.
const RUNS: u32 = 2000;
const CALLS: u32 = 1000;

/// Each operation, and nanoseconds per call.
fn machine<const ALIASES: bool>(colours: u32) -> Vec<(&'static str, f64)> {
    let measured = operations::<Idle<ALIASES>>().into_iter().map(|operation| {
        let kernel = kernel::<ALIASES>(colours);
        (operation.before)(&kernel, false).expect("the page is free");
        let run = || {
            let start = Instant::now();
            for call in 0..CALLS {
                let done = (operation.call)(black_box(&kernel), call % 2 != 0);
                black_box(done).expect("nobody else is at work");
            }
            start.elapsed()
        };
        let least = (0..RUNS).map(|_| run()).min().expect("it runs");
        (operation.name, least.as_nanos() as f64 / f64::from(CALLS))
    });
    measured.collect()
}

fn main() {
    println!("| call | one colour, known at compile time | one colour | four colours |\n|---|---|---|---|");
    for (((name, never), (_, one)), (_, four)) in machine::<false>(1).into_iter().zip(machine::<true>(1)).zip(machine::<true>(4))
    {
        println!("| {name} | {never:.0} | {one:.0} | {four:.0} |");
    }
}
