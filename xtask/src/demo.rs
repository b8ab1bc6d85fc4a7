//! `cargo xtask demo`: the shortest way to see what Congruent is for.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::e2e::{self, RUNS};
use crate::guests::machine::Qemu;
use crate::{guests, run};

/// Sets everything up, then checks one stock kernel twice: on a core whose cache it handles, and on one whose cache it does not know.
///
/// # Errors
/// If the set-up fails or either check says something else than it should.
pub fn perform() -> Result<()> {
    eprintln!("Fetching the guest and the emulator (once), building.");
    guests::prepare(false)?;
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
        println!("\n{title}\n");
        let command = &mut act.command(Qemu::V10_0, &[])?;
        println!("$ {}\n", run::shown(command));
        // The guest's console is of no interest here. Where the report goes to a pipe, the console goes to stderr.
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().context("cannot start congruent")?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        ensure!(output.status.code() == Some(status), "congruent ended with {}, not with status {status}", output.status);
    }
    Ok(())
}
