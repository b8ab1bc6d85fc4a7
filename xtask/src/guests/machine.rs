//! The guests and emulators that tests use, and the one definition of the command line that boots each.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::ValueEnum;

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

    /// The directory that has the emulator of one kind of guest: Debian packs those of rarer architectures together.
    pub fn directory_of(self, system: &str) -> String {
        let rarer = if MISCELLANEOUS.contains(&system) { "-misc" } else { "" };
        format!("{}{rarer}", self.directory())
    }

    /// The emulator of one kind of guest.
    ///
    /// # Errors
    /// If it has not been fetched yet.
    pub fn program(self, system: &str) -> Result<PathBuf> {
        let program = place::guests().join(self.directory_of(system)).join("bin").join(system);
        let more = if self == Self::V11_1 { " --qemu 11.1" } else { "" };
        ensure!(program.exists(), "{} is missing: run `cargo xtask guests{more}`", program.display());
        Ok(program)
    }

    /// The Debian suite that has it.
    pub const fn suite(self) -> &'static str {
        match self {
            Self::V10_0 => "trixie",
            Self::V11_1 => "forky",
        }
    }
}

/// A guest: a stock Debian kernel on a board that QEMU knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Guest {
    /// Linux 6.1 for MIPS32 little endian on `malta`.
    Mips,
    /// Linux 6.12 for ARMv6 on `raspi1ap`.
    Arm,
    /// Linux 6.12 for SH-4 on `r2d`, built from Debian's source.
    Sh4,
    /// Linux 6.12 for ARM926 on `versatilepb`, built from Debian's source: Debian's own kernels need an ARMv6.
    Arm926,
    /// Linux 6.12 for PA-RISC, 32 bits, on `B160L`, built from Debian's source.
    Hppa,
}

/// Where the kernel of a [`Guest`] comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KernelFrom {
    /// The package that depends on the newest one.
    Package(&'static str),
    /// Debian's source.
    Source(Built),
}

/// A kernel that is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Built {
    /// Linux's name of the architecture.
    pub architecture: &'static str,
    /// The target of its make.
    pub image: &'static str,
    /// The file that this makes, in the build directory.
    pub file: &'static str,
    /// The target of its make, and the file in the `dts` directory of its `boot` directory, of the board's device tree if it needs one.
    pub device_tree: Option<&'static str>,
}

impl Guest {
    /// Every guest.
    pub const ALL: [Self; 5] = [Self::Mips, Self::Arm, Self::Sh4, Self::Arm926, Self::Hppa];

