//! What the end of a run means: complete, incomplete and why, or no run at all. Pure, so that every case is tested.

use std::time::Duration;

use congruent_arch::Arch;
use congruent_report::{Callers, Chains, Outcome};
use congruent_shadow::{Finding, LedgerLine, Stats};
use congruent_wire::FailureKind;

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
    /// The guest's memory where its kernel lies, as it was at the first finding; `None` if it was not wanted or nothing was found.
    pub(crate) memory: Option<Vec<u8>>,
    /// Counters as they came in.
    pub(crate) stats: Stats,
    /// Why the plugin gave up, if it did.
    pub(crate) failure: Option<(FailureKind, String)>,
    /// Why we made QEMU stop, if we did.
    pub(crate) stop: Option<Stop>,
    /// Whether the console printed the text of `--until`; `None` without that option.
    pub(crate) until: Option<bool>,
    /// How QEMU ended.
    pub(crate) exit: Exit,
    /// The last line on QEMU's standard error.
    pub(crate) last_words: Option<String>,
    /// Why the recording ended early, if it did.
    pub(crate) recording_failure: Option<String>,
}

/// The plugin's last message.
#[derive(Default)]
pub(crate) struct Whole {
    pub(crate) stats: Stats,
    pub(crate) findings: Vec<Finding>,
    pub(crate) ledger: Vec<LedgerLine>,
    pub(crate) ledger_callers: Callers,
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
}

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
    pub(crate) chains: Chains,
    pub(crate) memory: Option<Vec<u8>>,
    pub(crate) ledger: Vec<LedgerLine>,
    pub(crate) ledger_callers: Callers,
    pub(crate) limits: Vec<String>,
    pub(crate) outcome: Outcome,
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
        if self.target.is_none() && !stopped_by_us {
            return Err(self.never_started());
        }
        let outcome = self.shortcoming(timeout, until).map_or(Outcome::Finished, Outcome::Incomplete);
        let whole = self.whole.unwrap_or_else(|| {
            let limit =
                "The plugin's last message is missing: counts are lower bounds, there is no ledger, and what it could not observe is unknown.";
            Whole { stats: self.stats, findings: self.streamed, limits: vec![limit.to_owned()], ..Whole::default() }
        });
        let Whole { stats, findings, ledger, ledger_callers, limits } = whole;
        Ok(Judged {
            target: self.target,
            stats,
            findings,
            chains: self.chains,
            memory: self.memory,
            ledger,
            ledger_callers,
            limits,
            outcome,
            recording_failure: self.recording_failure,
        })
    }

    fn never_started(&self) -> String {
        let how = how(self.exit);
        match &self.last_words {
            Some(line) => format!("the guest was not started, {how}; its last line was: {line}"),
            None => {
                format!("the guest was not started, {how} before the plugin was loaded; is the command a qemu-system-* program?")
            }
        }
    }

    /// Why the run is incomplete, if it is; the cause before its consequences.
    fn shortcoming(&self, timeout: Option<Duration>, until: Option<&str>) -> Option<String> {
        let until = until.unwrap_or_default();
        if let Some((FailureKind::Internal, reason)) = &self.failure {
            return Some(format!("the plugin gave up: {reason}"));
        }
        match self.stop {
            Some(Stop::Signal(signal)) => return Some(format!("the check was interrupted by {}", signal_name(signal))),
            Some(Stop::Timeout) => {
                let limit = humantime::format_duration(timeout.unwrap_or_default());
                return Some(match self.until {
                    Some(false) => format!("the time limit of {limit} ran out before the console printed `{until}`"),
                    _ => format!("the time limit of {limit} ran out"),
                });
            }
            Some(Stop::Until | Stop::Failure) | None => {}
        }
        if self.until == Some(false) {
            return Some(format!("{} before the console printed `{until}`", how(self.exit)));
        }
        match (self.exit, self.stop, &self.whole) {
            (Exit::Signal(_), None, _) => Some(how(self.exit)),
            (_, _, None) => Some(format!("{} without the plugin's last message", how(self.exit))),
            (_, _, Some(_)) => None,
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

    use super::*;

    fn whole() -> Option<Whole> {
        Some(Whole { stats: Stats { accesses: 7, ..Stats::default() }, ..Whole::default() })
    }

    fn started() -> Ended {
        Ended { target: Some(Arch::Mips(Endian::Little)), whole: whole(), ..Ended::default() }
    }

    fn outcome(ended: Ended) -> String {
        match ended.judge(Some(Duration::from_secs(90)), Some("done")).unwrap().outcome {
            Outcome::Finished => "finished".to_owned(),
            Outcome::Incomplete(reason) => reason,
        }
    }

    #[test]
    fn each_ending_has_its_meaning() {
        let internal = Some((FailureKind::Internal, "calibration drifted".to_owned()));
        for (ended, says) in [
            (started(), "finished"),
            (Ended { exit: Exit::Code(3), ..started() }, "finished"),
            (Ended { until: Some(true), stop: Some(Stop::Until), ..started() }, "finished"),
            (Ended { until: Some(true), stop: Some(Stop::Until), exit: Exit::Signal(15), ..started() }, "finished"),
            (Ended { until: Some(true), ..started() }, "finished"),
            (Ended { until: Some(false), ..started() }, "QEMU ended with status 0 before the console printed `done`"),
            (Ended { until: Some(true), stop: Some(Stop::Until), whole: None, ..started() }, "without the plugin's last message"),
            (Ended { whole: None, ..started() }, "QEMU ended with status 0 without the plugin's last message"),
            (Ended { exit: Exit::Signal(11), ..started() }, "QEMU was killed by SIGSEGV"),
            (Ended { stop: Some(Stop::Timeout), ..started() }, "the time limit of 1m 30s ran out"),
            (Ended { stop: Some(Stop::Timeout), until: Some(false), ..started() }, "ran out before the console printed `done`"),
            (Ended { stop: Some(Stop::Signal(2)), ..started() }, "interrupted by SIGINT"),
            (Ended { stop: Some(Stop::Signal(2)), target: None, whole: None, ..started() }, "interrupted by SIGINT"),
            (Ended { stop: Some(Stop::Failure), failure: internal, ..started() }, "the plugin gave up: calibration drifted"),
        ] {
            let outcome = outcome(ended);
            assert!(outcome.contains(says), "{outcome:?} should say {says:?}");
        }
    }

    #[test]
    fn a_guest_that_never_started_is_an_environment_error() {
        let error = |ended: Ended| ended.judge(None, None).unwrap_err();
        let words = Some("qemu: no such machine".to_owned());
        assert!(error(Ended { exit: Exit::Code(1), last_words: words, ..Ended::default() }).ends_with("qemu: no such machine"));
        assert!(error(Ended::default()).contains("is the command a qemu-system-* program?"));
        let failure = Some((FailureKind::Environment, "too old; install a newer one".to_owned()));
        assert_eq!(error(Ended { failure, ..started() }), "too old; install a newer one");
    }

    #[test]
    fn without_the_last_message_the_findings_so_far_are_reported() {
        let stats = Stats { accesses: 5, ..Stats::default() };
        let judged = Ended { whole: None, stats, ..started() }.judge(None, None).unwrap();
        assert_eq!(judged.stats, stats);
        assert!(judged.limits[0].contains("lower bounds"));
    }
}
