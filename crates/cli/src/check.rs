//! `congruent check`: everything that can be wrong is found before the guest starts; then it runs, and is reported on.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use congruent_report::{Booked, Given, Injected, Outcome, Report, Run, Symbols};
use congruent_shadow::Schedules;
use congruent_trace::file::{Layout, RunEnd, Validity, append_end, pack};
use congruent_wire::{Delivered, Delivery, MuteRange, Record};
use regex::bytes::RegexBuilder;

use crate::arguments::CheckOptions;
use crate::command_line;
use crate::ending::Judged;
use crate::guest_symbols;
use crate::known_core::{self, Core};
use crate::ledger::{operation_costs, unseen};
use crate::output::Writable;
use crate::plugin;
use crate::recording;
use crate::reporting::Reporting;
use crate::session::{self, Plan};
use crate::stopping::{Stopping, stop_at};

/// Runs the check and writes the reports.
///
/// # Errors
/// One line with a remedy, if nothing could be judged or written.
pub(crate) fn check(options: &CheckOptions) -> anyhow::Result<u8> {
    let core = options.caches.dcache.is_none().then(|| known_core::of(&options.qemu)).flatten();
    let caches = options.caches.config(core.map(|core| core.preset))?;
    if options.reports.ledger {
        // The plugin refuses as well, but then QEMU has been started.
        caches.with_ledger().map_err(|error| anyhow!("--ledger: {error}"))?;
    }
    if let Some(schedules) = options.inject {
        caches.with_bytes(schedules).map_err(|error| anyhow!("--inject: {error}"))?;
    }
    if options.qemu.is_empty() {
        bail!("no QEMU command; write it after `--`, as in: congruent check --dcache p5600 -- qemu-system-mipsel -M malta …");
    }
    let mut symbols = options.reports.read_symbols()?;
    let mute = mute(&options.mute, &symbols)?;
    let stopping = options.stop_at.as_deref().map(|at| -> anyhow::Result<Stopping> {
        let at = stop_at(at, &symbols)?;
        Ok(Stopping::new(at, options.reports.read_symbols()?, caches, &options.qemu))
    });
    let stopping = stopping.transpose()?;
    let undisturbed = options.undisturbed.as_deref().map(|path| {
        fs::read(path)
            .with_context(|| format!("--undisturbed: cannot read `{}`; give it what the guest's console said", path.display()))
    });
    let undisturbed = undisturbed.transpose()?;
    let until = options.until.as_deref().map(until).transpose()?;
    let plugin = plugin::find(options.plugin.as_deref())?;
    let reporting = Reporting::open(&options.reports)?;
    let mut qemu = options.qemu.clone();
    qemu.extend(command_line::taking_turns(&options.qemu)?.into_iter().flatten());
    let report_on_stdout = reporting.use_stdout();
    if options.record.is_some()
        && let Some(reason) = recording::refuses(&Validity::of_run(caches.behaviour(), caches.code.is_some()), &caches)
    {
        bail!("--record: {reason}");
    }
    let kept = options.record.as_deref().map(|path| Kept::open(path, &reporting)).transpose()?;
    let record = kept.as_ref().map(|kept| Record { file: kept.path.clone(), muted: options.mute.clone() });
    let ended = session::run(Plan {
        qemu,
        plugin,
        caches,
        cpus: options.caches.cpu_caches.into(),
        mute,
        record,
        ledger: options.reports.ledger,
        backtraces: !options.no_backtraces,
        until,
        timeout: options.timeout,
        report_on_stdout,
        stopping,
        inject: options.inject,
        undisturbed,
    })?;
    let began = ended.target.is_some();
    let judged = ended.judge(options.timeout, options.until.as_deref()).map_err(|line| anyhow!(line))?;
    if let Some(kept) = kept.filter(|_| began) {
        kept.finish(&judged)?;
    }
    if let (Some(arch), Some(memory)) = (judged.target, &judged.memory) {
        guest_symbols::add(&mut symbols, arch, &judged.findings, memory);
    }
    let costs = operation_costs(judged.target, options.caches.dcache.as_deref().or(core.map(|core| core.preset)));
    let booked = Booked {
        lines: &judged.ledger,
        callers: &judged.ledger_callers,
        costs,
        unseen: unseen(judged.target, caches.code.is_some()),
    };
    let injected = options.inject.map(|schedules| Injected {
        schedule: match schedules {
            Schedules::Worst => "worst".to_owned(),
            Schedules::Seed(seed) => seed.to_string(),
        },
        given: judged.delivered.iter().map(|delivered| delivered.as_ref().map(given)).collect(),
        next_line: judged.next_line,
        later: judged.later,
    });
    let run = Run {
        target: judged.target,
        geometry: caches.geometry,
        behaviour: caches.behaviour(),
        stats: judged.stats,
        findings: &judged.findings,
        consequences: &judged.consequences,
        chains: &judged.chains,
        ledger: options.reports.ledger.then_some(booked),
        limits: judged.limits,
        muted: options.mute.clone(),
        kernel: judged.kernel,
        core: judged.core.and_then(|core| core.less_than(caches.geometry)),
        lives: judged.lives,
        injected: injected.as_ref(),
        outcome: judged.outcome,
    };
    let mut report = Report::new(&run, &symbols);
    report.notes.extend(core.map(Core::note));
    reporting.finish(report)
}

