//! The guest's console on its way through: watching for the text at which the check ends, for what a kernel calls itself, and for its panic.

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
    /// The first line since the guest was given old bytes.
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
    /// Whether the guest has been given old bytes; not asked any more once a line has followed.
    delivering: Option<Arc<AtomicBool>>,
    escapes: StripBytes,
    line: Vec<u8>,
}

impl Watch {
    /// Looks for this text, if there is one to stop at, and for what whole lines say.
    pub(crate) fn new(until: Option<Regex>, delivering: Arc<AtomicBool>) -> Self {
        let lines = LINES.iter().filter_map(|(line, seen)| Some((Regex::new(line).ok()?, *seen))).collect();
        Self { until, lines, delivering: Some(delivering), escapes: StripBytes::new(), line: Vec::new() }
    }

    /// Takes the next piece of output, and says what was seen in it.
    pub(crate) fn feed(&mut self, output: &[u8]) -> Vec<Seen> {
        let mut seen = Vec::new();
        for &byte in self.escapes.strip_next(output).flatten() {
            match byte {
                b'\r' => continue,
                b'\n' => {
                    seen.extend(look(&mut self.lines, &self.line));
                    seen.extend(next(&mut self.delivering, &self.line));
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

/// A line, if it is the first that has something since the guest was given old bytes.
fn next(delivering: &mut Option<Arc<AtomicBool>>, line: &[u8]) -> Option<Seen> {
    let line = line.trim_ascii();
    delivering.take_if(|delivering| !line.is_empty() && delivering.load(Ordering::Acquire))?;
    Some(Seen::Next(String::from_utf8_lossy(line).into_owned()))
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
        let mut watch = Watch::new(Some(Regex::new(regex).unwrap()), Arc::default());
        pieces.iter().filter(|piece| watch.feed(piece.as_bytes()).contains(&Seen::Until)).count() == 1
    }

    fn panic_in(text: &str) -> Option<String> {
        let mut watch = Watch::new(None, Arc::default());
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
        let mut watch = Watch::new(None, Arc::default());
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
}
