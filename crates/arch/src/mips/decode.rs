//! MIPS32: `cache`, `synci`, the instructions that change translations, loads of partial words, calls and returns from exceptions.
//!
//! Sources: *MIPS32 Architecture for Programmers Volume II-A* (MD00086), CACHE, CACHEE, SYNCI, LWL, LWR, TLBWI, MTC0, LWLE, JAL, JALR,
//! BGEZAL, ERET, ERETNC, DERET; the coding of index operands in the same volume, "CACHE", figure of "Usage of Address Fields to Select
//! Index and Way".

use congruent_trace::Maintenance;

use super::tables::WalkerRegister;
use super::tlb::EntryRegister;
use crate::{CacheInstruction, Endian, Flow, Meaning, Offset, Operand, PartialWord, Pointer};

/// What a 32-bit instruction word means.
pub fn decode(word: u32, endian: Endian) -> Meaning {
    let base = (word >> 21 & 31) as u8;
    let offset = i32::from(word as u16 as i16);
    match word >> 26 {
        // CACHE op, offset(base)
        0x2f => cache(word >> 16 & 31, base, offset),
        // SPECIAL3: CACHEE (EVA) and the release 6 encoding of CACHE have nine bits of offset.
        0x1f if matches!(word & 0x3f, 0x1b | 0x25) => cache(word >> 16 & 31, base, (word as i32) << 16 >> 23),
        // REGIMM, SYNCI: the data side is written back and the instruction side dropped, so that instruction fetches see it.
        0x01 if word >> 16 & 31 == 0x1f => Meaning::BothCaches(CacheInstruction {
            op: Maintenance::WriteBack,
            operand: Operand::Address { register: base, offset },
        }),
        // PREF hint, offset(base); SPECIAL3: PREFE (EVA) and the release 6 encoding of PREF.
        0x33 => prefetch(word, base, offset),
        0x1f if matches!(word & 0x3f, 0x23 | 0x35) => prefetch(word, base, (word as i32) << 16 >> 23),
        // COP0
        0x10 => cop0(word),
        // LWL takes the most significant bytes, LWR the least significant ones; SPECIAL3: LWLE and LWRE (EVA).
        opcode @ (0x22 | 0x26) => partial(base, offset, opcode == 0x22, endian),
        0x1f if matches!(word & 0x3f, 0x19 | 0x1a) => partial(base, (word as i32) << 16 >> 23, word & 0x3f == 0x19, endian),
        _ => Meaning::Other,
    }
}

/// A load of the most significant bytes of a word (`left`), or of the least significant ones.
fn partial(register: u8, offset: i32, left: bool, endian: Endian) -> Meaning {
    Meaning::PartialWord(PartialWord { register, offset, up_to_address: left == (endian == Endian::Little) })
}

/// The `pref` instruction: hints below 24 fetch a line in some manner; 25 pushes one out ("nudge") and moves no data that
/// could be missed, 30 prepares a line for being stored to whole.
fn prefetch(word: u32, register: u8, offset: i32) -> Meaning {
    const NUDGE: u32 = 25;
    const PREPARE_FOR_STORE: u32 = 30;
    match word >> 16 & 31 {
        NUDGE | PREPARE_FOR_STORE => Meaning::Other,
        _ => Meaning::Prefetch(Pointer { register, offset: Offset::Constant(offset) }),
    }
}

/// The `cache` instruction: bits 1..0 of the operation choose the cache (0 is the level-1 instruction cache, 1 the data cache), bits
/// 4..2 what is done.
fn cache(operation: u32, register: u8, offset: i32) -> Meaning {
    const CODE: u32 = 0;
    const DATA: u32 = 1;
    let indexed = Operand::Index { register, offset };
    let addressed = Operand::Address { register, offset };
    match operation & 3 {
        CODE => {
            return match operation >> 2 {
                // Invalidate; Store Tag, with an invalid one.
                0 | 2 => Meaning::CodeCache(indexed),
                4 => Meaning::CodeCache(addressed),
                // Index Load Tag reads; Fill (5) fills, as any fetch nearby may.
                _ => Meaning::Other,
            };
        }
        DATA => {}
        _ => return Meaning::Other,
    }
    let (op, operand) = match operation >> 2 {
        0 => (Maintenance::WriteBackInvalidate, indexed),
        // Index Store Tag: software writes an invalid tag with it, so whatever the way held is gone.
        2 => (Maintenance::Invalidate, indexed),
        4 => (Maintenance::Invalidate, addressed),
        5 => (Maintenance::WriteBackInvalidate, addressed),
        6 => (Maintenance::WriteBack, addressed),
        // Index Load Tag reads; 3 is implementation-defined; 7 fetches and locks.
        _ => return Meaning::Other,
    };
    Meaning::Cache(CacheInstruction { op, operand })
}

