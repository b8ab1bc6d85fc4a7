//! `--inject` on real processors and real kernels: what the judge finds, the guest gets, and nothing else.
//!
//! Guests without an operating system say of each case whether it read the newest bytes: those that are stale must fail and no other. Programs under
//! a kernel check their data as well: those whose row of the table has a finding must fail, those whose row is clean must not notice anything. Where
//! a row takes maintenance from a kernel that is right, the program must fail, and pass with it. The one that does not know its cache must
//! die, each time of the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::row::{Expect, Load, Run};
use super::table::RUNS;
use crate::guests::boot::Devices;
use crate::guests::console::Console;
use crate::guests::emulator::Qemu;
use crate::guests::machine::Guest;

/// A load that QEMU makes in a function of its own: it cannot be made again, and gets the newest.
const HELPED: &str = "stale_load_by_ll";
/// How many schedules are followed that chance chooses.
const SEEDS: u32 = 6;

/// What is held against what.
#[derive(Clone, Copy)]
enum Against {
    /// Each case says what it read.
    Cases,
    /// Each program says whether its data is right.
    Programs,
    /// Its program fails without the maintenance that is muted, and passes with it.
    Mute,
    /// It dies.
    Death,
}

/// A row: what it is called, the row of the table whose guest it is, and what is held against what.
pub struct Injected {
    pub name: &'static str,
    of: &'static str,
    against: Against,
}

const fn row(name: &'static str, of: &'static str, against: Against) -> Injected {
    Injected { name, of, against }
}

const ROWS: &[Injected] = &[
    row("injected-mips-unaware", "mips-unaware", Against::Death),
    row("injected-mips-programs", "mips-vm-writev", Against::Programs),
    // Of the boards that boot soon; the first Raspberry Pi, which does not, said the same when it was tried.
    row("injected-sh4-programs", "sh4-vm-writev", Against::Programs),
    row("injected-mipsel", "bare-mipsel", Against::Cases),
    row("injected-mips", "bare-mips", Against::Cases),
    row("injected-mipsel-smp", "bare-mipsel-smp", Against::Cases),
    row("injected-armv6", "bare-armv6", Against::Cases),
    row("injected-armv5", "bare-armv5", Against::Cases),
    row("injected-virtual-tags", "bare-virtual-tags", Against::Cases),
    row("injected-arm926-mute-alias", "arm926-mute-alias", Against::Mute),
    row("injected-mips-disk-mute-out", "mips-disk-mute-out", Against::Mute),
    row("injected-write-through", "bare-write-through", Against::Cases),
    row("injected-no-write-allocate", "bare-no-write-allocate", Against::Cases),
];

/// The rows whose name contains `only`; of those under a kernel or with two CPUs none where another emulator has had them just before (`again`).
pub fn rows(only: &str, again: bool) -> impl Iterator<Item = &'static Injected> {
    let wanted = move |row: &&Injected| row.name.contains(only) && !(again && row.takes_long());
    ROWS.iter().filter(wanted)
}

impl Injected {
    fn run(&self) -> Option<&'static Run> {
        RUNS.iter().find(|run| run.name == self.of)
    }

    fn takes_long(&self) -> bool {
        !matches!(self.against, Against::Cases) || self.run().is_some_and(|run| run.cpu_caches.is_some())
    }

    /// The guest that it needs.
    pub fn guest(&self) -> Option<Guest> {
        self.run().map(|run| run.load.guest())
    }

    /// Performs it, and says how it came out.
    ///
    /// # Errors
    /// If it is not as it must be.
    pub fn perform(&self, qemu: Qemu, reports: &Path) -> Result<String> {
        let start = Instant::now();
        let row = Row { name: self.name, run: *self.run().context("no such row")?, qemu, reports };
        let line = match self.against {
            Against::Cases => row.cases(),
            Against::Programs => row.programs(),
            Against::Mute => row.mute(),
            Against::Death => row.death(),
        };
        line.map(|line| format!("{line} {:>6.1} s", start.elapsed().as_secs_f64()))
    }
}

struct Row<'a> {
    name: &'a str,
    run: Run,
    qemu: Qemu,
    reports: &'a Path,
}

/// What came of a run.
struct Came {
    report: Value,
    console: Console,
    status: Option<i32>,
}

