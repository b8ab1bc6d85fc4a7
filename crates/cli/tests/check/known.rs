//! Suppressions and baselines as they decide the exit status, and what can be wrong with their files.

use crate::runner::Place;
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    suppressed_findings_do_not_count,
    known_findings_do_not_count_and_the_baseline_may_be_replaced,
    an_incomplete_run_stays_incomplete_whatever_is_suppressed,
    wrong_files_are_named_before_the_guest_starts,
];

const FOUND: &[&str] = &["hello", "finding", "final-with-finding"];

fn suppressed_findings_do_not_count() {
    let place = Place::new();
    place.write("rules", "[[suppress]]\nproducer = 'copy_user_*'\nreason = 'mended in 6.9'\n");
    place.write("old", "[[suppress]]\nproducer = 'copy_user_*'\nreason = 'later'\nexpires = 2026-01-01\n");
    let options = ["--symbols", "kallsyms", "--format", "json", "-o", "a.json", "--format", "text"];
    let ran = place.check(&[&options[..], &["--suppress", "old", "--suppress", "rules"]].concat(), FOUND);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.contains("suppressed by rules:1: mended in 6.9"), "{ran:?}");
    let report = place.json("a.json");
    assert_eq!(report["verdict"], "findings");
    assert_eq!(report["findings"][0]["suppressed"]["reason"], "mended in 6.9");
    let ran = place.check(&[&options[..], &["--suppress", "old"]].concat(), FOUND);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stdout.contains("the suppression at old:1 expired on 2026-01-01"), "{ran:?}");
}

fn known_findings_do_not_count_and_the_baseline_may_be_replaced() {
    let place = Place::new();
    let json = ["--symbols", "kallsyms", "--format", "json", "-o", "a.json"];
    assert_eq!(place.check(&json, FOUND).status, 1);
    let against = [&json[..], &["--baseline", "a.json"]].concat();
    assert_eq!(place.check(&against, FOUND).status, 0);
    assert_eq!(place.json("a.json")["findings"][0]["baseline"], "known");
    assert_eq!(place.check(&against, &["hello", "final"]).status, 0);
    assert_eq!(place.json("a.json")["baseline"]["gone"][0]["producer"], "copy_user_highpage");
    assert_eq!(place.check(&against, FOUND).status, 1);
    assert_eq!(place.json("a.json")["findings"][0]["baseline"], "new");
}

fn an_incomplete_run_stays_incomplete_whatever_is_suppressed() {
    let place = Place::new();
    place.write("rules", "[[suppress]]\nconsumer = '*'\nreason = 'x'\n");
    place.check(&["--suppress", "rules", "--until", "never printed"], FOUND).assert_incomplete("`never printed`");
}

fn wrong_files_are_named_before_the_guest_starts() {
    let place = Place::new();
    place.write("rules", "[[suppress]]\nclass = 'read-lots'\nreason = 'x'\n");
    place.write("report", "{\"schema\": \"congruent.report/2\"}");
    for (options, says) in [
        (["--suppress", "none"], "cannot read the suppressions `none`; correct --suppress"),
        (["--suppress", "rules"], "--suppress: rules:2: unknown variant `read-lots`"),
        (["--baseline", "none"], "cannot read the baseline `none`; correct --baseline"),
        (["--baseline", "rules"], "`rules` is no baseline: it is not a JSON report"),
        (["--baseline", "report"], "its schema is \"congruent.report/2\""),
    ] {
        place.check(&options, &["touch=started", "hello", "final"]).assert_cannot(says);
        assert!(!place.path("started").exists());
    }
}