    /// Its directory under `target/guests`.
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Mips => "mips",
            Self::Arm => "arm",
            Self::Sh4 => "sh4",
            Self::Arm926 => "arm926",
            Self::Hppa => "hppa",
        }
    }

    /// The Debian suite its packages come from: the last one that has the architecture, or the kernel's source.
    pub const fn suite(self) -> &'static str {
        match self {
            Self::Mips => "bookworm",
            Self::Arm | Self::Sh4 | Self::Arm926 | Self::Hppa => "trixie",
        }
    }

    /// Debian's name of its architecture.
    pub const fn debian_arch(self) -> &'static str {
        match self {
            Self::Mips => "mipsel",
            Self::Arm | Self::Arm926 => "armel",
            Self::Sh4 => "sh4",
            Self::Hppa => "hppa",
        }
    }

    /// Where its kernel comes from.
    pub const fn kernel(self) -> KernelFrom {
        match self {
            Self::Mips => KernelFrom::Package("linux-image-4kc-malta"),
            Self::Arm => KernelFrom::Package("linux-image-rpi"),
            Self::Sh4 => {
                KernelFrom::Source(Built { architecture: "sh", image: "zImage", file: "arch/sh/boot/zImage", device_tree: None })
            }
            Self::Arm926 => KernelFrom::Source(Built {
                architecture: "arm",
                image: "zImage",
                file: "arch/arm/boot/zImage",
                device_tree: Some("arm/versatile-pb.dtb"),
            }),
            Self::Hppa => {
                KernelFrom::Source(Built { architecture: "parisc", image: "vmlinux", file: "vmlinux", device_tree: None })
            }
        }
    }

    /// Whether Debian has its kernel and its busybox; if not, the guest has a first process of its own, and no shell.
    pub const fn is_stock(self) -> bool {
        matches!(self.kernel(), KernelFrom::Package(_))
    }

    /// The file with the kernel's symbols, in the guest's directory.
    pub const fn symbols(self) -> &'static str {
        if self.is_stock() { "kallsyms" } else { "kernel/System.map" }
    }

    /// The device tree of its board, which comes with the kernel; `None` where the board needs none.
    pub const fn device_tree(self) -> Option<&'static str> {
        match (self, self.kernel()) {
            (Self::Arm, _) => Some("bcm2835-rpi-a-plus.dtb"),
            (_, KernelFrom::Source(built)) => built.device_tree,
            _ => None,
        }
    }

    /// The modules of its kernel that its disk needs.
    pub const fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Mips => &["ata_piix"],
            Self::Arm | Self::Sh4 | Self::Arm926 | Self::Hppa => &[],
        }
    }

    /// The compiler's name of the target.
    pub const fn target(self) -> &'static str {
        match self {
            Self::Mips => "mipsel-linux-gnu",
            Self::Arm | Self::Arm926 => "arm-linux-gnueabi",
            Self::Sh4 => "sh4-linux-gnu",
            Self::Hppa => "hppa-linux-gnu",
        }
    }

    /// The core it runs on unless another is asked for. On `r2d` QEMU would take an SH7751R, but says of it that its cache has 4 KiB,
    /// and so the kernel would do nothing about aliases; of an SH7785 it says the truth.
    pub const fn default_cpu(self) -> &'static str {
        match self {
            Self::Mips => "P5600",
            Self::Arm => "arm1176",
            Self::Sh4 => "sh7785",
            Self::Arm926 => "arm926",
            Self::Hppa => "hppa",
        }
    }

    pub const fn system(self) -> &'static str {
        match self {
            Self::Mips => "qemu-system-mipsel",
            Self::Arm | Self::Arm926 => "qemu-system-arm",
            Self::Sh4 => "qemu-system-sh4",
            Self::Hppa => "qemu-system-hppa",
        }
    }
}

/// How long a kernel's command line may be: QEMU's malta board passes it in an entry of 256 bytes.
const LONGEST_ARGUMENTS: usize = 256;

/// One boot of a guest.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Which guest.
    pub guest: Guest,
    /// Under which emulator.
    pub qemu: Qemu,
    /// The core, if not the guest's default one.
    pub cpu: Option<String>,
    /// Whether the run is to go the same way every time: time is counted in instructions, and starts at a fixed date.
    pub repeatable: bool,
    /// How many CPUs it has.
    pub cpus: u32,
    /// The programs to run after the boot, as `congruent.run=` takes them: `name:argument…,name…`.
    pub run: String,
    /// More words for the kernel's command line.
    pub words: String,
    /// Whether it has a disk. What it writes there is gone afterwards.
    pub disk: bool,
}

impl Boot {
    /// A boot on the guest's default core that runs `run`.
    pub fn new(guest: Guest, qemu: Qemu, run: impl Into<String>) -> Self {
        Self { guest, qemu, cpu: None, cpus: 1, repeatable: false, run: run.into(), words: String::new(), disk: false }
    }

