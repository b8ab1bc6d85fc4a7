//! PA-RISC instructions: what maintains caches and translations, from the words alone.
//!
//! Sources: *PA-RISC 1.1 Architecture and Instruction Set Reference Manual*, chapters 5 "Instruction Set" and 3 "Addressing and Access
//! Control"; *PA-RISC 2.0 Architecture*, chapter 6. Bits are numbered here from the least significant one.
//!
//! Every operand has a space: an address alone does not say what it means ([`space`]). Not modelled: that the operations which name an
//! entry of a cache rather than an address (`fdce`, `fice`) do what each processor likes; the plugin's processor says how they are taken.

use congruent_trace::Maintenance;

use crate::{CacheInstruction, Meaning, Offset, Operand, Pointer};

const LOADS_AND_STORES: u32 = 3;
/// With a long displacement; PA-RISC 2.0.
const LOAD_DOUBLEWORD: u32 = 0x14;
const SYSTEM: u32 = 0;
const MEMORY_MANAGEMENT: u32 = 1;

fn base(word: u32) -> u8 {
    (word >> 21 & 31) as u8
}

fn second(word: u32) -> u8 {
    (word >> 16 & 31) as u8
}

/// The five bits at the right of `word` as a number whose sign is its rightmost bit.
fn short(word: u32) -> i32 {
    low_sign(word & 31, 5)
}

/// A number of `width` bits whose sign is the rightmost one.
fn low_sign(field: u32, width: u32) -> i32 {
    (field >> 1) as i32 - ((field & 1) << (width - 1)) as i32
}

/// What an instruction means.
pub fn decode(word: u32) -> Meaning {
    match word >> 26 {
        MEMORY_MANAGEMENT => memory_management(word),
        // mtctl to a control register that Linux keeps the address of page tables in.
        SYSTEM if word & 0x1fff == 0x1840 && matches!(base(word), cr::KERNEL_TABLES | cr::USER_TABLES) => Meaning::Translation,
        // What QEMU executes for the firmware's calls that change block translations (diag).
        5 if word & 0x03ff_ffff == 0x100 => Meaning::Translation,
        LOADS_AND_STORES | 0x10..=0x12 | LOAD_DOUBLEWORD => prefetch(word).map_or(Meaning::Other, Meaning::Prefetch),
        _ => Meaning::Other,
    }
}

/// Control registers, by Linux's use of them (arch/parisc/kernel/head.S, entry.S).
pub mod cr {
    /// CR24: where the kernel's page tables are.
    pub const KERNEL_TABLES: u8 = 24;
    /// CR25: where those of the running program are.
    pub const USER_TABLES: u8 = 25;
}

fn memory_management(word: u32) -> Meaning {
    let register = base(word);
    // With base modification the base alone is the address; what is added counts for the next one.
    let added = if word & 1 << 5 != 0 { 0 } else { second(word) };
    let (operand, entry) = match added {
        0 => (Operand::Address { register, offset: 0 }, Operand::Index { register, offset: 0 }),
        added => (Operand::Sum { register, added, index: false }, Operand::Sum { register, added, index: true }),
    };
    let data = |op, operand| Meaning::Cache(CacheInstruction { op, operand });
    match word >> 6 & 0xff {
        0x4a => return data(Maintenance::WriteBackInvalidate, operand), // fdc
        0xca => {
            let operand = Operand::Address { register, offset: short(word >> 16) };
            return data(Maintenance::WriteBackInvalidate, operand); // fdc with a displacement
        }
        0x4b => return data(Maintenance::WriteBackInvalidate, entry), // fdce
        0x4e => return data(Maintenance::Invalidate, operand),        // pdc
        0x4f => return Meaning::CodeCache(operand),                   // fic, with a space of two bits
        0x40 | 0x41 | 0x48 | 0x49 | 0x58 => return Meaning::Translation, // idtlbp, idtlba, pdtlb, pdtlbe, pdtlb,l
        _ => {}
    }
    match word >> 6 & 0x7f {
        0x0a => Meaning::CodeCache(operand), // fic
        0x0b => Meaning::CodeCache(entry),   // fice
        // iitlbp, iitlba, pitlb, pitlbe, pitlb,l; those of the PA-7300LC that name no address; iitlbt and idtlbt
        0x00 | 0x01 | 0x08 | 0x09 | 0x18 | 0x10 | 0x11 | 0x50 | 0x51 | 0x20 | 0x60 => Meaning::Translation,
        _ => Meaning::Other,
    }
}

