//! Suppressions and baselines: which findings they let pass, which they do not, and what is said about it.

use congruent_report::{Date, Identity, Known, Outcome, Report, SuppressionError, Suppressions, Symbols, TextOptions, Verdict};
use congruent_shadow::{Consequence, Finding, HazardClass, PartyKind};

use super::fixture::{found, one_of_each, party, report, report_of, symbols};
use super::golden::compare;

fn suppressions(text: &str) -> Suppressions {
    let mut suppressions = Suppressions::default();
    suppressions.add("known.toml", text).unwrap();
    suppressions
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn run(findings: &[Finding]) -> Report {
    report(findings, Outcome::Finished, &[], &symbols())
}

fn suppressed(text: &str, today: &str) -> Report {
    let mut report = run(&one_of_each());
    report.suppress(&suppressions(text), day(today));
    report
}

#[test]
fn a_rule_suppresses_what_fits_all_that_it_names() {
    for (rule, expected) in [
        ("class = 'read-stale-copy'", 3),
        ("class = 'read-stale-copy'\nconsumer = 'user code'", 2),
        ("class = 'read-stale-copy'\nconsumer = 'user code'\nproducer = 'device 2'", 1),
        ("producer = '__copy_*'", 8),
        ("producer = '__copy_use?'", 8),
        ("producer = '__copy_use'", 0),
        ("producer = 'user*'", 2),
        ("consumer = '*'", 13),
        ("producer = '*'", 13),
        ("consumer = 'device ?'", 2),
    ] {
        let report = suppressed(&format!("[[suppress]]\n{rule}\nreason = 'x'\n"), "2026-11-22");
        let marked = report.findings.iter().filter(|entry| entry.suppressed.is_some()).count();
        assert_eq!(marked, expected, "{rule}");
        assert_eq!(report.findings.iter().filter(|entry| !entry.fails()).count(), expected, "{rule}");
        assert_eq!(report.verdict, Verdict::Findings, "a suppression does not make a run clean");
        assert_eq!(report.notes.is_empty(), expected > 0, "{rule}: {:?}", report.notes);
    }
}

#[test]
fn a_suppression_holds_until_the_end_of_its_last_day() {
    let rule = "\n[[suppress]]\nclass = 'read-lost'\nreason = 'x'\nexpires = 2026-12-31\n";
    for (today, marked, notes) in [
        ("2026-12-30", 1, &[][..]),
        ("2026-12-31", 1, &[]),
        (
            "2027-01-01",
            0,
            &["the suppression at known.toml:2 expired on 2026-12-31, so it suppresses nothing; renew it or mend the kernel"],
        ),
    ] {
        let report = suppressed(rule, today);
        assert_eq!(report.findings.iter().filter(|entry| entry.suppressed.is_some()).count(), marked, "{today}");
        assert_eq!(report.notes, notes, "{today}");
    }
    let idle = suppressed("[[suppress]]\nconsumer = 'nobody'\nreason = 'x'\nexpires = '2026-12-31'\n", "2027-01-01");
    assert_eq!(idle.notes, ["the suppression at known.toml:1 expired on 2026-12-31 and nothing needs it any more; remove it"]);
    let idle = suppressed("[[suppress]]\nconsumer = 'nobody'\nreason = 'x'\n", "2027-01-01");
    assert_eq!(idle.notes, ["the suppression at known.toml:1 matched no finding of this run"]);
}

#[test]
fn the_first_rule_that_holds_gives_the_reason() {
    let rules = "[[suppress]]\nclass = 'read-lost'\nreason = 'old'\nexpires = 2020-01-01\n\
                 [[suppress]]\nclass = 'read-lost'\nreason = 'new'\n\
                 [[suppress]]\nconsumer = 'user*'\nreason = 'all of them'\n";
    let report = suppressed(rules, "2026-11-22");
    let lost = report.findings.iter().find(|entry| entry.class == HazardClass::ReadLost).unwrap();
    let by = lost.suppressed.as_ref().unwrap();
    assert_eq!((&*by.reason, &*by.by), ("new", "known.toml:5"));
}

#[test]
fn a_wrong_file_is_named_by_its_line_and_adds_nothing() {
    for (text, line, says) in [
        ("[[suppress]]\nclass = 'read-lost'\n", 1, "missing field `reason`"),
        (
            "\n\n[[suppress]]\nclass = 'read-lots'\nreason = 'x'\n",
            4,
            "unknown variant `read-lots`, expected one of `read-dirty-elsewhere`",
        ),
        ("[[suppress]]\nreason = 'x'\n", 1, "name a class, a consumer or a producer"),
        ("[[suppress]]\nconsumer = 'a'\nreason = ' '\n", 1, "say why these findings may pass"),
        (
            "[[suppress]]\nconsumer = 'a'\nreason = 'x'\nexpires = '31.12.2026'\n",
            4,
            "\"31.12.2026\" is no date such as 2027-01-31",
        ),
        ("[[suppress]]\nconsumer = 'a'\nreason = 'x'\nexpires = 2026-02-30\n", 4, ""),
        ("[[suppress]]\nconsumer = 'a'\nreason = 'x'\nexpires = 2026-02-03T00:00:00Z\n", 4, "is no date"),
        ("[[suppress]]\nconsumer = 'a'\nreason = 'x'\nuntil = 2026-01-01\n", 4, "unknown field `until`"),
        ("[[supress]]\nconsumer = 'a'\nreason = 'x'\n", 1, "unknown field `supress`"),
        ("[[suppress]]\nconsumer = 'ok'\nreason = 'x'\n[[suppress\n", 4, ""),
        ("consumer = 4\n", 1, "unknown field"),
    ] {
        let mut suppressions = Suppressions::default();
        let error: SuppressionError = suppressions.add("f", text).unwrap_err();
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(error.problem.contains(says), "{text:?}: {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
        let mut report = run(&one_of_each());
        report.suppress(&suppressions, day("2026-01-01"));
        assert!(report.notes.is_empty() && report.findings.iter().all(|entry| entry.suppressed.is_none()), "{text:?}");
    }
}

#[test]
fn a_finding_of_the_baseline_is_known_wherever_its_functions_lie() {
    use PartyKind::{Load, Store};
    let at = |consumer, producer| {
        found(HazardClass::ReadDirtyElsewhere, 1, party(Load, consumer, Some(1)), Some(party(Store, producer, Some(0))))
    };
    // User code without a name is one thing; of __copy_user only the offset differs; clear_page is another producer.
    let earlier = run(&[at(0x0040_0000, 0x8010_0520)]);
    let mut later = run(&[at(0x0050_0000, 0x8010_0528), at(0x0040_0000, 0x8010_0704)]);
    later.compare(&earlier);
    let state = |producer: &str| {
        let found = later.findings.iter().find(|entry| entry.producer.as_ref().unwrap().symbol.as_deref() == Some(producer));
        (found.unwrap().baseline, found.unwrap().fails())
    };
    assert_eq!(state("__copy_user+0x28"), (Some(Known::Known), false));
    assert_eq!(state("clear_page+0x4"), (Some(Known::New), true));
    assert_eq!(later.baseline.unwrap().gone, []);
    assert!(later.notes.is_empty());
}

#[test]
fn unnamed_kernel_code_is_known_only_at_its_very_address() {
    use PartyKind::{Load, Store};
    let at = |producer| {
        found(HazardClass::ReadDirtyElsewhere, 1, party(Load, 0x0040_0000, Some(1)), Some(party(Store, producer, Some(0))))
    };
    let nameless = |findings: &[Finding]| report(findings, Outcome::Finished, &[], &Symbols::default());
    let mut later = nameless(&[at(0x8010_0520), at(0x8010_0704)]);
    later.compare(&nameless(&[at(0x8010_0520)]));
    let states: Vec<_> = later.findings.iter().map(|entry| entry.baseline.unwrap()).collect();
    assert_eq!(states, [Known::Known, Known::New]);
}

#[test]
fn what_the_baseline_had_and_a_finished_run_has_not_is_gone() {
    let all = one_of_each();
    let earlier = run(&all);
    let mut later = run(&all[..10]);
    later.compare(&earlier);
    let gone: Vec<String> = later.baseline.as_ref().unwrap().gone.iter().map(Identity::to_string).collect();
    let expected = [
        "mixed-attributes-write: __kmap_pgprot <- __copy_user",
        "fetch-dirty: user code <- __copy_user",
        "fetch-stale-copy: user code <- __copy_user",
    ];
    assert_eq!(gone, expected);
    let mut unfinished = report(&all[..10], Outcome::Incomplete("it crashed".to_owned()), &[], &symbols());
    unfinished.compare(&earlier);
    assert_eq!(unfinished.baseline.unwrap().gone, []);
    assert_eq!(unfinished.notes, ["this run did not finish, so findings of the baseline that it lacks are not called gone"]);
}

#[test]
fn what_makes_two_runs_hard_to_compare_is_said() {
    let findings = one_of_each();
    let earlier = report(&findings, Outcome::Incomplete("it crashed".to_owned()), &["memcpy"], &Symbols::default());
    let mut later = run(&findings);
    later.compare(&earlier);
    let about = |what: &str| later.notes.iter().filter(|note| note.contains(what)).count();
    assert_eq!(["did not finish", "other muted sites", "no symbols"].map(about), [1, 1, 1], "{:?}", later.notes);
    assert_eq!(later.notes.len(), 3);
}

#[test]
fn a_report_reads_back_with_all_that_was_marked_and_other_files_are_refused() {
    let mut report = suppressed("[[suppress]]\nclass = 'read-lost'\nreason = 'x'\n", "2026-11-22");
    report.compare(&run(&one_of_each()[..4]));
    assert_eq!(Report::from_json(&report.to_json()).unwrap(), report);
    let json = report.to_json();
    for (text, says) in [
        ("", "not a JSON report"),
        (&json[..json.len() / 2], "not a JSON report"),
        ("{}", "its schema is \"\""),
        ("{\"schema\": \"congruent.simulation/1\"}", "its schema is \"congruent.simulation/1\""),
        (&json.replace("read-lost", "read-tomorrow"), "it cannot be read (unknown variant `read-tomorrow`"),
    ] {
        let error = Report::from_json(text).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn the_text_tells_what_counts_and_names_the_rest() {
    let findings = one_of_each();
    let mut report = run(&findings[..5]);
    report.compare(&run(&findings[3..8]));
    let rules = "[[suppress]]\nclass = 'read-stale-copy'\nproducer = 'user code'\nreason = 'a debugger reads there, JIRA-12'\n\
                 [[suppress]]\nconsumer = 'nobody'\nreason = 'x'\n";
    report.suppress(&suppressions(rules), day("2026-11-22"));
    compare("known.txt", &report.to_text(TextOptions::default()));
    compare("known.json", &report.to_json());
    let mut nothing_left = run(&findings);
    nothing_left.compare(&run(&findings));
    compare("nothing-new.txt", &nothing_left.to_text(TextOptions::default()));
}

/// A reader of bytes that were left dirty, another finding, and a device that reads what the first reader did.
fn hidden_behind_a_reader() -> Report {
    let of = |class, kind, consumer, colour| {
        found(class, 1, party(kind, consumer, colour), Some(party(PartyKind::Store, 0x8010_0104, Some(0))))
    };
    let reader = of(HazardClass::ReadDirtyElsewhere, PartyKind::Load, 0x8010_0510, Some(1));
    let other = of(HazardClass::WriteUnderDirtyAlias, PartyKind::Store, 0x8010_0710, Some(1));
    let device = of(HazardClass::DmaReadStale, PartyKind::Dma, 1, None);
    let consequences = [Consequence { finding: device, follows: vec![1] }];
    // The write is less important and comes last in the report.
    report_of(&[other, reader], &consequences, Outcome::Finished, &[], &symbols())
}

#[test]
fn what_a_suppressed_finding_hides_is_a_finding() {
    let mut untouched = hidden_behind_a_reader();
    untouched.reveal();
    assert_eq!((untouched.findings.len(), untouched.consequences.len()), (2, 1));
    let follows = untouched.consequences[0].follows.iter().map(|place| untouched.findings[*place].class).collect::<Vec<_>>();
    assert_eq!(follows, [HazardClass::ReadDirtyElsewhere]);

    let suppressed = |rule: &str| {
        let mut report = hidden_behind_a_reader();
        report.suppress(&suppressions(&format!("[[suppress]]\n{rule}\nreason = 'x'\n")), day("2026-11-22"));
        report.reveal();
        report
    };
    let report = suppressed("class = 'read-dirty-elsewhere'");
    let fails: Vec<_> = report.findings.iter().filter(|entry| entry.fails()).map(|entry| entry.class).collect();
    assert_eq!(fails, [HazardClass::DmaReadStale, HazardClass::WriteUnderDirtyAlias]);
    assert!(report.notes.iter().any(|note| note.starts_with("1 finding that the same maintenance")), "{:?}", report.notes);
    // It does not follow from that one.
    assert_eq!(suppressed("class = 'write-under-dirty-alias'").findings.len(), 2);
    // It may be let pass itself.
    assert_eq!(suppressed("producer = '*'").findings.iter().filter(|entry| entry.fails()).count(), 0);
}

#[test]
fn what_followed_from_the_findings_of_the_baseline_is_known() {
    let earlier = Report::from_json(&hidden_behind_a_reader().to_json()).unwrap();
    let mut again = hidden_behind_a_reader();
    again.compare(&earlier);
    again.reveal();
    assert_eq!((again.findings.len(), again.findings.iter().filter(|entry| entry.fails()).count()), (3, 0));
    // The earlier run had the reader only.
    let mut without = hidden_behind_a_reader();
    without.consequences.clear();
    let mut again = hidden_behind_a_reader();
    again.compare(&without);
    again.reveal();
    let fails: Vec<_> = again.findings.iter().filter(|entry| entry.fails()).map(|entry| entry.class).collect();
    assert_eq!(fails, [HazardClass::DmaReadStale]);
}

#[test]
fn what_follows_is_told_once_for_each_identity_and_revealed_by_any_finding_that_it_follows_from() {
    let load =
        |class, site| found(class, 1, party(PartyKind::Load, site, Some(1)), Some(party(PartyKind::Store, 0x8010_0104, Some(0))));
    // Two findings in one function, one in another, and what five places of a third see because of them.
    let findings = [0x8010_0510, 0x8010_0514, 0x8010_0310].map(|site| load(HazardClass::ReadDirtyElsewhere, site));
    let behind = |at: u32| Consequence { finding: load(HazardClass::ReadStaleCopy, 0x8010_0710 + 4 * at), follows: vec![at % 3] };
    let consequences: Vec<_> = (0..5).map(behind).collect();
    let report = || report_of(&findings, &consequences, Outcome::Finished, &[], &symbols());
    let whole = report();
    let [told] = &whole.consequences[..] else { panic!("{:?}", whole.consequences) };
    let functions: std::collections::BTreeSet<String> =
        told.follows.iter().map(|place| Identity::of(&whole.findings[*place]).consumer).collect();
    assert_eq!((told.pairs, told.follows.len(), functions.len()), (5, 2, 2));
    assert_eq!(Report::from_json(&whole.to_json()).unwrap(), whole);
    for function in functions {
        let mut report = report();
        report.suppress(&suppressions(&format!("[[suppress]]\nconsumer = '{function}'\nreason = 'x'\n")), day("2026-11-22"));
        report.reveal();
        let revealed = report.findings.iter().filter(|entry| entry.class == HazardClass::ReadStaleCopy);
        assert_eq!((revealed.count(), report.consequences.len()), (1, 0), "{function}");
    }
}
