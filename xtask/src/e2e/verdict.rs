//! Holds a JSON report against what was expected of its run. Reads the report as any other program would: by the schema's field names.

use serde_json::Value;

use super::classes;
use super::row::{Expect, Pair, Side};

/// What a report says, as far as the table asks.
pub struct Verdict {
    /// `clean`, `findings` or `incomplete`.
    pub word: String,
    /// Distinct findings.
    pub findings: usize,
    /// What is wrong, if anything.
    pub complaint: Option<String>,
}

/// The exit status that belongs to a verdict's word.
pub fn status_of(word: &str) -> i32 {
    match word {
        "clean" => 0,
        "findings" => 1,
        _ => 3,
    }
}

/// Judges a report, the exit status it came with, and the cases that the guest named on its console.
pub fn judge(report: &Value, status: Option<i32>, cases: &[&str], expect: Expect, callers: &[&str]) -> Verdict {
    let word = report["verdict"].as_str().unwrap_or("none").to_owned();
    let findings = report["findings"].as_array().map_or(&[][..], Vec::as_slice);
    let complaint = schema(report)
        .or_else(|| (status != Some(status_of(&word))).then(|| format!("exit status {status:?} with verdict {word}")))
        .or_else(|| match expect {
            Expect::Incomplete(names) => not_incomplete(report, &word, names),
            _ => unexpected(&word, findings, cases, expect),
        })
        .or_else(|| not_called(findings, callers));
    Verdict { word, findings: findings.len(), complaint }
}

/// What of the schema is not there.
fn schema(report: &Value) -> Option<String> {
    if report["schema"] != "congruent.report/1" {
        return Some(format!("the schema is {}", report["schema"]));
    }
    for pointer in ["/verdict", "/geometry", "/stats/accesses", "/stats/maintenance_ops", "/findings", "/limits"] {
        if report.pointer(pointer).is_none() {
            return Some(format!("the report has no {pointer}"));
        }
    }
    None
}

fn not_incomplete(report: &Value, word: &str, names: &str) -> Option<String> {
    let reason = report["incomplete_because"].as_str().unwrap_or_default();
    (word != "incomplete" || !reason.contains(names))
        .then(|| format!("expected incomplete because of {names}, got {word} {reason}"))
}

fn unexpected(word: &str, findings: &[Value], cases: &[&str], expect: Expect) -> Option<String> {
    let wanted = match expect {
        Expect::Clean => "clean",
        // Of nothing but these there may be none.
        Expect::AtMost(_) if findings.is_empty() => "clean",
        _ => "findings",
    };
    if word != wanted {
        let first = findings.first().map(|finding| format!(", first: {}", told(finding))).unwrap_or_default();
        return Some(format!("expected {wanted}{first}"));
    }
    let (pairs, only) = match expect {
        Expect::Clean | Expect::Incomplete(_) => return None,
        Expect::AsNamed(count) => return misnamed(findings, cases, count),
        Expect::AtMost(pairs) => return alien(findings, pairs),
        Expect::Exactly(pairs) => (pairs, true),
        Expect::AtLeast(pairs) => (pairs, false),
    };
    if let Some(missing) = pairs.iter().find(|pair| !findings.iter().any(|finding| matches(pair, finding))) {
        return Some(format!("no finding {missing:?}"));
    }
    if only { alien(findings, pairs) } else { None }
}

/// The first finding that is none of these.
fn alien(findings: &[Value], pairs: &[Pair]) -> Option<String> {
    let alien = findings.iter().find(|finding| !pairs.iter().any(|pair| matches(pair, finding)));
    alien.map(|finding| format!("a finding that should not be: {}", told(finding)))
}

/// The cases that did not come out as their names say, or are not as many as they should be.
fn misnamed(findings: &[Value], cases: &[&str], count: usize) -> Option<String> {
    if cases.len() != count {
        return Some(format!("the guest named {} cases, and the table says {count}: one was lost, or is new", cases.len()));
    }
    let found: Vec<&str> = findings.iter().filter_map(|finding| function(&finding["consumer"])).collect();
    let missed: Vec<&str> = cases.iter().copied().filter(|case| case.starts_with("stale_") && !found.contains(case)).collect();
    let alien = findings.iter().filter(|finding| {
        !function(&finding["consumer"]).is_some_and(|function| function.starts_with("stale_") && cases.contains(&function))
    });
    let alien: Vec<String> = alien.map(told).collect();
    let mut complaints = Vec::new();
    if !missed.is_empty() {
        complaints.push(format!("no finding in {}", missed.join(", ")));
    }
    if !alien.is_empty() {
        complaints.push(format!("findings that should not be: {}", alien.join("; ")));
    }
    (!complaints.is_empty()).then(|| complaints.join("; "))
}

