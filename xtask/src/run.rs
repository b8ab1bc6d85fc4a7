//! Starting programs, so that a failure is one line that names the program and says why.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program to its end. Its output is shown only if it fails.
///
/// # Errors
/// If it cannot be started or does not end with status 0; the message ends with the last lines it wrote.
pub fn quietly(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{name}`: is it installed?"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let last: Vec<&str> = text.lines().chain(errors.lines()).filter(|line| !line.trim().is_empty()).collect();
    let from = last.len().saturating_sub(8);
    bail!("`{name}` failed ({}):\n  {}", output.status, last[from..].join("\n  "))
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
