//! What `congruent check` must say about stock kernels: one entry per run.
//!
//! These expectations come from the kernels' sources; an entry is changed only together with the proof that it was wrong.

use super::kernels::KERNELS;
use super::row::Side::{self, Device, Function, Kernel, Under, User};
use super::row::{Expect, Load, Pair, Recorded, Run, Truth};
use crate::guests::bare::Bare;
use crate::guests::boot::{Devices, MOVES_ITSELF};
use crate::guests::machine::Guest;

/// The copy routines between kernel and user: on mips one piece of code with several names, which `memcpy` shares.
const MIPS_COPY: Side = Function(&["memcpy", "__raw_copy_from_user", "__raw_copy_to_user"]);
/// Generated at boot, between markers that are symbols as well.
const MIPS_COPY_PAGE: Side = Function(&["copy_page", "__copy_page_start"]);
const MIPS_CLEAR_PAGE: Side = Function(&["clear_page", "__clear_page_start"]);
const ARM_COPY_IN: Side = Function(&["arm_copy_from_user"]);
const ARM_COPY_OUT: Side = Function(&["arm_copy_to_user"]);
const ARM926_CLEAR_PAGE: Side = Function(&["v4wb_clear_user_highpage"]);
/// Several names of one address.
const ARM_MEMCPY: Side = Function(&["memcpy", "__memcpy", "mmiocpy"]);
/// Who calls the cases without an operating system (`guests/bare/cases.h`).
const RUNS_CASES: &str = "run_cases";
/// The way from the program to its reads, and from the system call to the copy.
const VM_WRITEV_CALLERS: &[&str] = &["main", "process_vm_rw"];
const SH4_COPY: Side = Function(&["__copy_user"]);
const HPPA_COPY_PAGE: Side = Function(&["copy_page_asm"]);
const CHILD_READS: Side = Function(&["child_reads_buffer"]);
const DISK_READS: Side = Function(&["program_loads_block"]);

/// While a kernel boots, it takes the calls of its tracer out of its functions. The functions that bring such a change to the
/// instruction cache are among them, and run before it is there; what they may run instead is the call as it was, which is harmless.
const MIPS_SELF_PATCHED: Pair = pair(
    Function(&["ftrace_caller", "_mcount", "__r4k_flush_icache_range", "r4k_flush_icache_range"]),
    Function(&["ftrace_modify_code", "ftrace_make_nop"]),
);
/// QEMU resets each hardware thread to uncached memory, and until the second has set itself up it goes past the cache to memory that the first
/// has in it. Its calls up to there are told, except of what it stores while nobody has seen its stack: the model that it reads of its own core.
const SECOND_STARTS: Pair = pair(Under("start_secondary"), Kernel);
const FIRST_PRINTS_LOG: Pair = pair(Function(&["__raw_copy_to_user"]), Under("start_secondary"));
const FIRST_SEES_MODEL: Pair = pair(Function(&["print_cpu_modalias"]), Function(&["cpu_probe"]));
/// Linux's own, before the library begins: exception vectors are stored past the cache to memory that was cleared in it, if the boot allocator has
/// put them there.
const VECTORS_PAST_CACHE: Pair = pair(Under("trap_init"), Kernel);
const ARM_SELF_PATCHED: Pair = pair(Function(&["pte_offset_late_fixmap", "__set_fixmap"]), Kernel);
const PROGRAM_WRITES_CODE: Side = Function(&["program_writes_code"]);

const fn pair(consumer: Side, producer: Side) -> Pair {
    Pair { class: None, consumer, producer }
}

const fn linux(name: &'static str, guest: Guest, programs: &'static str, expect: Expect) -> Run {
    let dcache = match guest {
        Guest::Mips | Guest::Ported | Guest::Unported | Guest::PortedNext => "p5600",
        Guest::Arm => "arm1176-qemu",
        Guest::Sh4 => "sh7785",
        Guest::Arm926 => "arm926",
        Guest::Hppa => "pa7300lc",
    };
    Run {
        name,
        load: Load::Linux { guest, cpu: None, programs, words: "", devices: Devices::None },
        dcache,
        icache: None,
        cpu_caches: None,
        behaviour: &[],
        mute: &[],
        expect,
        callers: &[],
    }
}

