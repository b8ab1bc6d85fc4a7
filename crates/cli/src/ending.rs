//! What the end of a run means: complete, incomplete and why, or no run at all. Pure, so that every case is tested.

use std::time::Duration;

use congruent_arch::Arch;
use congruent_report::{Callers, Chains, Outcome};
use congruent_shadow::{Consequence, Finding, LedgerLine, Stats};
use congruent_wire::{Delivered, Delivery, FailureKind};

use crate::emulated::DeclaredCache;
use crate::monitor::Cause;

/// What happened, as the session saw it.
#[derive(Default)]
pub(crate) struct Ended {
    /// The guest's architecture, if the plugin came up.
    pub(crate) target: Option<Arch>,
    /// The plugin's last message, if it came.
    pub(crate) whole: Option<Whole>,
    /// Findings as they came in.
    pub(crate) streamed: Vec<Finding>,
    /// The call chains that findings name, as they came in.
    pub(crate) chains: Chains,
    /// The guest's memory where its kernel lies, as it was at the first finding; `None` if nothing was found.
    pub(crate) memory: Option<Vec<u8>>,
    /// Counters as they came in.
    pub(crate) stats: Stats,
    /// Why the plugin gave up, if it did.
    pub(crate) failure: Option<(FailureKind, String)>,
    /// The first old bytes that the guest was given, if it was given any.
    pub(crate) delivering: Option<Delivery>,
    /// The console's first line after that which tells of it, and about how many cached accesses later it came.
    pub(crate) next_line: Option<String>,
    pub(crate) later: Option<u64>,
    /// Why we made QEMU stop, if we did.
    pub(crate) stop: Option<Stop>,
    /// Whether the console printed the text of `--until`; `None` without that option.
    pub(crate) until: Option<bool>,
    /// What a kernel called itself on the console.
    pub(crate) kernel: Option<String>,
    /// The first line of a kernel's panic on the console.
    pub(crate) panic: Option<String>,
    /// Why QEMU ended the guest, if its monitor said so before we made QEMU stop, and the guest did not run on after that.
    pub(crate) cause: Option<Cause>,
    /// Whether QEMU's monitor was heard at all.
    pub(crate) heard: bool,
    /// Whether QEMU had the guest stopped at the end: its monitor, a debugger, a disk without room.
    pub(crate) paused: bool,
    /// What the emulated core says of its data cache, if it does.
    pub(crate) core: Option<DeclaredCache>,
    /// How often the machine was reset and the judge began anew.
    pub(crate) restarts: u32,
    /// What the command says about how the guest may end.
    pub(crate) allowed: Allowed,
    /// How QEMU ended.
    pub(crate) exit: Exit,
    /// The last line on QEMU's standard error.
    pub(crate) last_words: Option<String>,
    /// Why the recording ended early, if it did.
    pub(crate) recording_failure: Option<String>,
}

/// What the command says about how the guest may end.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Allowed {
    /// A reset ends QEMU because the command says so (`-no-reboot`), not because the plugin cannot follow it.
    pub(crate) reset: bool,
    /// The guest may end QEMU by semihosting, of which the monitor says nothing.
    pub(crate) semihosting: bool,
}

/// The plugin's last message.
#[derive(Default)]
pub(crate) struct Whole {
    pub(crate) stats: Stats,
    pub(crate) findings: Vec<Finding>,
    pub(crate) consequences: Vec<Consequence>,
    pub(crate) ledger: Vec<LedgerLine>,
    pub(crate) ledger_callers: Callers,
    pub(crate) delivered: Vec<Option<Delivered>>,
    pub(crate) limits: Vec<String>,
}

/// Why QEMU was made to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// The console printed the text of `--until`.
    Until,
    /// `--timeout` ran out.
    Timeout,
    /// We got this signal.
    Signal(i32),
    /// The plugin gave up.
    Failure,
    /// The guest's kernel panicked after it was given old bytes.
    Died,
}

