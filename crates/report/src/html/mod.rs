//! The report as one HTML file, for reading in a browser, attaching to a bug and keeping.
//!
//! One item per [`Identity`](crate::Identity), shown by its most frequent pair of code sites: a kernel that knows nothing of its
//! cache has tens of thousands of pairs, and a browser is no place for them.
//!
//! Guarantees: self-contained (no network, no font, nothing fetched: its own policy forbids it); complete and readable without
//! scripts, which only sort and filter; every text of the guest is escaped; light and dark by the reader's setting. What a finding
//! says is what [`to_text`](Report::to_text) says.

mod finding;
mod timeline;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::explain::class_name;
use crate::identity::by_identity;
use crate::report::{Report, StatsEntry, Verdict};
use crate::text::{amount, geometry, given_to_the_guest, thousands};

/// The text of a source file by the name that debug information has for it; `None` where it is not at hand.
pub type Sources<'a> = dyn Fn(&str) -> Option<String> + 'a;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Nothing is fetched from anywhere; style and script are in the file.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

impl Report {
    /// The report as an HTML page. `sources` is asked for the files that code sites lie in.
    #[must_use]
    pub fn to_html(&self, sources: &Sources<'_>) -> String {
        let (mood, headline) = self.headline();
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    title { "Congruent: " (verdict(self.verdict)) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { "Congruent" }
                        p class={ "verdict " (mood) } { strong { (verdict(self.verdict)) } " " (headline) }
                        (self.facts())
                    }
                    main {
                        @if !self.notes.is_empty() {
                            section aria-labelledby="notes" {
                                h2 id="notes" { "Notes" }
                                ul { @for note in &self.notes { li { (note) } } }
                            }
                        }
                        @if !self.findings.is_empty() { (self.finding_list(sources)) }
                        (self.gone())
                        @if let Some(ledger) = &self.ledger { (ledger.to_html()) }
                        @if !self.limits.is_empty() {
                            section aria-labelledby="limits" {
                                h2 id="limits" { "Not covered by this verdict" }
                                ul { @for limit in &self.limits { li { (limit) } } }
                            }
                        }
                    }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        }
        .into_string()
    }

    fn headline(&self) -> (&'static str, String) {
        let failing = self.findings.iter().filter(|entry| entry.fails()).count();
        let found = format!(
            "{} where stale data can be met, {}{}",
            amount(self.findings.len() as u64, "pair of code sites", "pairs of code sites"),
            amount(self.occurrences(), "time", "times"),
            match self.findings.len() - failing {
                0 => String::new(),
                excused if failing == 0 => format!("; all {excused} are suppressed or known from the baseline"),
                excused => format!("; {excused} of them are suppressed or known from the baseline"),
            }
        );
        match self.verdict {
            Verdict::Clean => (
                "good",
                "Whatever a core with this data cache evicts and when, no access in this run could have met stale data."
                    .to_owned(),
            ),
            Verdict::Findings => (if failing == 0 { "doubtful" } else { "bad" }, found),
            Verdict::Incomplete => {
                let reason = self.incomplete_because.as_deref().unwrap_or("the run did not finish");
                let so_far = if self.findings.is_empty() {
                    "no finding up to then, which proves nothing about the rest".to_owned()
                } else {
                    format!("up to then: {found}")
                };
                ("doubtful", format!("{reason}; {so_far}"))
            }
        }
    }

    fn facts(&self) -> Markup {
        let StatsEntry { accesses, uncached, maintenance_ops, maintenance_muted, frames, shadow_bytes: _, hazards } = self.stats;
        html! {
            dl class="facts" {
                div { dt { "Guest" } dd { (self.target) } }
                div { dt { "Data cache" } dd { (geometry(&self.geometry)) } }
                @for (name, number) in [
                    ("Cached accesses", accesses),
                    ("Uncached accesses", uncached),
                    ("Maintenance operations", maintenance_ops),
                    ("Frames touched", frames),
                    ("Hazards", hazards),
                ] {
                    div { dt { (name) } dd class="number" { (thousands(number)) } }
                }
                @if let Some(kernel) = &self.kernel {
                    div { dt { "Kernel" } dd { (kernel) } }
                }
                @if let Some(core) = &self.core {
                    div { dt { "Core" } dd { (core) } }
                }
                @if let Some(injected) = &self.injected {
                    div { dt { "Injected" } dd { (given_to_the_guest(injected)) } }
                }
                @if let Some(unknown) = &self.unknown {
                    div { dt { "Unknown" } dd { (unknown) } }
                }
                @if self.lives > 1 {
                    div { dt { "Lives" } dd { (self.lives) ", each from a reset of the machine on, with empty caches" } }
                }
                @if !self.muted.is_empty() {
                    div {
                        dt { "Muted" }
                        dd { (self.muted.join(", ")) ": " (amount(maintenance_muted, "operation", "operations")) " made to do nothing" }
                    }
                }
            }
        }
    }

    fn finding_list(&self, sources: &Sources<'_>) -> Markup {
        let mut classes: Vec<String> = self.findings.iter().map(|entry| class_name(entry.class)).collect();
        classes.sort();
        classes.dedup();
        html! {
            section aria-labelledby="findings" {
                h2 id="findings" { "Findings" }
                // Without scripts there is nothing to control.
                form class="tools" hidden {
                    label { "Search " input type="search" id="search" autocomplete="off" placeholder="function, address, file"; }
                    label {
                        "Class "
                        select id="class" {
                            option value="" { "every class" }
                            @for class in &classes { option { (class) } }
                        }
                    }
                    label {
                        "Show "
                        select id="state" {
                            option value="" { "every finding" }
                            option value="failing" { "those that count" }
                            option value="suppressed" { "suppressed" }
                            option value="known" { "known from the baseline" }
                        }
                    }
                    label {
                        "Order "
                        select id="order" {
                            option value="rank" { "most important first" }
                            option value="count" { "most frequent first" }
                            option value="class" { "by class" }
                            option value="consumer" { "by consumer" }
                            option value="producer" { "by producer" }
                        }
                    }
                    output id="shown" role="status" {}
                }
                p class="key" {
                    "Timelines: a circle is an access, filled red where it writes and blue where it reads; a square is cache \
                     maintenance, hollow where it did nothing to the line and dashed where it was muted; a bar behind it says that \
                     the copy was dropped; an arrow is a line on its way to or from memory."
                }
                ol class="findings" {
                    @for (rank, same) in by_identity(&self.findings).iter().enumerate() { (finding::item(rank, same, &self.geometry, sources)) }
                }
            }
        }
    }

    fn gone(&self) -> Markup {
        let gone = self.baseline.iter().flat_map(|baseline| &baseline.gone);
        html! {
            @if self.baseline.as_ref().is_some_and(|baseline| !baseline.gone.is_empty()) {
                section aria-labelledby="gone" {
                    h2 id="gone" { "Gone since the baseline" }
                    ul { @for identity in gone { li { code { (identity) } } } }
                }
            }
        }
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Clean => "clean",
        Verdict::Findings => "findings",
        Verdict::Incomplete => "incomplete",
    }
}
