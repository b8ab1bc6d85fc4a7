//! The report as one HTML page: tables, and three plots.
//!
//! Guarantees: self-contained (its own policy forbids fetching anything), without scripts, light and dark by the reader's setting.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::charts::{Bar, grouped, lines, stacked};
use super::results::{ComputerEntry, PolicyEntry, Results};
use super::text::{amount, is_shortage, kib, sentence, thousands};

const STYLE: &str = include_str!("style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

impl Results {
    /// The report as an HTML page.
    pub(crate) fn to_html(&self) -> String {
        let steps = self.computers.first().and_then(|computer| computer.policies.first()).map_or(0, |policy| policy.steps);
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    title { "Congruent: simulation of " (self.workload.name) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { "Simulation of " (self.workload.description) }
                    p { (amount(steps, "step", "steps")) " on the reference VM, under each policy." }
                    @if let Some(log) = &self.workload.log {
                        p {
                            (amount(log.calls, "call", "calls")) " of " (amount(log.tasks as u64, "task", "tasks")) "; "
                            (log.failed) " failed and did nothing. Not modelled:"
                            @for (at, call) in log.not_modelled.iter().enumerate() { @if at > 0 { "," } " " (call.count) " " (call.name) }
                            "."
                        }
                    }
                    @if let [computer] = &self.computers[..] {
                        (one_computer(computer))
                    } @else {
                        (sweep(&self.computers))
                    }
                }
            }
        }
        .into_string()
    }
}

fn names(computer: &ComputerEntry) -> Vec<String> {
    computer.policies.iter().map(|policy| policy.policy.to_owned()).collect()
}

fn one_computer(computer: &ComputerEntry) -> Markup {
    html! {
        p { (computer.description()) "." }
        @if !computer.muted.is_empty() { p { "Muted: " (computer.muted.join(", ")) "." } }
        h2 { "Policies" }
        (policies(computer))
        h2 { "Where cycles go" }
        (cycles(computer))
        h2 { "Maintenance of each operation" }
        (maintenance(computer))
        h2 { "Cost of each operation" }
        (operations(computer))
        @for policy in &computer.policies { (found(policy)) }
        p.quiet { "Cost over colours: run with " code { "--sweep" } "." }
    }
}

fn policies(computer: &ComputerEntry) -> Markup {
    html! {
        div.wide { table {
            thead { tr {
                @for head in ["policy", "findings", "wrong bytes", "pages maintained", "whole-cache operations", "code lines",
                    "whole code cache", "windows mapped", "look-ups", "TLB refills", "cycles", "cycles per step"] { th scope="col" { (head) } }
            } }
            tbody { @for policy in &computer.policies {
                tr class=(if policy.is_clean() { "" } else { "bad" }) {
                    th scope="row" { (policy.policy) }
                    @for number in [policy.findings.len() as u64, policy.corrupted_bytes, policy.maintenance.pages, policy.maintenance.whole,
                        policy.maintenance.code_lines, policy.maintenance.code_whole, policy.windows_mapped, policy.lookups,
                        policy.tlb_refills, policy.cycles.total] { td { (thousands(number)) } }
                    td { (format!("{:.1}", policy.per_step())) }
                }
            } }
        } }
    }
}

fn cycles(computer: &ComputerEntry) -> Markup {
    let Some(first) = computer.policies.first() else { return html! {} };
    let told: Vec<usize> = (0..first.cycles.by_cause.len())
        .filter(|at| computer.policies.iter().any(|policy| policy.cycles.by_cause[*at].count > 0))
        .collect();
    let causes: Vec<String> = told.iter().map(|at| first.cycles.by_cause[*at].name.clone()).collect();
    let bar = |policy: &PolicyEntry| Bar {
        name: policy.policy.to_owned(),
        parts: told.iter().map(|at| policy.cycles.by_cause[*at].count as f64).collect(),
    };
    let bars: Vec<Bar> = computer.policies.iter().map(bar).collect();
    html! {
        (stacked("Cycles by cause", &causes, &bars))
        details { summary { "As a table" }
            div.wide { table {
                thead { tr { th scope="col" { "policy" } @for cause in &causes { th scope="col" { (cause) } } } }
                tbody { @for policy in &computer.policies {
                    tr { th scope="row" { (policy.policy) } @for at in &told { td { (thousands(policy.cycles.by_cause[*at].count)) } } }
                } }
            } }
        }
    }
}

/// What a table of operations tells of one of them.
type Value = fn(&super::results::OperationEntry) -> f64;

/// For each operation of any policy, the value under each policy.
fn by_operation(computer: &ComputerEntry, value: Value) -> (Vec<String>, Vec<Vec<f64>>) {
    let Some(first) = computer.policies.first() else { return (Vec::new(), Vec::new()) };
    let of = |policy: &PolicyEntry, name| policy.operations.iter().find(|other| other.name == name).map_or(0.0, value);
    first
        .operations
        .iter()
        .filter(|operation| computer.charges(operation.name))
        .map(|operation| (operation.name.to_owned(), computer.policies.iter().map(|policy| of(policy, operation.name)).collect()))
        .unzip()
}

