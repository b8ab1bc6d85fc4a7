//! ARMv4 to ARMv6, 32-bit code: Thumb has no maintenance.

pub mod decode;
pub mod tables;

use congruent_trace::IndexForm;

use crate::facts::{never, none};
use crate::{Calls, DmaEngine, Endian, Facts, KernelMemory, Split};

/// Linux has modules in the 16 MiB below `PAGE_OFFSET` (`MODULES_VADDR`, arch/arm/include/asm/memory.h), and user programs end there
/// (`TASK_SIZE`).
const KERNEL: u32 = 0xbf00_0000;

/// What is known of it.
pub const FACTS: Facts = Facts {
    name: "arm",
    debian_package: "qemu-system-arm",
    endian: Endian::Little,
    instruction: 4,
    decode: decode::decode,
    flow: decode::flow,
    calls: Some(Calls { length: 4, returns_after: 4, kernel_stacks: KERNEL }),
    stack_pointer: 13,
    link: 14,
    index: IndexForm::WayOnTop,
    follows_code_maintenance: true,
    // The cache type register: an ARMv7 requires data caches that behave as if they were found by physical addresses (DDI 0406C, B3.11.1), and
    // its format is another one (B4.1.42, bits 31 to 29).
    cache_type: Some("CTR"),
    may_store_control: never,
    configures_others: none,
    // The kernel's helpers that programs call, at the end of the page of vectors, run in user mode
    // (Documentation/arch/arm/kernel_user_helpers.rst).
    split: Split::Address { kernel: KERNEL, user: 0xffff_0f60..0xffff_1000 },
    // PAGE_OFFSET of the default split; the boards that are checked have memory from zero on.
    kernel_memory: KernelMemory::at(0, 0xc000_0000),
    // ARMv6 walks do not look into the level-1 caches, so kernels write page tables back for them.
    unseen: &["page-table walks by the hardware"],
    priced_as: Some("arm1136"),
    uncached_remedy: None,
    dma: &[DmaEngine::Bcm2835],
};

#[cfg(test)]
mod tests {
    use congruent_geometry::CacheGeometry;
    use congruent_trace::Scope;

    use super::*;

    #[test]
    fn set_and_way_are_where_the_manual_puts_them() {
        let cache = CacheGeometry::new(32 << 10, 4, 32).unwrap();
        assert_eq!(FACTS.index.scope(&cache, 3 << 30 | 5 << 5), Scope::Index { set: 5, way: 3 });
        let direct = CacheGeometry::new(16 << 10, 1, 32).unwrap();
        assert_eq!(FACTS.index.scope(&direct, 511 << 5), Scope::Index { set: 511, way: 0 });
    }
}
