//! What tests need and the repository does not hold (emulators, compilers, kernels, guests), kept outside the checkout.
//!
//! Every thing is an *entry*, made from a [`Recipe`] and called after it, so checkouts with the same recipes share it, and a second
//! clone fetches and builds nothing. An entry appears by a rename when it is finished, is checked against its list of files
//! whenever it is asked for, and is made again if it is not whole. A checkout finds its entries through links in `target/guests`.
//!
//! Several checkouts and several runs may use it at once: whoever makes an entry holds its lock, the others wait for it.

mod entry;
mod manifest;
mod recipe;
mod shelf;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

pub use recipe::Recipe;
pub use shelf::{list, prune, verify};

use crate::place;

/// The variable that names the cache's directory.
const VARIABLE: &str = "CONGRUENT_CACHE";

/// The cache, as one checkout sees it.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    links: PathBuf,
}

impl Cache {
    /// The cache of this user and the links of this checkout.
    ///
    /// # Errors
    /// If nothing says where it is to be.
    pub fn open() -> Result<Self> {
        let root = root(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))?;
        Ok(Self { root: std::path::absolute(root)?, links: place::guests() })
    }

    /// A directory for what this process needs while something is made. Whoever asks for it removes it; those of processes that could not
    /// are removed here.
    ///
    /// # Errors
    /// If one of them cannot be removed.
    pub fn scratch(&self, name: &str) -> Result<PathBuf> {
        shelf::sweep(self)?;
        Ok(self.root.join("scratch").join(format!("{name}-{}", std::process::id())))
    }

    fn entry(&self, name: &str) -> PathBuf {
        self.root.join("entries").join(name)
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.root.join("partial").join(name)
    }

    fn lock_file(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(name)
    }
}

/// Where the cache is: what the variable says, else where the XDG Base Directory Specification (section 3) puts caches.
fn root(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    if let Some(named) = variable(VARIABLE) {
        return Ok(named);
    }
    // By the specification, a relative path there is to be ignored.
    if let Some(caches) = variable("XDG_CACHE_HOME").filter(|path| path.is_absolute()) {
        return Ok(caches.join("congruent"));
    }
    let home =
        variable("HOME").with_context(|| format!("there is no HOME to keep guests in: say where with {VARIABLE}=DIRECTORY"))?;
    ensure!(home.is_absolute(), "HOME is no absolute path: say where guests are kept with {VARIABLE}=DIRECTORY");
    Ok(home.join(".cache/congruent"))
}

/// How much stands under `path`, in bytes.
fn size(path: &Path) -> u64 {
    let entries = walkdir::WalkDir::new(path).into_iter().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_of(variables: &[(&str, &str)]) -> Result<PathBuf> {
        root(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value)))
    }

    #[test]
    fn the_variable_comes_first_then_the_users_caches_then_the_home() {
        let all = [("CONGRUENT_CACHE", "/a b/c"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(root_of(&all).unwrap(), Path::new("/a b/c"));
        assert_eq!(root_of(&all[1..]).unwrap(), Path::new("/x/congruent"));
        assert_eq!(root_of(&all[2..]).unwrap(), Path::new("/h/.cache/congruent"));
        assert_eq!(root_of(&[("XDG_CACHE_HOME", "x"), ("HOME", "/h")]).unwrap(), Path::new("/h/.cache/congruent"));
    }

    #[test]
    fn without_a_home_the_remedy_is_said() {
        assert!(root_of(&[]).unwrap_err().to_string().contains(VARIABLE));
    }
}
