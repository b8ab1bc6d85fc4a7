//! What has to be known of an architecture, beside what its instructions mean: one value of [`Facts`] for each.
//!
//! There is no default for anything: a fact that is missing does not compile, and one that does not apply says so.

use std::ops::Range;

use congruent_trace::{IndexForm, Site};

use crate::{Endian, Flow, Meaning};

/// What is known of an architecture and of Linux on it.
#[derive(Debug)]
pub struct Facts {
    /// What QEMU calls it: `qemu-system-NAME`.
    pub name: &'static str,
    /// The Debian package with that emulator.
    pub debian_package: &'static str,
    /// The byte order of its words.
    pub endian: Endian,
    /// How many bytes those instructions have that can mean something to caches: 2 or 4.
    pub instruction: usize,
    /// What such an instruction means.
    pub decode: fn(u32) -> Meaning,
    /// Whether it is a call or a return from an exception. [`Flow::Other`] throughout where `calls` is `None`.
    pub flow: fn(u32) -> Flow,
    /// How calls are made; `None` where they are not followed.
    pub calls: Option<Calls>,
    /// The register that holds the stack pointer, as a number that the processor's file in `crates/qemu` knows: stacks grow downwards.
    pub stack_pointer: u8,
    /// The register that holds the return address at a function's entry, likewise.
    pub link: u8,
    /// How recordings have the operands of index operations.
    pub index: IndexForm,
    /// Whether maintenance of the instruction cache is understood, without which every change of code would be a false alarm.
    pub follows_code_maintenance: bool,
    /// QEMU's name of a register in whose top bits cores without aliasing data caches are told from those with, where the architecture has
    /// both under one name: not 0 on the former.
    pub cache_type: Option<&'static str>,
    /// Whether an instruction may be a store to a part of the processor that lies in its address space.
    pub may_store_control: fn(u32) -> bool,
    /// The general register that an instruction configures CPUs with that have not run yet.
    pub configures_others: fn(u32) -> Option<u8>,
    /// Whose code is where.
    pub split: Split,
    /// Where the kernel is.
    pub kernel_memory: KernelMemory,
    /// Who may need maintenance beside instruction fetches and devices, and is not seen.
    pub unseen: &'static [&'static str],
    /// The core of the cost models that is nearest to its cores, if there is one of this architecture.
    pub priced_as: Option<&'static str>,
    /// What to do about a guest that ran with its data cache off, if it usually is the same.
    pub uncached_remedy: Option<&'static str>,
    /// The engines on its boards whose DMA is followed.
    pub dma: &'static [DmaEngine],
}

impl Facts {
    /// The instruction word in the first `length` of these bytes of memory; `None` if no instruction of that length is more than
    /// its loads and stores.
    #[must_use]
    pub fn word(&self, bytes: [u8; 4], length: usize) -> Option<u32> {
        if length != self.instruction {
            return None;
        }
        let [a, b, ..] = bytes;
        Some(match (length, self.endian) {
            (2, Endian::Little) => u16::from_le_bytes([a, b]).into(),
            (2, Endian::Big) => u16::from_be_bytes([a, b]).into(),
            (_, Endian::Little) => u32::from_le_bytes(bytes),
            (_, Endian::Big) => u32::from_be_bytes(bytes),
        })
    }
}

/// How calls are made, as far as following them needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Calls {
    /// Bytes of a call.
    pub length: usize,
    /// Bytes from a call to the instruction that it returns to.
    pub returns_after: u32,
    /// Stack pointers from here on are the kernel's.
    pub kernel_stacks: u32,
}

impl Calls {
    /// Bytes from a call to its delay slot, where there is one.
    #[must_use]
    pub fn delay_slot(&self) -> Option<u32> {
        let length = self.length as u32;
        (self.returns_after > length).then_some(length)
    }
}

/// How the address of code tells whose it is: right for Linux with its default split. No verdict depends on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Split {
    /// Kernel and programs share an address space.
    Address {
        /// The kernel's code begins here.
        kernel: u32,
        /// What of that runs in user mode.
        user: Range<u32>,
    },
    /// They have one each. The two lowest bits of a site, which no instruction's address uses, are the privilege that its code runs with;
    /// 0 is the kernel's.
    Privilege,
}

impl Split {
    /// Whether the code at `site` is the kernel's.
    #[must_use]
    pub fn is_kernels(&self, site: Site) -> bool {
        match self {
            Self::Address { kernel, user } => site.0 >= *kernel && !user.contains(&site.0),
            Self::Privilege => site.0 & 3 == 0,
        }
    }

    /// Where the code at `site` lies in memory: what symbols and people know it by.
    #[must_use]
    pub fn address(&self, site: Site) -> u32 {
        match self {
            Self::Address { .. } => site.0,
            Self::Privilege => site.0 & !3,
        }
    }
}

/// Where a guest has its kernel, by Linux's conventions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelMemory {
    /// The physical address at which memory begins.
    pub physical: u64,
    /// The virtual address under which the kernel has that in its linear mapping.
    pub linear: u64,
    /// How many bytes from there on hold the kernel's image, at most.
    pub length: u64,
}

impl KernelMemory {
    /// A kernel of the usual size, whose linear mapping begins at `linear` with the memory at `physical`.
    pub(crate) const fn at(physical: u64, linear: u64) -> Self {
        Self { physical, linear, length: 64 << 20 }
    }
}

/// An engine that moves bytes between memory and a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DmaEngine {
    /// The IDE controller of malta.
    PiixIde,
    /// The DMA controller of the BCM2835, on the boards of the first Raspberry Pi.
    Bcm2835,
}

/// Of an architecture that has none of what is asked for in an instruction.
pub(crate) const fn never(_word: u32) -> bool {
    false
}

/// Likewise.
pub(crate) const fn none(_word: u32) -> Option<u8> {
    None
}
