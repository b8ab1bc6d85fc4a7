//! The instruction decoders, held against the disassemblers of binutils: two answers from people who have never met.
//!
//! Every encoding of the maintenance instructions (each field of their operands in all its values) and random words are disassembled. What the
//! text says is translated into what the decoder should have said, by the manual's names of operations. Guarantees: a word that the
//! disassembler knows is compared, whatever it is; words are compared for each architecture, and a floor is held to how many meant
//! something. Not here: words that the disassembler does not know, or calls unpredictable: no manual says what they do.

mod arm;
mod hppa;
mod mips;
mod sh4;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use congruent_arch::Endian;
use congruent_machine::Random;

use crate::place;

/// Random words for each architecture.
const RANDOM_WORDS: usize = 1 << 19;

/// A decoder, a disassembler, and how the one's answers follow from the other's.
trait Subject {
    /// What is compared.
    type Told: PartialEq + Debug;
    /// What it is called.
    const NAME: &'static str;
    /// The first word of the tools' names.
    const TOOLS: &'static str;
    /// Which instruction set they are to read.
    const MACHINE: &'static [&'static str];
    /// The order and number of a word's bytes.
    const WORD: (Endian, usize);
    /// At least so many of the words mean something.
    const MEANT: usize;

    /// The words to try that are not random.
    fn words() -> Vec<u32>;

    /// A random word; half of them are to be of the groups that maintenance is in. `None` if every word has been tried.
    fn random(random: &mut Random) -> Option<u32>;

    /// What the decoder says of a word.
    fn decoded(word: u32) -> Self::Told;

    /// What a line of assembly means; `None` if it is no instruction that is compared.
    fn meant(line: &Line<'_>) -> Option<Self::Told>;

    /// Whether that is more than nothing.
    fn is_something(told: &Self::Told) -> bool;
}

/// One line of assembly.
struct Line<'a> {
    /// The word.
    word: u32,
    /// The name of the instruction.
    name: &'a str,
    /// What stands behind it, without remarks.
    operands: &'a str,
}

impl<'a> Line<'a> {
    /// Of the text of a disassembler; `None` if there is no instruction, or it is said to be unpredictable.
    fn of(word: u32, text: &'a str) -> Option<Self> {
        if ["UNPREDICTABLE", "UNDEFINED", "illegal"].iter().any(|remark| text.contains(remark)) {
            return None;
        }
        let text = text.split(['@', ';']).next().filter(|_| !is_address_remark(text)).unwrap_or(text).trim();
        let (name, operands) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let is_instruction = name.starts_with(|c: char| c.is_ascii_lowercase());
        is_instruction.then(|| Self { word, name, operands: operands.trim() })
    }
}

/// SH's assembly has `@` in operands, without a tab before it.
fn is_address_remark(text: &str) -> bool {
    text.contains('@') && !text.contains("\t@ ")
}

/// Compares every decoder. Tools are taken from `tools`, or else from where the guests' compilers are.
///
/// # Errors
/// If a tool is missing; if a decoder and a disassembler contradict each other, with the first words of which they do.
pub fn perform(tools: Option<&Path>, seed: u64) -> Result<()> {
    let compared = [
        compare::<mips::Release5>(tools, seed)?,
        compare::<mips::Release6>(tools, seed)?,
        compare::<arm::Arm>(tools, seed)?,
        compare::<sh4::Sh4>(tools, seed)?,
        compare::<hppa::Hppa>(tools, seed)?,
    ];
    let wrong: Vec<String> = compared.into_iter().flatten().collect();
    ensure!(wrong.is_empty(), "seed {seed}: {}", wrong.join("\n"));
    Ok(())
}

/// Names of instructions of which a contradiction is shown.
const SHOWN: usize = 8;

/// Says what was compared, and returns what is wrong, if anything is.
fn compare<S: Subject>(tools: Option<&Path>, seed: u64) -> Result<Option<String>> {
    let mut words = S::words();
    let enumerated = words.len();
    let mut random = Random::new(seed);
    words.extend(std::iter::from_fn(|| S::random(&mut random)).take(RANDOM_WORDS));
    let random_words = words.len() - enumerated;
    let (mut compared, mut something, mut wrong) = (0, 0, 0);
    let (mut shown, mut shown_names) = (String::new(), BTreeSet::new());
    disassemble::<S>(tools, &words, |word, text| {
        let Some(line) = Line::of(word, text) else { return };
        let Some(meant) = S::meant(&line) else { return };
        let decoded = S::decoded(word);
        compared += 1;
        something += usize::from(S::is_something(&meant));
        if decoded != meant {
            wrong += 1;
            if shown_names.len() < SHOWN && shown_names.insert(line.name.to_owned()) {
                shown += &format!("\n  {word:#010x} {text:?}: decoded {decoded:?}, meant {meant:?}");
            }
        }
    })?;
    println!(
        "{}: {compared} words compared of {enumerated} enumerated and {random_words} random ones (seed {seed}), {something} mean something",
        S::NAME
    );
    ensure!(something >= S::MEANT, "{}: only {something} words meant something, {} should have", S::NAME, S::MEANT);
    Ok((wrong > 0).then(|| format!("{}: {wrong} words are decoded otherwise than they are disassembled:{shown}", S::NAME)))
}

