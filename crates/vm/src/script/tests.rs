//! Scripts are read back as they were written, and what is wrong with one is said.

extern crate std;
use std::string::ToString;
use std::vec;

use congruent_machine::Random;

use super::*;
use crate::op::{AreaId, Bytes, FileId, PipeId, Place, TaskId};

/// Any operation of each kind: `kind` counts through them, the numbers are random with a liking for the extremes.
fn any(kind: usize, random: &mut Random) -> Option<Op> {
    let mut n = || match random.below(4) {
        0 => 0,
        1 => u32::MAX,
        _ => random.bits() as u32,
    };
    let (area, file, pipe) = (AreaId(n() as u16), FileId(n() as u16), PipeId(n() as u16));
    let (new, child, target) = (TaskId(n() as u16), TaskId(n() as u16), TaskId(n() as u16));
    let bytes = Bytes { area: AreaId(n() as u16), offset: n(), len: n() };
    let place = if n() % 2 == 0 { Place::Anywhere } else { Place::Colour(n() as u16) };
    let (seed, at, first, pages, offset, shared, write) = (n(), n(), n(), n(), n(), n() % 2 == 0, n() % 2 == 0);
    let (from, to) = (bytes, bytes);
    let all = [
        Op::Load(bytes),
        Op::Store { to, seed },
        Op::Increment { area, offset },
        Op::Run(bytes),
        Op::SyncCode(bytes),
        Op::Thread { new },
        Op::Fork { child },
        Op::Exec { file, arguments: at, seed },
        Op::Exit,
        Op::MapAnonymous { area, pages, shared, place },
        Op::MapFile { area, file, first, pages, shared, place },
        Op::Unmap { area, first, pages },
        Op::Remap { area, place },
        Op::Protect { area, write, execute: shared },
        Op::Create { file, len: at, seed },
        Op::Read { file, at, to },
        Op::Write { file, at, from },
        Op::DirectRead { file, at, to },
        Op::DirectWrite { file, at, from },
        Op::Splice { file, first, pages, pipe },
        Op::PipeWrite { pipe, from },
        Op::PipeRead { pipe, to },
        Op::Sync { file },
        Op::Evict { file },
        Op::VmapRead { file, first, pages },
        Op::VmapWrite { file, first, pages, seed },
        Op::SwapOut { area, first, pages },
        Op::Peek { target, from },
        Op::Poke { target, to, seed },
        Op::RemoteRead { target, from, area, offset },
        Op::RemoteWrite { target, to, area, offset },
        Op::RingCreate { area, pages },
        Op::RingPost { to, seed },
        Op::RingTake(from),
    ];
    all.get(kind).copied()
}

#[test]
fn every_step_is_read_back_as_it_was_written() {
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let mut kind = 0;
        while let Some(op) = any(kind, &mut random) {
            let step = Step { task: TaskId(random.bits() as u16), op };
            assert_eq!(step.to_string().parse(), Ok(step), "seed {seed}: {step}");
            kind += 1;
        }
        assert_eq!(kind, 34);
    }
}

#[test]
fn comments_units_and_rounds_are_understood() {
    let steps = parse_script(
        "# a title\n\n0: store 1+4K 1K seed 4294967295 # why\nrepeat 2 {\n 0: exit\nrepeat 2 {\n0:store 0+0 4 seed 10\n}\n}\n",
    );
    let store = |area, offset, len, seed| Op::Store { to: Bytes { area: AreaId(area), offset, len }, seed };
    let ops: Vec<Op> = steps.unwrap().iter().map(|step| step.op).collect();
    let round = |add: u32| [Op::Exit, store(0, 0, 4, 10 + add), store(0, 0, 4, 11 + add)];
    assert_eq!(ops, [&[store(1, 4096, 1024, u32::MAX)][..], &round(0), &round(1)].concat());
}

#[test]
fn what_is_written_is_a_script() {
    let steps = vec![Step { task: TaskId(0), op: Op::Exit }, Step { task: TaskId(9), op: Op::Sync { file: FileId(2) } }];
    let text = write_script(&steps);
    assert_eq!(text, "0: exit\n9: sync 2\n");
    assert_eq!(parse_script(&text), Ok(steps));
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, says) in [
        ("0: exit\n\nload 0+0 4\n", "line 3: expected a task's number and a colon, as in `0: exit`, found `load 0+0 4`"),
        ("x: exit", "line 1: expected a task's number and a colon, as in `0: exit`, found `x`"),
        ("70000: exit", "found `70000`"),
        ("0: lod 0+0 4", "line 1: expected an operation such as load, store, map or fork, found `lod`"),
        ("0:", "line 1: expected an operation such as load, store, map or fork, but the line ends"),
        ("0: load 0 4", "expected MAPPING+OFFSET, as in `0+4096`, found `0`"),
        ("0: load 0+0", "expected a number of bytes, but the line ends"),
        ("0: load 0++1 4", "expected MAPPING+OFFSET, as in `0+4096`, found `0++1`"),
        ("0: load 0+0 4G", "expected a number of bytes, found `4G`"),
        ("0: load 0+0 4096M", "expected a number of bytes, found `4096M`"),
        ("0: store 0+0 4", "expected `seed` and a number, but the line ends"),
        ("0: exit now", "expected the end of the line, found `now`"),
        ("0: unmap 0 pages 3..2", "expected `pages FIRST..END`, as in `pages 0..4`, found `3..2`"),
        ("0: map 0 anon 4", "expected `anonymous` or `file`, found `anon`"),
        ("0: protect 0 -w-", "expected one of r--, rw-, r-x, rwx, found `-w-`"),
        ("0: read 0+0 from 0+0 4", "expected `to` and MAPPING+OFFSET, found `from`"),
        ("repeat {\n}", "line 1: expected `repeat N {` with a number of rounds, found `repeat {`"),
        ("repeat 3\n}", "found `repeat 3`"),
        ("0: exit\n}", "line 2: this `}` closes no `repeat N {`"),
        ("0: exit\nrepeat 2 {\n0: exit\n", "line 2: this `repeat` is never closed"),
        ("repeat 60000 {\nrepeat 60000 {\n0: exit\n}\n}", "line 5: the script unfolds into more than 50000000 steps"),
    ] {
        let error = parse_script(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text:?}: {error}");
    }
}
