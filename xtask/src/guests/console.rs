//! Boots a guest in plain QEMU and judges what its console said.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::boot::Boot;
use super::programs;

/// What a guest printed, and how long it ran.
pub struct Console {
    /// Everything, with line ends as `\n`.
    pub text: String,
    /// From the start of QEMU to its end.
    pub took: Duration,
}

impl Boot {
    /// Runs the boot to its end and returns what the console said; shows it meanwhile if `show`.
    ///
    /// # Errors
    /// If the guest is missing, or does not end by itself before `limit`.
    pub fn capture(&self, limit: Duration, show: bool) -> Result<Console> {
        let line = self.command()?;
        let start = Instant::now();
        let mut qemu = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", line[0].display()))?;
        let mut from = qemu.stdout.take().expect("stdout is piped");
        let (sender, receiver) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut bytes = Vec::new();
        loop {
            match receiver.recv_timeout(limit.saturating_sub(start.elapsed())) {
                Ok(chunk) => {
                    if show {
                        let _ = std::io::stdout().write_all(&chunk).and_then(|()| std::io::stdout().flush());
                    }
                    bytes.extend_from_slice(&chunk);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    qemu.kill()?;
                    qemu.wait()?;
                    bail!("the guest did not end within {} s; it said last:\n  {}", limit.as_secs(), tail(&clean(&bytes)))
                }
            }
        }
        let status = qemu.wait()?;
        let _ = reader.join();
        let console = Console::from_bytes(&bytes, start.elapsed());
        ensure!(status.success(), "QEMU ended with {status}; the console said last:\n  {}", tail(&console.text));
        Ok(console)
    }
}

impl Console {
    /// The console of a run that took this long.
    pub fn from_bytes(bytes: &[u8], took: Duration) -> Self {
        Self { text: clean(bytes), took }
    }

    /// Whether the guest booted, ran every program of `run`, and each passed.
    ///
    /// # Errors
    /// Naming the first thing that is missing or failed.
    pub fn check(&self, run: &str) -> Result<()> {
        for bad in ["Kernel panic", "Oops", "BUG:", "\nFAIL "] {
            if let Some(at) = self.text.find(bad) {
                bail!("the guest said: {}", self.text[at..].trim_start().lines().next().unwrap_or(bad));
            }
        }
        ensure!(self.text.contains("CONGRUENT-BOOT-OK"), "the guest did not boot; it said last:\n  {}", tail(&self.text));
        let every = programs::every();
        let run = if run == "every" { &every } else { run };
        let names = || run.split(',').filter_map(|item| item.split(':').next()).filter(|name| !name.is_empty());
        for name in names() {
            let (asked, passed) = (names().filter(|other| *other == name).count(), self.passed(name));
            ensure!(passed >= asked, "{name} said PASS {passed} times of {asked}; the guest said last:\n  {}", tail(&self.text));
        }
        ensure!(self.text.contains("CONGRUENT-DONE"), "the guest did not finish; it said last:\n  {}", tail(&self.text));
        Ok(())
    }

    /// The lines in which programs report.
    pub fn results(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| line.starts_with("PASS ") || line.starts_with("FAIL "))
    }

    /// How often a program passed.
    fn passed(&self, name: &str) -> usize {
        let said = self.results().filter_map(|line| line.strip_prefix("PASS ")?.split([' ', ':']).next());
        said.filter(|said| *said == name).count()
    }
}

fn clean(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n  ")
}
