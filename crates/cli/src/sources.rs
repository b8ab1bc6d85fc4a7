//! Source files by the names that debug information has for them, looked up in the directories of `--source`.
//!
//! A compiler records where it ran, which is not where the sources are now: of `/build/linux-6.1/mm/memory.c` every ending is tried,
//! the longest first. Nothing outside the given directories is read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, ensure};

/// The directories, and what was found in them so far.
pub(crate) struct SourceTree {
    directories: Vec<PathBuf>,
    found: RefCell<HashMap<String, Option<String>>>,
}

impl SourceTree {
    /// # Errors
    /// One line, if one of them is no directory.
    pub(crate) fn open(directories: &[PathBuf]) -> anyhow::Result<Self> {
        for directory in directories {
            let shown = directory.display();
            let kind =
                fs::metadata(directory).with_context(|| format!("cannot read the sources in `{shown}`; correct --source"))?;
            ensure!(kind.is_dir(), "`{shown}` is not a directory; give --source the directory that the sources lie under");
        }
        Ok(Self { directories: directories.to_vec(), found: RefCell::default() })
    }

    /// The text of a file; `None` if it is not there or not text.
    pub(crate) fn read(&self, recorded: &str) -> Option<String> {
        let mut found = self.found.borrow_mut();
        found.entry(recorded.to_owned()).or_insert_with(|| self.search(Path::new(recorded))).clone()
    }

    fn search(&self, recorded: &Path) -> Option<String> {
        let mut parts = Vec::new();
        for part in recorded.components() {
            match part {
                Component::Normal(name) => parts.push(name),
                Component::ParentDir => {
                    // At the front there is nothing to leave; such a path is tried by what follows.
                    parts.pop();
                }
                _ => {}
            }
        }
        let endings = (0..parts.len()).map(|start| parts[start..].iter().collect::<PathBuf>());
        endings
            .flat_map(|ending| self.directories.iter().map(move |dir| dir.join(&ending)))
            .find_map(|path| fs::read_to_string(path).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_ending_of_a_recorded_path_wins_and_nothing_outside_is_read() {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        fs::create_dir_all(tree.join("linux/mm")).unwrap();
        fs::write(tree.join("linux/mm/memory.c"), "long").unwrap();
        fs::write(tree.join("memory.c"), "short").unwrap();
        fs::write(place.path().join("secret"), "no").unwrap();
        let sources = SourceTree::open(&[tree]).unwrap();
        for (recorded, expected) in [
            ("/build/linux/mm/memory.c", Some("long")),
            ("/build/linux/./fs/../mm/memory.c", Some("long")),
            ("/elsewhere/memory.c", Some("short")),
            ("memory.c", Some("short")),
            ("../secret", None),
            ("mm", None),
            ("", None),
        ] {
            assert_eq!(sources.read(recorded).as_deref(), expected, "{recorded}");
        }
    }
}