/// A register that steers translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlRegister {
    /// EntryHi: the address space.
    EntryHi,
    /// Config: the attribute of kseg0.
    Config,
    /// One of those that the next TLB entry is made of.
    Entry(EntryRegister),
    /// One of the hardware page walker's.
    Walker(WalkerRegister),
}

/// The translation register that an instruction writes, and the general register with the new value.
pub fn control_write(word: u32) -> Option<(ControlRegister, u8)> {
    // MTC0 rt, rd, sel
    if word & 0xffe0_07f8 != 0x4080_0000 {
        return None;
    }
    let register = match (word >> 11 & 31, word & 7) {
        (10, 0) => ControlRegister::EntryHi,
        (16, 0) => ControlRegister::Config,
        (2, 0) => ControlRegister::Entry(EntryRegister::Even),
        (3, 0) => ControlRegister::Entry(EntryRegister::Odd),
        (5, 0) => ControlRegister::Entry(EntryRegister::PageMask),
        (5, 5) => ControlRegister::Walker(WalkerRegister::Base),
        (5, 6) => ControlRegister::Walker(WalkerRegister::Field),
        (5, 7) => ControlRegister::Walker(WalkerRegister::Size),
        (6, 6) => ControlRegister::Walker(WalkerRegister::Control),
        _ => return None,
    };
    Some((register, (word >> 16 & 31) as u8))
}

/// The general register that an instruction writes to another hardware thread's Config: `MTTR` to coprocessor 0 (MD00378, MIPS MT Module).
pub fn config_of_other(word: u32) -> Option<u8> {
    (word & 0xffe0_f837 == 0x4180_8000).then_some((word >> 16 & 31) as u8)
}

/// The base register and offset of an ordinary load or store that is fit for calibration.
pub fn calibration_operand(word: u32) -> Option<(u8, i32)> {
    // lb, lh, lw, lbu, lhu; sb, sh, sw. The unaligned and conditional ones report other addresses or none.
    let is_load = matches!(word >> 26, 0x20 | 0x21 | 0x23 | 0x24 | 0x25);
    let is_store = matches!(word >> 26, 0x28 | 0x29 | 0x2b);
    let (base, target) = ((word >> 21 & 31) as u8, (word >> 16 & 31) as u8);
    // A load into its own base has perhaps replaced the base already.
    let usable = is_store || (is_load && base != target);
    usable.then(|| (base, i32::from(word as u16 as i16)))
}

const TLBWI: u32 = 0x4200_0002;
const TLBWR: u32 = 0x4200_0006;

/// Whether an instruction asks where a TLB exception was: MFC0 of Context (4) or BadVAddr (8).
pub fn reads_fault_address(word: u32) -> bool {
    word & 0xffe0_07ff == 0x4000_0000 && matches!(word >> 11 & 31, 4 | 8)
}

/// Whether an instruction puts an entry into the TLB.
pub fn writes_entry(word: u32) -> bool {
    matches!(word, TLBWI | TLBWR)
}

fn cop0(word: u32) -> Meaning {
    const TLBINV: u32 = 0x4200_0003;
    const TLBINVF: u32 = 0x4200_0004;
    const ENTRY_HI: u32 = 10;
    const CONFIG: u32 = 16;
    if matches!(word, TLBWI | TLBINV | TLBINVF | TLBWR) {
        return Meaning::Translation;
    }
    // MTC0 (4) and MTHC0 (6). EntryHi holds the address space; every flush of one page writes it too, which matters when the
    // entry has left the TLB already and no TLB instruction follows. Config holds the attribute of kseg0.
    match (word >> 21 & 31, word >> 11 & 31) {
        (4 | 6, ENTRY_HI | CONFIG) => Meaning::Translation,
        _ if config_of_other(word).is_some() || control_write(word).is_some() || reads_fault_address(word) => {
            Meaning::Translation
        }
        _ => Meaning::Other,
    }
}

