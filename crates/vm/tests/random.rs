//! Random runs: whatever programs do, the right policies never let anybody see an old byte, and the judge names whatever the others
//! let through.

use std::collections::BTreeMap;

use crate::steps::{Steps, medium, setup};
use congruent_vm::{Errno, Outcome, Point, PolicyKind, Simulation};

fn run(policy: PolicyKind, seed: u64, steps: usize) -> Outcome {
    let mut simulation = Simulation::new(setup(policy, seed), medium()).unwrap();
    simulation.run(Steps::new(seed).take(steps));
    simulation.finish()
}

/// The first byte that was wrong and that the judge had not reported.
fn unnamed(outcome: &Outcome) -> Option<String> {
    outcome
        .corruptions
        .iter()
        .find(|corruption| !corruption.named)
        .map(|corruption| format!("step {}: {corruption}", corruption.step))
}

/// What a kernel did for its programs, over all seeds: who refuses everything is never wrong either.
#[derive(Default)]
struct Served {
    /// By kind of step: how many, and how many of them failed.
    steps: BTreeMap<&'static str, (u64, u64)>,
    /// How many of those for want of memory, which may depend on the policy; all other failures are the programs' own.
    short: u64,
    /// Where in the kernel other threads have run.
    preempted: BTreeMap<Point, u64>,
}

impl Served {
    fn add(&mut self, outcome: &Outcome) {
        for (name, operations) in &outcome.operations {
            let (count, failed) = self.steps.entry(name).or_default();
            (*count, *failed) = (*count + operations.count, *failed + operations.failed);
        }
        for (point, times) in &outcome.preempted {
            *self.preempted.entry(*point).or_default() += times;
        }
        self.short += outcome.errors.get(&Errno::NoMemory).copied().unwrap_or_default();
    }

    fn must_be_enough(&self, policy: PolicyKind) {
        let (count, failed) = self.steps.values().fold((0, 0), |sum, step| (sum.0 + step.0, sum.1 + step.1));
        assert!(count > 59_000 && failed < 21_000, "{policy}: {failed} of {count} steps failed");
        assert!(self.short < 60, "{policy}: {} steps failed for want of memory", self.short);
        for (name, (count, failed)) in &self.steps {
            assert!(count - failed > 50, "{policy}: {failed} of {count} steps of kind {name} failed");
        }
        let never: Vec<_> = Point::ALL.iter().filter(|point| !self.preempted.contains_key(point)).collect();
        assert!(never.is_empty(), "{policy}: no other thread ran at {never:?}, of {:?}", self.preempted);
        assert!(self.steps.len() >= 34, "{policy}: only steps of kinds {:?}", self.steps.keys());
    }
}

fn is_never_wrong(policy: PolicyKind) {
    let mut served = Served::default();
    for seed in 0..150 {
        let outcome = run(policy, seed, 400);
        served.add(&outcome);
        assert_eq!(
            outcome.corruptions.first().map(|first| format!("step {}: {first}", first.step)),
            None,
            "{policy}, seed {seed}"
        );
        assert_eq!(outcome.findings, [], "{policy}, seed {seed}");
    }
    served.must_be_enough(policy);
}

#[test]
fn flush_always_is_never_wrong() {
    is_never_wrong(PolicyKind::FlushAlways);
}

#[test]
fn windows_are_never_wrong() {
    is_never_wrong(PolicyKind::Window);
}

#[test]
fn reverse_lookup_is_never_wrong() {
    is_never_wrong(PolicyKind::ReverseLookup);
}

#[test]
fn kept_windows_are_never_wrong() {
    is_never_wrong(PolicyKind::KeptWindows);
}

#[test]
fn coloured_frames_are_never_wrong() {
    is_never_wrong(PolicyKind::FrameColoured);
}

#[test]
fn the_judge_names_every_byte_that_the_others_let_through() {
    for policy in [PolicyKind::None, PolicyKind::LinuxMips, PolicyKind::LinuxArm] {
        let mut wrong = 0;
        for seed in 0..150 {
            let outcome = run(policy, seed, 400);
            assert_eq!(outcome.unnamed_bytes, 0, "{policy}, seed {seed}: {:?}", unnamed(&outcome));
            wrong += outcome.corrupted_bytes;
        }
        assert!(wrong > 0, "{policy} has defects");
    }
}
