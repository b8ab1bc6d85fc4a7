//! SH-4, little endian.

pub mod decode;
pub mod tlb;

use congruent_trace::IndexForm;

use crate::facts::none;
use crate::{Calls, Endian, Facts, KernelMemory, Split};

/// The number by which PR, the return address, is asked for: one above the general registers.
pub const PROCEDURE: u8 = 16;

/// U0 ends where P1 begins (SH7751 manual, section 3.3).
const P1: u32 = 0x8000_0000;

/// What is known of it.
pub const FACTS: Facts = Facts {
    name: "sh4",
    debian_package: "qemu-system-misc",
    endian: Endian::Little,
    instruction: 2,
    decode: decode::decode,
    flow: decode::flow,
    // A call has a delay slot.
    calls: Some(Calls { length: 2, returns_after: 4, kernel_stacks: P1 }),
    stack_pointer: 15,
    link: PROCEDURE,
    // Sets and ways are named by stores to the address array, which are taken apart where they are seen.
    index: IndexForm::Resolved,
    follows_code_maintenance: false,
    cache_type: None,
    may_store_control: decode::stores_long,
    configures_others: none,
    split: Split::Address { kernel: P1, user: 0..0 },
    // P1 shows physical memory; that of the R2D board begins here.
    kernel_memory: KernelMemory::at(0x0c00_0000, 0x8c00_0000),
    unseen: &[],
    priced_as: Some("sh7750"),
    uncached_remedy: None,
    dma: &[],
};
