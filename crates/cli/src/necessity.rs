//! `congruent necessity`: which functions' maintenance a recorded run needed, found by leaving each out in turn.
//!
//! Guarantees: "necessary" is shown by a finding that the recording does not have otherwise. "Not shown necessary" says just that:
//! another run may need it. What is not maintenance (a window at another address, a deferred flush that never came) issues no
//! operation and so cannot be left out here.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};

use anyhow::{Context as _, bail};
use congruent_arch::Arch;
use congruent_geometry::{PhysAddr, VirtAddr};
use congruent_report::{Chains, Identity, Outcome, Report, Run, Symbols};
use congruent_shadow::{Config, Finding};
use congruent_trace::file::{CallChains, ChainId, Layout, Recorded, Visitor, chains, play};
use congruent_trace::{AccessKind, Event, On, Site, devices};
use indicatif::{ParallelProgressIterator as _, ProgressBar, ProgressStyle};
use rayon::prelude::*;

use crate::arguments::NecessityOptions;
use crate::check;
use crate::recording::{Muting, Recording, judge, outcome, recorded_caches};
use crate::reporting::read_symbols;

/// Replays the recording once for each function that issued maintenance or called what did, and prints what each was needed for.
///
/// # Errors
/// One line with a remedy, if the recording or an option cannot be used.
pub(crate) fn necessity(options: &NecessityOptions) -> anyhow::Result<u8> {
    let recording = Recording::read(&options.recording)?;
    let (arch, layout) = recording.layout(&options.recording, false)?;
    let caches = options.caches.config(recorded_caches(&layout.header)?)?;
    let symbols = read_symbols(&options.symbols)?;
    let functions = Functions::of(arch, &layout, &caches, &symbols, options.callers).chosen(&options.only, &symbols)?;
    let without = |muting: Muting| Ok::<_, anyhow::Error>(judge(&layout, caches, &muting, |_, _| {})?.findings);
    // Names are looked up here, between the replays: symbols are not shared among threads.
    let in_words = |findings: &[Finding]| words(arch, &caches, &symbols, findings);
    let known: BTreeSet<String> = in_words(&without(Muting::Of(Vec::new()))?).into_iter().collect();
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} functions, {eta} left").context("the progress bar")?;
    let bar = ProgressBar::new(functions.len() as u64).with_style(style);
    let tried = functions.into_par_iter().progress_with(bar);
    let tried = tried.map(|(name, operations, muting)| Ok((name, operations, without(muting)?)));
    let tried: Vec<_> = tried.collect::<anyhow::Result<_>>()?;
    let named = tried.into_iter().map(|(name, operations, findings)| {
        (name, operations, in_words(&findings).into_iter().find(|finding| !known.contains(finding)))
    });
    let mut tried: Vec<(String, u64, Option<String>)> = named.collect();
    tried.sort_by_key(|(name, operations, broken)| (broken.is_none(), std::cmp::Reverse(*operations), name.clone()));
    let mut text = String::new();
    for (name, operations, broken) in tried {
        text += &match broken {
            Some(finding) => format!("necessary            {operations:>9} operations  {name}\n    without it: {finding}\n"),
            None => format!("not shown necessary  {operations:>9} operations  {name}\n"),
        };
    }
    let outcome = outcome(&layout);
    if let Outcome::Incomplete(reason) = &outcome {
        text += &format!("The run is incomplete: {reason}. What was not shown necessary may be needed by the rest.\n");
    }
    io::stdout().write_all(text.as_bytes()).context("cannot write to standard output")?;
    Ok(if matches!(outcome, Outcome::Finished) { 0 } else { 3 })
}

/// Findings in words, the most important first.
fn words(arch: Arch, caches: &Config, symbols: &Symbols, findings: &[Finding]) -> Vec<String> {
    let chains = Chains::default();
    let run = Run::of_findings(arch, caches.geometry, caches.behaviour(), findings, &chains);
    Report::new(&run, symbols).findings.iter().map(|entry| Identity::of(entry).to_string()).collect()
}

/// Operations under each of the functions that issued maintenance and those that called them, and under each function on behalf of the
/// nearest other that had called it.
#[derive(Default)]
struct Functions {
    alone: BTreeMap<String, u64>,
    on_behalf: BTreeMap<(String, String), u64>,
}

impl Functions {
    fn of(arch: Arch, layout: &Layout<'_>, caches: &Config, symbols: &Symbols, callers: usize) -> Self {
        // Damage was refused before; contents that are no events are found by the judging.
        let calls = chains(layout).unwrap_or_default();
        let mut counted = Counted { operations: BTreeMap::new(), callers, calls: &calls, code: caches.code.is_some() };
        let _ = play(layout, &mut counted);
        let mut functions = Self::default();
        for (code, operations) in counted.operations {
            let name = |site: &u32| {
                let pc = arch.facts().split.address(Site(*site));
                symbols.resolve(pc.into()).map_or_else(|| format!("{pc:#010x}"), |place| place.function)
            };
            let names: Vec<String> = code.iter().map(name).collect();
            if let Some(caller) = names.iter().find(|name| **name != names[0]) {
                *functions.on_behalf.entry((names[0].clone(), caller.clone())).or_default() += operations;
            }
            for function in names.into_iter().collect::<BTreeSet<String>>() {
                *functions.alone.entry(function).or_default() += operations;
            }
        }
        functions
    }

    /// What is to be left out in turn: these, or every function if none is named.
    fn chosen(self, only: &[String], symbols: &Symbols) -> anyhow::Result<Vec<(String, u64, Muting)>> {
        let ranges = |name: &String| check::mute(std::slice::from_ref(name), symbols);
        if only.is_empty() {
            return self.alone.into_iter().map(|(name, count)| Ok((name.clone(), count, Muting::Of(ranges(&name)?)))).collect();
        }
        let choose = |name: &String| {
            let pair = name.split_once(" from ").map(|(function, caller)| (function.to_owned(), caller.to_owned()));
            let found = match &pair {
                Some(pair) => self.on_behalf.get(pair),
                None => self.alone.get(name),
            };
            let Some(count) = found else {
                bail!(
                    "--only {name}: no maintenance was issued by this function or below it; leave --only out to see \
                     which functions there are, or raise --callers"
                );
            };
            let muting = match &pair {
                Some((function, caller)) => Muting::OnBehalf { function: ranges(function)?, caller: ranges(caller)? },
                None => Muting::Of(ranges(name)?),
            };
            Ok((name.clone(), *count, muting))
        };
        only.iter().map(choose).collect()
    }
}

/// Counts operations by their code and its nearest callers.
struct Counted<'a> {
    operations: BTreeMap<Vec<u32>, u64>,
    callers: usize,
    calls: &'a CallChains,
    /// Whether the instruction side is judged.
    code: bool,
}

impl Visitor for Counted<'_> {
    fn access(&mut self, _: AccessKind, _: VirtAddr, _: PhysAddr, _: u32, _: Site, _: ChainId) {}

    fn operation(&mut self, Recorded { operation, chain, .. }: &Recorded) {
        if operation.on == On::Code && !self.code {
            return;
        }
        // What a device that sees caches does to them is no maintenance that code issues and could leave out.
        if operation.site == devices::VIRTIO {
            return;
        }
        let callers = self.calls.callers(*chain).take(self.callers);
        let code = std::iter::once(operation.site).chain(callers).map(|site| site.0).collect();
        *self.operations.entry(code).or_default() += 1;
    }

    fn event(&mut self, _: &Event, _: ChainId) {}
}
