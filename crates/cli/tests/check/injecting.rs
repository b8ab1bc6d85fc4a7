//! `--inject`: what is told of old bytes that the guest was given, and how such a run ends. Which line of the console tells of them hangs on
//! what is heard first, so that is tested where the lines are looked at.

use super::runner::{Place, Ran};
use super::{Test, tests};

pub const TESTS: &[Test] =
    tests![a_report_tells_what_was_given, a_panic_after_old_bytes_is_an_end, what_the_console_says_otherwise_must_be_there,];

/// What the first line of the field begins with this says, with those that it goes on in.
fn field(ran: &Ran, name: &str) -> String {
    let mut lines = ran.stdout.lines().skip_while(|line| !line.starts_with(&format!("  {name} ")));
    let first = lines.next().unwrap_or_else(|| panic!("{name}: {ran:?}"));
    let rest = lines.take_while(|line| line.starts_with("              "));
    [first].into_iter().chain(rest).map(str::trim).collect::<Vec<_>>().join(" ")
}

fn a_report_tells_what_was_given() {
    let steps = ["hello", "finding", "delivering", "final-with-old-bytes"];
    let ran = Place::new().check(&["--inject", "worst"], &steps);
    assert_eq!(ran.status, 1, "{ran:?}");
    let given = field(&ran, "given");
    assert!(given.contains("old bytes to 7 loads; the first time 01 in place of 02, at physical address 0x01234010"), "{given}");
    let injected = field(&ran, "injected");
    assert!(injected.contains("7 loads were given old bytes, the first after 1,234 cached accesses"), "{injected}");
}

fn a_panic_after_old_bytes_is_an_end() {
    let panic = "print=Kernel panic - not syncing: dead\n";
    let steps = ["hello", "finding", "delivering", panic, "wait-for-sigterm", "final-with-old-bytes"];
    let ran = Place::new().check(&["--inject", "7", "--until", "login"], &steps);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stdout.starts_with("findings: 1 pair") && field(&ran, "injected").contains("seed 7"), "{ran:?}");
    // Before any, it is what it always is.
    let ran = Place::new().check(&["--inject", "7"], &["hello", panic, "final"]);
    assert_eq!(ran.status, 3, "{ran:?}");
}

fn what_the_console_says_otherwise_must_be_there() {
    let ran = Place::new().check(&["--inject", "worst", "--undisturbed", "nowhere"], &["hello", "final"]);
    assert_eq!((ran.status, ran.stderr.lines().count()), (2, 1), "{ran:?}");
    assert!(ran.stderr.contains("--undisturbed: cannot read `nowhere`"), "{ran:?}");
}
