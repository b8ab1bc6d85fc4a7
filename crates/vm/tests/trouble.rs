//! When something runs out or breaks: a clear error, and nothing that was written is lost.

use congruent_geometry::CacheGeometry;
use congruent_machine::{Damaged, MediumError};
use congruent_vm::{
    AreaId, Bytes, Errno, FileId, Op, PipeId, Place, PolicyKind, Setup, SetupError, Simulation, Step, StepOutcome, TaskId,
};

const PAGE: u32 = 4096;
const BLOCK: u64 = 8;
const MEMORY: AreaId = AreaId(0);
const FILE: FileId = FileId(0);

fn setup(policy: PolicyKind) -> Setup {
    Setup { policy, swap_pages: 0, ..Setup::new(CacheGeometry::new(32 << 10, 2, 32).unwrap()) }
}

fn disk(pages: usize) -> Damaged<Vec<u8>> {
    Damaged::new(vec![0; pages * PAGE as usize])
}

fn right() -> impl Iterator<Item = PolicyKind> {
    PolicyKind::ALL.into_iter().filter(|policy| policy.is_library() || *policy == PolicyKind::FlushAlways)
}

struct Run(Simulation<Damaged<Vec<u8>>>);

impl Run {
    fn new(setup: Setup, pages: usize) -> Self {
        let mut run = Self(Simulation::new(setup, disk(pages)).unwrap());
        run.ok(Op::MapAnonymous { area: MEMORY, pages: 8, shared: false, place: Place::Anywhere });
        run
    }

    fn step(&mut self, op: Op) -> StepOutcome {
        self.0.step(&Step { task: TaskId(0), op })
    }

    fn ok(&mut self, op: Op) -> u32 {
        let outcome = self.step(op);
        assert_eq!(outcome.corrupt, None, "{op:?}");
        outcome.result.unwrap_or_else(|error| panic!("{op:?}: {error}"))
    }

    fn fails(&mut self, op: Op, with: Errno) {
        assert_eq!(self.step(op).result, Err(with), "{op:?}");
    }

    /// What the file holds is what the model says it holds.
    fn reads_back(&mut self, len: u32) {
        let read = Op::Read { file: FILE, at: 0, to: bytes(0, len) };
        assert_eq!(self.ok(read), len);
        self.ok(Op::Load(bytes(0, len)));
    }
}

fn bytes(offset: u32, len: u32) -> Bytes {
    Bytes { area: MEMORY, offset, len }
}

#[test]
fn a_full_disk_refuses_a_write_whole_and_keeps_what_was_written() {
    for policy in right() {
        let mut run = Run::new(setup(policy), 3);
        run.ok(Op::Create { file: FILE, len: 2 * PAGE, seed: 1 });
        run.ok(Op::Store { to: bytes(0, 4 * PAGE), seed: 2 });
        run.ok(Op::Write { file: FILE, at: 0, from: bytes(0, 100) });
        run.fails(Op::Write { file: FILE, at: PAGE, from: bytes(0, 3 * PAGE) }, Errno::NoSpace);
        run.fails(Op::DirectWrite { file: FILE, at: 2 * PAGE, from: bytes(0, 2 * PAGE) }, Errno::NoSpace);
        run.fails(Op::Create { file: FileId(1), len: 2 * PAGE, seed: 3 }, Errno::NoSpace);
        run.ok(Op::Evict { file: FILE });
        run.reads_back(2 * PAGE);
        // Another page is there.
        assert_eq!(run.ok(Op::Write { file: FILE, at: 2 * PAGE, from: bytes(0, PAGE) }), PAGE);
        run.reads_back(3 * PAGE);
    }
}

#[test]
fn a_page_that_cannot_be_written_to_the_disk_stays_in_the_cache() {
    for policy in right() {
        let mut run = Run::new(setup(policy), 16);
        run.ok(Op::Create { file: FILE, len: 2 * PAGE, seed: 1 });
        run.ok(Op::Store { to: bytes(0, 2 * PAGE), seed: 2 });
        run.ok(Op::Write { file: FILE, at: 0, from: bytes(0, 2 * PAGE) });
        run.0.medium_mut().fail_writes(3, MediumError::Unwritable);
        run.fails(Op::Sync { file: FILE }, Errno::Io);
        run.fails(Op::Evict { file: FILE }, Errno::Io);
        run.reads_back(2 * PAGE);
        run.0.medium_mut().repair();
        run.ok(Op::Evict { file: FILE });
        run.reads_back(2 * PAGE);
    }
}

