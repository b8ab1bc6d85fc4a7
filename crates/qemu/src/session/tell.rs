//! What the program is told while a check runs, and at its end.
//!
//! Guarantees: findings are told when they are first seen, so that a crash of QEMU loses none; a check that stops says why.

use std::time::{Duration, Instant};

use congruent_wire::{FailureKind, Message, Record};

use super::Session;
use super::follow::Following;
use super::memory::MemoryCopy;
use crate::channel::Channel;
use crate::moment::Running;

/// How many slow steps pass between two looks at the clock.
const STEPS_PER_LOOK: u32 = 1024;
const STATUS_INTERVAL: Duration = Duration::from_millis(200);
/// How much of a recording the end of the process may take.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);

/// What the program is told, and when.
pub(super) struct Telling {
    channel: Option<Channel>,
    /// What is recorded, if anything.
    record: Option<Record>,
    /// The copy of the kernel's memory that the first finding is to bring about.
    memory_copy: Option<MemoryCopy>,
    /// So many findings were told.
    reported: usize,
    /// Slow steps since the last look at the clock.
    steps: u32,
    last_status: Instant,
    last_flush: Instant,
}

impl Telling {
    /// Nothing was told yet, and there is no line to the program.
    pub fn new(record: Option<Record>, memory_copy: Option<MemoryCopy>) -> Self {
        let now = Instant::now();
        Self { channel: None, record, memory_copy, reported: 0, steps: 0, last_status: now, last_flush: now }
    }

    /// Here is the line.
    pub fn attach(&mut self, channel: Channel) {
        self.channel = Some(channel);
    }

    /// A new judge has found nothing yet.
    pub fn begin_anew(&mut self) {
        self.reported = 0;
    }

    /// Sends one message.
    pub fn send(&mut self, message: &Message) {
        if let Some(channel) = &mut self.channel {
            channel.send(message);
        }
    }
}

impl Session {
    /// Something slow was done: now and then, tell the program how things stand.
    pub fn step(&mut self, now: &Running) {
        if self.judge.findings().len() > self.telling.reported {
            self.send_new_findings(now);
        }
        self.telling.steps += 1;
        if self.telling.steps < STEPS_PER_LOOK {
            return;
        }
        self.telling.steps = 0;
        if self.telling.last_status.elapsed() >= STATUS_INTERVAL {
            self.telling.last_status = Instant::now();
            if self.telling.last_flush.elapsed() >= FLUSH_INTERVAL {
                self.telling.last_flush = Instant::now();
                self.judge.flush();
            }
            self.tell_of_recording();
            let findings = self.lives.count(self.judge.findings());
            let message = Message::Status { stats: self.lives.stats(self.stats()), findings };
            self.telling.send(&message);
        }
    }

    /// Tells the program that the recording has ended early, if it has.
    pub(super) fn tell_of_recording(&mut self) {
        if let (Some(error), Some(record)) = (self.judge.recording_failure(), &self.telling.record) {
            let reason = format!("the recording `{}` ends early: {error}", record.file.display());
            self.telling.send(&Message::RecordingFailed { reason });
        }
    }

    fn send_new_findings(&mut self, now: &Running) {
        if let Some(copy) = self.telling.memory_copy.take() {
            copy.make(now);
        }
        for index in self.telling.reported..self.judge.findings().len() {
            let finding = self.judge.findings()[index].clone();
            if self.lives.had(&finding) {
                continue;
            }
            let chains = self.chains_of([&finding]);
            if let Some(stops) = &mut self.stops {
                stops.found(&finding);
            }
            self.telling.send(&Message::Finding { finding, chains });
        }
        self.telling.reported = self.judge.findings().len();
    }

    /// Ends the judging; the guest runs on.
    pub fn stop(&mut self, kind: FailureKind, reason: String) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.forget_translations();
        self.telling.send(&Message::Failure { kind, reason });
    }

    /// QEMU is leaving: the whole result.
    pub fn finish(&mut self) {
        let programs = self.callers.following.as_ref().map_or(&[][..], Following::programs);
        self.judge.finish(self.stats(), self.limits(), programs);
        self.tell_of_recording();
        let (ledger, ledger_callers) = self.ledger();
        let (findings, consequences) = self.lives.all(self.judge.findings(), self.judge.consequences());
        let told = findings.iter().chain(consequences.iter().map(|it| &it.finding));
        let delivered = self.inject.as_ref().map(|inject| inject.delivered(&findings)).unwrap_or_default();
        let message = Message::Final {
            delivered,
            ledger,
            ledger_callers,
            stats: self.lives.stats(self.stats()),
            chains: self.chains_of(told),
            findings,
            consequences,
            limits: self.limits(),
        };
        self.telling.send(&message);
    }

    pub(super) fn limits(&self) -> Vec<String> {
        let mut limits = self.lives.limits(self.devices.limits());
        if let (true, [first, ..]) = (self.reach.virtual_tags, &*self.devices.coherent()) {
            limits.push(format!("what coherent devices ({first}) did was not judged: no snoop finds a line by a virtual tag"));
        }
        limits.push(self.code_limit());
        limits.extend(["prefetches that prepare a line for being stored to whole are taken to do nothing".into()]);
        limits.extend(self.limits_of_cpus());
        limits.extend(self.limits_of_following());
        limits.extend(self.unseen.limit());
        limits.extend(self.inject.iter().flat_map(|inject| inject.limits(self.judge.states_left_out())));
        if self.reach.untranslated > 0 {
            limits.push(format!(
                "{} operations on addresses that were not mapped at that moment were not judged",
                self.reach.untranslated
            ));
        }
        limits
    }
}
