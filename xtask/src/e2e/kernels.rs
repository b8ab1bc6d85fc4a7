//! The example kernel on its board: right, and with each of its duties to the library left out, which must show as the class that it belongs to.
//!
//! The lines that it prints say that it does what it is for. On an emulator without caches they come whatever is left out; the judge must find it.

use congruent_shadow::HazardClass::{self, *};
use skeleton::Duty;

use super::row::Side::{Device, Function, Kernel, User};
use super::row::{Expect, Load, Pair, Run, Side};
use crate::guests::skeleton::{Board, Skeleton};

/// What its processes do, as the program names it (`examples/skeleton/user/program.c`).
pub const PROGRAMS: &str =
    "arguments,zero-pages,fork-while-a-thread-stores,shared-file,peek-and-poke,exec,direct-disk,recycled-frames";

const TAKES_TURNS: Side = Function(&["takes_turns"]);
const LOADS_BUFFER: Side = Function(&["loads_buffer"]);
const STORES_BUFFER: Side = Function(&["stores_buffer"]);
const BESIDE: Side = Function(&["thread_stores_beside"]);
const PATCHED: Side = Function(&["answers"]);
const LOADS_NUMBERS: Side = Function(&["loads_elsewhere"]);
const STORES_NUMBERS: Side = Function(&["stores_to_file"]);

const fn of(class: HazardClass, consumer: Side, producer: Side) -> Pair {
    Pair { class: Some(class), consumer, producer }
}

const fn malta(name: &'static str, forgets: Option<Duty>, expect: Expect) -> Run {
    Run {
        name,
        load: Load::Skeleton(Skeleton { board: Board::Malta, forgets }),
        dcache: "p5600",
        icache: Some("32K,4,32"),
        cpu_caches: None,
        behaviour: &[],
        mute: &[],
        expect,
        callers: &[],
    }
}

const fn without(duty: Duty, name: &'static str, expect: Expect) -> Run {
    malta(name, Some(duty), expect)
}

/// Every run of it.
pub const KERNELS: &[Run] = &[
    malta("skeleton-malta", None, Expect::Clean),
    // What a boot loader had stored is written back over what files hold.
    without(Duty::Empty, "skeleton-malta-empty", Expect::AtLeast(&[of(WriteUnderDirtyAlias, Kernel, Kernel)])),
    without(
        Duty::WriteBack,
        "skeleton-malta-write-back",
        Expect::AtLeast(&[
            of(FetchDirty, User, Kernel),
            of(ReadDirtyElsewhere, TAKES_TURNS, User),
            of(DmaReadStale, Device, STORES_BUFFER),
        ]),
    ),
    without(
        Duty::Invalidate,
        "skeleton-malta-invalidate",
        Expect::AtLeast(&[of(ReadStaleCopy, LOADS_BUFFER, Device), of(ReadStaleCopy, TAKES_TURNS, TAKES_TURNS)]),
    ),
    without(Duty::DropInstructions, "skeleton-malta-drop-code", Expect::Exactly(&[of(FetchStaleCopy, PATCHED, Kernel)])),
    without(Duty::Revoke, "skeleton-malta-revoke", Expect::AtLeast(&[of(ReadDirtyElsewhere, TAKES_TURNS, TAKES_TURNS)])),
    // A switch between processes flushes the TLBs anyway. A thread beside the buffer of a transfer is not switched from.
    without(
        Duty::RevokeTlb,
        "skeleton-malta-revoke-tlb",
        Expect::Exactly(&[of(ReadStaleCopy, LOADS_BUFFER, Device), of(ClobberedNeighbour, LOADS_BUFFER, Device)]),
    ),
    without(
        Duty::Announce,
        "skeleton-malta-announce",
        Expect::AtLeast(&[of(ReadDirtyElsewhere, TAKES_TURNS, TAKES_TURNS), of(FetchDirty, User, Kernel)]),
    ),
    without(
        Duty::Window,
        "skeleton-malta-window",
        Expect::Exactly(&[of(ReadDirtyElsewhere, Kernel, User), of(ReadDirtyElsewhere, Kernel, Kernel)]),
    ),
    without(
        Duty::WriteProtected,
        "skeleton-malta-write-protected",
        Expect::Exactly(&[of(ReadDirtyElsewhere, LOADS_NUMBERS, STORES_NUMBERS)]),
    ),
    without(Duty::Unmapped, "skeleton-malta-unmapped", Expect::AtLeast(&[of(ReadDirtyElsewhere, LOADS_NUMBERS, STORES_NUMBERS)])),
    without(Duty::Instructions, "skeleton-malta-poke", Expect::Exactly(&[of(FetchDirty, PATCHED, Kernel)])),
    without(Duty::DeviceReads, "skeleton-malta-disk-out", Expect::Exactly(&[of(DmaReadStale, Device, STORES_BUFFER)])),
    without(
        Duty::DeviceWrites,
        "skeleton-malta-disk-in",
        Expect::Exactly(&[
            of(ReadStaleCopy, LOADS_BUFFER, Device),
            of(DmaWriteUnderDirty, Device, STORES_BUFFER),
            of(DmaWriteUnderDirty, Device, BESIDE),
        ]),
    ),
    // The thread that stores beside the buffer brings its lines back while the disk is at work.
    without(Duty::Complete, "skeleton-malta-complete", Expect::Exactly(&[of(ReadStaleCopy, LOADS_BUFFER, Device)])),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duty_is_left_out_in_a_run_that_must_find_it() {
        for duty in Duty::ALL {
            let rows: Vec<&Run> =
                KERNELS.iter().filter(|run| matches!(run.load, Load::Skeleton(kernel) if kernel.forgets == Some(duty))).collect();
            assert!(!rows.is_empty(), "{duty:?}");
            assert!(
                rows.iter().all(|run| matches!(run.expect, Expect::AtLeast(pairs) | Expect::Exactly(pairs) if !pairs.is_empty()))
            );
        }
        assert!(KERNELS.iter().any(|run| matches!(run.load, Load::Skeleton(Skeleton { forgets: None, .. }))));
    }
}