/// The QEMUs whose plugin interface is spoken, as a remedy.
pub(crate) const SUPPORTED_QEMU: &str = "install QEMU 10.0 to 11.1 (Debian 12: apt install -t bookworm-backports qemu-system-…; Debian 13: apt install qemu-system-…)";

/// How QEMU ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Default for Exit {
    fn default() -> Self {
        Self::Code(0)
    }
}

/// A run that was judged, at least in part.
#[derive(Debug)]
pub(crate) struct Judged {
    /// `None` if the run was stopped before the plugin said it.
    pub(crate) target: Option<Arch>,
    pub(crate) stats: Stats,
    pub(crate) findings: Vec<Finding>,
    pub(crate) consequences: Vec<Consequence>,
    pub(crate) chains: Chains,
    pub(crate) memory: Option<Vec<u8>>,
    pub(crate) ledger: Vec<LedgerLine>,
    pub(crate) ledger_callers: Callers,
    /// Of each finding, the old bytes that the guest was given.
    pub(crate) delivered: Vec<Option<Delivered>>,
    /// The console's first line that tells of them, and about how many cached accesses after the first it came.
    pub(crate) next_line: Option<String>,
    pub(crate) later: Option<u64>,
    pub(crate) limits: Vec<String>,
    pub(crate) outcome: Outcome,
    /// What the kernel calls itself, if it printed that.
    pub(crate) kernel: Option<String>,
    /// What the emulated core says of its data cache, if it does.
    pub(crate) core: Option<DeclaredCache>,
    /// How often the guest started: once, and once more for each reset.
    pub(crate) lives: u32,
    pub(crate) recording_failure: Option<String>,
}

impl Ended {
    /// What to report.
    ///
    /// # Errors
    /// One line, with the remedy, if nothing was judged because of the environment.
    pub(crate) fn judge(self, timeout: Option<Duration>, until: Option<&str>) -> Result<Judged, String> {
        if let Some((FailureKind::Environment, reason)) = self.failure {
            return Err(reason);
        }
        let stopped_by_us = matches!(self.stop, Some(Stop::Signal(_) | Stop::Timeout));
        if self.target.is_none() && !stopped_by_us || self.failed_before_the_guest_ran() {
            return Err(self.never_started());
        }
        let outcome = self.shortcoming(timeout, until).map_or(Outcome::Finished, Outcome::Incomplete);
        let whole = self.whole.unwrap_or_else(|| {
            let limit =
                "The plugin's last message is missing: counts are lower bounds, there is no ledger, and what it could not observe is unknown.";
            Whole { stats: self.stats, findings: self.streamed, limits: vec![limit.to_owned()], ..Whole::default() }
        });
        let Whole { stats, findings, consequences, ledger, ledger_callers, delivered, limits } = whole;
        Ok(Judged {
            target: self.target,
            stats,
            findings,
            consequences,
            chains: self.chains,
            memory: self.memory,
            ledger,
            ledger_callers,
            delivered,
            next_line: self.next_line,
            later: self.later,
            limits,
            outcome,
            kernel: self.kernel,
            core: self.core,
            lives: self.restarts + 1,
            recording_failure: self.recording_failure,
        })
    }

    /// Whether QEMU gave up by itself, for a kernel that it cannot load or a device that it does not know.
    fn failed_before_the_guest_ran(&self) -> bool {
        let ran = |whole: &Whole| whole.stats.accesses + whole.stats.uncached > 0;
        let failed = matches!(self.exit, Exit::Code(1..)) && self.stop.is_none() && self.cause.is_none();
        failed && self.last_words.is_some() && !self.whole.as_ref().is_none_or(ran)
    }

    fn never_started(&self) -> String {
        let how = how(self.exit);
        let Some(line) = &self.last_words else {
            return format!(
                "the guest was not started, {how} before the plugin was loaded; is the command a qemu-system-* program, and does it \
                 pass its arguments on (`\"$@\"`)?"
            );
        };
        if line.contains("plugin requires API version") {
            format!("this QEMU does not offer plugins the interface that is needed; {SUPPORTED_QEMU}; its line was: {line}")
        } else if line.contains("-plugin") && line.contains("invalid option") {
            format!("this QEMU was built without plugins; {SUPPORTED_QEMU}, built with --enable-plugins; its line was: {line}")
        } else {
            format!("the guest was not started, {how}; its last line was: {line}")
        }
    }

