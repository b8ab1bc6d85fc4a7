//! The list of an entry's files, by which a damaged entry is told from a whole one.
//!
//! Names and lengths are compared each time the entry is asked for; contents when somebody asks for that (`cargo xtask cache verify`),
//! because reading gigabytes takes longer than what the entry is needed for.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

/// One line: what, how long, its hash, and the path within the entry. A link is told by where it leads.
fn line(root: &Path, path: &Path) -> Result<Option<String>> {
    let kind = fs::symlink_metadata(path)?;
    let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
    Ok(if kind.is_symlink() {
        Some(format!("link 0 {} {name}", fs::read_link(path)?.to_string_lossy().replace(' ', "%20")))
    } else if kind.is_file() {
        Some(format!("file {} {} {name}", kind.len(), hash_of(path)?))
    } else {
        None
    })
}

/// The list of everything under `root`, in order.
///
/// # Errors
/// If something cannot be read.
pub fn write(root: &Path) -> Result<String> {
    let mut text = String::new();
    for entry in WalkDir::new(root).sort_by_file_name() {
        if let Some(line) = line(root, entry?.path())? {
            text.push_str(&line);
            text.push('\n');
        }
    }
    Ok(text)
}

/// The first file of the list that is not as the list has it. With `contents`, files are read.
pub fn damaged(root: &Path, list: &str, contents: bool) -> Option<PathBuf> {
    list.lines().find_map(|line| {
        let mut words = line.splitn(4, ' ');
        let (kind, len, mark, name) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let path = root.join(name);
        let right = fs::symlink_metadata(&path).is_ok_and(|found| match kind {
            "link" => found.is_symlink(),
            _ => {
                found.is_file() && len.parse() == Ok(found.len()) && (!contents || hash_of(&path).is_ok_and(|hash| hash == mark))
            }
        });
        (!right).then(|| PathBuf::from(name))
    })
}

fn hash_of(path: &Path) -> Result<String> {
    let mut file = fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hash.update(&buffer[..length]),
        }
    }
    Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}
