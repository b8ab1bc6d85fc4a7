//! The shell of the guests that have one: Debian's static busybox.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::debian::{Debian, Wanted};
use super::machine::Machine;
use crate::apt::root::With;
use crate::apt::suites::{BOOKWORM, Suites, TRIXIE};
use crate::apt::tree::Tree;
use crate::cache::Recipe;

/// The releases that have it for some architecture.
const SUITES: &[Suites] = &[TRIXIE, BOOKWORM];

/// Fetches it: a directory with `busybox` and `PACKAGES`.
///
/// # Errors
/// If no version of it can be had.
pub fn fetch(debian: &Debian, machine: &Machine) -> Result<PathBuf> {
    // A release that does not have the architecture has no list to look into.
    let alternatives = machine.stock.map_or(SUITES, |stock| if stock.suites == BOOKWORM { &SUITES[1..] } else { SUITES });
    let wanted = Wanted { alternatives, arch: machine.debian_arch, packages: &["busybox-static"], with: With::Nothing };
    let recipe = Recipe::new(machine.of("shell")).input(wanted.to_string()).input("layout 2");
    recipe.ensure(|dir| {
        let unpacked = dir.join("unpacked");
        let tree = Tree::unpack(&unpacked, &debian.fetch(&machine.of("shell"), &wanted)?)?;
        let busybox = tree.file("busybox", |name| name.ends_with("bin/busybox"))?;
        fs::rename(unpacked.join(&busybox), dir.join("busybox")).context("cannot keep busybox")?;
        fs::rename(unpacked.join("PACKAGES"), dir.join("PACKAGES"))?;
        Ok(fs::remove_dir_all(&unpacked)?)
    })
}
