//! Random runs: whatever programs do, the right policies never let anybody see an old byte, and the judge names whatever the others
//! let through.

mod steps;

use congruent_vm::{PolicyKind, Simulation};
use steps::{Steps, medium, setup};

fn run(policy: PolicyKind, seed: u64, steps: usize) -> congruent_vm::Outcome {
    let mut simulation = Simulation::new(setup(policy, seed), medium()).unwrap();
    simulation.run(Steps::new(seed).take(steps));
    simulation.finish()
}

/// The first byte that was wrong and that the judge had not reported.
fn unnamed(outcome: &congruent_vm::Outcome) -> Option<String> {
    outcome
        .corruptions
        .iter()
        .find(|corruption| !corruption.named)
        .map(|corruption| format!("step {}: {corruption}", corruption.step))
}

fn is_never_wrong(policy: PolicyKind) {
    for seed in 0..150 {
        let outcome = run(policy, seed, 400);
        assert_eq!(
            outcome.corruptions.first().map(|first| format!("step {}: {first}", first.step)),
            None,
            "{policy}, seed {seed}"
        );
        assert_eq!(outcome.findings, [], "{policy}, seed {seed}");
    }
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
