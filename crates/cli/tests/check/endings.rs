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
    only_a_guest_that_ended_by_itself_is_complete,
    a_guest_that_runs_on_after_its_end_has_not_ended,
    a_qemu_that_does_not_say_why_it_ended_is_incomplete,
    a_guest_that_ends_by_semihosting_is_complete,
    a_panic_on_the_console_is_the_reason_of_whatever_follows,
    who_waits_for_a_panic_has_what_was_asked_for,
    a_reset_begins_another_life,
    a_reset_that_the_plugin_cannot_see_ends_the_run,
    a_recording_ends_with_the_first_life,
    a_qemu_that_was_started_without_the_plugin_is_ended_within_seconds,
    a_command_that_starts_nothing_is_wondered_about,
    a_guest_that_used_no_cache_is_never_clean,
    a_time_limit_ends_the_run_as_incomplete,
    the_expected_text_ends_the_run_as_complete,
    the_expected_text_that_never_comes_makes_the_run_incomplete,
    the_expected_text_in_the_last_words_of_a_guest_counts,
    an_interrupt_gives_the_report_so_far,
    nothing_that_was_not_written_is_there_whatever_ends_the_check,
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

fn only_a_guest_that_ended_by_itself_is_complete() {
    for (reason, because) in [
        ("host-qmp-quit", "the guest was cut short by `quit` in QEMU's monitor"),
        ("host-signal", "the guest was cut short by a signal to QEMU"),
        ("host-ui", "the guest was cut short by closing QEMU's window"),
        ("host-error", "an error in QEMU ended the guest"),
        ("guest-panic", "the guest panicked"),
        ("host-qmp-system-reset", "the guest was cut short by `system_reset` in QEMU's monitor"),
    ] {
        let ran = Place::new().check(&[], &["hello", &format!("shutdown={reason}"), "final", "print=-no-reboot"]);
        ran.assert_incomplete(because);
    }
    for reason in ["guest-shutdown", "guest-reset"] {
        let ran = Place::new().check(&[], &["hello", &format!("shutdown={reason}"), "final", "print=-no-reboot"]);
        assert_eq!(ran.status, 0, "{ran:?}");
    }
}

fn a_guest_that_runs_on_after_its_end_has_not_ended() {
    for event in ["RESET", "RESUME"] {
        let steps = ["hello", "shutdown=guest-shutdown", &format!("event={event}"), "final"];
        Place::new().check(&[], &steps).assert_incomplete("QEMU ended with status 0 and did not say why");
    }
    let steps = ["hello", "event=STOP", "shutdown=host-qmp-quit", "final"];
    Place::new().check(&[], &steps).assert_incomplete("by `quit` in QEMU's monitor");
}

fn a_qemu_that_does_not_say_why_it_ended_is_incomplete() {
    let ran = Place::new().check(&[], &["no-monitor", "hello", "final"]);
    ran.assert_incomplete("QEMU ended with status 0, and why is not known: its monitor was not heard");
}

fn a_guest_that_ends_by_semihosting_is_complete() {
    // QEMU leaves at once then, and its monitor says nothing; but the plugin says its last.
    let steps =
        ["hello", "event=POWERDOWN", "shutdown=guest-shutdown", "event=RESUME", "final", "print=-semihosting-config enable=on"];
    let ran = Place::new().check(&[], &steps);
    assert_eq!(ran.status, 0, "{ran:?}");
}

const PANIC: &str = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)";

fn a_panic_on_the_console_is_the_reason_of_whatever_follows() {
    let print = format!("print=[    1.234567] {PANIC}\r\n[    1.3] Rebooting in 1 seconds..");
    let because = format!("the guest's kernel panicked: {PANIC}");
    let ran = Place::new().check(&[], &["hello", &print, "shutdown=guest-reset", "final", "print=-no-reboot"]);
    ran.assert_incomplete(&because);
    let ran = Place::new().check(&["--timeout", "300ms"], &["hello", &print, "wait-for-sigterm", "final"]);
    ran.assert_incomplete(&because);
    let ran = Place::new().check(&["--until", "login:"], &["hello", &print, "final"]);
    ran.assert_incomplete(&because);
}

