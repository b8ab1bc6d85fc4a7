//! Every way in which a run can end, and what is made of it.

use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::process::Child;

use crate::runner::{Place, Ran};
use crate::{Test, tests};

pub const TESTS: &[Test] = tests![
    a_run_without_findings_is_clean,
    a_run_with_findings_says_so,
    a_crash_leaves_the_findings_so_far,
    a_crash_in_the_middle_of_a_message_is_a_crash,
    qemu_leaving_without_the_last_message_is_incomplete,
    the_exit_status_of_a_guest_that_finished_does_not_matter,
    a_guest_that_used_no_cache_is_never_clean,
    a_time_limit_ends_the_run_as_incomplete,
    the_expected_text_ends_the_run_as_complete,
    the_expected_text_that_never_comes_makes_the_run_incomplete,
    the_expected_text_in_the_last_words_of_a_guest_counts,
    an_interrupt_gives_the_report_so_far,
    a_second_interrupt_does_not_wait,
    a_wrapper_that_leaves_early_loses_nothing,
    an_environment_that_the_plugin_refuses_is_named,
    a_defect_in_the_plugin_makes_the_run_incomplete,
    a_qemu_that_does_not_start_is_quoted,
    a_plugin_of_another_version_is_refused,
    a_plugin_that_speaks_nonsense_is_refused,
    nonsense_in_mid_run_makes_it_incomplete,
    a_check_goes_on_without_a_recording_that_cannot_be_written,
];

fn a_run_without_findings_is_clean() {
    let place = Place::new();
    let ran = place.check(&[], &["hello", "status", "final"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("clean: "), "{ran:?}");
    assert_eq!(ran.stderr, "");
    assert!(place.is_tidy());
}

fn a_run_with_findings_says_so() {
    let place = Place::new();
    let ran = place.check(&["--symbols", "kallsyms"], &["hello", "finding", "final-with-finding"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stdout.starts_with("findings: 1 pair of code sites"), "{ran:?}");
    assert!(ran.stdout.contains("copy_user_highpage+0x20"), "{ran:?}");
    assert!(ran.stdout.contains("1,204 times"), "{ran:?}");
}

fn a_crash_leaves_the_findings_so_far() {
    let ran = Place::new().check(&[], &["hello", "status", "finding", "crash"]);
    ran.assert_incomplete("QEMU was killed by SIGABRT");
    assert!(ran.stdout.contains("1. read-dirty-elsewhere"), "{ran:?}");
    assert!(ran.stdout.contains("lower bounds"), "{ran:?}");
}

fn a_crash_in_the_middle_of_a_message_is_a_crash() {
    let ran = Place::new().check(&[], &["hello", "finding", "half-a-message", "crash"]);
    ran.assert_incomplete("QEMU was killed by SIGABRT");
}

fn qemu_leaving_without_the_last_message_is_incomplete() {
    let ran = Place::new().check(&[], &["hello", "status", "exit=0"]);
    ran.assert_incomplete("QEMU ended with status 0 without the plugin's last message");
}

fn the_exit_status_of_a_guest_that_finished_does_not_matter() {
    let ran = Place::new().check(&[], &["hello", "final", "exit=7"]);
    assert_eq!(ran.status, 0, "{ran:?}");
}

fn a_guest_that_used_no_cache_is_never_clean() {
    let ran = Place::new().check(&[], &["hello", "final-uncached"]);
    ran.assert_incomplete("no cached access to memory was seen");
    assert!(ran.stdout.contains("cca=3"), "{ran:?}");
}

fn a_time_limit_ends_the_run_as_incomplete() {
    let ran = Place::new().check(&["--timeout", "200ms"], &["hello", "wait-for-sigterm", "final-with-finding"]);
    ran.assert_incomplete("the time limit of 200ms ran out");
    assert!(ran.stdout.contains("1,204 times"), "the plugin's last message came in time: {ran:?}");
}

fn the_expected_text_ends_the_run_as_complete() {
    let steps = ["hello", "print=tests ", "print=\x1b[1mdone\x1b[0m", "wait-for-sigterm", "final"];
    let ran = Place::new().check(&["--until", "^tests done$"], &steps);
    assert_eq!(ran.status, 0, "{ran:?}");
}

fn the_expected_text_that_never_comes_makes_the_run_incomplete() {
    let ran = Place::new().check(&["--until", "done"], &["hello", "print=Kernel panic\n", "final"]);
    ran.assert_incomplete("QEMU ended with status 0 before the console printed `done`");
    let ran = Place::new().check(&["--until", "done", "--timeout", "200ms"], &["hello", "wait-for-sigterm", "final"]);
    ran.assert_incomplete("ran out before the console printed `done`");
}

fn the_expected_text_in_the_last_words_of_a_guest_counts() {
    let ran = Place::new().check(&["--until", "done"], &["hello", "final", "print=done"]);
    assert_eq!(ran.status, 0, "{ran:?}");
}

/// Waits until the guest has printed `ready` on standard error, where its console is while the report has standard output.
fn until_ready(check: &mut Child) -> Pid {
    let mut seen = Vec::new();
    let stderr = check.stderr.as_mut().unwrap();
    while !seen.ends_with(b"ready") {
        let mut byte = [0];
        stderr.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    Pid::from_child(check)
}

fn an_interrupt_gives_the_report_so_far() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let place = Place::new();
        let mut check = place.start(&[], &["hello", "finding", "print=ready", "wait-for-sigterm", "final-with-finding"]);
        kill_process(until_ready(&mut check), signal).unwrap();
        let ran = Ran::of(check.wait_with_output().unwrap());
        ran.assert_incomplete("the check was interrupted by SIG");
        assert!(ran.stdout.contains("1,204 times"), "{ran:?}");
        assert!(place.is_tidy());
    }
}

fn a_second_interrupt_does_not_wait() {
    let place = Place::new();
    let mut check = place.start(&[], &["hello", "finding", "print=ready", "wait-for-sigterm", "print=ready", "hang"]);
    kill_process(until_ready(&mut check), Signal::INT).unwrap();
    kill_process(until_ready(&mut check), Signal::INT).unwrap();
    let ran = Ran::of(check.wait_with_output().unwrap());
    ran.assert_incomplete("the check was interrupted by SIGINT");
    assert!(ran.stdout.contains("1. read-dirty-elsewhere"), "{ran:?}");
}

fn a_wrapper_that_leaves_early_loses_nothing() {
    let place = Place::new();
    let fake = std::env::current_exe().unwrap();
    // The shell dies of the signal at once; the QEMU below it still has to say its last.
    let script =
        format!("{} {} hello print=ready wait-for-sigterm final-with-finding \"$@\"; true", fake.display(), crate::FAKE_QEMU);
    let mut command = place.command(&["check", "--dcache", "p5600", "--until", "ready", "--", "sh", "-c", &script, "sh"]);
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stdout.contains("1,204 times"), "{ran:?}");
}