    /// Why the run is incomplete, if it is; the cause before its consequences.
    fn shortcoming(&self, timeout: Option<Duration>, until: Option<&str>) -> Option<String> {
        let until = until.unwrap_or_default();
        if let Some((FailureKind::Internal, reason)) = &self.failure {
            return Some(format!("the plugin gave up: {reason}"));
        }
        let stopped_by_us = matches!(self.stop, Some(Stop::Signal(_) | Stop::Timeout));
        let printed = self.until == Some(true) && !stopped_by_us;
        if self.panic.is_some() && self.delivering.is_some() {
            // It died of what it was given, or may have: that is what was asked for.
            return None;
        }
        if let (Some(line), false) = (&self.panic, printed) {
            return Some(format!("the guest's kernel panicked: {line}"));
        }
        match self.stop {
            Some(Stop::Signal(signal)) => return Some(format!("the check was interrupted by {}", signal_name(signal))),
            Some(Stop::Timeout) => {
                let limit = humantime::format_duration(timeout.unwrap_or_default());
                let paused = match (&self.cause, self.paused) {
                    (Some(_), _) => " after the guest had ended, because QEMU stayed (-no-shutdown)",
                    (None, true) => " while QEMU had the guest stopped",
                    (None, false) => "",
                };
                return Some(match self.until {
                    Some(false) => format!("the time limit of {limit} ran out{paused} before the console printed `{until}`"),
                    _ => format!("the time limit of {limit} ran out{paused}"),
                });
            }
            Some(Stop::Until | Stop::Failure | Stop::Died) | None => {}
        }
        if self.until == Some(false) {
            return Some(format!("{} before the console printed `{until}`", self.how()));
        }
        match (self.exit, self.stop, &self.whole) {
            (Exit::Signal(_), None, _) => Some(how(self.exit)),
            (_, _, None) => Some(format!("{} without the plugin's last message", how(self.exit))),
            _ if printed => None,
            _ => (!self.guest_ended_itself()).then(|| self.how()),
        }
    }

    /// Whether the guest chose to end, and may.
    fn guest_ended_itself(&self) -> bool {
        match &self.cause {
            Some(Cause::GuestShutdown) => true,
            Some(Cause::GuestReset) => self.allowed.reset,
            Some(_) => false,
            None => self.heard && self.allowed.semihosting,
        }
    }

    /// What ended the guest, as far as it is known.
    fn how(&self) -> String {
        let unfollowed = "; this build of QEMU does not let the plugin follow resets, so the run ended there (add -no-reboot if it \
                          should, or use a distribution's build)";
        match (&self.cause, self.exit) {
            (_, Exit::Signal(_)) => how(self.exit),
            (Some(Cause::GuestReset), _) if !self.allowed.reset => format!("the guest reset the machine{unfollowed}"),
            (Some(Cause::HostQmpSystemReset), _) if !self.allowed.reset => {
                format!("QEMU's monitor reset the machine{unfollowed}")
            }
            (Some(cause), _) => cause.sentence(),
            (None, _) if self.heard => {
                let words = self.last_words.as_ref().map_or(String::new(), |line| format!("; its last line was: {line}"));
                format!("{} and did not say why{words}", how(self.exit))
            }
            (None, _) => format!("{}, and why is not known: its monitor was not heard", how(self.exit)),
        }
    }
}

fn how(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("QEMU ended with status {code}"),
        Exit::Signal(signal) => format!("QEMU was killed by {}", signal_name(signal)),
    }
}

