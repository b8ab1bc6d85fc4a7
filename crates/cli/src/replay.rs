//! `congruent replay`: judges a recording, as it was judged when it was made or otherwise.

use anyhow::{anyhow, bail};
use congruent_report::{Booked, Chains, Report, Run};

use crate::arguments::ReplayOptions;
use crate::check;
use crate::ledger::{operation_costs, unseen};
use crate::recording::{Muting, Recording, judge, outcome, recorded_caches};
use crate::reporting::Reporting;

/// Replays a recording and writes the reports.
///
/// # Errors
/// One line with a remedy, if the recording or an option cannot be used.
pub(crate) fn replay(options: &ReplayOptions) -> anyhow::Result<u8> {
    let recording = Recording::read(&options.recording)?;
    let (arch, layout) = recording.layout(&options.recording, options.up_to_damage)?;
    let caches = options.caches.config(recorded_caches(&layout.header)?)?.with_contexts(!options.no_backtraces);
    let caches = match options.reports.ledger {
        true if caches.code.is_some() => {
            bail!("--ledger: recordings lack fetches to which lines mattered but no verdict; add --no-icache, or use check")
        }
        true => caches.with_ledger().map_err(|error| anyhow!("--ledger: {error}"))?,
        false => caches,
    };
    let symbols = options.reports.read_symbols()?;
    let (muting, muted) = if options.mute.is_empty() && !options.no_mute {
        (Muting::AsRecorded, layout.header.muted.clone())
    } else {
        (Muting::Of(check::mute(&options.mute, &symbols)?), options.mute.clone())
    };
    let reporting = Reporting::open(&options.reports)?;
    let replayed = judge(&layout, caches, &muting, |_, _| {})?;
    let limits = layout.footer.as_ref().map(|footer| footer.limits.clone());
    let none = Chains::default();
    let costs = operation_costs(Some(arch), options.caches.dcache.as_deref());
    let unseen = unseen(Some(arch), caches.code.is_some());
    let booked = Booked { lines: &replayed.ledger, callers: &replayed.callers, costs, unseen };
    let run = Run {
        target: Some(arch),
        geometry: caches.geometry,
        behaviour: caches.behaviour(),
        stats: replayed.stats,
        findings: &replayed.findings,
        consequences: &replayed.consequences,
        chains: if options.no_backtraces { &none } else { &replayed.chains },
        ledger: options.reports.ledger.then_some(booked),
        limits: limits.unwrap_or_else(|| vec!["what the recorded run could not observe is unknown".to_owned()]),
        muted,
        kernel: layout.end.as_ref().and_then(|end| end.kernel.clone()),
        core: None,
        lives: 1,
        injected: None,
        outcome: outcome(&layout),
    };
    reporting.finish(Report::new(&run, &symbols))
}