fn maintenance(computer: &ComputerEntry) -> Markup {
    let per_page = f64::from(computer.page / computer.dcache.line);
    // Whole-cache operations as the lines that they walk.
    let whole = f64::from(computer.dcache.size / computer.dcache.line);
    let (groups, lines) = by_operation(computer, |operation| operation.lines as f64 / operation.count.max(1) as f64);
    let (_, wholes) = by_operation(computer, |operation| operation.whole as f64 / operation.count.max(1) as f64);
    let values: Vec<Vec<f64>> = lines
        .iter()
        .zip(&wholes)
        .map(|(lines, wholes)| lines.iter().zip(wholes).map(|(l, w)| (l + w * whole) / per_page).collect())
        .collect();
    let told: Vec<usize> = (0..groups.len()).filter(|at| values[*at].iter().any(|value| *value > 0.0)).collect();
    if told.is_empty() {
        return html! { p { "No policy maintained any line." } };
    }
    let pick = |at: &usize| (groups[*at].clone(), values[*at].clone());
    let (groups, values): (Vec<String>, Vec<Vec<f64>>) = told.iter().map(pick).unzip();
    grouped(
        "Pages' worth of lines maintained by one operation (a whole-cache operation counts as all its lines)",
        &names(computer),
        &groups,
        &values,
    )
}

fn operations(computer: &ComputerEntry) -> Markup {
    let (groups, values) = by_operation(computer, super::results::OperationEntry::cycles_each);
    let counts: Vec<u64> =
        computer.policies.first().map_or_else(Vec::new, |policy| policy.operations.iter().map(|op| op.count).collect());
    html! {
        p.quiet { "Cycles of a system call on average; what programs load and store themselves is in the totals only." }
        div.wide { table {
            thead { tr { th scope="col" { "operation" } th scope="col" { "count" } @for name in names(computer) { th scope="col" { (name) } } } }
            tbody { @for (at, group) in groups.iter().enumerate() {
                tr { th scope="row" { (group) } td { (thousands(counts[at])) } @for value in &values[at] { td { (thousands(value.round() as u64)) } } }
            } }
        } }
    }
}

fn found(policy: &PolicyEntry) -> Markup {
    let shortages: Vec<_> = policy.errors.iter().filter(|error| is_shortage(error.name)).collect();
    if policy.is_clean() && shortages.is_empty() {
        return html! {};
    }
    html! {
        h2 { (policy.policy) ": " (amount(policy.findings.len() as u64, "finding", "findings")) ", "
            (amount(policy.corrupted_bytes, "byte", "bytes")) " seen wrong" }
        ol { @for finding in &policy.findings { li { (sentence(finding)) } } }
        @if !policy.corruptions.is_empty() {
            p { "The first wrong bytes:" }
            ul { @for corruption in &policy.corruptions { li { (corruption) } } }
        }
        @for error in shortages { p { (amount(error.count, "step failed", "steps failed")) " with " (error.errno) "." } }
    }
}

fn sweep(computers: &[ComputerEntry]) -> Markup {
    let Some(first) = computers.first() else { return html! {} };
    let mut pages: Vec<u32> = computers.iter().map(|computer| computer.page).collect();
    pages.dedup();
    html! {
        h2 { "Cost over colours" }
        @for page in pages {
            @let same: Vec<&ComputerEntry> = computers.iter().filter(|computer| computer.page == page).collect();
            @let places: Vec<String> = same.iter().map(|computer| format!("{}: {}", computer.dcache.name, amount(computer.dcache.colours.into(), "colour", "colours"))).collect();
            @let values: Vec<Vec<f64>> = (0..first.policies.len()).map(|policy| same.iter().map(|computer| computer.policies[policy].per_step()).collect()).collect();
            (lines(&format!("Cycles per step, pages of {}", kib(page)), &names(first), &places, &values))
        }
        div.wide { table {
            thead { tr { @for head in ["data cache", "page", "colours"] { th scope="col" { (head) } } @for name in names(first) { th scope="col" { (name) } } } }
            tbody { @for computer in computers {
                tr {
                    th scope="row" { (computer.dcache.name) } td { (kib(computer.page)) } td { (computer.dcache.colours) }
                    @for policy in &computer.policies {
                        td class=(if policy.is_clean() { "" } else { "bad" }) {
                            (format!("{:.1}", policy.per_step()))
                            @if !policy.is_clean() { " (" (amount(policy.findings.len() as u64, "finding", "findings")) ")" }
                        }
                    }
                }
            } }
        } }
    }
}
