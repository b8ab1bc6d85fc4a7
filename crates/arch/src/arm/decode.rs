//! ARMv4 to ARMv6: the cache operations of coprocessor 15, the writes to it that change translations, calls and returns from
//! exceptions.
//!
//! Sources: *ARM Architecture Reference Manual* (DDI 0100I), B6.6 "Register 7: cache management functions" and appendix "Block
//! transfer operations"; *ARM1136 Technical Reference Manual* (DDI 0211), 3.3.17; *ARM926EJ-S Technical Reference Manual*
//! (DDI 0198), 2.3.10 for test-and-clean. Calls and returns: DDI 0100I, A4.1.5 "B, BL", A4.1.7 and A4.1.8 "BLX", A2.6 and A4.1.22 for returns from
//! exceptions, A4.1.59 "RFE".

use congruent_trace::Maintenance;

use super::tables::ControlRegister;
use crate::{CacheInstruction, Flow, Meaning, Offset, Operand, Pointer};

/// The condition under which an instruction does anything, from its four top bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Condition(u8);

impl Condition {
    /// The condition of an instruction word.
    pub fn of(word: u32) -> Self {
        Self((word >> 28) as u8)
    }

    /// Whether it holds whatever the flags: "always", and instructions that have no condition.
    pub fn is_always(self) -> bool {
        self.0 >= 14
    }

    /// Whether it holds under the flags of this program status register (DDI 0100I, A3.2.1).
    pub fn holds(self, status: u32) -> bool {
        let flag = |bit: u32| status >> bit & 1 == 1;
        let (n, z, c, v) = (flag(31), flag(30), flag(29), flag(28));
        let holds = match self.0 >> 1 {
            0 => z,
            1 => c,
            2 => n,
            3 => v,
            4 => c && !z,
            5 => n == v,
            6 => n == v && !z,
            _ => return self.0 == 14,
        };
        holds != (self.0 & 1 == 1)
    }
}

/// What a 32-bit (not Thumb) instruction word means when its condition holds.
pub fn decode(word: u32) -> Meaning {
    const UNCONDITIONAL: u32 = 15;
    if word >> 28 == UNCONDITIONAL {
        return preload(word);
    }
    let target = (word >> 12 & 15) as u8;
    // MCRR p15, 0, Rt, Rt2, CRm: from the address in Rt2 to the one in Rt.
    if word & 0x0ff0_0ff0 == 0x0c40_0f00 {
        let operand = Operand::Range { first: (word >> 16 & 15) as u8, last: target };
        let op = match word & 15 {
            5 => return Meaning::CodeCache(operand),
            6 => Maintenance::Invalidate,
            12 => Maintenance::WriteBack,
            14 => Maintenance::WriteBackInvalidate,
            _ => return Meaning::Other,
        };
        return Meaning::Cache(CacheInstruction { op, operand });
    }
    // MCR and MRC with opcode 1 of zero: p15, 0, Rt, CRn, CRm, op2.
    let reads = match word & 0x0ff0_0f10 {
        0x0e00_0f10 => false,
        0x0e10_0f10 => true,
        _ => return Meaning::Other,
    };
    let (crn, crm, op2) = (word >> 16 & 15, word & 15, word >> 5 & 7);
    match crn {
        // Control (caches and translation on and off), table bases, domains, TLB operations, remapping, address space.
        1 | 2 | 3 | 8 | 10 | 13 if !reads => Meaning::Translation,
        7 => cache(crm, op2, reads, target),
        _ => Meaning::Other,
    }
}

/// `PLD` (DDI 0100I, A4.1.45), the only unconditional instruction that concerns a cache.
fn preload(word: u32) -> Meaning {
    let register = (word >> 16 & 15) as u8;
    let subtract = word & 1 << 23 == 0;
    let offset = match word & 0xff70_f000 {
        0xf550_f000 => {
            let constant = (word & 0xfff) as i32;
            Offset::Constant(if subtract { -constant } else { constant })
        }
        // Only shifts to the left are taken; PLD is not used with others.
        0xf750_f000 if word & 0x70 == 0 => {
            Offset::Register { register: (word & 15) as u8, shift: (word >> 7 & 31) as u8, subtract }
        }
        _ => return Meaning::Other,
    };
    Meaning::Prefetch(Pointer { register, offset })
}

/// The translation register that an instruction writes when its condition holds, and the general register with the new value.
pub fn control_write(word: u32) -> Option<(ControlRegister, u8)> {
    // MCR p15, 0, Rt, CRn, CRm, op2
    if word & 0x0ff0_0f10 != 0x0e00_0f10 {
        return None;
    }
    let register = match (word >> 16 & 15, word & 15, word >> 5 & 7) {
        (1, 0, 0) => ControlRegister::Sctlr,
        (2, 0, 0) => ControlRegister::Ttbr0,
        (2, 0, 1) => ControlRegister::Ttbr1,
        (2, 0, 2) => ControlRegister::Ttbcr,
        (10, 2, 0) => ControlRegister::Prrr,
        (10, 2, 1) => ControlRegister::Nmrr,
        (13, 0, 0) => ControlRegister::Process,
        _ => return None,
    };
    Some((register, (word >> 12 & 15) as u8))
}

