//! The example kernel that embeds the library (`examples/skeleton`), on its board: built by cargo, and linked with the program that its processes
//! run; once more for each duty that it leaves out.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use skeleton::Duty;

use super::compilers::Tools;
use super::debian::Debian;
use super::emulator::Qemu;
use super::machine::Guest;
use crate::embed::toolchain::Toolchain;
use crate::{place, run};

/// A board that it boots on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Board {
    /// MIPS32 release 5, with a disk.
    Malta,
}

/// The kernel, as it is or with something left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Skeleton {
    /// Where it boots.
    pub board: Board,
    /// What it leaves out of what a kernel owes the library.
    pub forgets: Option<Duty>,
}

/// What is known of a board.
struct Facts {
    name: &'static str,
    guest: Guest,
    /// What rustc calls it.
    target: &'static str,
    flags: &'static [&'static str],
}

impl Board {
    const fn facts(self) -> Facts {
        match self {
            Self::Malta => Facts {
                name: "malta",
                guest: Guest::Mips,
                target: "mipsel-unknown-none",
                flags: &["-EL", "-march=mips32r2", "-mabi=32", "-mno-abicalls", "-G0", "-msoft-float", "-DDISK"],
            },
        }
    }
}

impl Skeleton {
    /// The guest with an operating system whose compiler it shares.
    pub const fn guest(self) -> Guest {
        self.board.facts().guest
    }

    /// The ELF file that is booted, with its symbols.
    pub fn elf(self) -> PathBuf {
        let forgets = self.forgets.map_or(String::new(), |duty| format!("-forgets-{duty:?}"));
        directory().join(format!("{}{forgets}", self.board.facts().name))
    }

    /// The command line that boots it. It goes the same way every time: its clock counts instructions.
    ///
    /// # Errors
    /// If it or the emulator has not been made yet.
    pub fn command(self, qemu: Qemu) -> Result<Vec<OsString>> {
        let elf = self.elf();
        ensure!(elf.exists(), "{} is missing: `cargo xtask e2e --only skeleton` makes it", elf.display());
        let (system, board): (_, &[&str]) = match self.board {
            Board::Malta => ("qemu-system-mipsel", &["-M", "malta", "-cpu", "P5600", "-nic", "none", "-vga", "none"]),
        };
        let mut line: Vec<OsString> = vec![qemu.program(system)?.into()];
        line.extend(board.iter().map(OsString::from));
        line.extend(
            ["-accel", "tcg,thread=single", "-icount", "shift=4,sleep=off", "-nographic", "-no-reboot"].map(OsString::from),
        );
        if self.board == Board::Malta {
            let disk = place::guests().join("disk");
            ensure!(disk.exists(), "{} is missing: run `cargo xtask guests`", disk.display());
            let disk = disk.to_string_lossy().replace(',', ",,");
            line.extend(["-drive".into(), format!("if=ide,format=raw,snapshot=on,file={disk}").into()]);
        }
        line.extend(["-kernel".into(), elf.into()]);
        Ok(line)
    }

    fn link(self, compiler: &Tools) -> Result<()> {
        let facts = self.board.facts();
        let (sources, elf) = (place::root().join("examples/skeleton"), self.elf());
        let mut command = Command::new(compiler.program(&format!("{}-gcc", facts.guest.machine().target)));
        command.current_dir(&sources).args(facts.flags);
        command.args(["-std=gnu17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-builtin", "-fno-pic"]);
        // Debug information names files of the repository and no directory of this machine.
        command.arg(format!("-ffile-prefix-map={}=examples/skeleton", sources.display()));
        command.args([
            "-nostdlib",
            "-static",
            "-no-pie",
            "-Wl,--build-id=none",
            "-Wl,--no-warn-rwx-segments",
            "-Wl,--gc-sections",
        ]);
        command.arg(format!("-Wl,-T,board/{}.ld", facts.name));
        if let Some(duty) = self.forgets {
            command.arg(format!("-Wl,--defsym,skeleton_forgets={}", duty as usize));
        }
        command.arg("-o").arg(&elf).arg("user/program.c").arg(library(self.board, self.forgets.is_some()));
        run::quietly(&mut command).with_context(|| format!("linking {}", elf.display()))?;
        Ok(())
    }
}

fn directory() -> PathBuf {
    place::root().join("target/embed/skeleton")
}

/// Which part of the work the kernel is built in, as cargo has it.
const fn part(forgetful: bool) -> &'static str {
    if forgetful { "forgetful" } else { "examples" }
}

fn library(board: Board, forgetful: bool) -> PathBuf {
    place::root().join("target/embed").join(part(forgetful)).join(board.facts().target).join("release/libskeleton.a")
}

/// Builds these. Quick for those whose sources have not changed.
///
/// # Errors
/// If there is no compiler for it and none can be fetched, or something does not compile.
pub fn build(kernels: &[Skeleton]) -> Result<()> {
    if kernels.is_empty() {
        return Ok(());
    }
    let (toolchain, debian) = (Toolchain::find()?, Debian::new()?);
    fs::create_dir_all(directory())?;
    let mut compiled = Vec::new();
    for &kernel in kernels {
        let Skeleton { board, forgets } = kernel;
        let forgetful = forgets.is_some();
        if !compiled.contains(&(board, forgetful)) {
            let mut cargo = toolchain.cargo(part(forgetful));
            cargo.args(["rustc", "--quiet", "--locked", "--release", "-Zbuild-std=core", "--target", board.facts().target]);
            cargo.args(["--package", "skeleton", "--lib", "--crate-type", "staticlib"]);
            cargo.args(forgetful.then_some("--features=forgetful")).current_dir(place::root());
            run::visibly(&mut cargo).with_context(|| format!("skeleton for {}", board.facts().name))?;
            compiled.push((board, forgetful));
        }
        kernel.link(&Tools::compiler(&debian, kernel.guest().machine())?)?;
    }
    Ok(())
}
