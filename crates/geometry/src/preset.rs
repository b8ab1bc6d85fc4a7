//! Caches of known cores, by the name people know them by.

use crate::{Behaviour, CacheGeometry};

/// A named cache and where the figures come from.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// The name as given on the command line.
    pub name: &'static str,
    /// The shape.
    pub geometry: CacheGeometry,
    /// What it does beside that.
    pub behaviour: Behaviour,
    /// The core, and the manual or code that states the shape.
    pub source: &'static str,
}

const fn shape(size: u32, ways: u32, line: u32, write_back_unit: u32) -> CacheGeometry {
    match CacheGeometry::new(size, ways, line) {
        Ok(geometry) => match geometry.with_write_back_unit(write_back_unit) {
            Ok(geometry) => geometry,
            Err(_) => panic!("a preset's write-back unit is wrong"),
        },
        Err(_) => panic!("a preset's shape is wrong"),
    }
}

const fn named(name: &'static str, geometry: CacheGeometry, source: &'static str) -> Preset {
    Preset { name, geometry, behaviour: Behaviour::USUAL, source }
}

const K: u32 = 1024;

/// Every preset, in the order in which they are listed to people.
pub const PRESETS: &[Preset] = &[
    named("p5600", shape(32 * K, 4, 32, 32), "MIPS P5600 as QEMU's Config1 states it (target/mips/cpu-defs.c.inc)"),
    named("24kc", shape(32 * K, 4, 32, 32), "MIPS32 24Kc with its 32 KiB option (24K Software User's Manual, Config1)"),
    named("74kc", shape(32 * K, 4, 32, 32), "MIPS32 74Kc with its 32 KiB option (74K Software User's Manual, Config1)"),
    named("1004kc", shape(32 * K, 4, 32, 32), "MIPS32 1004Kc with its 32 KiB option (1004K Software User's Manual, Config1)"),
    named(
        "arm1136-32k",
        shape(32 * K, 4, 32, 16),
        "ARM1136 with 32 KiB, as in OMAP2 (ARM1136 TRM, Cache Type Register; a dirty bit per half line)",
    ),
    named(
        "arm1176-qemu",
        shape(64 * K, 4, 32, 16),
        "ARM1176 as QEMU's cache type register 0x1dd20d2 states it (target/arm/tcg/cpu32.c)",
    ),
    named(
        "sh7751",
        shape(16 * K, 1, 32, 32),
        "SH7751 and SH7750S: operand cache of 16 KiB, direct mapped (SH7751 manual, section 4.1)",
    ),
    named("sh7785", shape(32 * K, 4, 32, 32), "SH7785: operand cache of 32 KiB in four ways (SH7785 manual, section 8.1)"),
    named(
        "sh7751r",
        shape(32 * K, 2, 32, 32),
        "SH7751R and SH7750R: operand cache of 32 KiB in two ways (SH7751 manual, section 4.1)",
    ),
    Preset {
        name: "arm926",
        geometry: shape(16 * K, 4, 32, 16),
        behaviour: Behaviour { write_allocate: false, virtual_tags: true, ..Behaviour::USUAL },
        source: "ARM926EJ-S with 16 KiB, as QEMU's cache type register 0x1dd20d2 states it; virtual tags, two dirty bits per line, \
                 filled by loads only (DDI 0198D, 4.1)",
    },
    named(
        "pa7300lc",
        shape(64 * K, 2, 32, 32),
        "PA-7300LC, as its firmware describes the data cache of a B160L (PDC_CACHE: 64 KiB, 1024 entries of 32 bytes, each twice)",
    ),
];

/// The preset of this name, ignoring case.
#[must_use]
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_can_hold_a_frame_twice_and_has_a_name_of_its_own() {
        for (i, a) in PRESETS.iter().enumerate() {
            assert!(a.geometry.aliases() || a.behaviour.virtual_tags, "{}", a.name);
            assert!(PRESETS[..i].iter().all(|b| a.name != b.name), "{}", a.name);
        }
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(preset("P5600").unwrap().geometry.colours(), 2);
        assert_eq!(preset("arm1176-qemu").unwrap().geometry.colours(), 4);
        assert!(preset("z80").is_none());
    }
}
