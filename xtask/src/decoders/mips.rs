//! MIPS: release 5 whole, and of release 6 the two instructions that it moved.

use congruent_arch::mips::decode::{ControlRegister, calibration_operand, config_of_other, control_write};
use congruent_arch::mips::tables::WalkerRegister;
use congruent_arch::mips::tlb::EntryRegister;
use congruent_arch::mips::{BIG, LITTLE};
use congruent_arch::{CacheInstruction, Endian, Flow, Meaning, Offset, Operand, PartialWord, Pointer};
use congruent_machine::Random;
use congruent_trace::Maintenance::{Invalidate, WriteBack, WriteBackInvalidate};

use super::{Line, Subject, half_of, number};

/// `mips:isa32r5`, which has EVA and MT too.
pub struct Release5;

/// `mips:isa32r6`: `cache` and `pref` only, because nothing else of it is decoded.
pub struct Release6;

/// What is told of a word of release 5.
#[derive(PartialEq, Debug)]
pub struct Told {
    /// On guests of both byte orders.
    meaning: [Meaning; 2],
    flow: Flow,
    calibration: Option<(u8, i32)>,
    control: Option<(ControlRegister, u8)>,
    config_of_other: Option<u8>,
}

impl Told {
    fn nothing() -> Self {
        Self { meaning: [Meaning::Other; 2], flow: Flow::Other, calibration: None, control: None, config_of_other: None }
    }

    fn meaning(meaning: Meaning) -> Self {
        Self { meaning: [meaning; 2], ..Self::nothing() }
    }
}

const NAMES: &str = "no-aliases,gpr-names=numeric,cp0-names=numeric";
/// Offsets at the ends of their range, and around zero.
const OFFSETS: [u32; 8] = [0, 1, 4, 0x20, 0x7fff, 0x8000, 0xffe0, 0xffff];

/// Every operation on every base with some offsets, and every offset with one operation on one base.
fn with_offsets(opcode: u32) -> impl Iterator<Item = u32> {
    let all = (0..1 << 10).flat_map(move |fields| OFFSETS.map(|offset| opcode << 26 | fields << 16 | offset));
    all.chain((0..1 << 16).map(move |offset| opcode << 26 | 4 << 21 | 0x15 << 16 | offset))
}

/// Every word of SPECIAL3 with this function: operation, base and nine bits of offset.
fn special3(function: u32) -> impl Iterator<Item = u32> {
    (0..1u32 << 19).map(move |fields| 0x1f << 26 | fields << 7 | function)
}

fn is_of_group(word: u32, random: &mut Random) -> u32 {
    // REGIMM, COP0, SPECIAL, SPECIAL3, CACHE, PREF, LWL, LWR.
    const GROUPS: [u32; 8] = [0x01, 0x10, 0x00, 0x1f, 0x2f, 0x33, 0x22, 0x26];
    word & 0x03ff_ffff | GROUPS[random.index(GROUPS.len())] << 26
}

/// Base register and offset, as in `-32($4)`.
fn address(text: &str) -> Option<(u8, i32)> {
    let (offset, rest) = text.split_once('(')?;
    Some((register(rest.strip_suffix(')')?)?, number(offset)?))
}

fn register(text: &str) -> Option<u8> {
    text.strip_prefix('$')?.parse().ok()
}

/// Operations of CACHE on the level-1 caches by their number (MD00086, table "Encoding of Bits[20:18]").
fn cache(operands: &str) -> Option<Meaning> {
    let (operation, at) = operands.split_once(',')?;
    let (register, offset) = address(at)?;
    let (index, hit) = (Operand::Index { register, offset }, Operand::Address { register, offset });
    let data = |op, operand| Meaning::Cache(CacheInstruction { op, operand });
    Some(match number(operation)? {
        // Index Invalidate, Index Store Tag, Hit Invalidate, of the instruction cache.
        0x00 | 0x08 => Meaning::CodeCache(index),
        0x10 => Meaning::CodeCache(hit),
        // Index Writeback Invalidate, Index Store Tag, Hit Invalidate, Hit Writeback Invalidate, Hit Writeback, of the data cache.
        0x01 => data(WriteBackInvalidate, index),
        0x09 => data(Invalidate, index),
        0x11 => data(Invalidate, hit),
        0x15 => data(WriteBackInvalidate, hit),
        0x19 => data(WriteBack, hit),
        _ => Meaning::Other,
    })
}