/// A load into register 0 is a prefetch.
fn prefetch(word: u32) -> Option<Pointer> {
    let (register, offset) = load(word)?;
    (target(word) == 0).then_some(Pointer { register, offset })
}

/// The register that a load loads.
fn target(word: u32) -> u8 {
    if word >> 26 == LOADS_AND_STORES { (word & 31) as u8 } else { second(word) }
}

/// The address of a load of up to a doubleword that leaves its base as it is.
fn load(word: u32) -> Option<(u8, Offset)> {
    let modifies = word & 1 << 5 != 0;
    match word >> 26 {
        LOADS_AND_STORES if modifies || word >> 6 & 15 > 3 => None,
        LOADS_AND_STORES if word & 1 << 12 != 0 => Some((base(word), Offset::Constant(short(word >> 16)))),
        LOADS_AND_STORES => {
            let shift = if word & 1 << 13 != 0 { (word >> 6 & 3) as u8 } else { 0 };
            Some((base(word), Offset::Register { register: second(word), shift, subtract: false }))
        }
        0x10..=0x12 => Some((base(word), Offset::Constant(low_sign(word & 0x3fff, 14)))),
        // Of the low four bits, the lowest is the sign, the highest says whether the base is modified, and the second that a
        // floating-point register is loaded.
        LOAD_DOUBLEWORD if word & 0b1010 == 0 => Some((base(word), Offset::Constant(low_sign(word & 0x3ff1, 14)))),
        _ => None,
    }
}

/// The base register and offset of an ordinary load or store that is fit for calibration.
pub fn calibration_operand(word: u32) -> Option<(u8, i32)> {
    let modifies = word & 1 << 5 != 0;
    match word >> 26 {
        // stb, sth, stw with a short displacement
        LOADS_AND_STORES if word & 1 << 12 != 0 && !modifies && matches!(word >> 6 & 15, 8..=10) => {
            Some((base(word), short(word)))
        }
        0x18..=0x1a => Some((base(word), low_sign(word & 0x3fff, 14))),
        _ => match load(word)? {
            // A load into its own base has perhaps replaced the base already; one into register 0 loads nothing.
            (register, Offset::Constant(offset)) if target(word) != 0 && target(word) != register => Some((register, offset)),
            _ => None,
        },
    }
}

/// How an instruction says which space its address is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// The space register of this number.
    Register(u8),
    /// The space register that the upper two bits of the base choose, of the upper four.
    OfBase {
        /// The base.
        base: u8,
    },
}

/// Where the space of an instruction's operand is named.
pub fn space(word: u32) -> Space {
    if names_long_space(word) {
        // The most significant of the three bits comes last.
        return Space::Register((word >> 14 & 3 | word >> 11 & 4) as u8);
    }
    match (word >> 14 & 3) as u8 {
        0 => Space::OfBase { base: base(word) },
        register => Space::Register(register),
    }
}

/// Whether the space has three bits: in operations on instruction caches and translations.
fn names_long_space(word: u32) -> bool {
    word >> 26 == MEMORY_MANAGEMENT && matches!(word >> 6 & 0x7f, 0x0a | 0x0b | 0x08 | 0x09 | 0x18 | 0x00 | 0x01)
}

/// A change of translations that matters beyond making remembered ones void.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// A control register is written from a general one.
    Tables {
        /// Its number.
        control: u8,
        /// The general register.
        from: u8,
    },
    /// `idtlbp`: the second half of a translation of data, which says how it may be used.
    Protection {
        /// Holds the address.
        address: u8,
        /// Holds the attributes.
        attributes: u8,
    },
    /// `idtlbt`: a whole translation of data. Its address is in control registers.
    Whole,
}

/// What changes.
pub fn change(word: u32) -> Option<Change> {
    match (word >> 26, word >> 6 & 0xff) {
        (SYSTEM, _) if word & 0x1fff == 0x1840 => Some(Change::Tables { control: base(word), from: second(word) }),
        (MEMORY_MANAGEMENT, 0x40) => Some(Change::Protection { address: base(word), attributes: second(word) }),
        (MEMORY_MANAGEMENT, 0x60) => Some(Change::Whole),
        _ => None,
    }
}

