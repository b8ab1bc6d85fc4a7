//! The program `congruent`: runs a guest under the judge and says where a kernel hands out stale data.
//!
//! A thin shell: it starts QEMU with the plugin, passes the console through, and prints what `congruent-report` makes of the
//! judge's findings. Exit status: 0 clean, 1 findings, 2 usage or environment, 3 the run is incomplete.

#![forbid(unsafe_code)]

mod arguments;
mod caches;
mod check;
mod command_line;
mod console;

mod doctor;
mod emulated;
mod ending;
mod explain;
mod guest_symbols;
mod judge_link;
mod keyboard;
mod known_core;
mod last_line;
mod ledger;
mod monitor;
mod necessity;
mod output;
mod plugin;
mod recording;
mod replay;
mod reporting;
mod screen;
mod session;
mod simulate;
mod sources;
mod stopping;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use arguments::{Command, Invocation};

/// Exit status for wrong usage and for an environment in which nothing can be judged.
const CANNOT: u8 = 2;

fn main() -> ExitCode {
    let command = match Invocation::from_environment() {
        Invocation::Run(command) => command,
        Invocation::Explain(text) => {
            anstream::print!("{text}");
            return ExitCode::SUCCESS;
        }
        Invocation::Misused(line) => {
            say(&line);
            return ExitCode::from(CANNOT);
        }
    };
    let result = match command {
        Command::Check(check) => check::check(&check),
        Command::Replay(replay) => replay::replay(&replay),
        Command::Necessity(options) => necessity::necessity(&options),
        Command::Simulate(options) => simulate::simulate(&options),
        Command::Doctor => Ok(doctor::doctor()),
        Command::Explain(class) => explain::explain(class.as_deref()),
        Command::Completions(shell) => print(&arguments::completions(shell)),
        Command::Man(directory) => arguments::manual(&directory).map(|()| 0).with_context(|| {
            format!("cannot write manual pages into `{}`; give a directory that you may write to", directory.display())
        }),
    };
    ExitCode::from(result.unwrap_or_else(|error| {
        say(&format!("{error:#}"));
        CANNOT
    }))
}

/// Prints this, whoever reads it. A reader that has gone away is not our business.
fn print(text: &[u8]) -> anyhow::Result<u8> {
    let _ = std::io::stdout().write_all(text);
    Ok(0)
}

/// Says what is wrong. It may quote a file or the guest, so nothing in it acts on the terminal.
fn say(wrong: &str) {
    let lines: Vec<_> = wrong.lines().map(congruent_report::printable).collect();
    eprintln!("congruent: {}", lines.join("\n"));
}
