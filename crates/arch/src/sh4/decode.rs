//! SH-4 instructions, and the registers and arrays of the processor that lie in memory: half of the maintenance is stores to these.
//!
//! Sources: *SH7751 Group, SH7751R Group User's Manual: Hardware*, chapters 3 "Memory Management Unit" and 4 "Caches"; *SH-4 Software
//! Manual*, chapter "Instruction Descriptions".
//!
//! Not modelled: store queues (QEMU has none), the operand cache as RAM, index mode, `movca.l` without a fill (it is taken to be a
//! store, which is right for those who then store the whole line, as they must).

use congruent_geometry::CacheGeometry;
use congruent_trace::{Maintenance, Scope};

use crate::{CacheInstruction, Flow, Meaning, Offset, Operand, Pointer};

/// What a 16-bit instruction means.
pub fn decode(word: u32) -> Meaning {
    let register = (word >> 8 & 15) as u8;
    let line = |op| Meaning::Cache(CacheInstruction { op, operand: Operand::Address { register, offset: 0 } });
    match word & 0xf0ff {
        0x0093 => line(Maintenance::Invalidate),                                        // ocbi @Rn
        0x00a3 => line(Maintenance::WriteBackInvalidate),                               // ocbp @Rn
        0x00b3 => line(Maintenance::WriteBack),                                         // ocbwb @Rn
        0x0083 => Meaning::Prefetch(Pointer { register, offset: Offset::Constant(0) }), // pref @Rn
        // ldtlb has no operand.
        _ if word == 0x0038 => Meaning::Translation,
        _ => Meaning::Other,
    }
}

/// Whether an instruction is a store of a long word from a register, which every store to the processor's own registers is.
pub fn stores_long(word: u32) -> bool {
    // mov.l Rm,@(disp,Rn); mov.l Rm,@Rn; mov.l Rm,@-Rn; mov.l Rm,@(R0,Rn); mov.l R0,@(disp,GBR)
    word >> 12 == 1 || matches!(word & 0xf00f, 0x2002 | 0x2006 | 0x0006) || word >> 8 == 0xc2
}

/// The base register and offset of an ordinary load or store that is fit for calibration.
pub fn calibration_operand(word: u32) -> Option<(u8, i32)> {
    let (n, m) = ((word >> 8 & 15) as u8, (word >> 4 & 15) as u8);
    let displacement = (word & 15) as i32 * 4;
    match word >> 12 {
        1 => Some((n, displacement)), // mov.l Rm,@(disp,Rn)
        // mov.l @(disp,Rm),Rn: a load into its own base has perhaps replaced the base already.
        5 => (n != m).then_some((m, displacement)),
        2 if word & 15 <= 2 => Some((n, 0)),               // mov.b, mov.w, mov.l Rm,@Rn
        6 if word & 15 <= 2 => (n != m).then_some((m, 0)), // mov.b, mov.w, mov.l @Rm,Rn
        _ => None,
    }
}

/// Whether an instruction saves PR, the return address: `sts.l pr,@-Rn`.
pub fn saves_procedure(word: u32) -> bool {
    word & 0xf0ff == 0x4022
}

/// A part of the processor that lies in its address space, in area P4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Control {
    /// PTEH: page number and address space of the next TLB entry, and the running address space.
    EntryHigh,
    /// PTEL: frame and attributes of the next TLB entry.
    EntryLow,
    /// TTB: a word that software may use; Linux keeps the address of the running page tables there.
    TableBase,
    /// MMUCR.
    Mmu,
    /// CCR.
    Cache,
    /// The address array of the operand cache.
    OperandTags,
    /// The address array of the unified TLB.
    TlbTags,
    /// The data arrays of the unified TLB.
    TlbData,
}

/// The part at this address.
pub fn control(vaddr: u32) -> Option<Control> {
    Some(match (vaddr, vaddr >> 24) {
        (0xff00_0000, _) => Control::EntryHigh,
        (0xff00_0004, _) => Control::EntryLow,
        (0xff00_0008, _) => Control::TableBase,
        (0xff00_0010, _) => Control::Mmu,
        (0xff00_001c, _) => Control::Cache,
        (_, 0xf4) => Control::OperandTags,
        (_, 0xf6) => Control::TlbTags,
        (_, 0xf7) => Control::TlbData,
        _ => return None,
    })
}

/// MMUCR.
pub mod mmu {
    /// Addresses are translated.
    pub const ON: u32 = 1;
    /// Written as one: every TLB entry becomes invalid.
    pub const INVALIDATE: u32 = 1 << 2;
}

