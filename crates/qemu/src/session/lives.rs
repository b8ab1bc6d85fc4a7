//! The lives of a machine: what a reset ends, and what it begins.
//!
//! At a reset QEMU loads everything anew and the core starts with empty caches, so the judge starts anew as well, and so does whatever
//! follows the processor and its devices. Guarantees: what earlier lives showed stays, one finding of several lives is one with a count; a
//! life in which nothing ran is none. A recording is of one life, and ends with the first.
//!
//! A snapshot that takes the place of a running guest says nothing of what was in its caches, nor of the registers that the plugin follows by
//! watching them being written: the judging ends there.

use congruent_shadow::{Finding, LedgerLine, Stats};
use congruent_wire::{FailureKind, Message};

use super::Session;
use super::follow::Following;
use crate::bus;
use crate::dma::Devices;
use crate::judge::Judge;

/// What the lives before this one showed.
#[derive(Default)]
pub(super) struct Lives {
    /// Findings, each once.
    findings: Vec<Finding>,
    stats: Stats,
    ledger: Vec<LedgerLine>,
    /// What was not observed of devices.
    limits: Vec<String>,
    /// Between the two callbacks of a reset.
    resetting: bool,
}

impl Lives {
    /// The findings of all lives, of which these are the last one's.
    pub fn findings(&self, last: &[Finding]) -> Vec<Finding> {
        let mut all = self.findings.clone();
        for finding in last {
            match all.iter_mut().find(|known| known.is_same_as(finding)) {
                Some(known) => known.count += finding.count,
                None => all.push(finding.clone()),
            }
        }
        all
    }

    /// Whether an earlier life had this finding.
    pub fn had(&self, finding: &Finding) -> bool {
        self.findings.iter().any(|known| known.is_same_as(finding))
    }

    /// How many findings all lives have, as far as is known before they are compared.
    pub fn count(&self, last: &[Finding]) -> u64 {
        (self.findings.len() + last.len()) as u64
    }

    /// The counters of all lives; frames and memory are those of the largest.
    pub fn stats(&self, last: Stats) -> Stats {
        let before = self.stats;
        Stats {
            accesses: before.accesses + last.accesses,
            fetches: before.fetches + last.fetches,
            uncached: before.uncached + last.uncached,
            maintenance: before.maintenance + last.maintenance,
            muted: before.muted + last.muted,
            frames: before.frames.max(last.frames),
            shadow_bytes: before.shadow_bytes.max(last.shadow_bytes),
            hazards: before.hazards + last.hazards,
        }
    }

    /// The ledger of earlier lives.
    pub fn ledger(&self) -> &[LedgerLine] {
        &self.ledger
    }

    /// What was not observed of devices in all lives, of which this is the last one's.
    pub fn limits(&self, last: Vec<String>) -> Vec<String> {
        let mut all = self.limits.clone();
        all.extend(last.into_iter().filter(|limit| !self.limits.contains(limit)));
        all
    }
}

impl Session {
    /// The machine is being reset.
    pub fn machine_is_reset(&mut self) {
        self.lives.resetting = true;
    }

    /// The machine starts from its beginning, if it is being reset, else from a snapshot.
    pub fn machine_starts(&mut self) {
        let from_beginning = std::mem::take(&mut self.lives.resetting);
        if self.stopped {
            return;
        }
        let Stats { accesses, uncached, .. } = self.judge.stats();
        let has_run = accesses + uncached > 0;
        match (from_beginning, has_run) {
            (true, true) => {
                self.bury();
                self.begin_anew();
                self.telling.send(&Message::Restarted);
            }
            (true, false) => self.begin_anew(),
            (false, true) => self.stop(
                FailureKind::Internal,
                "a snapshot took the place of the running guest (loadvm), and what its caches held is not in it".into(),
            ),
            (false, false) => self.stop(
                FailureKind::Environment,
                "the guest starts from a snapshot, and what its caches and registers held is not known; start it from its \
                 beginning (without -loadvm)"
                    .into(),
            ),
        }
    }

    /// Keeps what the life that has ended showed.
    fn bury(&mut self) {
        self.end_recording();
        let ended = std::mem::replace(&mut self.judge, Judge::new(self.caches, self.reach.cpu.index_form()));
        self.telling.begin_anew();
        self.lives.findings = self.lives.findings(ended.findings());
        self.lives.stats = self.lives.stats(ended.stats());
        self.lives.ledger.extend_from_slice(ended.ledger());
        self.lives.limits = self.lives.limits(self.devices.limits());
    }

    /// Caches, processors and devices are as they are after a reset.
    fn begin_anew(&mut self) {
        self.devices = Devices::of(self.arch);
        bus::forget();
        self.mute.forget();
        self.forget_translations();
        self.reset_cpus();
        self.callers.begin_anew();
    }

    /// A recording is of one life: nothing in it says that memory and caches began anew.
    fn end_recording(&mut self) {
        let programs = self.callers.following.as_ref().map_or(&[][..], Following::programs);
        self.judge.finish(self.stats(), self.limits(), programs);
        self.tell_of_recording();
    }
}

#[cfg(test)]
mod tests {
    use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
    use congruent_shadow::{Config, Shadow};
    use congruent_trace::{AccessKind, Event, Site};

    use super::*;

    /// A life in which this code loads old bytes so many times.
    fn life(consumer: u32, times: u64) -> Shadow {
        let mut shadow = Shadow::new(Config::new(CacheGeometry::new(32 << 10, 4, 32).unwrap()));
        for frame in 1..=times {
            let access = |kind, vaddr, site| Event::Access {
                kind,
                vaddr: VirtAddr(vaddr),
                paddr: PhysAddr(frame << 12),
                size: 4,
                site: Site(site),
            };
            shadow.apply(&access(AccessKind::Store, 0x1000, 7));
            shadow.apply(&access(AccessKind::Load, 0x2000, consumer));
        }
        shadow
    }

    #[test]
    fn one_finding_of_several_lives_is_one_with_a_count() {
        let (first, second) = (life(1, 3), life(1, 4));
        let mut lives = Lives::default();
        lives.findings = lives.findings(first.findings());
        lives.stats = lives.stats(first.stats());
        let [finding] = &lives.findings(second.findings())[..] else { panic!("one finding") };
        assert_eq!(finding.count, 7);
        assert!(lives.had(&second.findings()[0]));
        let stats = lives.stats(second.stats());
        assert_eq!((stats.accesses, stats.hazards, stats.frames), (14, 7, 4));
        let another = life(2, 1);
        assert!(!lives.had(&another.findings()[0]));
        assert_eq!(lives.findings(another.findings()).len(), 2);
    }

    #[test]
    fn what_an_earlier_life_could_not_see_is_said_once() {
        let mut lives = Lives::default();
        lives.limits = lives.limits(vec!["no DMA".into()]);
        assert_eq!(lives.limits(vec!["no DMA".into()]), ["no DMA"]);
        assert_eq!(lives.limits(vec!["no disk".into()]), ["no DMA", "no disk"]);
    }
}
