//! Linux with the library in it (`linux/`): our files and a few edited lines in a kernel's tree, built like any other kernel.

mod compare;
mod edits;
mod library;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache::Recipe;
use crate::guests::compilers::Tools;
use crate::guests::debian::Debian;
use crate::guests::machine::Guest;
use crate::place;

pub use compare::{next, perform};

/// Makes `tree` the kernel's `source` with the library in it.
///
/// # Errors
/// If the library does not compile, or the source has changed where the library is wired in.
pub fn port(source: &Path, tree: &Path, compiler: &Tools) -> Result<()> {
    wire::wire(source, tree)?;
    library::build(compiler, &tree.join(wire::LIBRARY))
}

/// [`port`] for people who have a kernel's source of their own.
///
/// # Errors
/// As [`port`], and if there is no compiler and none can be fetched.
pub fn wire(source: &Path, tree: &Path) -> Result<()> {
    port(&fs::canonicalize(source)?, tree, &Tools::compiler(&Debian::new()?, Guest::Ported.machine())?)
}

/// Adds what a kernel with the library is made from besides to its recipe.
///
/// # Errors
/// If a file of it cannot be read.
pub fn made_from(mut recipe: Recipe) -> Result<Recipe> {
    let mut files = Vec::new();
    for part in ["linux/glue", "linux/library", "crates/congruent/src", "crates/geometry/src"] {
        collect(&place::root().join(part), &mut files)?;
    }
    files.push(place::root().join("xtask/src/linux/edits.rs"));
    files.sort();
    recipe = recipe.input("with the library, layout 1");
    for file in files {
        recipe = recipe.file(&file)?;
    }
    Ok(recipe)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