/// Whether attributes of PA-RISC 1.1 say that a page is not cached: the U bit.
pub fn is_uncached(attributes: u32) -> bool {
    attributes & 1 << 19 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use Maintenance::*;

    fn data(op: Maintenance, operand: Operand) -> Meaning {
        Meaning::Cache(CacheInstruction { op, operand })
    }

    const fn at(register: u8) -> Operand {
        Operand::Address { register, offset: 0 }
    }

    #[test]
    fn the_words_that_an_assembler_makes_for_data_caches_are_decoded() {
        for (word, expected) in [
            (0x04c5_1280, data(WriteBackInvalidate, Operand::Sum { register: 6, added: 5, index: false })), // fdc r5(r6)
            (0x04c5_12a0, data(WriteBackInvalidate, at(6))),                                                // fdc,m r5(r6)
            (0x0757_d2a0, data(WriteBackInvalidate, at(26))),                                               // fdc,m r23(sr3,r26)
            (0x0740_5280, data(WriteBackInvalidate, at(26))),                                               // fdc r0(sr1,r26)
            (0x0748_3280, data(WriteBackInvalidate, Operand::Address { register: 26, offset: 4 })),         // fdc 4(r26)
            (0x0741_7280, data(WriteBackInvalidate, Operand::Address { register: 26, offset: -16 })),       // fdc -16(sr1,r26)
            (0x04c5_12c0, data(WriteBackInvalidate, Operand::Sum { register: 6, added: 5, index: true })),  // fdce r5(r6)
            (0x0740_52c0, data(WriteBackInvalidate, Operand::Index { register: 26, offset: 0 })),           // fdce r0(sr1,r26)
            (0x0759_52e0, data(WriteBackInvalidate, Operand::Index { register: 26, offset: 0 })),           // fdce,m r25(sr1,r26)
            (0x0757_13a0, data(Invalidate, at(26))),                                                        // pdc,m r23(r26)
            (0x0740_9380, data(Invalidate, at(26))),                                                        // pdc r0(sr2,r26)
        ] {
            assert_eq!(decode(word), expected, "{word:#010x}");
        }
    }

    #[test]
    fn the_words_that_an_assembler_makes_for_instruction_caches_are_decoded() {
        // fic,m r23(sr3,r26); fic r0(r26)
        for word in [0x0757_c2a0, 0x0740_13c0] {
            assert_eq!(decode(word), Meaning::CodeCache(at(26)), "{word:#010x}");
        }
        assert_eq!(decode(0x079f_22a0), Meaning::CodeCache(at(28))); // fic,m r31(sr4,r28)
        // fice,m r25(sr1,r26); fice r0(sr0,r26)
        for word in [0x0759_42e0, 0x0740_02c0] {
            assert_eq!(decode(word), Meaning::CodeCache(Operand::Index { register: 26, offset: 0 }), "{word:#010x}");
        }
    }

    #[test]
    fn inserts_and_purges_of_translations_and_writes_of_table_addresses_are_decoded() {
        for word in [
            0x0780_1200, // pdtlb r0(r28)
            0x0780_5200, // pdtlb r0(sr1,r28)
            0x0780_2200, // pitlb r0(sr4,r28)
            0x0799_5260, // pdtlbe,m r25(sr1,r28)
            0x0780_4240, // pitlbe r0(sr1,r28)
            0x0510_5040, // idtlba r16,(sr1,r8)
            0x0511_5000, // idtlbp r17,(sr1,r8)
            0x0510_4040, // iitlba r16,(sr1,r8)
            0x0511_4000, // iitlbp r17,(sr1,r8)
            0x0304_1840, // mtctl r4,cr24
            0x0324_1840, // mtctl r4,cr25
            0x0630_1800, // idtlbt r16,r17
            0x0630_0800, // iitlbt r16,r17
            0x0780_1600, // pdtlb,l r0(r28)
            0x0780_2600, // pitlb,l r0(sr4,r28)
            0x1400_0100, // diag
        ] {
            assert_eq!(decode(word), Meaning::Translation, "{word:#010x}");
        }
        assert_eq!(change(0x0511_5000), Some(Change::Protection { address: 8, attributes: 17 }));
        assert_eq!(change(0x0324_1840), Some(Change::Tables { control: cr::USER_TABLES, from: 4 }));
        assert_eq!(change(0x0630_1800), Some(Change::Whole));
        // pdtlb, iitlbp
        assert_eq!([0x0780_1200, 0x0511_4000].map(change), [None; 2]);
    }

    #[test]
    fn other_instructions_of_the_system_and_loads_and_stores_are_nothing_special() {
        for word in [
            0x03c4_1840, // mtctl r4,cr30
            0x0001_d820, // mtsp r1,sr3
            0x0320_08a5, // mfctl cr25,r5
            0x0485_d186, // probe,r (sr3,r4),r5,r6
            0x0740_1345, // lpa r0(r26),r5
            0x0740_1305, // lci r0(r26),r5
            0x0f48_1093, // ldw 4(r26),r19
            0x0f53_1280, // stw r19,0(r26)
            0x4f53_0008, // ldw,ma 4(r26),r19
            0x0f40_11d3, // ldcw 0(r26),r19
            0x0000_0400, // sync
            0x3464_0008, // ldo 4(r3),r4
            0x0000_0c00, // rfi
        ] {
            assert_eq!(decode(word), Meaning::Other, "{word:#010x}");
        }
    }

    #[test]
    fn loads_into_the_register_that_is_always_zero_are_prefetches() {
        let pointer = |offset| Meaning::Prefetch(Pointer { register: 26, offset });
        assert_eq!(decode(0x0f40_1080), pointer(Offset::Constant(0))); // ldw 0(r26),r0
        assert_eq!(decode(0x4b40_0080), pointer(Offset::Constant(64))); // ldw 64(r26),r0, long
        assert_eq!(decode(0x5340_0010), pointer(Offset::Constant(8))); // ldd 8(r26),r0, long: for a store to come
        let index = Offset::Register { register: 5, shift: 0, subtract: false };
        assert_eq!(decode(0x0f45_0080), pointer(index)); // ldw r5(r26),r0
    }

    #[test]
    fn the_space_is_named_or_left_to_the_base() {
        for (word, expected) in [
            (0x04c5_1280, Space::OfBase { base: 6 }),  // fdc r5(r6)
            (0x0757_d2a0, Space::Register(3)),         // fdc,m r23(sr3,r26)
            (0x0757_c2a0, Space::Register(3)),         // fic,m r23(sr3,r26)
            (0x079f_22a0, Space::Register(4)),         // fic,m r31(sr4,r28)
            (0x0740_02c0, Space::Register(0)),         // fice r0(sr0,r26)
            (0x0511_5000, Space::Register(1)),         // idtlbp r17,(sr1,r8)
            (0x0511_4000, Space::Register(1)),         // iitlbp r17,(sr1,r8)
            (0x0f59_d093, Space::Register(3)),         // ldw -4(sr3,r26),r19
            (0x0f53_1280, Space::OfBase { base: 26 }), // stw r19,0(r26)
        ] {
            assert_eq!(space(word), expected, "{word:#010x}");
        }
    }

    #[test]
    fn calibration_uses_plain_addresses_and_no_load_into_its_own_base() {
        for (word, expected) in [
            (0x0f48_1093, Some((26, 4))),     // ldw 4(r26),r19
            (0x0f59_d093, Some((26, -4))),    // ldw -4(sr3,r26),r19
            (0x0f48_101a, None),              // ldb 4(r26),r26
            (0x0f44_1045, Some((26, 2))),     // ldh 2(r26),r5
            (0x0f53_1280, Some((26, 0))),     // stw r19,0(r26)
            (0x6b53_7fd9, Some((26, -0x14))), // stw r19,-20(sr1,r26)
            (0x0f53_120a, Some((26, 5))),     // stb r19,5(r26)
            (0x0f53_124c, Some((26, 6))),     // sth r19,6(r26)
            (0x4f53_0008, None),              // ldw,ma 4(r26),r19
            (0x0f45_0093, None),              // ldw r5(r26),r19
            (0x0f40_11d3, None),              // ldcw 0(r26),r19
            (0x0f40_1080, None),              // ldw 0(r26),r0
        ] {
            assert_eq!(calibration_operand(word), expected, "{word:#010x}");
        }
    }
}
