//! `congruent replay`: judges a recording, as it was judged when it was made or otherwise.

use anyhow::anyhow;
use congruent_geometry::{Behaviour, CacheGeometry};
use congruent_report::{Booked, Chains, Report, Run};

use crate::arguments::ReplayOptions;
use crate::caches;
use crate::check;
use crate::ledger::operation_costs;
use crate::recording::{Muting, Recording, judge, outcome};
use crate::reporting::Reporting;

/// Replays a recording and writes the reports.
///
/// # Errors
/// One line with a remedy, if the recording or an option cannot be used.
pub(crate) fn replay(options: &ReplayOptions) -> anyhow::Result<u8> {
    let recording = Recording::read(&options.recording)?;
    let layout = recording.layout(&options.recording, options.up_to_damage)?;
    let geometry = match &options.dcache {
        Some(text) => caches::data(Some(text))?.geometry,
        None => CacheGeometry::try_from(layout.header.geometry).map_err(|error| anyhow!("the recording's cache: {error}"))?,
    };
    let symbols = options.reports.read_symbols()?;
    let (muting, muted) = if options.mute.is_empty() && !options.no_mute {
        (Muting::AsRecorded, layout.header.muted.clone())
    } else {
        (Muting::Of(check::mute(&options.mute, &symbols)?), options.mute.clone())
    };
    let reporting = Reporting::open(&options.reports)?;
    let replayed = judge(&layout, geometry, &muting, options.reports.ledger, |_, _| {})?;
    let limits = layout.footer.as_ref().map(|footer| footer.limits.clone());
    let costs = operation_costs(&layout.header.target, options.dcache.as_deref());
    let booked = Booked { lines: &replayed.ledger, callers: &replayed.callers, costs, fetches_judged: false };
    let run = Run {
        target: &layout.header.target,
        geometry,
        behaviour: Behaviour::USUAL,
        stats: replayed.stats,
        findings: &replayed.findings,
        // Accesses are kept without the calls that they were made under.
        chains: &Chains::default(),
        ledger: options.reports.ledger.then_some(booked),
        limits: limits.unwrap_or_else(|| vec!["what the recorded run could not observe is unknown".to_owned()]),
        muted,
        outcome: outcome(&layout),
    };
    reporting.finish(Report::new(&run, &symbols))
}
