//! Whole reports, compared with the files in `tests/golden`. `UPDATE_GOLDEN=1` writes them anew; read the difference.

use std::path::Path;

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr, preset};
use congruent_report::{Outcome, Report, Run, SCHEMA, Symbols, TextOptions, Verdict};
use congruent_shadow::{Effect, Example, Finding, HazardClass, Party, PartyKind, PastMaintenance, Stats};
use congruent_trace::{Maintenance, Site};
use serde_json::{Value, json};

const KALLSYMS: &[u8] = b"80100000 T _text
80100000 T copy_user_highpage
80100200 t r4k_flush_data_cache_page
80100300 T __kmap_pgprot
80100400 T mips_dma_cache_sync
80100500 T __copy_user
80100700 T clear_page
80100800 T _etext
";

fn compare(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(actual == expected, "{name} differs; run with UPDATE_GOLDEN=1 and read the difference. It is now:\n{actual}");
}

fn p5600() -> CacheGeometry {
    preset("p5600").unwrap().geometry
}

const STATS: Stats = Stats {
    accesses: 970_123_456,
    uncached: 1_234,
    maintenance: 437_012,
    muted: 0,
    frames: 9_812,
    shadow_bytes: 12 << 20,
    hazards: 1_300,
};

fn symbols() -> Symbols {
    let mut symbols = Symbols::default();
    symbols.add(KALLSYMS).unwrap();
    symbols
}

fn report(findings: &[Finding], outcome: Outcome, muted: &[&str], symbols: &Symbols) -> Report {
    let limits = vec![
        "Instruction fetches are not judged.".to_owned(),
        "Device transfers cannot be observed: bytes that a device wrote are taken to be what memory held before.".to_owned(),
    ];
    let muted: Vec<String> = muted.iter().map(|site| (*site).to_owned()).collect();
    let stats = Stats { muted: if muted.is_empty() { 0 } else { 812 }, ..STATS };
    Report::new(&Run { target: "mipsel", geometry: p5600(), stats, findings, limits, muted, outcome }, symbols)
}

fn party(kind: PartyKind, site: u32, colour: Option<u16>) -> Party {
    Party { kind, site: Site(site), colour }
}

fn past(op: Maintenance, colour: Option<u16>, site: u32, effect: Effect) -> PastMaintenance {
    PastMaintenance { op, colour, site: Site(site), effect, muted: false }
}

fn found(class: HazardClass, count: u64, consumer: Party, producer: Option<Party>) -> Finding {
    let vaddr = consumer.colour.map(|colour| VirtAddr(0x7fff_0010 + u64::from(colour) * 0x1000));
    let example = Example { vaddr, paddr: PhysAddr(0x0123_4010), bytes: 4 };
    Finding { class, count, consumer, producer, example, maintenance_between: Vec::new() }
}

/// One finding of each class, in no particular order.
fn one_of_each() -> Vec<Finding> {
    use HazardClass::*;
    use PartyKind::*;
    let user_load = |offset: u32, colour| party(Load, 0x0040_0100 + offset, Some(colour));
    let kernel_store = party(Store, 0x8010_0520, Some(0));
    let mut findings = vec![
        found(WriteUnderDirtyAlias, 3, party(Store, 0x0040_0200, Some(1)), Some(kernel_store)),
        found(ReadDirtyElsewhere, 900, user_load(0, 1), Some(kernel_store)),
        found(ReadStaleCopy, 12, party(Load, 0x8010_0504, Some(0)), Some(party(Store, 0x0040_0300, Some(1)))),
        found(ReadStaleCopy, 40, user_load(4, 1), Some(party(Dma, 2, None))),
        found(ReadStaleCopy, 41, user_load(8, 1), Some(party(UncachedStore, 0x8010_0310, None))),
        found(ReadLost, 1, user_load(12, 0), Some(party(Store, 0x0040_0400, Some(0)))),
        found(ClobberedNeighbour, 2, user_load(16, 1), None),
        found(DmaReadStale, 5, party(Dma, 1, None), Some(kernel_store)),
        found(DmaWriteUnderDirty, 6, party(Dma, 1, None), Some(kernel_store)),
        found(MixedAttributesRead, 7, party(UncachedLoad, 0x8010_0304, None), Some(kernel_store)),
        found(MixedAttributesWrite, 8, party(UncachedStore, 0x8010_0308, None), Some(kernel_store)),
    ];
    findings[1].maintenance_between = vec![
        past(Maintenance::WriteBackInvalidate, Some(0), 0x8010_0210, Effect::WroteBackAndDropped),
        past(Maintenance::WriteBackInvalidate, Some(1), 0x8010_0220, Effect::Nothing),
        PastMaintenance { muted: true, ..past(Maintenance::WriteBack, Some(0), 0x8010_0010, Effect::Nothing) },
        past(Maintenance::WriteBackInvalidate, None, 0x8000_0040, Effect::Nothing),
        past(Maintenance::WriteBack, Some(1), 0x8010_0230, Effect::Nothing),
    ];
    findings[2].maintenance_between = vec![
        past(Maintenance::WriteBackInvalidate, Some(0), 0x8010_0210, Effect::Dropped),
        past(Maintenance::WriteBack, Some(0), 0x8010_0220, Effect::WroteBack),
        past(Maintenance::WriteBackInvalidate, Some(1), 0x8010_0230, Effect::WroteBackAndDropped),
    ];
    findings[5].maintenance_between = vec![past(Maintenance::Invalidate, Some(0), 0x8010_0410, Effect::Dropped)];
    findings
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
    let stats = Stats { accesses: 0, ..STATS };
    let run = Run {
        target: "mips",
        geometry: p5600(),
        stats,
        findings: &[],
        limits: vec![],
        muted: vec![],
        outcome: Outcome::Finished,
    };
    compare("nothing-cached.txt", &Report::new(&run, &symbols()).to_text(TextOptions::default()));
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
    compare("flood.txt", &report.to_text(TextOptions { show: 2, ..TextOptions::default() }));
    assert_eq!(report.findings.len(), findings.len(), "the report itself holds everything");
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
