//! The library as an object file that a kernel's build takes in.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::embed::toolchain::Toolchain;
use crate::guests::compilers::Tools;
use crate::{place, run};

/// What rustc calls the processor.
const TARGET: &str = "mipsel-unknown-none";
/// How the names begin that the kernel may know.
const PREFIX: &str = "congruent_";

/// Builds it at `to`.
///
/// # Errors
/// If it does not compile, or there is no compiler for it and none can be fetched.
pub fn build(compiler: &Tools, to: &Path) -> Result<()> {
    let toolchain = Toolchain::find()?;
    run::visibly(&mut toolchain.library("linux", TARGET, "congruent-linux")).context("the library for a kernel")?;
    let archive = place::root().join("target/embed/linux").join(TARGET).join("release/libcongruent_linux.a");
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    // One object of what is needed, with the sections that the kernel's linker knows, which shows it the functions of the interface alone.
    let sections = to.with_extension("lds");
    fs::write(&sections, SECTIONS).with_context(|| format!("cannot write {}", sections.display()))?;
    let mut link = Command::new(compiler.program("mipsel-linux-gnu-ld"));
    link.args(["-m", "elf32ltsmip", "-r", "--gc-sections", "--entry=congruent_start", "-T"]).arg(&sections);
    link.args(FUNCTIONS.map(|name| format!("--undefined={PREFIX}{name}"))).arg("-o").arg(to).arg(&archive);
    run::quietly(&mut link)?;
    let mut hide = Command::new(compiler.program("mipsel-linux-gnu-objcopy"));
    hide.args(["--wildcard", &format!("--keep-global-symbol={PREFIX}*")]);
    hide.args(["--remove-section=.eh_frame", "--remove-section=.llvm*"]).arg(to);
    run::quietly(&mut hide)?;
    Ok(())
}

const SECTIONS: &str = "SECTIONS {
    .text : { *(.text .text.*) }
    .rodata : { *(.rodata .rodata.*) }
    .data : { *(.data .data.*) }
    .bss : { *(.bss .bss.* COMMON) }
}
";

/// The functions of `linux/library/src/lib.rs`.
const FUNCTIONS: [&str; 14] = [
    "start",
    "home",
    "touches",
    "stored",
    "map",
    "copy",
    "clear",
    "give",
    "freed",
    "hold",
    "release",
    "sync_for_device",
    "sync_for_cpu",
    "sync_instructions",
];