/// Hints of PREF (MD00086, "PREF"): 25 nudges a line out, 30 prepares it for a store.
fn prefetch(operands: &str) -> Option<Meaning> {
    let (hint, at) = operands.split_once(',')?;
    let (register, offset) = address(at)?;
    Some(match number(hint)? {
        25 | 30 => Meaning::Other,
        _ => Meaning::Prefetch(Pointer { register, offset: Offset::Constant(offset) }),
    })
}

/// A move to a register of coprocessor 0, as in `$4,$5,6`.
fn move_to_coprocessor(operands: &str) -> Option<Told> {
    let mut parts = operands.split(',');
    let (from, to) = (register(parts.next()?)?, register(parts.next()?)?);
    let select = parts.next().map_or(Some(0), number)?;
    let control = match (to, select) {
        (10, 0) => Some(ControlRegister::EntryHi),
        (16, 0) => Some(ControlRegister::Config),
        (2, 0) => Some(ControlRegister::Entry(EntryRegister::Even)),
        (3, 0) => Some(ControlRegister::Entry(EntryRegister::Odd)),
        (5, 0) => Some(ControlRegister::Entry(EntryRegister::PageMask)),
        (5, 5) => Some(ControlRegister::Walker(WalkerRegister::Base)),
        (5, 6) => Some(ControlRegister::Walker(WalkerRegister::Field)),
        (5, 7) => Some(ControlRegister::Walker(WalkerRegister::Size)),
        (6, 6) => Some(ControlRegister::Walker(WalkerRegister::Control)),
        _ => None,
    };
    let told = if control.is_some() { Told::meaning(Meaning::Translation) } else { of_coprocessor(to) };
    Some(Told { control: control.map(|control| (control, from)), ..told })
}

/// Whatever part of EntryHi and Config is written, it may change translations or attributes.
fn of_coprocessor(register: u8) -> Told {
    if matches!(register, 10 | 16) { Told::meaning(Meaning::Translation) } else { Told::nothing() }
}

