//! Runs guests under `congruent check` and holds what it says against the table.

mod table;
mod verdict;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::guests::console::Console;
use crate::guests::machine::{Boot, Qemu};
use crate::guests::programs;
use crate::{place, run};
pub use table::{RUNS, Run};
use verdict::judge;

/// No guest needs this long; a guest that does hangs.
const LIMIT: &str = "10m";

/// Builds the program and the plugin.
///
/// # Errors
/// If they do not compile.
pub fn build() -> Result<()> {
    let words = ["build", "--release", "--package", "congruent-cli", "--package", "congruent-qemu"];
    run::visibly(Command::new("cargo").args(words).current_dir(place::root()))
}

impl Run {
    /// `congruent check` of this run, without its report options.
    ///
    /// # Errors
    /// If the guest or the emulator has not been made yet.
    pub fn command(&self, qemu: Qemu) -> Result<Command> {
        let boot = Boot { cpu: self.cpu.map(str::to_owned), repeatable: true, ..Boot::new(self.guest, qemu, self.programs) };
        let mut command = Command::new(place::release().join("congruent"));
        command.args(["check", "--dcache", self.dcache, "--timeout", LIMIT]);
        for file in programs::symbols(self.guest) {
            command.arg("--symbols").arg(file);
        }
        for site in self.mute {
            command.args(["--mute", site]);
        }
        command.arg("--").args(boot.command()?);
        Ok(command)
    }

    /// Runs it and says in one line how it went.
    fn perform(&self, qemu: Qemu, reports: &Path) -> Result<String> {
        let path = |suffix: &str| reports.join(format!("{}.{suffix}", self.name));
        let (json, text, said) = (path("json"), path("txt"), path("console"));
        for old in [&json, &text] {
            let _ = fs::remove_file(old);
        }
        let start = Instant::now();
        let base = self.command(qemu)?;
        // Report options stand before the `--`.
        let words: Vec<_> = base.get_args().map(ToOwned::to_owned).collect();
        let mut command = Command::new(base.get_program());
        command.arg(&words[0]).args(["--format", "json", "-o"]).arg(&json).args(["--format", "text", "-o"]).arg(&text);
        let output = command.args(&words[1..]).stdin(Stdio::null()).output().context("cannot start congruent: was it built?")?;
        let took = start.elapsed();
        let spoken = [output.stdout, output.stderr].concat();
        fs::write(&said, &spoken)?;

        let report = fs::read_to_string(&json).with_context(|| {
            let last = String::from_utf8_lossy(&spoken);
            format!("no report: {}", last.lines().last().unwrap_or("nothing was said"))
        })?;
        let verdict = judge(&serde_json::from_str(&report)?, output.status.code(), self.expect);
        if let Some(complaint) = verdict.complaint {
            bail!("{complaint}; see {}", text.display());
        }
        Console::from_bytes(&spoken, took).check(self.programs).with_context(|| format!("see {}", said.display()))?;
        Ok(format!(
            "{:<10} {:>5} findings {:>6.2} G accesses {:>6.1} s",
            verdict.word,
            verdict.findings,
            verdict.accesses as f64 / 1e9,
            took.as_secs_f64()
        ))
    }
}

/// Performs every run whose name contains `only`, as many at a time as there are processors.
///
/// # Errors
/// If any run deviates from the table; all are performed nevertheless.
pub fn perform(qemu: Qemu, only: &str) -> Result<()> {
    let runs: Vec<&Run> = RUNS.iter().filter(|run| run.name.contains(only)).collect();
    ensure!(!runs.is_empty(), "no run is called {only}; there are: {}", names());
    let reports = reports(qemu)?;
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let workers = thread::available_parallelism().map_or(1, usize::from).min(runs.len());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match run.perform(qemu, &reports) {
                        Ok(line) => println!("ok    {:<24} {line}", run.name),
                        Err(error) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            println!("WRONG {:<24} {error:#}", run.name);
                        }
                    }
                }
            });
        }
    });
    match failed.into_inner() {
        0 => Ok(()),
        count => bail!("{count} of {} runs deviate from the table (xtask/src/e2e/table.rs)", runs.len()),
    }
}

fn names() -> String {
    RUNS.iter().map(|run| run.name).collect::<Vec<_>>().join(" ")
}

fn reports(qemu: Qemu) -> Result<PathBuf> {
    let dir = place::reports().join(qemu.directory());
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}
