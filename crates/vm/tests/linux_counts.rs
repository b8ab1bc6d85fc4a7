//! What Linux pays, operation by operation: the two Linux policies against the table of per-operation costs that was read in the
//! sources of Linux 6.12 (pages flushed at one colour, operations on the whole cache).

use congruent_geometry::CacheGeometry;
use congruent_machine::Counters;
use congruent_vm::{AreaId, Bytes, FileId, Maintenance, Op, Place, PolicyKind, Setup, Simulation, Step, TaskId};

const PAGE: u32 = 4096;
const MINE: TaskId = TaskId(0);
const CHILD: TaskId = TaskId(1);
const ANON: AreaId = AreaId(0);
const FILE: AreaId = AreaId(1);
const NAME: FileId = FileId(0);

/// A machine of four colours whose free frames come in order: frame n has colour n at its permanent address.
struct Bench {
    simulation: Simulation<Vec<u8>>,
    geometry: CacheGeometry,
}

/// Pages flushed, whole data caches, whole instruction caches.
type Cost = (u64, u64, u64);

impl Bench {
    fn new(policy: PolicyKind) -> Self {
        let geometry = CacheGeometry::new(64 << 10, 4, 32).unwrap();
        let setup = Setup { policy, icache: CacheGeometry::new(16 << 10, 4, 32).unwrap(), ..Setup::new(geometry) };
        let mut setup = setup;
        setup.swap_pages = 16;
        Self { simulation: Simulation::new(setup, vec![0; 4 << 20]).unwrap(), geometry }
    }

    fn run(&mut self, task: TaskId, op: Op) -> Counters {
        let before = self.simulation.counters();
        let outcome = self.simulation.step(&Step { task, op });
        assert!(outcome.result.is_ok(), "{op:?}: {outcome:?}");
        self.simulation.counters() - before
    }

    fn cost(&mut self, task: TaskId, op: Op) -> Cost {
        let spent = self.run(task, op);
        let spent = Maintenance::of(&spent, self.geometry.lines_per_page());
        assert_eq!(spent.lines % u64::from(self.geometry.lines_per_page()), 0, "whole pages only");
        (spent.pages, spent.whole, spent.code_whole)
    }

    /// Anonymous memory at a colour, touched by a store; the next free frame is the one that backs it.
    fn anonymous(&mut self, pages: u32, colour: u16) {
        self.run(MINE, Op::MapAnonymous { area: ANON, pages, shared: false, place: Place::Colour(colour) });
    }

    /// A file whose page 0 gets frame 0 (colour 0), mapped at page number `first`'s colour.
    fn file(&mut self, first: u32, shared: bool) {
        self.run(MINE, Op::MapFile { area: FILE, file: NAME, first, pages: 1, shared, place: Place::Anywhere });
    }

    fn create(&mut self) {
        self.run(MINE, Op::Create { file: NAME, len: 4 * PAGE, seed: 1 });
    }
}

fn word(area: AreaId) -> Bytes {
    Bytes { area, offset: 0, len: 4 }
}

fn store(area: AreaId) -> Op {
    Op::Store { to: word(area), seed: 3 }
}

/// The same on both ports: what MIPS pays, and what ARM pays.
fn both(run: impl Fn(&mut Bench) -> Cost) -> (Cost, Cost) {
    (run(&mut Bench::new(PolicyKind::LinuxMips)), run(&mut Bench::new(PolicyKind::LinuxArm)))
}

#[test]
fn a_zero_filled_page_at_another_colour_costs_one_page_on_mips_and_two_on_arm() {
    let costs = both(|bench| {
        bench.anonymous(1, 1);
        bench.cost(MINE, store(ANON))
    });
    assert_eq!(costs, ((1, 0, 0), (2, 0, 0)));
}

#[test]
fn a_zero_filled_page_at_its_own_colour_costs_nothing_on_mips() {
    let costs = both(|bench| {
        bench.anonymous(1, 0);
        bench.cost(MINE, store(ANON))
    });
    assert_eq!(costs, ((0, 0, 0), (2, 0, 0)));
}

