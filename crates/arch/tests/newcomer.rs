//! What a new architecture must answer, the compiler lists: here it is given one, in a copy of the sources.
//!
//! Twice, because a crate that does not compile hides what is asked in those that use it: as it is, and with the facts of another for the
//! newcomer's. What it asks outside of this crate is what `ARCHITECTURE.md` says it does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates that know architectures.
const USERS: [&str; 4] = ["congruent-wire", "congruent-qemu", "congruent-report", "congruent-cli"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Copies what differs, so that the compiler looks again only at that.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        write(to, &fs::read(from).unwrap());
    }
}

fn write(to: &Path, contents: &[u8]) {
    if fs::read(to).ok().as_deref() != Some(contents) {
        fs::write(to, contents).unwrap();
    }
}

/// Where a match does not cover the newcomer, and how often.
fn asked(copied: &Path, packages: &[&str]) -> BTreeMap<String, usize> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["check", "--offline", "--keep-going", "--message-format=json"]).current_dir(copied);
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    // Its own, because cargo takes two workspaces of one layout for the same.
    cargo.env("CARGO_TARGET_DIR", copied.join("target")).env_remove("RUSTFLAGS");
    let output = cargo.output().expect("cargo runs");
    let mut places = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap();
        let message = &message["message"];
        let Some(code) = message["code"]["code"].as_str().filter(|_| message["level"] == "error") else { continue };
        assert_eq!(code, "E0004", "{}", message["rendered"].as_str().unwrap_or_default());
        *places.entry(message["spans"][0]["file_name"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!(!places.is_empty(), "nothing was asked:\n{}", String::from_utf8_lossy(&output.stderr));
    places
}

#[test]
fn the_compiler_asks_for_a_newcomer_in_two_places() {
    let copied = Path::new(env!("CARGO_TARGET_TMPDIR")).join("newcomer");
    fs::create_dir_all(&copied).unwrap();
    copy(&root().join("crates"), &copied.join("crates"));
    copy(&root().join("Cargo.lock"), &copied.join("Cargo.lock"));
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, rest) = manifest.split_once("# `cargo run`").expect("the members come before the default ones");
    write(&copied.join("Cargo.toml"), format!("[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n#{rest}").as_bytes());

    let library = copied.join("crates/arch/src/lib.rs");
    let source = fs::read_to_string(&library).unwrap();
    let newcomer = source.replacen("    Hppa,\n}", "    Hppa,\n    /// Another.\n    Newcomer,\n}", 1);
    assert_ne!(newcomer, source);
    write(&library, newcomer.as_bytes());
    assert_eq!(asked(&copied, &["congruent-arch"]), [("crates/arch/src/lib.rs".to_owned(), 1)].into());

    write(&library, newcomer.replace("Self::Hppa =>", "Self::Hppa | Self::Newcomer =>").as_bytes());
    assert_eq!(asked(&copied, &USERS), [("crates/qemu/src/cpu/mod.rs".to_owned(), 1)].into());

    let told = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let told: String = told.split_whitespace().collect::<Vec<_>>().join(" ");
    let says = "The compiler asks for it in `crates/arch/src/lib.rs` and in `crates/qemu/src/cpu/mod.rs`, and nowhere else";
    assert!(told.contains(says), "ARCHITECTURE.md should say: {says}");
}

/// The code of a file, without its tests, which come last.
fn code(file: &Path) -> String {
    let source = fs::read_to_string(file).unwrap();
    source.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            sources(&path, found);
        } else if path.file_stem().is_some_and(|name| name == "tests") {
            // Their fixtures come from somewhere.
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn nobody_else_spells_out_qemus_name_of_an_architecture() {
    let mut files = Vec::new();
    for crate_ in fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path()) {
        if crate_.file_name().is_some_and(|name| name != "arch") {
            sources(&crate_.join("src"), &mut files);
        }
    }
    assert!(files.len() > 200, "{}", files.len());
    let spelt = |file: &PathBuf| {
        // What rustc calls the machine that is compiled for is another matter.
        let code = code(file).replace("target_arch = \"", "");
        congruent_arch::Arch::ALL.iter().any(|arch| code.contains(&format!("\"{}\"", arch.facts().name)))
    };
    let spelling: Vec<_> = files.iter().filter(|file| spelt(file)).collect();
    // The simulator knows cores by the names of their caches.
    let allowed = root().join("crates/cli/src/simulate/options.rs");
    assert!(spelling.iter().all(|file| **file == allowed), "{spelling:?}");
}
