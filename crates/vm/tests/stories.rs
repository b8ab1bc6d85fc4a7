//! Defects with a name: each happens under the policy that has it, is named by the judge, and does not happen under the others.

use congruent_geometry::CacheGeometry;
use congruent_vm::{
    AreaId, Bytes, FileId, Op, Outcome, Place, PolicyKind, Setup, Simulation, Step, TaskId, site_name, site_named,
};

const PAGE: u32 = 4096;

fn setup(policy: PolicyKind, seed: u64) -> Setup {
    Setup { policy, cpus: 2, seed, ..Setup::new(CacheGeometry::new(64 << 10, 4, 32).unwrap()) }
}

fn run(setup: Setup, steps: &[(u16, Op)]) -> Outcome {
    let mut simulation = Simulation::new(setup, vec![0; 16 << 20]).unwrap();
    simulation.run(steps.iter().map(|(task, op)| Step { task: TaskId(*task), op: *op }));
    simulation.finish()
}

fn bytes(area: u16, offset: u32, len: u32) -> Bytes {
    Bytes { area: AreaId(area), offset, len }
}

/// A thread of the parent stores to a page while another forks, and then the child's copy of the page is made.
fn fork_under_a_writing_thread() -> Vec<(u16, Op)> {
    let mut steps = vec![
        (0, Op::MapAnonymous { area: AreaId(0), pages: 2, shared: false, place: Place::Colour(1) }),
        (0, Op::Store { to: bytes(0, 0, 2 * PAGE), seed: 1 }),
        (0, Op::Thread { new: TaskId(1) }),
        (0, Op::Fork { child: TaskId(2) }),
    ];
    // These may happen in the middle of the fork.
    steps.extend((0..8).map(|word| (1, Op::Store { to: bytes(0, word * 512, 8), seed: 100 + word })));
    steps.extend([(2, Op::Store { to: bytes(0, 64, 4), seed: 2 }), (2, Op::Store { to: bytes(0, PAGE + 64, 4), seed: 3 })]);
    steps.push((2, Op::Load(bytes(0, 0, 2 * PAGE))));
    steps
}

#[test]
fn a_store_of_another_thread_during_fork_is_lost_if_only_fork_flushes() {
    let steps = fork_under_a_writing_thread();
    let hit = |make: &dyn Fn(u64) -> Setup| {
        let outcomes = (0..40).map(|seed| run(make(seed), &steps));
        outcomes.filter(|outcome| outcome.preemptions > 0 && outcome.corrupted_bytes > 0).count()
    };
    assert!(hit(&|seed| setup(PolicyKind::None, seed)) > 0, "without any flush");
    // A kernel that flushes at fork, and copies through the permanent address without another flush: Linux on MIPS before 2006.
    let mute = vec![site_named("copy_user_highpage: source maintenance").unwrap()];
    let flush_at_fork = |seed| Setup { mute: mute.clone(), ..setup(PolicyKind::FlushAlways, seed) };
    assert!(hit(&flush_at_fork) > 0, "with a flush at fork only");
    let undisturbed = (0..40).map(|seed| run(Setup { lookahead: 0, ..flush_at_fork(seed) }, &steps));
    assert_eq!(undisturbed.map(|outcome| outcome.corrupted_bytes).sum::<u64>(), 0, "if nobody stores meanwhile");
    for policy in PolicyKind::ALL.into_iter().filter(|policy| *policy != PolicyKind::None) {
        assert_eq!(hit(&|seed| setup(policy, seed)), 0, "{policy}");
    }
}

#[test]
fn the_judge_names_the_copy_that_read_old_bytes() {
    let outcome = run(setup(PolicyKind::None, 0), &fork_under_a_writing_thread());
    let consumers: Vec<&str> = outcome.findings.iter().map(|finding| site_name(finding.consumer.site)).collect();
    assert!(consumers.contains(&"copy_user_highpage: source"), "{consumers:?}");
    assert_eq!(outcome.unnamed_bytes, 0);
}

