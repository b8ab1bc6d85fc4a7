//! Whole reports, compared with the files in `tests/golden`. `UPDATE_GOLDEN=1` writes them anew; read the difference.

use std::path::Path;

use congruent_arch::{Arch, Endian};
use congruent_geometry::{Behaviour, PhysAddr};
use congruent_report::{Chains, Given, Injected, Outcome, Report, Run, SCHEMA, Symbols, TextOptions, Verdict};
use congruent_shadow::{HazardClass, PartyKind, Stats};
use serde_json::{Value, json};

use super::fixture::{STATS, chains, found, one_of_each, p5600, party, report, symbols};

pub fn compare(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(actual == expected, "{name} differs; run with UPDATE_GOLDEN=1 and read the difference. It is now:\n{actual}");
}

#[test]
fn a_clean_report() {
    let report = report(&[], Outcome::Finished, &[], &symbols());
    assert_eq!(report.verdict, Verdict::Clean);
    compare("clean.txt", &report.to_text(TextOptions::default()));
    compare("clean.json", &report.to_json());
}

#[test]
fn every_class_is_explained() {
    let report = report(&one_of_each(), Outcome::Finished, &["copy_user_highpage"], &symbols());
    assert_eq!(report.verdict, Verdict::Findings);
    compare("every-class.txt", &report.to_text(TextOptions::default()));
    compare("every-class.json", &report.to_json());
}

#[test]
fn an_incomplete_report_without_symbols() {
    let outcome = Outcome::Incomplete("QEMU was killed by SIGSEGV".to_owned());
    let report = report(&one_of_each()[1..2], outcome, &[], &Symbols::default());
    assert_eq!(report.verdict, Verdict::Incomplete);
    compare("incomplete.txt", &report.to_text(TextOptions::default()));
}

#[test]
fn an_incomplete_report_without_findings_is_not_clean() {
    let outcome = Outcome::Incomplete("the time limit of 5m ran out before the console printed `login:`".to_owned());
    let report = report(&[], outcome, &[], &symbols());
    assert_eq!(report.verdict, Verdict::Incomplete);
    compare("incomplete-nothing-found.txt", &report.to_text(TextOptions::default()));
}

#[test]
fn a_run_without_cached_accesses_proves_nothing() {
    let report = counted(Stats { accesses: 0, ..STATS }, None);
    compare("nothing-cached.txt", &report.to_text(TextOptions::default()));
}

/// The report of a run without findings in which the judge counted this, of a core that says this of itself.
fn counted(stats: Stats, core: Option<&str>) -> Report {
    let run = Run {
        target: Some(Arch::Mips(Endian::Big)),
        geometry: p5600(),
        behaviour: Behaviour::USUAL,
        stats,
        chains: &Chains::default(),
        ledger: None,
        findings: &[],
        consequences: &[],
        limits: vec![],
        muted: vec![],
        kernel: Some("Linux version 6.1.0-50-4kc-malta (debian-kernel@lists.debian.org) #1 Debian 6.1.176-1".to_owned()),
        core: core.map(str::to_owned),
        lives: 1,
        injected: None,
        outcome: Outcome::Finished,
    };
    Report::new(&run, &symbols())
}

#[test]
fn what_nobody_saw_written_is_said_once_beside_the_verdict_of_every_report_and_only_if_it_was() {
    for (unseen_writes, says) in [(0, None), (1, Some("Once a page")), (7, Some("7 times a page"))] {
        let report = counted(Stats { unseen_writes, ..STATS }, None);
        let (text, html) = (report.to_text(TextOptions::default()), report.to_html(&|_| None));
        let times = |text: &str| says.map_or(0, |says| text.matches(says).count());
        assert_eq!(report.unknown.is_some(), says.is_some());
        let expected = usize::from(says.is_some());
        assert_eq!((times(&text), times(&html), times(&report.to_json())), (expected, expected, expected), "{text}");
        assert_eq!(text.contains("\n  unknown "), says.is_some(), "{text}");
        assert_eq!(report.verdict, Verdict::Clean);
    }
}

#[test]
fn a_guest_that_maintains_less_than_the_modelled_cache_is_told_of_whether_its_core_has_said_so_or_not() {
    let core = |step, sweep, said| counted(Stats { step, sweep, ..STATS }, said).core;
    for (step, sweep) in [(0, 0), (16, 0), (32, 32 << 10), (0, 64 << 10)] {
        assert_eq!(core(step, sweep, None), None, "{step}, {sweep}");
        assert_eq!(core(step, sweep, Some("a small core")).as_deref(), Some("a small core"), "{step}, {sweep}");
    }
    let less = "the guest maintains a smaller cache than the modelled one, or one with longer lines: its sweeps by index reach 2048 of 32768 bytes";
    assert_eq!(core(32, 2048, None), Some(format!("{less}; whatever is found may follow from that alone")));
    let both = format!("{less}, and it goes through its cache by 64 bytes over lines of 32");
    assert_eq!(core(64, 2048, Some("a small core")), Some(format!("a small core. Indeed {both}")));
}

