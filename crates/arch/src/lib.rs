//! The guest architectures that are judged: a folder for each, which is its only home.
//!
//! A folder's `mod.rs` is one constant of [`Facts`]; beside it, `decode` says what instruction words mean to caches, and `tables` and
//! `tlb` where addresses lead. Everything is pure: words and memory come in, meanings go out, and so everything is tested on any host.
//!
//! Guarantees: nobody has to know an architecture by a string. Who needs to tell them apart matches on [`Arch`] without a default, and
//! the compiler lists what a new one must answer. Not here: where QEMU's CPU state has registers (`crates/qemu/src/cpu`), what
//! operations cost (`crates/machine`), shapes of caches (`crates/geometry`).

#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]

pub mod arm;
pub mod hppa;
pub mod mips;
pub mod sh4;

mod facts;
mod meaning;

pub use facts::{Calls, DmaEngine, Facts, KernelMemory, Split};
pub use meaning::{CacheInstruction, Flow, Meaning, Named, Offset, Operand, PartialWord, Pointer};

/// Which byte of a word comes first in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Endian {
    /// The lowest.
    Little,
    /// The highest.
    Big,
}

/// An architecture, as QEMU has a system emulator for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Arch {
    /// MIPS32, up to release 5: `mips` and `mipsel`.
    Mips(Endian),
    /// ARMv4 to ARMv6: `arm`.
    Arm,
    /// SH-4, little endian: `sh4`.
    Sh4,
    /// PA-RISC with 32-bit addresses: `hppa`.
    Hppa,
}

impl Arch {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Mips(Endian::Big), Self::Mips(Endian::Little), Self::Arm, Self::Sh4, Self::Hppa];

    /// What is known of it.
    #[must_use]
    pub const fn facts(self) -> &'static Facts {
        match self {
            Self::Mips(Endian::Little) => &mips::LITTLE,
            Self::Mips(Endian::Big) => &mips::BIG,
            Self::Arm => &arm::FACTS,
            Self::Sh4 => &sh4::FACTS,
            Self::Hppa => &hppa::FACTS,
        }
    }

    /// The architecture that QEMU calls so (`qemu-system-NAME`), if its guests are judged.
    #[must_use]
    pub fn of_qemu(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.facts().name == name)
    }

    /// The names of all of them in a sentence, such as `mips and arm`.
    #[must_use]
    pub fn names() -> String {
        let [names @ .., last] = Self::ALL.map(|arch| arch.facts().name);
        format!("{} and {last}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use congruent_trace::Site;

    use super::*;

    #[test]
    fn the_name_of_each_leads_back_to_it_and_no_other_name_to_any() {
        for arch in Arch::ALL {
            assert_eq!(Arch::of_qemu(arch.facts().name), Some(arch));
        }
        for name in ["", "MIPS", "mips64", "armeb", "sh4eb", "aarch64", "unknown"] {
            assert_eq!(Arch::of_qemu(name), None, "{name}");
        }
        assert_eq!(Arch::names(), "mips, mipsel, arm, sh4 and hppa");
    }

    #[test]
    fn each_has_a_folder_and_each_folder_is_one() {
        let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap().map(Result::unwrap);
        let mut folders: Vec<_> = folders.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name()).collect();
        folders.sort();
        assert_eq!(folders, ["arm", "hppa", "mips", "sh4"]);
    }

    #[test]
    fn each_splits_its_address_space_where_its_kernel_does() {
        for (name, pc, kernel) in [
            ("mips", 0x7fff_ffff, false),
            ("mipsel", 0x8000_0000, true),
            ("mipsel", 0xc000_0000, true),
            ("sh4", 0x7bff_fffc, false),
            ("sh4", 0x8c01_0000, true),
            ("sh4", 0xac01_0000, true),
            ("hppa", 0x1010_0004, true),
            ("hppa", 0x1100_0007, false),
            ("hppa", 0xf8fe_1237, false),
            ("arm", 0xbeff_fffc, false),
            ("arm", 0xbf00_0000, true),
            ("arm", 0xc010_0000, true),
            ("arm", 0xffff_0000, true),
            ("arm", 0xffff_0fc0, false),
        ] {
            assert_eq!(Arch::of_qemu(name).unwrap().facts().split.is_kernels(Site(pc)), kernel, "{name} {pc:#x}");
        }
    }

    #[test]
    fn words_are_taken_in_the_byte_order_of_the_guest() {
        let bytes = [0x12, 0x34, 0x56, 0x78];
        let word = |arch: Arch, length| arch.facts().word(bytes, length);
        assert_eq!(word(Arch::Mips(Endian::Big), 4), Some(0x1234_5678));
        assert_eq!(word(Arch::Mips(Endian::Little), 4), Some(0x7856_3412));
        assert_eq!(word(Arch::Arm, 4), Some(0x7856_3412));
        assert_eq!(word(Arch::Sh4, 2), Some(0x3412));
        assert_eq!(word(Arch::Hppa, 4), Some(0x1234_5678));
        // MIPS16 and Thumb have no maintenance; SH-4 has no other length.
        for (arch, length) in [(Arch::Mips(Endian::Little), 2), (Arch::Arm, 2), (Arch::Sh4, 4), (Arch::Hppa, 2)] {
            assert_eq!(word(arch, length), None, "{arch:?}");
        }
    }

    #[test]
    fn what_lies_between_a_call_and_its_return_is_the_delay_slot() {
        let slot = |arch: Arch| arch.facts().calls.as_ref().map(Calls::delay_slot);
        assert_eq!(slot(Arch::Mips(Endian::Big)), Some(Some(4)));
        assert_eq!(slot(Arch::Arm), Some(None));
        assert_eq!(slot(Arch::Sh4), Some(Some(2)));
        assert_eq!(slot(Arch::Hppa), None);
    }
}