#[test]
fn process_vm_writev_leaves_its_bytes_where_linux_does_not_look() {
    let steps = [
        (0, Op::MapAnonymous { area: AreaId(0), pages: 1, shared: false, place: Place::Colour(3) }),
        (0, Op::Store { to: bytes(0, 0, PAGE), seed: 1 }),
        (0, Op::Fork { child: TaskId(1) }),
        (1, Op::Store { to: bytes(0, 0, PAGE), seed: 2 }),
        (0, Op::RemoteWrite { target: TaskId(1), to: bytes(0, 128, 64), area: AreaId(0), offset: 0 }),
        (1, Op::Load(bytes(0, 128, 64))),
    ];
    for policy in PolicyKind::ALL {
        let outcome = run(setup(policy, 0), &steps);
        let has_it = matches!(policy, PolicyKind::None | PolicyKind::LinuxMips | PolicyKind::LinuxArm);
        assert_eq!(outcome.corrupted_bytes > 0, has_it, "{policy}");
        assert_eq!(outcome.unnamed_bytes, 0, "{policy}");
    }
}

#[test]
fn a_breakpoint_that_ptrace_sets_is_not_seen_on_arm() {
    let steps = [
        (0, Op::MapAnonymous { area: AreaId(0), pages: 1, shared: false, place: Place::Colour(3) }),
        (0, Op::Store { to: bytes(0, 0, PAGE), seed: 1 }),
        (0, Op::Fork { child: TaskId(1) }),
        (1, Op::Store { to: bytes(0, 0, 8), seed: 2 }),
        (0, Op::Poke { target: TaskId(1), to: bytes(0, 64, 4), seed: 5 }),
        (1, Op::Load(bytes(0, 64, 4))),
    ];
    for policy in PolicyKind::ALL {
        let outcome = run(setup(policy, 0), &steps);
        let has_it = matches!(policy, PolicyKind::None | PolicyKind::LinuxArm);
        assert_eq!(outcome.corrupted_bytes > 0, has_it, "{policy}");
    }
}

#[test]
fn read_of_a_page_that_is_mapped_shared_misses_what_was_stored_on_mips() {
    let steps = [
        (0, Op::Create { file: FileId(0), len: 4 * PAGE, seed: 1 }),
        (0, Op::MapAnonymous { area: AreaId(0), pages: 2, shared: false, place: Place::Anywhere }),
        (0, Op::Store { to: bytes(0, 0, 8), seed: 1 }),
        (0, Op::MapFile { area: AreaId(1), file: FileId(0), first: 3, pages: 1, shared: true, place: Place::Anywhere }),
        (0, Op::Store { to: bytes(1, 0, 64), seed: 2 }),
        (0, Op::Read { file: FileId(0), at: 3 * PAGE, to: bytes(0, 0, 64) }),
    ];
    for policy in PolicyKind::ALL {
        let outcome = run(setup(policy, 0), &steps);
        let has_it = matches!(policy, PolicyKind::None | PolicyKind::LinuxMips);
        assert_eq!(outcome.corrupted_bytes > 0, has_it, "{policy}");
    }
}

#[test]
fn a_ring_that_a_program_maps_at_another_colour_shows_old_entries_under_linux() {
    let steps = [
        (0, Op::RingCreate { area: AreaId(0), pages: 2 }),
        (0, Op::Load(bytes(0, 0, 2 * PAGE))),
        (0, Op::RingPost { to: bytes(0, 0, 64), seed: 1 }),
        (0, Op::RingPost { to: bytes(0, PAGE, 64), seed: 2 }),
        (0, Op::Load(bytes(0, 0, 2 * PAGE))),
        (0, Op::Store { to: bytes(0, 256, 64), seed: 3 }),
        (0, Op::Store { to: bytes(0, PAGE + 256, 64), seed: 4 }),
        (0, Op::RingTake(bytes(0, 256, 64))),
        (0, Op::RingTake(bytes(0, PAGE + 256, 64))),
    ];
    // Something else first, so that the frames and the pages of the ring differ in colour.
    let first = [
        (0, Op::MapAnonymous { area: AreaId(9), pages: 2, shared: false, place: Place::Anywhere }),
        (0, Op::Store { to: bytes(9, 0, 8), seed: 1 }),
    ];
    for policy in PolicyKind::ALL {
        let outcome = run(setup(policy, 0), &[&first[..], &steps[..]].concat());
        let has_it = matches!(policy, PolicyKind::None | PolicyKind::LinuxMips | PolicyKind::LinuxArm);
        assert_eq!(outcome.corrupted_bytes > 0, has_it, "{policy}");
    }
}
