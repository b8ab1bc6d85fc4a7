//! Runs guests under `congruent check` and holds what it says against the table.

mod classes;
mod recorded;
mod table;
mod verdict;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::guests::console::Console;
use crate::guests::machine::{Boot, Qemu};
use crate::guests::programs;
use crate::{place, run};
use table::Expect;
pub use table::{Load, RUNS, Run};
use table::{RECORDED, Recorded};
use verdict::{judge, of_another_program};

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
    /// `congruent check` of this run with these options for its reports.
    ///
    /// # Errors
    /// If the guest or the emulator has not been made yet.
    pub fn command(&self, qemu: Qemu, reports: &[OsString]) -> Result<Command> {
        let (line, symbols) = match self.load {
            Load::Linux { guest, cpu, programs, words, disk } => {
                let (cpu, words) = (cpu.map(str::to_owned), words.to_owned());
                let cpus = if self.cpu_caches.is_some() { 2 } else { 1 };
                let boot = Boot { cpu, cpus, words, disk, repeatable: true, ..Boot::new(guest, qemu, programs) };
                (boot.command()?, programs::symbols(guest))
            }
            Load::Bare(bare) => (bare.command(qemu)?, vec![bare.elf()]),
        };
        let mut command = Command::new(place::release().join("congruent"));
        command.args(["check", "--dcache", self.dcache, "--timeout", LIMIT]);
        if let Some(icache) = self.icache {
            command.args(["--icache", icache]);
        }
        if let Some(how) = self.cpu_caches {
            command.args(["--cpu-caches", how]);
        }
        command.args(self.behaviour);
        for file in symbols {
            command.arg("--symbols").arg(file);
        }
        for site in self.mute {
            command.args(["--mute", site]);
        }
        command.args(reports).arg("--").args(line);
        Ok(command)
    }

    /// What is said to be of another program than those that run, where nothing else is found in user code than what they do.
    fn misattributed(&self, findings: &[Value]) -> Option<String> {
        match (self.load, self.expect) {
            (Load::Linux { programs, .. }, Expect::Exactly(_)) => of_another_program(findings, programs),
            _ => None,
        }
    }

    /// Runs it and says in one line how it went.
    fn perform(&self, qemu: Qemu, reports: &Path) -> Result<String> {
        let path = |suffix: &str| reports.join(format!("{}.{suffix}", self.name));
        let (json, text, said) = (path("json"), path("txt"), path("console"));
        for old in [&json, &text] {
            let _ = fs::remove_file(old);
        }
        let start = Instant::now();
        let options: Vec<OsString> = [
            "--format".into(),
            "json".into(),
            "-o".into(),
            json.clone().into(),
            "--format".into(),
            "text".into(),
            "-o".into(),
            text.clone().into(),
        ]
        .into();
        let output =
            self.command(qemu, &options)?.stdin(Stdio::null()).output().context("cannot start congruent: was it built?")?;
        let took = start.elapsed();
        let spoken = [output.stdout, output.stderr].concat();
        fs::write(&said, &spoken)?;

        let report = fs::read_to_string(&json).with_context(|| {
            let last = String::from_utf8_lossy(&spoken);
            format!("no report: {}", last.lines().last().unwrap_or("nothing was said"))
        })?;
        let console = Console::from_bytes(&spoken, took);
        let programs = if let Load::Linux { programs, .. } = self.load { programs } else { "" };
        console.check(programs).with_context(|| format!("see {}", said.display()))?;
        let cases: Vec<&str> = console.results().filter_map(|line| line.strip_prefix("PASS ")).collect();
        let report: Value = serde_json::from_str(&report)?;
        let verdict = judge(&report, output.status.code(), &cases, self.expect, self.callers);
        let findings = report["findings"].as_array().map_or(&[][..], Vec::as_slice);
        if let Some(complaint) =
            verdict.complaint.or_else(|| classes::missed(self.name, findings)).or_else(|| self.misattributed(findings))
        {
            bail!("{complaint}; see {}", text.display());
        }
        Ok(format!(
            "{:<10} {:>5} findings {:>6.2} G accesses {:>6.1} s",
            verdict.word,
            verdict.findings,
            verdict.accesses as f64 / 1e9,
            took.as_secs_f64()
        ))
    }
}

/// A row of one of the tables.
#[derive(Clone, Copy)]
enum Row {
    Judged(&'static Run),
    Recorded(&'static Recorded),
}

impl Row {
    fn name(self) -> &'static str {
        match self {
            Self::Judged(run) => run.name,
            Self::Recorded(row) => row.name,
        }
    }

    fn run(self) -> &'static Run {
        match self {
            Self::Judged(run) => run,
            Self::Recorded(row) => &row.run,
        }
    }

    fn perform(self, qemu: Qemu, reports: &Path) -> Result<String> {
        match self {
            Self::Judged(run) => run.perform(qemu, reports),
            Self::Recorded(row) => row.perform(qemu, reports),
        }
    }
}

/// Performs every run whose name contains `only`, as many at a time as there are processors.
///
/// # Errors
/// If any run deviates from the table; all are performed nevertheless.
pub fn perform(qemu: Qemu, only: &str) -> Result<()> {
    let rows = || RUNS.iter().map(Row::Judged).chain(RECORDED.iter().map(Row::Recorded));
    let chosen = || rows().filter(|row| row.name().contains(only));
    for (row, reason) in chosen().filter_map(|row| Some((row, row.run().left_out(qemu)?))) {
        println!("--    {:<24} left out: {reason}", row.name());
    }
    let runs: Vec<Row> = chosen().filter(|row| row.run().left_out(qemu).is_none()).collect();
    ensure!(!runs.is_empty(), "no run is called {only}; there are: {}", names());
    let reports = reports(qemu)?;
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let workers = thread::available_parallelism().map_or(1, usize::from).min(runs.len());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match run.perform(qemu, &reports) {
                        Ok(line) => println!("ok    {:<24} {line}", run.name()),
                        Err(error) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            println!("WRONG {:<24} {error:#}", run.name());
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

/// Prints the command line of every run whose name contains `only`.
///
/// # Errors
/// If a guest or the emulator has not been made yet.
pub fn print(qemu: Qemu, only: &str) -> Result<()> {
    for run in RUNS.iter().filter(|run| run.name.contains(only)) {
        println!("# {}\n{}", run.name, run::shown(&run.command(qemu, &[])?));
    }
    Ok(())
}

fn names() -> String {
    let names = RUNS.iter().map(|run| run.name).chain(RECORDED.iter().map(|row| row.name));
    names.collect::<Vec<_>>().join(" ")
}

fn reports(qemu: Qemu) -> Result<PathBuf> {
    let dir = place::reports().join(qemu.directory());
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}
