//! Hazards folded into findings: same class, consumer and producer are one entry with a count.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::finding::{Consequence, Finding, Key, PastMaintenance};
#[cfg(test)]
use crate::finding::{Example, HazardClass};

/// The findings so far.
#[derive(Clone, Default, Debug)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    places: BTreeMap<Key, usize>,
    hazards: u64,
    consequences: Vec<Consequence>,
    consequence_places: BTreeMap<Key, usize>,
    /// How often a consequence was new, or followed from a finding that it was not known to follow from.
    links: u64,
    /// Every hazard unfolded, for tests to take.
    #[cfg(test)]
    pub log: Vec<(HazardClass, Example)>,
    /// The same of consequences.
    #[cfg(test)]
    pub consequence_log: Vec<(HazardClass, Example)>,
}

impl Findings {
    /// Books a hazard, as the finding that it would be if it were the first of its kind. Only then its history is asked for. Returns the
    /// finding's place in the list.
    pub fn record(&mut self, hazard: Finding, history: impl FnOnce() -> Vec<PastMaintenance>) -> u32 {
        self.hazards += 1;
        #[cfg(test)]
        self.log.push((hazard.class, hazard.example));
        let key = hazard.key();
        let list = &mut self.list;
        let place = *self.places.entry(key).or_insert_with(|| {
            list.push(Finding { count: 0, maintenance_between: history(), ..hazard });
            list.len() - 1
        });
        list[place].count += 1;
        // More findings than that do not fit into memory.
        place as u32
    }

    /// Books a hazard that follows from these findings.
    pub fn follow(&mut self, hazard: Finding, findings: &[u32]) {
        #[cfg(test)]
        self.consequence_log.push((hazard.class, hazard.example));
        let key = hazard.key();
        if self.places.contains_key(&key) {
            // It is a finding of its own right already.
            return;
        }
        let list = &mut self.consequences;
        let place = *self.consequence_places.entry(key).or_insert_with(|| {
            list.push(Consequence { finding: hazard, follows: Vec::new() });
            list.len() - 1
        });
        let follows = &mut list[place].follows;
        for finding in findings {
            if let Err(at) = follows.binary_search(finding) {
                follows.insert(at, *finding);
                self.links += 1;
            }
        }
    }

    /// What is no finding because of other findings, in order of first appearance.
    pub fn consequences(&self) -> impl Iterator<Item = &Consequence> {
        self.consequences.iter().filter(|consequence| !self.places.contains_key(&consequence.finding.key()))
    }

    /// Changes whenever anything was found that the lists did not have, and with each hazard.
    pub fn changes(&self) -> u64 {
        self.hazards + self.links
    }

    /// In order of first appearance.
    pub fn list(&self) -> &[Finding] {
        &self.list
    }

    /// Hazards before folding.
    pub fn hazards(&self) -> u64 {
        self.hazards
    }
}