/// Tells `each` what the disassembler makes of each word, in their order.
fn disassemble<S: Subject>(tools: Option<&Path>, words: &[u32], mut each: impl FnMut(u32, &str)) -> Result<()> {
    let program = tool(tools, S::TOOLS, &format!("{}-objdump", S::TOOLS))?;
    let directory = place::root().join("target/decoders");
    let file = directory.join(S::NAME.replace(' ', "-"));
    let bytes: Vec<u8> = words.iter().flat_map(|&word| bytes(word, S::WORD)).collect();
    fs::create_dir_all(&directory)
        .and_then(|()| fs::write(&file, bytes))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let endian = match S::WORD.0 {
        Endian::Little => "-EL",
        Endian::Big => "-EB",
    };
    let mut child = Command::new(&program)
        .args(["--disassemble-all", "--disassemble-zeroes", "--target=binary", endian])
        .args(S::MACHINE)
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", program.display()))?;
    let output = BufReader::new(child.stdout.take().context("objdump has no output")?);
    let mut words = words.iter();
    for line in output.lines() {
        let line = line.context("objdump's output")?;
        // Address, bytes, text; the head of the output has no tabs.
        let Some((text, word)) = line.splitn(3, '\t').nth(2).zip(words.as_slice().first()) else { continue };
        each(*word, text);
        words.next();
    }
    let status = child.wait().context("cannot collect objdump")?;
    ensure!(status.success(), "`{}` failed ({status})", program.display());
    ensure!(words.as_slice().is_empty(), "{} left out {} words", program.display(), words.len());
    Ok(())
}

fn bytes(word: u32, (endian, length): (Endian, usize)) -> impl Iterator<Item = u8> {
    let bytes = match endian {
        Endian::Little => word.to_le_bytes(),
        Endian::Big => (word << (32 - 8 * length)).to_be_bytes(),
    };
    bytes.into_iter().take(length)
}

/// A tool of a target, in the directory that was given, or with the compiler that the guests are built by.
fn tool(given: Option<&Path>, target: &str, name: &str) -> Result<PathBuf> {
    let directory = given.map_or_else(|| place::guests().join(format!("cross-{target}/bin")), Path::to_owned);
    let file = directory.join(name);
    ensure!(
        file.is_file(),
        "{} is missing: run `cargo xtask guests`, or say with --tools which directory has it",
        file.display()
    );
    Ok(file)
}

/// Half of the numbers are `bits` alone; of the other half, `group` has a say.
fn half_of(random: &mut Random, group: impl FnOnce(u32, &mut Random) -> u32) -> Option<u32> {
    let word = random.bits() as u32;
    Some(if random.chance(1, 2) { group(word, random) } else { word })
}

/// A number as C writes it: decimal, or hexadecimal behind `0x`.
fn number(text: &str) -> Option<i32> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(digits) => i32::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_missing_is_named_with_the_remedy() {
        let error = perform(Some(Path::new("/nonexistent")), 1).unwrap_err();
        let says = "/nonexistent/mipsel-linux-gnu-objdump is missing: run `cargo xtask guests`, or say with --tools which directory has it";
        assert_eq!(error.to_string(), says);
    }

    #[test]
    fn remarks_are_no_operands_and_what_is_unpredictable_is_no_instruction() {
        let line = |text| Line::of(0, text).map(|line: Line<'_>| (line.name, line.operands));
        assert_eq!(line("pld\t[r1, #124]\t@ 0x7c"), Some(("pld", "[r1, #124]")));
        assert_eq!(line("mov.l\tr1,@(4,r2)"), Some(("mov.l", "r1,@(4,r2)")));
        assert_eq!(line("tlbwi"), Some(("tlbwi", "")));
        for none in
            [".word\t0x60d11997", "#     320", "\t\t@ <UNDEFINED> instruction: 0x5127639e", "cmp\tr14, r4\t@ <UNPREDICTABLE>"]
        {
            assert_eq!(line(none), None, "{none:?}");
        }
        assert_eq!((number("-0x10"), number("12"), number("r1")), (Some(-16), Some(12), None));
    }
}
