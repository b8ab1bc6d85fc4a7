//! The guest's console on its way through: watching for the text at which the check ends, for what a kernel calls itself, and for its panic.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::adapter::StripBytes;
use regex::bytes::Regex;

/// An unfinished line longer than this loses its beginning.
const LONGEST_LINE: usize = 1024;

/// What is looked for in whole lines. They begin with what the console puts before a message: a level, the time, the task or CPU
/// (`printk.time`, `CONFIG_PRINTK_CALLER`). Text that only quotes one has something else there.
const LINES: [(&str, Says); 2] = [
    // The banner (`init/version-timestamp.c`).
    (r"^(?:<\d+>)?(?:\[[^\]]*\] ?)*(Linux version \d.*)$", Seen::Kernel),
    // The first line of a panic (`kernel/panic.c`).
    (r"^(?:<\d+>)?(?:\[[^\]]*\] ?)*(Kernel panic - not syncing.*)$", Seen::Panic),
];

/// What was seen on the console.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// The text to stop at.
    Until,
    /// What a kernel calls itself.
    Kernel(String),
    /// The first line of a panic.
    Panic(String),
    /// The first line since the guest was given old bytes, or the first that it does not say otherwise.
    Next(String),
}

/// What the part of a line says that is not the console's.
type Says = fn(String) -> Seen;

/// Looks for things in a console's output, each once.
///
/// It sees text without terminal escapes and carriage returns, line by line. The text to stop at is looked for in an unfinished line after
/// every byte, because prompts end without a newline. So the answer does not depend on how the output is cut into pieces; `$` is the end of
/// what is printed so far.
pub(crate) struct Watch {
    until: Option<Regex>,
    lines: Vec<(Regex, Says)>,
    /// What is looked for once the guest has been given old bytes; nothing any more once it was seen.
    disturbed: Option<Disturbed>,
    escapes: StripBytes,
    line: Vec<u8>,
}

impl Watch {
    /// Looks for this text, if there is one to stop at, and for what whole lines say.
    pub(crate) fn new(until: Option<Regex>, disturbed: Disturbed) -> Self {
        let lines = LINES.iter().filter_map(|(line, seen)| Some((Regex::new(line).ok()?, *seen))).collect();
        Self { until, lines, disturbed: Some(disturbed), escapes: StripBytes::new(), line: Vec::new() }
    }

    /// Takes the next piece of output, and says what was seen in it.
    pub(crate) fn feed(&mut self, output: &[u8]) -> Vec<Seen> {
        let mut seen = Vec::new();
        for &byte in self.escapes.strip_next(output).flatten() {
            match byte {
                b'\r' => continue,
                b'\n' => {
                    seen.extend(look(&mut self.lines, &self.line));
                    seen.extend(next(&mut self.disturbed, &self.line));
                    self.line.clear();
                }
                _ => self.line.push(byte),
            }
            if self.line.len() > LONGEST_LINE {
                self.line.drain(..LONGEST_LINE / 2);
            }
            if !self.line.is_empty() && self.until.as_ref().is_some_and(|until| until.is_match(&self.line)) {
                self.until = None;
                seen.push(Seen::Until);
            }
        }
        seen
    }

    /// The console is closed: what was seen in its unfinished line.
    pub(crate) fn finish(mut self) -> Option<Seen> {
        look(&mut self.lines, &self.line)
    }
}

/// A line, if it is the one that is looked for.
fn next(disturbed: &mut Option<Disturbed>, line: &[u8]) -> Option<Seen> {
    let line = line.trim_ascii();
    let is_it = |disturbed: &mut Disturbed| {
        let given = disturbed.given.load(Ordering::Acquire);
        given && !line.is_empty() && !disturbed.usual.as_ref().is_some_and(|usual| usual.contains(without_time(line)))
    };
    disturbed.take_if(is_it)?;
    Some(Seen::Next(String::from_utf8_lossy(line).into_owned()))
}

/// What a line says, without the time that Linux puts before it.
fn without_time(line: &[u8]) -> &[u8] {
    let stamp = line.strip_prefix(b"[").and_then(|rest| Some((rest, rest.iter().position(|byte| *byte == b']')?)));
    match stamp {
        Some((rest, end)) if rest[..end].iter().all(|byte| byte.is_ascii_digit() || b" .".contains(byte)) => {
            rest[end + 1..].trim_ascii()
        }
        _ => line.trim_ascii(),
    }
}

/// The first line that tells of old bytes: the first since the guest was given any, and of those that it does not say otherwise, if that is known.
#[derive(Default)]
pub(crate) struct Disturbed {
    given: Arc<AtomicBool>,
    usual: Option<HashSet<Vec<u8>>>,
}

