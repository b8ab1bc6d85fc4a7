//! What findings hide that are let pass: nobody will mend those, so whoever they hide is a finding.
//!
//! Guarantees: after [`Report::reveal`] nothing follows from let-pass findings alone or among others without being one itself. A
//! revealed finding may be let pass as any other. Not here: what follows from what (`congruent-shadow`).

use std::collections::{BTreeSet, HashMap, hash_map};

use crate::group::importance;
use crate::report::{ConsequenceEntry, Entry};
use crate::{Identity, Report};

impl Report {
    /// Makes findings of what follows from one that is suppressed or known. To be called when all that can be is marked.
    pub fn reveal(&mut self) {
        let passes: Vec<bool> = self.findings.iter().map(|finding| !finding.fails()).collect();
        let is_hidden = |follows: &[usize]| !follows.iter().any(|place| passes.get(*place).copied().unwrap_or(false));
        let (hidden, revealed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.consequences).into_iter().partition(|it| is_hidden(&it.follows));
        self.consequences = hidden;
        let count = revealed.len();
        self.findings.extend(revealed.into_iter().map(|it| it.finding));
        if count > 0 {
            self.sort();
            let (finding, is) = if count == 1 { ("finding", "is") } else { ("findings", "are") };
            self.notes.push(format!(
                "{count} {finding} that the same maintenance would have prevented as one that is suppressed or known {is} told of, because \
                 that will not be mended; each counts as one occurrence"
            ));
        }
    }

    /// Makes one of all consequences of one identity, with a count: suppressions and baselines cannot tell them apart, and broken kernels
    /// have thousands of each. So it is with the findings that they follow from: of one identity, all are let pass or none.
    pub(crate) fn fold_consequences(&mut self) {
        let mut first: HashMap<Identity, usize> = HashMap::new();
        let of_findings: Vec<usize> =
            self.findings.iter().enumerate().map(|(place, it)| *first.entry(Identity::of(it)).or_insert(place)).collect();
        let mut folded: Vec<(ConsequenceEntry, BTreeSet<usize>)> = Vec::new();
        let mut places: HashMap<Identity, usize> = HashMap::new();
        for consequence in std::mem::take(&mut self.consequences) {
            let follows: BTreeSet<usize> =
                consequence.follows.iter().map(|place| of_findings.get(*place).copied().unwrap_or(*place)).collect();
            match places.entry(Identity::of(&consequence.finding)) {
                hash_map::Entry::Vacant(vacant) => {
                    vacant.insert(folded.len());
                    folded.push((consequence, follows));
                }
                hash_map::Entry::Occupied(known) => {
                    let (first, known) = &mut folded[*known.get()];
                    first.pairs += consequence.pairs;
                    known.extend(follows);
                }
            }
        }
        let whole = |(first, follows): (ConsequenceEntry, BTreeSet<usize>)| ConsequenceEntry {
            follows: follows.into_iter().collect(),
            ..first
        };
        self.consequences = folded.into_iter().map(whole).collect();
    }

    /// Puts the most important finding first, and keeps what follows from what.
    pub(crate) fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.findings.len()).collect();
        order.sort_by_cached_key(|place| importance(&self.findings[*place]));
        let mut places = vec![0; order.len()];
        for (now, before) in order.iter().enumerate() {
            places[*before] = now;
        }
        let mut findings: Vec<Option<Entry>> = std::mem::take(&mut self.findings).into_iter().map(Some).collect();
        self.findings = order.iter().filter_map(|place| findings[*place].take()).collect();
        for consequence in &mut self.consequences {
            for place in &mut consequence.follows {
                *place = places.get(*place).copied().unwrap_or(*place);
            }
            consequence.follows.sort_unstable();
        }
        self.consequences.sort_by_cached_key(|it| importance(&it.finding));
    }

    /// Every finding, and all that would be one.
    pub(crate) fn all_entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.findings.iter_mut().chain(self.consequences.iter_mut().map(|it| &mut it.finding))
    }
}
