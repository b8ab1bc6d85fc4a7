//! What maintenance was good for, by function and caller: the ledger as it is reported.
//!
//! The judge books operations by code address; people think in functions. Loops over caches are unrolled, so the addresses of a function
//! are one entry for each function that called it. Guarantees: entries add up to what the judge booked; the most wasteful comes first; the
//! order does not depend on the order in which things happened. Not here: what it means that a line mattered (`congruent_shadow`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use congruent_arch::Arch;
use congruent_shadow::{LedgerLine, Reach, Side};
use congruent_trace::Site;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use crate::chain::{Callers, callers_of};
use crate::text::{WIDTH, amount, thousands, wrap};
use crate::{Address, Symbols};

/// What one operation costs on the core that waste is estimated for, in cycles, without the write-back that it may cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OperationCosts {
    /// The name of the core's cost model.
    pub model: &'static str,
    /// An operation by address.
    pub line: u32,
    /// An operation on one set and way.
    pub index: u32,
    /// An operation on the whole cache, for each of its lines.
    pub whole_per_line: u32,
}

/// What the judge booked in a run.
#[derive(Clone, Debug)]
pub struct Booked<'a> {
    /// The judge's ledger.
    pub lines: &'a [LedgerLine],
    /// The nearest callers behind the contexts that it names.
    pub callers: &'a Callers,
    /// What operations cost; `None` if no core of this architecture is priced.
    pub costs: Option<OperationCosts>,
    /// Who may have needed maintenance and was not seen to, such as `instruction fetches`.
    pub unseen: Vec<String>,
}

/// The ledger of a run. Its fields are fields of the JSON report, the array `ledger` first of all.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ledger {
    /// The cost model that cycles are estimated with; none if no core of this architecture is priced.
    #[serde(rename = "ledger_cost_model")]
    pub cost_model: Option<String>,
    /// Who may have needed maintenance and was not seen to: what was done for their sake alone counts as redundant.
    #[serde(rename = "ledger_unseen")]
    pub unseen: Vec<String>,
    /// The most wasteful first.
    #[serde(rename = "ledger")]
    pub entries: Vec<LedgerEntry>,
}

/// The maintenance of one function on behalf of one caller.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// The function; its address where no symbol is known.
    pub function: String,
    /// The nearest other function that had called it, likewise; none where no caller is known.
    pub caller: Option<String>,
    /// The first of the code addresses.
    pub pc: Address,
    /// Of which cache.
    pub side: Side,
    /// How the operations say which lines they cover.
    pub reach: Reach,
    /// How many there were, without those that `--mute` made to do nothing.
    pub operations: u64,
    /// Lines of the cache that they covered.
    pub lines: u64,
    /// Of these, how many mattered to anybody.
    pub mattered: u64,
    /// The share of lines that did not, from 0 to 1.
    pub redundant_share: f64,
    /// What operating on those cost, estimated; none without a cost model.
    pub wasted_cycles: Option<u64>,
}

impl Ledger {
    /// The ledger in words.
    pub(crate) fn new(booked: &Booked<'_>, arch: Option<Arch>, symbols: &Symbols) -> Self {
        let address = |site: Site| Address::of(arch, site);
        let name = |site: Site| {
            let pc = address(site);
            symbols.resolve(pc.0).map_or_else(|| pc.to_string(), |place| place.function)
        };
        let mut entries: BTreeMap<_, LedgerEntry> = BTreeMap::new();
        for line in booked.lines {
            let function = name(line.site);
            let callers = booked.callers.get(&line.context).map_or(&[][..], Vec::as_slice);
            let callers = arch.into_iter().flat_map(|arch| callers_of(arch, line.site, callers));
            let caller = callers.map(name).find(|caller| *caller != function);
            let pc = address(line.site);
            let key = (function.clone(), caller.clone(), line.side as u8, line.reach);
            let entry = entries.entry(key).or_insert(LedgerEntry {
                function,
                caller,
                pc,
                side: line.side,
                reach: line.reach,
                operations: 0,
                lines: 0,
                mattered: 0,
                redundant_share: 0.0,
                wasted_cycles: None,
            });
            entry.pc = entry.pc.min(pc);
            entry.operations += line.operations;
            entry.lines += line.lines;
            entry.mattered += line.mattered;
        }
        let mut entries: Vec<LedgerEntry> = entries.into_values().collect();
        for entry in &mut entries {
            let in_vain = entry.in_vain();
            let cost = booked.costs.map(|costs| match entry.reach {
                Reach::Line => costs.line,
                Reach::Index => costs.index,
                Reach::Whole => costs.whole_per_line,
            });
            entry.wasted_cycles = cost.map(|cost| in_vain * u64::from(cost));
            entry.redundant_share = if entry.lines == 0 { 1.0 } else { in_vain as f64 / entry.lines as f64 };
        }
        // What is equal stays in the order of names.
        entries.sort_by_key(|entry| std::cmp::Reverse((entry.wasted_cycles.unwrap_or(entry.in_vain()), entry.operations)));
        let cost_model = booked.costs.map(|costs| costs.model.to_owned());
        Self { cost_model, unseen: booked.unseen.clone(), entries }
    }

