//! Starting programs, so that a failure is one line that names the program and says why.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// A command that ends with this process, however that ends, and leaves the processor to others: for programs that run for minutes.
pub fn bound(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nice");
    command.args(["setpriv", "--pdeathsig", "TERM"]).arg(program);
    command
}

/// Runs a program to its end. Its output is shown only if it fails.
///
/// # Errors
/// If it cannot be started or does not end with status 0; the message ends with the last lines it wrote.
pub fn quietly(command: &mut Command) -> Result<String> {
    let name = name(command);
    let output = output(command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let last: Vec<&str> = text.lines().chain(errors.lines()).filter(|line| !line.trim().is_empty()).collect();
    let from = last.len().saturating_sub(8);
    bail!("`{name}` failed ({}):\n  {}", output.status, last[from..].join("\n  "))
}

/// Runs a program to its end, however that is, and returns what it said.
///
/// # Errors
/// If it cannot be started.
pub fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`: is it installed?", name(command)))
}

/// The program that a command is about, whatever starts it.
fn name(command: &Command) -> String {
    let starters = ["nice", "setpriv", "--pdeathsig", "TERM"];
    let mut words = std::iter::once(command.get_program()).chain(command.get_args());
    let program = words.find(|word| !starters.iter().any(|starter| word == starter));
    program.unwrap_or(command.get_program()).to_string_lossy().into_owned()
}

/// Runs a program to its end with this terminal as its own.
///
/// # Errors
/// If it cannot be started or does not end with status 0.
pub fn visibly(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start `{name}`: is it installed?"))?;
    if !status.success() {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        bail!("`{name} {}` failed ({status})", words.join(" "));
    }
    Ok(())
}

/// A command as a shell reads it back.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
