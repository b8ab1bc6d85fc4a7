//! What a real program did, as steps: the log of `strace -f` replayed.
//!
//! A log tells of system calls and not of what the program itself loads and stores, so that is assumed, in the plainest way:
//! - what a call takes from memory the program has stored just before, what a call brings it loads just after;
//! - of a new mapping it uses the first 64 bytes: it stores to memory, loads data, runs code;
//! - after a fork, parent and child both store to their stacks; a new program loads its arguments and runs.
//!
//! Buffers are where the log says (`strace -e raw=read,write,pread64,pwrite64` makes it print their addresses); those whose place it
//! does not say are in a mapping of 64 KiB for the purpose. `vfork` and `posix_spawn` are taken as `fork`. Addresses matter only as
//! far as they say what lies in which mapping: the kernel of the VM places mappings as it likes. Contents of files are made up,
//! their lengths are what the log shows.
//!
//! Guarantees: every line is understood or refused with its number; what has no counterpart among the steps is counted by name.
//! The log is of a machine with pages of 4 KiB; for larger pages, mappings are rounded up to them.

mod births;
mod call;
mod files;
mod line;
mod memory;
mod process;
mod space;
mod translator;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use congruent_vm::Step;

/// A log as steps, and how much of it they are.
#[derive(Clone, Debug)]
pub struct Replay {
    /// What is to be done.
    pub steps: Vec<Step>,
    /// Processes and threads in the log.
    pub tasks: usize,
    /// System calls in the log.
    pub calls: u64,
    /// Of these, how many failed, and so did nothing.
    pub failed: u64,
    /// Calls that have no counterpart, by name: they are left out.
    pub not_modelled: BTreeMap<String, u64>,
}

/// Why a log cannot be replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StraceError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: StraceErrorReason,
}

/// What is wrong with a line of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StraceErrorReason {
    /// It is not what strace writes.
    Line(String),
    /// It resumes a call that was not begun.
    NotBegun(String),
    /// This argument of this call is not what that call has.
    Argument {
        /// The call.
        call: String,
        /// Which argument, counted from 1.
        number: usize,
    },
    /// It is of a process whose beginning the log does not show.
    Stranger(u32),
    /// More tasks than can be named.
    TooManyTasks,
    /// More files than can be named.
    TooManyFiles,
}

impl fmt::Display for StraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.reason {
            StraceErrorReason::Line(found) => {
                write!(f, "expected `NAME(ARGUMENTS) = RESULT` as strace writes it, found `{found}`")
            }
            StraceErrorReason::NotBegun(call) => write!(f, "`{call}` is resumed, but was not begun by this process"),
            StraceErrorReason::Argument { call, number } => {
                write!(f, "argument {number} of `{call}` is missing or not understood")
            }
            StraceErrorReason::Stranger(pid) => {
                write!(f, "process {pid} comes from nowhere; log the program from its start, with `strace -f -o FILE PROGRAM`")
            }
            StraceErrorReason::TooManyTasks => f.write_str("more than 65535 processes and threads"),
            StraceErrorReason::TooManyFiles => f.write_str("more than 65535 files"),
        }
    }
}

impl core::error::Error for StraceError {}

/// Makes steps of a log, for pages of `page` bytes, a power of two of at least 4096.
///
/// # Errors
/// [`StraceError`] for the first line that cannot be understood.
pub fn translate(text: &str, page: u32) -> Result<Replay, StraceError> {
    let calls = call::calls(text)?;
    // Files are made before they are used, with the length that they turn out to have.
    let lengths = translator::Translator::new(&calls, page, BTreeMap::new()).run()?.lengths();
    Ok(translator::Translator::new(&calls, page, lengths).run()?.replay())
}

#[cfg(test)]
mod tests;
