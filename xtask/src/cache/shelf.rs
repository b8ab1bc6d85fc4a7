//! `cargo xtask cache`: what is in the cache, and how to get rid of it.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

use super::entry::{FILES, MADE, remove};
use super::{Cache, manifest, size};

/// An entry as the list shows it.
struct Shelved {
    name: String,
    bytes: u64,
    /// How long ago it was used.
    unused: Duration,
}

/// Prints every entry, its size and when it was last used.
///
/// # Errors
/// If the cache cannot be read.
pub fn list() -> Result<()> {
    let cache = Cache::open()?;
    let entries = entries(&cache)?;
    println!("{}", cache.root.display());
    for entry in &entries {
        println!("  {:>9}  used {:>3} days ago  {}", megabytes(entry.bytes), entry.unused.as_secs() / 86400, entry.name);
    }
    println!("  {:>9}  in {} entries", megabytes(entries.iter().map(|entry| entry.bytes).sum()), entries.len());
    Ok(())
}

/// Removes the entries that nobody used for so many days, and whatever stopped runs left half done. What is being made stays.
///
/// # Errors
/// If something cannot be removed.
pub fn prune(days: u64) -> Result<()> {
    let cache = Cache::open()?;
    let (mut count, mut bytes) = (0, 0);
    for entry in entries(&cache)?.into_iter().filter(|entry| entry.unused >= Duration::from_secs(days * 86400)) {
        if let Some(_lock) = free(&cache, &entry.name)? {
            remove(&cache.entry(&entry.name))?;
            count += 1;
            bytes += entry.bytes;
        }
    }
    for partial in names(&cache.root.join("partial"))? {
        if let Some(_lock) = free(&cache, &partial)? {
            bytes += size(&cache.partial(&partial));
            remove(&cache.partial(&partial))?;
        }
    }
    bytes += sweep(&cache)?;
    println!("{count} entries removed, {} in all, from {}", megabytes(bytes), cache.root.display());
    Ok(())
}

/// Removes what processes that are gone left behind, and says how much that was.
pub(super) fn sweep(cache: &Cache) -> Result<u64> {
    let mut bytes = 0;
    for scratch in names(&cache.root.join("scratch"))? {
        // Called after the process that needs it.
        let process = scratch.rsplit('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            let path = cache.root.join("scratch").join(&scratch);
            bytes += size(&path);
            // Another run may be sweeping as well.
            remove(&path).or_else(|error| if path.exists() { Err(error) } else { Ok(()) })?;
        }
    }
    Ok(bytes)
}

/// Reads every file of the cache and compares it with its list; removes the entries that are damaged.
///
/// # Errors
/// If one was damaged: it is made again by whoever needs it.
pub fn verify() -> Result<()> {
    let cache = Cache::open()?;
    let (mut whole, mut damaged) = (0, 0);
    for name in names(&cache.root.join("entries"))? {
        let Some(_lock) = free(&cache, &name)? else { continue };
        let entry = cache.entry(&name);
        let list = fs::read_to_string(entry.join(FILES)).unwrap_or_default();
        let wrong = if list.is_empty() { Some(FILES.into()) } else { manifest::damaged(&entry.join(MADE), &list, true) };
        match wrong {
            None => whole += 1,
            Some(file) => {
                damaged += 1;
                println!("{name}: damaged ({}), removed", file.display());
                remove(&entry)?;
            }
        }
    }
    println!("{whole} entries are whole");
    if damaged > 0 {
        bail!("{damaged} entries were damaged: `cargo xtask guests` makes them again");
    }
    Ok(())
}

fn entries(cache: &Cache) -> Result<Vec<Shelved>> {
    let mut entries: Vec<Shelved> = names(&cache.root.join("entries"))?
        .into_iter()
        .map(|name| {
            let entry = cache.entry(&name);
            let used = fs::metadata(entry.join(FILES)).and_then(|list| list.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let unused = SystemTime::now().duration_since(used).unwrap_or_default();
            Shelved { bytes: size(&entry), name, unused }
        })
        .collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.bytes));
    Ok(entries)
}

/// The lock of an entry, if nobody is making it.
fn free(cache: &Cache, name: &str) -> Result<Option<File>> {
    let path = cache.lock_file(name);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot write {}", directory.display()))?;
    }
    let lock =
        File::options().create(true).append(true).open(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(lock.try_lock().is_ok().then_some(lock))
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(directory) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
