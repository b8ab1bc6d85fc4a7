//! The guest's console on its way through: watching for the text at which the check ends.

use anstream::adapter::StripBytes;
use regex::bytes::Regex;

/// An unfinished line longer than this loses its beginning.
const LONGEST_LINE: usize = 1024;

/// Looks for a regular expression in a console's output.
///
/// It sees text without terminal escapes and carriage returns, line by line, and an unfinished line after every byte, because
/// prompts end without a newline. So the answer does not depend on how the output is cut into pieces; `$` is the end of what is
/// printed so far.
pub(crate) struct Watch {
    wanted: Regex,
    escapes: StripBytes,
    line: Vec<u8>,
    seen: bool,
}

impl Watch {
    pub(crate) fn new(wanted: Regex) -> Self {
        Self { wanted, escapes: StripBytes::new(), line: Vec::new(), seen: false }
    }

    /// Takes the next piece of output. Returns true once, when the text has been seen.
    pub(crate) fn feed(&mut self, output: &[u8]) -> bool {
        if self.seen {
            return false;
        }
        for &byte in self.escapes.strip_next(output).flatten() {
            match byte {
                b'\r' => continue,
                b'\n' => self.line.clear(),
                _ => self.line.push(byte),
            }
            if self.line.len() > LONGEST_LINE {
                self.line.drain(..LONGEST_LINE / 2);
            }
            if !self.line.is_empty() && self.wanted.is_match(&self.line) {
                self.seen = true;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(regex: &str, pieces: &[&str]) -> bool {
        let mut watch = Watch::new(Regex::new(regex).unwrap());
        pieces.iter().filter(|piece| watch.feed(piece.as_bytes())).count() == 1
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
