//! What is kept under `target/guests` is made from a recipe, and made again only when the recipe changes.
//!
//! A recipe is text: the inputs, named or hashed. It is stored beside what was made; equal text means up to date. Making happens under
//! another name and ends with a rename, so an interrupted run leaves nothing that looks finished.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::place;

/// What one file or directory under `target/guests` is made from.
#[derive(Clone, Debug)]
pub struct Recipe {
    name: String,
    text: String,
}

impl Recipe {
    /// The recipe of `target/guests/<name>`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), text: String::new() }
    }

    /// Adds an input by its description.
    pub fn input(mut self, description: impl AsRef<str>) -> Self {
        self.text.push_str(description.as_ref());
        self.text.push('\n');
        self
    }

    /// Adds an input by the contents of a file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn file(self, path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut hash = DefaultHasher::new();
        hash.write(&bytes);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(self.input(format!("{name} {:016x}", hash.finish())))
    }

    /// Makes the thing unless it is there and made from this recipe. `make` gets the path it must create, a file or a directory.
    ///
    /// # Errors
    /// If making fails.
    pub fn ensure(&self, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let done = place::guests().join(&self.name);
        let stamp = beside(&done, ".recipe");
        if done.exists() && fs::read_to_string(&stamp).is_ok_and(|text| text == self.text) {
            return Ok(done);
        }
        let start = Instant::now();
        eprintln!("  {} …", self.name);
        let partial = beside(&done, ".partial");
        for old in [&done, &stamp, &partial] {
            remove(old)?;
        }
        fs::create_dir_all(done.parent().expect("a place below target/guests"))?;
        make(&partial).with_context(|| format!("making target/guests/{}", self.name))?;
        fs::rename(&partial, &done).with_context(|| format!("cannot rename {}", partial.display()))?;
        fs::write(&stamp, &self.text)?;
        eprintln!("  {} done in {:.1} s", self.name, start.elapsed().as_secs_f64());
        Ok(done)
    }
}

/// A sibling of `path`, hidden, so that it is not taken for a part of the guest.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{suffix}"))
}

fn remove(path: &Path) -> Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(what) if what.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    gone.with_context(|| format!("cannot remove {}", path.display()))
}