#[test]
fn what_the_guest_was_given_is_told_beside_what_it_was_given_for() {
    let findings = one_of_each();
    let given = Given { loads: 3, paddr: PhysAddr(0x4010), got: vec![0, 1], newest: vec![0xa5, 0x5a], accesses: 12_345 };
    let told = |injected: &Injected| {
        let chains = chains();
        let of = Run::of_findings(Arch::Mips(Endian::Little), p5600(), Behaviour::USUAL, &findings[..1], &chains);
        Report::new(&Run { injected: Some(injected), stats: STATS, ..of }, &symbols())
    };
    let next_line = Some("Oops[#1]:".to_owned());
    let report = told(&Injected { schedule: "7".to_owned(), given: vec![Some(given)], next_line, later: Some(4321) });
    compare("injected.txt", &report.to_text(TextOptions::default()));
    let html = report.to_html(&|_| None);
    assert_eq!((html.matches("00 01 in place of a5 5a").count(), html.matches("seed 7").count()), (1, 1), "{html}");
    let read: Report = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(read, report);
    let nothing = told(&Injected { schedule: "worst".to_owned(), given: vec![None], next_line: None, later: None });
    assert!(nothing.to_text(TextOptions::default()).contains("whatever any schedule gives; no load was given old bytes"));
    assert_eq!(nothing.findings[0].given, None);
}

#[test]
fn floods_are_folded() {
    use PartyKind::{Load, Store};
    let functions = [0x8010_0000, 0x8010_0500, 0x8010_0700];
    let mut findings = Vec::new();
    for n in 0..300u32 {
        let consumer = if n % 3 == 0 { 0x0040_0000 + n * 4 } else { functions[n as usize % 3] + n * 4 % 0x80 };
        let producer = functions[n as usize / 3 % 3] + n % 32 * 4;
        let class = if n % 2 == 0 { HazardClass::ReadDirtyElsewhere } else { HazardClass::ReadStaleCopy };
        let count = u64::from(n % 7 + 1);
        findings.push(found(class, count, party(Load, consumer, Some(1)), Some(party(Store, producer, Some(0)))));
    }
    let report = report(&findings, Outcome::Finished, &[], &symbols());
    compare("flood.txt", &report.to_text(TextOptions { show: Some(2), ..TextOptions::default() }));
    // Where one thing explains them all, one group is told, unless more are asked for.
    let one = report.to_text(TextOptions { show: Some(1), ..TextOptions::default() });
    let explained = Report { core: Some("the core has less".to_owned()), ..report.clone() };
    let without_the_line = |text: String| text.replace("  core        the core has less\n", "");
    assert!(explained.to_text(TextOptions::default()).contains("  core        the core has less\n"));
    assert_eq!(without_the_line(explained.to_text(TextOptions::default())), one);
    let all = TextOptions { show: Some(99), ..TextOptions::default() };
    assert_eq!(without_the_line(explained.to_text(all)), report.to_text(all));
    assert_eq!(report.findings.len(), findings.len(), "the report itself holds everything");
}

#[test]
fn a_program_has_the_name_that_the_guest_gives_it_where_no_symbol_does() {
    let findings = &one_of_each()[1..2];
    let text = |symbols: &Symbols| report(findings, Outcome::Finished, &[], symbols).to_text(TextOptions::default());
    let without = text(&symbols());
    assert!(without.contains("read-dirty-elsewhere: user program `sh` may read old bytes"), "{without}");
    assert!(without.contains("read by     user program `sh`, 0x00400100: load"), "{without}");
    let mut named = symbols();
    named.add(b"00400000 T _start\n00400100 T main\n00400200 T _end\n").unwrap();
    let with = text(&named);
    assert!(with.contains("read by     user code, main+0x0 (0x00400100): load") && !with.contains("`sh`"), "{with}");
}

#[test]
fn the_order_does_not_depend_on_the_order_of_discovery() {
    let mut findings = one_of_each();
    let forwards = report(&findings, Outcome::Finished, &[], &symbols());
    findings.reverse();
    assert_eq!(report(&findings, Outcome::Finished, &[], &symbols()), forwards);
}

#[test]
fn colour_is_an_addition_to_the_same_text() {
    let report = report(&one_of_each(), Outcome::Finished, &[], &symbols());
    let coloured = report.to_text(TextOptions { colour: true, ..TextOptions::default() });
    let mut plain = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_ne!(plain, coloured);
    assert_eq!(plain, report.to_text(TextOptions::default()));
}

#[test]
fn json_has_the_fields_of_the_contract_and_reads_back() {
    let report = report(&one_of_each(), Outcome::Finished, &[], &symbols());
    let text = report.to_json();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["schema"], SCHEMA);
    for field in ["schema", "verdict", "geometry", "stats", "findings", "limits"] {
        assert!(value.get(field).is_some(), "{field}");
    }
    for field in ["accesses", "maintenance_ops"] {
        assert!(value["stats"][field].is_u64(), "{field}");
    }
    let expected = json!({"size": 32768, "ways": 4, "line": 32, "page": 4096, "colours": 2, "write_back_unit": 32});
    assert_eq!(value["geometry"], expected);
    for finding in value["findings"].as_array().unwrap() {
        for field in
            ["class", "count", "consumer", "producer", "consumer_colour", "producer_colour", "example", "maintenance_between"]
        {
            assert!(finding.get(field).is_some(), "{field} in {finding}");
        }
        for party in ["consumer", "producer"].map(|party| &finding[party]).into_iter().filter(|party| !party.is_null()) {
            for field in ["kind", "pc", "symbol", "mode"] {
                assert!(party.get(field).is_some(), "{field} in {party}");
            }
            assert!(["load", "store", "fetch", "dma"].contains(&party["kind"].as_str().unwrap()), "{party}");
            assert!(party["mode"].is_null() || ["kernel", "user"].contains(&party["mode"].as_str().unwrap()), "{party}");
        }
        for field in ["vaddr", "paddr", "bytes"] {
            assert!(finding["example"].get(field).is_some(), "{field} in {finding}");
        }
    }
}
