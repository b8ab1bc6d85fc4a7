//! `cargo xtask demo`: the shortest way to see what Congruent is for.
//!
//! Where the emulator or the kernels cannot be had, recorded runs are judged in their place, and it says so.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::e2e::{self, RUNS};
use crate::guests::emulator::Qemu;
use crate::guests::kernel::Choice;
use crate::guests::machine::Guest;
use crate::{guests, place, run};

/// Sets everything up, then checks one stock kernel twice: on a core whose cache it handles, and on one whose cache it does not know. That one is
/// then given what that cache would have given it, and dies.
/// If it cannot be set up, replays recordings.
///
/// # Errors
/// If something cannot be built or a verdict is something else than it should be.
pub fn perform() -> Result<()> {
    eprintln!("Fetching the guest and the emulator (once), building.");
    match guests::prepare(&[Guest::Mips], &[Qemu::V10_0], Choice::Stock) {
        Ok(()) => check(),
        Err(error) => {
            println!("No guest can be run here: {error:#}");
            println!("What follows are REPLAYS of runs that were recorded elsewhere (recordings/README.md).");
            replay()
        }
    }
}

fn check() -> Result<()> {
    e2e::build()?;
    let acts = [
        ("mips-ordinary", 0, "A stock MIPS kernel on a P5600, whose aliasing cache it handles:"),
        (
            "mips-unaware",
            1,
            "The same kernel on a 24Kf, which it takes for free of aliases, judged with the 32 KiB cache of real ones:",
        ),
    ];
    for (name, status, title) in acts {
        let act = RUNS.iter().find(|run| run.name == name).expect("the table has the demo's runs");
        show(title, &mut act.command(Qemu::V10_0, None, &[])?, status)?;
    }
    let unaware = RUNS.iter().find(|run| run.name == "mips-unaware").expect("the table has the demo's runs");
    let options = ["--inject", "worst", "--show", "0"].map(Into::into);
    let title = "QEMU boots it all the same. Given what that cache would have given it, it does not come far:";
    let console = show(title, &mut unaware.command(Qemu::V10_0, None, &options)?, 1)?;
    let telling = ["Oops", "epc ", "Kernel panic"];
    for line in console.lines().filter(|line| telling.iter().any(|word| line.contains(word))) {
        println!("  console: {line}");
    }
    Ok(())
}

/// Replays recordings of runs that were checked elsewhere.
///
/// # Errors
/// If something cannot be built or a verdict is something else than it should be.
pub fn replay() -> Result<()> {
    // With the plugin, although nothing needs it here: else cargo would choose other features, and build everything twice.
    e2e::build()?;
    let acts: [(&str, &[&str], i32, &str); 3] = [
        ("mips-ordinary", &["mips"], 0, "A stock MIPS kernel on a P5600, whose aliasing cache it handles:"),
        ("mips-ordinary", &["mips", "MUTE"], 1, "The same run, judged as if its copy-on-write did no cache maintenance:"),
        ("mips-vm-writev", &["mips", "mips-vm-writev"], 1, "The same kernel, and a program that writes another one's memory:"),
    ];
    for (name, files, status, title) in acts {
        let mut command = Command::new(place::release().join("congruent"));
        command.arg("replay").arg(place::recordings().join(format!("{name}.congruent")));
        for file in files {
            match *file {
                "MUTE" => command.args(["--mute", "copy_user_highpage"]),
                file => command.arg("--symbols").arg(place::recordings().join(format!("{file}.map"))),
            };
        }
        show(title, &mut command, status)?;
    }
    Ok(())
}

/// Shows a command and what it says. The guest's console is of no interest then, and is returned.
fn show(title: &str, command: &mut Command, status: i32) -> Result<String> {
    println!("\n{title}\n");
    println!("$ {}\n", run::shown(command));
    // Where the report goes to a pipe, the console goes to stderr.
    let output = command.stdin(Stdio::null()).output().context("cannot start congruent")?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    ensure!(output.status.code() == Some(status), "congruent ended with {}, not with status {status}", output.status);
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}