const fn mips(name: &'static str, programs: &'static str, expect: Expect) -> Run {
    linux(name, Guest::Mips, programs, expect)
}

/// A run of the kernel that has the library in it: its fetches are judged, too.
const fn ported(name: &'static str, programs: &'static str) -> Run {
    fetching(linux(name, Guest::Ported, programs, Expect::AtMost(&[VECTORS_PAST_CACHE])))
}

/// The same, told that it runs on another core.
const fn of_colours(name: &'static str, dcache: &'static str, words: &'static str) -> Run {
    let programs = "fork_threads,mremap_odd,vm_writev,shared_pread,pwrite_mapped,loop";
    let load = Load::Linux { guest: Guest::Ported, cpu: None, programs, words, devices: Devices::None };
    Run { load, dcache, ..linux(name, Guest::Ported, programs, Expect::AtMost(&[VECTORS_PAST_CACHE])) }
}

const fn arm(name: &'static str, programs: &'static str, expect: Expect) -> Run {
    linux(name, Guest::Arm, programs, expect)
}

const fn arm926(name: &'static str, programs: &'static str, expect: Expect) -> Run {
    linux(name, Guest::Arm926, programs, expect)
}

const fn sh4(name: &'static str, programs: &'static str, expect: Expect) -> Run {
    linux(name, Guest::Sh4, programs, expect)
}

const fn hppa(name: &'static str, programs: &'static str, expect: Expect) -> Run {
    linux(name, Guest::Hppa, programs, expect)
}

/// A short mips run with sites muted: every process and fork of it meets what is missing.
const fn muted(name: &'static str, mute: &'static [&'static str], expect: Expect) -> Run {
    Run { mute, ..mips(name, "everyday,fork_threads", expect) }
}

/// A run whose fetches are judged.
const fn fetching(run: Run) -> Run {
    let icache = match run.load {
        Load::Linux { guest: Guest::Arm926, .. } => "arm926",
        Load::Linux { guest: Guest::Arm, .. } | Load::Bare(Bare::Armv5 | Bare::Armv6) => "64K,4,32",
        _ => "32K,4,32",
    };
    Run { icache: Some(icache), ..run }
}

/// A run of a guest under the whole judge, for whoever has programs of his own.
pub const fn of_linux(guest: Guest) -> Run {
    fetching(linux("", guest, "", Expect::Clean))
}

/// A run on a core that fills lines on its own.
const fn speculating(run: Run) -> Run {
    Run { dcache: "16K,4,32", behaviour: &["--speculative"], ..run }
}

/// A run with a disk, past the page cache and through it.
const fn disk(run: Run) -> Run {
    match run.load {
        Load::Linux { guest, cpu, words, .. } => {
            Run { load: Load::Linux { guest, cpu, programs: DISK, words, devices: Devices::Disk }, ..run }
        }
        Load::Bare(_) | Load::Skeleton(_) => run,
    }
}

/// A run on two hardware threads of one core, with the caches that QEMU's 34K says it has.
const fn two_threads(name: &'static str, cpu_caches: &'static str, expect: Expect) -> Run {
    let programs = "jit:migrates,breakpoint";
    let load = Load::Linux { guest: Guest::Mips, cpu: Some("34Kf"), programs, words: "", devices: Devices::None };
    let (dcache, icache) = ("2K,2,16", Some("2K,2,16"));
    Run { load, dcache, icache, cpu_caches: Some(cpu_caches), ..mips(name, programs, expect) }
}

const fn bare(name: &'static str, bare: Bare, cases: usize, dcache: &'static str) -> Run {
    let run = Run {
        name,
        load: Load::Bare(bare),
        dcache,
        icache: None,
        cpu_caches: None,
        behaviour: &[],
        mute: &[],
        expect: Expect::AsNamed(cases),
        callers: &[RUNS_CASES],
    };
    fetching(run)
}

/// The cases of one behaviour: of data alone.
const fn behaving(
    name: &'static str,
    guest: Bare,
    cases: usize,
    dcache: &'static str,
    behaviour: &'static [&'static str],
) -> Run {
    Run { behaviour, icache: None, ..bare(name, guest, cases, dcache) }
}

