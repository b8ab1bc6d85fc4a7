//! The guest programs: compiled statically by the cross compiler of the guest, each at addresses of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::compilers::Tools;
use super::machine::Guest;
use crate::cache::Recipe;
use crate::{place, run};

/// The programs in C. The place in this list decides the addresses of a program, so that a code address of a guest names one
/// program: add at the end.
pub const PROGRAMS: [&str; 19] = [
    "fork_threads",
    "shared_pread",
    "pwrite_mapped",
    "vm_writev",
    "ptrace_pokedata",
    "ptrace_peekdata",
    "exec_args",
    "mremap_odd",
    "write_then_map",
    "disk",
    "jit",
    "breakpoint",
    "everyday",
    "randomised",
    "aio_ring",
    "uring",
    "vmsplice",
    "swap",
    "loop",
];

/// The programs that write code of the processors they know: not sh4.
const WRITERS_OF_CODE: [&str; 2] = ["jit", "breakpoint"];

/// The programs in C that a guest has, each with its place in [`PROGRAMS`].
pub fn of(guest: Guest) -> impl Iterator<Item = (usize, &'static str)> {
    let writes_none = matches!(guest, Guest::Sh4 | Guest::Hppa);
    let places_none = !matches!(guest, Guest::Arm | Guest::Arm926);
    let lacks = move |name| writes_none && WRITERS_OF_CODE.contains(&name) || places_none && ANYWHERE.contains(&name);
    PROGRAMS.into_iter().enumerate().filter(move |(_, name)| !lacks(*name))
}

/// The programs that are shell scripts.
pub const SCRIPTS: [&str; 5] = ["workload", "kallsyms", "traffic", "virtio", "counts"];

/// The programs in C that lie where the kernel puts them, with the C library beside them: only on ARM, where QEMU runs what it has translated
/// at every address.
const ANYWHERE: [&str; 1] = ["randomised"];

/// What those need to run, as files of the compiler's C library and of the guest.
const LIBRARIES: [&str; 2] = ["ld-linux.so.3", "libc.so.6"];

/// The libraries among the programs of this guest, as files beside them.
pub fn libraries(guest: Guest) -> &'static [&'static str] {
    if of(guest).any(|(_, name)| ANYWHERE.contains(&name)) { &LIBRARIES } else { &[] }
}

/// Where the code of a program begins: above busybox on both guests, and 16 MiB apart.
fn base(index: usize) -> u64 {
    0x1000_0000 + 0x0100_0000 * index as u64
}

/// Everything that names code of this guest, for `--symbols`: the kernel's symbols and each program's ELF file.
pub fn symbols(guest: Guest) -> Vec<PathBuf> {
    let machine = guest.machine();
    let dir = place::guests().join(machine.directory);
    let fixed = of(guest).filter(|(_, name)| !ANYWHERE.contains(name));
    let elves = fixed.map(|(_, program)| dir.join("programs").join(program));
    // Debian's System.map is a stub, so a kernel with a shell is asked; one that is built here has a true one.
    let kernel = if machine.shell { "kallsyms" } else { "kernel/System.map" };
    std::iter::once(dir.join(kernel)).chain(elves).collect()
}

/// Compiles every program for `guest` into `target/guests/<guest>/programs`.
///
/// # Errors
/// If a source does not compile without a warning.
pub fn build(guest: Guest, compiler: &Tools) -> Result<PathBuf> {
    let machine = guest.machine();
    let sources = place::guest_sources().join("programs");
    let mut recipe = Recipe::new(machine.of("programs")).made_from(&compiler.recipe).input("names 2");
    for header in ["colours.h", "child.h", "pages.h"] {
        recipe = recipe.file(&sources.join(header))?;
    }
    for (index, program) in of(guest) {
        recipe = recipe.input(flags(index, program).join(" ")).file(&sources.join(format!("{program}.c")))?;
    }
    if !machine.shell {
        recipe = recipe.file(&sources.join("../init.c"))?;
    }
    recipe.ensure(|dir| {
        fs::create_dir_all(dir)?;
        let compile = |index: usize, source: &str, program: &str| {
            let compiler = compiler.program(&format!("{}-gcc", machine.target));
            // Debug information names files of the repository and no directory of this machine.
            let names = format!("-ffile-prefix-map={}=guests/programs", sources.display());
            let command = &mut Command::new(compiler);
            command.current_dir(&sources).args(flags(index, program)).arg(names).arg("-o").arg(dir.join(program)).arg(source);
            run::quietly(command).with_context(|| format!("compiling guests/programs/{source} for {}", machine.directory))
        };
        for (index, program) in of(guest) {
            compile(index, &format!("{program}.c"), program)?;
        }
        for library in libraries(guest) {
            let from = compiler.dir.join(format!("usr/{}/lib/{library}", machine.target));
            fs::copy(&from, dir.join(library)).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        if !machine.shell {
            compile(PROGRAMS.len(), "../init.c", "init")?;
        }
        Ok(())
    })
}

/// `-O1 -g`: small code whose lines can still be told; frame colours are a matter of the kernel's, not of these flags.
fn flags(index: usize, program: &str) -> Vec<String> {
    let fixed = ["-std=gnu17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"];
    let mut flags: Vec<String> = fixed.iter().map(|&flag| flag.to_owned()).collect();
    if ANYWHERE.contains(&program) {
        flags.extend(["-fPIE".to_owned(), "-pie".to_owned()]);
    } else {
        flags.extend(["-static".to_owned(), "-no-pie".to_owned(), format!("-Wl,-Ttext-segment={:#x}", base(index))]);
    }
    flags
}

/// The programs that ask for a disk, or for what the configurations of most kernels here lack.
const PARTICULAR: [&str; 5] = ["disk", "aio_ring", "uring", "swap", "loop"];

/// Every program that needs nothing in particular, and the harmless twin of each that has one, as the guest's `/programs/every` lists them for
/// `congruent.run=every`.
pub fn every() -> String {
    let twins = ["shared_pread", "pwrite_mapped", "vm_writev", "ptrace_pokedata", "ptrace_peekdata"];
    let plain = PROGRAMS.iter().filter(|name| !PARTICULAR.contains(name) && !ANYWHERE.contains(name));
    let all = plain.map(|&name| name.to_owned()).chain(twins.iter().map(|name| format!("{name}:congruent")));
    all.chain(["workload".to_owned()]).collect::<Vec<_>>().join(",")
}
