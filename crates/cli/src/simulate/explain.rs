//! `--explain N`: one finding told event by event, with what the caches may hold of its line after each.
//!
//! Guarantees: the states are the judge's own, not a second opinion; the account ends with the event that the finding is about. Not
//! promised: all events since the start. Those before the line's last time without a copy are left out, and so are events that
//! changed nothing, but for the last of a kind.

use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use congruent_geometry::{ByteMask, CacheGeometry, PhysAddr};
use congruent_shadow::{Finding, LineView, Shadow, Side};
use congruent_trace::{AccessKind, DmaDirection, Event, Maintenance, Scope, Site};
use congruent_vm::{Outcome, PolicyKind, Setup, site_name};

use super::options::Computer;
use super::run::{in_memory, with_policy};
use super::source::Workload;
use super::text::amount;
use super::{SimulateOptions, results};

/// Steps of an account, at most.
const TOLD: usize = 40;

pub(super) fn explain(
    options: &SimulateOptions,
    computers: &[Computer],
    policies: &[PolicyKind],
    workload: &Workload,
    number: u32,
) -> anyhow::Result<u8> {
    let ([computer], [policy]) = (computers, policies) else {
        bail!("--explain tells of one policy's finding; add --policy with its name");
    };
    let mut setup = with_policy(computer, *policy);
    setup.history = true;
    let outcome = in_memory(options, &setup, workload)?;
    let index = number as usize - 1;
    let findings = amount(outcome.findings.len() as u64, "finding", "findings");
    let finding = outcome.findings.get(index).with_context(|| format!("--explain {number}: {policy} has {findings} here"))?;
    anstream::print!("{}", account(number, finding, &outcome, &setup)?);
    Ok(1)
}

/// The caches whose colours are told.
#[derive(Clone, Copy)]
struct Caches {
    data: CacheGeometry,
    code: CacheGeometry,
}

fn account(number: u32, finding: &Finding, outcome: &Outcome, setup: &Setup) -> anyhow::Result<String> {
    let caches = Caches { data: setup.dcache, code: setup.icache };
    let geometry = &caches.data;
    let line = finding.example.paddr.align_down(geometry.line().into());
    let mut text = String::new();
    let head = super::text::sentence(&results::finding(finding));
    let at = finding.example.paddr.0 - line.0;
    writeln!(text, "finding {number} of {}: {head}", outcome.policy).expect("a string takes everything");
    writeln!(
        text,
        "The line at {line} of memory, bytes {}; `c0` is the data cache's colour 0, `i0` the instruction cache's.",
        bytes(at, finding.example.bytes.into())
    )
    .expect("a string takes everything");
    let steps = steps(finding, outcome, Shadow::new(setup.judged()?), caches, line);
    let skipped = steps.len().saturating_sub(TOLD);
    if skipped > 0 {
        writeln!(text, "({} before these)", amount(skipped as u64, "event", "events")).expect("a string takes everything");
    }
    text.push('\n');
    for (at, step) in steps.iter().skip(skipped).enumerate() {
        let times =
            if step.times > 1 { format!(" (and {} like it)", amount(step.times - 1, "event", "events")) } else { String::new() };
        writeln!(text, "{:>3}. {}{times}", at + 1, step.what).expect("a string takes everything");
        writeln!(text, "     before: {}", step.before).expect("a string takes everything");
        writeln!(text, "     after:  {}", step.after).expect("a string takes everything");
    }
    let seen = outcome
        .corruptions
        .iter()
        .find(|corruption| corruption.paddr.is_some_and(|paddr| paddr.align_down(geometry.line().into()) == line));
    if let Some(seen) = seen {
        writeln!(text, "\nWhat was seen on this machine: {seen}.").expect("a string takes everything");
    }
    Ok(text)
}

/// An event on the line, and what the judge held possible around it.
struct Step {
    what: String,
    before: String,
    after: String,
    /// How many such events came one after the other, the first of which changed something or nothing did.
    times: u64,
}

fn steps(finding: &Finding, outcome: &Outcome, mut judge: Shadow, caches: Caches, line: PhysAddr) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut before = judge.view(line);
    for event in outcome.history.iter().filter(|event| concerns(event, &caches.data, line)) {
        judge.apply(event);
        let after = judge.view(line);
        let what = words(event, caches, line);
        let changed = before != after;
        let found = judge.findings().iter().any(|found| is_same(found, finding));
        match steps.last_mut() {
            _ if is_broad(event) && !changed => {}
            Some(last) if !changed && !found && last.what == what => last.times += 1,
            _ => steps.push(Step { what, before: state(&before), after: state(&after), times: 1 }),
        }
        if found {
            break;
        }
        // What came before the line was nowhere does not matter any more.
        if after == LineView::default() {
            steps.clear();
        }
        before = after;
    }
    steps
}

/// Whether an event is maintenance that is not of one line: most of it is about others.
fn is_broad(event: &Event) -> bool {
    matches!(
        event,
        Event::Maintain { scope: Scope::Whole | Scope::Index { .. }, .. }
            | Event::MaintainCode { scope: Scope::Whole | Scope::Index { .. }, .. }
    )
}

fn is_same(found: &Finding, finding: &Finding) -> bool {
    let parties = |finding: &Finding| {
        let producer = finding.producer.map(|party| (party.kind, party.site));
        (finding.class, finding.consumer.kind, finding.consumer.site, producer)
    };
    parties(found) == parties(finding)
}

