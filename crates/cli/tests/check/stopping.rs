//! `--stop-at`: what the plugin is asked, and what is said when the guest is paused.

use crate::runner::{Place, Ran};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    a_stop_tells_of_its_finding_and_how_to_look_at_it,
    a_port_that_the_command_opens_is_named,
    a_stop_behind_the_access_says_so,
    what_cannot_be_stopped_at_is_refused_in_a_line,
];

const STOPPED: &[&str] = &["hello", "finding", "stopped-before", "expect-port-for-debugger", "final-with-finding"];

fn line<'a>(ran: &'a Ran, part: &str) -> &'a str {
    ran.stderr.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {ran:?}"))
}

fn a_stop_tells_of_its_finding_and_how_to_look_at_it() {
    let ran = Place::new().check(&["--symbols", "kallsyms", "--stop-at", "first"], STOPPED);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(line(&ran, "written by").contains("copy_user_highpage+0x20"), "{ran:?}");
    assert!(line(&ran, "paused").ends_with("before the access takes effect"), "{ran:?}");
    assert!(line(&ran, "gdb-multiarch").contains("/gdb'"), "{ran:?}");
    // The report comes at the end as ever.
    assert!(ran.stdout.starts_with("findings: 1 pair"), "{ran:?}");
}

fn a_port_that_the_command_opens_is_named() {
    let steps = ["hello", "finding", "stopped-before", "final-with-finding", "-s"];
    let ran = Place::new().check(&["--stop-at", "first"], &steps[..4]);
    assert!(line(&ran, "gdb-multiarch").contains("/gdb'"), "{ran:?}");
    let ran = Place::new().check(&["--stop-at", "first"], &steps);
    assert!(line(&ran, "gdb-multiarch").contains("'target remote localhost:1234'"), "{ran:?}");
}

fn a_stop_behind_the_access_says_so() {
    let ran = Place::new().check(&["--stop-at", "1"], &["hello", "finding", "stopped-behind", "final-with-finding"]);
    assert!(line(&ran, "paused").ends_with("behind the block of instructions that has it"), "{ran:?}");
}

fn what_cannot_be_stopped_at_is_refused_in_a_line() {
    for (at, why) in [
        ("0", "findings are counted from 1"),
        ("copy_nothing", "a class of them (read-dirty-elsewhere, "),
        ("", "a class of them (read-dirty-elsewhere, "),
    ] {
        let ran = Place::new().check(&["--symbols", "kallsyms", "--stop-at", at], &["hello", "final"]);
        assert_eq!(ran.status, 2, "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        assert!(ran.stderr.contains("--stop-at: ") && ran.stderr.contains(why), "{ran:?}");
    }
}
