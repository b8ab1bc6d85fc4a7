//! `cargo xtask soak`: random workloads on random computers under random policies, until the time is over or something is wrong.
//!
//! What counts as wrong: a library policy or `flush-always` with a finding or a wrong byte; under any policy a wrong byte that the
//! judge had not named; a panic. The seed of every case is printed, and says everything about it; a case that is wrong is made
//! short and written down as a script.

mod case;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use congruent_vm::{PolicyKind, Step, write_script};
use congruent_workload::shrink;

use crate::place;
use case::Case;

/// Soaks for so many seconds. Seeds begin at `first`, or at one that nobody had.
pub fn perform(seconds: u64, first: Option<u64>) -> Result<()> {
    let fresh = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let first = first.unwrap_or_else(fresh);
    let (next, end) = (AtomicU64::new(first), Instant::now() + Duration::from_secs(seconds));
    let failures: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("soaking for {seconds} s from seed {first}; `cargo xtask soak {seconds} --seed {first}` does the same again");
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // A case is not cut short: the last ones end a little after the time.
                while Instant::now() < end {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let case = Case::of(seed);
                    let steps = case.steps();
                    println!("seed {seed}: {case}, {} steps", steps.len());
                    if let Some(wrong) = case.wrong(&steps) {
                        let told = write_down(&case, &steps, &wrong).unwrap_or_else(|error| format!("{error:#}"));
                        println!("seed {seed}: WRONG: {told}");
                        failures.lock().expect("nobody panics with it").push(told);
                    }
                }
            });
        }
    });
    let cases = next.into_inner() - first;
    let failures = failures.into_inner().context("a case panicked while it was written down")?;
    if failures.is_empty() {
        println!("{cases} cases, nothing wrong");
        return Ok(());
    }
    bail!("{} of {cases} cases are wrong: {}", failures.len(), failures.join("; "))
}

/// The steps of a wrong case made as few as they can be while something is still wrong.
fn shortest(case: &Case, steps: &[Step]) -> Vec<Step> {
    shrink(steps, |steps| case.wrong(steps).is_some())
}

fn write_down(case: &Case, steps: &[Step], wrong: &str) -> Result<String> {
    let short = shortest(case, steps);
    let still = case.wrong(&short).unwrap_or_default();
    let directory = place::root().join("target/soak");
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot make `{}`", directory.display()))?;
    let file: PathBuf = directory.join(format!("{}-{}.steps", case.seed, case.policy));
    let name = file.display();
    let text =
        format!("# {wrong}\n# short: {still}\n# congruent simulate {} --script {name}\n{}", case.options(), write_script(&short));
    std::fs::write(&file, text).with_context(|| format!("cannot write `{name}`"))?;
    Ok(format!("{wrong}; {} steps in {name}", short.len()))
}

/// Whether a policy must never let an old byte be seen.
fn must_be_right(policy: PolicyKind) -> bool {
    policy.is_library() || policy == PolicyKind::FlushAlways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_defect_is_made_a_short_script() {
        // No maintenance at all, held to the standard of the policies that must be right, is the defect.
        for seed in 0..3 {
            let case = Case::with_defect(congruent_workload::Kind::ForkThreads, seed);
            let steps = case.steps();
            assert!(case.wrong(&steps).is_some(), "seed {seed}: {case}");
            let short = shortest(&case, &steps);
            assert!(case.wrong(&short).is_some() && short.len() <= 6, "seed {seed}:\n{}", write_script(&short));
        }
    }

    #[test]
    fn a_seed_says_everything_about_a_case() {
        for seed in 0..50 {
            let (case, again) = (Case::of(seed), Case::of(seed));
            assert_eq!(case.to_string(), again.to_string());
            assert_eq!(case.steps(), again.steps(), "seed {seed}");
        }
    }
}
