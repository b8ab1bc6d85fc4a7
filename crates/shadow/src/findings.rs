//! Hazards folded into findings: same class, consumer and producer are one entry with a count.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use congruent_trace::Site;

use crate::finding::{Contexts, Example, Finding, HazardClass, Party, PartyKind, PastMaintenance};

/// What makes two hazards one finding.
type Key = (HazardClass, (PartyKind, Site), Option<(PartyKind, Site)>);

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
    /// Books a hazard. Its history is asked for only if it is the first of its kind.
    pub fn record(
        &mut self,
        class: HazardClass,
        consumer: Party,
        producer: Option<Party>,
        example: Example,
        contexts: Contexts,
        history: impl FnOnce() -> Vec<PastMaintenance>,
    ) {
        self.hazards += 1;
        #[cfg(test)]
        self.log.push((class, example));
        let key = (class, (consumer.kind, consumer.site), producer.map(|producer| (producer.kind, producer.site)));
        let list = &mut self.list;
        let place = *self.places.entry(key).or_insert_with(|| {
            list.push(Finding { class, count: 0, consumer, producer, example, maintenance_between: history(), contexts });
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
