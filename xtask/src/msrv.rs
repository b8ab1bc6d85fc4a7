//! `cargo xtask msrv`: the two crates that are published, compiled by the oldest compiler that they say they need.
//!
//! By `rustc` alone, as the build of a kernel does it: an old cargo would refuse the workspace around them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apt::host::host_arch;
use crate::apt::root::With;
use crate::apt::suites::TRIXIE;
use crate::apt::tree::Tree;
use crate::cache::Recipe;
use crate::guests::debian::{Debian, Wanted};
use crate::{place, run};

/// The crates, each after what it uses: name of the crate and folder.
const CRATES: [(&str, &str); 2] = [("congruent_geometry", "crates/geometry"), ("congruent", "crates/congruent")];

/// What a manifest says of compilers.
#[derive(PartialEq, Eq, Debug)]
struct Floor {
    edition: String,
    rust_version: String,
}

/// Fetches the compiler, if that has to be.
///
/// # Errors
/// As [`perform`], but that nothing is compiled.
pub fn fetch() -> Result<()> {
    compiler(&both()?.rust_version).map(drop)
}

/// What both manifests say.
fn both() -> Result<Floor> {
    let [floor, other] = CRATES.map(|(_, folder)| floor(&place::root().join(folder)));
    let (floor, other) = (floor?, other?);
    ensure!(floor == other, "crates/geometry and crates/congruent name different compilers: {floor:?}, {other:?}");
    Ok(floor)
}

/// Compiles both. Says by which compiler, and if that is not the one that they name, so.
///
/// # Errors
/// If one does not compile, if the two do not name the same compiler, or if no old compiler can be had.
pub fn perform() -> Result<String> {
    let floor = both()?;
    let (rustc, by) = compiler(&floor.rust_version)?;
    let output = place::root().join("target/msrv");
    fs::create_dir_all(&output).with_context(|| output.display().to_string())?;
    for (number, (name, folder)) in CRATES.into_iter().enumerate() {
        let mut command = Command::new(&rustc[0]);
        command
            .args(&rustc[1..])
            .args(["--edition", &floor.edition, "--crate-type", "lib", "--crate-name", name, "--emit", "metadata"])
            // New compilers lint; this one is asked whether it understands.
            .args(["--cap-lints", "allow"])
            .arg("--out-dir")
            .arg(&output)
            .arg("-L")
            .arg(&output)
            .args(CRATES[..number].iter().flat_map(|(before, _)| ["--extern", before]))
            .arg(place::root().join(folder).join("src/lib.rs"));
        run::quietly(&mut command).with_context(|| format!("{folder} says that {} compiles it", floor.rust_version))?;
    }
    Ok(by)
}

fn floor(folder: &Path) -> Result<Floor> {
    let path = folder.join("Cargo.toml");
    let manifest = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    named(&manifest).with_context(|| format!("{} must name an `edition` and a `rust-version` of its own", path.display()))
}

fn named(manifest: &str) -> Option<Floor> {
    let value = |key: &str| {
        let line = manifest.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"').to_owned())
    };
    Some(Floor { edition: value("edition")?, rust_version: value("rust-version")? })
}

/// How to start it, and its name: rustup's, of exactly this version; where there is no rustup, Debian stable's, which is somewhat newer.
fn compiler(version: &str) -> Result<(Vec<String>, String)> {
    if run::quietly(Command::new("rustup").arg("--version")).is_err() {
        let rustc = debian()?;
        let own = run::quietly(Command::new(&rustc).arg("--version"))?;
        return Ok((vec![rustc], format!("{} (no rustup: {version} NOT tried)", own.trim())));
    }
    let toolchain = format!("{version}.0");
    let installed = run::quietly(Command::new("rustup").args(["run", &toolchain, "rustc", "--version"]));
    if installed.is_err() {
        eprintln!("  rustup fetches {toolchain}");
        run::quietly(Command::new("rustup").args([
            "toolchain",
            "install",
            &toolchain,
            "--profile",
            "minimal",
            "--no-self-update",
        ]))
        .with_context(|| format!("rustc {toolchain}, which the published crates name, cannot be fetched"))?;
    }
    let words = ["rustup", "run", &toolchain, "rustc"].map(str::to_owned).to_vec();
    Ok((words, format!("rustc {toolchain}")))
}

fn debian() -> Result<String> {
    let wanted = Wanted { alternatives: &[TRIXIE], arch: host_arch()?, packages: &["rustc"], with: With::Dependencies };
    let tree = Recipe::new("rust-old").input(wanted.to_string()).ensure(|dir| {
        let tree = Tree::unpack(dir, &Debian::new()?.fetch("rust-old", &wanted)?)?;
        tree.wrap(&dir.join("bin/rustc"), Path::new("usr/bin/rustc"), &[], "")
    })?;
    Ok(tree.join("bin/rustc").display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_its_compiler_itself() {
        let manifest = "[package]\nversion.workspace = true\nedition = \"2021\"\nrust-version = \"1.81\"\n";
        assert_eq!(named(manifest), Some(Floor { edition: "2021".to_owned(), rust_version: "1.81".to_owned() }));
        assert_eq!(named("edition.workspace = true\nrust-version = \"1.81\"\n"), None);
    }
}
