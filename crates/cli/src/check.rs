//! `congruent check`: everything that can be wrong is found before the guest starts; then it runs, and is reported on.

use std::fs;

use anyhow::{Context as _, anyhow, bail};
use congruent_geometry::{CacheGeometry, PRESETS};
use congruent_report::{Report, Run, Symbols, Verdict};
use congruent_wire::MuteRange;
use regex::bytes::RegexBuilder;

use crate::arguments::{Check, CheckOptions};
use crate::output::Outputs;
use crate::plugin;
use crate::session::{self, Plan};

/// Runs the check and writes the reports.
///
/// # Errors
/// One line with a remedy, if nothing could be judged or written.
pub(crate) fn check(check: &Check) -> anyhow::Result<u8> {
    let options = &check.options;
    let geometry = geometry(options)?;
    if options.qemu.is_empty() {
        bail!("no QEMU command; write it after `--`, as in: congruent check --dcache p5600 -- qemu-system-mipsel -M malta …");
    }
    let symbols = symbols(options)?;
    let mute = mute(options, &symbols)?;
    let until = options.until.as_deref().map(until).transpose()?;
    let plugin = plugin::find(options.plugin.as_deref())?;
    let outputs = Outputs::open(&check.targets)?;
    let qemu = options.qemu.clone();
    let report_on_stdout = outputs.use_stdout();
    let ended = session::run(Plan { qemu, plugin, geometry, mute, until, timeout: options.timeout, report_on_stdout })?;
    let judged = ended.judge(options.timeout, options.until.as_deref()).map_err(|line| anyhow!(line))?;
    let run = Run {
        target: &judged.target,
        geometry,
        stats: judged.stats,
        findings: &judged.findings,
        limits: judged.limits,
        muted: options.mute.clone(),
        outcome: judged.outcome,
    };
    let report = Report::new(&run, &symbols);
    outputs.write(&report, options.show)?;
    Ok(match report.verdict {
        Verdict::Clean => 0,
        Verdict::Findings => 1,
        Verdict::Incomplete => 3,
    })
}

fn geometry(options: &CheckOptions) -> anyhow::Result<CacheGeometry> {
    let Some(text) = &options.dcache else {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        bail!("no cache given; add --dcache SIZE,WAYS,LINE such as 32K,4,32, or one of {}", names.join(", "));
    };
    text.parse().map_err(|error| anyhow!("--dcache {text}: {error}"))
}

fn symbols(options: &CheckOptions) -> anyhow::Result<Symbols> {
    let mut symbols = Symbols::default();
    for path in &options.symbols {
        let file =
            fs::read(path).with_context(|| format!("cannot read the symbol file `{}`; correct --symbols", path.display()))?;
        symbols.add(&file).map_err(|error| anyhow!("`{}` gives no symbols: {error}", path.display()))?;
    }
    Ok(symbols)
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
