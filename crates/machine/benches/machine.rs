//! How fast the machine runs: simulated accesses and operations per second of one host core.

#![allow(missing_docs)]

use std::hint::black_box;

use congruent_geometry::{CacheGeometry, Frame, VirtAddr};
use congruent_machine::{Asid, Config, Machine, Mapping, Replacement, Rights};
use congruent_trace::{Maintenance, Site};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const LINES: u64 = 512;

/// Every page is mapped to the frame of its own number.
fn identity(_: usize, _: Asid, page: VirtAddr) -> Option<Mapping> {
    Some(Mapping::new(Frame(page.0 >> 12), Rights::ALL))
}

type Identity = fn(usize, Asid, VirtAddr) -> Option<Mapping>;

fn machine(replacement: Replacement) -> Machine<Identity> {
    let geometry = CacheGeometry::new(32 << 10, 4, 32).expect("a cache that can be");
    let config = Config { replacement, ..Config::new(geometry, 1024) };
    Machine::new(config, identity as Identity).expect("a machine that can be")
}

/// The addresses of half a cache's lines, each of another word.
fn addresses() -> impl Iterator<Item = VirtAddr> {
    (0..LINES).map(|line| VirtAddr(black_box(line * 32 + line % 8 * 4)))
}

fn accesses(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("machine");
    group.throughput(Throughput::Elements(LINES));

    let mut quiet = machine(Replacement::Lru);
    let loads = |machine: &mut Machine<Identity>| {
        addresses().map(|vaddr| machine.load(0, vaddr, 4).expect("mapped")).fold(0, u64::wrapping_add)
    };
    loads(&mut quiet);
    group.bench_function("quiet load", |b| b.iter(|| loads(&mut quiet)));
    assert_eq!(quiet.total().load_misses, LINES, "the loads measured were hits");

    group.bench_function("quiet store", |b| {
        b.iter(|| addresses().for_each(|vaddr| quiet.store(0, vaddr, 4, 7).expect("mapped")));
    });

    group.bench_function("quiet load, events recorded as a count", |b| {
        let geometry = *quiet.geometry();
        struct Count(u64);
        impl congruent_machine::Sink for Count {
            fn event(&mut self, event: &congruent_trace::Event) {
                self.0 += u64::from(matches!(event, congruent_trace::Event::Access { site: Site(9), .. }));
            }
        }
        let mut counted =
            Machine::with_sink(Config::new(geometry, 1024), identity as Identity, Count(0)).expect("a machine that can be");
        counted.set_site(0, Site(9));
        b.iter(|| addresses().map(|vaddr| counted.load(0, vaddr, 4).expect("mapped")).fold(0, u64::wrapping_add));
    });

    // A working set of 32 times the cache, in strides that never hit.
    let mut missing = machine(Replacement::Lru);
    let mut next = 0;
    group.bench_function("load miss", |b| {
        b.iter(|| {
            for _ in 0..LINES {
                next = (next + 32) % (1 << 20);
                black_box(missing.load(0, VirtAddr(next), 4).expect("mapped"));
            }
        });
    });
    let mut next = 0;
    group.bench_function("store miss with write-back", |b| {
        b.iter(|| {
            for _ in 0..LINES {
                next = (next + 32) % (1 << 20);
                missing.store(0, VirtAddr(next), 4, next).expect("mapped");
            }
        });
    });

    let mut adversarial = machine(Replacement::Adversarial);
    group.bench_function("load under adversarial replacement", |b| b.iter(|| loads(&mut adversarial)));

    let mut swept = machine(Replacement::Lru);
    group.bench_function("write back and invalidate by address", |b| {
        b.iter(|| addresses().for_each(|vaddr| swept.maintain(0, Maintenance::WriteBackInvalidate, vaddr).expect("mapped")));
    });
    group.throughput(Throughput::Elements(1024));
    group.bench_function("write back and invalidate a full dirty cache, per line", |b| {
        b.iter(|| {
            (0..1024).for_each(|line| swept.store(0, VirtAddr(line * 32), 4, line).expect("mapped"));
            swept.maintain_whole(0, Maintenance::WriteBackInvalidate);
        });
    });
    group.throughput(Throughput::Bytes(4096));
    let mut copied = machine(Replacement::Lru);
    group.bench_function("copy of a page", |b| {
        b.iter(|| copied.copy(0, VirtAddr(0x1_0000), VirtAddr(0x2_1000), 4096).expect("mapped"));
    });
    group.finish();
}

criterion_group!(benches, accesses);
criterion_main!(benches);
