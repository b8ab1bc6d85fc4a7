//! The ledger by function and caller, in every form that has it.

use congruent_arch::{Arch, Endian};
use congruent_report::{Booked, Callers, Chains, Ledger, OperationCosts, Outcome, Report, Run, TextOptions};
use congruent_shadow::{LedgerLine, Reach, Side};
use congruent_trace::{Context, Site};

use super::fixture::{STATS, p5600, symbols};
use super::golden::compare;

const COSTS: OperationCosts = OperationCosts { model: "p5600", line: 8, index: 6, whole_per_line: 5 };

fn line(site: u32, context: u32, reach: Reach, operations: u64, lines: u64, mattered: u64) -> LedgerLine {
    LedgerLine { site: Site(site), context: Context(context), side: Side::Data, reach, operations, lines, mattered }
}

fn callers() -> Callers {
    let sites = |sites: &[u32]| sites.iter().copied().map(Site).collect();
    // The second chain passes through the function that operates itself.
    [(Context(1), sites(&[0x8010_0014])), (Context(2), sites(&[0x8010_0210, 0x8010_0014])), (Context(3), sites(&[0x8010_0304]))]
        .into()
}

fn booked() -> Vec<LedgerLine> {
    vec![
        line(0x8010_0240, 1, Reach::Line, 600, 600, 5),
        line(0x8010_0220, 1, Reach::Line, 400, 400, 0),
        line(0x8010_0244, 2, Reach::Line, 24, 24, 0),
        line(0x8010_0220, 3, Reach::Line, 80_000, 80_000, 0),
        line(0x8010_0410, 0, Reach::Whole, 7, 7168, 7168),
        LedgerLine { side: Side::Instruction, ..line(0x8010_0420, 3, Reach::Index, 12, 12, 3) },
        line(0x0040_0100, 3, Reach::Line, 1, 1, 0),
    ]
}

fn report(booked: &[LedgerLine]) -> Report {
    report_of(Some(Arch::Mips(Endian::Little)), Some(COSTS), booked)
}

fn report_of(target: Option<Arch>, costs: Option<OperationCosts>, booked: &[LedgerLine]) -> Report {
    let callers = callers();
    let run = Run {
        target,
        geometry: p5600(),
        behaviour: congruent_geometry::Behaviour::USUAL,
        stats: STATS,
        findings: &[],
        consequences: &[],
        chains: &Chains::default(),
        ledger: Some(Booked {
            lines: booked,
            callers: &callers,
            costs,
            unseen: vec!["instruction fetches".into(), "devices that were not followed".into()],
        }),
        limits: vec!["Instruction fetches are not judged.".to_owned()],
        muted: vec![],
        kernel: None,
        core: None,
        lives: 1,
        injected: None,
        outcome: Outcome::Finished,
    };
    Report::new(&run, &symbols())
}

#[test]
fn the_most_wasteful_function_comes_first_with_its_caller() {
    let report = report(&booked());
    compare("ledger.txt", &report.to_text(TextOptions { show: Some(4), ..TextOptions::default() }));
    compare("ledger.json", &report.to_json());
    compare("ledger.html", &report.to_html(&|_| None));
}

#[test]
fn the_entries_add_up_to_what_was_booked_in_any_order() {
    let mut booked = booked();
    let forwards = report(&booked);
    booked.reverse();
    assert_eq!(report(&booked), forwards);
    let ledger: Ledger = forwards.ledger.unwrap();
    let sum = |of: fn(&LedgerLine) -> u64| booked.iter().map(of).sum::<u64>();
    let entries = ledger.entries.iter();
    let sums = entries.fold((0, 0, 0), |sums, entry| (sums.0 + entry.operations, sums.1 + entry.lines, sums.2 + entry.mattered));
    assert_eq!(sums, (sum(|line| line.operations), sum(|line| line.lines), sum(|line| line.mattered)));
}

#[test]
fn without_a_cost_model_no_cycles_are_told_and_lines_in_vain_decide_the_order() {
    let report = report_of(Some(Arch::Hppa), None, &booked());
    let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(json["ledger_cost_model"], serde_json::Value::Null);
    assert!(json["ledger"].as_array().unwrap().iter().all(|entry| entry["wasted_cycles"].is_null()), "{json:#}");
    assert_eq!(Report::from_json(&report.to_json()).unwrap(), report);
    let ledger = report.ledger.as_ref().unwrap();
    assert_eq!(ledger.wasted_cycles(), None);
    let in_vain: Vec<u64> = ledger.entries.iter().map(|entry| entry.lines - entry.mattered).collect();
    assert!(in_vain.is_sorted_by(|a, b| a >= b), "{in_vain:?}");
    let text = report.to_text(TextOptions { show: Some(1), ..TextOptions::default() });
    let told = "it made no difference to 81,029 lines, whose cost is not estimated because no core of this architecture has a cost model";
    assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(told), "{text}");
    assert!(text.contains("\n            -        all       80,000       80,000            0  "), "{text}");
    assert!(text.contains("\n            -  in "), "{text}");
}

#[test]
fn code_of_a_program_is_named_by_where_it_lies_not_by_the_privilege_in_its_site() {
    let user = line(0x0001_0103, 0, Reach::Line, 1, 1, 0);
    let report = report_of(Some(Arch::Hppa), None, &[user]);
    let entry = &report.ledger.as_ref().unwrap().entries[0];
    assert_eq!((entry.function.as_str(), entry.pc.0), ("0x00010100", 0x0001_0100));
}

#[test]
fn a_run_that_ended_before_its_architecture_was_known_has_a_report_without_one() {
    let report = report_of(None, None, &[]);
    assert_eq!(report.target, "unknown");
    assert_eq!(Report::from_json(&report.to_json()).unwrap(), report);
}
