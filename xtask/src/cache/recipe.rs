//! What something in the cache is made from, as text: the inputs, named or hashed. The text's hash is a part of the entry's name.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::Cache;

/// What one file or directory of the cache is made from.
#[derive(Clone, Debug)]
pub struct Recipe {
    name: String,
    text: String,
}

impl Recipe {
    /// The recipe of what this checkout finds as `target/guests/<name>`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { text: format!("{name}\n"), name }
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
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(self.input(format!("{name} {}", hash(&bytes))))
    }

    /// Adds an input by what it was made from.
    pub fn made_from(self, other: &Self) -> Self {
        self.input(format!("{} {}", other.name, hash(other.text.as_bytes())))
    }

    /// Makes the thing unless it is there, and returns where. `make` gets the path it must create, a file or a directory.
    ///
    /// # Errors
    /// If making fails.
    pub fn ensure(&self, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        Cache::open()?.ensure(self, make)
    }

    /// Where it is, if it is there and whole.
    ///
    /// # Errors
    /// If the cache cannot be used.
    pub fn find(&self) -> Result<Option<PathBuf>> {
        Cache::open()?.find(self)
    }

    /// The name under which this checkout finds it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The name of its entry: no two recipes share one.
    pub(super) fn entry_name(&self) -> String {
        format!("{}-{}", self.name.replace('/', "-"), &hash(self.text.as_bytes())[..16])
    }

    /// The last part of its name, which is what the file or directory is called.
    pub(super) fn file_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }
}

/// SHA-256, in hexadecimal digits: the same whatever compiles this program.
pub fn hash(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_entry_changes_with_every_input_and_with_nothing_else() {
        let recipe = || Recipe::new("mips/kernel").input("bookworm");
        assert_eq!(recipe().entry_name(), recipe().entry_name());
        assert_ne!(recipe().entry_name(), recipe().input("").entry_name());
        assert_ne!(recipe().entry_name(), Recipe::new("mips/kernel").input("trixie").entry_name());
        assert_ne!(recipe().entry_name(), Recipe::new("mips").input("kernel bookworm").entry_name());
        assert!(recipe().entry_name().starts_with("mips-kernel-"));
    }

    #[test]
    fn the_hash_is_that_of_the_standard() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
