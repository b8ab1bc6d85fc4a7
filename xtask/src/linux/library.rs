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
    link.arg("-o").arg(to).arg(&archive);
    run::quietly(&mut link)?;
    let mut hide = Command::new(compiler.program("mipsel-linux-gnu-objcopy"));
    hide.args(["--wildcard", &format!("--keep-global-symbol={PREFIX}*")]);
    hide.args(["--remove-section=.eh_frame", "--remove-section=.llvm*"]).arg(to);
    run::quietly(&mut hide)?;
    Ok(())
}

const SECTIONS: &str = "SECTIONS {
    .text : { KEEP(*(.text.congruent_*)) *(.text .text.*) }
    .rodata : { *(.rodata .rodata.*) }
    .data : { *(.data .data.*) }
    .bss : { *(.bss .bss.* COMMON) }
}
";

#[cfg(test)]
mod tests {
    use super::*;

    /// The names behind each of these words, up to the bracket.
    fn named<'t>(text: &'t str, words: &'t str) -> impl Iterator<Item = &'t str> {
        text.match_indices(words).filter_map(move |(at, _)| text[at + words.len()..].split('(').next())
    }

    #[test]
    fn what_the_library_does_and_asks_for_is_declared_for_the_glue() {
        let read = |path: &str| fs::read_to_string(place::root().join("linux").join(path)).unwrap();
        let (does, asks) = (read("library/src/lib.rs"), read("library/src/kernel.rs"));
        let declared = read("glue/internal.h") + &read("glue/hooks.h");
        let names: Vec<&str> = named(&does, "extern \"C\" fn ").chain(named(&asks, "pub safe fn ")).collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            assert!(name.starts_with(PREFIX) && declared.contains(&format!("{name}(")), "{name} is not declared in linux/glue");
        }
    }
}
