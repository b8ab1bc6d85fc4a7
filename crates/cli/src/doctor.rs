//! `congruent doctor`: what is installed, what will work, and what to do about the rest, one line each.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use congruent_arch::Arch;

use crate::{CANNOT, plugin};

/// The oldest QEMU whose plugin interface is sufficient (API 4).
const OLDEST: (u32, u32) = (10, 0);

/// A plugin that does not exist, to see whether QEMU looks for it at all.
const NO_PLUGIN: &str = "/nonexistent/congruent-doctor.so";

/// Prints the findings; returns the exit status: 0 if at least one guest can be checked.
pub(crate) fn doctor() -> u8 {
    let mut usable = false;
    for arch in Arch::ALL {
        let program = format!("qemu-system-{}", arch.facts().name);
        match examine(&program, arch.facts().debian_package) {
            Ok((path, version)) => {
                usable = true;
                line("ok", &program, &format!("{version} at {}, loads plugins", path.display()));
            }
            Err(remedy) => line("no", &program, &remedy),
        }
    }
    match plugin::find(None) {
        Ok(path) => line("ok", "plugin", &path.display().to_string()),
        Err(error) => {
            usable = false;
            line("no", "plugin", &format!("{error:#}"));
        }
    }
    line("ok", "symbols", "vmlinux, System.map and kallsyms are read without other tools");
    if usable { 0 } else { CANNOT }
}

fn line(state: &str, what: &str, text: &str) {
    anstream::println!("{state}  {what:<20}{text}");
}

/// The program's path and version, or what is wrong and the remedy.
fn examine(program: &str, package: &str) -> Result<(PathBuf, String), String> {
    let path = on_path(program).ok_or_else(|| format!("not on PATH; install it (Debian, Ubuntu: apt install {package})"))?;
    let said = output(&path, &["--version"])?;
    let version = version(&said).ok_or_else(|| format!("{} does not say its version; reinstall it", path.display()))?;
    if (version.major, version.minor) < OLDEST {
        let (major, minor) = OLDEST;
        return Err(format!(
            "{} is too old; install {major}.{minor} or newer (Debian 12: apt install -t bookworm-backports {package})",
            version.text
        ));
    }
    let said = output(&path, &["-M", "none", "-display", "none", "-plugin", &format!("file={NO_PLUGIN}")])?;
    if !said.contains(NO_PLUGIN) {
        return Err(format!(
            "{} was built without plugins; install your distribution's, or build it with --enable-plugins",
            version.text
        ));
    }
    Ok((path, version.text.to_owned()))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Both outputs of a program that ends by itself.
fn output(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} cannot be started: {error}; reinstall it", program.display()))?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

struct Version<'a> {
    major: u32,
    minor: u32,
    text: &'a str,
}

/// The version in `QEMU emulator version 10.0.2 (Debian …)`.
fn version(said: &str) -> Option<Version<'_>> {
    let text = said.split_once("version ")?.1.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut numbers = text.split('.').map(str::parse);
    Some(Version { major: numbers.next()?.ok()?, minor: numbers.next()?.ok()?, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_qemu_says() {
        let read = |said| version(said).map(|v| (v.major, v.minor, v.text.to_owned()));
        assert_eq!(read("QEMU emulator version 10.0.13 (Debian 1:10.0.13+ds-0+deb13u1)\n"), Some((10, 0, "10.0.13".into())));
        assert_eq!(read("QEMU emulator version 9.2.50\n"), Some((9, 2, "9.2.50".into())));
        assert_eq!(read("bash: no"), None);
    }
}
