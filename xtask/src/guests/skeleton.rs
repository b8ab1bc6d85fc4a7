//! The example kernel that embeds the library (`examples/skeleton`), on its boards: built by cargo, and linked with the program that its processes
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
use crate::embed::EXAMPLES_PART;
use crate::embed::toolchain::Toolchain;
use crate::{place, run};

/// Where cargo builds it: where it has been built to see whether it compiles.
const PART: &str = EXAMPLES_PART;

/// As what.
const NAME: &str = "libskeleton.a";

/// A board that it boots on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Board {
    /// MIPS32 release 5, with a disk.
    Malta,
    /// The first Raspberry Pi: ARM1176.
    Raspi,
}

/// The kernel, as it is or with something left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Skeleton {
    /// Where it boots.
    pub board: Board,
    /// What it leaves out of what a kernel owes the library.
    pub forgets: Option<Duty>,
    /// Whether it tells the library that the core fills no line that nobody asked for.
    pub in_order: bool,
    /// How many CPUs the board has.
    pub cpus: u32,
}

/// What its processes do, as the program names it (`examples/skeleton/user/program.c`).
const PROGRAMS: &str =
    "arguments,zero-pages,fork-while-a-thread-stores,shared-file,two-addresses,peek-and-poke,exec,recycled-frames";
const PROGRAMS_WITH_DISK: &str =
    "arguments,zero-pages,fork-while-a-thread-stores,shared-file,two-addresses,peek-and-poke,exec,direct-disk,recycled-frames";

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
            Self::Raspi => Facts {
                name: "raspi",
                guest: Guest::Arm,
                target: "armv6-none-eabi",
                flags: &["-march=armv6k", "-marm", "-mfloat-abi=soft"],
            },
        }
    }
}

impl Skeleton {
    /// The guest with an operating system whose compiler it shares.
    pub const fn guest(self) -> Guest {
        self.board.facts().guest
    }

    /// What it says of itself in lines of their own, if all is well.
    pub const fn programs(self) -> &'static str {
        match self.board {
            Board::Malta => PROGRAMS_WITH_DISK,
            Board::Raspi => PROGRAMS,
        }
    }

    /// The ELF file that is booted, with its symbols.
    pub fn elf(self) -> PathBuf {
        let forgets = self.forgets.map_or(String::new(), |duty| format!("-forgets-{duty:?}"));
        let in_order = if self.in_order { "-in-order" } else { "" };
        directory().join(format!("{}{in_order}{forgets}", self.board.facts().name))
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
            Board::Raspi => ("qemu-system-arm", &["-M", "raspi1ap"]),
        };
        let mut line: Vec<OsString> = vec![qemu.program(system)?.into()];
        line.extend(board.iter().map(OsString::from));
        line.extend(
            ["-accel", "tcg,thread=single", "-icount", "shift=4,sleep=off", "-nographic", "-no-reboot"].map(OsString::from),
        );
        if self.cpus > 1 {
            line.extend(["-smp".into(), self.cpus.to_string().into()]);
        }
        if self.board == Board::Malta {
            let disk = place::guests().join("disk");
            ensure!(disk.exists(), "{} is missing: run `cargo xtask guests`", disk.display());
            let disk = disk.to_string_lossy().replace(',', ",,");
            line.extend(["-drive".into(), format!("if=ide,format=raw,snapshot=on,file={disk}").into()]);
        }
        line.extend(["-kernel".into(), elf.into()]);
        Ok(line)
    }

    const fn library(self) -> Library {
        Library { board: self.board, forgetful: self.forgets.is_some(), in_order: self.in_order }
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
        command.arg("-o").arg(&elf).arg("user/program.c").arg(self.library().path());
        run::quietly(&mut command).with_context(|| format!("linking {}", elf.display()))?;
        Ok(())
    }
}

fn directory() -> PathBuf {
    place::root().join("target/skeleton")
}

/// What of the kernel cargo builds, which is linked several times.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Library {
    board: Board,
    forgetful: bool,
    in_order: bool,
}

impl Library {
    fn path(self) -> PathBuf {
        let features = match (self.forgetful, self.in_order) {
            (false, false) => "",
            (true, false) => "-forgetful",
            (false, true) => "-in-order",
            (true, true) => "-forgetful-in-order",
        };
        // Linker scripts know it by its name.
        directory().join(format!("{}{features}.library", self.board.facts().name)).join(NAME)
    }

    fn build(self, toolchain: &Toolchain) -> Result<()> {
        let target = self.board.facts().target;
        let mut cargo = toolchain.library(PART, target, "skeleton");
        cargo.args(self.forgetful.then_some("--features=forgetful")).args(self.in_order.then_some("--features=in-order"));
        run::visibly(&mut cargo).with_context(|| format!("the skeleton for {target}"))?;
        let (built, kept) = (place::root().join("target/embed").join(PART).join(target).join("release").join(NAME), self.path());
        // Cargo has one place for all.
        kept.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::copy(&built, &kept).map(drop).with_context(|| format!("cannot keep {}", built.display()))
    }
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
    let mut built = Vec::new();
    for kernel in kernels {
        let library = kernel.library();
        if !built.contains(&library) {
            library.build(&toolchain)?;
            built.push(library);
        }
        kernel.link(&Tools::compiler(&debian, kernel.guest().machine())?)?;
    }
    Ok(())
}
