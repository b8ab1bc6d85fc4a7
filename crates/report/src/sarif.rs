//! The report as SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format"), which code hosts and editors show at the code.
//!
//! One result per [`Identity`], with that identity as its fingerprint; one rule per hazard class that occurs. Code that has line
//! information is located by file and line, all code by function and address. The same report gives the same bytes: there are no
//! times and no paths of the machine in it.

use serde_json::{Value, json};

use crate::Address;
use crate::Known;
use crate::classes::about;
use crate::explain::{class_name, explain, past};
use crate::group::{called, severity};
use crate::identity::{Same, by_identity};
use crate::report::{Entry, PartyEntry, Report, Verdict};
use crate::text::{amount, doing, who};

/// Under which name the identity is the fingerprint; a change of what makes an identity is a change of this name.
const FINGERPRINT: &str = "congruentIdentity/v1";

const SCHEMA_URI: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

impl Report {
    /// The report as SARIF, with a newline at the end.
    #[must_use]
    pub fn to_sarif(&self) -> String {
        let folded = by_identity(&self.findings);
        let gone = self.baseline.iter().flat_map(|baseline| &baseline.gone);
        let mut classes: Vec<_> =
            folded.iter().map(|same| same.identity.class).chain(gone.clone().map(|gone| gone.class)).collect();
        classes.sort_unstable();
        classes.dedup();
        let rules: Vec<Value> = classes
            .iter()
            .map(|&class| {
                let about = about(class);
                json!({
                    "id": class_name(class),
                    "shortDescription": text(about.what),
                    "fullDescription": text(about.why),
                    "help": text(about.remedy),
                    "defaultConfiguration": { "level": level(severity(class)) },
                })
            })
            .collect();
        let rule_index = |class| classes.iter().position(|&known| known == class);
        let results = folded.iter().map(|same| {
            let mut result = result(same);
            result["ruleIndex"] = json!(rule_index(same.identity.class));
            result
        });
        let absent = gone.map(|identity| {
            json!({
                "ruleId": class_name(identity.class),
                "ruleIndex": rule_index(identity.class),
                "level": level(severity(identity.class)),
                "message": text(&format!("no longer met: {identity}")),
                "locations": [{ "logicalLocations": [{ "name": identity.consumer, "kind": "function" }] }],
                "fingerprints": { FINGERPRINT: identity.to_string() },
                "baselineState": "absent",
            })
        });
        let mut sarif = serde_json::to_string_pretty(&json!({
            "$schema": SCHEMA_URI,
            "version": "2.1.0",
            "runs": [{
                "tool": { "driver": { "name": "congruent", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules } },
                "invocations": [{
                    "executionSuccessful": self.verdict != Verdict::Incomplete,
                    "toolExecutionNotifications": self.notifications(),
                }],
                "results": results.chain(absent).collect::<Vec<_>>(),
                "properties": { "target": self.target, "geometry": self.geometry, "muted": self.muted, "stats": self.stats },
            }],
        }))
        .expect("keys are strings");
        sarif.push('\n');
        sarif
    }

    fn notifications(&self) -> Vec<Value> {
        let notification = |level: &str, message: &str| json!({ "level": level, "message": text(message) });
        let unfinished =
            self.incomplete_because.iter().map(|reason| notification("error", &format!("the run is incomplete: {reason}")));
        let notes = self.notes.iter().map(|note| notification("warning", note));
        let limits = self.limits.iter().map(|limit| notification("note", &format!("not covered: {limit}")));
        unfinished.chain(notes).chain(limits).collect()
    }
}

fn text(text: &str) -> Value {
    json!({ "text": text })
}

fn level(severity: u8) -> &'static str {
    if severity == 0 { "error" } else { "warning" }
}

