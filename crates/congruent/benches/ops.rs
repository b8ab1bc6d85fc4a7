//! What each call of the library costs by itself, in nanoseconds: one colour known at compile time, one colour found at run time, and
//! four colours.

#![allow(missing_docs)]

extern crate congruent as library;

#[path = "ops/operations.rs"]
mod operations;

use std::hint::black_box;

use criterion::{criterion_group, criterion_main, Criterion};
use operations::{kernel, operations, Idle};

fn machine<const ALIASES: bool>(criterion: &mut Criterion, name: &str, colours: u32) {
    let mut group = criterion.benchmark_group(name);
    for operation in operations::<Idle<ALIASES>>() {
        let kernel = kernel::<ALIASES>(colours);
        (operation.before)(&kernel, false).expect("the page is free");
        let mut odd = false;
        group.bench_function(operation.name, |bencher| {
            bencher.iter(|| {
                odd = !odd;
                (operation.call)(black_box(&kernel), odd)
            });
        });
    }
    group.finish();
}

fn every_operation(criterion: &mut Criterion) {
    machine::<false>(criterion, "never", 1);
    machine::<true>(criterion, "one", 1);
    machine::<true>(criterion, "four", 4);
}

criterion_group!(benches, every_operation);
criterion_main!(benches);
