//! `cargo xtask bench`: what a check costs beside plain QEMU.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::e2e::RUNS;
use crate::guests::boot::Boot;
use crate::guests::emulator::Qemu;
use crate::guests::kernel::Choice;
use crate::guests::machine::Guest;
use crate::{e2e, guests, place, run};

/// QEMU's own cache plugin (tags only, no maintenance, no aliases) on the same boot, measured once with QEMU 10.0.2.
const PEER: f64 = 18.5;

/// What is judged, in the order of its cost: a name and the options for it.
const CHECKS: [(&str, &[&str]); 4] = [
    ("data side alone", &["--no-backtraces"]),
    ("with callers", &[]),
    ("with callers, given old bytes", &["--inject", "worst"]),
    ("with callers and fetches", &["--icache", "32K,4,32"]),
];

/// Runs plain and checked boots in turn and prints their medians, then the benches of the judge's step.
///
/// # Errors
/// If a boot fails.
pub fn perform(qemu: Qemu, rounds: usize) -> Result<()> {
    ensure!(rounds > 0, "at least one round is needed");
    guests::prepare(&[Guest::Mips], &[qemu], Choice::Stock)?;
    e2e::build()?;
    let (mut plain, mut checked) = (Vec::new(), CHECKS.map(|_| Vec::new()));
    for round in 1..=rounds {
        let boot = Boot::new(Guest::Mips, qemu, "workload");
        let console = boot.capture(Duration::from_secs(180), false)?;
        console.check("workload")?;
        plain.push(console.took);
        eprint!("round {round} of {rounds}: plain {:.1} s", console.took.as_secs_f64());
        for ((name, options), times) in CHECKS.iter().zip(&mut checked) {
            let took = check(&boot, options)?;
            eprint!(", {name} {:.1} s", took.as_secs_f64());
            times.push(took);
        }
        eprintln!();
    }
    let plain = median(plain);
    println!("mips boot and workload, medians of {rounds} interleaved rounds");
    println!("  {:<30}{plain:>6.2} s", "plain QEMU");
    for ((name, _), times) in CHECKS.iter().zip(checked) {
        let checked = median(times);
        println!("  {name:<30}{checked:>6.2} s   {:.2} times", checked / plain);
    }
    println!("  for comparison: QEMU's cache plugin, tags only, {PEER} times (as measured once, not now)");
    run::visibly(
        Command::new("cargo").args(["bench", "--package", "congruent-shadow", "--bench", "step"]).current_dir(place::root()),
    )
}

/// How long the boot takes under the judge.
fn check(boot: &Boot, options: &[&str]) -> Result<Duration> {
    let reference = RUNS.iter().find(|run| run.name == "mips-ordinary").expect("the table has it");
    let start = Instant::now();
    let status = Command::new(place::release().join("congruent"))
        .args(["check", "--dcache", reference.dcache])
        .args(options)
        .arg("--")
        .args(boot.command()?)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    // While it boots, the kernel changes code that it runs, which is a finding of the instruction side (see the table).
    ensure!(matches!(status.code(), Some(0 | 1)), "congruent check ended with {status}");
    Ok(start.elapsed())
}

/// The middle of the sorted times, in seconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    let middle = times.len() / 2;
    let upper = times[middle].as_secs_f64();
    if times.len() % 2 == 1 { upper } else { f64::midpoint(times[middle - 1].as_secs_f64(), upper) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_the_two_middle_ones() {
        let seconds = |times: &[u64]| times.iter().map(|&time| Duration::from_secs(time)).collect();
        assert!((median(seconds(&[9, 1, 5])) - 5.0).abs() < 1e-9);
        assert!((median(seconds(&[9, 1, 5, 4])) - 4.5).abs() < 1e-9);
    }
}
