//! ARMv6: every access to coprocessor 15, every preload, and what returns from exceptions.

use congruent_arch::arm::FACTS;
use congruent_arch::arm::decode::control_write;
use congruent_arch::arm::tables::ControlRegister;
use congruent_arch::{CacheInstruction, Endian, Flow, Meaning, Offset, Operand, Pointer};
use congruent_machine::Random;
use congruent_trace::Maintenance::{Invalidate, WriteBack, WriteBackInvalidate};

use super::{Line, Subject, half_of, number};

/// `armv6`.
pub struct Arm;

/// What is told of a word.
#[derive(PartialEq, Debug)]
pub struct Told {
    meaning: Meaning,
    flow: Flow,
    /// Of words that change translations.
    control: Option<(ControlRegister, u8)>,
}

impl Told {
    const NOTHING: Self = Self { meaning: Meaning::Other, flow: Flow::Other, control: None };

    fn meaning(meaning: Meaning) -> Self {
        Self { meaning, ..Self::NOTHING }
    }
}

/// The conditions that are written behind names.
const CONDITIONS: [&str; 15] = ["eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", ""];

/// Whether `name` is this one, under any condition.
fn is(name: &str, of: &str) -> bool {
    name.strip_prefix(of).is_some_and(|rest| CONDITIONS.contains(&rest))
}

fn register(text: &str) -> Option<u8> {
    match text.trim() {
        // How MRC names the flags, whose number is that of the program counter.
        "APSR_nzcv" => Some(15),
        "pc" => Some(15),
        name => name.strip_prefix('r')?.parse().ok().filter(|number| *number < 16),
    }
}

/// The number of a coprocessor register or of an operation, as in `cr7` and `{1}`.
fn field(text: &str) -> Option<u32> {
    text.trim().trim_start_matches("cr").trim_matches(['{', '}']).parse().ok()
}

/// A move to or from coprocessor 15 (DDI 0100I, B6.6; DDI 0198, 2.3.10 for the third operation on c10 and c14).
fn transfer(operands: &str, reads: bool) -> Option<Told> {
    let fields: Vec<&str> = operands.split(", ").collect();
    let [coprocessor, first, rt, crn, crm, second] = fields[..] else { return None };
    let (rt, crn, crm, second) = (register(rt)?, field(crn)?, field(crm)?, field(second)?);
    if (field(coprocessor)?, field(first)?) != (15, 0) {
        return Some(Told::NOTHING);
    }
    let control = match (crn, crm, second) {
        (1, 0, 0) => Some(ControlRegister::Sctlr),
        (2, 0, 0) => Some(ControlRegister::Ttbr0),
        (2, 0, 1) => Some(ControlRegister::Ttbr1),
        (2, 0, 2) => Some(ControlRegister::Ttbcr),
        (10, 2, 0) => Some(ControlRegister::Prrr),
        (10, 2, 1) => Some(ControlRegister::Nmrr),
        (13, 0, 0) => Some(ControlRegister::Process),
        _ => None,
    };
    if matches!(crn, 1 | 2 | 3 | 8 | 10 | 13) && !reads {
        return Some(Told { control: control.map(|control| (control, rt)), ..Told::meaning(Meaning::Translation) });
    }
    if crn != 7 {
        return Some(Told::NOTHING);
    }
    let operand = match (second, reads) {
        (0, false) => Operand::Whole,
        (1, false) => Operand::Address { register: rt, offset: 0 },
        (2, false) => Operand::Index { register: rt, offset: 0 },
        // Test and clean, test and clean and invalidate.
        (3, true) if matches!(crm, 10 | 14) => Operand::Whole,
        _ => return Some(Told::NOTHING),
    };
    let data = |op| Meaning::Cache(CacheInstruction { op, operand });
    Some(Told::meaning(match crm {
        5 => Meaning::CodeCache(operand),
        6 => data(Invalidate),
        7 => Meaning::BothCaches(CacheInstruction { op: Invalidate, operand }),
        10 | 11 => data(WriteBack),
        14 | 15 => data(WriteBackInvalidate),
        _ => Meaning::Other,
    }))
}

/// A block operation on coprocessor 15, as in `15, 0, r1, r0, cr14`: from the second register to the first.
fn block(operands: &str) -> Option<Told> {
    let fields: Vec<&str> = operands.split(", ").collect();
    let [coprocessor, operation, last, first, crm] = fields[..] else { return None };
    if (field(coprocessor)?, field(operation)?) != (15, 0) {
        return Some(Told::NOTHING);
    }
    let operand = Operand::Range { first: register(first)?, last: register(last)? };
    let data = |op| Meaning::Cache(CacheInstruction { op, operand });
    Some(Told::meaning(match field(crm)? {
        5 => Meaning::CodeCache(operand),
        6 => data(Invalidate),
        12 => data(WriteBack),
        14 => data(WriteBackInvalidate),
        _ => Meaning::Other,
    }))
}