/// CCR, the cache control register.
pub mod ccr {
    /// The operand cache is in use.
    pub const OPERAND_CACHE: u32 = 1;
    /// Areas U0, P0 and P3 are written through.
    pub const WRITE_THROUGH: u32 = 1 << 1;
    /// Area P1 is copied back.
    pub const P1_COPY_BACK: u32 = 1 << 2;
    /// Written as one: every line of the operand cache becomes invalid, and is not written back.
    pub const INVALIDATE_OPERANDS: u32 = 1 << 3;
    /// Half of the operand cache is memory of its own.
    pub const AS_MEMORY: u32 = 1 << 5;
    /// Address bit 25 is a part of the index.
    pub const INDEX_MODE: u32 = 1 << 7;
}

/// What a store to the operand cache's address array does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TagStore {
    /// Whatever line is in this set and way: it is written back and replaced by nothing.
    Entry(Scope),
    /// The line of the memory at `tag`, in the set that `index` selects, if it is there.
    Matching {
        /// What is done to it.
        op: Maintenance,
        /// An address of which only the index bits count.
        index: u32,
        /// A virtual address of the line's page, or a physical one while nothing is translated.
        tag: u32,
    },
    /// Nothing that matters to memory.
    Nothing,
}

/// What storing `value` at `address` of the operand cache's address array does (manual, "OC Address Array").
pub fn tag_store(geometry: &CacheGeometry, address: u32, value: u32) -> TagStore {
    const ASSOCIATIVE: u32 = 1 << 3;
    const DIRTY: u32 = 1 << 1;
    const VALID: u32 = 1;
    const TAG: u32 = !0x3ff;
    let line = address & 0x00ff_ffff;
    if address & ASSOCIATIVE == 0 {
        return TagStore::Entry(index(geometry, line));
    }
    let op = match (value & VALID != 0, value & DIRTY != 0) {
        (false, _) => Maintenance::WriteBackInvalidate,
        (true, false) => Maintenance::WriteBack,
        (true, true) => return TagStore::Nothing,
    };
    TagStore::Matching { op, index: line, tag: value & TAG }
}

/// The set and way of an offset in the address array: the way sits just above the index bits.
pub fn index(geometry: &CacheGeometry, offset: u32) -> Scope {
    let line = offset >> geometry.line_shift();
    Scope::Index { set: line & (geometry.sets() - 1), way: (line / geometry.sets()) & (geometry.ways() - 1) }
}

/// An area of the address space, with its own rule of what is translated and cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Area {
    /// U0, P0 and P3: translated, cached as the TLB says.
    Translated,
    /// P1: memory at a fixed place, cached.
    P1,
    /// P2: the same, uncached.
    P2,
    /// P4: the processor itself.
    P4,
}

/// The area of an address.
pub fn area(vaddr: u32) -> Area {
    match vaddr >> 29 {
        0b100 => Area::P1,
        0b101 => Area::P2,
        0b111 => Area::P4,
        _ => Area::Translated,
    }
}

/// The physical address behind P1, P2, and every address while nothing is translated.
pub fn untranslated(vaddr: u32) -> u32 {
    vaddr & 0x1fff_ffff
}

