//! What the library adds to a kernel for MIPS, counted in the compiler's assembly: how much, and instructions that must not be there.
//!
//! The crate `congruent-text` has fifteen entry points of a kernel whose own code is elsewhere. In the assembly of its link-time
//! optimised build a line is an instruction, of four bytes.

use std::fs;

use anyhow::{Context, Result, bail};

use super::toolchain::Toolchain;
use crate::{place, run};

/// The most bytes of instructions that the fifteen entry points may come to, optimised for size: 12 KiB. (26,000 before the transitions
/// were compiled once instead of once per call.)
const MOST: usize = 12 << 10;

/// How it is built.
struct Built {
    opt_level: &'static str,
    uniprocessor: bool,
}

/// Counts, and looks. Says what was found.
///
/// # Errors
/// If it does not build, is too long, or has what it must not have.
pub fn perform(toolchain: &Toolchain) -> Result<String> {
    let small = instructions(toolchain, &Built { opt_level: "s", uniprocessor: false })?;
    let one_cpu = instructions(toolchain, &Built { opt_level: "s", uniprocessor: true })?;
    let unoptimised = instructions(toolchain, &Built { opt_level: "1", uniprocessor: false })?;
    for (what, code) in [("-s", &small), ("-s, one CPU", &one_cpu), ("-1", &unoptimised)] {
        if let Some(divides) = code.iter().find(|line| divides(line)) {
            bail!("the library divides at run time ({what}): `{divides}`");
        }
    }
    if let Some(barrier) = one_cpu.iter().find(|line| line.split_whitespace().next() == Some("sync")) {
        bail!("the library has a barrier (`{}`) on a machine with one CPU", barrier.trim());
    }
    let bytes = small.len() * 4;
    if bytes > MOST {
        bail!("the library takes {bytes} bytes of instructions for fifteen entry points, and may take {MOST}");
    }
    Ok(format!("{bytes} bytes of instructions; with one CPU {}", one_cpu.len() * 4))
}

/// Whether a line of assembly divides, or calls what does.
fn divides(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let operation = words.next().unwrap_or_default();
    let called = words.last().unwrap_or_default();
    matches!(operation, "div" | "divu" | "ddiv" | "ddivu" | "mod" | "modu")
        || ["__udivdi3", "__umoddi3", "__divdi3", "__moddi3", "__udivsi3", "__umodsi3"].contains(&called)
}

fn instructions(toolchain: &Toolchain, built: &Built) -> Result<Vec<String>> {
    let Built { opt_level, uniprocessor } = built;
    let output = place::root().join(format!("target/embed/text-{opt_level}-{uniprocessor}.s"));
    let mut command = toolchain.cargo("text");
    command
        .args(["rustc", "--quiet", "--locked", "--release", "-Zbuild-std=core", "--target", "mipsel-unknown-none"])
        .args(["--package", "congruent-text", "--lib", "--crate-type", "staticlib"])
        .args(["--config", "profile.release.lto=\"fat\"", "--config", "profile.release.debug=false"])
        .args(["--config", "profile.release.opt-level=\"s\""])
        // The library's own code alone: `core` is compiled once.
        .args(["congruent", "congruent-geometry", "congruent-text"].iter().flat_map(|package| {
            let level = if *opt_level == "s" { "\"s\"" } else { *opt_level };
            ["--config".to_owned(), format!("profile.release.package.{package}.opt-level={level}")]
        }))
        .args(uniprocessor.then_some("--features=uniprocessor"))
        // What cargo finds built already it does not write again: each build has a name of its own.
        .args(["--", &format!("--emit=asm={}", output.display())])
        .current_dir(place::root());
    run::visibly(&mut command).context("fifteen entry points for mipsel")?;
    let assembly = fs::read_to_string(&output).with_context(|| output.display().to_string())?;
    let code: Vec<String> = assembly.lines().filter(|line| is_instruction(line)).map(str::to_owned).collect();
    if code.len() < 1000 {
        bail!("{}: {} instructions are not all of it", output.display(), code.len());
    }
    Ok(code)
}

/// Directives begin with a point, labels with no space, comments with a `#`.
fn is_instruction(line: &str) -> bool {
    line.starts_with(char::is_whitespace) && line.trim_start().starts_with(|c: char| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_told_from_directives_and_labels() {
        assert!(is_instruction("\tlw\t$2, 0($4)"));
        for other in ["\t.set\tnoreorder", "text_map:", "$BB0_1:", "", "\t# a comment"] {
            assert!(!is_instruction(other), "{other}");
        }
    }

    #[test]
    fn divisions_are_seen_as_instructions_and_as_calls() {
        for line in ["\tdivu\t$zero, $1, $2", "\tjal\t__umoddi3", "\tmod\t$1, $2, $3"] {
            assert!(divides(line), "{line}");
        }
        assert!(!divides("\tjal\tmaintain") && !divides("\tmove\t$1, $2"));
    }
}