#[test]
fn fork_is_free_on_mips_and_flushes_the_whole_cache_on_arm() {
    let costs = both(|bench| {
        bench.anonymous(3, 1);
        bench.run(MINE, Op::Store { to: Bytes { area: ANON, offset: 0, len: 3 * PAGE }, seed: 1 });
        bench.cost(MINE, Op::Fork { child: CHILD })
    });
    assert_eq!(costs, ((0, 0, 0), (0, 1, 0)));
}

/// A page of the parent's that the child shares. Page 0 of the mapping is in frame 0; the copy will be in frame 1.
fn forked(bench: &mut Bench, colour: u16) {
    bench.anonymous(1, colour);
    bench.run(MINE, store(ANON));
    bench.run(MINE, Op::Fork { child: CHILD });
}

#[test]
fn breaking_copy_on_write_costs_two_pages_on_mips_and_three_on_arm() {
    let costs = both(|bench| {
        forked(bench, 2);
        bench.cost(MINE, store(ANON))
    });
    assert_eq!(costs, ((2, 0, 0), (3, 0, 1)));
}

#[test]
fn the_last_sharer_of_a_page_pays_one_page_to_use_it_again() {
    let costs = both(|bench| {
        forked(bench, 2);
        bench.run(CHILD, store(ANON));
        bench.cost(MINE, store(ANON))
    });
    assert_eq!(costs, ((1, 0, 0), (1, 0, 1)));
}

#[test]
fn reading_a_file_that_nobody_maps_writable_costs_nothing() {
    let costs = both(|bench| {
        bench.anonymous(1, 0);
        bench.run(MINE, store(ANON));
        bench.create();
        bench.run(MINE, Op::Read { file: NAME, at: 0, to: word(ANON) });
        bench.cost(MINE, Op::Read { file: NAME, at: 8, to: word(ANON) })
    });
    assert_eq!(costs, ((0, 0, 0), (0, 0, 0)));
}

/// A file whose page 1 is mapped shared and writable, and present, and anonymous memory that is present.
fn shared_file(bench: &mut Bench) {
    bench.anonymous(1, 0);
    bench.run(MINE, store(ANON));
    bench.create();
    bench.file(1, true);
    bench.run(MINE, store(FILE));
}

#[test]
fn reading_a_page_that_is_mapped_writable_costs_one_page_on_mips_and_two_on_arm() {
    let costs = both(|bench| {
        shared_file(bench);
        bench.cost(MINE, Op::Read { file: NAME, at: PAGE, to: word(ANON) })
    });
    assert_eq!(costs, ((1, 0, 0), (2, 0, 1)));
}

#[test]
fn writing_a_page_that_is_mapped_writable_costs_that_twice() {
    let costs = both(|bench| {
        shared_file(bench);
        bench.cost(MINE, Op::Write { file: NAME, at: PAGE, from: word(ANON) })
    });
    assert_eq!(costs, ((2, 0, 0), (4, 0, 2)));
}

#[test]
fn writing_a_file_that_nobody_maps_leaves_a_flag() {
    let costs = both(|bench| {
        bench.anonymous(1, 0);
        bench.run(MINE, store(ANON));
        bench.create();
        bench.run(MINE, Op::Write { file: NAME, at: 0, from: word(ANON) });
        bench.cost(MINE, Op::Write { file: NAME, at: 8, from: word(ANON) })
    });
    assert_eq!(costs, ((0, 0, 0), (0, 0, 0)));
}

#[test]
fn mapping_a_page_that_was_written_costs_one_page_on_mips_and_two_on_arm() {
    let costs = both(|bench| {
        bench.anonymous(1, 0);
        bench.run(MINE, store(ANON));
        bench.create();
        // Page 2 goes to frame 1 and is mapped at colour 2: an alias.
        bench.run(MINE, Op::Write { file: NAME, at: 2 * PAGE, from: word(ANON) });
        bench.file(2, false);
        bench.cost(MINE, Op::Load(word(FILE)))
    });
    assert_eq!(costs, ((1, 0, 0), (2, 0, 0)));
}