/// What decides whether memory at an address is cached (MD00090, "Virtual Address Space").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    /// kseg0: Config.K0.
    Kseg0,
    /// kseg1: never.
    Kseg1,
    /// The TLB entry.
    Mapped,
}

impl Segment {
    /// The segment of an address.
    pub fn of(vaddr: u32) -> Self {
        match vaddr >> 29 {
            0b100 => Self::Kseg0,
            0b101 => Self::Kseg1,
            _ => Self::Mapped,
        }
    }
}

/// A word of MIPS32, up to release 5.
pub fn flow(word: u32) -> Flow {
    const ERET: u32 = 0x4200_0018;
    const DERET: u32 = 0x4200_001f;
    /// Release 5: it leaves the link of `ll` and `sc` alone.
    const ERETNC: u32 = 0x4200_0058;
    let (opcode, rt, rd, function) = (word >> 26, word >> 16 & 31, word >> 11 & 31, word & 0x3f);
    match opcode {
        // JALR, unless it keeps no return address; JAL and JALX; BLTZAL, BGEZAL and their likely forms.
        0x00 if function == 9 && rd != 0 => Flow::Call,
        0x03 | 0x1d => Flow::Call,
        0x01 if matches!(rt, 0x10..=0x13) => Flow::Call,
        _ if matches!(word, ERET | DERET | ERETNC) => Flow::ExceptionReturn,
        _ => Flow::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Maintenance::*;

    const A0: u8 = 4;

    /// `cache op, offset($a0)`.
    fn cache_word(op: u32, offset: i16) -> u32 {
        0x2f << 26 | u32::from(A0) << 21 | op << 16 | u32::from(offset as u16)
    }

    #[test]
    fn every_operation_of_cache_on_the_first_level_is_understood_and_no_other() {
        let addressed = Operand::Address { register: A0, offset: -32 };
        let indexed = Operand::Index { register: A0, offset: -32 };
        for op in 0..32 {
            let expected = match op {
                0x01 => Some((WriteBackInvalidate, indexed)),
                0x09 => Some((Invalidate, indexed)),
                0x11 => Some((Invalidate, addressed)),
                0x15 => Some((WriteBackInvalidate, addressed)),
                0x19 => Some((WriteBack, addressed)),
                _ => None,
            };
            let expected = match (expected, op) {
                (Some((op, operand)), _) => Meaning::Cache(CacheInstruction { op, operand }),
                (None, 0x00 | 0x08) => Meaning::CodeCache(indexed),
                (None, 0x10) => Meaning::CodeCache(addressed),
                _ => Meaning::Other,
            };
            assert_eq!(decode(cache_word(op, -32), Endian::Little), expected, "op {op:#x}");
        }
    }

    #[test]
    fn the_words_that_an_assembler_makes_are_decoded() {
        let line = |op, register, offset| Meaning::Cache(CacheInstruction { op, operand: Operand::Address { register, offset } });
        // cache 0x15,64($a0); synci 0($a1); cachee 0x15,-4($a0)
        assert_eq!(decode(0xbc95_0040, Endian::Little), line(WriteBackInvalidate, 4, 64));
        let both = CacheInstruction { op: WriteBack, operand: Operand::Address { register: 5, offset: 0 } };
        assert_eq!(decode(0x04bf_0000, Endian::Little), Meaning::BothCaches(both));
        assert_eq!(decode(0x7c95_fe1b, Endian::Little), line(WriteBackInvalidate, 4, -4));
        // tlbwi; tlbwr; mtc0 $a0,$10; mfc0 $a0,$10; mtc0 $a0,$12
        // mfc0 $a0,$8 names the page of the next TLB entry.
        assert_eq!(decode(0x4004_4000, Endian::Little), Meaning::Translation);
        for (word, voids) in
            [(0x4200_0002, true), (0x4200_0006, true), (0x4084_5000, true), (0x4004_5000, false), (0x4084_6000, false)]
        {
            assert_eq!(decode(word, Endian::Little) == Meaning::Translation, voids, "{word:#x}");
        }
        // mtc0 $a0,$10; mtc0 $a0,$12; mtc0 $a1,$5,5
        assert_eq!(control_write(0x4084_5000), Some((ControlRegister::EntryHi, 4)));
        assert_eq!(control_write(0x4084_6000), None);
        assert_eq!(control_write(0x4085_2805), Some((ControlRegister::Walker(WalkerRegister::Base), 5)));
        // mttc0 $at,$16: Config of another thread; mttc0 $at,$12: its Status.
        assert_eq!((config_of_other(0x4181_8000), config_of_other(0x4181_6000)), (Some(1), None));
        assert_eq!(decode(0x4181_8000, Endian::Little), Meaning::Translation);
        // lw is nothing special.
        assert_eq!(decode(0x8c82_0000, Endian::Little), Meaning::Other);
    }

    #[test]
    fn prefetches_fill_unless_they_prepare_a_store() {
        let fills = |offset| Meaning::Prefetch(Pointer { register: 5, offset: Offset::Constant(offset) });
        // pref 0,96($a1); pref 30,96($a1); prefe 0,-4($a1)
        assert_eq!(decode(0xcca0_0060, Endian::Little), fills(96));
        assert_eq!(decode(0xccbe_0060, Endian::Little), Meaning::Other);
        assert_eq!(decode(0x7ca0_fe23, Endian::Little), fills(-4));
    }

    #[test]
    fn partial_loads_take_the_bytes_the_manual_says() {
        // lwl $v0,0($a0) and lwr $v0,0($a0)
        let bytes = |word, endian, address| {
            let Meaning::PartialWord(partial) = decode(word, endian) else { panic!("{word:#x}") };
            partial.bytes(address)
        };
        for (address, lwl_little, lwr_little) in
            [(0, (0, 1), (0, 4)), (1, (0, 2), (1, 3)), (2, (0, 3), (2, 2)), (3, (0, 4), (3, 1))]
        {
            assert_eq!(bytes(0x8882_0000, Endian::Little, address), lwl_little);
            assert_eq!(bytes(0x9882_0000, Endian::Little, address), lwr_little);
            assert_eq!(bytes(0x8882_0000, Endian::Big, address), lwr_little);
            assert_eq!(bytes(0x9882_0000, Endian::Big, address), lwl_little);
            // lwle $v0,0($a0) and lwre $v0,0($a0)
            assert_eq!(bytes(0x7c82_0019, Endian::Little, address), lwl_little);
            assert_eq!(bytes(0x7c82_001a, Endian::Little, address), lwr_little);
        }
    }

    #[test]
    fn the_segments_lie_where_the_manual_says() {
        for (address, segment) in [
            (0, Segment::Mapped),
            (0x7fff_ffff, Segment::Mapped),
            (0x8000_0000, Segment::Kseg0),
            (0x9fff_ffff, Segment::Kseg0),
            (0xa000_0000, Segment::Kseg1),
            (0xbfff_ffff, Segment::Kseg1),
            (0xc000_0000, Segment::Mapped),
        ] {
            assert_eq!(Segment::of(address), segment);
        }
    }

    #[test]
    fn calls_and_returns_are_told_from_the_words_that_an_assembler_makes() {
        for (word, expected, text) in [
            (0x0c04_0000, Flow::Call, "jal"),
            (0x7404_0000, Flow::Call, "jalx"),
            (0x0320_f809, Flow::Call, "jalr $t9"),
            (0x0320_f809 | 0x400, Flow::Call, "jalr.hb $t9"),
            (0x0320_0009, Flow::Other, "jalr $zero, $t9"),
            (0x0411_0001, Flow::Call, "bal"),
            (0x0490_0001, Flow::Call, "bltzal $a0"),
            (0x0481_0001, Flow::Other, "bgez $a0"),
            (0x049f_0000, Flow::Other, "synci 0($a0)"),
            (0x03e0_0008, Flow::Other, "jr $ra"),
            (0x0804_0000, Flow::Other, "j"),
            (0x4200_0018, Flow::ExceptionReturn, "eret"),
            (0x4200_0058, Flow::ExceptionReturn, "eretnc"),
            (0x4200_001f, Flow::ExceptionReturn, "deret"),
            (0x4200_0008, Flow::Other, "tlbp"),
        ] {
            assert_eq!(flow(word), expected, "{text}");
        }
    }

    #[test]
    fn loads_into_their_own_base_are_not_used() {
        // lw $v0,8($a0); lw $a0,8($a0); sw $a0,8($a0); lwl $v0,0($a0)
        assert_eq!(calibration_operand(0x8c82_0008), Some((4, 8)));
        assert_eq!(calibration_operand(0x8c84_0008), None);
        assert_eq!(calibration_operand(0xac84_0008), Some((4, 8)));
        assert_eq!(calibration_operand(0x8882_0000), None);
    }
}