/// A preload, as in `[r1, -r2, lsl #2]`. What is shifted otherwise than to the left is not followed.
fn preload(operands: &str) -> Option<Meaning> {
    let mut parts = operands.trim_matches(['[', ']']).split(", ");
    let base = register(parts.next()?)?;
    let offset = match parts.next() {
        None => Offset::Constant(0),
        Some(constant) if constant.starts_with('#') => Offset::Constant(number(&constant[1..])?),
        Some(added) => {
            let (subtract, name) = added.strip_prefix('-').map_or((false, added), |name| (true, name));
            let shift = match parts.next().map(|shift| shift.strip_prefix("lsl #")) {
                None => 0,
                Some(Some(amount)) => amount.parse().ok()?,
                Some(None) => return Some(Meaning::Other),
            };
            Offset::Register { register: register(name)?, shift, subtract }
        }
    };
    Some(Meaning::Prefetch(Pointer { register: base, offset }))
}

/// Whether an instruction computes the program counter and restores the status by that (DDI 0100I, A2.6): its name ends in `s`, before the
/// condition.
fn restores_status(name: &str, operands: &str) -> bool {
    const COMPUTING: [&str; 17] = [
        "ands", "eors", "subs", "rsbs", "adds", "adcs", "sbcs", "rscs", "orrs", "movs", "bics", "mvns", "lsls", "lsrs", "asrs",
        "rors", "rrxs",
    ];
    operands.starts_with("r15,") && COMPUTING.iter().any(|of| is(name, of))
}

/// Whether it loads the program counter and the status.
fn loads_status(name: &str, operands: &str) -> bool {
    let loads = ["ldm", "ldmia", "ldmib", "ldmda", "ldmdb", "ldmfd", "pop"].iter().any(|of| is(name, of));
    loads && operands.ends_with("r15}^")
}

impl Subject for Arm {
    type Told = Told;
    const NAME: &'static str = "ARMv6";
    const TOOLS: &'static str = "arm-linux-gnueabi";
    const MACHINE: &'static [&'static str] = &["--architecture=armv6", "--disassembler-options", "reg-names-raw"];
    const WORD: (Endian, usize) = (Endian::Little, 4);
    const MEANT: usize = 1 << 17;

    fn words() -> Vec<u32> {
        const ALWAYS: u32 = 0xe << 28;
        let transfers = (0..1u32 << 16).flat_map(|fields| {
            let (first, crn, rt, crm, reads) = (fields >> 13, fields >> 9 & 15, fields >> 5 & 15, fields >> 1 & 15, fields & 1);
            (0..8).map(move |second| ALWAYS | 0x0e00_0f10 | first << 21 | reads << 20 | crn << 16 | rt << 12 | second << 5 | crm)
        });
        let conditional = (0..1u32 << 16).map(|fields| {
            let (condition, crm, second, reads) = (fields >> 12, fields >> 8 & 15, fields >> 4 & 7, fields & 1);
            condition << 28 | 0x0e07_3f10 | reads << 20 | second << 5 | crm
        });
        let blocks = (0..1u32 << 16).flat_map(|fields| {
            let word = 0x0c40_0f00 | (fields & 0xf) << 4 | fields >> 12 << 16 | (fields >> 8 & 15) << 12 | fields >> 4 & 15;
            [ALWAYS | word, word]
        });
        let constant =
            (0..1u32 << 17).map(|fields| 0xf550_f000 | fields >> 16 << 23 | (fields >> 12 & 15) << 16 | fields & 0xfff);
        let shifted = (0..1u32 << 16).map(|fields| {
            let (up, base, low) = (fields >> 15, fields >> 11 & 15, fields & 0x7ff);
            0xf750_f000 | up << 23 | base << 16 | low >> 4 << 5 | low & 15
        });
        let returns =
            (0..1u32 << 17).map(|fields| ALWAYS | (fields >> 12) << 20 | 0xf000 | (fields >> 8 & 15) << 16 | fields & 0xff);
        let multiple = (0..1u32 << 15).map(|fields| ALWAYS | 0x0800_0000 | fields >> 6 << 16 | 0x8000 | fields & 0x3f);
        transfers.chain(conditional).chain(blocks).chain(constant).chain(shifted).chain(returns).chain(multiple).collect()
    }

    fn random(random: &mut Random) -> Option<u32> {
        half_of(random, |word, random| match random.below(4) {
            0 => word & 0xf0ff_ffff | 0x0e00_0f10,
            1 => word & 0x0fff_ffff | 0xf000_0000,
            2 => word | 0xf000,
            _ => word & 0xf0ff_f0ff | 0x0c00_0f00,
        })
    }

    fn decoded(word: u32) -> Told {
        let meaning = (FACTS.decode)(word);
        let control = if meaning == Meaning::Translation { control_write(word) } else { None };
        Told { meaning, flow: (FACTS.flow)(word), control }
    }

    fn meant(line: &Line<'_>) -> Option<Told> {
        let (name, operands) = (line.name, line.operands);
        let flow = |flow| Some(Told { flow, ..Told::NOTHING });
        match name {
            "pld" => preload(operands).map(Told::meaning),
            _ if is(name, "mcr") => transfer(operands, false),
            _ if is(name, "mrc") => transfer(operands, true),
            _ if is(name, "mcrr") => block(operands),
            _ if is(name, "bl") || is(name, "blx") => flow(Flow::Call),
            _ if name.starts_with("rfe") || restores_status(name, operands) || loads_status(name, operands) => {
                flow(Flow::ExceptionReturn)
            }
            _ => Some(Told::NOTHING),
        }
    }

    fn is_something(told: &Told) -> bool {
        *told != Told::NOTHING
    }
}
