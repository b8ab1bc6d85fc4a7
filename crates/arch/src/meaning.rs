//! What guest instructions mean to caches: the words that every decoder speaks.
//!
//! QEMU executes cache maintenance as nothing at all, so its meaning has to come from the instruction itself.

use congruent_trace::Maintenance;

/// What an instruction means to caches and translations, beyond its loads and stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// Nothing.
    Other,
    /// Data cache maintenance.
    Cache(CacheInstruction),
    /// Instruction cache maintenance: copies are dropped.
    CodeCache(Operand),
    /// Maintenance of both caches by one operand.
    BothCaches(CacheInstruction),
    /// A prefetch: the line may be filled.
    Prefetch(Pointer),
    /// It may change which physical address or attribute a virtual address has: remembered translations are void.
    Translation,
    /// A load of a part of the aligned word that QEMU reads whole (MIPS `lwl`, `lwr`).
    PartialWord(PartialWord),
}

/// An address in registers: a base, plus an offset or another register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pointer {
    /// The base register.
    pub register: u8,
    /// What is added to it.
    pub offset: Offset,
}

/// What a [`Pointer`] adds to its base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offset {
    /// A constant.
    Constant(i32),
    /// A register, shifted left, added or subtracted.
    Register {
        /// The register.
        register: u8,
        /// How far it is shifted left.
        shift: u8,
        /// Whether it is subtracted.
        subtract: bool,
    },
}

/// A data cache maintenance instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheInstruction {
    /// What it does to the lines it covers.
    pub op: Maintenance,
    /// How it names them.
    pub operand: Operand,
}

/// How a maintenance instruction names lines. Registers are numbers of the architecture's general registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// The line of the virtual address in a register, plus an offset.
    Address {
        /// The register.
        register: u8,
        /// Added to it.
        offset: i32,
    },
    /// A set and a way, packed into a register as the architecture says.
    Index {
        /// The register.
        register: u8,
        /// Added to it.
        offset: i32,
    },
    /// The address, or the set and way, that the sum of two registers is.
    Sum {
        /// One register.
        register: u8,
        /// The other.
        added: u8,
        /// Whether it is a set and a way.
        index: bool,
    },
    /// Every line from the address in one register to the line of the address in another, inclusive.
    Range {
        /// Holds the first address.
        first: u8,
        /// Holds the last address.
        last: u8,
    },
    /// The whole data cache.
    Whole,
}

/// What an [`Operand`] names, with the registers read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Named {
    /// The line of this virtual address.
    Address(u32),
    /// A set and a way, packed as the architecture says.
    Index(u32),
    /// Every line from the first address to that of the last, inclusive.
    Range(u32, u32),
    /// The whole cache.
    Whole,
}

impl Operand {
    /// What it names while the registers have these values.
    pub fn read(self, mut register: impl FnMut(u8) -> u32) -> Named {
        match self {
            Self::Address { register: number, offset } => Named::Address(register(number).wrapping_add_signed(offset)),
            Self::Index { register: number, offset } => Named::Index(register(number).wrapping_add_signed(offset)),
            Self::Sum { register: number, added, index } => {
                let sum = register(number).wrapping_add(register(added));
                if index { Named::Index(sum) } else { Named::Address(sum) }
            }
            Self::Range { first, last } => Named::Range(register(first), register(last)),
            Self::Whole => Named::Whole,
        }
    }
}

/// A load of the bytes of an aligned word on one side of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartialWord {
    /// The base register.
    pub register: u8,
    /// Added to it, gives the address.
    pub offset: i32,
    /// Whether the bytes are those from the start of the aligned word up to the address, rather than from the address to its
    /// end.
    pub up_to_address: bool,
}

impl PartialWord {
    /// The bytes that are loaded from a 4-byte word: offset in the word and length.
    pub fn bytes(self, address: u32) -> (u32, u32) {
        let within = address & 3;
        if self.up_to_address { (0, within + 1) } else { (within, 4 - within) }
    }
}

/// What an instruction does to the order in which code runs, as far as call stacks are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Nothing of interest.
    Other,
    /// A call. Where it returns to follows from its address.
    Call,
    /// A return from an exception, to whatever ran before.
    ExceptionReturn,
}
