//! One item of the HTML report: its headline, and when opened its two parties, what lay between them, why and what is missing.

use maud::{Markup, html};

use super::{Sources, timeline};
use crate::Known;
use crate::explain::{class_name, explain, past};
use crate::group::called;
use crate::identity::Same;
use crate::printable;
use crate::report::{Entry, GeometryEntry, PartyEntry, PartyKindName};
use crate::text::{amount, doing, given_because_of, place, thousands, who};

/// Lines of source shown before and after the one that is meant.
const AROUND: usize = 3;

pub(super) fn item(rank: usize, same: &Same<'_>, cache: &GeometryEntry, sources: &Sources<'_>) -> Markup {
    let entry = same.shown;
    let explanation = explain(entry);
    let state = match (&entry.suppressed, entry.baseline) {
        (Some(_), _) => "suppressed",
        (None, Some(Known::Known)) => "known",
        (None, _) => "failing",
    };
    let class = class_name(entry.class);
    let producer = entry.producer.as_ref();
    html! {
        li class="finding" data-rank=(rank) data-class=(class) data-count=(same.occurrences) data-state=(state)
            data-consumer=(called(&entry.consumer)) data-producer=(producer.map(called).unwrap_or_default()) {
            details open[rank == 0] {
                summary {
                    span class="class" { (class) }
                    @if state != "failing" { " " span class="state" { (state) } }
                    @if entry.baseline == Some(Known::New) { " " span class="state new" { "new" } }
                    " " span class="headline" { (explanation.headline) }
                    " " span class="count" { (thousands(same.occurrences)) "×" }
                }
                div class="account" {
                    @if let Some(suppressed) = &entry.suppressed {
                        p class="reason" { "Suppressed by " code { (suppressed.by) } ": " (suppressed.reason) }
                    }
                    @if same.pairs > 1 {
                        p {
                            "Between " (thousands(same.pairs as u64)) " pairs of code sites in these functions; this is the most frequent, "
                            (amount(entry.count, "time", "times")) ". The JSON report has every pair."
                        }
                    }
                    dl {
                        dt { (verb(entry)) " by" }
                        dd {
                            (party(&entry.consumer, entry.consumer_colour, sources))
                            p {
                                (amount(entry.example.bytes.into(), "byte", "bytes")) " at physical address "
                                code { (entry.example.paddr) }
                                @if let Some(vaddr) = entry.example.vaddr { ", virtual address " code { (vaddr) } }
                                ", the first time"
                            }
                        }
                        @if let Some(given) = &entry.given {
                            dt { "Given" }
                            dd { p { (given_because_of(entry, given)) } }
                        }
                        dt { "Written by" }
                        dd {
                            @match producer {
                                Some(producer) => (party(producer, entry.producer_colour, sources)),
                                None => p { "a store that was not seen, or a loader" },
                            }
                        }
                        dt { "Why" }
                        dd { p { (explanation.why) } }
                        dt { "Missing" }
                        dd { p class="missing" { (explanation.missing) } }
                    }
                    h3 { "What happened to the line" }
                    (timeline::draw(entry, cache))
                    ol class="steps" {
                        li { "Written by " (producer.map_or_else(|| "an access that was not seen".to_owned(), who)) }
                        @for operation in &entry.maintenance_between {
                            li {
                                code { (operation.symbol.as_deref().unwrap_or(&operation.pc.to_string())) } ": " (past(entry, operation))
                                @if let Some(line) = &operation.line { " (" (line) ")" }
                            }
                        }
                        li { (verb(entry)) " by " (who(&entry.consumer)) }
                    }
                    @if entry.maintenance_between.is_empty() { p { "No maintenance of this line in between." } }
                }
            }
        }
    }
}

/// What the consumer did.
fn verb(entry: &Entry) -> &'static str {
    match entry.consumer.kind {
        PartyKindName::Load => "Read",
        PartyKindName::Fetch => "Fetched",
        PartyKindName::Store | PartyKindName::Dma => "Accessed",
    }
}

fn party(party: &PartyEntry, colour: Option<u16>, sources: &Sources<'_>) -> Markup {
    html! {
        p { strong { (who(party)) } ": " (doing(party, colour)) }
        @if let Some(line) = &party.line {
            p { "at " code { (line) } }
            @if let Some(snippet) = snippet(line, sources) { (snippet) }
        }
        @if !party.chain.is_empty() {
            p { "Called from, the first time:" }
            ol class="chain" {
                @for caller in &party.chain {
                    li {
                        code { (place(caller.symbol.as_deref(), caller.pc)) }
                        @if let Some(line) = &caller.line { " (" (line) ")" }
                    }
                }
            }
        }
    }
}

/// A line of source with nothing in it that acts, but its tabs.
fn source_line(line: &str) -> String {
    line.split('\t').map(printable).collect::<Vec<_>>().join("\t")
}

/// The source around `file:line`, if the file is at hand and has that line.
fn snippet(place: &str, sources: &Sources<'_>) -> Option<Markup> {
    let (file, line) = place.rsplit_once(':')?;
    let line: usize = line.parse().ok()?;
    let text = sources(file)?;
    let lines: Vec<&str> = text.lines().collect();
    lines.get(line.checked_sub(1)?)?;
    let first = line.saturating_sub(AROUND + 1);
    let last = lines.len().min(line + AROUND);
    Some(html! {
        pre class="source" tabindex="0" {
            @for number in first..last {
                @let code = html! { span class="lineno" { (format!("{:>5} ", number + 1)) } (source_line(lines[number])) "\n" };
                @if number + 1 == line { mark { (code) } } @else { (code) }
            }
        }
    })
}
