//! Runs guests under `congruent check` and holds what it says against the table.

mod batch;
mod classes;
mod injected;
mod kernels;
mod left_out;
mod lives;
mod recorded;
mod row;
mod stopped;
mod table;
mod verdict;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::guests::boot::{Boot, Devices};
use crate::guests::emulator::Qemu;
use crate::guests::machine::Guest;
use crate::guests::{programs, skeleton};
use crate::{place, run};
use batch::Batch;
use injected::Injected;
use row::Recorded;
pub use row::{Load, Run};
use table::{RECORDED, rows};
pub use table::{RUNS, of_linux};

/// No guest needs this long; a guest that does hangs.
const LIMIT: &str = "10m";

/// What cargo is told to build.
const BUILD: [&str; 6] = ["build", "--release", "--package", "congruent-cli", "--package", "congruent-qemu"];

/// Builds the program and the plugin.
///
/// # Errors
/// If they do not compile.
pub fn build() -> Result<()> {
    run::visibly(Command::new("cargo").args(BUILD).current_dir(place::root()))
}

/// Builds them while others work, for as long as it is not dropped. What is wrong [`build`] says, which finds built what was.
pub struct Ahead(Child);

impl Ahead {
    /// # Errors
    /// If it cannot be started.
    pub fn start() -> Result<Self> {
        let mut cargo = run::bound("cargo");
        cargo.args(BUILD).current_dir(place::root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        cargo.spawn().map(Self).context("cannot start `cargo`: is it installed?")
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn wait(mut self) -> Result<()> {
        self.0.wait().map(drop).context("cannot wait for `cargo`")
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // It may have ended long ago, and then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Run {
    /// The boot of a run under a kernel; of several that share it if `together` is what all of them run.
    fn boot(&self, qemu: Qemu, together: Option<&str>) -> Option<Boot> {
        let Load::Linux { guest, cpu, programs, words, devices } = self.load else { return None };
        let (cpu, words) = (cpu.map(str::to_owned), words.to_owned());
        let cpus = if self.cpu_caches.is_some() { 2 } else { 1 };
        let (run, numbered) = (together.unwrap_or(programs), together.is_some());
        // A network's time is that of the host.
        let repeatable = devices != Devices::Network;
        Some(Boot { cpu, cpus, words, devices, numbered, repeatable, ..Boot::new(guest, qemu, run) })
    }

    /// `congruent check` of this run with these options for its reports; of several that share its boot if `together` is what all of them
    /// run.
    ///
    /// # Errors
    /// If the guest or the emulator has not been made yet.
    pub fn command(&self, qemu: Qemu, together: Option<&str>, reports: &[OsString]) -> Result<Command> {
        let (line, symbols) = match self.load {
            Load::Linux { guest, .. } => {
                let boot = self.boot(qemu, together).context("a kernel is booted")?;
                (boot.command()?, programs::symbols(guest))
            }
            Load::Bare(bare) => (bare.command(qemu)?, vec![bare.elf()]),
            Load::Skeleton(kernel) => (kernel.command(qemu)?, vec![kernel.elf()]),
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
}

/// The words, but for the program, of a check that takes no time and finds something.
///
/// # Errors
/// If the emulator or the program has not been made yet.
pub fn bare_command() -> Result<Vec<OsString>> {
    let run = RUNS.iter().find(|run| run.name == "bare-mipsel").context("no such row")?;
    Ok(run.command(Qemu::V10_0, None, &[])?.get_args().map(OsString::from).collect())
}

/// What is done at a time: rows of one of the tables.
enum Task {
    Judged(Batch),
    Recorded(&'static Recorded),
    Injected(&'static Injected),
}

impl Task {
    /// How each of its rows came out, in a line, or what is wrong.
    fn perform(&self, qemu: Qemu, reports: &Path) -> Vec<(&'static str, Result<String>)> {
        match self {
            Self::Judged(batch) => batch.perform(qemu, reports),
            Self::Recorded(row) => vec![(row.name, row.perform(qemu, reports))],
            Self::Injected(row) => vec![(row.name, row.perform(qemu, reports))],
        }
    }
}

/// The guests that the runs need whose name contains `only`; with the one of a kernel comes the compiler of those without.
///
/// # Errors
/// If there is no such run.
pub fn guests(only: &str) -> Result<Vec<Guest>> {
    let runs = rows().chain(RECORDED.iter().map(|row| &row.run)).filter(|run| run.name.contains(only));
    let mut guests: Vec<Guest> = runs.map(|run| run.load.guest()).collect();
    guests.extend(lives::has(only).then_some(Guest::Mips));
    guests.extend(stopped::guests(only));
    guests.extend(injected::rows(only, false).filter_map(Injected::guest));
    guests.sort_unstable();
    guests.dedup();
    ensure!(!guests.is_empty(), "no run is called {only}; there are: {}", names());
    Ok(guests)
}

/// Performs every run whose name contains `only`, as many at a time as there are processors, and says how many those were; `again` where the
/// table has been held against another emulator just before.
///
/// # Errors
/// If any run deviates from the table; all are performed nevertheless.
pub fn perform(qemu: Qemu, only: &str, again: bool) -> Result<String> {
    let judged = rows().filter(|run| run.name.contains(only));
    let recorded = RECORDED.iter().filter(|row| row.name.contains(only));
    let left_out = judged.clone().filter_map(|run| Some((run.name, run.left_out(qemu, again)?)));
    for (name, reason) in left_out.chain(recorded.clone().filter_map(|row| Some((row.name, row.left_out(qemu, again)?)))) {
        println!("--    {name:<24} left out: {reason}");
    }
    let judged: Vec<&Run> = judged.filter(|run| run.left_out(qemu, again).is_none()).collect();
    let recorded = recorded.filter(|row| row.left_out(qemu, again).is_none());
    let mut tasks: Vec<Task> = recorded.map(Task::Recorded).collect();
    tasks.extend(injected::rows(only, again).map(Task::Injected));
    let rows = judged.len() + tasks.len();
    ensure!(
        rows > 0 || lives::has(only) || stopped::guests(only).next().is_some(),
        "no run is called {only}; there are: {}",
        names()
    );
    let own = judged.iter().filter_map(|run| if let Load::Skeleton(kernel) = run.load { Some(kernel) } else { None });
    skeleton::build(&own.collect::<Vec<_>>())?;
    tasks.extend(Batch::of(&judged, qemu).into_iter().map(Task::Judged));
    let reports = reports(qemu)?;
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let workers = thread::available_parallelism().map_or(1, usize::from).min(tasks.len());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for (name, result) in task.perform(qemu, &reports) {
                        match result {
                            Ok(line) => println!("ok    {name:<24} {line}"),
                            Err(error) => {
                                failed.fetch_add(1, Ordering::Relaxed);
                                println!("WRONG {name:<24} {error:#}");
                            }
                        }
                    }
                }
            });
        }
    });
    let lived = lives::perform(qemu, only, &reports).and(stopped::perform(qemu, only, &reports));
    match failed.into_inner() {
        0 => lived.map(|()| format!("{rows} rows in {} boots", tasks.len())),
        count => bail!("{count} of {rows} rows deviate from the table (xtask/src/e2e/table.rs)"),
    }
}

/// Prints the command line of every run whose name contains `only`.
///
/// # Errors
/// If a guest or the emulator has not been made yet.
pub fn print(qemu: Qemu, only: &str) -> Result<()> {
    for run in rows().filter(|run| run.name.contains(only)) {
        println!("# {}\n{}", run.name, run::shown(&run.command(qemu, None, &[])?));
    }
    Ok(())
}

fn names() -> String {
    let names = rows()
        .map(|run| run.name)
        .chain(RECORDED.iter().map(|row| row.name))
        .chain(lives::names())
        .chain(stopped::names())
        .chain(injected::rows("", false).map(|row| row.name));
    names.collect::<Vec<_>>().join(" ")
}

fn reports(qemu: Qemu) -> Result<PathBuf> {
    let dir = place::reports().join(qemu.directory());
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}
