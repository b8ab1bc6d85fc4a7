//! `cargo xtask embed`: what only other processors can show, without one at hand.
//!
//! The examples that embed the library are built for bare MIPS and ARMv6, with `core` from source: neither has atomics of 64 bits, an
//! operating system or a C library. What the library adds to a kernel is counted (`text.rs`). The QEMU plugin is type-checked for
//! 64-bit ARM hosts. Nothing is run: that is the host's tests' and the guests' business.

mod text;
pub mod toolchain;

use std::process::Command;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use crate::{place, run};
use toolchain::Toolchain;

/// Bare-metal targets of 32 bits whose caches alias.
const BARE: [&str; 2] = ["mipsel-unknown-none", "armv6-none-eabi"];

/// Crates that a kernel's build would take in as a static library.
const EXAMPLES: [&str; 2] = ["skeleton", "cachetlb"];

/// Hosts other than this one on which the plugin must load.
const HOSTS: [&str; 1] = ["aarch64-unknown-linux-gnu"];

/// Fetches what builds it, if that has to be.
///
/// # Errors
/// If there is no toolchain for it and none can be fetched.
pub fn fetch() -> Result<()> {
    Toolchain::find().map(drop)
}

/// Builds all of it. Half of that is `core`, which one thread compiles: two things are built at a time.
///
/// # Errors
/// If there is no toolchain for it and none can be fetched, or something does not compile.
pub fn perform() -> Result<()> {
    let toolchain = Toolchain::find()?;
    eprintln!("  with {}", toolchain.name());
    thread::scope(|scope| {
        let text = scope.spawn(|| text::perform(&toolchain));
        examples(&toolchain)?;
        let text = text.join().map_err(|_| anyhow!("the counting of instructions ended in a panic"))??;
        eprintln!("  {text}");
        Ok(())
    })
}

/// Where cargo builds the examples.
pub const EXAMPLES_PART: &str = "examples";

/// The examples for bare metal, and the plugin for other hosts.
fn examples(toolchain: &Toolchain) -> Result<()> {
    let build = |what: &str, command: &mut Command| -> Result<()> {
        let start = Instant::now();
        run::visibly(command).with_context(|| what.to_owned())?;
        eprintln!("  {what}: {:.1} s", start.elapsed().as_secs_f64());
        Ok(())
    };
    for target in BARE {
        for example in EXAMPLES {
            build(&format!("{example} for {target}"), &mut toolchain.library(EXAMPLES_PART, target, example))?;
        }
    }
    for host in HOSTS {
        let mut command = toolchain.cargo(EXAMPLES_PART);
        command.args(["check", "--quiet", "--locked", "-Zbuild-std=std,panic_unwind", "--target", host]);
        // A check links nothing, so whatever C a dependency's build script compiles may as well be this machine's.
        let name = host.replace('-', "_");
        command.env(format!("CC_{name}"), "cc").env(format!("AR_{name}"), "ar");
        build(&format!("the plugin for {host}"), command.args(["--package", "congruent-qemu"]).current_dir(place::root()))?;
    }
    Ok(())
}