fn an_environment_that_the_plugin_refuses_is_named() {
    let ran = Place::new().check(&[], &["hello", "cannot=the guest sparc is not supported; use mips or arm", "wait-for-sigterm"]);
    ran.assert_cannot("congruent: the guest sparc is not supported; use mips or arm");
    let ran = Place::new().check(&[], &["cannot=QEMU is too old; install 10.0", "exit=1"]);
    ran.assert_cannot("congruent: QEMU is too old; install 10.0");
}

fn a_defect_in_the_plugin_makes_the_run_incomplete() {
    let ran = Place::new().check(&[], &["hello", "finding", "broken=registers do not agree", "wait-for-sigterm"]);
    ran.assert_incomplete("the plugin gave up: registers do not agree");
    assert!(ran.stdout.contains("1. read-dirty-elsewhere"), "{ran:?}");
}

fn a_qemu_that_does_not_start_is_quoted() {
    let ran = Place::new().check(&[], &["complain=qemu: warning", "complain=qemu: unsupported machine type: 'malto'", "exit=1"]);
    ran.assert_cannot(
        "the guest was not started, QEMU ended with status 1; its last line was: qemu: unsupported machine type: 'malto'",
    );
    let ran = Place::new().check(&[], &["exit=0"]);
    ran.assert_cannot("is the command a qemu-system-* program?");
}

fn a_plugin_of_another_version_is_refused() {
    let ran = Place::new().check(&[], &["hello-of-another-version", "wait-for-sigterm"]);
    ran.assert_cannot("take both from the same build");
}

fn a_plugin_that_speaks_nonsense_is_refused() {
    let ran = Place::new().check(&[], &["garbage", "wait-for-sigterm"]);
    ran.assert_cannot("take plugin and program from the same build");
}

fn nonsense_in_mid_run_makes_it_incomplete() {
    let ran = Place::new().check(&[], &["hello", "finding", "garbage", "wait-for-sigterm"]);
    ran.assert_incomplete("the plugin's message cannot be read");
    assert!(ran.stdout.contains("1. read-dirty-elsewhere"), "{ran:?}");
}

fn a_check_goes_on_without_a_recording_that_cannot_be_written() {
    let place = Place::new();
    let steps = ["hello", "recording-fails=the recording `run.congruent` ends early: no space left", "status", "final"];
    let ran = place.check(&["--record", "run.congruent"], &steps);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.starts_with("clean: "), "{ran:?}");
    assert_eq!(ran.stderr, "congruent: the recording `run.congruent` ends early: no space left; make room and record again\n");
}
