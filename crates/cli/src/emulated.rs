//! The core that QEMU emulates, as far as it says itself what its data cache is like: where that is less than the modelled cache, a kernel that asks
//! its core does less than the modelled one needs.
//!
//! Sources: MIPS32 Architecture for Programmers, volume III, Config1 (register 16, select 1).

use congruent_geometry::CacheGeometry;

/// A data cache as a core describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DeclaredCache {
    sets: u32,
    ways: u32,
    /// In bytes.
    line: u32,
}

impl DeclaredCache {
    /// As a MIPS core has it in Config1: DS, DL and DA. `None` if it says that there is none.
    fn of_config1(config1: u32) -> Option<Self> {
        let field = |at: u32| config1 >> at & 7;
        let (sets, line, ways) = (field(13), field(10), field(7));
        // Seven stands for 32 sets, and no line is longer than 64 bytes before release 6.
        (line != 0).then(|| Self { sets: if sets == 7 { 32 } else { 64 << sets }, ways: ways + 1, line: 2 << line })
    }

    /// From what QEMU's monitor says of the registers (`info registers`); `None` if the core says nothing there.
    pub(crate) fn of_registers(text: &str) -> Option<Self> {
        let value = text.split_once("Config1 0x")?.1;
        let end = value.find(|digit: char| !digit.is_ascii_hexdigit()).unwrap_or(value.len());
        Self::of_config1(u32::from_str_radix(&value[..end], 16).ok()?)
    }

    fn size(self) -> u32 {
        self.sets * self.ways * self.line
    }

    /// What a kernel that believes its core leaves out on the modelled one; `None` if it leaves out nothing.
    pub(crate) fn less_than(self, modelled: CacheGeometry) -> Option<String> {
        let colours = (self.sets * self.line / modelled.page()).max(1);
        let less = [
            (self.size() < modelled.size()).then(|| format!("sweeps {} of {} bytes", self.size(), modelled.size())),
            (self.line > modelled.line()).then(|| format!("steps by {} bytes over lines of {}", self.line, modelled.line())),
            (colours < modelled.colours()).then(|| format!("knows {colours} of {} colours", modelled.colours())),
        ];
        let less: Vec<String> = less.into_iter().flatten().collect();
        let list = match &less[..] {
            [] => return None,
            [one] => one.clone(),
            [most @ .., last] => format!("{} and {last}", most.join(", ")),
        };
        Some(format!(
            "the core that QEMU emulates says that its data cache has {} bytes, {} ways and {}-byte lines, so a kernel that asks it {list}; \
             whatever is found may follow from that alone",
            self.size(),
            self.ways,
            self.line
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As QEMU 10.0 and 11.1 print it.
    fn registers(config1: &str) -> String {
        format!("CP0 Status  0x00400004 Cause   0x00000000\n    Config0 0x80000482 Config1 {config1} LLAddr 0x0000000000000000\n")
    }

    fn less(config1: &str, modelled: &str) -> Option<String> {
        DeclaredCache::of_registers(&registers(config1)).unwrap().less_than(modelled.parse().unwrap())
    }

    const P5600: &str = "0xfea3519b";
    const QEMU_24KF: &str = "0x9e190c8f";

    #[test]
    fn a_core_says_what_its_cache_is_like() {
        let declared = |config1| DeclaredCache::of_registers(&registers(config1));
        assert_eq!(declared(P5600), Some(DeclaredCache { sets: 256, ways: 4, line: 32 }));
        assert_eq!(declared(QEMU_24KF), Some(DeclaredCache { sets: 64, ways: 2, line: 16 }));
        assert_eq!(declared("0x00000000"), None);
        assert_eq!(DeclaredCache::of_registers("R00=00000000 R01=00000000"), None);
        assert_eq!(DeclaredCache::of_registers("Config1 0x"), None);
    }

    #[test]
    fn what_a_kernel_leaves_out_is_said_in_one_sentence() {
        for same_or_less in ["32K,4,32", "16K,4,32", "32K,4,64", "8K,1,32"] {
            assert_eq!(less(P5600, same_or_less), None, "{same_or_less}");
        }
        for (config1, modelled, says) in [
            (QEMU_24KF, "32K,4,32", "sweeps 2048 of 32768 bytes and knows 1 of 2 colours; whatever is found may follow"),
            (QEMU_24KF, "16K,4,16", "so a kernel that asks it sweeps 2048 of 16384 bytes; whatever"),
            (P5600, "64K,4,32", "sweeps 32768 of 65536 bytes and knows 2 of 4 colours"),
            (P5600, "32K,4,16", "so a kernel that asks it steps by 32 bytes over lines of 16; whatever"),
            (P5600, "32K,2,32", "so a kernel that asks it knows 2 of 4 colours; whatever"),
            (P5600, "64K,2,16", "sweeps 32768 of 65536 bytes, steps by 32 bytes over lines of 16 and knows 2 of 8 colours"),
        ] {
            let sentence = less(config1, modelled).unwrap_or_default();
            assert!(sentence.contains(says), "{modelled}: {sentence}");
        }
    }
}
