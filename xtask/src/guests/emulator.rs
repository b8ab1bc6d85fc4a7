//! The emulators: Debian's QEMU of two releases, as trees of packages that run beside whatever the machine has installed.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use super::debian::{Debian, Wanted};
use super::modules;
use crate::apt::host::{host_arch, host_triplet};
use crate::apt::root::With;
use crate::apt::suites::{BOOKWORM_BACKPORTS, FORKY, SID, Suites, TRIXIE};
use crate::apt::tree::Tree;
use crate::cache::Recipe;
use crate::place;

/// The emulators that come from Debian's package `qemu-system-misc`.
pub const MISCELLANEOUS: &[&str] = &["qemu-system-sh4", "qemu-system-hppa"];

/// A version of QEMU, as Debian builds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Qemu {
    /// The oldest that is supported: plugin API 4.
    #[value(name = "10.0")]
    V10_0,
    /// The newest: plugin API 7.
    #[value(name = "11.1")]
    V11_1,
}

impl Qemu {
    /// Its directory under `target/guests`.
    pub const fn directory(self) -> &'static str {
        match self {
            Self::V10_0 => "qemu-10.0",
            Self::V11_1 => "qemu-11.1",
        }
    }

    /// Where Debian has it, in the order in which to look.
    const fn suites(self) -> &'static [Suites] {
        match self {
            Self::V10_0 => &[TRIXIE, BOOKWORM_BACKPORTS],
            Self::V11_1 => &[FORKY, SID],
        }
    }

    /// The emulator of one kind of guest.
    ///
    /// # Errors
    /// If it has not been fetched yet.
    pub fn program(self, system: &str) -> Result<PathBuf> {
        let program = place::guests().join(self.tree(system)).join("bin").join(system);
        let more = if self == Self::V11_1 { " --qemu 11.1" } else { "" };
        ensure!(program.exists(), "{} is missing: run `cargo xtask guests{more}`", program.display());
        Ok(program)
    }

    /// The name of the tree that has the emulator of one kind of guest.
    pub fn tree(self, system: &str) -> String {
        self.parts(system).directory
    }

    /// Fetches the emulator of one kind of guest, with others that Debian packs with it.
    ///
    /// # Errors
    /// If its packages cannot be fetched or are not laid out as expected.
    pub fn fetch(self, debian: &Debian, system: &str) -> Result<PathBuf> {
        let Parts { directory, packages, systems } = self.parts(system);
        let (arch, triplet) = (host_arch()?, host_triplet()?);
        let wanted = Wanted { alternatives: self.suites(), arch, packages, with: With::Dependencies };
        let recipe = Recipe::new(&directory).input(wanted.to_string()).input(systems.join(" ")).input("layout 3");
        recipe.ensure(|dir| {
            let tree = Tree::unpack(dir, &debian.fetch(&directory, &wanted)?)?;
            let modules = format!("$tree/usr/lib/{triplet}/qemu");
            let data = "-L \"$tree/usr/share/qemu\" -L \"$tree/usr/share/seabios\" -L \"$tree/usr/lib/ipxe/qemu\"";
            for system in systems {
                // An installed QEMU's modules would be found first, or instead, and abort this one: they are of another build.
                let environment = [("QEMU_MODULE_DIR", modules.as_str())];
                let program = format!("usr/bin/{system}");
                tree.wrap(&dir.join("bin").join(system), Path::new(&program), &environment, data)?;
                modules::complete(&dir.join(program), &dir.join("usr/lib").join(triplet).join("qemu"))?;
            }
            Ok(())
        })
    }

    /// Debian packs the emulators of rarer architectures together.
    fn parts(self, system: &str) -> Parts {
        if MISCELLANEOUS.contains(&system) {
            let directory = format!("{}-misc", self.directory());
            return Parts { directory, packages: &["qemu-system-misc"], systems: MISCELLANEOUS };
        }
        Parts {
            directory: self.directory().to_owned(),
            packages: &["qemu-system-mips", "qemu-system-arm"],
            systems: &["qemu-system-mips", "qemu-system-mipsel", "qemu-system-arm"],
        }
    }
}

/// A tree with emulators: where, from which packages, and which.
struct Parts {
    directory: String,
    packages: &'static [&'static str],
    systems: &'static [&'static str],
}
