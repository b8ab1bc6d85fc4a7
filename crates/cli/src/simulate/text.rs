//! The report as tables for a terminal.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::results::{ComputerEntry, FindingEntry, PartyEntry, PolicyEntry, Results};

const BAD: Style = AnsiColor::Red.on_default();
const STRONG: Style = Style::new().bold();

/// A table whose first column is words and whose others are numbers.
struct Table {
    rows: Vec<Vec<String>>,
    /// Rows in the colour of findings.
    bad: Vec<bool>,
}

impl Table {
    fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|word| (*word).to_owned()).collect()], bad: vec![false] }
    }

    fn row(&mut self, bad: bool, cells: Vec<String>) {
        self.rows.push(cells);
        self.bad.push(bad);
    }

    fn write(&self, text: &mut String, colour: bool) {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (at, row) in self.rows.iter().enumerate() {
            let mut line = format!("{:<width$}", row[0], width = widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(line, "  {cell:>width$}").expect("a string takes everything");
            }
            let style = if at == 0 { Some(STRONG) } else { self.bad[at].then_some(BAD) };
            push(text, line.trim_end(), style.filter(|_| colour));
        }
    }
}

fn push(text: &mut String, line: &str, style: Option<Style>) {
    match style {
        Some(style) => writeln!(text, "{style}{line}{style:#}"),
        None => writeln!(text, "{line}"),
    }
    .expect("a string takes everything");
}

/// 1234567 as `1 234 567`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|part| str::from_utf8(part).expect("digits")).collect();
    parts.join(" ")
}

/// A number of bytes as `32 KiB`.
pub(super) fn kib(bytes: u32) -> String {
    if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} bytes") }
}