fn signal_name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use congruent_arch::Endian;
    use congruent_geometry::PhysAddr;

    use super::*;

    fn whole() -> Option<Whole> {
        Some(Whole { stats: Stats { accesses: 7, ..Stats::default() }, ..Whole::default() })
    }

    fn started() -> Ended {
        Ended { target: Some(Arch::Mips(Endian::Little)), whole: whole(), heard: true, ..Ended::default() }
    }

    fn ended_by(cause: Cause) -> Ended {
        Ended { cause: Some(cause), ..started() }
    }

    fn outcome(ended: Ended) -> String {
        match ended.judge(Some(Duration::from_secs(90)), Some("done")).unwrap().outcome {
            Outcome::Finished => "finished".to_owned(),
            Outcome::Incomplete(reason) => reason,
        }
    }

    fn delivery() -> Delivery {
        Delivery { paddr: PhysAddr(0x4000), got: vec![0], newest: vec![1], accesses: 7 }
    }

    const RESETS: Allowed = Allowed { reset: true, semihosting: false };
    const SEMIHOSTING: Allowed = Allowed { reset: false, semihosting: true };
    const PANIC: &str = "Kernel panic - not syncing: No working init found.";

    #[test]
    fn each_ending_has_its_meaning() {
        let internal = Some((FailureKind::Internal, "calibration drifted".to_owned()));
        let panic = Some(PANIC.to_owned());
        let printed = || Ended { until: Some(true), stop: Some(Stop::Until), ..ended_by(Cause::HostSignal) };
        for (ended, says) in [
            (ended_by(Cause::GuestShutdown), "finished"),
            (Ended { exit: Exit::Code(3), ..ended_by(Cause::GuestShutdown) }, "finished"),
            (Ended { allowed: RESETS, ..ended_by(Cause::GuestReset) }, "finished"),
            (
                ended_by(Cause::GuestReset),
                "the guest reset the machine; this build of QEMU does not let the plugin follow resets",
            ),
            (ended_by(Cause::HostQmpSystemReset), "QEMU's monitor reset the machine; this build"),
            (Ended { allowed: RESETS, ..ended_by(Cause::HostQmpSystemReset) }, "by `system_reset` in QEMU's monitor"),
            (ended_by(Cause::HostQmpQuit), "by `quit` in QEMU's monitor (or Ctrl-A x)"),
            (ended_by(Cause::HostSignal), "by a signal to QEMU"),
            (ended_by(Cause::HostUi), "by closing QEMU's window"),
            (ended_by(Cause::HostError), "an error in QEMU ended the guest"),
            (ended_by(Cause::GuestPanic), "the guest panicked"),
            (ended_by(Cause::Other("snapshot-load".to_owned())), "QEMU ended the guest (snapshot-load)"),
            (Ended { exit: Exit::Code(1), ..started() }, "QEMU ended with status 1 and did not say why"),
            (Ended { exit: Exit::Code(1), allowed: SEMIHOSTING, ..started() }, "finished"),
            (Ended { heard: false, ..started() }, "QEMU ended with status 0, and why is not known: its monitor was not heard"),
            (
                Ended { panic: panic.clone(), allowed: RESETS, ..ended_by(Cause::GuestReset) },
                &format!("the guest's kernel panicked: {PANIC}"),
            ),
            (Ended { panic: panic.clone(), stop: Some(Stop::Timeout), until: Some(false), ..started() }, PANIC),
            // It may have died of what it was given.
            (
                Ended { panic: panic.clone(), delivering: Some(delivery()), allowed: RESETS, ..ended_by(Cause::GuestReset) },
                "finished",
            ),
            (
                Ended {
                    panic: panic.clone(),
                    delivering: Some(delivery()),
                    stop: Some(Stop::Died),
                    until: Some(false),
                    ..started()
                },
                "finished",
            ),
            (
                Ended { delivering: Some(delivery()), stop: Some(Stop::Timeout), until: Some(false), ..started() },
                "ran out before the console printed `done`",
            ),
            (Ended { panic: panic.clone(), stop: Some(Stop::Signal(2)), ..started() }, PANIC),
            (Ended { panic: panic.clone(), until: Some(false), ..ended_by(Cause::GuestShutdown) }, PANIC),
            // Whoever waits for a panic has got what was asked for.
            (Ended { panic, ..printed() }, "finished"),
            (printed(), "finished"),
            (Ended { exit: Exit::Signal(15), ..printed() }, "finished"),
            (Ended { until: Some(true), ..ended_by(Cause::GuestShutdown) }, "finished"),
            (Ended { until: Some(true), ..ended_by(Cause::HostQmpQuit) }, "finished"),
            (
                Ended { until: Some(false), ..ended_by(Cause::GuestShutdown) },
                "the guest shut down before the console printed `done`",
            ),
            (Ended { until: Some(false), ..ended_by(Cause::HostSignal) }, "a signal to QEMU before the console printed `done`"),
            (Ended { whole: None, ..printed() }, "without the plugin's last message"),
            (
                Ended { whole: None, ..ended_by(Cause::GuestShutdown) },
                "QEMU ended with status 0 without the plugin's last message",
            ),
            (Ended { exit: Exit::Signal(11), ..started() }, "QEMU was killed by SIGSEGV"),
            (Ended { stop: Some(Stop::Timeout), ..started() }, "the time limit of 1m 30s ran out"),
            (Ended { stop: Some(Stop::Timeout), paused: true, ..started() }, "ran out while QEMU had the guest stopped"),
            (Ended { stop: Some(Stop::Timeout), until: Some(false), ..started() }, "ran out before the console printed `done`"),
            (Ended { stop: Some(Stop::Signal(2)), ..started() }, "interrupted by SIGINT"),
            (Ended { stop: Some(Stop::Signal(2)), target: None, whole: None, ..started() }, "interrupted by SIGINT"),
            (Ended { stop: Some(Stop::Failure), failure: internal, ..started() }, "the plugin gave up: calibration drifted"),
        ] {
            let outcome = outcome(ended);
            assert!(outcome.contains(says), "{outcome:?} should say {says:?}");
            assert_eq!(outcome == "finished", says == "finished");
        }
    }

    /// Every combination of what a run can end with.
    fn every_ending(mut each: impl FnMut(&dyn Fn() -> Ended)) {
        let causes = ["host-error", "host-qmp-quit", "host-qmp-system-reset", "host-signal", "host-ui"].into_iter();
        let causes = causes.chain(["guest-shutdown", "guest-reset", "guest-panic", "subsystem-reset"]);
        let causes: Vec<Option<Cause>> = causes.map(|name| Some(Cause::of(name))).chain([None]).collect();
        let stops = [None, Some(Stop::Until), Some(Stop::Timeout), Some(Stop::Signal(15)), Some(Stop::Failure)];
        let exits = [Exit::Code(0), Exit::Code(1), Exit::Signal(9)];
        let (stops, exits) = (&stops, &exits);
        let combined = causes.iter().flat_map(|cause| stops.iter().map(move |stop| (cause, *stop)));
        for (cause, stop, exit) in combined.flat_map(|(cause, stop)| exits.iter().map(move |exit| (cause, stop, *exit))) {
            for until in [None, Some(false), Some(true)] {
                for bits in 0..1u32 << 7 {
                    let bit = |number: u32| bits >> number & 1 != 0;
                    each(&|| Ended {
                        target: Some(Arch::Mips(Endian::Little)),
                        whole: whole().filter(|_| bit(0)),
                        failure: bit(1).then(|| (FailureKind::Internal, "a reason".to_owned())),
                        panic: bit(2).then(|| PANIC.to_owned()),
                        heard: bit(3),
                        paused: bit(4),
                        allowed: Allowed { reset: bit(5), semihosting: bit(6) },
                        cause: cause.clone(),
                        stop,
                        exit,
                        until,
                        ..Ended::default()
                    });
                }
            }
        }
    }

    #[test]
    fn only_a_guest_that_ended_itself_or_printed_what_was_asked_for_is_complete() {
        let (mut all, mut complete) = (0, 0);
        every_ending(|ended| {
            let Ended { whole, failure, panic, heard, allowed, cause, stop, exit, until, .. } = ended();
            let outcome = outcome(ended());
            let cut_short = failure.is_some() || whole.is_none() || matches!(stop, Some(Stop::Timeout | Stop::Signal(_)));
            let crashed = stop.is_none() && matches!(exit, Exit::Signal(_));
            let ended_itself = match cause {
                Some(Cause::GuestShutdown) => true,
                Some(Cause::GuestReset) => allowed.reset,
                None => heard && allowed.semihosting,
                Some(_) => false,
            };
            let as_meant = match until {
                Some(printed) => printed,
                None => ended_itself && panic.is_none(),
            };
            let said = format!("{outcome:?} for {cause:?}, {stop:?}, {exit:?}, {until:?}, {allowed:?}, {panic:?}, {heard}");
            assert_eq!(outcome == "finished", as_meant && !cut_short && !crashed, "{said}");
            assert!(!outcome.is_empty() && !outcome.contains('\n'), "{said}");
            let panicked = panic.is_some() && failure.is_none() && until != Some(true);
            assert!(!panicked || outcome.contains(PANIC), "a panic is the cause of what follows: {said}");
            (all, complete) = (all + 1, complete + u32::from(outcome == "finished"));
        });
        assert_eq!(all, 10 * 5 * 3 * 3 * 128);
        assert!(complete > 1000, "{complete}");
    }

    #[test]
    fn a_guest_that_never_started_is_an_environment_error() {
        let error = |ended: Ended| ended.judge(None, None).unwrap_err();
        let words = |line: &str| Ended { exit: Exit::Code(1), last_words: Some(line.to_owned()), ..Ended::default() };
        assert!(error(words("qemu: no such machine")).ends_with("qemu: no such machine"));
        assert!(error(Ended::default()).contains("is the command a qemu-system-* program, and does it pass its arguments on"));
        // The plugin had come up, and its last message says that nothing ran.
        let unloadable = Ended { whole: Some(Whole::default()), ..started() };
        let line = "qemu: could not load kernel";
        assert!(error(Ended { exit: Exit::Code(1), last_words: Some(line.to_owned()), ..unloadable }).ends_with(line));
        let ran = Ended { exit: Exit::Code(1), last_words: Some(line.to_owned()), ..started() };
        let outcome = outcome(ran);
        assert!(outcome.ends_with(line) && outcome.contains("did not say why"), "{outcome}");
        let failure = Some((FailureKind::Environment, "too old; install a newer one".to_owned()));
        assert_eq!(error(Ended { failure, ..started() }), "too old; install a newer one");
    }

    #[test]
    fn a_qemu_whose_plugin_interface_is_not_spoken_is_named_with_the_remedy() {
        for line in [
            "qemu-system-mips: Could not load plugin /p.so: plugin requires API version 4, but this QEMU supports only up to version 1",
            "qemu-system-mips: Could not load plugin /p.so: plugin requires API version 7, but this QEMU supports only a minimum \
             version of 9",
            "qemu-system-mips: -plugin file=/p.so: invalid option",
        ] {
            let error = Ended { exit: Exit::Code(1), last_words: Some(line.to_owned()), ..Ended::default() }
                .judge(None, None)
                .unwrap_err();
            assert!(error.contains("install QEMU 10.0 to 11.1") && error.ends_with(line), "{error}");
        }
    }

    #[test]
    fn without_the_last_message_the_findings_so_far_are_reported() {
        let stats = Stats { accesses: 5, ..Stats::default() };
        let judged = Ended { whole: None, stats, ..started() }.judge(None, None).unwrap();
        assert_eq!(judged.stats, stats);
        assert!(judged.limits[0].contains("lower bounds"));
    }

    #[test]
    fn every_reset_is_the_start_of_a_life() {
        let lives = |restarts| Ended { restarts, ..ended_by(Cause::GuestShutdown) }.judge(None, None).unwrap().lives;
        assert_eq!((lives(0), lives(2)), (1, 3));
    }
}
