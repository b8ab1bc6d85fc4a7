//! The lives of a machine: what a reset ends, and what it begins.
//!
//! At a reset QEMU loads everything anew and the core starts with empty caches, so the judge starts anew as well, and so does whatever
//! follows the processor and its devices. Guarantees: what earlier lives showed stays, one finding of several lives is one with a count; a
//! life in which nothing ran is none. A recording is of one life, and ends with the first.
//!
//! A snapshot that takes the place of a running guest says nothing of what was in its caches, nor of the registers that the plugin follows by
//! watching them being written: the judging ends there.

use std::collections::BTreeMap;

use congruent_shadow::{Consequence, Finding, Key, LedgerLine, Stats};
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
    /// What follows from those, each once.
    consequences: Vec<Consequence>,
    stats: Stats,
    ledger: Vec<LedgerLine>,
    /// What was not observed of devices.
    limits: Vec<String>,
    /// Between the two callbacks of a reset.
    resetting: bool,
}

impl Lives {
    /// The findings of all lives and what follows from them; these are the last one's. What a finding of any life is, is no consequence.
    pub fn all<'a>(
        &self,
        findings: &[Finding],
        consequences: impl IntoIterator<Item = &'a Consequence>,
    ) -> (Vec<Finding>, Vec<Consequence>) {
        let (mut all, mut following) = (self.findings.clone(), self.consequences.clone());
        let mut known: BTreeMap<Key, usize> = all.iter().map(Finding::key).zip(0..).collect();
        // Where the last life's findings are among all, which is what consequences name them by.
        let mut places = Vec::with_capacity(findings.len());
        for finding in findings {
            let place = *known.entry(finding.key()).or_insert_with(|| {
                all.push(Finding { count: 0, ..finding.clone() });
                all.len() - 1
            });
            all[place].count += finding.count;
            places.push(place as u32);
        }
        let mut known_consequences: BTreeMap<Key, usize> = following.iter().map(|it| it.finding.key()).zip(0..).collect();
        for Consequence { finding, follows } in consequences {
            let place = *known_consequences.entry(finding.key()).or_insert_with(|| {
                following.push(Consequence { finding: finding.clone(), follows: Vec::new() });
                following.len() - 1
            });
            let known = &mut following[place].follows;
            known.extend(follows.iter().map(|place| places[*place as usize]));
            known.sort_unstable();
            known.dedup();
        }
        following.retain(|consequence| !known.contains_key(&consequence.finding.key()));
        (all, following)
    }

    /// Whether an earlier life had this finding.
    pub fn had(&self, finding: &Finding) -> bool {
        self.findings.iter().any(|known| known.key() == finding.key())
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
            taken_as_dropped: before.taken_as_dropped + last.taken_as_dropped,
            unseen_writes: before.unseen_writes + last.unseen_writes,
            step: match (before.step, last.step) {
                (0, step) | (step, 0) => step,
                (one, other) => one.min(other),
            },
            sweep: before.sweep.max(last.sweep),
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
        (self.lives.findings, self.lives.consequences) = self.lives.all(ended.findings(), ended.consequences());
        self.lives.stats = self.lives.stats(ended.stats());
        self.lives.ledger.extend_from_slice(ended.ledger());
        self.lives.limits = self.lives.limits(self.devices.limits());
    }

    /// Caches, processors and devices are as they are after a reset.
    fn begin_anew(&mut self) {
        self.devices = Devices::of(self.arch);
        bus::forget();
        self.forget_unseen();
        self.mute.forget();
        self.forget_translations();
        self.reset_cpus();
        self.callers.begin_anew();
        self.leaving_begins_anew();
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
        lives.findings = lives.all(first.findings(), None).0;
        lives.stats = lives.stats(first.stats());
        let [finding] = &lives.all(second.findings(), None).0[..] else { panic!("one finding") };
        assert_eq!(finding.count, 7);
        assert!(lives.had(&second.findings()[0]));
        let stats = lives.stats(second.stats());
        assert_eq!((stats.accesses, stats.hazards, stats.frames), (14, 7, 4));
        let another = life(2, 1);
        assert!(!lives.had(&another.findings()[0]));
        assert_eq!(lives.all(another.findings(), None).0.len(), 2);
    }

    /// A life in which these load old bytes of one line, one after another.
    fn readers(consumers: &[u32]) -> Shadow {
        let mut shadow = Shadow::new(Config::new(CacheGeometry::new(32 << 10, 4, 32).unwrap()));
        let paddr = PhysAddr(0x1000);
        let store = |vaddr| Event::Access { kind: AccessKind::Store, vaddr: VirtAddr(vaddr), paddr, size: 4, site: Site(7) };
        shadow.apply(&store(0x1000));
        for consumer in consumers {
            let (kind, vaddr, site) = (AccessKind::Load, VirtAddr(0x2000), Site(*consumer));
            shadow.apply(&Event::Access { kind, vaddr, paddr, size: 4, site });
        }
        shadow
    }

    #[test]
    fn what_follows_from_findings_of_several_lives_names_them_by_their_places_among_all() {
        let told = |lives: &Lives, last: &Shadow| {
            let (findings, consequences) = lives.all(last.findings(), last.consequences());
            let sites: Vec<_> = findings.iter().map(|finding| finding.consumer.site.0).collect();
            let following: Vec<_> = consequences.iter().map(|it| (it.finding.consumer.site.0, it.follows.clone())).collect();
            (sites, following)
        };
        let after = |first: &Shadow| {
            let mut lives = Lives::default();
            (lives.findings, lives.consequences) = lives.all(first.findings(), first.consequences());
            lives
        };
        let lives = after(&readers(&[1, 2]));
        assert_eq!(told(&lives, &readers(&[])), (vec![1], vec![(2, vec![0])]));
        assert_eq!(told(&lives, &readers(&[1, 2])), (vec![1], vec![(2, vec![0])]));
        assert_eq!(told(&lives, &readers(&[3, 2, 4])), (vec![1, 3], vec![(2, vec![0, 1]), (4, vec![1])]));
        // Found in its own right in either life.
        assert_eq!(told(&lives, &readers(&[2])), (vec![1, 2], vec![]));
        assert_eq!(told(&after(&readers(&[2])), &readers(&[1, 2])), (vec![2, 1], vec![]));
    }

    #[test]
    fn what_an_earlier_life_could_not_see_is_said_once() {
        let mut lives = Lives::default();
        lives.limits = lives.limits(vec!["no DMA".into()]);
        assert_eq!(lives.limits(vec!["no DMA".into()]), ["no DMA"]);
        assert_eq!(lives.limits(vec!["no disk".into()]), ["no DMA", "no disk"]);
    }
}