/// `1 colour`, `2 colours`.
pub(super) fn amount(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

impl ComputerEntry {
    /// Whether an operation cost anything under any policy. What programs load and store is not booked by operation.
    pub(super) fn charges(&self, name: &str) -> bool {
        let mut all = self.policies.iter().flat_map(|policy| &policy.operations);
        all.any(|operation| operation.name == name && operation.cycles > 0)
    }

    /// The computer in one line.
    pub(super) fn description(&self) -> String {
        let cache = &self.dcache;
        format!(
            "data cache {}, {} ways, lines of {} bytes, pages of {}: {}; {}; {} replacement; costs of {}",
            kib(cache.size),
            cache.ways,
            cache.line,
            kib(self.page),
            amount(cache.colours.into(), "colour", "colours"),
            amount(self.cpus as u64, "CPU", "CPUs"),
            self.replacement,
            self.cost,
        )
    }
}

impl Results {
    /// The report as text; `show` findings of each policy are told.
    pub(crate) fn to_text(&self, colour: bool, show: usize) -> String {
        let mut text = String::new();
        let strong = colour.then_some(STRONG);
        let steps = self.computers.first().and_then(|computer| computer.policies.first()).map_or(0, |policy| policy.steps);
        push(&mut text, &format!("workload  {}: {}", self.workload.description, amount(steps, "step", "steps")), strong);
        if let Some(log) = &self.workload.log {
            let left_out: u64 = log.not_modelled.iter().map(|call| call.count).sum();
            let names: Vec<String> =
                log.not_modelled.iter().take(8).map(|call| format!("{} {}", call.count, call.name)).collect();
            let more = if log.not_modelled.len() > 8 { ", …" } else { "" };
            push(
                &mut text,
                &format!(
                    "log       {} of {}; {} failed; not modelled: {left_out} ({}{more})",
                    amount(log.calls, "call", "calls"),
                    amount(log.tasks as u64, "task", "tasks"),
                    log.failed,
                    names.join(", "),
                ),
                None,
            );
        }
        if let [computer] = &self.computers[..] {
            one_computer(&mut text, computer, colour, show);
        } else {
            sweep(&mut text, &self.computers, colour);
        }
        text
    }
}

fn one_computer(text: &mut String, computer: &ComputerEntry, colour: bool, show: usize) {
    push(text, &format!("computer  {}", computer.description()), None);
    if !computer.muted.is_empty() {
        push(text, &format!("muted     {}", computer.muted.join(", ")), None);
    }
    text.push('\n');
    policies(text, computer, colour);
    text.push('\n');
    push(text, "cycles by cause, in thousands", colour.then_some(STRONG));
    causes(text, computer, colour);
    text.push('\n');
    push(text, "cycles of a system call, on average", colour.then_some(STRONG));
    operations(text, computer, colour);
    for policy in &computer.policies {
        told(text, policy, colour, show);
    }
}

fn policies(text: &mut String, computer: &ComputerEntry, colour: bool) {
    let head = [
        "policy",
        "findings",
        "wrong bytes",
        "pages",
        "whole",
        "code lines",
        "code whole",
        "windows",
        "TLB refills",
        "kcycles",
        "per step",
    ];
    let mut table = Table::new(&head);
    for policy in &computer.policies {
        let maintenance = &policy.maintenance;
        let mut cells = vec![policy.policy.to_owned()];
        let numbers = [
            policy.findings.len() as u64,
            policy.corrupted_bytes,
            maintenance.pages,
            maintenance.whole,
            maintenance.code_lines,
            maintenance.code_whole,
            policy.windows_mapped,
            policy.tlb_refills,
            policy.cycles.total / 1000,
        ];
        cells.extend(numbers.map(thousands));
        cells.push(format!("{:.1}", policy.per_step()));
        table.row(!policy.is_clean(), cells);
    }
    table.write(text, colour);
}

fn causes(text: &mut String, computer: &ComputerEntry, colour: bool) {
    let Some(first) = computer.policies.first() else { return };
    let told: Vec<usize> = (0..first.cycles.by_cause.len())
        .filter(|at| computer.policies.iter().any(|policy| policy.cycles.by_cause[*at].count > 0))
        .collect();
    let mut head = vec!["policy"];
    head.extend(told.iter().map(|at| first.cycles.by_cause[*at].name.as_str()));
    let mut table = Table::new(&head);
    for policy in &computer.policies {
        let mut cells = vec![policy.policy.to_owned()];
        cells.extend(told.iter().map(|at| thousands(policy.cycles.by_cause[*at].count / 1000)));
        table.row(false, cells);
    }
    table.write(text, colour);
}

fn operations(text: &mut String, computer: &ComputerEntry, colour: bool) {
    let Some(first) = computer.policies.first() else { return };
    let mut head = vec!["operation", "count"];
    head.extend(computer.policies.iter().map(|policy| policy.policy));
    let mut table = Table::new(&head);
    for operation in first.operations.iter().filter(|operation| computer.charges(operation.name)) {
        let mut cells = vec![operation.name.to_owned(), thousands(operation.count)];
        for policy in &computer.policies {
            let same = policy.operations.iter().find(|other| other.name == operation.name);
            cells.push(same.map_or_else(|| "-".to_owned(), |operation| thousands(operation.cycles_each().round() as u64)));
        }
        table.row(false, cells);
    }
    table.write(text, colour);
}

fn told(text: &mut String, policy: &PolicyEntry, colour: bool, show: usize) {
    let errors = policy.errors.iter().filter(|error| is_shortage(error.name)).map(|error| {
        let remedy = match error.name {
            "ENOMEM" => "; give it more with --frames",
            "ENOSPC" => "; give it more with --disk-size or --swap",
            _ => "",
        };
        format!(
            "note      under {}, {} with {}{remedy}",
            policy.policy,
            amount(error.count, "step failed", "steps failed"),
            error.errno
        )
    });
    let errors: Vec<String> = errors.collect();
    if policy.is_clean() && errors.is_empty() {
        return;
    }
    text.push('\n');
    if !policy.is_clean() {
        let line = format!(
            "{}: {}, {} seen wrong",
            policy.policy,
            amount(policy.findings.len() as u64, "finding", "findings"),
            amount(policy.corrupted_bytes, "byte", "bytes")
        );
        push(text, &line, colour.then_some(BAD));
    }
    for (at, finding) in policy.findings.iter().take(show).enumerate() {
        push(text, &format!("  {}. {}", at + 1, sentence(finding)), None);
    }
    if policy.findings.len() > show {
        push(text, &format!("  … and {} more (--show, or --format json)", policy.findings.len() - show), None);
    }
    for corruption in policy.corruptions.iter().take(show) {
        push(text, &format!("  wrong byte: {corruption}"), None);
    }
    for line in errors {
        push(text, &line, None);
    }
}

/// Whether an error says that the computer is too small or its disk bad, rather than that a program asked for nonsense.
pub(super) fn is_shortage(name: &str) -> bool {
    matches!(name, "ENOMEM" | "ENOSPC" | "EIO")
}

fn party(party: &PartyEntry) -> String {
    match party.colour {
        Some(colour) => format!("{} in {} (colour {colour})", party.kind, party.site),
        None => format!("{} in {}", party.kind, party.site),
    }
}

/// A finding in one line.
pub(super) fn sentence(finding: &FindingEntry) -> String {
    let producer = finding.producer.as_ref().map_or_else(|| "nobody known".to_owned(), party);
    let times = amount(finding.count, "time", "times");
    format!("{}, {times}: {} of what came from {producer}", finding.class, party(&finding.consumer))
}

/// Cycles of each policy on each computer.
fn sweep(text: &mut String, computers: &[ComputerEntry], colour: bool) {
    let Some(first) = computers.first() else { return };
    text.push('\n');
    push(text, "cycles per step (findings after a +)", colour.then_some(STRONG));
    let mut head = vec!["data cache", "page", "colours"];
    head.extend(first.policies.iter().map(|policy| policy.policy));
    let mut table = Table::new(&head);
    for computer in computers {
        let mut cells = vec![computer.dcache.name.clone(), kib(computer.page), computer.dcache.colours.to_string()];
        for policy in &computer.policies {
            let found = if policy.findings.is_empty() { String::new() } else { format!("+{}", policy.findings.len()) };
            cells.push(format!("{:.1}{found}", policy.per_step()));
        }
        table.row(false, cells);
    }
    table.write(text, colour);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, shown) in [(0, "0"), (999, "999"), (1000, "1 000"), (12_345_678, "12 345 678")] {
            assert_eq!(thousands(number), shown);
        }
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["policy", "n"]);
        table.row(true, vec!["x".to_owned(), "12 345".to_owned()]);
        let mut text = String::new();
        table.write(&mut text, false);
        assert_eq!(text, "policy       n\nx       12 345\n");
    }
}
