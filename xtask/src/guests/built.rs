//! Kernels that are built from Debian's kernel source with Debian's cross compilers.
//!
//! The configuration is `allnoconfig` with what the guest's record names (`guests/kernels`, `linux`), so that a build takes minutes. What that
//! asks for and does not get is an error: a kernel that quietly lacks something fails in ways that are hard to read.
//!
//! Of the machine it needs a C compiler, as building a Rust program does, and make, perl, tar and xz.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};

use super::compilers::Tools;
use super::debian::{Debian, Wanted};
use super::machine::{Built, Machine};
use crate::apt::host::host_arch;
use crate::apt::root::With;
use crate::apt::suites::{FORKY, SID, Suites, TRIXIE};
use crate::apt::tree::Tree;
use crate::cache::Recipe;
use crate::{linux, place, run};

/// What no kernel here is built from, and a third of the source: other boards' device trees, and lists of graphics registers.
const LEFT_OUT: [&str; 4] =
    ["*/drivers/gpu/drm/amd/include/*", "*/Documentation/*/*", "*/tools/testing/*", "*/arch/arm64/boot/dts/*"];

/// What a kernel is built with.
pub struct Workshop {
    /// The kernel's source, unpacked.
    pub source: PathBuf,
    /// The compiler of the target.
    pub compiler: Tools,
    /// flex, bison and others.
    pub tools: Tools,
}

/// Which of Debian's kernel sources a kernel is built from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Release {
    /// That of the release; of what comes next, if that has gone.
    Stable,
    /// That of what comes next.
    Next,
}

impl Release {
    const fn suites(self) -> &'static [Suites] {
        match self {
            Self::Stable => &[TRIXIE, FORKY],
            Self::Next => &[FORKY, SID],
        }
    }
}

/// Fetches Debian's kernel source.
///
/// # Errors
/// If no version of it can be had.
pub fn source(debian: &Debian, release: Release) -> Result<PathBuf> {
    source_recipe(release)?.ensure(|dir| {
        let unpacked = dir.join("unpacked");
        let mut fetched = None;
        for suites in release.suites() {
            // The package without contents depends on the newest one; others beside it are older.
            let names = debian.root(suites, host_arch()?)?.newest_first("linux-source-", "")?;
            for name in &names {
                let wanted = Wanted { alternatives: &[*suites], arch: host_arch()?, packages: &[name], with: With::Nothing };
                fetched = debian.try_fetch("linux-source", &wanted)?;
                if fetched.is_some() {
                    break;
                }
            }
            if fetched.is_some() {
                break;
            }
        }
        let fetched = fetched.context("no version of Debian's kernel source can be had from the mirror: try another one")?;
        let tree = Tree::unpack(&unpacked, &fetched)?;
        let archive =
            tree.file("kernel source", |name| name.starts_with("usr/src/linux-source-") && name.ends_with(".tar.xz"))?;
        let mut tar = run::bound("tar");
        tar.arg("-xJf").arg(unpacked.join(archive)).arg("-C").arg(dir).args(["--strip-components=1", "--wildcards"]);
        run::quietly(tar.args(LEFT_OUT.map(|pattern| format!("--exclude={pattern}"))))?;
        fs::rename(unpacked.join("PACKAGES"), dir.join("PACKAGES"))?;
        Ok(fs::remove_dir_all(&unpacked)?)
    })
}

fn source_recipe(release: Release) -> Result<Recipe> {
    let name = match release {
        Release::Stable => "linux-source",
        Release::Next => "linux-source-next",
    };
    let suites: Vec<String> = release.suites().iter().map(|suites| format!("{suites:?}")).collect();
    Ok(Recipe::new(name).input(format!("{} from {}, layout 1", host_arch()?, suites.join(" or "))).input(LEFT_OUT.join(" ")))
}

/// The recipe of a guest's built kernel.
///
/// # Errors
/// If its configuration cannot be read.
pub fn recipe(machine: &Machine) -> Result<Recipe> {
    let Built { architecture, image, configured, is_ported, .. } = machine.built;
    let mut recipe = Recipe::new(machine.of("kernel"))
        .input(format!("built {architecture} {image} by {}, layout 2", machine.target))
        .made_from(&source_recipe(machine.built.release)?);
    for file in configured {
        recipe = recipe.file(&place::root().join(file))?;
    }
    if is_ported { linux::made_from(recipe) } else { Ok(recipe) }
}

