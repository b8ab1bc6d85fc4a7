//! `congruent check`: everything that can be wrong is found before the guest starts; then it runs, and is reported on.

use anyhow::{anyhow, bail};
use congruent_geometry::{CacheGeometry, PRESETS};
use congruent_report::{Report, Run, Symbols};
use congruent_wire::MuteRange;
use regex::bytes::RegexBuilder;

use crate::arguments::CheckOptions;
use crate::plugin;
use crate::reporting::Reporting;
use crate::session::{self, Plan};

/// Runs the check and writes the reports.
///
/// # Errors
/// One line with a remedy, if nothing could be judged or written.
pub(crate) fn check(options: &CheckOptions) -> anyhow::Result<u8> {
    let geometry = geometry(options)?;
    if options.qemu.is_empty() {
        bail!("no QEMU command; write it after `--`, as in: congruent check --dcache p5600 -- qemu-system-mipsel -M malta …");
    }
    let symbols = options.reports.read_symbols()?;
    let mute = mute(options, &symbols)?;
    let until = options.until.as_deref().map(until).transpose()?;
    let plugin = plugin::find(options.plugin.as_deref())?;
    let reporting = Reporting::open(&options.reports)?;
    let qemu = options.qemu.clone();
    let report_on_stdout = reporting.use_stdout();
    let ended = session::run(Plan {
        qemu,
        plugin,
        geometry,
        mute,
        backtraces: !options.no_backtraces,
        until,
        timeout: options.timeout,
        report_on_stdout,
    })?;
    let judged = ended.judge(options.timeout, options.until.as_deref()).map_err(|line| anyhow!(line))?;
    let run = Run {
        target: &judged.target,
        geometry,
        stats: judged.stats,
        findings: &judged.findings,
        chains: &judged.chains,
        limits: judged.limits,
        muted: options.mute.clone(),
        outcome: judged.outcome,
    };
    let report = Report::new(&run, &symbols);
    reporting.finish(report)
}

fn geometry(options: &CheckOptions) -> anyhow::Result<CacheGeometry> {
    let Some(text) = &options.dcache else {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        bail!("no cache given; add --dcache SIZE,WAYS,LINE such as 32K,4,32, or one of {}", names.join(", "));
    };
    text.parse().map_err(|error| anyhow!("--dcache {text}: {error}"))
}

fn mute(options: &CheckOptions, symbols: &Symbols) -> anyhow::Result<Vec<MuteRange>> {
    let mut ranges = Vec::new();
    for site in &options.mute {
        let found = symbols.ranges(site).map_err(|error| anyhow!("--mute: {error}"))?;
        ranges.extend(found.into_iter().map(|range| MuteRange { start: range.start, end: range.end }));
    }
    Ok(ranges)
}

fn until(text: &str) -> anyhow::Result<regex::bytes::Regex> {
    if text.is_empty() {
        bail!("--until: an empty expression matches everything; leave it out, or give text that the console prints");
    }
    RegexBuilder::new(text).build().map_err(|error| {
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        anyhow!("--until: `{text}` is not a regular expression: {reason}; write `\\` before characters that are meant literally")
    })
}
