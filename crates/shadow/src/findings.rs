//! Hazards folded into findings: same class, consumer and producer are one entry with a count.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

#[cfg(test)]
use crate::finding::{Example, HazardClass};
use crate::finding::{Finding, Key, PastMaintenance};

/// The findings so far.
#[derive(Clone, Default, Debug)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    places: BTreeMap<Key, usize>,
    hazards: u64,
    /// Every hazard unfolded, for tests to take.
    #[cfg(test)]
    pub log: Vec<(HazardClass, Example)>,
}

impl Findings {
    /// Books a hazard, as the finding that it would be if it were the first of its kind. Only then its history is asked for.
    pub fn record(&mut self, hazard: Finding, history: impl FnOnce() -> Vec<PastMaintenance>) {
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
