//! The ledger by function and caller, in every form that has it.

use congruent_report::{Booked, Callers, Chains, Ledger, OperationCosts, Outcome, Report, Run, TextOptions};
use congruent_shadow::{LedgerLine, Reach, Side};
use congruent_trace::{Context, Site};

use crate::fixture::{STATS, p5600, symbols};
use crate::golden::compare;

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
    let callers = callers();
    let run = Run {
        target: "mipsel",
        geometry: p5600(),
        behaviour: congruent_geometry::Behaviour::USUAL,
        stats: STATS,
        findings: &[],
        chains: &Chains::default(),
        ledger: Some(Booked {
            lines: booked,
            callers: &callers,
            costs: COSTS,
            unseen: vec!["instruction fetches".into(), "devices that were not followed".into()],
        }),
        limits: vec!["Instruction fetches are not judged.".to_owned()],
        muted: vec![],
        outcome: Outcome::Finished,
    };
    Report::new(&run, &symbols())
}

#[test]
fn the_most_wasteful_function_comes_first_with_its_caller() {
    let report = report(&booked());
    compare("ledger.txt", &report.to_text(TextOptions { show: 4, ..TextOptions::default() }));
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
