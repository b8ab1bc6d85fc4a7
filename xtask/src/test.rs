//! Everything that must hold, in the order in which a mistake shows soonest.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::guests::emulator::Qemu;
use crate::guests::kernel::{self, Choice};
use crate::guests::machine::Guest;
use crate::summary::Summary;
use crate::{browser, decoders, demo, dist, e2e, embed, guests, kallsyms, msrv, place, run, stranger, tidy};

/// All of it: what needs no guest, then the stock kernels under each emulator.
///
/// # Errors
/// With the first step that fails.
pub fn everything(qemus: &[Qemu]) -> Result<()> {
    let mut summary = Summary::new();
    // A mirror that cannot be reached, or lacks something, is known before anything is built.
    summary.step("guests, emulators, compilers", || {
        embed::fetch()?;
        msrv::fetch()?;
        browser::fetch()?;
        prepare(&Guest::ALL, qemus, Choice::Stock)
    })?;
    // Half of it is linked by one thread: it fits into what lints and tests leave idle.
    let ahead = e2e::Ahead::start()?;
    without_guests(&mut summary)?;
    summary.step("the library under every interleaving", || {
        // Apart from everything else, because the flag would have all of it built again.
        let mut loom = cargo(&["test", "--package", "congruent-loom"]);
        tests(loom.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", place::root().join("target/loom")))
    })?;
    summary.step("the library by its oldest compiler", msrv::perform)?;
    summary.step("the library on bare metal", || embed::perform().map(|()| "built".to_owned()))?;
    summary.step("the decoders beside disassemblers", || decoders::perform(None, 1).map(|()| "5 instruction sets".to_owned()))?;
    summary.step("the HTML report in a browser", || browser::perform().map(|()| "1 page".to_owned()))?;
    ahead.wait()?;
    with_guests(&mut summary, qemus, "")
}

/// What needs no guest: format, lints, tests, recordings.
///
/// # Errors
/// With the first step that fails.
pub fn quick() -> Result<()> {
    let mut summary = Summary::new();
    without_guests(&mut summary)?;
    summary.step("recordings", || demo::replay().map(|()| "3 replays".to_owned()))
}

/// The guests alone, under one emulator; of the table only the runs whose name contains `only`.
///
/// # Errors
/// With the first step that fails.
pub fn guests(qemu: Qemu, choice: Choice, only: &str) -> Result<()> {
    let mut summary = Summary::new();
    let guests = e2e::guests(only)?;
    summary.step("guests, emulators, compilers", || prepare(&guests, &[qemu], choice))?;
    if only.is_empty() {
        return with_guests(&mut summary, &[qemu], only);
    }
    judged(&mut summary, &[qemu], only)
}

fn prepare(guests: &[Guest], qemus: &[Qemu], choice: Choice) -> Result<String> {
    guests::prepare(guests, qemus, choice)?;
    for guest in guests {
        eprintln!("  {}: {}", guest.machine().directory, kernel::told(*guest)?);
    }
    Ok(format!("{} guests", guests.len()))
}

fn without_guests(summary: &mut Summary) -> Result<()> {
    summary.step("format", || run::visibly(&mut cargo(&["fmt", "--all", "--check"])).map(|()| String::new()))?;
    summary.step("the house in order", tidy::perform)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
    summary.step("lints", || run::visibly(&mut cargo(&clippy)).map(|()| String::new()))?;
    // With what is not committed, for this is run before commits.
    let publish =
        ["publish", "--dry-run", "--quiet", "--allow-dirty", "--package", "congruent-geometry", "--package", "congruent"];
    summary.step("the two crates as they would be published", || run::visibly(&mut cargo(&publish)).map(|()| String::new()))?;
    summary.step("tests", || tests(&mut cargo(&["test", "--workspace"])))
}

fn with_guests(summary: &mut Summary, qemus: &[Qemu], only: &str) -> Result<()> {
    summary.step("symbols in the kernels' memory", || kallsyms::perform().map(|count| format!("{count} kernels")))?;
    summary.step("the demo where there are no guests", || demo::replay().map(|()| "3 replays".to_owned()))?;
    e2e::build()?;
    summary.step("a guest on a machine that is not ours", stranger::perform)?;
    summary.step("packages, unpacked and used", dist::try_out)?;
    judged(summary, qemus, only)
}

/// The table of what the judge says of guests.
fn judged(summary: &mut Summary, qemus: &[Qemu], only: &str) -> Result<()> {
    summary.step("the program and the plugin", || e2e::build().map(|()| "built".to_owned()))?;
    for (number, qemu) in qemus.iter().enumerate() {
        summary.step(&format!("guests under the judge, {}", qemu.directory()), || e2e::perform(*qemu, only, number > 0))?;
    }
    Ok(())
}

fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(words).current_dir(place::root());
    command
}

/// Runs tests, shows what they say, and counts them.
fn tests(command: &mut Command) -> Result<String> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start `cargo`: is it installed?")?;
    let mut passed = 0;
    for line in BufReader::new(child.stdout.take().expect("stdout is piped")).lines() {
        let line = line?;
        passed += passed_in(&line);
        println!("{line}");
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`cargo test` failed ({status}): what failed stands above");
    }
    if passed == 0 {
        bail!("`cargo test` ran no test");
    }
    Ok(format!("{passed} tests"))
}

/// How many tests passed, by a line that libtest ends with.
fn passed_in(line: &str) -> u64 {
    let count = line.strip_prefix("test result: ok. ").and_then(|rest| rest.split(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_counted_by_libtests_last_line() {
        assert_eq!(
            passed_in("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s"),
            12
        );
        assert_eq!(passed_in("test result: FAILED. 12 passed; 1 failed"), 0);
        assert_eq!(passed_in("test that_passes ... ok"), 0);
    }
}
