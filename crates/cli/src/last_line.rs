//! The last line of an output that says something: what a program that fails has said of it.

/// The last line that says something.
#[derive(Default)]
pub(crate) struct LastLine {
    finished: Vec<u8>,
    current: Vec<u8>,
}

impl LastLine {
    /// Takes the next piece of text.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte != b'\n' {
                self.current.push(byte);
            } else if self.current.trim_ascii().is_empty() {
                self.current.clear();
            } else {
                self.finished = std::mem::take(&mut self.current);
            }
        }
    }

    /// The line, unless none said anything.
    pub(crate) fn text(self) -> Option<String> {
        let line = if self.current.trim_ascii().is_empty() { self.finished } else { self.current };
        let line = String::from_utf8_lossy(line.trim_ascii()).into_owned();
        (!line.is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_say_nothing_and_the_last_one_need_not_end() {
        for (pieces, last) in
            [(&["one\ntw", "o\n\n  \n"][..], Some("two")), (&["one\n", " two "], Some("two")), (&["", "\n \n"], None)]
        {
            let mut lines = LastLine::default();
            pieces.iter().for_each(|piece| lines.feed(piece.as_bytes()));
            assert_eq!(lines.text().as_deref(), last, "{pieces:?}");
        }
    }
}