/// A mips run with a network card that is busy.
const fn busy(name: &'static str, programs: &'static str, expect: Expect) -> Run {
    let load = Load::Linux { guest: Guest::Mips, cpu: None, programs, words: "", devices: Devices::Network };
    Run { load, ..mips(name, programs, expect) }
}

/// A mips run with a virtio disk.
const fn virtio(name: &'static str, devices: Devices, expect: Expect) -> Run {
    let load = Load::Linux { guest: Guest::Mips, cpu: None, programs: VIRTIO, words: "", devices };
    Run { load, ..mips(name, VIRTIO, expect) }
}

/// What an ordinary system does: many processes, pipes and files, threads that fork, long argument lists, moved mappings.
const ORDINARY: &str = "workload,fork_threads,exec_args,mremap_odd";

/// Direct reads and writes, then buffered ones, on a disk that moves bytes by itself.
const DISK: &str = "disk:direct,disk:buffered";

/// The same on a virtio disk.
const VIRTIO: &str = "virtio:direct,virtio:buffered";

/// The same for guests that have no shell.
const ORDINARY_WITHOUT_SHELL: &str = "everyday,fork_threads,exec_args,mremap_odd";

/// Every run, those of our own kernel among them.
pub fn rows() -> impl Iterator<Item = &'static Run> + Clone {
    RUNS.iter().chain(KERNELS)
}