impl Disturbed {
    /// Where to say that the guest was given old bytes, and what its console says otherwise, if that is known.
    pub(crate) fn new(given: Arc<AtomicBool>, usual: Option<&[u8]>) -> Self {
        let lines = |text: &[u8]| {
            let text: Vec<u8> = StripBytes::new().strip_next(text).flatten().copied().collect();
            text.split(|byte| b"\r\n".contains(byte)).map(|line| without_time(line).to_vec()).collect()
        };
        Self { given, usual: usual.map(lines) }
    }
}

/// What a whole line says, which is not looked for again.
fn look(lines: &mut Vec<(Regex, Says)>, line: &[u8]) -> Option<Seen> {
    let (at, text) =
        lines.iter().enumerate().find_map(|(at, (wanted, _))| Some((at, wanted.captures(line)?.get(1)?.as_bytes())))?;
    let (_, seen) = lines.remove(at);
    Some(seen(String::from_utf8_lossy(text.trim_ascii_end()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(regex: &str, pieces: &[&str]) -> bool {
        let mut watch = Watch::new(Some(Regex::new(regex).unwrap()), Disturbed::default());
        pieces.iter().filter(|piece| watch.feed(piece.as_bytes()).contains(&Seen::Until)).count() == 1
    }

    fn panic_in(text: &str) -> Option<String> {
        let mut watch = Watch::new(None, Disturbed::default());
        let mut seen: Vec<Seen> = text.as_bytes().chunks(3).flat_map(|piece| watch.feed(piece)).collect();
        seen.extend(watch.finish());
        match &seen[..] {
            [] => None,
            [Seen::Panic(line)] => Some(line.clone()),
            more => panic!("{more:?}"),
        }
    }

    #[test]
    fn the_first_line_of_a_panic_is_seen() {
        let line = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)";
        for before in ["", "[    1.234567] ", "<0>[    1.234567] ", "[    1.234567][    T1] ", "[    1.2]"] {
            let text = format!("boot\r\n{before}{line}\r\n---[ end {line} ]---\r\n{line} twice\n");
            assert_eq!(panic_in(&text).as_deref(), Some(line), "{before:?}");
            assert_eq!(panic_in(&format!("{before}{line}")).as_deref(), Some(line), "{before:?} without an end");
        }
        for quoted in
            [format!("dmesg: {line}\n"), format!("---[ end {line} ]---\n"), "Kernel panic\n".to_owned(), "[ x\n".to_owned()]
        {
            assert_eq!(panic_in(&quoted), None, "{quoted:?}");
        }
    }

    #[test]
    fn a_kernel_is_known_by_the_first_banner_that_it_prints() {
        let banner = "Linux version 6.1.0-50-4kc-malta (debian-kernel@lists.debian.org) #1 Debian 6.1.176-1";
        let text = format!("welcome to Linux version x\r\n[    0.000000] {banner}\r\n[    9.1] Linux version 7.0\r\n");
        let mut watch = Watch::new(None, Disturbed::default());
        let seen: Vec<Seen> = text.as_bytes().chunks(7).flat_map(|piece| watch.feed(piece)).collect();
        assert_eq!(seen, [Seen::Kernel(banner.to_owned())]);
    }

    #[test]
    fn text_is_found_however_it_is_cut() {
        let text = "[    0.1] boot\r\n\x1b[32mall \x1b[0mtests\x1b]0;title\x07 done\r\n/ # ";
        for regex in ["all tests done", "^/ # $", "^all .* d", "te"] {
            for cut in 0..=text.len() {
                let (a, b) = text.split_at(cut);
                assert!(seen(regex, &[a, b]), "{regex:?} cut at {cut}");
            }
            assert!(seen(regex, &text.split_inclusive(|_| true).collect::<Vec<_>>()), "{regex:?} byte by byte");
        }
    }

    #[test]
    fn text_that_is_not_there_is_not_found() {
        let text = "all tests\nfailed\n";
        for regex in ["tests failed", "^ests", "ready"] {
            assert!(!seen(regex, &[text]), "{regex:?}");
        }
    }

    #[test]
    fn text_at_the_end_of_an_endless_line_is_found() {
        let mut text = "x".repeat(10_000);
        text.push_str("login:");
        assert!(seen("login:", &[&text]));
    }

    #[test]
    fn the_line_that_tells_of_old_bytes_is_the_first_after_them_that_is_not_said_otherwise() {
        for (usual, expected) in
            [(None, "[    2.5] starting"), (Some("[    1.0] booting\r\n[ 9.75] starting\r\n"), "[    2.6] Oops[#1]:")]
        {
            let given = Arc::new(AtomicBool::new(false));
            let mut watch = Watch::new(None, Disturbed::new(given.clone(), usual.map(str::as_bytes)));
            let mut seen = watch.feed(b"[    1.1] booting\n[    2.0] something else\n");
            assert!(seen.is_empty(), "{seen:?}");
            given.store(true, Ordering::Release);
            seen.extend(watch.feed(b"\n[    2.5] starting\n[    2.6] Oops[#1]:\n[    2.7] more\n"));
            assert_eq!(seen, [Seen::Next(expected.to_owned())]);
        }
    }
}