#[test]
fn mapping_a_page_that_a_device_filled_costs_nothing() {
    let costs = both(|bench| {
        bench.anonymous(1, 0);
        bench.run(MINE, store(ANON));
        bench.create();
        bench.run(MINE, Op::Read { file: NAME, at: 2 * PAGE, to: word(ANON) });
        bench.file(2, false);
        bench.cost(MINE, Op::Load(word(FILE)))
    });
    assert_eq!(costs, ((0, 0, 0), (0, 0, 0)));
}

/// Anonymous memory of one page at another colour than its frame's, and a file on the disk.
fn buffer(bench: &mut Bench) {
    bench.create();
    bench.anonymous(1, 1);
    bench.run(MINE, store(ANON));
}

#[test]
fn direct_io_to_the_disk_costs_two_pages_and_one_for_the_device_on_mips_three_and_one_on_arm() {
    let costs = both(|bench| {
        buffer(bench);
        let whole = Bytes { area: ANON, offset: 0, len: PAGE };
        bench.cost(MINE, Op::DirectWrite { file: NAME, at: 0, from: whole })
    });
    assert_eq!(costs, ((2 + 1, 0, 0), (3 + 1, 0, 2)));
}

#[test]
fn direct_io_from_the_disk_costs_arm_one_page_more_when_the_device_has_finished() {
    let (mips, arm) = (PolicyKind::LinuxMips, PolicyKind::LinuxArm);
    let pages = |policy| {
        let mut bench = Bench::new(policy);
        buffer(&mut bench);
        let whole = Bytes { area: ANON, offset: 0, len: PAGE };
        let spent = bench.run(MINE, Op::DirectRead { file: NAME, at: 0, to: whole });
        Maintenance::of(&spent, 128)
    };
    // MIPS writes the two lines at the ends back by themselves first.
    assert_eq!((pages(mips).lines, pages(mips).whole), (3 * 128 + 2, 0));
    assert_eq!((pages(arm).lines, pages(arm).code_whole), (5 * 128, 2));
}

#[test]
fn peeking_costs_two_pages_on_mips_and_three_on_arm() {
    let costs = both(|bench| {
        forked(bench, 1);
        bench.cost(CHILD, Op::Peek { target: MINE, from: word(ANON) })
    });
    assert_eq!(costs, ((2, 0, 0), (3, 0, 2)));
}

#[test]
fn poking_costs_arm_the_users_colour_once_more() {
    let costs = both(|bench| {
        forked(bench, 2);
        // So that the page is the parent's own.
        bench.run(MINE, store(ANON));
        bench.cost(CHILD, Op::Poke { target: MINE, to: word(ANON), seed: 2 })
    });
    assert_eq!(costs, ((2, 0, 0), (4, 0, 3)));
}

#[test]
fn unmapping_protecting_and_moving_flush_the_whole_cache() {
    for op in [Op::Unmap { area: ANON, first: 0, pages: 1 }, Op::Protect { area: ANON, write: false, execute: false }] {
        let costs = both(|bench| {
            bench.anonymous(2, 1);
            bench.run(MINE, store(ANON));
            bench.cost(MINE, op)
        });
        assert_eq!(costs, ((0, 1, 0), (0, 1, 0)), "{op:?}");
    }
    let costs = both(|bench| {
        bench.anonymous(2, 1);
        bench.run(MINE, store(ANON));
        bench.cost(MINE, Op::Remap { area: ANON, place: Place::Colour(3) })
    });
    // MIPS looks at its flag when the page is mapped again; on ARM the page counts as clean since it was first mapped.
    assert_eq!(costs, ((0, 1, 0), (0, 1, 0)));
}

#[test]
fn exit_flushes_the_whole_cache() {
    let costs = both(|bench| {
        forked(bench, 1);
        bench.cost(CHILD, Op::Exit)
    });
    assert_eq!(costs, ((0, 1, 0), (0, 1, 0)));
}

#[test]
fn a_vmap_area_flushes_everything_when_it_comes_and_when_it_goes() {
    let costs = both(|bench| {
        bench.create();
        bench.run(MINE, Op::VmapRead { file: NAME, first: 0, pages: 1 });
        bench.cost(MINE, Op::VmapRead { file: NAME, first: 0, pages: 1 })
    });
    // One page for `invalidate_kernel_vmap_range` in between.
    assert_eq!(costs, ((1, 2, 0), (1, 2, 2)));
}
