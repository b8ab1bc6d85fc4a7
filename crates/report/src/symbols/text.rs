//! kallsyms and System.map: one `ADDRESS TYPE NAME` per line, no sizes.
//!
//! A function ends where the next symbol of any type begins, but after 64 KiB at the latest: what lies behind the last symbol of
//! a section is unknown code, not more of that function.

use super::kallsyms::Symbol;
use super::{Binding, Function, SymbolFileError, is_tool_label, tidy};

const LONGEST_FUNCTION: u64 = 64 << 10;

/// One line of the list.
struct Line<'a> {
    address: u64,
    kind: char,
    name: &'a str,
    module: Option<&'a str>,
}

pub(super) fn read(file: &[u8]) -> Result<Vec<Function>, SymbolFileError> {
    let text = std::str::from_utf8(file).map_err(|_| SymbolFileError::Unknown)?;
    if text.contains('\0') {
        return Err(SymbolFileError::Unknown);
    }
    if text.trim().is_empty() {
        return Err(SymbolFileError::Empty);
    }
    if text.contains("The real System.map is in") {
        return Err(SymbolFileError::Stub);
    }
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if !line.trim().is_empty() {
            lines.push(
                parse(line)
                    .ok_or_else(|| SymbolFileError::Line { line: number + 1, text: line.trim().chars().take(40).collect() })?,
            );
        }
    }
    if lines.iter().all(|line| line.address == 0) {
        return Err(SymbolFileError::Hidden);
    }
    Ok(functions(lines))
}

/// The functions of a list that is no text.
pub(super) fn found<'a>(symbols: &'a [Symbol]) -> Vec<Function> {
    let line = |symbol: &'a Symbol| {
        let Symbol { address, kind, name } = symbol;
        Line { address: *address, kind: *kind, name, module: None }
    };
    functions(symbols.iter().map(line).collect())
}

fn parse(line: &str) -> Option<Line<'_>> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let mut kind = words.next()?.chars();
    let line = Line { address, kind: kind.next()?, name: words.next()?, module: words.next() };
    let module_is_bracketed = line.module.is_none_or(|module| module.starts_with('['));
    (kind.next().is_none() && module_is_bracketed && words.next().is_none()).then_some(line)
}

fn functions(lines: Vec<Line<'_>>) -> Vec<Function> {
    // Linkers list code that is copied elsewhere before use, such as ARM's vectors, under its low link address: such a name
    // would claim the code of user programs.
    let text_start = lines.iter().filter(|line| matches!(line.name, "_text" | "_stext")).map(|line| line.address).min();
    let in_kernel = |line: &Line<'_>| line.module.is_some() || text_start.is_none_or(|start| line.address >= start);
    let mut starts: Vec<u64> =
        lines.iter().filter(|l| !is_tool_label(l.name) && !matches!(l.kind, 'a' | 'A')).map(|l| l.address).collect();
    starts.sort_unstable();
    starts.dedup();
    let end_of = |start: u64| {
        let next = starts.partition_point(|&other| other <= start);
        let limit = start.saturating_add(LONGEST_FUNCTION);
        starts.get(next).map_or(limit, |&next| next.min(limit))
    };
    let functions =
        lines.iter().filter(|line| !is_tool_label(line.name) && in_kernel(line) && line.address != 0).filter_map(|line| {
            let binding = match line.kind {
                'T' => Binding::Global,
                'W' | 'w' => Binding::Weak,
                't' => Binding::Local,
                _ => return None,
            };
            Some(Function { start: line.address, end: end_of(line.address), name: line.name.to_owned(), binding })
        });
    tidy(functions.collect())
}
