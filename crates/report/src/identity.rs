//! When a finding of one run is the same as a finding of another: what suppressions, baselines and fingerprints go by.
//!
//! Class, consumer and producer by the names of their functions, so that a rebuilt kernel keeps its identities. Where no name is
//! known, user code is one thing (its addresses change from run to run), and kernel code goes by its address: two unnamed places
//! of a kernel must not pass for one another, because a new finding would then be taken for a known one.

use std::collections::HashMap;
use std::fmt;

use congruent_shadow::HazardClass;
use serde::{Deserialize, Serialize};

use crate::Mode;
use crate::explain::class_name;
use crate::group::function;
use crate::report::{Entry, PartyEntry};

/// What stays the same of a finding from run to run.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// How old bytes could be seen.
    pub class: HazardClass,
    /// The consumer's function; `user code`, `device 1` or an address where there is no name.
    pub consumer: String,
    /// The producer's, likewise; none where the producer was not seen.
    pub producer: Option<String>,
}

impl Identity {
    /// The identity of a finding.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        Self { class: entry.class, consumer: name(&entry.consumer), producer: entry.producer.as_ref().map(name) }
    }
}

fn name(party: &PartyEntry) -> String {
    match (&party.symbol, party.mode, party.pc) {
        (None, Some(Mode::Kernel), Some(pc)) => pc.to_string(),
        _ => function(party),
    }
}

/// `class: consumer <- producer`, which is also the fingerprint that other programs compare.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let producer = self.producer.as_deref().unwrap_or("an access that was not seen");
        write!(f, "{}: {} <- {producer}", class_name(self.class), self.consumer)
    }
}

/// All findings of one identity: what programs that track findings count as one.
pub(crate) struct Same<'a> {
    /// What they share.
    pub(crate) identity: Identity,
    /// The most frequent of them, which stands for all.
    pub(crate) shown: &'a Entry,
    /// How many there are: pairs of code sites within the two functions.
    pub(crate) pairs: usize,
    /// How often they occurred, together.
    pub(crate) occurrences: u64,
}

/// Folds findings by identity, in the order in which each identity first appears.
pub(crate) fn by_identity(findings: &[Entry]) -> Vec<Same<'_>> {
    let mut folded: Vec<Same<'_>> = Vec::new();
    let mut places: HashMap<Identity, usize> = HashMap::new();
    for entry in findings {
        let identity = Identity::of(entry);
        let at = *places.entry(identity.clone()).or_insert_with(|| {
            folded.push(Same { identity, shown: entry, pairs: 0, occurrences: 0 });
            folded.len() - 1
        });
        let same = &mut folded[at];
        same.pairs += 1;
        same.occurrences += entry.count;
        if entry.count > same.shown.count {
            same.shown = entry;
        }
    }
    folded
}
