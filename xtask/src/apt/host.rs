//! The machine this runs on, as Debian names it.

use anyhow::{Result, bail};

/// Debian's name of the machine this runs on.
///
/// # Errors
/// If there are no packages for it.
pub fn host_arch() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no emulator or compiler packages are known for a {other} machine: x86_64 or aarch64 is needed"),
    }
}

/// The directory of its libraries.
///
/// # Errors
/// As [`host_arch`].
pub fn host_triplet() -> Result<&'static str> {
    Ok(if host_arch()? == "amd64" { "x86_64-linux-gnu" } else { "aarch64-linux-gnu" })
}
