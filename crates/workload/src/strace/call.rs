//! The log as calls in the order in which they returned, interrupted ones put together again.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::line::{self, Line};
use super::{StraceError, StraceErrorReason};

/// One event of a log.
#[derive(Clone, Debug)]
pub(super) struct Event {
    /// The line on which it was complete, counted from 1.
    pub line: usize,
    /// The thread as the log names it; 0 while it names none.
    pub pid: u32,
    /// What happened.
    pub what: What,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    Call(Call),
    /// The thread is gone.
    Gone,
}

/// A call that returned, or never did because it ended its caller.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub name: String,
    pub arguments: Vec<String>,
    /// `None` for `?`.
    pub result: Option<i64>,
}

impl Call {
    fn new(name: &str, arguments: &str, result: &str) -> Option<Self> {
        let result = match result.split(' ').next() {
            Some("?") => None,
            _ => Some(line::number(result)?),
        };
        Some(Self { name: name.to_owned(), arguments: line::arguments(arguments).map(ToOwned::to_owned).collect(), result })
    }

    /// Whether it did nothing.
    pub fn failed(&self) -> bool {
        // Addresses near the top of memory are negative numbers as well, errors are small ones.
        self.result.is_some_and(|result| (-4095..0).contains(&result))
    }

    /// The argument's text; empty if there is none.
    pub fn text(&self, at: usize) -> &str {
        self.arguments.get(at).map_or("", String::as_str)
    }

    pub fn number(&self, at: usize) -> Result<i64, StraceErrorReason> {
        let argument = self.arguments.get(at).and_then(|argument| line::number(argument));
        argument.ok_or_else(|| StraceErrorReason::Argument { call: self.name.clone(), number: at + 1 })
    }

    /// The result as a length or descriptor; 0 if there is none.
    pub fn returned(&self) -> u64 {
        self.result.map_or(0, |result| result as u64)
    }
}

/// Reads a log.
pub(super) fn calls(text: &str) -> Result<Vec<Event>, StraceError> {
    let mut events = Vec::new();
    let mut begun: BTreeMap<u32, (&str, String)> = BTreeMap::new();
    for (at, text) in text.lines().enumerate() {
        let line = at + 1;
        let wrong = |reason| StraceError { line, reason };
        let not_strace = || wrong(StraceErrorReason::Line(shortened(text)));
        let (pid, rest) = line::pid_of(text);
        let pid = pid.unwrap_or(0);
        let what = match line::parse(rest).ok_or_else(not_strace)? {
            Line::Remark => continue,
            Line::Gone => What::Gone,
            Line::Begun { name, arguments } => {
                begun.insert(pid, (name, arguments.to_owned()));
                continue;
            }
            Line::Resumed { name, rest } => match begun.remove(&pid) {
                Some((begun, mut arguments)) if begun == name => {
                    arguments.push_str(rest);
                    let (arguments, result) = line::whole(&arguments).ok_or_else(not_strace)?;
                    What::Call(Call::new(name, arguments, result).ok_or_else(not_strace)?)
                }
                _ => return Err(wrong(StraceErrorReason::NotBegun(name.to_owned()))),
            },
            Line::Call { name, arguments, result } => What::Call(Call::new(name, arguments, result).ok_or_else(not_strace)?),
        };
        events.push(Event { line, pid, what });
    }
    Ok(events)
}

/// The beginning of a line, for a message.
fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => [&text[..end], "…"].concat(),
        None => text.to_owned(),
    }
}
