//! Every short sequence of operations over two processes that share what processes can share, on a small machine: the right policies
//! are never wrong, and the judge names what the others let through.

use congruent_geometry::CacheGeometry;
use congruent_machine::Replacement;
use congruent_vm::{AreaId, Bytes, FileId, Op, Outcome, PipeId, Place, PolicyKind, Setup, Simulation, Step, TaskId};

const PAGE: u32 = 1024;
const PARENT: TaskId = TaskId(0);
const CHILD: TaskId = TaskId(1);
const HEAP: AreaId = AreaId(0);
const SHARED: AreaId = AreaId(1);
const FILE: FileId = FileId(0);

fn at(area: AreaId, offset: u32) -> Bytes {
    Bytes { area, offset, len: 8 }
}

/// What the sequences are made of. Places are the neighbours of one line, so that lines are shared by what does not overlap.
fn alphabet(colour: u16) -> Vec<Step> {
    let parent = [
        Op::Store { to: at(HEAP, 0), seed: 1 },
        Op::Store { to: at(SHARED, 8), seed: 2 },
        Op::Load(at(SHARED, 0)),
        Op::Read { file: FILE, at: 4, to: at(HEAP, 8) },
        Op::Write { file: FILE, at: 12, from: at(HEAP, 4) },
        Op::DirectRead { file: FILE, at: 0, to: Bytes { area: HEAP, offset: 16, len: 512 } },
        Op::DirectWrite { file: FILE, at: 0, from: Bytes { area: HEAP, offset: 4, len: 512 } },
        Op::Poke { target: CHILD, to: at(HEAP, 4), seed: 3 },
        Op::Peek { target: CHILD, from: at(HEAP, 0) },
        Op::RemoteWrite { target: CHILD, to: at(HEAP, 12), area: HEAP, offset: 0 },
        Op::Remap { area: HEAP, place: Place::Colour(colour) },
        Op::SwapOut { area: HEAP, first: 0, pages: 1 },
        Op::Evict { file: FILE },
        Op::VmapWrite { file: FILE, first: 0, pages: 1, seed: 4 },
        Op::Splice { file: FILE, first: 0, pages: 1, pipe: PipeId(0) },
        Op::PipeRead { pipe: PipeId(0), to: at(HEAP, 20) },
        Op::Fork { child: TaskId(2) },
    ];
    let child = [
        Op::Store { to: at(HEAP, 4), seed: 5 },
        Op::Store { to: at(SHARED, 12), seed: 6 },
        Op::Load(at(SHARED, 4)),
        Op::Unmap { area: HEAP, first: 0, pages: 1 },
    ];
    let by = |task| move |op| Step { task, op };
    parent.into_iter().map(by(PARENT)).chain(child.into_iter().map(by(CHILD))).collect()
}

/// Two processes with a page of anonymous memory that fork made, and a page of a file that both map.
fn beginning() -> [Step; 5] {
    let by = |op| Step { task: PARENT, op };
    [
        by(Op::Create { file: FILE, len: PAGE, seed: 7 }),
        by(Op::MapAnonymous { area: HEAP, pages: 1, shared: false, place: Place::Colour(1) }),
        by(Op::MapFile { area: SHARED, file: FILE, first: 0, pages: 1, shared: true, place: Place::Anywhere }),
        by(Op::Store { to: at(HEAP, 0), seed: 8 }),
        by(Op::Fork { child: CHILD }),
    ]
}

fn ending() -> [Step; 5] {
    let whole = |area| Op::Load(Bytes { area, offset: 0, len: PAGE });
    [
        Step { task: PARENT, op: whole(HEAP) },
        Step { task: CHILD, op: whole(HEAP) },
        Step { task: CHILD, op: whole(SHARED) },
        Step { task: PARENT, op: whole(SHARED) },
        Step { task: PARENT, op: Op::Sync { file: FILE } },
    ]
}

fn run(policy: PolicyKind, seed: u64, steps: &[Step]) -> Outcome {
    let dcache = CacheGeometry::with_page(2 * PAGE, 1, 32, PAGE).unwrap();
    let setup = Setup {
        policy,
        frames: 8,
        swap_pages: 2,
        // Half of the sequences on a cache that keeps what it can, half on one that does what it likes.
        replacement: if seed.is_multiple_of(2) { Replacement::Lru } else { Replacement::Adversarial },
        seed,
        lookahead: 0,
        kept_windows: 2,
        ..Setup::new(dcache)
    };
    let mut simulation = Simulation::new(setup, vec![0; 6 * PAGE as usize]).unwrap();
    simulation.run(beginning().into_iter().chain(steps.iter().copied()).chain(ending()));
    simulation.finish()
}

#[test]
fn no_sequence_of_three_operations_is_wrong_or_unnamed() {
    let steps = alphabet(0);
    let mut corrupted = [0; PolicyKind::ALL.len()];
    let mut seed = 0;
    for a in &steps {
        for b in &steps {
            for c in &steps {
                seed += 1;
                for (policy, corrupted) in PolicyKind::ALL.into_iter().zip(&mut corrupted) {
                    let outcome = run(policy, seed, &[*a, *b, *c]);
                    let story = || format!("{policy}, seed {seed}: {:?}", [a.op, b.op, c.op]);
                    if policy.is_library() || policy == PolicyKind::FlushAlways {
                        assert_eq!(outcome.findings, [], "{}", story());
                    }
                    assert_eq!(outcome.unnamed_bytes, 0, "{}", story());
                    *corrupted += outcome.corrupted_bytes;
                }
            }
        }
    }
    for (policy, corrupted) in PolicyKind::ALL.into_iter().zip(corrupted) {
        let is_right = policy.is_library() || policy == PolicyKind::FlushAlways;
        assert_eq!(corrupted == 0, is_right, "{policy}: {corrupted} bytes");
    }
}
