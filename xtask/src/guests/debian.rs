//! Fetching Debian packages for the cache: the newest that can be had, of the suites in which they are looked for.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail};

use crate::apt::root::{AptRoot, Fetched, With};
use crate::apt::sources;
use crate::apt::suites::Suites;
use crate::cache::Cache;

/// What is fetched together.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Suites to look in, in this order: the next ones only if the first have nothing that can be had.
    pub alternatives: &'a [Suites],
    /// For which architecture.
    pub arch: &'a str,
    /// The packages.
    pub packages: &'a [&'a str],
    /// And what else.
    pub with: With,
}

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?} from {:?}", self.arch, self.packages.join(" "), self.with, self.alternatives)
    }
}

/// Package lists as one run of this program needs them: each is fetched once, when somebody asks for it. They are gone with this value.
pub struct Debian {
    scratch: PathBuf,
    roots: Mutex<BTreeMap<(&'static str, String), Root>>,
}

/// One of the lists; whoever is the first to ask fetches it, the others wait.
type Root = Arc<Mutex<Option<Arc<AptRoot>>>>;

impl Debian {
    /// Nothing is fetched yet.
    ///
    /// # Errors
    /// If there is no place for a cache.
    pub fn new() -> Result<Self> {
        Ok(Self { scratch: Cache::open()?.scratch("apt")?, roots: Mutex::default() })
    }

    /// The lists of these suites.
    ///
    /// # Errors
    /// If they cannot be fetched.
    pub fn root(&self, suites: Suites, arch: &str) -> Result<Arc<AptRoot>> {
        let key = (*suites.last().expect("suites are not empty"), arch.to_owned());
        let slot = Arc::clone(self.roots.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default());
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = &*slot {
            return Ok(Arc::clone(root));
        }
        let directory = self.scratch.join(format!("{}-{}", key.0, key.1));
        let root = Arc::new(AptRoot::fetch(&directory, &sources::debian_mirror()?, suites, arch)?);
        Ok(Arc::clone(slot.insert(root)))
    }

    /// Fetches what is wanted, for the thing of this name.
    ///
    /// # Errors
    /// If no version of it can be had.
    pub fn fetch(&self, name: &str, wanted: &Wanted<'_>) -> Result<Fetched> {
        match self.try_fetch(name, wanted)? {
            Some(fetched) => Ok(fetched),
            None => bail!(
                "no version of {} for {} can be had from the mirror (looked in {}): try another mirror, or again tomorrow",
                wanted.packages.join(" "),
                wanted.arch,
                wanted.alternatives.iter().map(|suites| suites[0]).collect::<Vec<_>>().join(", ")
            ),
        }
    }

    /// As [`Self::fetch`]; `None` if no version of it can be had.
    ///
    /// # Errors
    /// If the mirror cannot be reached.
    pub fn try_fetch(&self, name: &str, wanted: &Wanted<'_>) -> Result<Option<Fetched>> {
        let into = self.scratch.join("archives").join(name.replace('/', "-"));
        let mut unreadable = None;
        for suites in wanted.alternatives {
            let root = match self.root(suites, wanted.arch) {
                Ok(root) => root,
                Err(error) if unreadable.is_none() && wanted.alternatives.len() > 1 => {
                    eprintln!("  {name}: {error:#}; looking further");
                    unreadable = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some(fetched) = root.download(&into, wanted.packages, wanted.with)? {
                return Ok(Some(fetched));
            }
        }
        unreadable.map_or(Ok(None), Err)
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        // Gone as well when this is not reached: `cargo xtask cache prune` finds it.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}