    /// The command line: the program and its arguments.
    ///
    /// # Errors
    /// If the guest or the emulator has not been made yet.
    pub fn command(&self) -> Result<Vec<OsString>> {
        let emulator = self.qemu.program(self.guest.system())?;
        let dir = place::guests().join(self.guest.directory());
        let (kernel, initramfs) = (dir.join("kernel/vmlinuz"), dir.join("initramfs.cpio"));
        for needed in [&kernel, &initramfs] {
            ensure!(needed.exists(), "{} is missing: run `cargo xtask guests`", needed.display());
        }
        let mut line: Vec<OsString> = vec![emulator.into()];
        let mut add = |words: &[&str]| line.extend(words.iter().map(OsString::from));
        match self.guest {
            Guest::Mips => add(&[
                "-M",
                "malta",
                "-cpu",
                self.cpu.as_deref().unwrap_or(self.guest.default_cpu()),
                "-nic",
                "none",
                "-vga",
                "none",
            ]),
            Guest::Arm => add(&["-M", "raspi1ap"]),
            Guest::Arm926 => add(&["-M", "versatilepb", "-nic", "none"]),
            Guest::Sh4 => add(&[
                "-M",
                "r2d",
                "-cpu",
                self.cpu.as_deref().unwrap_or(self.guest.default_cpu()),
                "-nic",
                "none",
                // The console is the second serial port.
                "-serial",
                "null",
                "-serial",
                "stdio",
                "-monitor",
                "none",
            ]),
            // The smallest memory that the firmware and the kernel's file leave room in.
            Guest::Hppa => add(&["-M", "B160L", "-nic", "none", "-vga", "none", "-m", "128M"]),
        }
        let arguments = self.kernel_arguments();
        ensure!(arguments.len() < LONGEST_ARGUMENTS, "too many programs for one boot: the boards cut `{arguments}` off");
        add(&["-accel", "tcg,thread=single", "-nographic", "-no-reboot", "-append", &arguments]);
        if self.cpus > 1 {
            add(&["-smp", &self.cpus.to_string()]);
        }
        if self.repeatable {
            // 16 ns an instruction: faster guests spend a virtual second of boot waiting for the clock chip, instruction by instruction.
            add(&["-icount", "shift=4,sleep=off", "-rtc", "base=2026-01-01T00:00:00,clock=vm", "-seed", "1"]);
        }
        if self.disk {
            let image = place::guests().join("disk");
            ensure!(image.exists(), "{} is missing: run `cargo xtask guests`", image.display());
            let interface = match self.guest {
                Guest::Mips => "ide",
                Guest::Arm => "sd",
                Guest::Sh4 | Guest::Arm926 | Guest::Hppa => bail!("the kernel of {} has no disk", self.guest.directory()),
            };
            let mut drive = OsString::from(format!("if={interface},format=raw,snapshot=on,file="));
            drive.push(image);
            line.extend(["-drive".into(), drive]);
        }
        line.extend([OsString::from("-kernel"), kernel.into(), OsString::from("-initrd"), initramfs.into()]);
        if self.guest.device_tree().is_some() {
            line.extend([OsString::from("-dtb"), dir.join("kernel/board.dtb").into()]);
        }
        Ok(line)
    }

    /// Linux's command line. Each word is there for a reason:
    /// `nokaslr` so that one symbol table serves every boot; `ieee754=relaxed` because a P5600 refuses programs of the older NaN
    /// encoding, which Debian's are; `cca=3` because QEMU resets MIPS cores to uncached memory and Linux would leave it at that; the
    /// blacklisted driver oopses on QEMU's board; `noiotrap` because r2d's devices need no trapped I/O in QEMU.
    fn kernel_arguments(&self) -> String {
        let board = match self.guest {
            Guest::Mips => "console=ttyS0 ieee754=relaxed nokaslr cca=3",
            Guest::Arm => "console=ttyAMA0,115200 earlycon=pl011,0x20201000 initcall_blacklist=bcm2835_power_driver_init",
            Guest::Sh4 => "console=ttySC1 noiotrap",
            Guest::Arm926 => "console=ttyAMA0",
            Guest::Hppa => "console=ttyS0",
        };
        let space = if self.words.is_empty() { "" } else { " " };
        format!("{board} rdinit=/init panic=1{space}{} congruent.run={}", self.words, self.run)
    }
}
