//! What one run of a guest, or a replay, gives a report to tell of.

use congruent_arch::Arch;
use congruent_geometry::{Behaviour, CacheGeometry};
use congruent_shadow::{Consequence, Finding, Stats};

use crate::chain::Chains;
use crate::injected::Injected;
use crate::ledger::Booked;

/// How a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// As it was meant to: everything that the user asked for was judged.
    Finished,
    /// Otherwise, and why, in a clause such as `QEMU was killed by SIGSEGV`.
    Incomplete(String),
}

/// Everything that a report is made from, besides names.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The guest's architecture; `None` if the run ended before that was known, and then there are no findings.
    pub target: Option<Arch>,
    /// The modelled cache.
    pub geometry: CacheGeometry,
    /// What it does beside its shape.
    pub behaviour: Behaviour,
    /// The judge's counters.
    pub stats: Stats,
    /// The judge's findings.
    pub findings: &'a [Finding],
    /// What follows from them.
    pub consequences: &'a [Consequence],
    /// The call chains that the findings name.
    pub chains: &'a Chains,
    /// What maintenance was good for, if that was asked.
    pub ledger: Option<Booked<'a>>,
    /// What the run could not observe, in sentences.
    pub limits: Vec<String>,
    /// The sites given to `--mute`, as the user wrote them.
    pub muted: Vec<String>,
    /// What the kernel calls itself, if it printed that.
    pub kernel: Option<String>,
    /// What the emulated core says of itself that is less than the modelled cache, in a sentence.
    pub core: Option<String>,
    /// How often the machine started: once, and once more for each reset.
    pub lives: u32,
    /// What the guest was given, if it was given old bytes.
    pub injected: Option<&'a Injected>,
    /// How it ended.
    pub outcome: Outcome,
}

impl<'a> Run<'a> {
    /// A finished run of which nothing matters but what was found.
    #[must_use]
    pub fn of_findings(
        target: Arch,
        geometry: CacheGeometry,
        behaviour: Behaviour,
        findings: &'a [Finding],
        chains: &'a Chains,
    ) -> Self {
        Self {
            target: Some(target),
            geometry,
            behaviour,
            stats: Stats::default(),
            findings,
            consequences: &[],
            chains,
            ledger: None,
            limits: Vec::new(),
            muted: Vec::new(),
            kernel: None,
            core: None,
            lives: 1,
            injected: None,
            outcome: Outcome::Finished,
        }
    }
}