/// Every run of a guest that is not ours.
pub const RUNS: &[Run] = &[
    bare("bare-mipsel", Bare::Mipsel, 62, "p5600"),
    Run { cpu_caches: Some("broadcast"), ..bare("bare-mipsel-smp", Bare::MipselSmp, 14, "p5600") },
    bare("bare-mips", Bare::Mips, 62, "p5600"),
    bare("bare-armv6", Bare::Armv6, 70, "arm1176-qemu"),
    bare("bare-armv5", Bare::Armv5, 52, "64K,4,32"),
    behaving("bare-virtual-tags", Bare::Armv5VirtualTags, 22, "arm926", &[]),
    behaving("bare-write-through", Bare::Armv5WriteThrough, 8, "64K,4,32", &["--write-through"]),
    behaving("bare-no-write-allocate", Bare::Armv5NoWriteAllocate, 7, "64K,4,32", &["--no-write-allocate"]),
    behaving("bare-speculative", Bare::Armv5Speculative, 6, "16K,4,32", &["--speculative"]),
    mips("mips-ordinary", ORDINARY, Expect::Clean),
    // A 24Kf says of itself that its cache has no aliases, and so the kernel does nothing about them.
    Run {
        name: "mips-unaware",
        load: Load::Linux { guest: Guest::Mips, cpu: Some("24Kf"), programs: "everyday", words: "", devices: Devices::None },
        dcache: "32K,4,32",
        icache: None,
        cpu_caches: None,
        behaviour: &[],
        mute: &[],
        expect: Expect::AtLeast(&[pair(User, MIPS_COPY_PAGE), pair(User, Kernel), pair(Kernel, User)]),
        callers: &[],
    },
    // As QEMU resets the core: all memory is uncached.
    Run {
        name: "mips-cache-off",
        load: Load::Linux { guest: Guest::Mips, cpu: None, programs: "mremap_odd", words: "cca=2", devices: Devices::None },
        dcache: "p5600",
        icache: None,
        cpu_caches: None,
        behaviour: &[],
        mute: &[],
        expect: Expect::Incomplete("cca=3"),
        callers: &[],
    },
    mips("mips-write-then-map", "write_then_map", Expect::Clean),
    Run { callers: VM_WRITEV_CALLERS, ..mips("mips-vm-writev", "vm_writev", Expect::Exactly(&[pair(CHILD_READS, MIPS_COPY)])) },
    // Its code is named after tables of where it was linked, and of where it has found itself.
    Run {
        load: Load::Linux { guest: Guest::Mips, cpu: None, programs: "vm_writev", words: MOVES_ITSELF, devices: Devices::None },
        callers: VM_WRITEV_CALLERS,
        ..mips("mips-moved", "vm_writev", Expect::Exactly(&[pair(CHILD_READS, MIPS_COPY)]))
    },
    mips("mips-vm-writev-twin", "vm_writev:congruent", Expect::Clean),
    mips("mips-pokedata", "ptrace_pokedata", Expect::Clean),
    mips("mips-peekdata", "ptrace_peekdata", Expect::Clean),
    mips("mips-shared-pread", "shared_pread", Expect::Exactly(&[pair(MIPS_COPY, Function(&["program_stores_page"]))])),
    mips("mips-shared-pread-twin", "shared_pread:congruent", Expect::Clean),
    mips("mips-pwrite-mapped", "pwrite_mapped", Expect::Exactly(&[pair(Function(&["program_loads_page"]), MIPS_COPY)])),
    mips("mips-pwrite-mapped-twin", "pwrite_mapped:congruent", Expect::Clean),
    muted("mips-mute-cow", &["copy_user_highpage"], Expect::AtLeast(&[pair(User, MIPS_COPY_PAGE)])),
    // Page clearing is compiled into the fault handler, so the whole handler is muted; that the cleared bytes are missed is its share.
    muted("mips-mute-clear", &["handle_mm_fault"], Expect::AtLeast(&[pair(User, MIPS_CLEAR_PAGE)])),
    Run {
        mute: &["__update_cache"],
        ..mips("mips-mute-deferred", "write_then_map", Expect::AtLeast(&[pair(Function(&["program_loads_page"]), MIPS_COPY)]))
    },
    muted("mips-mute-unmap", &["r4k_flush_cache_range", "r4k_flush_cache_mm"], Expect::AtLeast(&[pair(Kernel, User)])),
    ported("ported-ordinary", ORDINARY),
    // What is found in the kernel without the library is not found with it.
    ported("ported-vm-writev", "vm_writev"),
    ported("ported-shared-pread", "shared_pread"),
    ported("ported-pwrite-mapped", "pwrite_mapped"),
    ported("ported-write-then-map", "write_then_map"),
    ported("ported-pokedata", "ptrace_pokedata"),
    ported("ported-peekdata", "ptrace_peekdata"),
    ported("ported-code", "jit,breakpoint"),
    ported("ported-rings", "aio_ring,uring,vmsplice,loop"),
    disk(ported("ported-disk", DISK)),
    // Stock Linux refuses high memory on a core that aliases.
    Run {
        load: Load::Linux { guest: Guest::Ported, cpu: None, programs: ORDINARY, words: "", devices: Devices::HighMemory },
        ..ported("ported-high-memory", ORDINARY)
    },
    // Cores of more colours than any of QEMU's.
    of_colours("ported-4-colours", "64K,4,32", "congruent.dcache=64K,4,32"),
    of_colours("ported-8-colours", "64K,2,32", "congruent.dcache=64K,2,32"),
    // Whatever the core could give of what is old, its programs do not get.
    Run {
        behaviour: &["--inject", "worst"],
        icache: None,
        ..ported("ported-injected", "everyday,vm_writev,shared_pread,pwrite_mapped")
    },
    arm("arm-ordinary", ORDINARY, Expect::Clean),
    arm("arm-write-then-map", "write_then_map", Expect::Clean),
    Run { callers: VM_WRITEV_CALLERS, ..arm("arm-vm-writev", "vm_writev", Expect::Exactly(&[pair(CHILD_READS, ARM_COPY_IN)])) },
    arm("arm-vm-writev-twin", "vm_writev:congruent", Expect::Clean),
    arm("arm-pokedata", "ptrace_pokedata", Expect::Exactly(&[pair(CHILD_READS, ARM_MEMCPY)])),
    arm("arm-pokedata-twin", "ptrace_pokedata:congruent", Expect::Clean),
    arm("arm-peekdata", "ptrace_peekdata", Expect::Clean),
    arm("arm-shared-pread", "shared_pread", Expect::Clean),
    arm("arm-pwrite-mapped", "pwrite_mapped", Expect::Clean),
    disk(mips("mips-disk", DISK, Expect::Clean)),
    // The kernel believes what the boot flag says: that the disk sees the cache.
    Run {
        load: Load::Linux { guest: Guest::Mips, cpu: None, programs: DISK, words: "coherentio", devices: Devices::Disk },
        ..mips("mips-disk-coherentio", DISK, Expect::AtLeast(&[pair(DISK_READS, Device), pair(Device, Kernel)]))
    },
    Run {
        mute: &["r4k_dma_cache_wback_inv"],
        ..disk(mips("mips-disk-mute-out", DISK, Expect::AtLeast(&[pair(Device, MIPS_COPY)])))
    },
    Run {
        mute: &["r4k_dma_cache_inv"],
        ..disk(mips("mips-disk-mute-in", DISK, Expect::AtLeast(&[pair(DISK_READS, Device), pair(Device, Kernel)])))
    },
    // The driver takes the last bytes of each read from the device by itself, and writes them back for no alias.
    disk(arm("arm-disk", DISK, Expect::Exactly(&[pair(DISK_READS, Function(&["bcm2835_dma_complete_work"]))]))),
    Run {
        mute: &["v6_dma_map_area"],
        ..disk(arm(
            "arm-disk-mute-map",
            DISK,
            Expect::AtLeast(&[pair(Device, ARM_COPY_IN), pair(DISK_READS, Device), pair(Device, Kernel)]),
        ))
    },
    // Every device on PCI is seen, by whatever driver.
    busy("mips-network", "traffic", Expect::Clean),
    Run {
        mute: &["r4k_dma_cache_wback_inv"],
        ..busy("mips-network-mute-out", "traffic", Expect::AtLeast(&[pair(Device, Kernel)]))
    },
    Run { mute: &["r4k_dma_cache_inv"], ..busy("mips-network-mute-in", "traffic", Expect::AtLeast(&[pair(Kernel, Device)])) },
    // What is found beside traffic is what is found without.
    busy("mips-network-vm-writev", "traffic,vm_writev,traffic", Expect::Exactly(&[pair(CHILD_READS, MIPS_COPY)])),
    // By its standard such a disk sees the caches, and the kernel does nothing for it.
    virtio("mips-virtio", Devices::Virtio, Expect::Clean),
    // Unless it says that it does not, which no kernel need believe that maintains nothing for any device.
    virtio("mips-virtio-platform", Devices::VirtioOnPlatform, Expect::Clean),
    Run {
        mute: &["r4k_dma_cache_inv", "r4k_dma_cache_wback_inv"],
        ..virtio(
            "mips-virtio-platform-mute",
            Devices::VirtioOnPlatform,
            Expect::AtLeast(&[pair(Device, Kernel), pair(DISK_READS, Device)]),
        )
    },
    fetching(mips("mips-code", "jit,breakpoint", Expect::Exactly(&[MIPS_SELF_PATCHED]))),
    fetching(mips("mips-code-forgotten", "jit:forgets", Expect::Exactly(&[MIPS_SELF_PATCHED, pair(User, PROGRAM_WRITES_CODE)]))),
    two_threads("mips-smp", "shared", Expect::Exactly(&[SECOND_STARTS, FIRST_PRINTS_LOG, FIRST_SEES_MODEL, MIPS_SELF_PATCHED])),
    // The kernel knows that its threads share their caches: a debugger's store drops the old code on the thread of the debugger only.
    two_threads("mips-smp-apart", "local", Expect::AtLeast(&[SECOND_STARTS, pair(Function(&["child_runs_here"]), MIPS_COPY)])),
    fetching(arm("arm-code", "jit", Expect::Exactly(&[ARM_SELF_PATCHED]))),
    fetching(arm("arm-code-forgotten", "jit:forgets", Expect::Exactly(&[ARM_SELF_PATCHED, pair(User, PROGRAM_WRITES_CODE)]))),
    // QEMU runs what it has translated wherever a process has mapped it.
    fetching(arm("arm-randomised", "randomised", Expect::Exactly(&[ARM_SELF_PATCHED]))),
    fetching(arm(
        "arm-randomised-forgotten",
        "randomised:jit:forgets,jit",
        Expect::Exactly(&[ARM_SELF_PATCHED, pair(User, PROGRAM_WRITES_CODE)]),
    )),
    // As with data, the kernel writes back the colour of the child's mapping, and not the one that it has stored through.
    fetching(arm(
        "arm-breakpoint",
        "breakpoint",
        Expect::Exactly(&[ARM_SELF_PATCHED, pair(Function(&["child_runs_here"]), ARM_MEMCPY)]),
    )),
    fetching(arm("arm-breakpoint-twin", "breakpoint:congruent", Expect::Exactly(&[ARM_SELF_PATCHED]))),
    // A core that fills lines on its own, with ways no larger than a page. These kernels invalidate after the transfer as well: the one
    // for ARMv6 on every core, the one for MIPS because a P5600 says that it speculates (it has MAARs).
    speculating(disk(mips("mips-disk-speculative", DISK, Expect::Clean))),
    speculating(disk(arm("arm-disk-speculative", DISK, Expect::Clean))),
    Run {
        mute: &["v6_dma_unmap_area"],
        ..speculating(disk(arm(
            "arm-disk-speculative-mute",
            DISK,
            Expect::Exactly(&[pair(DISK_READS, Device), pair(ARM_COPY_OUT, Device)]),
        )))
    },
    // Without speculation the invalidation before the transfer is enough.
    Run { mute: &["v6_dma_unmap_area"], dcache: "16K,4,32", ..disk(arm("arm-disk-mute-unmap", DISK, Expect::Clean)) },
    // Virtual tags: Linux empties the cache at each switch between address spaces, and keeps what one space maps twice uncached.
    // These choose among fresh frames, so they come first where both share a boot.
    arm926(
        "arm926-programs",
        "shared_pread,pwrite_mapped,vm_writev,ptrace_pokedata,ptrace_peekdata,write_then_map",
        Expect::Clean,
    ),
    arm926("arm926-ordinary", ORDINARY_WITHOUT_SHELL, Expect::Clean),
    fetching(arm926("arm926-code", "everyday,jit,breakpoint", Expect::Clean)),
    fetching(arm926("arm926-code-forgotten", "jit:forgets", Expect::Exactly(&[pair(User, PROGRAM_WRITES_CODE)]))),
    // What one space left is hit in the next.
    Run {
        mute: &["cpu_arm926_switch_mm"],
        ..fetching(arm926("arm926-mute-switch", "everyday", Expect::AtLeast(&[pair(User, ARM926_CLEAR_PAGE), pair(User, User)])))
    },
    // A page that is unmapped leaves its lines to the next one at its address.
    Run {
        mute: &["arm926_flush_user_cache_range"],
        ..arm926("arm926-mute-unmap", "everyday", Expect::AtLeast(&[pair(Function(&["compare"]), ARM_COPY_IN)]))
    },
    // The kernel's own mapping of a page that a program has mapped.
    Run {
        mute: &["arm926_flush_kern_dcache_area"],
        ..arm926("arm926-mute-alias", "shared_pread", Expect::Exactly(&[pair(ARM_COPY_OUT, Function(&["program_stores_page"]))]))
    },
    // What fork and exit flush is flushed once more by the next switch.
    Run { mute: &["arm926_flush_user_cache_all"], ..arm926("arm926-mute-fork", "everyday", Expect::Clean) },
    sh4("sh4-ordinary", ORDINARY_WITHOUT_SHELL, Expect::Clean),
    // QEMU's SH7751R says that its cache has 4 KiB, and so the kernel does nothing about the colours that a real one has.
    Run {
        load: Load::Linux { guest: Guest::Sh4, cpu: Some("sh7751r"), programs: "everyday", words: "", devices: Devices::None },
        dcache: "sh7751r",
        ..sh4("sh4-unaware", "everyday", Expect::AtLeast(&[pair(Kernel, User), pair(User, Kernel)]))
    },
    sh4("sh4-write-then-map", "write_then_map", Expect::Clean),
    sh4("sh4-vm-writev", "vm_writev", Expect::Exactly(&[pair(CHILD_READS, SH4_COPY)])),
    sh4("sh4-vm-writev-twin", "vm_writev:congruent", Expect::Clean),
    sh4("sh4-shared-pread", "shared_pread", Expect::Exactly(&[pair(SH4_COPY, Function(&["program_stores_page"]))])),
    sh4("sh4-shared-pread-twin", "shared_pread:congruent", Expect::Clean),
    sh4("sh4-pwrite-mapped", "pwrite_mapped", Expect::Clean),
    // Every new page is taken to be dirty and flushed once more when it is mapped, so what the copy itself flushes is not missed.
    Run { mute: &["copy_user_highpage"], ..sh4("sh4-mute-cow", ORDINARY_WITHOUT_SHELL, Expect::Clean) },
    Run {
        mute: &["__update_cache"],
        ..sh4("sh4-mute-deferred", "write_then_map", Expect::Exactly(&[pair(Function(&["program_loads_page"]), SH4_COPY)]))
    },
    // PA-RISC's Linux does all of these right.
    hppa("hppa-write-then-map", "write_then_map", Expect::Clean),
    hppa("hppa-vm-writev", "vm_writev", Expect::Clean),
    hppa("hppa-pokedata", "ptrace_pokedata", Expect::Clean),
    hppa("hppa-peekdata", "ptrace_peekdata", Expect::Clean),
    hppa("hppa-shared-pread", "shared_pread", Expect::Clean),
    hppa("hppa-pwrite-mapped", "pwrite_mapped", Expect::Clean),
    // Last in the boot that they share: the others choose among fresh frames.
    hppa("hppa-ordinary", ORDINARY_WITHOUT_SHELL, Expect::Clean),
    Run {
        mute: &["copy_user_highpage"],
        ..hppa("hppa-mute-cow", "everyday", Expect::AtLeast(&[pair(User, HPPA_COPY_PAGE), pair(User, User)]))
    },
    Run {
        mute: &["kunmap_flush_on_unmap"],
        ..hppa("hppa-mute-unmap", "vm_writev", Expect::AtLeast(&[pair(CHILD_READS, Function(&["pa_memcpy"]))]))
    },
    // The kernel's own mapping was flushed when the copy into it ended.
    Run { mute: &["__update_cache"], ..hppa("hppa-mute-deferred", "write_then_map", Expect::Clean) },
];

const fn needed(function: &'static str) -> Truth {
    Truth { function, necessary: true, of_stock: false }
}

const fn not_needed(function: &'static str) -> Truth {
    Truth { function, necessary: false, of_stock: false }
}

/// Many forks, by processes with and without threads.
const FORKING: &str = "everyday,fork_threads";

/// Every run that is recorded.
pub const RECORDED: &[Recorded] = &[
    // With findings, so that they are compared.
    Recorded {
        name: "mips-recorded",
        run: mips("mips-recorded", "vm_writev", Expect::Clean),
        verdict: "findings",
        // A window is an address and issues nothing. What makes copy-on-write right through one is that the copy is written back when the
        // window's colour is not the user's.
        truths: &[needed("copy_user_highpage"), Truth { of_stock: true, ..not_needed("local_r4k___flush_cache_all") }],
    },
    // What fork writes back stays reachable at its colour, and copy-on-write writes back what it reads through another.
    Recorded {
        name: "arm-recorded",
        run: arm("arm-recorded", FORKING, Expect::Clean),
        verdict: "clean",
        truths: &[
            not_needed("flush_cache_mm from copy_process"),
            Truth { of_stock: true, ..needed("v6_copy_user_highpage_aliasing") },
        ],
    },
];
