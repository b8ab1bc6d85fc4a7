//! Workloads are what their seeds say, and what their names say.

extern crate std;
use std::collections::BTreeSet;
use std::vec::Vec;

use congruent_vm::{Op, Step};

use super::*;

#[test]
fn a_seed_says_every_step() {
    for kind in Kind::ALL {
        let steps = |seed| Workload::new(*kind, 3, seed, 4096).collect::<Vec<Step>>();
        assert_eq!(steps(5), steps(5), "{kind}");
        assert_ne!(steps(5), steps(6), "{kind}");
    }
}

#[test]
fn a_longer_workload_begins_as_the_shorter_one() {
    for kind in Kind::ALL.iter().filter(|kind| !matches!(kind, Kind::Sharers | Kind::Everything)) {
        let short: Vec<Step> = Workload::new(*kind, 5, 1, 4096).collect();
        let long: Vec<Step> = Workload::new(*kind, 50, 1, 4096).collect();
        assert!(long.len() > 4 * short.len() && long.starts_with(&short), "{kind}");
    }
}

#[test]
fn what_a_workload_is_named_after_happens_in_it() {
    let happens = |kind, what: fn(&Op) -> bool| {
        assert!(Workload::new(kind, 50, 1, 4096).any(|step| what(&step.op)), "{kind}");
    };
    happens(Kind::ForkThreads, |op| matches!(op, Op::Thread { .. }));
    happens(Kind::ForkThreads, |op| matches!(op, Op::Fork { .. }));
    happens(Kind::Shell, |op| matches!(op, Op::Exec { .. }));
    happens(Kind::Shell, |op| matches!(op, Op::PipeRead { .. }));
    happens(Kind::PageCache, |op| matches!(op, Op::MapFile { shared: true, .. }));
    happens(Kind::PageCache, |op| matches!(op, Op::Splice { .. }));
    happens(Kind::DirectIo, |op| matches!(op, Op::DirectRead { .. }));
    happens(Kind::DirectIo, |op| matches!(op, Op::DirectWrite { from, .. } if from.offset % 512 != 0));
    happens(Kind::Debugger, |op| matches!(op, Op::Poke { .. }));
    happens(Kind::Ring, |op| matches!(op, Op::RingPost { .. }));
    happens(Kind::Memory, |op| matches!(op, Op::SwapOut { .. }));
}

#[test]
fn chaos_does_everything() {
    let done: BTreeSet<_> =
        Workload::new(Kind::Chaos, 500, 1, 4096).map(|step| std::format!("{:?}", core::mem::discriminant(&step.op))).collect();
    assert_eq!(done.len(), 34);
}

#[test]
fn strands_that_run_at_once_keep_to_their_own_names() {
    let steps: Vec<Step> = Workload::new(Kind::Everything, 20, 1, 4096).collect();
    let tasks: BTreeSet<u16> = steps.iter().map(|step| step.task.0).collect();
    for (lane, kind) in ALL_AT_ONCE.iter().enumerate() {
        let first = 1 + 16 * lane as u16;
        assert!(tasks.contains(&first), "{kind}");
    }
    // Every name is below what the next strand begins with.
    let alone = |kind| Workload::new(kind, 4, 1, 4096).collect::<Vec<Step>>();
    for kind in ALL_AT_ONCE {
        for step in alone(kind) {
            let child = match step.op {
                Op::Fork { child } => child.0,
                Op::Create { file, .. } => 2 * file.0,
                Op::PipeRead { pipe, .. } => 8 * pipe.0,
                _ => step.task.0,
            };
            assert!(child < 16, "{kind}: {step}");
        }
    }
}

#[test]
fn larger_pages_are_filled_as_well() {
    for kind in Kind::ALL {
        let furthest = |page| {
            Workload::new(*kind, 20, 1, page).filter_map(|step| match step.op {
                Op::Store { to, .. } => Some(to.offset + to.len),
                _ => None,
            })
        };
        let (small, large) = (furthest(4096).max(), furthest(16384).max());
        assert!(small <= large && large > Some(4096), "{kind}: {small:?} {large:?}");
    }
}
