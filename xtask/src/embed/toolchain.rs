//! A compiler that can build `core` for targets that nobody ships it for.
//!
//! That takes the library's sources and cargo's `build-std`, which is not stable. A nightly toolchain with `rust-src` is used where
//! there is one; otherwise Debian's compiler with its sources, unpacked under `target/guests` and told to allow what is unstable.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::apt::host::host_arch;
use crate::apt::root::With;
use crate::apt::suites::{FORKY, SID};
use crate::apt::tree::Tree;
use crate::cache::Recipe;
use crate::guests::debian::{Debian, Wanted};
use crate::{place, run};

/// Debian's compiler, of releases where it is new enough for the workspace's `rust-version`.
const PACKAGES: [&str; 3] = ["rustc", "rust-src", "cargo"];

/// Where `build-std` can be used.
pub enum Toolchain {
    /// rustup's `nightly`.
    Nightly,
    /// Debian's, in this directory.
    Debian(PathBuf),
}

impl Toolchain {
    /// The one of this machine, or Debian's, fetched.
    ///
    /// # Errors
    /// If it must be fetched and cannot be.
    pub fn find() -> Result<Self> {
        if nightly_has_sources() { Ok(Self::Nightly) } else { debian().map(Self::Debian) }
    }

    /// What to tell people.
    pub fn name(&self) -> String {
        match self {
            Self::Nightly => "the nightly toolchain".to_owned(),
            Self::Debian(_) => "Debian's compiler".to_owned(),
        }
    }

    /// Its cargo, with a target directory of its own: one for each `part` of the work, because cargo lets one build at a time use one.
    pub fn cargo(&self, part: &str) -> Command {
        let mut command = match self {
            Self::Nightly => rustup(&["cargo"]),
            Self::Debian(tree) => {
                let mut command = Command::new(tree.join("bin/cargo"));
                command.env("RUSTC", tree.join("bin/rustc")).env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        // What the cargo that started this program left behind is about another toolchain.
        for name in ["RUSTUP_TOOLCHAIN", "CARGO", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
            command.env_remove(name);
        }
        command.env("CARGO_TARGET_DIR", place::root().join("target/embed").join(part));
        command
    }
}

impl Toolchain {
    /// Builds a crate as the static library that a kernel's build takes in, `core` with it.
    pub fn library(&self, part: &str, target: &str, package: &str) -> Command {
        let mut command = self.cargo(part);
        command.args(["rustc", "--quiet", "--locked", "--release", "-Zbuild-std=core", "--target", target]);
        command.args(["--package", package, "--lib", "--crate-type", "staticlib"]).current_dir(place::root());
        command
    }
}

fn rustup(words: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).args(words);
    command
}

fn nightly_has_sources() -> bool {
    let sysroot = run::quietly(rustup(&["rustc", "--print", "sysroot"]).env_remove("RUSTUP_TOOLCHAIN"));
    sysroot.is_ok_and(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/Cargo.lock").exists())
}

fn debian() -> Result<PathBuf> {
    let wanted = Wanted { alternatives: &[FORKY, SID], arch: host_arch()?, packages: &PACKAGES, with: With::Dependencies };
    let recipe = Recipe::new("rust").input(wanted.to_string()).input("layout 2");
    recipe.ensure(|dir| {
        let tree = Tree::unpack(dir, &Debian::new()?.fetch("rust", &wanted)?)?;
        for program in ["rustc", "cargo"] {
            tree.wrap(&dir.join("bin").join(program), &Path::new("usr/bin").join(program), &[], "")?;
        }
        Ok(())
    })
}
