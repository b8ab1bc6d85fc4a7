//! Kernels of architectures that Debian has no kernel packages for: built from Debian's kernel source with Debian's cross compilers.
//!
//! The configuration is `allnoconfig` with what `guests/kernels/<guest>.config` asks for, so that a build takes minutes. What it asks for
//! and does not get is an error: a kernel that quietly lacks something fails in ways that are hard to read.
//!
//! Of the machine it needs what building a Rust program needs as well (a C compiler), and make, bc, perl and xz.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};

use super::machine::{Built, Guest};
use super::packages::{host_arch, with_apt};
use super::recipe::Recipe;
use crate::apt::tree::Tree;
use crate::{place, run};

/// The kernel of a guest: `vmlinuz`, `System.map`, `board.dtb` if it needs one, and `PACKAGES`, which says from which source.
///
/// # Errors
/// If the source cannot be fetched, or does not build.
pub fn kernel(guest: Guest, built: Built, compilers: &Path) -> Result<PathBuf> {
    let (suite, package) = (guest.suite(), "linux-source");
    let wanted = place::guest_sources().join("kernels").join(format!("{}.config", guest.directory()));
    let recipe = Recipe::new(format!("{}/kernel", guest.directory()))
        .input(format!("{suite} {package} {} {}, layout 1", built.architecture, built.image))
        .file(&compilers.join("PACKAGES"))?
        .file(&wanted)?;
    recipe.ensure(|dir| {
        let work = dir.join("work");
        let tree = with_apt(&format!("{}-source", guest.directory()), suite, host_arch()?, |apt| {
            let source = apt.dependency(package, "linux-source-")?;
            Tree::unpack(&work, &apt.download(&[&source])?)
        })?;
        let archive =
            tree.file("kernel source", |name| name.starts_with("usr/src/linux-source-") && name.ends_with(".tar.xz"))?;
        run::quietly(Command::new("tar").arg("-xJf").arg(work.join(archive)).arg("-C").arg(&work).arg("--strip-components=1"))?;
        let make = |words: &[&str]| make(guest, built, compilers, &work, &wanted, words);
        make(&["allnoconfig"])?;
        check(&wanted, &work.join("build/.config"))?;
        let targets: Vec<&str> = [built.image].into_iter().chain(built.device_tree).collect();
        make(&targets)?;
        let out = work.join("build");
        fs::rename(out.join(built.file), dir.join("vmlinuz"))?;
        if let Some(tree) = built.device_tree {
            fs::rename(out.join("arch").join(built.architecture).join("boot/dts").join(tree), dir.join("board.dtb"))?;
        }
        fs::rename(out.join("System.map"), dir.join("System.map"))?;
        fs::rename(work.join("PACKAGES"), dir.join("PACKAGES"))?;
        Ok(fs::remove_dir_all(&work)?)
    })
}

/// One call of the kernel's make.
fn make(guest: Guest, built: Built, compilers: &Path, work: &Path, wanted: &Path, words: &[&str]) -> Result<()> {
    let mut path = OsString::from(compilers.join("bin"));
    if let Some(others) = std::env::var_os("PATH") {
        path.push(":");
        path.push(others);
    }
    let mut command = Command::new("nice");
    command.args(["make", "--silent", "O=build"]).current_dir(work);
    command.arg(format!("--jobs={}", thread::available_parallelism().map_or(1, usize::from)));
    command.arg(format!("ARCH={}", built.architecture)).arg(format!("CROSS_COMPILE={}-", guest.target()));
    // The same source gives the same kernel, wherever and whenever it is built.
    command.args(["KBUILD_BUILD_TIMESTAMP=1970-01-01", "KBUILD_BUILD_USER=congruent", "KBUILD_BUILD_HOST=congruent"]);
    command.env("PATH", path).env("KCONFIG_ALLCONFIG", wanted);
    // bison looks for these where it would have been installed.
    command.env("BISON_PKGDATADIR", compilers.join("usr/share/bison")).env("M4", compilers.join("bin/m4"));
    run::quietly(command.args(words)).with_context(|| format!("building the kernel of {}", guest.directory()))?;
    Ok(())
}

/// Whether the configuration has everything that was asked for.
fn check(wanted: &Path, got: &Path) -> Result<()> {
    let (wanted, got) = (fs::read_to_string(wanted)?, fs::read_to_string(got)?);
    let lost = wanted.lines().find(|line| line.starts_with("CONFIG_") && !got.lines().any(|other| other == *line));
    ensure!(lost.is_none(), "this kernel has no {}: another option that it needs is missing", lost.unwrap_or_default());
    Ok(())
}
