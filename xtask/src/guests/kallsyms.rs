//! The symbols of a stock kernel, asked of the kernel itself: Debian's System.map is a stub.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::boot::Boot;
use super::emulator::Qemu;
use super::machine::Guest;
use crate::cache::Recipe;

/// Writes `target/guests/<guest>/kallsyms` by booting the guest once.
///
/// # Errors
/// If the guest does not boot or prints no symbols.
pub fn build(guest: Guest, kernel: &Path) -> Result<()> {
    let recipe = Recipe::new(guest.machine().of("kallsyms")).file(&kernel.join("vmlinuz"))?;
    recipe.ensure(|file| {
        let console = Boot::new(guest, Qemu::V10_0, "kallsyms").capture(Duration::from_secs(120), false)?;
        console.check("kallsyms")?;
        let (_, after) = console.text.split_once("KALLSYMS-BEGIN\n").context("the guest printed no symbols")?;
        let (encoded, _) = after.split_once("KALLSYMS-END").context("the guest's symbols have no end")?;
        let symbols = through(through(encoded.as_bytes().to_vec(), "base64", &["--decode"])?, "gzip", &["--decompress"])?;
        let text = String::from_utf8(symbols).context("the guest's symbols are not text")?;
        ensure!(text.lines().count() > 5_000, "the guest printed only {} symbols", text.lines().count());
        Ok(fs::write(file, text)?)
    })?;
    Ok(())
}

/// What `program` makes of `input`.
fn through(input: Vec<u8>, program: &str, arguments: &[&str]) -> Result<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{program}`: is it installed?"))?;
    let mut to = child.stdin.take().expect("stdin is piped");
    let writer = std::thread::spawn(move || to.write_all(&input));
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "`{program}` cannot read what the guest printed");
    writer.join().expect("the writer does not panic")?;
    Ok(output.stdout)
}
