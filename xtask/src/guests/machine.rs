//! The guests that tests boot: one record of each.

use clap::ValueEnum;

use super::built::Release;
use crate::apt::suites::{BOOKWORM, Suites, TRIXIE};

/// A guest: a Debian kernel on a board that QEMU knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Guest {
    /// Linux 6.1 for MIPS32 little endian on `malta`.
    Mips,
    /// Linux 6.12 for ARMv6 on `raspi1ap`.
    Arm,
    /// Linux 6.12 for SH-4 on `r2d`: Debian has no kernel of it.
    Sh4,
    /// Linux 6.12 for ARM926 on `versatilepb`: Debian's own kernels need an ARMv6.
    Arm926,
    /// Linux 6.12 for PA-RISC, 32 bits, on `B160L`: Debian has no kernel of it.
    Hppa,
    /// Linux 6.12 for MIPS32 on `malta` with the library in it (`linux/`).
    Ported,
    /// The same without it.
    Unported,
    /// The newest Linux with the library in it, as Debian has its source.
    PortedNext,
}

/// What is to be known of a guest.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Its directory under `target/guests`.
    pub directory: &'static str,
    /// The emulator.
    pub system: &'static str,
    /// The emulator's options for the board.
    pub board: &'static [&'static str],
    /// The core that is modelled and, where the board lets one choose, asked for.
    pub cpu: Cpu,
    /// What the kernel's command line needs on this board.
    pub words: &'static str,
    /// The interface of the board's disk, as `-drive if=` takes it, if the kernel knows it.
    pub disk: Option<&'static str>,
    /// The board's network card, as `-nic model=` takes it, if the kernel knows it.
    pub network: Option<&'static str>,
    /// The compiler's name of the target.
    pub target: &'static str,
    /// Debian's name of the architecture.
    pub debian_arch: &'static str,
    /// Debian's own kernel of the board, if there was ever one.
    pub stock: Option<Stock>,
    /// How a kernel of the board is built from Debian's source.
    pub built: Built,
    /// Whether it has busybox and with it a shell; if not, it has a first process of its own.
    pub shell: bool,
}

/// Whether a board's core can be chosen.
#[derive(Clone, Copy, Debug)]
pub enum Cpu {
    /// This one, unless another is asked for.
    Default(&'static str),
    /// The board has its own.
    Fixed,
}

/// A kernel that Debian has as a package.
#[derive(Clone, Copy, Debug)]
pub struct Stock {
    /// The last release that has it.
    pub suites: Suites,
    /// What the names of its packages end in, behind `linux-image-` and a version.
    pub flavour: &'static str,
    /// The file with the board's device tree in the package, if the board needs one.
    pub device_tree: Option<&'static str>,
    /// The modules that its devices need.
    pub modules: &'static [&'static str],
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
    /// What it is built from.
    pub release: Release,
    /// What it is configured with over `allnoconfig`: files of the repository.
    pub configured: &'static [&'static str],
    /// Whether the library is in it.
    pub is_ported: bool,
}

const MIPS: Machine = Machine {
    directory: "mips",
    system: "qemu-system-mipsel",
    board: &["-M", "malta", "-nic", "none", "-vga", "none"],
    cpu: Cpu::Default("P5600"),
    // `nokaslr` so that one symbol table serves every boot; `ieee754=relaxed` because a P5600 refuses programs of the older NaN encoding,
    // which Debian's are; `cca=3` because QEMU resets MIPS cores to uncached memory and Linux would leave it at that.
    words: "console=ttyS0 ieee754=relaxed nokaslr cca=3",
    disk: Some("ide"),
    network: Some("pcnet"),
    target: "mipsel-linux-gnu",
    debian_arch: "mipsel",
    stock: Some(Stock {
        suites: BOOKWORM,
        flavour: "-4kc-malta",
        device_tree: None,
        modules: &[
            "ata_piix",
            "mii",
            "pcnet32",
            "virtio",
            "virtio_ring",
            "virtio_pci_modern_dev",
            "virtio_pci_legacy_dev",
            "virtio_pci",
            "virtio_blk",
        ],
    }),
    // It unpacks itself, as Debian's does.
    built: Built {
        architecture: "mips",
        image: "vmlinuz",
        file: "vmlinuz",
        device_tree: None,
        configured: &["guests/kernels/mips.config"],
        release: Release::Stable,
        is_ported: false,
    },
    shell: true,
};

