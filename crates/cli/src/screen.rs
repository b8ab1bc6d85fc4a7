//! What is on the user's screen: the guest's console byte for byte, and one status line that never mixes with it.
//!
//! The status line is drawn on standard error if that is a terminal, and only where the cursor stands at the start of a line: a
//! guest that shows a prompt, or is in the middle of a line, is left alone. It is removed before the console goes on.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use congruent_shadow::Stats;

/// The console must have been quiet for this long before a status line is drawn.
const QUIET: Duration = Duration::from_millis(300);

/// Which of QEMU's outputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stream {
    /// Its standard output: the guest's console, usually.
    Console,
    /// Its standard error.
    Errors,
}

/// Standard output and standard error, shared by the guest and the status line.
pub(crate) struct Screen {
    console_to_stderr: bool,
    console_on_screen: bool,
    status: Option<String>,
    at_line_start: bool,
    last_output: Instant,
    can_show_status: bool,
}

impl Screen {
    /// The console goes to standard output, except where a report goes there and it is no terminal: then to standard error.
    pub(crate) fn new(report_on_stdout: bool) -> Self {
        let console_to_stderr = report_on_stdout && !io::stdout().is_terminal();
        let stderr_is_terminal = io::stderr().is_terminal();
        Self {
            console_to_stderr,
            console_on_screen: if console_to_stderr { stderr_is_terminal } else { io::stdout().is_terminal() },
            status: None,
            at_line_start: true,
            last_output: Instant::now(),
            can_show_status: stderr_is_terminal,
        }
    }

    /// Passes output of QEMU on. A reader that has gone away is not our business: the check goes on.
    pub(crate) fn pass(&mut self, stream: Stream, bytes: &[u8]) {
        let on_screen = match stream {
            Stream::Console => self.console_on_screen,
            Stream::Errors => self.can_show_status,
        };
        if on_screen {
            self.hide_status();
            self.at_line_start = bytes.last() == Some(&b'\n');
            self.last_output = Instant::now();
        }
        if stream == Stream::Errors || self.console_to_stderr {
            let _ = io::stderr().write_all(bytes);
        } else {
            let mut stdout = io::stdout().lock();
            let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
        }
    }

    /// Shows a status line, if there is a place for it.
    pub(crate) fn show_status(&mut self, status: &Status) {
        if !self.can_show_status || !self.at_line_start || self.last_output.elapsed() < QUIET {
            return;
        }
        let line = status.line(columns());
        if self.status.as_ref() != Some(&line) {
            let _ = write!(io::stderr(), "\r\x1b[2K{line}");
            self.status = Some(line);
        }
    }

    /// Removes the status line.
    pub(crate) fn hide_status(&mut self) {
        if self.status.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }

    /// Says something on a line of its own, on standard error.
    pub(crate) fn remark(&mut self, line: &str) {
        self.finish();
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// Ends the console: what follows begins on a line of its own.
    pub(crate) fn finish(&mut self) {
        self.hide_status();
        if !self.at_line_start && self.can_show_status {
            let _ = writeln!(io::stderr());
            self.at_line_start = true;
        }
    }
}

/// The terminal's width; 80 where it does not know (some pseudo-terminals say 0).
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0).unwrap_or(80)
}

/// What the status line says.
pub(crate) struct Status {
    /// The judge's counters.
    pub(crate) stats: Stats,
    /// Distinct findings so far.
    pub(crate) findings: u64,
    /// Since QEMU was started.
    pub(crate) elapsed: Duration,
    /// Whether QEMU has the guest stopped.
    pub(crate) paused: bool,
    /// Whether QEMU has been asked to leave.
    pub(crate) stopping: bool,
}

impl Status {
    fn line(&self, columns: usize) -> String {
        let seconds = self.elapsed.as_secs();
        let mut line = format!(
            "congruent: {:.1} million accesses, {} finding{}, {}:{:02}",
            self.stats.accesses as f64 / 1e6,
            self.findings,
            if self.findings == 1 { "" } else { "s" },
            seconds / 60,
            seconds % 60
        );
        if self.paused {
            line.push_str(", the guest is stopped");
        }
        if self.stopping {
            line.push_str(", stopping the guest");
        }
        // One column stays free: a full line would wrap.
        line.truncate(columns.saturating_sub(1));
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_fits_one_line() {
        let stats = Stats { accesses: 970_123_456, ..Stats::default() };
        let status = Status { stats, findings: 1, elapsed: Duration::from_secs(83), paused: false, stopping: true };
        assert_eq!(status.line(100), "congruent: 970.1 million accesses, 1 finding, 1:23, stopping the guest");
        assert_eq!(status.line(20).len(), 19);
    }
}
