//! The example kernel on its boards: right, and with each of its duties to the library left out, which must show as the class that it belongs to.
//!
//! The lines that it prints say that it does what it is for. On an emulator without caches they come whatever is left out; the judge must find it.

use congruent_shadow::HazardClass::{self, *};
use skeleton::Duty;

use super::row::Side::{Device, Function, Kernel, User};
use super::row::{Expect, Load, Pair, Run, Side};
use crate::guests::skeleton::{Board, Skeleton};

// Functions of the program (`examples/skeleton/user`).
const TAKES_TURNS: Side = Function(&["takes_turns"]);
const LOADS_BUFFER: Side = Function(&["loads_buffer"]);
const STORES_BUFFER: Side = Function(&["stores_buffer"]);
const BESIDE: Side = Function(&["thread_stores_beside"]);
const PATCHED: Side = Function(&["answers"]);
const LOADS_NUMBERS: Side = Function(&["loads_elsewhere"]);
const STORES_NUMBERS: Side = Function(&["stores_to_file"]);
const LOADS_THERE: Side = Function(&["loads_there"]);
const STORES_HERE: Side = Function(&["stores_here"]);

const fn of(class: HazardClass, consumer: Side, producer: Side) -> Pair {
    Pair { class: Some(class), consumer, producer }
}

const fn on(kernel: Skeleton, name: &'static str, expect: Expect) -> Run {
    let (dcache, icache) = match kernel.board {
        Board::Malta => ("p5600", "32K,4,32"),
        Board::Raspi => ("arm1176-qemu", "64K,4,32"),
    };
    Run {
        name,
        load: Load::Skeleton(kernel),
        dcache,
        icache: Some(icache),
        cpu_caches: if kernel.cpus > 1 { Some("broadcast") } else { None },
        behaviour: &[],
        mute: &[],
        expect,
        callers: &[],
    }
}

const MALTA: Skeleton = Skeleton { board: Board::Malta, forgets: None, in_order: false, cpus: 1 };
const MALTA_SMP: Skeleton = Skeleton { cpus: 2, ..MALTA };
const RASPI: Skeleton = Skeleton { board: Board::Raspi, ..MALTA };

const fn malta(duty: Duty, name: &'static str, expect: Expect) -> Run {
    on(Skeleton { forgets: Some(duty), ..MALTA }, name, expect)
}

const fn raspi(duty: Duty, name: &'static str, expect: Expect) -> Run {
    on(Skeleton { forgets: Some(duty), ..RASPI }, name, expect)
}

/// A run in which every load gets the oldest bytes that the modelled core could give it: the lines that the processes print say that there are none.
const fn injected(run: Run) -> Run {
    Run { behaviour: &["--inject", "worst"], ..run }
}

/// What a boot loader had stored is written back over what pages hold.
const EMPTY: Expect = Expect::AtLeast(&[of(WriteUnderDirtyAlias, Kernel, Kernel)]);
const RUNS_OLD: Pair = of(FetchDirty, User, Kernel);
const READS_BEFORE_WRITE_BACK: Pair = of(ReadDirtyElsewhere, TAKES_TURNS, Kernel);
const READS_OLD_COPY: Pair = of(ReadStaleCopy, TAKES_TURNS, Kernel);
const READS_OLD_DISK: Pair = of(ReadStaleCopy, LOADS_BUFFER, Device);
const DISK_READS_OLD: Pair = of(DmaReadStale, Device, STORES_BUFFER);
const BOTH: Expect = Expect::AtLeast(&[READS_BEFORE_WRITE_BACK, READS_OLD_COPY]);
const DROP_INSTRUCTIONS: Expect = Expect::Exactly(&[of(FetchStaleCopy, PATCHED, Kernel)]);
const REVOKE: Expect = Expect::AtLeast(&[of(ReadDirtyElsewhere, TAKES_TURNS, TAKES_TURNS), READS_THERE]);
/// A switch between processes flushes the TLBs anyway: what a process does to itself is found.
const READS_THERE: Pair = of(ReadDirtyElsewhere, LOADS_THERE, STORES_HERE);
const ANNOUNCE: Expect = Expect::AtLeast(&[of(ReadDirtyElsewhere, TAKES_TURNS, TAKES_TURNS), of(FetchDirty, User, Kernel)]);
const WINDOW: Expect = Expect::AtLeast(&[of(ReadDirtyElsewhere, Kernel, User)]);
const WRITE_PROTECTED: Expect = Expect::Exactly(&[of(ReadDirtyElsewhere, LOADS_NUMBERS, STORES_NUMBERS)]);
const UNMAPPED: Expect = Expect::AtLeast(&[of(ReadDirtyElsewhere, LOADS_NUMBERS, STORES_NUMBERS)]);
const INSTRUCTIONS: Expect = Expect::Exactly(&[of(FetchDirty, PATCHED, Kernel)]);