fn who_waits_for_a_panic_has_what_was_asked_for() {
    let print = format!("print=[    1.234567] {PANIC}\r\n---[ end {PANIC} ]---\r\n");
    let ran = Place::new().check(&["--until", "end Kernel panic"], &["hello", &print, "wait-for-sigterm", "final"]);
    assert_eq!(ran.status, 0, "{ran:?}");
}

fn a_reset_begins_another_life() {
    let ran = Place::new().check(&[], &["hello", "restarted", "restarted", "final"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.contains("lives       3: the machine was reset 2 times, and judged anew with empty caches"), "{ran:?}");
    let place = Place::new();
    let ran = place.check(&["--format", "json", "-o", "report"], &["hello", "restarted", "final"]);
    assert_eq!((ran.status, place.json("report")["lives"].as_u64()), (0, Some(2)));
}

fn a_reset_that_the_plugin_cannot_see_ends_the_run() {
    let ran = Place::new().check(&[], &["hello-without-resets", "expect-end-at-reset", "shutdown=guest-reset", "final"]);
    ran.assert_incomplete("the guest reset the machine; this build of QEMU does not let the plugin follow resets");
    // Where the command ends at a reset anyway, nothing needs to be done.
    let ran = Place::new().check(&[], &["hello-without-resets", "shutdown=guest-reset", "final", "print=-no-reboot"]);
    assert_eq!(ran.status, 0, "{ran:?}");
}

fn a_recording_ends_with_the_first_life() {
    let place = Place::new();
    let ran = place.check(&["--record", "run.congruent"], &["hello", "touch=run.congruent", "restarted", "final"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let says = "congruent: the machine was reset; the recording";
    assert!(ran.stderr.contains(says), "{ran:?}");
}

/// A shell that is given a QEMU's command as its script, and does not hand on what is added to that.
fn check_of_script(place: &Place, script: &str) -> Ran {
    place.install(std::env::current_exe().unwrap().as_ref(), "qemu-system-mipsel");
    Ran::of(place.command(&["check", "--dcache", "p5600", "--", "sh", "-c", script]).output().unwrap())
}

fn a_qemu_that_was_started_without_the_plugin_is_ended_within_seconds() {
    let place = Place::new();
    let started = std::time::Instant::now();
    let ran = check_of_script(&place, &format!("./qemu-system-mipsel {} run-unjudged; true", crate::FAKE_QEMU));
    ran.assert_cannot(
        "QEMU runs without the plugin, because the command does not pass its arguments on; have it do so, as in sh -c",
    );
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

fn a_command_that_starts_nothing_is_wondered_about() {
    let ran = Ran::of(Place::new().command(&["check", "--dcache", "p5600", "--", "sh", "-c", "sleep 6"]).output().unwrap());
    assert_eq!(ran.status, 2, "{ran:?}");
    let [wonders, ends] = &ran.stderr.lines().collect::<Vec<_>>()[..] else { panic!("{ran:?}") };
    assert!(wonders.contains("the plugin has not reported after 5 seconds; does the command pass its arguments on"), "{ran:?}");
    assert!(ends.contains("before the plugin was loaded"), "{ran:?}");
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
    let ran = Place::new().check(&["--until", "done"], &["hello", "print=Kernel started\n", "final"]);
    ran.assert_incomplete("the guest shut down before the console printed `done`");
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

fn nothing_that_was_not_written_is_there_whatever_ends_the_check() {
    let place = Place::new();
    place.write("older", "an older report");
    let options = ["-o", "report", "--record", "run.congruent"];
    let mut check = place.start(&options, &["hello", "print=ready", "hang"]);
    let stdout = check.stdout.as_mut().unwrap();
    let mut ready = [0; 5];
    stdout.read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"ready");
    // Whoever cannot be asked leaves nothing either.
    kill_process(Pid::from_child(&check), Signal::KILL).unwrap();
    check.wait().unwrap();
    assert!(!place.path("report").exists() && !place.path("run.congruent").exists());
    assert_eq!(place.read("older"), "an older report");
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
    ran.assert_cannot("is the command a qemu-system-* program, and does it pass its arguments on");
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
