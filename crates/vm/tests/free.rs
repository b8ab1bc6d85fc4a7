//! With windows of the right colour, fork, copy-on-write, read, write and mmap need no alias maintenance
//! at all, as long as mappings are congruent.

use congruent_geometry::CacheGeometry;
use congruent_vm::{AreaId, Bytes, FileId, Op, Outcome, Place, PolicyKind, Setup, Simulation, Step, TaskId};

const PAGE: u32 = 4096;

fn programs() -> Vec<Step> {
    let (parent, thread, child) = (TaskId(0), TaskId(1), TaskId(2));
    let (heap, shared, private, file) = (AreaId(0), AreaId(1), AreaId(2), FileId(0));
    let whole = |area| Bytes { area, offset: 0, len: 4 * PAGE };
    let mut steps = vec![
        (parent, Op::Create { file, len: 8 * PAGE, seed: 9 }),
        (parent, Op::MapAnonymous { area: heap, pages: 4, shared: false, place: Place::Anywhere }),
        (parent, Op::MapFile { area: shared, file, first: 1, pages: 4, shared: true, place: Place::Anywhere }),
        (parent, Op::MapFile { area: private, file, first: 3, pages: 4, shared: false, place: Place::Anywhere }),
        (parent, Op::Thread { new: thread }),
    ];
    for round in 0..20 {
        steps.extend([
            (parent, Op::Store { to: whole(heap), seed: round }),
            (parent, Op::Fork { child }),
            (thread, Op::Store { to: Bytes { area: heap, offset: 100, len: 700 }, seed: round + 1000 }),
            (child, Op::Load(whole(heap))),
            (child, Op::Store { to: Bytes { area: heap, offset: PAGE, len: 64 }, seed: round + 2000 }),
            (child, Op::Store { to: whole(private), seed: round + 3000 }),
            (parent, Op::Load(whole(heap))),
            (parent, Op::Store { to: Bytes { area: shared, offset: 5, len: 300 }, seed: round + 4000 }),
            (child, Op::Load(whole(shared))),
            (child, Op::Read { file, at: PAGE, to: whole(heap) }),
            (parent, Op::Write { file, at: PAGE + 17, from: Bytes { area: heap, offset: 3, len: 3 * PAGE } }),
            (child, Op::Load(whole(shared))),
            (parent, Op::Load(whole(private))),
            (child, Op::Exit),
        ]);
    }
    steps.into_iter().map(|(task, op)| Step { task, op }).collect()
}

fn run(policy: PolicyKind) -> Outcome {
    let geometry = CacheGeometry::new(64 << 10, 4, 32).unwrap();
    let mut simulation = Simulation::new(Setup { policy, cpus: 2, ..Setup::new(geometry) }, vec![0; 16 << 20]).unwrap();
    simulation.run(programs());
    simulation.finish()
}

#[test]
fn our_policies_need_no_alias_maintenance_for_congruent_mappings() {
    for policy in [PolicyKind::Window, PolicyKind::KeptWindows, PolicyKind::ReverseLookup, PolicyKind::FrameColoured] {
        let outcome = run(policy);
        assert_eq!((outcome.corrupted_bytes, outcome.findings.len(), outcome.errors.len()), (0, 0, 0), "{policy}");
        for (name, spent) in &outcome.operations {
            let lines = |c: &congruent_machine::Counters| {
                c.lines_written_back + c.lines_invalidated + c.lines_written_back_and_invalidated + c.whole_operations
            };
            assert_eq!(lines(&spent.counters), 0, "{policy}: {name}");
        }
        // The one operation is that of the boot.
        assert_eq!((outcome.maintenance.lines, outcome.maintenance.whole), (0, 1), "{policy}");
    }
}

#[test]
fn the_others_pay_for_the_same_programs() {
    for policy in [PolicyKind::FlushAlways, PolicyKind::LinuxMips, PolicyKind::LinuxArm] {
        assert!(run(policy).maintenance.pages > 100, "{policy}");
    }
}

#[test]
fn without_maintenance_the_same_programs_see_old_bytes() {
    let outcome = run(PolicyKind::None);
    assert!(outcome.corrupted_bytes > 0 && !outcome.findings.is_empty());
    assert_eq!(outcome.unnamed_bytes, 0);
}

#[test]
fn coloured_frames_need_no_windows_either() {
    assert_eq!(run(PolicyKind::FrameColoured).counters.window_maps, 0);
    assert!(run(PolicyKind::Window).counters.window_maps > 0);
    assert!(run(PolicyKind::KeptWindows).counters.window_maps < run(PolicyKind::Window).counters.window_maps);
}
