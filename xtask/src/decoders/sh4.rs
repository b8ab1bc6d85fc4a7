//! SH-4: every word there is.

use congruent_arch::sh4::FACTS;
use congruent_arch::sh4::decode::{calibration_operand, saves_procedure};
use congruent_arch::{CacheInstruction, Endian, Flow, Meaning, Offset, Operand, Pointer};
use congruent_machine::Random;
use congruent_trace::Maintenance::{Invalidate, WriteBack, WriteBackInvalidate};

use super::{Line, Subject};

/// `sh4`.
pub struct Sh4;

/// What is told of a word.
#[derive(PartialEq, Debug)]
pub struct Told {
    meaning: Meaning,
    flow: Flow,
    may_store_control: bool,
    saves_procedure: bool,
    calibration: Option<(u8, i32)>,
}

impl Told {
    const NOTHING: Self =
        Self { meaning: Meaning::Other, flow: Flow::Other, may_store_control: false, saves_procedure: false, calibration: None };
}

fn register(text: &str) -> Option<u8> {
    text.strip_prefix('r')?.parse().ok()
}

/// An address that leaves its register as it is and depends on no other: `@r1`, `@(12,r1)`.
fn plain(text: &str) -> Option<(u8, i32)> {
    let text = text.strip_prefix('@')?;
    match text.strip_prefix('(') {
        None => Some((register(text)?, 0)),
        Some(inside) => {
            let (offset, base) = inside.strip_suffix(')')?.split_once(',')?;
            Some((register(base)?, offset.parse().ok()?))
        }
    }
}

/// Source and target: the comma between them stands outside of parentheses.
fn operands(text: &str) -> Option<(&str, &str)> {
    let after = text.find(')').filter(|_| text.starts_with("@(")).unwrap_or(0);
    let comma = after + text[after..].find(',')?;
    Some((&text[..comma], &text[comma + 1..]))
}

/// A move between a register and memory.
fn transfer(name: &str, text: &str) -> Option<Told> {
    let (from, to) = operands(text)?;
    // The short moves with a displacement have R0 for their other side, and are not used.
    let is_used = |at: &str| name == "mov.l" || !at.starts_with("@(");
    let stores = to.starts_with('@');
    let calibration = if stores {
        plain(to).filter(|_| is_used(to))
    } else {
        plain(from).filter(|(base, _)| is_used(from) && register(to) != Some(*base))
    };
    Some(Told { may_store_control: stores && name == "mov.l", calibration, ..Told::NOTHING })
}

impl Subject for Sh4 {
    type Told = Told;
    const NAME: &'static str = "SH-4";
    const TOOLS: &'static str = "sh4-linux-gnu";
    const MACHINE: &'static [&'static str] = &["--architecture=sh4"];
    const WORD: (Endian, usize) = (Endian::Little, 2);
    const MEANT: usize = 1 << 13;

    fn words() -> Vec<u32> {
        (0..=0xffff).collect()
    }

    fn random(_random: &mut Random) -> Option<u32> {
        None
    }

    fn decoded(word: u32) -> Told {
        Told {
            meaning: (FACTS.decode)(word),
            flow: (FACTS.flow)(word),
            may_store_control: (FACTS.may_store_control)(word),
            saves_procedure: saves_procedure(word),
            calibration: calibration_operand(word),
        }
    }

    fn meant(line: &Line<'_>) -> Option<Told> {
        let meaning = |meaning| Some(Told { meaning, ..Told::NOTHING });
        let flow = |flow| Some(Told { flow, ..Told::NOTHING });
        let maintains = |op| {
            let (register, offset) = plain(line.operands)?;
            meaning(Meaning::Cache(CacheInstruction { op, operand: Operand::Address { register, offset } }))
        };
        match line.name {
            "ocbi" => maintains(Invalidate),
            "ocbp" => maintains(WriteBackInvalidate),
            "ocbwb" => maintains(WriteBack),
            "pref" => {
                let (register, offset) = plain(line.operands)?;
                meaning(Meaning::Prefetch(Pointer { register, offset: Offset::Constant(offset) }))
            }
            "ldtlb" => meaning(Meaning::Translation),
            "bsr" | "bsrf" | "jsr" => flow(Flow::Call),
            "rte" => flow(Flow::ExceptionReturn),
            "sts.l" if line.operands.starts_with("pr,") => Some(Told { saves_procedure: true, ..Told::NOTHING }),
            "mov.b" | "mov.w" | "mov.l" => transfer(line.name, line.operands),
            _ => Some(Told::NOTHING),
        }
    }

    fn is_something(told: &Told) -> bool {
        *told != Told::NOTHING
    }
}