fn cache(crm: u32, op2: u32, reads: bool, register: u8) -> Meaning {
    const TEST: u32 = 3;
    const CODE: u32 = 5;
    const BOTH: u32 = 7;
    let op = match crm {
        // Instruction; data; both sides.
        CODE | 6 | BOTH => Maintenance::Invalidate,
        // Data; unified.
        10 | 11 => Maintenance::WriteBack,
        14 | 15 => Maintenance::WriteBackInvalidate,
        _ => return Meaning::Other,
    };
    let operand = match (op2, reads) {
        (0, false) => Operand::Whole,
        (1, false) => Operand::Address { register, offset: 0 },
        (2, false) => Operand::Index { register, offset: 0 },
        // ARM926 test-and-clean, run in a loop until no dirty line is left. QEMU says "none left" at once, so one execution
        // stands for the loop.
        (TEST, true) if matches!(crm, 10 | 14) => Operand::Whole,
        // Barriers, branch predictors and status reads share the register.
        _ => return Meaning::Other,
    };
    match crm {
        CODE => Meaning::CodeCache(operand),
        BOTH => Meaning::BothCaches(CacheInstruction { op, operand }),
        _ => Meaning::Cache(CacheInstruction { op, operand }),
    }
}

/// A word of ARM, not Thumb. A call whose condition does not hold goes on where it would have returned to, which is the same to a
/// call stack.
pub fn flow(word: u32) -> Flow {
    const UNCONDITIONAL: u32 = 15;
    if word >> 28 == UNCONDITIONAL {
        return match word {
            // BLX label; RFE.
            _ if word >> 25 == 0b111_1101 => Flow::Call,
            _ if word & 0xfe50_ffff == 0xf810_0a00 => Flow::ExceptionReturn,
            _ => Flow::Other,
        };
    }
    let target_is_pc = word >> 12 & 15 == 15;
    // BL; BLX register.
    let calls = word & 0x0f00_0000 == 0x0b00_0000 || word & 0x0fff_fff0 == 0x012f_ff30;
    // Data processing into the program counter that sets the flags, except the four that only compare (8 to 11); with a shift
    // by register, bit 7 is clear.
    let arithmetic =
        word & 0x0c10_0000 == 0x0010_0000 && target_is_pc && word >> 23 & 3 != 2 && (word & 1 << 25 != 0 || word & 0x90 != 0x90);
    // LDM with the program counter and the saved status.
    let load_multiple = word & 0x0e50_8000 == 0x0850_8000;
    match (calls, arithmetic || load_multiple) {
        (true, _) => Flow::Call,
        (_, true) => Flow::ExceptionReturn,
        _ => Flow::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Maintenance::*;

    /// `mcr p15, 0, r3, crn, crm, op2`.
    fn mcr(crn: u32, crm: u32, op2: u32) -> u32 {
        0xee00_3f10 | crn << 16 | op2 << 5 | crm
    }

    #[test]
    fn every_write_to_register_7_is_understood() {
        for crm in 0..16 {
            for op2 in 0..8 {
                let op = match crm {
                    5..=7 => Some(Invalidate),
                    10 | 11 => Some(WriteBack),
                    14 | 15 => Some(WriteBackInvalidate),
                    _ => None,
                };
                let operand = match op2 {
                    0 => Some(Operand::Whole),
                    1 => Some(Operand::Address { register: 3, offset: 0 }),
                    2 => Some(Operand::Index { register: 3, offset: 0 }),
                    _ => None,
                };
                let expected = match (op, operand) {
                    (Some(_), Some(operand)) if crm == 5 => Meaning::CodeCache(operand),
                    (Some(op), Some(operand)) if crm == 7 => Meaning::BothCaches(CacheInstruction { op, operand }),
                    (Some(op), Some(operand)) => Meaning::Cache(CacheInstruction { op, operand }),
                    _ => Meaning::Other,
                };
                assert_eq!(decode(mcr(7, crm, op2)), expected, "c{crm}, {op2}");
            }
        }
    }

    #[test]
    fn the_words_that_an_assembler_makes_are_decoded() {
        let cache = |op, operand| Meaning::Cache(CacheInstruction { op, operand });
        for (word, meaning) in [
            // mcr p15, 0, r0, c7, c14, 1
            (0xee07_0f3e, cache(WriteBackInvalidate, Operand::Address { register: 0, offset: 0 })),
            // mcrr p15, 0, r1, r0, c14; c12; c6; c5
            (0xec40_1f0e, cache(WriteBackInvalidate, Operand::Range { first: 0, last: 1 })),
            (0xec40_1f0c, cache(WriteBack, Operand::Range { first: 0, last: 1 })),
            (0xec40_1f06, cache(Invalidate, Operand::Range { first: 0, last: 1 })),
            (0xec40_1f05, Meaning::CodeCache(Operand::Range { first: 0, last: 1 })),
            // mrc p15, 0, r15, c7, c14, 3 and c10, 3
            (0xee17_ff7e, cache(WriteBackInvalidate, Operand::Whole)),
            (0xee17_ff7a, cache(WriteBack, Operand::Whole)),
            // mcr p15, 0, r0, c7, c10, 4: a barrier
            (0xee07_0f9a, Meaning::Other),
            // mcr p15, 0, r0, c8, c7, 0; c13, c0, 1; c2, c0, 0; c1, c0, 0
            (0xee08_0f17, Meaning::Translation),
            (0xee0d_0f30, Meaning::Translation),
            (0xee02_0f10, Meaning::Translation),
            (0xee01_0f10, Meaning::Translation),
            // mrc p15, 0, r0, c1, c0, 0; mcr p14
            (0xee11_0f10, Meaning::Other),
            (0xee07_0e3e, Meaning::Other),
        ] {
            assert_eq!(decode(word), meaning, "{word:#010x}");
        }
    }

    #[test]
    fn preloads_name_their_address() {
        let constant = |offset| Meaning::Prefetch(Pointer { register: 1, offset: Offset::Constant(offset) });
        // pld [r1]; pld [r1, #124]; pld [r1, #-4]; pld [r1, r2, lsl #2]
        assert_eq!(decode(0xf5d1_f000), constant(0));
        assert_eq!(decode(0xf5d1_f07c), constant(124));
        assert_eq!(decode(0xf551_f004), constant(-4));
        let offset = Offset::Register { register: 2, shift: 2, subtract: false };
        assert_eq!(decode(0xf7d1_f102), Meaning::Prefetch(Pointer { register: 1, offset }));
        // cpsid i
        assert_eq!(decode(0xf10c_0080), Meaning::Other);
    }

    #[test]
    fn writes_of_the_translation_registers_are_told_apart() {
        use ControlRegister::*;
        for (crn, crm, op2, expected) in [
            (1, 0, 0, Some(Sctlr)),
            (1, 0, 1, None),
            (1, 1, 0, None),
            (2, 0, 0, Some(Ttbr0)),
            (2, 0, 1, Some(Ttbr1)),
            (2, 0, 2, Some(Ttbcr)),
            (13, 0, 0, Some(Process)),
            (13, 0, 1, None),
            (8, 7, 0, None),
        ] {
            assert_eq!(control_write(mcr(crn, crm, op2)), expected.map(|register| (register, 3)), "c{crn}, c{crm}, {op2}");
        }
        // mrc p15, 0, r3, c1, c0, 0
        assert_eq!(control_write(0xee11_3f10), None);
    }

    #[test]
    fn conditions_agree_with_their_definition_for_all_flags() {
        for flags in 0u32..16 {
            let status = flags << 28;
            let (n, z, c, v) = (flags & 8 != 0, flags & 4 != 0, flags & 2 != 0, flags & 1 != 0);
            let expected = [z, !z, c, !c, n, !n, v, !v, c && !z, !c || z, n == v, n != v, !z && n == v, z || n != v, true, false];
            for (code, expected) in expected.into_iter().enumerate() {
                assert_eq!(Condition(code as u8).holds(status), expected, "condition {code}, flags {flags:04b}");
            }
        }
    }

    #[test]
    fn calls_and_returns_are_told_from_the_words_that_an_assembler_makes() {
        for (word, expected, text) in [
            (0xeb00_0010, Flow::Call, "bl"),
            (0x1b00_0010, Flow::Call, "blne"),
            (0xfa00_0010, Flow::Call, "blx label"),
            (0xfb00_0010, Flow::Call, "blx label, odd halfword"),
            (0xe12f_ff33, Flow::Call, "blx r3"),
            (0xe12f_ff1e, Flow::Other, "bx lr"),
            (0xe120_f033, Flow::Other, "msr of nothing"),
            (0xea00_0010, Flow::Other, "b"),
            (0xe1b0_f00e, Flow::ExceptionReturn, "movs pc, lr"),
            (0xe25e_f004, Flow::ExceptionReturn, "subs pc, lr, #4"),
            (0xe1a0_f00e, Flow::Other, "mov pc, lr"),
            (0xe15e_0004, Flow::Other, "cmp lr, r4"),
            (0xe15f_f004, Flow::Other, "cmpp"),
            (0xe8fd_ffff, Flow::ExceptionReturn, "ldm sp!, {r0-pc}^"),
            (0xe8bd_8010, Flow::Other, "pop {r4, pc}"),
            (0xe8dd_7fff, Flow::Other, "ldm sp, {r0-lr}^"),
            (0xf8bd_0a00, Flow::ExceptionReturn, "rfeia sp!"),
            (0xf10c_0080, Flow::Other, "cpsid i"),
            (0xe59f_f018, Flow::Other, "ldr pc, [pc, #24]"),
        ] {
            assert_eq!(flow(word), expected, "{text}");
        }
    }
}
