//! The core that a command of QEMU emulates, where it names one whose data cache is known: `--dcache` may be left out then.
//!
//! Only cores that say to the kernel, in their registers, what the preset has: a kernel that asks its core does what this cache needs. (QEMU's
//! 24Kf, for one, says that it has 2 KiB without aliases.)
//!
//! Sources: QEMU 10.0 and 11.1, `hw/arm/versatilepb.c`, `hw/arm/raspi.c`, `hw/hppa/machine.c` (boards and their cores), `target/mips/cpu-defs.c.inc`,
//! `target/arm/tcg/cpu32.c` (what cores say of their caches).

use std::ffi::OsString;

/// A core that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Core {
    /// The preset that has its cache.
    pub(crate) preset: &'static str,
    /// The option that says it, and its value.
    option: &'static str,
    value: &'static str,
}

impl Core {
    /// What the report says of it.
    pub(crate) fn note(self) -> String {
        format!("--dcache was not given; the cache is that of `{} {}` ({})", self.option, self.value, self.preset)
    }
}

const fn core(option: &'static str, value: &'static str, preset: &'static str) -> Core {
    Core { preset, option, value }
}

/// By `-cpu`.
const CPUS: &[Core] = &[
    core("-cpu", "P5600", "p5600"),
    core("-cpu", "arm1176", "arm1176-qemu"),
    core("-cpu", "arm926", "arm926"),
    core("-cpu", "SH7785", "sh7785"),
];

/// By `-M` where there is no `-cpu`.
const BOARDS: &[Core] = &[
    core("-M", "raspi0", "arm1176-qemu"),
    core("-M", "raspi1ap", "arm1176-qemu"),
    core("-M", "versatilepb", "arm926"),
    core("-M", "versatileab", "arm926"),
    core("-M", "B160L", "pa7300lc"),
];

/// The core of this command, if it is one of those.
pub(crate) fn of(command: &[OsString]) -> Option<Core> {
    let words: Vec<&str> = command.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let value = |names: &[&str]| {
        let pair = words
            .windows(2)
            .rev()
            .find(|pair| pair[0].strip_prefix('-').is_some_and(|word| names.contains(&word.strip_prefix('-').unwrap_or(word))))?;
        let first = pair[1].split(',').next()?;
        Some(first.strip_prefix("type=").unwrap_or(first))
    };
    let (cores, named) = match value(&["cpu"]) {
        Some(cpu) => (CPUS, cpu),
        None => (BOARDS, value(&["M", "machine"])?),
    };
    cores.iter().copied().find(|core| core.value.eq_ignore_ascii_case(named))
}

#[cfg(test)]
mod tests {
    use congruent_geometry::preset;

    use super::*;

    fn found(command: &str) -> Option<&'static str> {
        of(&command.split(' ').map(OsString::from).collect::<Vec<_>>()).map(|core| core.preset)
    }

    #[test]
    fn every_core_has_a_preset() {
        for core in CPUS.iter().chain(BOARDS) {
            assert!(preset(core.preset).is_some(), "{core:?}");
            assert!(core.note().contains(core.value));
        }
    }

    #[test]
    fn a_core_is_known_by_its_option_or_else_by_its_board() {
        for (command, preset) in [
            ("qemu-system-mipsel -M malta -cpu P5600 -m 256", Some("p5600")),
            ("qemu-system-mipsel -M malta --cpu p5600,x=y", Some("p5600")),
            ("qemu-system-mipsel -M malta -cpu 24Kf", None),
            ("qemu-system-mipsel -M malta", None),
            ("qemu-system-arm -machine type=versatilepb,usb=off -m 64", Some("arm926")),
            ("qemu-system-arm -M versatilepb -cpu arm1176", Some("arm1176-qemu")),
            ("qemu-system-arm -M versatilepb -cpu arm1136", None),
            ("qemu-system-arm -M raspi0", Some("arm1176-qemu")),
            ("qemu-system-arm -M raspi1ap", Some("arm1176-qemu")),
            ("qemu-system-sh4 -M r2d", None),
            ("qemu-system-hppa -M B160L", Some("pa7300lc")),
            // The last one counts, as in QEMU.
            ("qemu-system-mipsel -cpu 24Kf -cpu P5600", Some("p5600")),
            ("qemu-system-mipsel -append -M", None),
        ] {
            assert_eq!(found(command), preset, "{command}");
        }
    }
}