const ARM: Machine = Machine {
    directory: "arm",
    system: "qemu-system-arm",
    board: &["-M", "raspi1ap"],
    cpu: Cpu::Fixed,
    // The blacklisted driver oopses on QEMU's board.
    words: "console=ttyAMA0,115200 earlycon=pl011,0x20201000 initcall_blacklist=bcm2835_power_driver_init",
    disk: Some("sd"),
    network: None,
    target: "arm-linux-gnueabi",
    debian_arch: "armel",
    stock: Some(Stock { suites: TRIXIE, flavour: "-rpi", device_tree: Some("bcm2835-rpi-a-plus.dtb"), modules: &[] }),
    built: Built {
        architecture: "arm",
        image: "zImage",
        file: "arch/arm/boot/zImage",
        device_tree: Some("broadcom/bcm2835-rpi-a-plus.dtb"),
        configured: &["guests/kernels/arm.config"],
        release: Release::Stable,
        is_ported: false,
    },
    shell: true,
};

const SH4: Machine = Machine {
    directory: "sh4",
    system: "qemu-system-sh4",
    // The console is the second serial port.
    board: &["-M", "r2d", "-nic", "none", "-serial", "null", "-serial", "stdio", "-monitor", "none"],
    // On `r2d` QEMU would take an SH7751R, but says of it that its cache has 4 KiB, and so the kernel would do nothing about aliases; of an
    // SH7785 it says the truth.
    cpu: Cpu::Default("sh7785"),
    // `noiotrap` because r2d's devices need no trapped I/O in QEMU.
    words: "console=ttySC1 noiotrap",
    disk: None,
    network: None,
    target: "sh4-linux-gnu",
    debian_arch: "sh4",
    stock: None,
    built: Built {
        architecture: "sh",
        image: "zImage",
        file: "arch/sh/boot/zImage",
        device_tree: None,
        configured: &["guests/kernels/sh4.config"],
        release: Release::Stable,
        is_ported: false,
    },
    shell: false,
};

const ARM926: Machine = Machine {
    directory: "arm926",
    system: "qemu-system-arm",
    board: &["-M", "versatilepb", "-nic", "none"],
    cpu: Cpu::Fixed,
    words: "console=ttyAMA0",
    disk: None,
    network: None,
    target: "arm-linux-gnueabi",
    debian_arch: "armel",
    stock: None,
    built: Built {
        architecture: "arm",
        image: "zImage",
        file: "arch/arm/boot/zImage",
        device_tree: Some("arm/versatile-pb.dtb"),
        configured: &["guests/kernels/arm926.config"],
        release: Release::Stable,
        is_ported: false,
    },
    shell: false,
};

const HPPA: Machine = Machine {
    directory: "hppa",
    system: "qemu-system-hppa",
    // The smallest memory that the firmware and the kernel's file leave room in.
    board: &["-M", "B160L", "-nic", "none", "-vga", "none", "-m", "128M"],
    cpu: Cpu::Fixed,
    words: "console=ttyS0",
    disk: None,
    network: None,
    target: "hppa-linux-gnu",
    debian_arch: "hppa",
    stock: None,
    built: Built {
        architecture: "parisc",
        image: "vmlinux",
        file: "vmlinux",
        device_tree: None,
        configured: &["guests/kernels/hppa.config"],
        release: Release::Stable,
        is_ported: false,
    },
    shell: false,
};

const PORTED: Machine = Machine {
    directory: "ported",
    network: None,
    stock: None,
    built: Built { configured: &["linux/malta.config", "linux/congruent.config"], is_ported: true, ..MIPS.built },
    ..MIPS
};

const UNPORTED: Machine = Machine {
    directory: "unported",
    built: Built { configured: &["linux/malta.config"], release: Release::Stable, is_ported: false, ..MIPS.built },
    ..PORTED
};

const PORTED_NEXT: Machine =
    Machine { directory: "ported-next", built: Built { release: Release::Next, ..PORTED.built }, ..PORTED };

impl Guest {
    /// Every guest that tests boot.
    pub const ALL: [Self; 6] = [Self::Mips, Self::Arm, Self::Sh4, Self::Arm926, Self::Hppa, Self::Ported];

    /// Its record.
    pub const fn machine(self) -> &'static Machine {
        match self {
            Self::Mips => &MIPS,
            Self::Arm => &ARM,
            Self::Sh4 => &SH4,
            Self::Arm926 => &ARM926,
            Self::Hppa => &HPPA,
            Self::Ported => &PORTED,
            Self::Unported => &UNPORTED,
            Self::PortedNext => &PORTED_NEXT,
        }
    }
}

impl Machine {
    /// The name of one of its things, as recipes and links have it.
    pub fn of(&self, what: &str) -> String {
        format!("{}/{what}", self.directory)
    }
}
