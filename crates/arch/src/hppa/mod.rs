//! PA-RISC with 32-bit addresses.

pub mod decode;
pub mod tables;

use congruent_trace::IndexForm;

use crate::facts::{never, none};
use crate::{Endian, Facts, Flow, KernelMemory, Split};

/// The number by which the stack pointer's complement is asked for, one above the general registers: here stacks grow upwards, and who
/// asks takes them to grow downwards.
pub const STACK_FROM_ABOVE: u8 = 32;

/// What is known of it.
pub const FACTS: Facts = Facts {
    name: "hppa",
    debian_package: "qemu-system-misc",
    endian: Endian::Big,
    instruction: 4,
    decode: decode::decode,
    // Call stacks are kept for stacks that grow downwards.
    flow: |_| Flow::Other,
    calls: None,
    stack_pointer: STACK_FROM_ABOVE,
    link: 2,
    // The way depends on how often an entry has been named before.
    index: IndexForm::Resolved,
    follows_code_maintenance: false,
    cache_type: None,
    may_store_control: never,
    configures_others: none,
    // Kernel and programs have a space each; a site carries the privilege that its code runs with, as the processor's own instruction
    // addresses do (PA-RISC 1.1 Architecture, "Instruction Address Queues").
    split: Split::Privilege,
    // Memory from zero on is mapped at PAGE_OFFSET (arch/parisc/include/asm/page.h, 32 bits).
    kernel_memory: KernelMemory::at(0, 0x1000_0000),
    unseen: &[],
    // None of the models is of a core with its buses, or its miss handlers.
    priced_as: None,
    uncached_remedy: None,
    dma: &[],
};
