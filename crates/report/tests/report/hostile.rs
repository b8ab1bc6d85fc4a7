//! Names and messages that would act on a terminal: none of what they hold reaches it, in any form of the report.

use congruent_arch::{Arch, Endian};
use congruent_geometry::Behaviour;
use congruent_report::{Booked, Callers, Chain, Chains, Date, Outcome, Report, Run, Suppressions, Symbols, TextOptions};
use congruent_shadow::{Consequence, Contexts, Finding, LedgerLine, Reach, Side};
use congruent_trace::{Context, Site};

use super::fixture::{STATS, one_of_each, p5600};

/// Takes back the line, prints a green one, in C0 and C1, and turns round what follows.
const HOSTILE: &str = "\r\x1b[2K\x1b[32mclean:\x1b[0m\x07\x08\x7f\u{9b}32m\u{85}\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}\0";

fn hostile(text: &str) -> String {
    format!("{text}{HOSTILE}")
}

/// A run in which every text is hostile that comes from elsewhere.
fn run() -> Report {
    let mut symbols = Symbols::default();
    // Names in lists of symbols end at white space.
    let name: String = HOSTILE.chars().filter(|c| !c.is_ascii_whitespace() && *c != '\0').collect();
    symbols.add(format!("80100000 T _text\n80100000 T a{name}\n80100500 T b{name}\n80100800 T _etext\n").as_bytes()).unwrap();
    let mut findings: Vec<Finding> = one_of_each();
    for finding in &mut findings {
        finding.contexts = Contexts { consumer: Context(1), producer: Context(1) };
    }
    let chain = Chain { program: Some(hostile("sh")), callers: vec![Site(0x8010_0010), Site(0x0040_1000)] };
    let chains: Chains = [(Context(1), chain)].into();
    let callers: Callers = [(Context(1), vec![Site(0x8010_0610)])].into();
    let booked = LedgerLine {
        site: Site(0x8010_0010),
        context: Context(1),
        side: Side::Data,
        reach: Reach::Line,
        operations: 3,
        lines: 3,
        mattered: 1,
    };
    let consequences = [Consequence { finding: findings[1].clone(), follows: vec![0] }];
    let mut report = Report::new(
        &Run {
            target: Some(Arch::Mips(Endian::Little)),
            geometry: p5600(),
            behaviour: Behaviour::USUAL,
            stats: STATS,
            findings: &findings,
            consequences: &consequences,
            chains: &chains,
            ledger: Some(Booked { lines: &[booked], callers: &callers, costs: None, unseen: vec![hostile("devices")] }),
            limits: vec![hostile("A limit.")],
            muted: vec![hostile("site")],
            kernel: Some("Linux version 6.1\u{1b}[2J".to_owned()),
            core: Some(hostile("The core.")),
            lives: 1,
            injected: None,
            outcome: Outcome::Incomplete(hostile("the guest said")),
        },
        &symbols,
    );
    let mut suppressions = Suppressions::default();
    let reason: String = HOSTILE.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let rule = format!("[[suppress]]\nclass = 'dma-read-stale'\nreason = \"because{reason}\"\n");
    suppressions.add(&hostile("known.toml"), &rule).unwrap();
    report.suppress(&suppressions, "2026-11-22".parse::<Date>().unwrap());
    report
}

/// What of a text a terminal acts on or turns round. Line breaks are the report's own.
fn acting(text: &str) -> Vec<char> {
    let acts = |c: char| {
        c != '\n' && (c.is_control() || matches!(u32::from(c), 0x61c | 0x200e | 0x200f | 0x2028..=0x202e | 0x2066..=0x2069))
    };
    text.chars().filter(|c| acts(*c)).collect()
}

#[test]
fn nothing_in_any_form_of_the_report_acts_on_a_terminal() {
    let report = run();
    let source = |_: &str| Some(format!("int x;{HOSTILE}\n").repeat(40));
    let text = |report: &Report| report.to_text(TextOptions { show: Some(usize::MAX), ..TextOptions::default() });
    let forms = |report: &Report| {
        [
            ("text", text(report)),
            ("JSON", report.to_json()),
            ("HTML", report.to_html(&source)),
            ("SARIF", report.to_sarif()),
            ("JUnit", report.to_junit()),
        ]
    };
    for (form, made) in forms(&report) {
        assert!(made.contains("u{1b}[32mclean:"), "{form} lacks the names");
        assert_eq!(acting(&made), [], "{form}");
    }
    // The same of a report that is read, whoever wrote it.
    let mut value: serde_json::Value =
        serde_json::from_str(&report.to_json().replace("u{1b}", "u001b").replace("\\\\u001b", "\\u001b")).unwrap();
    assert!(value["incomplete_because"].as_str().unwrap().contains('\u{1b}'));
    let read = Report::from_json(&value.to_string()).unwrap();
    assert_eq!(read, report);
    value["findings"][0]["consumer"]["line"] = "file.c:3".into();
    let read = Report::from_json(&value.to_string()).unwrap();
    let page = read.to_html(&source);
    assert!(page.contains("int x;\\u{d}") && acting(&page).is_empty());
    let mut later = run();
    later.compare(&read);
    for (form, made) in forms(&later) {
        assert_eq!(acting(&made), [], "{form}, compared");
    }
}
