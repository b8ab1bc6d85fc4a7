//! The report as JUnit XML, which every CI system shows as tests.
//!
//! One test case says whether the run finished; it is the only one of a clean run. Each [`Identity`](crate::Identity) is one more:
//! failed where it counts, skipped with its reason where it is suppressed or known, passed where the baseline had it and it is
//! gone. One per finding and not per class, because CI systems report which *cases* began to fail: a second bug of a class must not
//! hide behind the first. There are no times in it: the same report gives the same bytes.

use maud::{Markup, PreEscaped, html};

use crate::Known;
use crate::explain::{class_name, explain};
use crate::identity::{Same, by_identity};
use crate::report::{PartyEntry, Report};
use crate::text::{amount, doing, place, who};

impl Report {
    /// The report as JUnit XML, as Jenkins' schema `junit-10.xsd` and its many readers have it.
    #[must_use]
    pub fn to_junit(&self) -> String {
        let folded = by_identity(&self.findings);
        let gone: Vec<_> = self.baseline.iter().flat_map(|baseline| &baseline.gone).collect();
        let (tests, errors) = (1 + folded.len() + gone.len(), usize::from(self.incomplete_because.is_some()));
        let failures = folded.iter().filter(|same| same.shown.fails()).count();
        let notes: Vec<String> =
            self.notes.iter().cloned().chain(self.limits.iter().map(|limit| format!("not covered: {limit}"))).collect();
        let suite = format!("congruent {}", self.target);
        let xml = html! {
            (PreEscaped("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"))
            testsuites name="congruent" tests=(tests) failures=(failures) errors=(errors) {
                "\n"
                testsuite name=(suite) tests=(tests) failures=(failures) errors=(errors) skipped=(folded.len() - failures) {
                    "\n"
                    testcase classname="congruent" name="the run finished" {
                        @if let Some(reason) = &self.incomplete_because { error type="incomplete" message=(reason) {} }
                    }
                    "\n"
                    @for same in &folded { (case(same)) "\n" }
                    @for identity in gone {
                        testcase classname=(format!("congruent.{}", class_name(identity.class))) name=(identity) {}
                        "\n"
                    }
                    @if !notes.is_empty() { system-out { (notes.join("\n")) } "\n" }
                }
                "\n"
            }
            "\n"
        };
        xml.into_string().chars().filter(|&c| is_xml(c)).collect()
    }
}

fn case(same: &Same<'_>) -> Markup {
    let entry = same.shown;
    html! {
        testcase classname=(format!("congruent.{}", class_name(entry.class))) name=(same.identity) {
            @match (&entry.suppressed, entry.baseline) {
                (Some(suppressed), _) => skipped message=(format!("suppressed by {}: {}", suppressed.by, suppressed.reason)) {},
                (None, Some(Known::Known)) => skipped message="known from the baseline" {},
                (None, _) => failure type=(class_name(entry.class)) message=(explain(entry).headline) { (details(same)) },
            }
        }
    }
}

fn details(same: &Same<'_>) -> String {
    let entry = same.shown;
    let explanation = explain(entry);
    let called = |party: &PartyEntry| {
        let callers: Vec<String> = party.chain.iter().map(|call| place(call.symbol.as_deref(), call.pc)).collect();
        if callers.is_empty() { String::new() } else { format!(", called from {}", callers.join(", ")) }
    };
    let party = |party: &PartyEntry, colour| {
        let at = party.line.as_ref().map(|line| format!(" at {line}")).unwrap_or_default();
        format!("{}: {}{at}{}", who(party), doing(party, colour), called(party))
    };
    let consumer = party(&entry.consumer, entry.consumer_colour);
    let producer = entry
        .producer
        .as_ref()
        .map_or_else(|| "a store that was not seen, or a loader".to_owned(), |producer| party(producer, entry.producer_colour));
    format!(
        "seen {}\naccess by: {consumer}\nwritten by: {producer}\nwhy: {}\nmissing: {}",
        amount(same.occurrences, "time", "times"),
        explanation.why,
        explanation.missing
    )
}

/// Whether XML 1.0 allows a character at all (section 2.2, "Characters"); no escape helps those that it does not.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}