impl Row<'_> {
    fn came(&self, what: &str, together: Option<&str>, more: &[&str]) -> Result<Came> {
        let json = self.reports.join(format!("{}-{what}.json", self.name));
        let mut options = vec!["--format".into(), "json".into(), "-o".into(), json.clone().into_os_string()];
        options.extend(more.iter().map(Into::into));
        let start = Instant::now();
        let output = self.run.command(self.qemu, together, &options)?.stdin(Stdio::null()).output()?;
        let spoken = [output.stdout, output.stderr].concat();
        fs::write(json.with_extension("console"), &spoken)?;
        let report = fs::read_to_string(&json).with_context(|| json.display().to_string())?;
        let console = Console::from_bytes(&spoken, start.elapsed());
        Ok(Came { report: serde_json::from_str(&report)?, console, status: output.status.code() })
    }

    fn cases(&self) -> Result<String> {
        let plain = self.came("plain", None, &[])?;
        ensure!(plain.failed().is_empty(), "without old bytes, {:?} failed", plain.failed());
        let worst = self.came("worst", None, &["--inject", "worst"])?;
        for what in ["findings", "consequences", "verdict"] {
            let same = without_given(&plain.report[what]) == without_given(&worst.report[what]);
            ensure!(same, "{what} are not those of a run that is given nothing");
        }
        let mut expected = BTreeSet::new();
        for finding in worst.findings() {
            let function = function(finding);
            let is_load = finding["consumer"]["kind"] == "load" && function != HELPED;
            ensure!(is_load == finding["given"].is_object(), "{function}: a load, {is_load}; given {}", finding["given"]);
            if is_load {
                expected.insert(function);
            }
        }
        ensure!(worst.failed() == expected, "failed: {:?}; found: {expected:?}", worst.failed());
        let mut by_chance = BTreeSet::new();
        let mut schedules = BTreeSet::new();
        // Two CPUs take turns by the host's time, so a seed says less of them, and they take their time.
        let several = self.run.cpu_caches.is_some();
        for seed in 1..=if several { 2 } else { SEEDS } {
            let seed = seed.to_string();
            let came = self.came("seed", None, &["--inject", &seed])?;
            ensure!(came.failed().is_subset(&expected), "seed {seed}: {:?} failed, and was not found", came.failed());
            if !several {
                let again = self.came("seed-again", None, &["--inject", &seed])?;
                ensure!(again.failed() == came.failed(), "seed {seed} says {:?}, and then {:?}", came.failed(), again.failed());
            }
            by_chance.extend(came.failed());
            schedules.insert(came.failed());
        }
        ensure!(several || schedules.len() > 1, "{SEEDS} seeds all give the same");
        ensure!(several || 3 * by_chance.len() >= expected.len(), "{SEEDS} seeds show {by_chance:?} of {expected:?}");
        Ok(format!("{} of {} cases fail, {} by chance", expected.len(), worst.console.results().count(), by_chance.len()))
    }

    /// The rows of the same guest that differ in their program alone, and whether there is a finding in each: those that come with their twin.
    fn rows(&self) -> Vec<(&'static str, bool)> {
        let Load::Linux { guest: own, .. } = self.run.load else { return Vec::new() };
        let told = |run: &Run| match run.load {
            Load::Linux { guest, cpu: None, programs, words: "", devices: Devices::None } if guest == own => Some(programs),
            _ => None,
        };
        let plain = RUNS.iter().filter(|run| run.mute.is_empty() && run.icache.is_none() && run.behaviour.is_empty());
        let rows = plain.filter_map(|run| {
            let programs = told(run).filter(|programs| !programs.contains(','))?;
            match run.expect {
                Expect::Clean => Some((programs, false)),
                Expect::Exactly(_) => Some((programs, true)),
                _ => None,
            }
        });
        let rows: Vec<_> = rows.collect();
        // Programs without a twin that does the same rightly, or wrongly, show less for a boot's time.
        let has_twin = |(own, is_stale): &(&str, bool)| {
            let name = |programs: &str| programs.split(':').next().map(str::to_owned);
            rows.iter().any(|(other, other_is_stale)| name(own) == name(other) && is_stale != other_is_stale)
        };
        rows.iter().copied().filter(has_twin).collect()
    }

    /// As many of these programs at a time as the board takes the names of.
    fn boots(&self) -> Vec<Vec<(&'static str, bool)>> {
        let mut boots: Vec<Vec<(&'static str, bool)>> = Vec::new();
        for row in self.rows() {
            let fits = |boot: &&mut Vec<(&'static str, bool)>| {
                let names: Vec<&str> = boot.iter().map(|row| row.0).chain([row.0]).collect();
                self.run.boot(self.qemu, Some(&names.join(","))).is_some_and(|boot| boot.fits())
            };
            match boots.last_mut().filter(fits) {
                Some(boot) => boot.push(row),
                None => boots.push(vec![row]),
            }
        }
        boots
    }

    fn programs(&self) -> Result<String> {
        let boots = self.boots();
        let mut stale = 0;
        for rows in &boots {
            stale += self.programs_of(rows)?;
        }
        Ok(format!("{stale} of {} programs fail", boots.iter().map(Vec::len).sum::<usize>()))
    }

    /// How many of these programs failed, as they must.
    fn programs_of(&self, rows: &[(&'static str, bool)]) -> Result<usize> {
        let together: Vec<&str> = rows.iter().map(|row| row.0).collect();
        let came = self.came("worst", Some(&together.join(",")), &["--inject", "worst"])?;
        let is_any = rows.iter().any(|row| row.1);
        ensure!(came.status == Some(i32::from(is_any)), "exit status {:?}", came.status);
        ensure!((came.report["injected"]["loads"].as_u64() > Some(0)) == is_any, "{}", came.report["injected"]);
        let mut stale = 0;
        for (number, (programs, is_stale)) in rows.iter().enumerate() {
            let program = programs.split(':').next().unwrap_or(programs);
            let failed = came.console.results().any(|line| line.starts_with(&format!("FAIL {number}.{program} ended")));
            ensure!(failed == *is_stale, "{programs}: failed, {failed}; its row of the table has a finding, {is_stale}");
            stale += usize::from(*is_stale);
        }
        ensure!(came.console.text.contains("CONGRUENT-DONE"), "the guest did not come to its end");
        Ok(stale)
    }

    fn mute(&self) -> Result<String> {
        for mute in [self.run.mute, &[]] {
            let (is_muted, row) = (!mute.is_empty(), Row { run: Run { mute, ..self.run }, ..*self });
            let came = row.came(if is_muted { "muted" } else { "whole" }, None, &["--inject", "worst"])?;
            ensure!(came.status == Some(i32::from(is_muted)), "muted, {is_muted}: exit status {:?}", came.status);
            ensure!((came.report["injected"]["loads"].as_u64() > Some(0)) == is_muted, "{}", came.report["injected"]);
            let failed = came.failed();
            ensure!(failed.is_empty() != is_muted, "muted, {is_muted}: failed: {failed:?}");
            // Loads of CPUs, and what devices read.
            let is_given = |finding: &Value| finding["given"].is_object();
            ensure!(came.findings().iter().all(is_given), "muted, {is_muted}: a finding gave nothing");
            ensure!(came.console.text.contains("CONGRUENT-DONE"), "muted, {is_muted}: the guest did not come to its end");
        }
        Ok(format!("fails without {}, and passes with it", self.run.mute.join(", ")))
    }

    fn death(&self) -> Result<String> {
        let mut deaths = BTreeSet::new();
        for _ in 0..2 {
            let came = self.came("worst", None, &["--inject", "worst"])?;
            ensure!(came.status == Some(1), "exit status {:?}: {}", came.status, came.report["incomplete_because"]);
            let place = came.console.text.lines().find(|line| line.starts_with("epc") || line.contains("] epc"));
            let says = place.context("it did not die")?.split('(').next().unwrap_or_default().trim().to_owned();
            let given = came.report["injected"]["after_accesses"].as_u64().context("it was given nothing")?;
            deaths.insert((given, says));
        }
        ensure!(deaths.len() == 1, "it died in two ways: {deaths:?}");
        let died = deaths.pop_first().map(|(given, says)| format!("given old bytes after {given} accesses, it died at {says}"));
        Ok(died.unwrap_or_default())
    }
}

impl Came {
    /// The cases that read what they should not have.
    fn failed(&self) -> BTreeSet<String> {
        self.console.results().filter_map(|line| line.strip_prefix("FAIL ")).map(str::to_owned).collect()
    }

    fn findings(&self) -> &[Value] {
        self.report["findings"].as_array().map_or(&[], Vec::as_slice)
    }
}

/// The function of a finding's consumer.
fn function(finding: &Value) -> String {
    let symbol = finding["consumer"]["symbol"].as_str().unwrap_or_default();
    symbol.split('+').next().unwrap_or_default().to_owned()
}

/// A report's part without what the guest was given.
fn without_given(part: &Value) -> Value {
    let mut part = part.clone();
    for finding in part.as_array_mut().into_iter().flatten() {
        if let Some(finding) = finding.as_object_mut() {
            finding.remove("given");
        }
    }
    part
}
