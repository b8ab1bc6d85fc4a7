//! What the program is told while a check runs, and at its end.
//!
//! Guarantees: findings are told when they are first seen, so that a crash of QEMU loses none; a check that stops says why.

use std::time::{Duration, Instant};

use congruent_wire::{FailureKind, Message};

use super::Session;
use super::follow::Following;

/// How many slow steps pass between two looks at the clock.
const STEPS_PER_LOOK: u32 = 1024;
const STATUS_INTERVAL: Duration = Duration::from_millis(200);
/// How much of a recording the end of the process may take.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);

impl Session {
    /// Something slow was done: now and then, tell the program how things stand.
    pub(super) fn step(&mut self) {
        if self.judge.findings().len() > self.reported {
            self.send_new_findings();
        }
        self.steps += 1;
        if self.steps < STEPS_PER_LOOK {
            return;
        }
        self.steps = 0;
        if self.last_status.elapsed() >= STATUS_INTERVAL {
            self.last_status = Instant::now();
            if self.last_flush.elapsed() >= FLUSH_INTERVAL {
                self.last_flush = Instant::now();
                self.judge.flush();
            }
            self.tell_of_recording();
            let findings = self.judge.findings().len() as u64;
            let message = Message::Status { stats: self.stats(), findings };
            self.send(&message);
        }
    }

    /// Tells the program that the recording has ended early, if it has.
    fn tell_of_recording(&mut self) {
        if let (Some(error), Some(record)) = (self.judge.recording_failure(), &self.record) {
            let reason = format!("the recording `{}` ends early: {error}", record.file.display());
            self.send(&Message::RecordingFailed { reason });
        }
    }

    fn send_new_findings(&mut self) {
        if let Some(copy) = self.memory_copy.take() {
            // SAFETY: findings are made in callbacks on the CPU's thread.
            unsafe { copy.make(&mut self.reader) };
        }
        for index in self.reported..self.judge.findings().len() {
            let finding = self.judge.findings()[index].clone();
            let chains = self.chains_of(std::slice::from_ref(&finding));
            self.send(&Message::Finding { finding, chains });
        }
        self.reported = self.judge.findings().len();
    }

    fn send(&mut self, message: &Message) {
        if let Some(channel) = &mut self.channel {
            channel.send(message);
        }
    }

    /// Ends the judging; the guest runs on.
    pub fn stop(&mut self, kind: FailureKind, reason: String) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.forget_translations();
        self.send(&Message::Failure { kind, reason });
    }

    /// QEMU is leaving: the whole result.
    pub fn finish(&mut self) {
        let programs = self.following.as_ref().map_or(&[][..], Following::programs);
        self.judge.finish(self.stats(), self.limits(), programs);
        self.tell_of_recording();
        let (ledger, ledger_callers) = self.ledger();
        let message = Message::Final {
            ledger,
            ledger_callers,
            stats: self.stats(),
            findings: self.judge.findings().to_vec(),
            chains: self.chains_of(self.judge.findings()),
            limits: self.limits(),
        };
        self.send(&message);
    }

    fn limits(&self) -> Vec<String> {
        let mut limits = self.devices.limits();
        limits.push(self.code_limit());
        limits.extend(["prefetches that prepare a line for being stored to whole are taken to do nothing".into()]);
        limits.extend(self.limits_of_cpus());
        limits.extend(self.limits_of_following());
        if self.untranslated > 0 {
            limits.push(format!(
                "{} operations on addresses that were not mapped at that moment were not judged",
                self.untranslated
            ));
        }
        limits
    }
}