/// Every run of it.
pub const KERNELS: &[Run] = &[
    on(MALTA, "skeleton-malta", Expect::Clean),
    on(Skeleton { in_order: true, ..MALTA }, "skeleton-malta-in-order", Expect::Clean),
    injected(on(MALTA, "skeleton-malta-injected", Expect::Clean)),
    malta(Duty::Empty, "skeleton-malta-empty", EMPTY),
    malta(Duty::WriteBack, "skeleton-malta-write-back", Expect::AtLeast(&[RUNS_OLD, READS_BEFORE_WRITE_BACK, DISK_READS_OLD])),
    malta(Duty::Invalidate, "skeleton-malta-invalidate", Expect::AtLeast(&[READS_OLD_COPY, READS_OLD_DISK])),
    on(Skeleton { forgets: Some(Duty::WriteBackInvalidate), in_order: true, ..MALTA }, "skeleton-malta-in-order-both", BOTH),
    malta(Duty::DropInstructions, "skeleton-malta-drop-code", DROP_INSTRUCTIONS),
    malta(Duty::Revoke, "skeleton-malta-revoke", REVOKE),
    malta(Duty::RevokeTlb, "skeleton-malta-revoke-tlb", Expect::AtLeast(&[READS_THERE, READS_OLD_DISK])),
    malta(Duty::Announce, "skeleton-malta-announce", ANNOUNCE),
    malta(Duty::Window, "skeleton-malta-window", WINDOW),
    malta(Duty::WriteProtected, "skeleton-malta-write-protected", WRITE_PROTECTED),
    malta(Duty::Unmapped, "skeleton-malta-unmapped", UNMAPPED),
    malta(Duty::Instructions, "skeleton-malta-poke", INSTRUCTIONS),
    malta(Duty::DeviceReads, "skeleton-malta-disk-out", Expect::Exactly(&[DISK_READS_OLD])),
    malta(
        Duty::DeviceWrites,
        "skeleton-malta-disk-in",
        Expect::Exactly(&[READS_OLD_DISK, of(DmaWriteUnderDirty, Device, STORES_BUFFER), of(DmaWriteUnderDirty, Device, BESIDE)]),
    ),
    // The thread that stores beside the buffer brings its lines back while the disk is at work.
    malta(Duty::Complete, "skeleton-malta-complete", Expect::Exactly(&[READS_OLD_DISK])),
    // With two CPUs, whose TLBs and instruction caches are each its own.
    on(MALTA_SMP, "skeleton-malta-smp", Expect::Clean),
    on(
        Skeleton { forgets: Some(Duty::RevokeTlb), ..MALTA_SMP },
        "skeleton-malta-smp-revoke-tlb",
        Expect::AtLeast(&[of(ReadDirtyElsewhere, LOADS_NUMBERS, STORES_NUMBERS)]),
    ),
    on(
        Skeleton { forgets: Some(Duty::OtherInstructions), ..MALTA_SMP },
        "skeleton-malta-smp-code",
        Expect::Exactly(&[of(FetchStaleCopy, PATCHED, Kernel)]),
    ),
    // The same on the other board, which has no disk.
    on(RASPI, "skeleton-raspi", Expect::Clean),
    injected(on(RASPI, "skeleton-raspi-injected", Expect::Clean)),
    on(Skeleton { in_order: true, ..RASPI }, "skeleton-raspi-in-order", Expect::Clean),
    raspi(Duty::Empty, "skeleton-raspi-empty", EMPTY),
    raspi(Duty::WriteBack, "skeleton-raspi-write-back", Expect::AtLeast(&[RUNS_OLD, READS_BEFORE_WRITE_BACK])),
    raspi(Duty::Invalidate, "skeleton-raspi-invalidate", Expect::AtLeast(&[READS_OLD_COPY])),
    on(Skeleton { forgets: Some(Duty::WriteBackInvalidate), in_order: true, ..RASPI }, "skeleton-raspi-in-order-both", BOTH),
    raspi(Duty::DropInstructions, "skeleton-raspi-drop-code", DROP_INSTRUCTIONS),
    raspi(Duty::Revoke, "skeleton-raspi-revoke", REVOKE),
    raspi(Duty::RevokeTlb, "skeleton-raspi-revoke-tlb", Expect::AtLeast(&[READS_THERE])),
    raspi(Duty::Announce, "skeleton-raspi-announce", ANNOUNCE),
    raspi(Duty::Window, "skeleton-raspi-window", WINDOW),
    raspi(Duty::WriteProtected, "skeleton-raspi-write-protected", WRITE_PROTECTED),
    raspi(Duty::Unmapped, "skeleton-raspi-unmapped", UNMAPPED),
    raspi(Duty::Instructions, "skeleton-raspi-poke", INSTRUCTIONS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duty_is_left_out_in_a_run_that_must_find_it() {
        let kernels = || {
            KERNELS.iter().map(|run| if let Load::Skeleton(kernel) = run.load { (run, kernel) } else { panic!("{}", run.name) })
        };
        for duty in Duty::ALL {
            let mut rows = kernels().filter(|(_, kernel)| kernel.forgets == Some(duty)).peekable();
            assert!(rows.peek().is_some(), "{duty:?}");
            for (run, kernel) in rows {
                let finds = matches!(run.expect, Expect::AtLeast(pairs) | Expect::Exactly(pairs) if !pairs.is_empty());
                // What a kernel finds that leaves it out does not find one that does not.
                let twin = Skeleton { forgets: None, ..kernel };
                let clean = kernels().any(|(other, right)| right == twin && matches!(other.expect, Expect::Clean));
                assert!(finds && clean, "{}", run.name);
            }
        }
    }
}
