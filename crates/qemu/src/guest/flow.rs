//! Calls and returns from exceptions, told from the instruction words of each architecture. Pure.
//!
//! Sources: *MIPS32 Architecture for Programmers Volume II-A* (MD00086), JAL, JALR, BGEZAL, ERET; *ARM Architecture Reference
//! Manual* (DDI 0100I), A4.1.5 "B, BL", A4.1.7 and A4.1.8 "BLX", A2.6 and A4.1.22 for returns from exceptions, A4.1.59 "RFE"; *SH-4
//! Software Manual*, "BSR", "BSRF", "JSR", "RTE".

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

/// A word of MIPS32, up to release 5.
pub fn mips(word: u32) -> Flow {
    const ERET: u32 = 0x4200_0018;
    let (opcode, rt, rd, function) = (word >> 26, word >> 16 & 31, word >> 11 & 31, word & 0x3f);
    match opcode {
        // JALR, unless it keeps no return address; JAL and JALX; BLTZAL, BGEZAL and their likely forms.
        0x00 if function == 9 && rd != 0 => Flow::Call,
        0x03 | 0x1d => Flow::Call,
        0x01 if matches!(rt, 0x10..=0x13) => Flow::Call,
        _ if word == ERET => Flow::ExceptionReturn,
        _ => Flow::Other,
    }
}

/// A word of ARM, not Thumb. A call whose condition does not hold goes on where it would have returned to, which is the same to a
/// call stack.
pub fn arm(word: u32) -> Flow {
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
    let calls = word & 0x0f00_0000 == 0x0b00_0000 || word & 0x0ff0_00f0 == 0x0120_0030;
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

/// A word of SH-4, of 16 bits.
pub fn sh4(word: u32) -> Flow {
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
    use Flow::*;

    #[test]
    fn words_of_sh4_as_an_assembler_makes_them() {
        for (word, flow, text) in [
            (0xb000, Call, "bsr"),
            (0xbfff, Call, "bsr, backwards"),
            (0x0103, Call, "bsrf r1"),
            (0x400b, Call, "jsr @r0"),
            (0x4f0b, Call, "jsr @r15"),
            (0x402b, Other, "jmp @r0"),
            (0x0123, Other, "braf r1"),
            (0xa000, Other, "bra"),
            (0x000b, Other, "rts"),
            (0x002b, ExceptionReturn, "rte"),
            (0x0009, Other, "nop"),
            (0x0183, Other, "pref @r1"),
        ] {
            assert_eq!(sh4(word), flow, "{text}");
        }
    }

    #[test]
    fn words_of_mips_as_an_assembler_makes_them() {
        for (word, flow, text) in [
            (0x0c04_0000, Call, "jal"),
            (0x7404_0000, Call, "jalx"),
            (0x0320_f809, Call, "jalr $t9"),
            (0x0320_f809 | 0x400, Call, "jalr.hb $t9"),
            (0x0320_0009, Other, "jalr $zero, $t9"),
            (0x0411_0001, Call, "bal"),
            (0x0490_0001, Call, "bltzal $a0"),
            (0x0481_0001, Other, "bgez $a0"),
            (0x049f_0000, Other, "synci 0($a0)"),
            (0x03e0_0008, Other, "jr $ra"),
            (0x0804_0000, Other, "j"),
            (0x4200_0018, ExceptionReturn, "eret"),
            (0x4200_0008, Other, "tlbp"),
        ] {
            assert_eq!(mips(word), flow, "{text}");
        }
    }

    #[test]
    fn words_of_arm_as_an_assembler_makes_them() {
        for (word, flow, text) in [
            (0xeb00_0010, Call, "bl"),
            (0x1b00_0010, Call, "blne"),
            (0xfa00_0010, Call, "blx label"),
            (0xfb00_0010, Call, "blx label, odd halfword"),
            (0xe12f_ff33, Call, "blx r3"),
            (0xe12f_ff1e, Other, "bx lr"),
            (0xea00_0010, Other, "b"),
            (0xe1b0_f00e, ExceptionReturn, "movs pc, lr"),
            (0xe25e_f004, ExceptionReturn, "subs pc, lr, #4"),
            (0xe1a0_f00e, Other, "mov pc, lr"),
            (0xe15e_0004, Other, "cmp lr, r4"),
            (0xe15f_f004, Other, "cmpp"),
            (0xe8fd_ffff, ExceptionReturn, "ldm sp!, {r0-pc}^"),
            (0xe8bd_8010, Other, "pop {r4, pc}"),
            (0xe8dd_7fff, Other, "ldm sp, {r0-lr}^"),
            (0xf8bd_0a00, ExceptionReturn, "rfeia sp!"),
            (0xf10c_0080, Other, "cpsid i"),
            (0xe59f_f018, Other, "ldr pc, [pc, #24]"),
        ] {
            assert_eq!(arm(word), flow, "{text}");
        }
    }
}