fn given(delivered: &Delivered) -> Given {
    let Delivery { paddr, got, newest, accesses } = delivered.first.clone();
    Given { loads: delivered.count, paddr, got, newest, accesses }
}

/// The code that `--mute` names.
///
/// # Errors
/// One line, if a site is no address and no symbol.
pub(crate) fn mute(sites: &[String], symbols: &Symbols) -> anyhow::Result<Vec<MuteRange>> {
    let mut ranges = Vec::new();
    for site in sites {
        let found = symbols.ranges(site).map_err(|error| anyhow!("--mute: {error}"))?;
        ranges.extend(found.into_iter().map(|range| MuteRange { start: range.start, end: range.end }));
    }
    Ok(ranges)
}

/// The file that a run is recorded in. It is there only once the plugin has begun it.
struct Kept {
    path: PathBuf,
}

impl Kept {
    /// Finds out before the guest starts whether the file can be written; what is in it stays until the plugin replaces it.
    fn open(path: &Path, reports: &Reporting) -> anyhow::Result<Self> {
        let hint =
            || format!("cannot write the recording `{}`; give --record a file in a directory you may write to", path.display());
        let file = Writable::try_find(path).with_context(hint)?;
        if reports.go_to(&file) {
            bail!("--record and -o name the same file, `{}`; give each one of its own", path.display());
        }
        Ok(Self { path: file.whole_path().with_context(hint)? })
    }

    /// Adds how the run ended, unless the recorder has not come to its end.
    fn finish(&self, judged: &Judged) -> anyhow::Result<()> {
        if let Some(reason) = &judged.recording_failure {
            eprintln!("congruent: {reason}; make room and record again");
            return Ok(());
        }
        let incomplete_because = match &judged.outcome {
            Outcome::Incomplete(reason) => Some(reason.clone()),
            Outcome::Finished if judged.lives > 1 => {
                eprintln!("congruent: the machine was reset; the recording `{}` ends with its first life", self.path.display());
                Some("the machine was reset, and the recording ends there".to_owned())
            }
            Outcome::Finished => None,
        };
        let appended = OpenOptions::new().append(true).open(&self.path);
        appended
            .and_then(|file| append_end(file, &RunEnd { incomplete_because, kernel: judged.kernel.clone() }))
            .with_context(|| format!("cannot finish the recording `{}`", self.path.display()))?;
        // Unpacked it is as good, only larger.
        self.pack().unwrap_or_else(|error| eprintln!("congruent: the recording stays unpacked: {error:#}"));
        Ok(())
    }

    /// Puts a packed recording in the place of this one, once it is written.
    fn pack(&self) -> anyhow::Result<()> {
        if !self.path.is_file() {
            return Ok(());
        }
        let file = fs::read(&self.path)?;
        let Some(packed) = pack(&Layout::of(&file)?)? else { return Ok(()) };
        let mut beside = self.path.clone().into_os_string();
        beside.push(".packing");
        let written = fs::write(&beside, packed).and_then(|()| fs::rename(&beside, &self.path));
        if written.is_err() {
            // Nothing can be done about a file that does not want to go.
            let _ = fs::remove_file(&beside);
        }
        Ok(written?)
    }
}

fn until(text: &str) -> anyhow::Result<regex::bytes::Regex> {
    if text.is_empty() {
        bail!("--until: an empty expression matches everything; leave it out, or give text that the console prints");
    }
    let regex = RegexBuilder::new(text).build().map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        anyhow!("--until: `{text}` is not a regular expression: {reason}; write `\\` before characters that are meant literally")
    })?;
    if regex.is_match(b"") {
        bail!(
            "--until: `{text}` matches nothing at all, so it would match before the console prints anything; give text that it prints"
        );
    }
    Ok(regex)
}