/// The first finding of which neither party has one of these functions among its callers.
fn not_called(findings: &[Value], callers: &[&str]) -> Option<String> {
    let lacks = |finding: &&Value, caller: &str| {
        !is_called_by(&finding["consumer"], caller) && !is_called_by(&finding["producer"], caller)
    };
    callers.iter().find_map(|caller| {
        let finding = findings.iter().find(|finding| lacks(finding, caller))?;
        Some(format!("{caller} is not among the callers of {}", told(finding)))
    })
}

/// The first load of user code that is not said to be of one of these `programs`, which are named as on the guest's command line; or the
/// first fetch that is said to be of another one: whose code is fetched may not be known yet.
pub fn of_another_program(findings: &[Value], programs: &str) -> Option<String> {
    let ours = |name: &str| programs.split(',').any(|program| program.split(':').next() == Some(name));
    let strange = |finding: &&Value| {
        let consumer = &finding["consumer"];
        let known = consumer["program"].as_str();
        consumer["mode"] == "user" && !known.map_or(consumer["kind"] == "fetch", ours)
    };
    let finding = findings.iter().find(strange)?;
    Some(format!(
        "the consumer is said to be in {}, and not in one of {programs}: {}",
        finding["consumer"]["program"],
        told(finding)
    ))
}

/// Whether a function is among a party's callers.
fn is_called_by(party: &Value, caller: &str) -> bool {
    party["chain"].as_array().is_some_and(|chain| chain.iter().any(|frame| function(frame) == Some(caller)))
}

/// The name of a party's function.
fn function(party: &Value) -> Option<&str> {
    party["symbol"].as_str().and_then(|symbol| symbol.split('+').next())
}

pub fn matches(pair: &Pair, finding: &Value) -> bool {
    pair.class.is_none_or(|class| finding["class"] == classes::name(class).as_str())
        && side(pair.consumer, &finding["consumer"])
        && side(pair.producer, &finding["producer"])
}

fn side(side: Side, party: &Value) -> bool {
    match side {
        Side::Kernel => party["mode"] == "kernel",
        Side::User => party["mode"] == "user",
        Side::Device => party["kind"] == "dma",
        Side::Function(names) => function(party).is_some_and(|function| names.contains(&function)),
        Side::Under(caller) => function(party) == Some(caller) || is_called_by(party, caller),
    }
}