/// Whether an event can change or see the line.
fn concerns(event: &Event, geometry: &CacheGeometry, line: PhysAddr) -> bool {
    let size = u64::from(geometry.line());
    let overlaps = |paddr: PhysAddr, len: u64| paddr.0 < line.0 + size && line.0 < paddr.0 + len;
    match *event {
        Event::Access { paddr, size, .. } | Event::Uncached { paddr, size, .. } | Event::Fetch { paddr, size, .. } => {
            overlaps(paddr, size.into())
        }
        Event::Dma { paddr, len, .. } => overlaps(paddr, len),
        Event::Prefetch { paddr, .. } => overlaps(paddr, 1),
        Event::Maintain { scope: Scope::Line { paddr, .. }, .. }
        | Event::MaintainCode { scope: Scope::Line { paddr, .. }, .. } => overlaps(paddr, 1),
        Event::Maintain { .. } | Event::MaintainCode { .. } => true,
        _ => false,
    }
}

fn words(event: &Event, caches: Caches, line: PhysAddr) -> String {
    let geometry = caches.data;
    let colour = |vaddr| format!("c{}", geometry.colour(vaddr).index());
    let code_colour = |vaddr| format!("i{}", caches.code.colour(vaddr).index());
    let part = |paddr: PhysAddr, len: u64| {
        let start = paddr.0.max(line.0);
        let end = (paddr.0 + len).min(line.0 + u64::from(geometry.line()));
        bytes(start - line.0, end - start)
    };
    let by = |site: Site| site_name(site);
    match *event {
        Event::Access { kind, vaddr, paddr, size, site } => {
            let verb = if kind == AccessKind::Load { "loads" } else { "stores" };
            format!("{} {verb} bytes {} through {}", by(site), part(paddr, size.into()), colour(vaddr))
        }
        Event::Uncached { kind, paddr, size, site } => {
            let verb = if kind == AccessKind::Load { "loads" } else { "stores" };
            format!("{} {verb} bytes {} uncached", by(site), part(paddr, size.into()))
        }
        Event::Fetch { vaddr, paddr, size, site } => {
            format!("{} fetches bytes {} through {}", by(site), part(paddr, size.into()), code_colour(vaddr))
        }
        Event::Dma { direction, paddr, len, site } => {
            let verb = if direction == DmaDirection::Read { "reads" } else { "writes" };
            format!("the device ({}) {verb} bytes {} of memory", by(site), part(paddr, len))
        }
        Event::Prefetch { vaddr, site, .. } => format!("{} prefetches through {}", by(site), colour(vaddr)),
        Event::Maintain { op, scope, site } => {
            let verb = match op {
                Maintenance::WriteBack => "writes back",
                Maintenance::Invalidate => "invalidates",
                Maintenance::WriteBackInvalidate => "writes back and invalidates",
            };
            match scope {
                Scope::Line { vaddr, .. } => format!("{} {verb} the line at {}", by(site), colour(vaddr)),
                Scope::Index { set, way } => format!("{} {verb} way {way} of set {set}", by(site)),
                Scope::Whole => format!("{} {verb} the whole cache", by(site)),
            }
        }
        Event::MaintainCode { scope, site } => match scope {
            Scope::Line { vaddr, .. } => format!("{} invalidates the line at {}", by(site), code_colour(vaddr)),
            Scope::Index { set, way } => format!("{} invalidates way {way} of set {set} of the instruction cache", by(site)),
            Scope::Whole => format!("{} invalidates the whole instruction cache", by(site)),
        },
        _ => format!("{event:?}"),
    }
}

/// What may be held, in one line.
fn state(view: &LineView) -> String {
    let mut parts: Vec<String> = Vec::new();
    for copy in &view.copies {
        let side = if copy.side == Side::Instruction { "i" } else { "c" };
        let mut says = Vec::new();
        if !copy.dirty.is_empty() {
            says.push(format!("dirty {}", mask(copy.dirty)));
        }
        if !copy.stale.is_empty() {
            says.push(format!("old {}", mask(copy.stale)));
        }
        if says.is_empty() {
            says.push("clean".to_owned());
        }
        parts.push(format!("{side}{} {}", copy.colour, says.join(", ")));
    }
    let memory = view.copies.iter().fold(view.lost, |mask, copy| mask | copy.dirty);
    parts.push(if memory.is_empty() { "memory newest".to_owned() } else { format!("memory perhaps old {}", mask(memory)) });
    if !view.lost.is_empty() {
        parts.push(format!("perhaps lost {}", mask(view.lost)));
    }
    parts.join("; ")
}

fn bytes(start: u64, len: u64) -> String {
    format!("{start}..{}", start + len)
}

/// The bytes of a mask as ranges.
fn mask(mask: ByteMask) -> String {
    let mut ranges = Vec::new();
    let mut start = None;
    for at in 0..=128u64 {
        match (at < 128 && mask.0 >> at & 1 == 1, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                ranges.push(bytes(from, at - from));
                start = None;
            }
            _ => {}
        }
    }
    ranges.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_told_as_ranges() {
        assert_eq!(mask(ByteMask::range(0, 4) | ByteMask::range(16, 16)), "0..4 16..32");
        assert_eq!(mask(ByteMask::range(120, 8)), "120..128");
    }
}
