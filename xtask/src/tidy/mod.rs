//! `cargo xtask tidy`: what is true of the house by custom, held as a test.
//!
//! Files that comments and documents name exist; ARCHITECTURE.md's table is what the manifests say; decisions are numbered, dated by a
//! status and listed; modules that a crate's first comment lists are there; lines and files are not too long;
//! unsafe code stands where it may; modules do not import in circles; public
//! names are used; tests belong to a program.

mod circles;
mod decisions;
mod floors;
mod lines;
mod names;
mod orphans;
mod trust;
mod unused;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::{place, run};

/// One file of the repository.
pub struct File {
    /// Its path from the root.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Looks through the repository.
///
/// # Errors
/// With everything that is not so, a line each.
pub fn perform() -> Result<String> {
    let root = place::root();
    let files = texts(&root)?;
    let wrong: Vec<String> = [
        names::missing(&files, &|path| root.join(path).exists()),
        names::untrue_modules(&files),
        floors::untrue(&files),
        decisions::disorder(&files),
        lines::too_long(&files),
        trust::untrusted(&files),
        circles::circles(&files),
        orphans::orphans(&files),
        unused::unused(&files),
    ]
    .concat();
    ensure!(wrong.is_empty(), "{} things are not in order:\n  {}", wrong.len(), wrong.join("\n  "));
    Ok(format!("{} files", files.len()))
}

/// Every text that is tracked, or new and not ignored.
fn texts(root: &Path) -> Result<Vec<File>> {
    let listing =
        run::quietly(Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root))?;
    let mut files = Vec::new();
    for path in listing.lines() {
        // A binary file has no lines to look at, and a deleted one nothing.
        if let Ok(text) = fs::read_to_string(root.join(PathBuf::from(path))) {
            files.push(File { path: path.to_owned(), text });
        }
    }
    ensure!(files.len() > 100, "git lists only {} texts here: is this a checkout?", files.len());
    Ok(files)
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_document(&self) -> bool {
        self.path.ends_with(".md")
    }
}

#[cfg(test)]
fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}
