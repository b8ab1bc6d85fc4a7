//! PA-RISC, 1.1 and 2.0, which the disassembler does not tell apart. Long displacements are shown as they are with 64-bit addresses, where
//! the bits that name a space belong to them: they are compared where those are zero.

use congruent_arch::hppa::FACTS;
use congruent_arch::hppa::decode::{Change, Space, calibration_operand, change, cr, space};
use congruent_arch::{CacheInstruction, Endian, Meaning, Offset, Operand, Pointer};
use congruent_machine::Random;
use congruent_trace::Maintenance::{Invalidate, WriteBackInvalidate};

use super::{Line, Subject, half_of};

/// `hppa2.0`.
pub struct Hppa;

/// What is told of a word.
#[derive(PartialEq, Debug)]
pub struct Told {
    meaning: Meaning,
    /// Of words that change translations.
    change: Option<Change>,
    /// Of words that mean something or calibrate, and have an address.
    space: Option<Space>,
    calibration: Option<(u8, i32)>,
}

impl Told {
    const NOTHING: Self = Self { meaning: Meaning::Other, change: None, space: None, calibration: None };

    fn has_address(&self) -> bool {
        let names_none = matches!(self.change, Some(Change::Tables { .. } | Change::Whole));
        self.calibration.is_some() || self.meaning != Meaning::Other && !names_none
    }
}

fn register(text: &str) -> Option<u8> {
    match text {
        "flags" => Some(0),
        "rp" => Some(2),
        "dp" => Some(27),
        "ret0" => Some(28),
        "ret1" => Some(29),
        "sp" => Some(30),
        _ => text.strip_prefix('r')?.parse().ok(),
    }
}

/// The part before an address's parenthesis: a register, or a hexadecimal number.
#[derive(Clone, Copy, PartialEq)]
enum Added {
    Register(u8),
    Constant(i32),
    Nothing,
}

/// An address, as in `r5(sr1,r26)` or `-10(r26)`.
#[derive(Clone, Copy)]
struct Address {
    added: Added,
    space: Space,
    base: u8,
}

impl Address {
    fn of(text: &str) -> Option<Self> {
        let (added, rest) = text.split_once('(')?;
        let inside = rest.split_once(')')?.0;
        let (space, base) = inside.split_once(',').map_or((None, inside), |(space, base)| (Some(space), base));
        let base = register(base)?;
        let space = match space {
            Some(name) => Space::Register(name.strip_prefix("sr")?.parse().ok()?),
            None => Space::OfBase { base },
        };
        Some(Self { added: Self::added(added)?, space, base })
    }

    fn added(text: &str) -> Option<Added> {
        if text.is_empty() {
            return Some(Added::Nothing);
        }
        if let Some(number) = register(text) {
            return Some(Added::Register(number));
        }
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
        Some(Added::Constant(sign * i32::from_str_radix(digits, 16).ok()?))
    }

    /// What maintenance acts on, with and without base modification; `entry` if it names an entry of the cache.
    fn operand(self, modifies: bool, entry: bool) -> Operand {
        match self.added {
            Added::Constant(offset) => Operand::Address { register: self.base, offset },
            Added::Register(added) if added != 0 && !modifies => Operand::Sum { register: self.base, added, index: entry },
            _ if entry => Operand::Index { register: self.base, offset: 0 },
            _ => Operand::Address { register: self.base, offset: 0 },
        }
    }
}

fn maintenance(name: &str, modifies: bool, at: Address) -> Option<Meaning> {
    let data = |op, operand| Meaning::Cache(CacheInstruction { op, operand });
    Some(match name {
        "fdc" => data(WriteBackInvalidate, at.operand(modifies, false)),
        "fdce" => data(WriteBackInvalidate, at.operand(modifies, true)),
        "pdc" => data(Invalidate, at.operand(modifies, false)),
        "fic" => Meaning::CodeCache(at.operand(modifies, false)),
        "fice" => Meaning::CodeCache(at.operand(modifies, true)),
        _ => return None,
    })
}

/// Whether a load or store has a long displacement.
fn is_long(word: u32) -> bool {
    word >> 26 != 3
}

/// A load or store of up to a doubleword that leaves its base as it is.
fn access(name: &str, scaled: bool, operands: &str) -> Option<Told> {
    let size = match name.as_bytes()[2] {
        b'b' => 0,
        b'h' => 1,
        b'w' => 2,
        _ => 3,
    };
    let loads = name.starts_with('l');
    let (at, target) = if loads {
        let (at, target) = operands.rsplit_once(',')?;
        (at, register(target)?)
    } else {
        let (_, at) = operands.split_once(',')?;
        (at, 0)
    };
    let at = Address::of(at)?;
    let offset = match at.added {
        Added::Constant(offset) => Offset::Constant(offset),
        Added::Register(register) => Offset::Register { register, shift: if scaled { size } else { 0 }, subtract: false },
        Added::Nothing => return None,
    };
    let mut told = Told::NOTHING;
    if loads && target == 0 {
        told.meaning = Meaning::Prefetch(Pointer { register: at.base, offset });
    } else if let Offset::Constant(offset) = offset
        && (loads && target != at.base || !loads && name != "std")
    {
        told.calibration = Some((at.base, offset));
    }
    Some(Told { space: told.has_address().then_some(at.space), ..told })
}

