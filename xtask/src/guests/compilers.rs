//! The cross compilers, and what building a kernel needs beside one.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::debian::{Debian, Wanted};
use super::machine::Machine;
use crate::apt::host::host_arch;
use crate::apt::root::With;
use crate::apt::suites::{BOOKWORM, Suites, TRIXIE};
use crate::apt::tree::Tree;
use crate::cache::Recipe;

const SUITES: &[Suites] = &[TRIXIE, BOOKWORM];

/// The programs of binary files that a kernel's build uses.
const BINARY_TOOLS: [&str; 8] = ["as", "ld", "ar", "nm", "objcopy", "objdump", "strip", "readelf"];

/// What a kernel's build uses of the host beside its C compiler, make, tar, xz and perl. (make starts itself by the name it was started
/// under, so it cannot be one of these.)
const BUILD_TOOLS: [&str; 4] = ["flex", "bison", "m4", "bc"];

/// A tree of packages, and the recipe that it is made from.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Where.
    pub dir: PathBuf,
    /// From what.
    pub recipe: Recipe,
}

impl Tools {
    /// A program of the tree.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join("bin").join(name)
    }

    /// The compiler of a target and its binary tools: `bin/<target>-gcc` and others.
    ///
    /// gcc starts its passes by itself, as programs of the machine; each pass is therefore wrapped as well, in a directory that gcc
    /// searches first.
    ///
    /// # Errors
    /// If the packages cannot be fetched or are not laid out as expected.
    pub fn compiler(debian: &Debian, machine: &Machine) -> Result<Self> {
        let target = machine.target;
        let packages = [format!("gcc-{target}"), format!("libc6-dev-{}-cross", machine.debian_arch)];
        let packages = packages.each_ref().map(String::as_str);
        Self::fetch(debian, &format!("cross-{target}"), &packages, |tree, dir| {
            wrap_compiler(tree, dir, target)?;
            for program in BINARY_TOOLS.map(|tool| format!("{target}-{tool}")) {
                tree.wrap(&dir.join("bin").join(&program), Path::new(&format!("usr/bin/{program}")), &[], "")?;
            }
            Ok(())
        })
    }

    /// What a kernel's build uses beside compilers.
    ///
    /// # Errors
    /// As [`Self::compiler`].
    pub fn build(debian: &Debian) -> Result<Self> {
        Self::fetch(debian, "build-tools", &BUILD_TOOLS, |tree, dir| {
            for program in BUILD_TOOLS {
                // bison looks for these where it would have been installed.
                let environment = [("BISON_PKGDATADIR", "$tree/usr/share/bison"), ("M4", "$tree/bin/m4")];
                tree.wrap(&dir.join("bin").join(program), Path::new(&format!("usr/bin/{program}")), &environment, "")?;
            }
            Ok(())
        })
    }

    fn fetch(debian: &Debian, name: &str, packages: &[&str], wrap: impl FnOnce(&Tree, &Path) -> Result<()>) -> Result<Self> {
        let wanted = Wanted { alternatives: SUITES, arch: host_arch()?, packages, with: With::Dependencies };
        let recipe = Recipe::new(name).input(wanted.to_string()).input("layout 3");
        let dir = recipe.ensure(|dir| wrap(&Tree::unpack(dir, &debian.fetch(name, &wanted)?)?, dir))?;
        Ok(Self { dir, recipe })
    }
}

/// Writes `bin/<target>-gcc`, and a script for each pass.
fn wrap_compiler(tree: &Tree, dir: &Path, target: &str) -> Result<()> {
    let passes = dir.join("passes").join(target);
    for pass in ["cc1", "collect2"] {
        let program =
            tree.file(pass, |name| name.contains(&format!("gcc-cross/{target}/")) && name.ends_with(&format!("/{pass}")))?;
        tree.wrap_part(&passes.join(pass), &program)?;
    }
    for pass in ["as", "ld"] {
        tree.wrap_part(&passes.join(pass), Path::new(&format!("usr/bin/{target}-{pass}")))?;
    }
    let driver = tree.file("gcc", |name| {
        let version = name.strip_prefix(&format!("usr/bin/{target}-gcc-"));
        version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit()))
    })?;
    let search = format!("-B \"$tree/passes/{target}/\" --sysroot=\"$tree\"");
    tree.wrap(&dir.join("bin").join(format!("{target}-gcc")), &driver, &[], &search)
}
