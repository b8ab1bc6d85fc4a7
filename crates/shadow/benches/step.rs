//! What one step of the judge costs: the quiet access, which is nearly all of a run, and the others.
//!
//! Each measurement walks over the lines of some frames, as a guest's working set does; figures are per access.

#![allow(missing_docs)]

use std::hint::black_box;

use congruent_geometry::{CacheGeometry, Colour, Frame, PhysAddr, VirtAddr};
use congruent_shadow::{Alias, CodeCache, Config, PageId, Shadow, VirtualTags};
use congruent_trace::{AccessKind, Event, Maintenance, Scope, Site};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const PAGES: u64 = 16;
const LINES: u32 = 128;

struct Bench {
    shadow: Shadow,
    pages: Vec<PageId>,
    colours: [Colour; 2],
    /// Of every page at the first address, where tags are virtual.
    aliases: Vec<Alias>,
}

impl Bench {
    fn new() -> Self {
        Self::of(Config::new(geometry()))
    }

    fn with_code() -> Self {
        Self::of(Config::new(geometry()).with_code(CodeCache::new(geometry())).expect("caches that go together"))
    }

    fn with_virtual_tags() -> Self {
        Self::of(Config::new(geometry()).with_virtual_tags(VirtualTags::Untagged).expect("a cache that can be judged"))
    }

    fn of(config: Config) -> Self {
        let geometry = config.geometry;
        let mut shadow = Shadow::new(config);
        let pages: Vec<PageId> = (0..PAGES).map(|frame| shadow.page(Frame(frame))).collect();
        let aliases = (0..).zip(&pages).map(|(number, page)| shadow.alias(*page, own_address(number, 0))).collect();
        let colours = [0, 1].map(|index| geometry.colour_from_index(index).expect("two colours"));
        Self { shadow, pages, colours, aliases }
    }

    fn loads(&mut self, colour: usize) {
        for page in &self.pages {
            for line in 0..LINES {
                let offset = black_box(line * 32 + 4);
                if !self.shadow.quiet_load(self.shadow.byte(*page, offset), self.colours[colour], 4) {
                    self.shadow.access(AccessKind::Load, *page, address(colour, offset), offset, 4, Site(4));
                }
            }
        }
    }

    fn fetches(&mut self) {
        for page in &self.pages {
            for line in 0..LINES {
                let offset = black_box(line * 32 + 4);
                if !self.shadow.quiet_fetch(*page, self.colours[0], offset, 4) {
                    self.shadow.fetch(*page, address(0, offset), offset, 4, Site(4));
                }
            }
        }
    }

    fn loads_through_aliases(&mut self) {
        for (number, (page, alias)) in self.pages.iter().zip(&self.aliases).enumerate() {
            for line in 0..LINES {
                let offset = black_box(line * 32 + 4);
                if !self.shadow.quiet_load(self.shadow.byte(*page, offset), *alias, 4) {
                    self.shadow.access(AccessKind::Load, *page, own_address(number as u64, offset), offset, 4, Site(4));
                }
            }
        }
    }

    fn stores(&mut self, colour: usize) {
        for page in &self.pages {
            for line in 0..LINES {
                let offset = black_box(line * 32 + 4);
                if !self.shadow.quiet_store(self.shadow.byte(*page, offset), self.colours[colour], 4, Site(8)) {
                    self.shadow.access(AccessKind::Store, *page, address(colour, offset), offset, 4, Site(8));
                }
            }
        }
    }

    fn maintain(&mut self, op: Maintenance, scope: Scope) {
        self.shadow.apply(&Event::Maintain { op, scope, site: Site(12) });
    }

    fn write_back_lines(&mut self, colour: u64) {
        for frame in 0..PAGES {
            for line in 0..u64::from(LINES) {
                let paddr = PhysAddr(frame * 4096 + line * 32);
                let vaddr = VirtAddr(colour * 4096 + line * 32);
                self.maintain(Maintenance::WriteBackInvalidate, Scope::Line { vaddr, paddr });
            }
        }
    }
}

fn geometry() -> CacheGeometry {
    CacheGeometry::new(32 << 10, 4, 32).expect("a cache that can be")
}

/// An address that stands for one page only.
fn own_address(number: u64, offset: u32) -> VirtAddr {
    VirtAddr((number << 12) + u64::from(offset))
}

/// An address of this colour.
fn address(colour: usize, offset: u32) -> VirtAddr {
    VirtAddr(colour as u64 * 4096 + u64::from(offset))
}

fn step(criterion: &mut Criterion) {
    let accesses = PAGES * u64::from(LINES);
    let mut group = criterion.benchmark_group("step");
    group.throughput(Throughput::Elements(accesses));

    let mut bench = Bench::new();
    bench.loads(0);
    group.bench_function("quiet load", |b| b.iter(|| bench.loads(0)));

    let mut bench = Bench::new();
    bench.stores(0);
    group.bench_function("quiet store", |b| b.iter(|| bench.stores(0)));

    let mut bench = Bench::with_code();
    bench.fetches();
    group.bench_function("quiet fetch", |b| b.iter(|| bench.fetches()));

    let mut bench = Bench::with_virtual_tags();
    bench.loads_through_aliases();
    group.bench_function("quiet load, virtual tags", |b| b.iter(|| bench.loads_through_aliases()));

    // An operation on another set begins a new epoch: every line is looked at once and found to be as it was.
    let mut bench = Bench::new();
    bench.stores(0);
    let elsewhere = Scope::Index { set: 255, way: 0 };
    group.bench_function("load after maintenance elsewhere", |b| {
        b.iter(|| {
            bench.maintain(Maintenance::WriteBackInvalidate, elsewhere);
            bench.loads(0);
        });
    });

    let mut bench = Bench::new();
    bench.loads(0);
    bench.loads(1);
    group.bench_function("load of a line that two colours hold clean", |b| b.iter(|| bench.loads(0)));

    let mut bench = Bench::new();
    bench.loads(1);
    bench.stores(0);
    group.bench_function("load of a line with a stale copy elsewhere", |b| b.iter(|| bench.loads(0)));
    group.bench_function("store to a line with a stale copy elsewhere", |b| b.iter(|| bench.stores(0)));

    let mut bench = Bench::new();
    group.bench_function("store after the whole cache was written back and invalidated", |b| {
        b.iter(|| {
            bench.maintain(Maintenance::WriteBackInvalidate, Scope::Whole);
            bench.stores(0);
        });
    });

    let mut bench = Bench::new();
    group.bench_function("hand-over: store, write back and invalidate by line, load through the other colour, invalidate", |b| {
        b.iter(|| {
            bench.stores(0);
            bench.write_back_lines(0);
            bench.loads(1);
            bench.write_back_lines(1);
        });
    });
    assert!(bench.shadow.findings().is_empty());
    group.finish();

    let mut group = criterion.benchmark_group("sweep");
    group.throughput(Throughput::Elements(4 * 256));
    let mut bench = Bench::new();
    bench.stores(0);
    group.bench_function("32K/4/32 by index", |b| {
        b.iter(|| {
            for way in 0..4 {
                for set in 0..256 {
                    bench.maintain(Maintenance::WriteBackInvalidate, Scope::Index { set, way });
                }
            }
        });
    });
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
