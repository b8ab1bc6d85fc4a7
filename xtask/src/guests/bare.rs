//! Guests without an operating system: every maintenance instruction in each form, one case each (`guests/bare`).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::compilers::Tools;
use super::emulator::Qemu;
use super::machine::Guest;
use crate::cache::Recipe;
use crate::{place, run};

/// A core and the byte order it runs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bare {
    /// MIPS32 release 5, little endian.
    Mipsel,
    /// Two such CPUs, each with caches of its own.
    MipselSmp,
    /// One that does what it is told on its console, again after each reset (`lives.c`).
    MipselLives,
    /// MIPS32 release 5, big endian.
    Mips,
    /// ARM1176.
    Armv6,
    /// ARM926. Its cache is virtually tagged; here only its instructions matter.
    Armv5,
    /// The same, with its tags.
    Armv5VirtualTags,
    /// The same, with a cache that writes through.
    Armv5WriteThrough,
    /// The same, with a cache that only loads fill.
    Armv5NoWriteAllocate,
    /// The same, with a cache that is filled at any moment.
    Armv5Speculative,
}

impl Bare {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Mipsel,
        Self::MipselSmp,
        Self::MipselLives,
        Self::Mips,
        Self::Armv6,
        Self::Armv5,
        Self::Armv5VirtualTags,
        Self::Armv5WriteThrough,
        Self::Armv5NoWriteAllocate,
        Self::Armv5Speculative,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Mipsel => "mipsel",
            Self::MipselSmp => "mipsel-smp",
            Self::MipselLives => "mipsel-lives",
            Self::Mips => "mips",
            Self::Armv6 => "armv6",
            Self::Armv5 => "armv5",
            Self::Armv5VirtualTags => "armv5-virtual-tags",
            Self::Armv5WriteThrough => "armv5-write-through",
            Self::Armv5NoWriteAllocate => "armv5-no-write-allocate",
            Self::Armv5Speculative => "armv5-speculative",
        }
    }

    /// Which compiler, the source with what it includes, and the linker script.
    const fn parts(self) -> (Guest, &'static [&'static str], &'static str) {
        match self {
            Self::Mipsel | Self::Mips => (Guest::Mips, &["malta.c", "malta.h", "cases.h"], "malta.ld"),
            Self::MipselSmp => (Guest::Mips, &["malta_smp.c", "malta.h", "cases.h"], "malta.ld"),
            Self::MipselLives => (Guest::Mips, &["lives.c", "malta.h", "cases.h"], "malta.ld"),
            _ => (Guest::Arm, &["arm.c", "cases.h", "behaviour.h"], "arm.ld"),
        }
    }

    const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Mipsel | Self::MipselSmp | Self::MipselLives => &["-EL", "-march=mips32r2", "-mabi=32", "-mno-abicalls", "-G0"],
            Self::Mips => &["-EB", "-march=mips32r2", "-mabi=32", "-mno-abicalls", "-G0"],
            Self::Armv6 => &["-march=armv6k", "-marm", "-Wa,-mno-warn-deprecated"],
            Self::Armv5 => &["-march=armv5te", "-marm"],
            Self::Armv5VirtualTags => &["-march=armv5te", "-marm", "-DBEHAVIOUR", "-DVIRTUAL_TAGS"],
            Self::Armv5WriteThrough => &["-march=armv5te", "-marm", "-DBEHAVIOUR", "-DWRITE_THROUGH"],
            Self::Armv5NoWriteAllocate => &["-march=armv5te", "-marm", "-DBEHAVIOUR", "-DNO_WRITE_ALLOCATE"],
            Self::Armv5Speculative => &["-march=armv5te", "-marm", "-DBEHAVIOUR", "-DSPECULATIVE"],
        }
    }

    /// The guest with an operating system whose compiler it shares.
    pub const fn guest(self) -> Guest {
        self.parts().0
    }

    /// The ELF file that is booted, with its symbols.
    pub fn elf(self) -> PathBuf {
        place::guests().join("bare").join(self.name())
    }

    /// Compiles it.
    ///
    /// # Errors
    /// If the source does not compile without a warning.
    pub fn build(self, compiler: &Tools) -> Result<()> {
        let sources = place::guest_sources().join("bare");
        let (guest, files, script) = self.parts();
        let source = files[0];
        let mut recipe = Recipe::new(format!("bare/{}", self.name())).made_from(&compiler.recipe);
        recipe = recipe.input(self.flags().join(" ")).input("flags 2");
        for file in files.iter().chain([&script]) {
            recipe = recipe.file(&sources.join(file))?;
        }
        recipe.ensure(|elf| {
            let compiler = compiler.program(&format!("{}-gcc", guest.machine().target));
            let common = ["-std=gnu17", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-pic"];
            let linked = ["-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments"];
            let command = &mut Command::new(compiler);
            // Debug information names files of the repository and no directory of this machine.
            command.arg(format!("-ffile-prefix-map={}=guests/bare", sources.display()));
            command.current_dir(&sources).args(self.flags()).args(common).args(linked).arg(format!("-Wl,-T,{script}"));
            run::quietly(command.arg("-o").arg(elf).arg(source)).with_context(|| format!("compiling guests/bare/{source}"))?;
            Ok(())
        })?;
        Ok(())
    }

    /// The command line that boots it.
    ///
    /// # Errors
    /// If it or the emulator has not been made yet.
    pub fn command(self, qemu: Qemu) -> Result<Vec<OsString>> {
        let (system, board): (_, &[&str]) = match self {
            Self::Mipsel | Self::MipselLives => {
                ("qemu-system-mipsel", &["-M", "malta", "-cpu", "P5600", "-nic", "none", "-vga", "none"])
            }
            Self::MipselSmp => {
                ("qemu-system-mipsel", &["-M", "malta", "-cpu", "P5600", "-smp", "2", "-nic", "none", "-vga", "none"])
            }
            Self::Mips => ("qemu-system-mips", &["-M", "malta", "-cpu", "P5600", "-nic", "none", "-vga", "none"]),
            Self::Armv6 => ("qemu-system-arm", &["-M", "raspi1ap"]),
            _ => ("qemu-system-arm", &["-M", "versatilepb", "-nic", "none"]),
        };
        let (emulator, elf) = (qemu.program(system)?, self.elf());
        ensure!(elf.exists(), "{} is missing: run `cargo xtask guests`", elf.display());
        let mut line: Vec<OsString> = vec![emulator.into()];
        line.extend(
            board.iter().chain(&["-accel", "tcg,thread=single", "-nographic", "-no-reboot", "-kernel"]).map(OsString::from),
        );
        line.push(elf.into());
        Ok(line)
    }
}