impl Subject for Release5 {
    type Told = Told;
    const NAME: &'static str = "MIPS32 release 5";
    const TOOLS: &'static str = "mipsel-linux-gnu";
    const MACHINE: &'static [&'static str] = &["--architecture=mips:isa32r5", "--disassembler-options", NAMES];
    const WORD: (Endian, usize) = (Endian::Little, 4);
    const MEANT: usize = 1 << 20;

    fn words() -> Vec<u32> {
        // Every register of COP0 and every selection and function, with some general registers.
        let cop0 = (0..1u32 << 16).map(|fields| {
            let (rs, rd, low) = (fields >> 11, fields >> 6 & 31, fields & 0x3f);
            0x10 << 26 | rs << 21 | (rd ^ low & 31) << 16 | rd << 11 | low
        });
        // JALR, JALR.HB and their neighbours.
        let jumps = (0..1 << 16).map(|fields: u32| fields << 10 & 0x03ff_ffff | 9);
        with_offsets(0x2f)
            .chain(with_offsets(0x33))
            .chain(with_offsets(0x01))
            .chain(with_offsets(0x22))
            .chain(with_offsets(0x26))
            // CACHEE and PREFE; LWLE and LWRE.
            .chain(special3(0x1b))
            .chain(special3(0x23))
            .chain(special3(0x19).step_by(7))
            .chain(special3(0x1a).step_by(7))
            .chain(cop0)
            .chain(jumps)
            .collect()
    }

    fn random(random: &mut Random) -> Option<u32> {
        half_of(random, is_of_group)
    }

    fn decoded(word: u32) -> Told {
        Told {
            meaning: [(LITTLE.decode)(word), (BIG.decode)(word)],
            flow: (LITTLE.flow)(word),
            calibration: calibration_operand(word),
            control: control_write(word),
            config_of_other: config_of_other(word),
        }
    }

    fn meant(line: &Line<'_>) -> Option<Told> {
        let operands = line.operands;
        let loads = || {
            let (target, at) = operands.split_once(',')?;
            Some((register(target)?, address(at)?))
        };
        Some(match line.name {
            "cache" | "cachee" => Told::meaning(cache(operands)?),
            "pref" | "prefe" => Told::meaning(prefetch(operands)?),
            "synci" => {
                let (register, offset) = address(operands)?;
                let operand = Operand::Address { register, offset };
                Told::meaning(Meaning::BothCaches(CacheInstruction { op: WriteBack, operand }))
            }
            "tlbwi" | "tlbwr" | "tlbinv" | "tlbinvf" => Told::meaning(Meaning::Translation),
            "mtc0" => move_to_coprocessor(operands)?,
            // The upper halves of others hold bits of physical addresses that are not modelled.
            "mthc0" => of_coprocessor(register(operands.split(',').nth(1)?)?),
            // Context and BadVAddr.
            "mfc0" if operands.ends_with(",$4") || operands.ends_with(",$8") => Told::meaning(Meaning::Translation),
            "mttc0" if operands.ends_with(",$16") => {
                Told { config_of_other: Some(register(operands.split(',').next()?)?), ..Told::meaning(Meaning::Translation) }
            }
            // The same without its alias, as some releases of binutils write it: register, register of the other thread, and that it is one of
            // coprocessor 0, its selection 0, and no upper half.
            "mttr" if operands.ends_with(",$16,0,0,0") => {
                Told { config_of_other: Some(register(operands.split(',').next()?)?), ..Told::meaning(Meaning::Translation) }
            }
            // The bytes of the aligned word up to the address, in the one byte order for one of them, in the other for the other.
            "lwl" | "lwr" | "lwle" | "lwre" => {
                let (_, (register, offset)) = loads()?;
                let left = line.name.starts_with("lwl");
                let partial = |up_to_address| Meaning::PartialWord(PartialWord { register, offset, up_to_address });
                Told { meaning: [partial(left), partial(!left)], ..Told::nothing() }
            }
            "lb" | "lbu" | "lh" | "lhu" | "lw" => {
                let (target, (base, offset)) = loads()?;
                Told { calibration: (target != base).then_some((base, offset)), ..Told::nothing() }
            }
            "sb" | "sh" | "sw" => Told { calibration: Some(loads()?.1), ..Told::nothing() },
            "jal" | "jalx" | "bal" | "bltzal" | "bgezal" | "bltzall" | "bgezall" => Told { flow: Flow::Call, ..Told::nothing() },
            "jalr" | "jalr.hb" if !operands.starts_with("$0,") => Told { flow: Flow::Call, ..Told::nothing() },
            "eret" | "eretnc" | "deret" => Told { flow: Flow::ExceptionReturn, ..Told::nothing() },
            _ => Told::nothing(),
        })
    }

    fn is_something(told: &Told) -> bool {
        *told != Told::nothing()
    }
}

impl Subject for Release6 {
    type Told = Meaning;
    const NAME: &'static str = "MIPS32 release 6";
    const TOOLS: &'static str = "mipsel-linux-gnu";
    const MACHINE: &'static [&'static str] = &["--architecture=mips:isa32r6", "--disassembler-options", NAMES];
    const WORD: (Endian, usize) = (Endian::Little, 4);
    const MEANT: usize = 1 << 19;

    fn words() -> Vec<u32> {
        special3(0x25).chain(special3(0x35)).collect()
    }

    fn random(random: &mut Random) -> Option<u32> {
        Some(random.bits() as u32 & 0x03ff_ffff | 0x1f << 26)
    }

    fn decoded(word: u32) -> Meaning {
        (LITTLE.decode)(word)
    }

    fn meant(line: &Line<'_>) -> Option<Meaning> {
        match line.name {
            "cache" => cache(line.operands),
            "pref" => prefetch(line.operands),
            _ => None,
        }
    }

    fn is_something(told: &Meaning) -> bool {
        *told != Meaning::Other
    }
}