/// A word of SH-4, of 16 bits.
pub fn flow(word: u32) -> Flow {
    const RTE: u32 = 0x002b;
    // BSR label; BSRF Rn, JSR @Rn.
    let calls = word >> 12 == 0xb || matches!(word & 0xf0ff, 0x0003 | 0x400b);
    match word {
        _ if calls => Flow::Call,
        RTE => Flow::ExceptionReturn,
        _ => Flow::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Maintenance::*;

    const SH7751R: CacheGeometry = match CacheGeometry::new(32 << 10, 2, 32) {
        Ok(geometry) => geometry,
        Err(_) => panic!(),
    };

    #[test]
    fn the_words_that_an_assembler_makes_are_decoded() {
        let line = |op, register| Meaning::Cache(CacheInstruction { op, operand: Operand::Address { register, offset: 0 } });
        assert_eq!(decode(0x0493), line(Invalidate, 4)); // ocbi @r4
        assert_eq!(decode(0x0fa3), line(WriteBackInvalidate, 15)); // ocbp @r15
        assert_eq!(decode(0x00b3), line(WriteBack, 0)); // ocbwb @r0
        assert_eq!(decode(0x0183), Meaning::Prefetch(Pointer { register: 1, offset: Offset::Constant(0) })); // pref @r1
        assert_eq!(decode(0x0038), Meaning::Translation); // ldtlb
        // rts; nop; movca.l r0,@r4; mov.l r1,@r4; sett; movt r3
        for word in [0x000b, 0x0009, 0x04c3, 0x2412, 0x0018, 0x0329] {
            assert_eq!(decode(word), Meaning::Other, "{word:#06x}");
        }
    }

    #[test]
    fn no_other_instruction_word_is_maintenance() {
        let special = (0..=0xffff).filter(|&word| decode(word) != Meaning::Other).count();
        assert_eq!(special, 4 * 16 + 1);
    }

    #[test]
    fn stores_that_can_reach_the_processor_are_told_from_other_instructions() {
        // mov.l r1,@r2; mov.l r1,@(4,r2); mov.l r1,@-r2; mov.l r1,@(r0,r2); mov.l r0,@(4,gbr)
        for word in [0x2212, 0x1211, 0x2216, 0x0216, 0xc201] {
            assert!(stores_long(word), "{word:#06x}");
        }
        // mov.b r1,@r2; mov.l @r1,r2; add r1,r2; mov.l @(4,gbr),r0
        for word in [0x2210, 0x6212, 0x321c, 0xc601] {
            assert!(!stores_long(word), "{word:#06x}");
        }
    }

    #[test]
    fn calibration_uses_plain_addresses_and_no_load_into_its_own_base() {
        assert_eq!(calibration_operand(0x5213), Some((1, 12))); // mov.l @(12,r1),r2
        assert_eq!(calibration_operand(0x5113), None); // mov.l @(12,r1),r1
        assert_eq!(calibration_operand(0x1213), Some((2, 12))); // mov.l r1,@(12,r2)
        assert_eq!(calibration_operand(0x2211), Some((2, 0))); // mov.w r1,@r2
        assert_eq!(calibration_operand(0x6212), Some((1, 0))); // mov.l @r1,r2
        assert_eq!(calibration_operand(0x6112), None); // mov.l @r1,r1
        assert_eq!(calibration_operand(0x2216), None); // mov.l r1,@-r2: the base has moved
        assert_eq!(calibration_operand(0x6216), None); // mov.l @r1+,r2
        // sts.l pr,@-r15, and lds.l @r15+,pr
        assert!(saves_procedure(0x4f22) && !saves_procedure(0x4f26));
    }

    #[test]
    fn storing_nothing_over_every_entry_reaches_every_set_and_way_once() {
        let mut seen = std::collections::HashSet::new();
        for address in (0xf400_0000..0xf400_8000u32).step_by(32) {
            let TagStore::Entry(Scope::Index { set, way }) = tag_store(&SH7751R, address, 0) else { unreachable!() };
            assert!(seen.insert((set, way)));
        }
        assert_eq!(seen.len() as u32, SH7751R.sets() * SH7751R.ways());
    }

    #[test]
    fn an_associative_store_takes_the_set_from_the_address_and_the_line_from_the_value() {
        let store = |value| tag_store(&SH7751R, 0xf400_1028, value);
        let matching = |op| TagStore::Matching { op, index: 0x1028, tag: 0x0c12_3400 };
        assert_eq!(store(0x0c12_3400), matching(WriteBackInvalidate));
        assert_eq!(store(0x0c12_3402), matching(WriteBackInvalidate));
        assert_eq!(store(0x0c12_3401), matching(WriteBack));
        assert_eq!(store(0x0c12_3403), TagStore::Nothing);
    }

    #[test]
    fn areas_are_the_upper_three_bits() {
        for (vaddr, expected) in [
            (0, Area::Translated),
            (0x7fff_ffff, Area::Translated),
            (0x8c00_0000, Area::P1),
            (0xac00_0000, Area::P2),
            (0xc000_0000, Area::Translated),
            (0xdfff_ffff, Area::Translated),
            (0xe000_0000, Area::P4),
        ] {
            assert_eq!(area(vaddr), expected, "{vaddr:#010x}");
        }
    }

    #[test]
    fn calls_and_returns_are_told_from_the_words_that_an_assembler_makes() {
        for (word, expected, text) in [
            (0xb000, Flow::Call, "bsr"),
            (0xbfff, Flow::Call, "bsr, backwards"),
            (0x0103, Flow::Call, "bsrf r1"),
            (0x400b, Flow::Call, "jsr @r0"),
            (0x4f0b, Flow::Call, "jsr @r15"),
            (0x402b, Flow::Other, "jmp @r0"),
            (0x0123, Flow::Other, "braf r1"),
            (0xa000, Flow::Other, "bra"),
            (0x000b, Flow::Other, "rts"),
            (0x002b, Flow::ExceptionReturn, "rte"),
            (0x0009, Flow::Other, "nop"),
            (0x0183, Flow::Other, "pref @r1"),
        ] {
            assert_eq!(flow(word), expected, "{text}");
        }
    }
}