#[test]
fn a_page_that_cannot_be_read_is_an_error_each_time_until_it_can() {
    for policy in right() {
        let mut run = Run::new(setup(policy), 16);
        run.ok(Op::Create { file: FILE, len: 4 * PAGE, seed: 1 });
        let free = run.0.free_frames();
        run.0.medium_mut().fail_reads(BLOCK, MediumError::Unreadable);
        run.fails(Op::Read { file: FILE, at: PAGE, to: bytes(0, 10) }, Errno::Io);
        let map = Op::MapFile { area: AreaId(1), file: FILE, first: 0, pages: 4, shared: true, place: Place::Anywhere };
        run.ok(map);
        run.fails(Op::Load(Bytes { area: AreaId(1), offset: PAGE, len: 4 }), Errno::Io);
        run.fails(Op::DirectRead { file: FILE, at: PAGE, to: bytes(0, 512) }, Errno::Io);
        // What comes before the bad sector is read.
        assert_eq!(run.ok(Op::Read { file: FILE, at: 0, to: bytes(0, 2 * PAGE) }), PAGE);
        assert_eq!(run.ok(Op::DirectRead { file: FILE, at: PAGE - 1024, to: bytes(0, PAGE) }), 1024);
        run.0.medium_mut().repair();
        run.reads_back(4 * PAGE);
        assert!(run.0.free_frames() >= free - 4 - 8, "no frame is lost");
    }
}

#[test]
fn memory_that_runs_out_is_swapped_and_then_an_error() {
    for policy in right() {
        let mut run = Run::new(Setup { frames: 6, swap_pages: 4, ..setup(policy) }, 32);
        // Eight pages in six frames: some are in the swap.
        run.ok(Op::Store { to: bytes(0, 8 * PAGE), seed: 1 });
        run.ok(Op::Load(bytes(0, 8 * PAGE)));
        run.ok(Op::MapAnonymous { area: AreaId(1), pages: 8, shared: false, place: Place::Anywhere });
        run.fails(Op::Store { to: Bytes { area: AreaId(1), offset: 0, len: 8 * PAGE }, seed: 2 }, Errno::NoMemory);
        run.ok(Op::Unmap { area: AreaId(1), first: 0, pages: 8 });
        run.ok(Op::Load(bytes(0, 8 * PAGE)));
    }
}

#[test]
fn everything_that_a_process_had_is_free_when_it_is_gone() {
    for policy in right() {
        let mut run = Run::new(Setup { swap_pages: 8, ..setup(policy) }, 64);
        let free = run.0.free_frames();
        run.ok(Op::Create { file: FILE, len: 4 * PAGE, seed: 1 });
        for op in [
            Op::Store { to: bytes(0, 8 * PAGE), seed: 1 },
            Op::Fork { child: TaskId(1) },
            Op::MapFile { area: AreaId(1), file: FILE, first: 0, pages: 4, shared: false, place: Place::Anywhere },
            Op::MapAnonymous { area: AreaId(2), pages: 4, shared: true, place: Place::Anywhere },
            Op::RingCreate { area: AreaId(3), pages: 2 },
            Op::Store { to: Bytes { area: AreaId(1), offset: 0, len: 4 * PAGE }, seed: 2 },
            Op::Store { to: Bytes { area: AreaId(2), offset: 0, len: 4 * PAGE }, seed: 3 },
            Op::Store { to: bytes(0, 4 * PAGE), seed: 4 },
            Op::SwapOut { area: MEMORY, first: 0, pages: 2 },
            Op::PipeWrite { pipe: PipeId(0), from: bytes(100, 300) },
            Op::PipeRead { pipe: PipeId(0), to: bytes(0, 300) },
            Op::Exit,
        ] {
            run.ok(op);
        }
        assert_eq!(run.0.step(&Step { task: TaskId(1), op: Op::Evict { file: FILE } }).result, Ok(4), "{policy}");
        assert_eq!(run.0.step(&Step { task: TaskId(1), op: Op::Exit }).result, Ok(0));
        assert_eq!(run.0.free_frames(), free, "{policy}");
    }
}

#[test]
fn a_machine_that_cannot_be_is_refused_with_the_reason() {
    let error = |setup: Setup, pages| Simulation::new(setup, disk(pages)).err().expect("it is refused");
    let base = || setup(PolicyKind::Window);
    let small = error(Setup { swap_pages: 10, ..base() }, 4);
    assert_eq!(small, SetupError::DiskTooSmall { swap: 80, disk: 32 });
    assert!(small.to_string().contains("80 sectors"));
    assert!(matches!(error(Setup { frames: 0, ..base() }, 4), SetupError::Machine(_)));
    assert!(matches!(error(Setup { cpus: 0, ..base() }, 4), SetupError::Machine(_)));
    assert_eq!("windows".parse::<PolicyKind>().unwrap_err().to_string().matches(',').count(), 7);
    for policy in PolicyKind::ALL {
        assert_eq!(policy.to_string().parse(), Ok(policy));
    }
}
