//! Kernel code or user code, told from a code address alone: the guests judged here have fixed address spaces.
//!
//! It is right for Linux with the default split. It is a reading aid: no verdict depends on it.

use crate::Address;
use congruent_trace::Site;
use serde::{Deserialize, Serialize};

/// Whose code an address is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The kernel's.
    Kernel,
    /// A user program's.
    User,
}

/// Where ARM Linux begins by default: modules lie in the 16 MiB below `PAGE_OFFSET` (`MODULES_VADDR`,
/// arch/arm/include/asm/memory.h), and user programs end there (`TASK_SIZE`).
const ARM_KERNEL_START: u32 = 0xbf00_0000;

/// The kernel's helpers that ARM programs call, at the end of the page of vectors: they run in user mode
/// (Documentation/arch/arm/kernel_user_helpers.rst).
const ARM_USER_HELPERS: std::ops::Range<u32> = 0xffff_0f60..0xffff_1000;

/// Where MIPS and SH-4 end the address space of user programs: useg is below kseg0 (MIPS32 PRA, "Virtual Memory"), U0 below P1 (SH7751
/// manual, section 3.3).
const MIPS_KERNEL_START: u32 = 0x8000_0000;

impl Mode {
    /// The mode of code at `site` on a guest of the architecture `target`, which is named as QEMU names it. Architectures that
    /// are not known are taken to split their address space in halves.
    #[must_use]
    pub fn of(target: &str, site: Site) -> Self {
        let kernel = match target {
            // Kernel and programs have a space each; a site carries the privilege that its code runs with, as the processor's own
            // instruction addresses do (PA-RISC 1.1 Architecture, "Instruction Address Queues"): 0 is the highest.
            "hppa" => site.0 & 3 == 0,
            "arm" | "armeb" => site.0 >= ARM_KERNEL_START && !ARM_USER_HELPERS.contains(&site.0),
            _ => site.0 >= MIPS_KERNEL_START,
        };
        if kernel { Self::Kernel } else { Self::User }
    }

    /// Where the code at `site` lies in memory: what symbols and people know it by.
    #[must_use]
    pub fn address(target: &str, site: Site) -> Address {
        match target {
            "hppa" => Address::from(Site(site.0 & !3)),
            _ => Address::from(site),
        }
    }

    /// The word for it: `kernel` or `user`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::User => "user",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_architecture_splits_its_address_space_where_its_kernel_does() {
        for (target, pc, mode) in [
            ("mips", 0x7fff_ffff, Mode::User),
            ("mipsel", 0x8000_0000, Mode::Kernel),
            ("mipsel", 0xc000_0000, Mode::Kernel),
            ("sh4", 0x7bff_fffc, Mode::User),
            ("sh4", 0x8c01_0000, Mode::Kernel),
            ("sh4", 0xac01_0000, Mode::Kernel),
            ("hppa", 0x1010_0004, Mode::Kernel),
            ("hppa", 0x1100_0007, Mode::User),
            ("hppa", 0xf8fe_1237, Mode::User),
            ("arm", 0xbeff_fffc, Mode::User),
            ("arm", 0xbf00_0000, Mode::Kernel),
            ("arm", 0xc010_0000, Mode::Kernel),
            ("arm", 0xffff_0000, Mode::Kernel),
            ("arm", 0xffff_0fc0, Mode::User),
        ] {
            assert_eq!(Mode::of(target, Site(pc)), mode, "{target} {pc:#x}");
        }
    }
}