    /// What is wasted over all, in cycles; none without a cost model.
    #[must_use]
    pub fn wasted_cycles(&self) -> Option<u64> {
        self.cost_model.as_ref().and_then(|_| wasted(&self.entries))
    }

    fn summary(&self) -> String {
        let wasted = match (self.wasted_cycles(), &self.cost_model) {
            (Some(cycles), Some(model)) => format!(
                "maintenance, the most wasteful first: {} cycles for lines to which it made no difference, by the costs of {model}",
                thousands(cycles)
            ),
            _ => format!(
                "maintenance, the most wasteful first: it made no difference to {}, whose cost is not estimated because no core of \
                 this architecture has a cost model",
                amount(self.entries.iter().map(LedgerEntry::in_vain).sum(), "line", "lines")
            ),
        };
        match self.unseen.split_last() {
            None => wasted,
            Some((last, [])) => format!("{wasted}; among these is what was done for {last}, which were not judged"),
            Some((last, others)) => {
                format!("{wasted}; among these is what was done for {} and {last}, which were not judged", others.join(", "))
            }
        }
    }

    /// The ledger as text, its first `show` entries as a table and the rest in a line.
    pub(crate) fn to_text(&self, show: usize) -> String {
        let mut text = wrap(&self.summary(), WIDTH).join("\n") + "\n";
        text += "       wasted  redundant   operations        lines     mattered  by\n";
        for entry in self.entries.iter().take(show) {
            let numbers = [entry.operations, entry.lines, entry.mattered].map(thousands);
            let _ = writeln!(
                text,
                "{:>13}  {:>9} {:>12} {:>12} {:>12}  {}",
                cycles(entry.wasted_cycles),
                entry.share(),
                numbers[0],
                numbers[1],
                numbers[2],
                entry.by()
            );
        }
        if let Some(rest) = self.entries.get(show..).filter(|rest| !rest.is_empty()) {
            let wasted = wasted(rest);
            let entries = amount(rest.len() as u64, "more entry", "more entries");
            let _ = writeln!(text, "{:>13}  in {entries}, which --show COUNT and --format json tell", cycles(wasted));
        }
        text
    }

    /// The ledger as a table.
    pub(crate) fn to_html(&self) -> Markup {
        html! {
            section aria-labelledby="ledger" {
                h2 id="ledger" { "What maintenance was good for" }
                p class="key" { "In this run: " (self.summary()) "." }
                div class="source" {
                    table class="ledger" {
                        thead {
                            tr {
                                th scope="col" { "Function" }
                                th scope="col" { "Called from" }
                                @for heading in ["Operations", "Lines covered", "Lines that mattered", "Redundant", "Cycles wasted"] {
                                    th scope="col" class="number" { (heading) }
                                }
                            }
                        }
                        tbody {
                            @for entry in &self.entries {
                                tr {
                                    td { code { (entry.function) } (entry.manner()) }
                                    td { @if let Some(caller) = &entry.caller { code { (caller) } } }
                                    td class="number" { (thousands(entry.operations)) }
                                    td class="number" { (thousands(entry.lines)) }
                                    td class="number" { (thousands(entry.mattered)) }
                                    td class="number" { (entry.share()) }
                                    td class="number" { (cycles(entry.wasted_cycles)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What these entries wasted, in cycles; none if that of one is not estimated.
fn wasted(entries: &[LedgerEntry]) -> Option<u64> {
    entries.iter().map(|entry| entry.wasted_cycles).sum()
}

/// A number of cycles, or a dash where it is not estimated.
fn cycles(number: Option<u64>) -> String {
    number.map_or_else(|| "-".to_owned(), thousands)
}

impl LedgerEntry {
    /// Lines that were covered and did not matter.
    fn in_vain(&self) -> u64 {
        self.lines - self.mattered
    }

    /// The redundant share in per cent. All and nothing are said only where they are meant.
    fn share(&self) -> String {
        let in_vain = self.in_vain();
        let rounded = (self.redundant_share * 1000.0).round() / 10.0;
        match (in_vain, self.mattered) {
            (_, 0) => "all".to_owned(),
            (0, _) => "none".to_owned(),
            _ => format!("{:.1} %", rounded.clamp(0.1, 99.9)),
        }
    }

    fn by(&self) -> String {
        let caller = self.caller.as_ref().map(|caller| format!(" from {caller}"));
        format!("{}{}{}", self.function, caller.unwrap_or_default(), self.manner())
    }

    /// What is not an operation by address on the data cache.
    fn manner(&self) -> &'static str {
        match (self.side, self.reach) {
            (Side::Data, Reach::Line) => "",
            (Side::Data, Reach::Index) => ", by set and way",
            (Side::Data, Reach::Whole) => ", the whole cache",
            (Side::Instruction, Reach::Line) => ", instruction cache",
            (Side::Instruction, Reach::Index) => ", instruction cache by set and way",
            (Side::Instruction, Reach::Whole) => ", the whole instruction cache",
        }
    }
}
