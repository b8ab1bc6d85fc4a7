//! Workloads as text that people write: a step to a line.
//!
//! Guarantees: every step can be written and is read back as it was; an error names the line, what was expected there and what
//! was found. Not here: files; whether the things that steps name exist, which is the kernel's affair.
//!
//! ```text
//! # task: operation
//! 0: map 0 anonymous 4 pages
//! 0: store 0+0 64 seed 7        # 64 bytes at offset 0 of mapping 0
//! 0: fork 1
//! repeat 3 {
//! 1: store 0+128 64 seed 8      # each round adds its number (0, 1, 2) to every seed
//! 0: load 0+0 256
//! }
//! ```
//! Blank lines and what follows a `#` mean nothing. Numbers are decimal, optionally with `K` or `M` for 2^10 and 2^20. `A+O` is
//! byte `O` of mapping `A`, `F+O` byte `O` of file `F`; `pages 1..3` are pages 1 and 2. The operations are those of [`Op`], in
//! kebab case; `docs/simulate/scripts.md` lists them all.

mod read;
mod show;

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use crate::op::{Op, Step};

pub use read::ParseStepError;

/// The most steps that a script may unfold into: a mistyped `repeat` should not take the host's memory.
pub const MOST_STEPS: usize = 50_000_000;

/// Why a script cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScriptError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: ScriptErrorReason,
}

/// What is wrong with a line of a script.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ScriptErrorReason {
    /// It is not a step.
    Step(ParseStepError),
    /// It begins with `repeat`, but is not `repeat N {`.
    Repeat(String),
    /// A `}` without its `repeat`.
    Unopened,
    /// The `repeat` of this line is never closed.
    Unclosed,
    /// With this line the script unfolds into more than [`MOST_STEPS`].
    TooLong,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.reason {
            ScriptErrorReason::Step(error) => error.fmt(f),
            ScriptErrorReason::Repeat(found) => write!(f, "expected `repeat N {{` with a number of rounds, found `{found}`"),
            ScriptErrorReason::Unopened => f.write_str("this `}` closes no `repeat N {`"),
            ScriptErrorReason::Unclosed => f.write_str("this `repeat` is never closed; end its steps with a line `}`"),
            ScriptErrorReason::TooLong => write!(f, "the script unfolds into more than {MOST_STEPS} steps"),
        }
    }
}

impl core::error::Error for ScriptError {}

/// A `repeat` whose end has not been read yet.
struct Block {
    line: usize,
    rounds: u32,
    start: usize,
}

/// Reads a script; what is repeated is unfolded.
///
/// # Errors
/// [`ScriptError`] for the first line that cannot be understood.
pub fn parse_script(text: &str) -> Result<Vec<Step>, ScriptError> {
    let mut steps: Vec<Step> = Vec::new();
    let mut open: Vec<Block> = Vec::new();
    for (at, text) in text.lines().enumerate() {
        let line = at + 1;
        let wrong = |reason| ScriptError { line, reason };
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        if text == "}" {
            let Block { rounds, start, .. } = open.pop().ok_or_else(|| wrong(ScriptErrorReason::Unopened))?;
            unfold(&mut steps, start, rounds).ok_or_else(|| wrong(ScriptErrorReason::TooLong))?;
        } else if text.starts_with("repeat") {
            let rounds = rounds(text).ok_or_else(|| wrong(ScriptErrorReason::Repeat(text.to_string())))?;
            open.push(Block { line, rounds, start: steps.len() });
        } else {
            steps.push(text.parse().map_err(|error| wrong(ScriptErrorReason::Step(error)))?);
        }
    }
    match open.pop() {
        Some(Block { line, .. }) => Err(ScriptError { line, reason: ScriptErrorReason::Unclosed }),
        None => Ok(steps),
    }
}

fn rounds(text: &str) -> Option<u32> {
    let mut words = text.strip_prefix("repeat")?.strip_suffix('{')?.split_whitespace();
    let rounds = words.next()?.parse().ok()?;
    words.next().is_none().then_some(rounds)
}

/// Puts the steps from `start` on in place `rounds` times; `None` if they get too many.
fn unfold(steps: &mut Vec<Step>, start: usize, rounds: u32) -> Option<()> {
    let body = steps.split_off(start);
    let total = body.len().checked_mul(rounds as usize)?.checked_add(start)?;
    if total > MOST_STEPS {
        return None;
    }
    if body.is_empty() {
        return Some(());
    }
    for round in 0..rounds {
        steps.extend(body.iter().map(|step| Step { task: step.task, op: step.op.reseeded(round) }));
    }
    Some(())
}

/// Writes steps as a script, which [`parse_script`] reads back.
#[must_use]
pub fn write_script<'a>(steps: impl IntoIterator<Item = &'a Step>) -> String {
    let mut text = String::new();
    for step in steps {
        writeln!(text, "{step}").expect("a string takes everything");
    }
    text
}

impl Op {
    /// The same with `add` added to its seed, if it has one.
    #[must_use]
    pub fn reseeded(mut self, add: u32) -> Self {
        match &mut self {
            Self::Store { seed, .. }
            | Self::Exec { seed, .. }
            | Self::Create { seed, .. }
            | Self::VmapWrite { seed, .. }
            | Self::Poke { seed, .. }
            | Self::RingPost { seed, .. } => *seed = seed.wrapping_add(add),
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests;