fn result(same: &Same<'_>) -> Value {
    let entry = same.shown;
    let explanation = explain(entry);
    let message = format!(
        "{}. Seen {}. Why: {}. Missing: {}.",
        explanation.headline,
        amount(same.occurrences, "time", "times"),
        explanation.why,
        explanation.missing
    );
    let mut result = json!({
        "ruleId": class_name(entry.class),
        "level": level(severity(entry.class)),
        "kind": "fail",
        "message": text(&message),
        "locations": [party(&entry.consumer, entry.consumer_colour, None)],
        "relatedLocations": related(entry),
        "occurrenceCount": same.occurrences,
        "fingerprints": { FINGERPRINT: same.identity.to_string() },
        "properties": {
            "consumerColour": entry.consumer_colour,
            "producerColour": entry.producer_colour,
            "example": entry.example,
        },
    });
    let stacks: Vec<Value> =
        [Some(("called from", &entry.consumer)), entry.producer.as_ref().map(|party| ("written from", party))]
            .into_iter()
            .flatten()
            .filter_map(|(what, party)| stack(what, party))
            .collect();
    if !stacks.is_empty() {
        result["stacks"] = json!(stacks);
    }
    if let Some(suppressed) = &entry.suppressed {
        result["suppressions"] = json!([{
            "kind": "external",
            "status": "accepted",
            "justification": suppressed.reason,
            "properties": { "rule": suppressed.by },
        }]);
    }
    if let Some(known) = entry.baseline {
        result["baselineState"] = json!(if known == Known::New { "new" } else { "unchanged" });
    }
    result
}

/// The producer, then the maintenance in between, numbered from 1.
fn related(entry: &Entry) -> Vec<Value> {
    let mut related: Vec<Value> =
        entry.producer.iter().map(|producer| party(producer, entry.producer_colour, Some("written by "))).collect();
    related.extend(entry.maintenance_between.iter().map(|operation| {
        let function = operation.symbol.as_deref().map(without_offset);
        let mut location = location(function, Some(operation.pc), operation.line.as_deref());
        location["message"] = text(&format!("in between: {}", past(entry, operation)));
        location
    }));
    for (id, location) in (1..).zip(&mut related) {
        location["id"] = json!(id);
    }
    related
}

/// The call chain of a party, innermost first, if it is known.
fn stack(what: &str, party: &PartyEntry) -> Option<Value> {
    let caller =
        |symbol: Option<&str>, pc, line: Option<&str>| json!({ "location": location(symbol.map(without_offset), pc, line) });
    let first = caller(party.symbol.as_deref(), party.pc, party.line.as_deref());
    let callers = party.chain.iter().map(|call| caller(call.symbol.as_deref(), Some(call.pc), call.line.as_deref()));
    let frames: Vec<Value> = std::iter::once(first).chain(callers).collect();
    (frames.len() > 1).then(|| json!({ "message": text(what), "frames": frames }))
}

fn without_offset(symbol: &str) -> &str {
    symbol.rsplit_once('+').map_or(symbol, |(function, _)| function)
}

fn party(party: &PartyEntry, colour: Option<u16>, lead: Option<&str>) -> Value {
    let mut location = location(Some(&called(party)), party.pc, party.line.as_deref());
    location["message"] = text(&format!("{}{}: {}", lead.unwrap_or_default(), who(party), doing(party, colour)));
    location
}

fn location(function: Option<&str>, pc: Option<Address>, line: Option<&str>) -> Value {
    let mut location = json!({});
    if let Some(function) = function {
        location["logicalLocations"] = json!([{ "name": function, "kind": "function" }]);
    }
    let mut physical = json!({});
    if let Some(Address(pc)) = pc {
        physical["address"] = json!({ "absoluteAddress": pc, "kind": "instruction" });
    }
    if let Some((file, line)) = line.and_then(|line| line.rsplit_once(':'))
        && let Ok(line @ 1..) = line.parse::<u32>()
    {
        physical["artifactLocation"] = json!({ "uri": uri(file) });
        physical["region"] = json!({ "startLine": line });
    }
    if physical != json!({}) {
        location["physicalLocation"] = physical;
    }
    location
}

/// A path as a URI: absolute ones with the scheme `file`, relative ones relative, and what a path may not hold in a URI (RFC 3986)
/// percent-encoded.
fn uri(path: &str) -> String {
    let mut uri = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for &byte in path.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("/linux/mm/memory.c"), "file:///linux/mm/memory.c");
        assert_eq!(uri("a b/ü:#?.c"), "a%20b/%C3%BC%3A%23%3F.c");
    }
}