/// Builds the kernel of a guest: `vmlinuz`, `System.map`, `board.dtb` if it needs one, and `PACKAGES`, which says from which source.
///
/// # Errors
/// If it does not build.
pub fn build(machine: &Machine, shop: &Workshop) -> Result<PathBuf> {
    recipe(machine)?.ensure(|dir| {
        fs::create_dir_all(dir)?;
        let mut yard = Yard::beside(dir, shop)?;
        if machine.built.is_ported {
            yard.port(shop)?;
        }
        yard.configure(machine, shop)?;
        let out = yard.out();
        let targets: Vec<&str> = [machine.built.image].into_iter().chain(machine.built.device_tree).collect();
        yard.make(machine, shop, &targets)?;
        // It may lie on another file system.
        let keep = |from: PathBuf, name: &str| {
            fs::copy(&from, dir.join(name)).map(drop).with_context(|| format!("cannot keep {}", from.display()))
        };
        keep(out.join(machine.built.file), "vmlinuz")?;
        if let Some(tree) = machine.built.device_tree {
            keep(out.join("arch").join(machine.built.architecture).join("boot/dts").join(tree), "board.dtb")?;
        }
        keep(out.join("System.map"), "System.map")?;
        keep(shop.source.join("PACKAGES"), "PACKAGES")?;
        yard.clear()
    })
}

/// Where a kernel is built.
struct Yard {
    source: PathBuf,
    work: PathBuf,
}

impl Yard {
    /// Beside what it is built for. Linux's make takes no directory with a space or a colon in its path; where there is one, both the
    /// source and the build are put where temporary files are.
    fn beside(dir: &Path, shop: &Workshop) -> Result<Self> {
        let odd = |path: &Path| path.to_string_lossy().contains([' ', ':', '\t']);
        let (mut source, mut work) = (fs::canonicalize(&shop.source)?, dir.join("work"));
        if odd(&source) || odd(&work) {
            work = env::temp_dir().join(format!("congruent-kernel-{}", std::process::id()));
            ensure!(!odd(&work), "no directory without a space in its path to build a kernel in: say one with TMPDIR=DIRECTORY");
            fs::create_dir_all(&work)?;
            run::quietly(run::bound("cp").args(["-r", "-T"]).arg(&source).arg(work.join("source")))?;
            source = work.join("source");
        }
        fs::create_dir_all(work.join("build"))?;
        Ok(Self { source, work })
    }

    fn out(&self) -> PathBuf {
        self.work.join("build")
    }

    /// What the kernel is built from has the library in it from now on.
    fn port(&mut self, shop: &Workshop) -> Result<()> {
        let tree = self.work.join("ported");
        linux::port(&self.source, &tree, &shop.compiler)?;
        self.source = tree;
        Ok(())
    }

    fn configure(&self, machine: &Machine, shop: &Workshop) -> Result<()> {
        let mut wanted = String::new();
        for file in machine.built.configured {
            let path = place::root().join(file);
            wanted += &fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        fs::write(self.configuration(), &wanted)?;
        self.make(machine, shop, &["allnoconfig"])?;
        check(&wanted, &fs::read_to_string(self.out().join(".config"))?)
    }

    /// What it is configured with.
    fn configuration(&self) -> PathBuf {
        self.work.join("wanted.config")
    }

    fn clear(self) -> Result<()> {
        Ok(fs::remove_dir_all(&self.work)?)
    }

    /// One call of the kernel's make.
    fn make(&self, machine: &Machine, shop: &Workshop, words: &[&str]) -> Result<()> {
        let mut path = OsString::new();
        for tools in [&shop.compiler, &shop.tools] {
            path.push(fs::canonicalize(tools.dir.join("bin"))?);
            path.push(":");
        }
        path.push(env::var_os("PATH").unwrap_or_default());
        let mut command: Command = run::bound("make");
        command.arg("--silent").arg("-C").arg(&self.source);
        command.arg({
            let mut out = OsString::from("O=");
            out.push(self.out());
            out
        });
        command.arg(format!("--jobs={}", thread::available_parallelism().map_or(1, usize::from)));
        command.arg(format!("ARCH={}", machine.built.architecture)).arg(format!("CROSS_COMPILE={}-", machine.target));
        // The same source gives the same kernel, wherever and whenever it is built.
        command.args(["KBUILD_BUILD_TIMESTAMP=1970-01-01", "KBUILD_BUILD_USER=congruent", "KBUILD_BUILD_HOST=congruent"]);
        command.env("PATH", path).env("KCONFIG_ALLCONFIG", self.configuration());
        for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARCH", "CROSS_COMPILE", "KCFLAGS", "CFLAGS", "LDFLAGS"] {
            command.env_remove(name);
        }
        run::quietly(command.args(words)).with_context(|| format!("building the kernel of {}", machine.directory))?;
        Ok(())
    }
}

/// Whether the configuration has everything that was asked for.
fn check(wanted: &str, got: &str) -> Result<()> {
    let lost = wanted.lines().find(|line| line.starts_with("CONFIG_") && !got.lines().any(|other| other == *line));
    ensure!(lost.is_none(), "this kernel has no {}: another option that it needs is missing", lost.unwrap_or_default());
    Ok(())
}
