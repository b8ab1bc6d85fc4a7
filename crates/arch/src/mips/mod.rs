//! MIPS32, up to release 5, in both byte orders.

pub mod decode;
pub mod tables;
pub mod tlb;

use congruent_trace::IndexForm;

use crate::facts::never;
use crate::{Calls, DmaEngine, Endian, Facts, KernelMemory, Split};

/// Little endian.
pub const LITTLE: Facts = facts(Endian::Little);
/// Big endian.
pub const BIG: Facts = facts(Endian::Big);

/// useg ends where kseg0 begins (MIPS32 PRA, "Virtual Memory").
const KSEG0: u32 = 0x8000_0000;

const fn facts(endian: Endian) -> Facts {
    Facts {
        name: match endian {
            Endian::Little => "mipsel",
            Endian::Big => "mips",
        },
        debian_package: "qemu-system-mips",
        endian,
        // MIPS16 has no maintenance.
        instruction: 4,
        decode: match endian {
            Endian::Little => |word| decode::decode(word, Endian::Little),
            Endian::Big => |word| decode::decode(word, Endian::Big),
        },
        flow: decode::flow,
        // A call has a delay slot.
        calls: Some(Calls { length: 4, returns_after: 8, kernel_stacks: KSEG0 }),
        stack_pointer: 29,
        link: 31,
        index: IndexForm::WayAboveSet,
        follows_code_maintenance: true,
        cache_type: None,
        may_store_control: never,
        configures_others: decode::config_of_other,
        split: Split::Address { kernel: KSEG0, user: 0..0 },
        // kseg0 begins with physical address zero.
        kernel_memory: KernelMemory::at(0, KSEG0 as u64),
        unseen: &[],
        priced_as: Some("24kc"),
        // QEMU resets Config.K0 to 2 (uncached), and Linux adopts what it finds there unless it is told otherwise.
        uncached_remedy: Some("boot Linux with `cca=3` on its command line"),
        dma: &[DmaEngine::PiixIde],
    }
}

#[cfg(test)]
mod tests {
    use congruent_geometry::CacheGeometry;
    use congruent_trace::Scope;

    use super::*;

    #[test]
    fn a_sweep_as_linux_does_it_reaches_every_set_and_way_once() {
        let cache = CacheGeometry::new(32 << 10, 4, 32).unwrap();
        let mut seen = std::collections::HashSet::new();
        for address in (0x8000_0000u32..0x8000_8000).step_by(32) {
            let Scope::Index { set, way } = LITTLE.index.scope(&cache, address) else { unreachable!() };
            assert!(seen.insert((set, way)));
        }
        assert_eq!(seen.len() as u32, cache.sets() * cache.ways());
    }
}