/// A finding in a few words.
pub fn told(finding: &Value) -> String {
    let name = |party: &Value| party["symbol"].as_str().or(party["pc"].as_str()).unwrap_or("?").to_owned();
    let (consumer, producer) = (name(&finding["consumer"]), name(&finding["producer"]));
    format!("{} by {consumer}, made by {producer}", finding["class"].as_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PAIR: Pair = Pair { class: None, consumer: Side::Function(&["reads"]), producer: Side::Kernel };

    fn report(verdict: &str, findings: &Value) -> Value {
        json!({"schema": "congruent.report/1", "verdict": verdict, "geometry": {}, "limits": [], "findings": findings,
               "stats": {"accesses": 7, "maintenance_ops": 1}})
    }

    fn finding(consumer: &str, mode: &str) -> Value {
        json!({"class": "read-lost", "consumer": {"symbol": consumer, "mode": "user"}, "producer": {"symbol": "w+0x4", "mode": mode}})
    }

    fn complaint(report: &Value, status: i32, expect: Expect) -> Option<String> {
        judge(report, Some(status), &[], expect, &[]).complaint
    }

    #[test]
    fn a_clean_report_is_as_expected_only_with_status_0() {
        let clean = report("clean", &json!([]));
        assert_eq!(complaint(&clean, 0, Expect::Clean), None);
        assert!(complaint(&clean, 1, Expect::Clean).is_some());
        assert!(complaint(&clean, 0, Expect::AtLeast(&[PAIR])).is_some());
    }

    #[test]
    fn an_incomplete_report_is_never_as_expected() {
        let incomplete = report("incomplete", &json!([]));
        for expect in [Expect::Clean, Expect::Exactly(&[PAIR]), Expect::AtLeast(&[])] {
            assert!(complaint(&incomplete, 3, expect).is_some());
        }
    }

    #[test]
    fn an_expected_shortcoming_must_be_the_one_that_is_named() {
        let incomplete = json!({"schema": "congruent.report/1", "verdict": "incomplete", "incomplete_because": "say `cca=3`",
                                "geometry": {}, "limits": [], "findings": [], "stats": {"accesses": 0, "maintenance_ops": 0}});
        assert_eq!(complaint(&incomplete, 3, Expect::Incomplete("cca=3")), None);
        assert!(complaint(&incomplete, 3, Expect::Incomplete("time limit")).is_some());
        assert!(complaint(&report("clean", &json!([])), 0, Expect::Incomplete("cca=3")).is_some());
    }

    #[test]
    fn every_named_finding_must_be_there() {
        let right = report("findings", &json!([finding("reads+0x8", "kernel")]));
        assert_eq!(complaint(&right, 1, Expect::Exactly(&[PAIR])), None);
        assert_eq!(complaint(&right, 1, Expect::AtMost(&[PAIR])), None);
        for wrong in [finding("reads_not+0x8", "kernel"), finding("reads+0x8", "user")] {
            assert!(complaint(&report("findings", &json!([wrong])), 1, Expect::AtLeast(&[PAIR])).is_some());
        }
    }

    #[test]
    fn a_finding_too_many_is_a_false_alarm_unless_the_kernel_is_known_to_be_broken() {
        let more = report("findings", &json!([finding("reads+0x8", "kernel"), finding("other", "kernel")]));
        assert!(complaint(&more, 1, Expect::Exactly(&[PAIR])).is_some());
        assert_eq!(complaint(&more, 1, Expect::AtLeast(&[PAIR])), None);
        assert!(complaint(&more, 1, Expect::AtMost(&[PAIR])).is_some());
        assert_eq!(complaint(&report("clean", &json!([])), 0, Expect::AtMost(&[PAIR])), None);
        assert!(complaint(&report("findings", &json!([])), 1, Expect::AtMost(&[PAIR])).is_some());
    }

    #[test]
    fn cases_must_come_out_as_their_names_say() {
        let stale = report("findings", &json!([finding("stale_a+0x8", "kernel")]));
        let complaint =
            |report: &Value, cases: &[&str]| judge(report, Some(1), cases, Expect::AsNamed(cases.len()), &[]).complaint;
        assert_eq!(complaint(&stale, &["stale_a", "clean_b"]), None);
        assert!(complaint(&stale, &["stale_a", "stale_b"]).is_some());
        assert!(complaint(&stale, &["clean_b"]).is_some());
        let lost = judge(&stale, Some(1), &["stale_a"], Expect::AsNamed(2), &[]).complaint;
        assert!(lost.is_some_and(|complaint| complaint.contains("1 cases, and the table says 2")));
        let both = report("findings", &json!([finding("stale_a+0x8", "kernel"), finding("clean_b", "kernel")]));
        assert!(complaint(&both, &["stale_a", "clean_b"]).is_some());
    }

    #[test]
    fn what_a_function_has_called_is_told_from_what_others_have() {
        let mut found = finding("reads+0x8", "kernel");
        found["consumer"]["chain"] = json!([{"symbol": "middle+0x8"}, {"symbol": "begins+0x10"}]);
        let complaint = |consumer: &'static str| {
            let pairs: &'static [Pair] =
                Box::leak(Box::new([Pair { class: None, consumer: Side::Under(consumer), producer: Side::Kernel }]));
            judge(&report("findings", &json!([found])), Some(1), &[], Expect::Exactly(pairs), &[]).complaint
        };
        assert_eq!([complaint("begins"), complaint("reads")], [None, None]);
        assert!(complaint("another").is_some());
    }

    #[test]
    fn every_finding_must_have_the_callers() {
        let mut found = finding("reads+0x8", "kernel");
        found["producer"]["chain"] = json!([{"symbol": "copies+0x8"}, {"symbol": "system_call+0x10"}]);
        let complaint = |callers: &[&str]| {
            let report = report("findings", &json!([found]));
            judge(&report, Some(1), &[], Expect::AtLeast(&[]), callers).complaint
        };
        assert_eq!(complaint(&["system_call", "copies"]), None);
        assert!(complaint(&["reads"]).is_some());
    }

    #[test]
    fn user_code_must_be_of_a_program_that_runs() {
        let finding = |kind: &str, program: Option<&str>| json!([{"class": "read-lost", "consumer": {"kind": kind, "mode": "user", "program": program}}]);
        let strange = |findings: Value| of_another_program(findings.as_array().unwrap(), "jit,disk:direct").is_some();
        assert!(!strange(finding("load", Some("disk"))) && !strange(finding("fetch", Some("jit"))));
        assert!(strange(finding("load", Some("init"))) && strange(finding("fetch", Some("init"))));
        assert!(strange(finding("load", None)) && !strange(finding("fetch", None)));
        assert!(!strange(json!([{"class": "read-lost", "consumer": {"kind": "load", "mode": "kernel"}}])));
    }

    #[test]
    fn a_report_of_another_schema_is_refused() {
        let mut other = report("clean", &json!([]));
        other["schema"] = json!("congruent.report/9");
        assert!(complaint(&other, 0, Expect::Clean).is_some());
    }
}