fn meant(line: &Line<'_>) -> Option<Told> {
    let mut parts = line.name.split(',');
    let name = parts.next()?;
    let (mut modifies, mut scaled) = (false, false);
    for completer in parts {
        modifies |= matches!(completer, "m" | "ma" | "mb" | "sm" | "o");
        scaled |= matches!(completer, "s" | "sm");
    }
    let translation = |change, space| Some(Told { meaning: Meaning::Translation, change, space, calibration: None });
    match name {
        // The disassembler leaves the highest bit of this operation open; the manual does not.
        "fic" if line.word >> 6 & 0xff == 0xcf => None,
        "fdc" | "fdce" | "pdc" | "fic" | "fice" => {
            let at = Address::of(line.operands)?;
            Some(Told { meaning: maintenance(name, modifies, at)?, space: Some(at.space), ..Told::NOTHING })
        }
        "pdtlb" | "pdtlbe" | "pitlb" | "pitlbe" => translation(None, Some(Address::of(line.operands)?.space)),
        "idtlba" | "iitlba" | "idtlbp" | "iitlbp" => {
            let (from, at) = line.operands.split_once(',')?;
            let at = Address::of(at)?;
            let protects = || Some(Change::Protection { address: at.base, attributes: register(from)? });
            translation(if name == "idtlbp" { protects() } else { None }, Some(at.space))
        }
        "idtlbt" => translation(Some(Change::Whole), None),
        // A whole translation of instructions is not a change that is followed, and names no address.
        "iitlbt" => None,
        "mtctl" => {
            let (from, to) = line.operands.split_once(',')?;
            let control = match to {
                "tr0" => cr::KERNEL_TABLES,
                "tr1" => cr::USER_TABLES,
                _ => return Some(Told::NOTHING),
            };
            translation(Some(Change::Tables { control, from: register(from)? }), None)
        }
        "diag" if line.operands == "100" => None,
        "ldb" | "ldh" | "ldw" | "ldd" | "stb" | "sth" | "stw" | "std" if is_long(line.word) && line.word >> 14 & 3 != 0 => None,
        "ldb" | "ldh" | "ldw" | "ldd" | "stb" | "sth" | "stw" | "std" if !modifies => access(name, scaled, line.operands),
        _ => Some(Told::NOTHING),
    }
}

fn decoded(word: u32) -> Told {
    let meaning = (FACTS.decode)(word);
    let change = if meaning == Meaning::Translation { change(word) } else { None };
    let told = Told { meaning, change, space: None, calibration: calibration_operand(word) };
    let space = told.has_address().then(|| space(word));
    Told { space, ..told }
}

/// Every word of the memory management group with some registers, and every register with every operation.
fn memory_management() -> impl Iterator<Item = u32> {
    const GROUP: u32 = 1 << 26;
    let some = [6 << 21 | 5 << 16, 26 << 21, 31 << 21 | 31 << 16, 1 << 16];
    let every_word = some.into_iter().flat_map(|registers| (0..1 << 16).map(move |low| GROUP | registers | low));
    // What the words above show to be something, by the eight bits of the operation and the one for base modification.
    const OPERATIONS: [u32; 22] = [
        0x4a, 0xca, 0x4b, 0x4e, 0x4f, 0x0a, 0x0b, 0x8a, 0x8b, 0x48, 0x49, 0x58, 0x08, 0x09, 0x18, 0x88, 0x40, 0x41, 0x00, 0x01,
        0x60, 0x20,
    ];
    let every_register = (0..1u32 << 12).flat_map(|fields| {
        let (registers, space) = (fields >> 2, fields & 3);
        OPERATIONS.into_iter().flat_map(move |operation| {
            [0, 1].map(|modifies| GROUP | registers << 16 | space << 14 | operation << 6 | modifies << 5)
        })
    });
    every_word.chain(every_register)
}

/// Loads and stores with short displacements and with indices: every completer with some registers.
fn short_accesses() -> impl Iterator<Item = u32> {
    let some = [26 << 21 | 8 << 16, 26 << 21 | 5 << 16, 1 << 21 | 31 << 16, 26 << 21];
    some.into_iter().flat_map(|registers| (0..1 << 16).map(move |low| 3 << 26 | registers | low))
}

fn of_group(word: u32, random: &mut Random) -> u32 {
    word & 0x03ff_ffff | [1, 3, 0x10, 0x12, 0x1a][random.index(5)] << 26
}

impl Subject for Hppa {
    type Told = Told;
    const NAME: &'static str = "PA-RISC";
    const TOOLS: &'static str = "hppa-linux-gnu";
    const MACHINE: &'static [&'static str] = &["--architecture=hppa2.0"];
    const WORD: (Endian, usize) = (Endian::Big, 4);
    const MEANT: usize = 1 << 17;

    fn words() -> Vec<u32> {
        let control = (0..1u32 << 10).map(|registers| registers << 16 | 0x1840);
        // Loads and stores with long displacements, in space 0.
        let long = (0x10..0x1c).flat_map(|opcode| {
            let some = [26 << 21 | 19 << 16, 26 << 21, 5 << 21 | 5 << 16];
            some.into_iter().flat_map(move |registers| (0..1 << 14).map(move |low| opcode << 26 | registers | low))
        });
        memory_management().chain(short_accesses()).chain(long).chain(control).collect()
    }

    fn random(random: &mut Random) -> Option<u32> {
        half_of(random, of_group)
    }

    fn decoded(word: u32) -> Told {
        decoded(word)
    }

    fn meant(line: &Line<'_>) -> Option<Told> {
        meant(line)
    }

    fn is_something(told: &Told) -> bool {
        *told != Told::NOTHING
    }
}
