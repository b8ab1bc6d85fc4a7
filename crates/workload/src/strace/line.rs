//! One line of a log, taken apart without knowing the calls.

/// What a line says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line<'a> {
    /// A call, whole.
    Call { name: &'a str, arguments: &'a str, result: &'a str },
    /// A call, up to where another process came between.
    Begun { name: &'a str, arguments: &'a str },
    /// The rest of it, from its arguments on.
    Resumed { name: &'a str, rest: &'a str },
    /// The thread has ended.
    Gone,
    /// Signals, and what strace says of itself.
    Remark,
}

/// Takes the process's number and the time off the line, if they are there.
pub(super) fn pid_of(line: &str) -> (Option<u32>, &str) {
    let line = line.trim();
    let (pid, mut rest) = if let Some((pid, rest)) = line.strip_prefix("[pid").and_then(|rest| rest.split_once(']')) {
        (pid.trim().parse().ok(), rest.trim_start())
    } else {
        match line.split_once(char::is_whitespace) {
            Some((word, rest)) if word.parse::<u32>().is_ok() => (word.parse().ok(), rest.trim_start()),
            _ => (None, line),
        }
    };
    // Times of -t, -tt, -ttt and -r.
    while let Some((word, after)) = rest.split_once(char::is_whitespace)
        && word.starts_with(|first: char| first.is_ascii_digit())
        && word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'))
    {
        rest = after.trim_start();
    }
    (pid, rest)
}

/// The line without process and time; `None` if it is nothing that strace writes.
pub(super) fn parse(line: &str) -> Option<Line<'_>> {
    if line.starts_with("+++ exited with ") || line.starts_with("+++ killed by ") || line.starts_with("+++ superseded by ") {
        return Some(Line::Gone);
    }
    if line.is_empty() || line.starts_with("--- ") || line.starts_with("strace: ") {
        return Some(Line::Remark);
    }
    if let Some(resumed) = line.strip_prefix("<... ") {
        let (name, rest) = resumed.split_once(" resumed>")?;
        return is_name(name).then_some(Line::Resumed { name, rest });
    }
    let (name, rest) = line.split_once('(')?;
    if !is_name(name) {
        return None;
    }
    match rest.strip_suffix("<unfinished ...>") {
        Some(arguments) => Some(Line::Begun { name, arguments }),
        None => whole(rest).map(|(arguments, result)| Line::Call { name, arguments, result }),
    }
}

/// `ARGUMENTS) = RESULT` as arguments and result.
pub(super) fn whole(text: &str) -> Option<(&str, &str)> {
    let end = top_level(text).find(|&(_, byte, depth)| byte == b')' && depth == -1)?.0;
    let result = text[end + 1..].trim_start().strip_prefix('=')?.trim();
    (!result.is_empty()).then_some((&text[..end], result))
}

/// The arguments, separated.
pub(super) fn arguments(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text).filter(|text| !text.trim().is_empty());
    core::iter::from_fn(move || {
        let text = rest?;
        let comma = top_level(text).find(|&(_, byte, depth)| byte == b',' && depth == 0).map(|(at, ..)| at);
        rest = comma.map(|at| &text[at + 1..]);
        Some(text[..comma.unwrap_or(text.len())].trim())
    })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The bytes outside of strings, with the depth of brackets after each.
fn top_level(text: &str) -> impl Iterator<Item = (usize, u8, i32)> {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    text.bytes().enumerate().filter_map(move |(at, byte)| {
        if quoted {
            (quoted, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
            return None;
        }
        match byte {
            b'"' => quoted = true,
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        Some((at, byte, depth))
    })
}

/// A string's contents as they are written, without the quotes.
pub(super) fn string(argument: &str) -> Option<&str> {
    argument.strip_prefix('"')?.rsplit_once('"').map(|(contents, _)| contents)
}

/// A number, decimal or hexadecimal, with what `-y` says about it left out; `NULL` is 0.
pub(super) fn number(text: &str) -> Option<i64> {
    let text = text.split(['<', ' ']).next()?;
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|number| number as i64),
        None if text == "NULL" => Some(0),
        None => text.parse().ok(),
    }
}

/// `name=NUMBER` inside an argument.
pub(super) fn field(argument: &str, name: &str) -> Option<i64> {
    let at = argument.find(name)? + name.len();
    let value = argument[at..].strip_prefix('=')?;
    number(value.split([',', '}', ']']).next()?)
}
