//! Where reports and the console go, and what is in the reports.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use crate::runner::{Place, Ran};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    what_the_emulated_core_does_not_have_is_said_and_findings_are_folded_under_it,
    both_formats_come_out_of_one_run,
    the_json_report_has_the_fields_of_the_contract,
    callers_are_followed_unless_that_is_switched_off,
    the_console_leaves_standard_output_to_a_report_that_is_piped,
    the_console_has_standard_output_when_reports_go_to_files,
    the_console_is_passed_on_byte_for_byte,
    input_that_is_no_terminal_reaches_the_guest,
    a_reader_that_goes_away_does_not_matter,
    an_older_report_is_replaced_whole,
    text_tells_as_many_groups_as_asked,
    reports_are_plain_where_no_terminal_is,
    two_runs_at_once_do_not_meet,
];

const FOUND: &[&str] = &["hello", "finding", "final-with-finding"];

fn both_formats_come_out_of_one_run() {
    let place = Place::new();
    let ran = place.check(&["--format", "json", "-o", "a.json", "--format", "text"], FOUND);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stdout.starts_with("findings: "), "{ran:?}");
    assert_eq!(place.json("a.json")["verdict"], "findings");
    let ran = place.check(&["--format", "json", "--format", "text", "-o", "a.txt"], FOUND);
    assert!(ran.stdout.starts_with('{'), "{ran:?}");
    assert!(place.read("a.txt").starts_with("findings: "));
}

fn the_json_report_has_the_fields_of_the_contract() {
    let place = Place::new();
    place.check(&["--symbols", "kallsyms", "--format", "json", "-o", "a.json"], FOUND);
    let report = place.json("a.json");
    assert_eq!(report["schema"], "congruent.report/1");
    assert_eq!(report["stats"]["accesses"], 970_123_456);
    assert_eq!(report["stats"]["maintenance_ops"], 437_000);
    assert_eq!(report["limits"][0], "Instruction fetches are not judged.");
    let finding = &report["findings"][0];
    assert_eq!(finding["class"], "read-dirty-elsewhere");
    assert_eq!(finding["count"], 1204);
    assert_eq!(
        finding["consumer"],
        json!({"kind": "load", "cached": true, "pc": "0x00400110", "program": "sh", "symbol": null, "mode": "user"})
    );
    assert_eq!(finding["producer"]["symbol"], "copy_user_highpage+0x20");
    assert_eq!((&finding["consumer_colour"], &finding["producer_colour"]), (&json!(1), &json!(0)));
    assert_eq!(finding["example"], json!({"vaddr": "0x7fff1010", "paddr": "0x01234010", "bytes": 4}));
    assert_eq!(finding["maintenance_between"][0]["symbol"], "r4k_flush_data_cache_page+0x4");
    let call = json!({"pc": "0x80100104", "symbol": "copy_user_highpage+0x104"});
    assert_eq!(finding["producer"]["chain"], json!([call]));
}

fn callers_are_followed_unless_that_is_switched_off() {
    for (options, says) in [(&[][..], "backtraces: true"), (&["--no-backtraces"], "backtraces: false")] {
        let ran = Place::new().check(options, &["hello", "print-config", "final"]);
        assert!((ran.stdout + &ran.stderr).contains(says), "{options:?}");
    }
}

fn the_console_leaves_standard_output_to_a_report_that_is_piped() {
    let ran = Place::new().check(&["--format", "json"], &["hello", "print=login: ", "complain=qemu: hm", "final"]);
    assert!(ran.stdout.starts_with('{'), "{ran:?}");
    assert!(ran.stderr.contains("login: ") && ran.stderr.contains("qemu: hm\n"), "{ran:?}");
}

fn the_console_has_standard_output_when_reports_go_to_files() {
    let place = Place::new();
    let ran = place.check(&["-o", "report"], &["hello", "print=login: ", "final"]);
    assert_eq!(ran.stdout, "login: ");
    assert!(place.read("report").starts_with("clean: "));
}

fn the_console_is_passed_on_byte_for_byte() {
    let place = Place::new();
    let output = place.check_command(&["-o", "report"], &["hello", "print-all-bytes", "final"]).output().unwrap();
    assert_eq!(output.stdout, (0..=255).collect::<Vec<u8>>());
}

fn input_that_is_no_terminal_reaches_the_guest() {
    let place = Place::new();
    let mut command = place.check_command(&["-o", "report"], &["hello", "echo-input", "final"]);
    let mut check = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(b"root\n").unwrap();
    let ran = Ran::of(check.wait_with_output().unwrap());
    assert_eq!((ran.status, &*ran.stdout), (0, "root\n"), "{ran:?}");
}

fn a_reader_that_goes_away_does_not_matter() {
    let place = Place::new();
    let mut check = place.start(&["-o", "report"], &["hello", "print=one", "print=two", "echo-input", "final-with-finding"]);
    drop(check.stdout.take());
    let ran = Ran::of(check.wait_with_output().unwrap());
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(place.read("report").starts_with("findings: "));
}

fn an_older_report_is_replaced_whole() {
    let place = Place::new();
    place.write("a.json", &"x".repeat(100_000));
    place.check(&["--format", "json", "-o", "a.json"], &["hello", "final"]);
    assert_eq!(place.json("a.json")["verdict"], "clean");
    // A run that never was leaves an older report alone, and no empty new one.
    place.check(&["--format", "json", "-o", "a.json", "--format", "text", "-o", "new"], &["exit=1"]).assert_cannot("not started");
    assert_eq!(place.json("a.json")["verdict"], "clean");
    assert!(!place.path("new").exists());
}

fn text_tells_as_many_groups_as_asked() {
    let ran = Place::new().check(&["--show", "0"], FOUND);
    assert!(ran.stdout.contains("and 1 more group: read-dirty-elsewhere 1,204 times"), "{ran:?}");
}

fn reports_are_plain_where_no_terminal_is() {
    let ran = Place::new().check(&[], FOUND);
    assert!(!ran.stdout.contains('\x1b'), "{ran:?}");
}

fn two_runs_at_once_do_not_meet() {
    let place = Place::new();
    let one = place.start(&[], &["hello", "wait-for-sigterm", "final-with-finding"]);
    let two = place.check(&[], &["hello", "final"]);
    assert_eq!(two.status, 0, "{two:?}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&one), rustix::process::Signal::TERM).unwrap();
    Ran::of(one.wait_with_output().unwrap()).assert_incomplete("interrupted by SIGTERM");
    assert!(place.is_tidy());
}

fn what_the_emulated_core_does_not_have_is_said_and_findings_are_folded_under_it() {
    // A 24Kf of QEMU, then a P5600.
    for (config1, says) in [("0x9e190c8f", true), ("0xfea3519b", false)] {
        let place = Place::new();
        let options = ["--format", "json", "-o", "json", "--format", "text"];
        let ran = place.check(&options, &["hello", &format!("config1={config1}"), "final-with-finding"]);
        assert_eq!(ran.status, 1, "{ran:?}");
        let core = place.json("json")["core"].as_str().map(str::to_owned);
        assert_eq!(core.is_some_and(|core| core.contains("sweeps 2048 of 32768 bytes")), says);
        assert_eq!(ran.stdout.contains("the core that QEMU emulates says"), says, "{ran:?}");
    }
}
