//! Making an entry, once, however many ask for it at a time, and never leaving half of one.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use super::{Cache, Recipe, manifest};
use crate::progress::Step;

/// The file of an entry that holds its recipe.
pub(super) const RECIPE: &str = "RECIPE";
/// The file of an entry that lists the others; written last, so an entry without it is not whole. Its date is that of the last use.
pub(super) const FILES: &str = "FILES";
/// The directory of an entry that holds what was made.
pub(super) const MADE: &str = "made";

impl Cache {
    /// As [`Recipe::ensure`], here.
    ///
    /// # Errors
    /// If making fails.
    pub fn ensure(&self, recipe: &Recipe, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let name = recipe.entry_name();
        let _lock = self.lock(&name, recipe.name())?;
        if let Some(made) = self.find(recipe)? {
            return Ok(made);
        }
        let step = Step::begin(recipe.name());
        self.make(recipe, &name, make).with_context(|| format!("making {}", recipe.name())).map_err(told)?;
        step.end();
        self.found(recipe)
    }

    /// As [`Recipe::find`], here.
    ///
    /// # Errors
    /// If the checkout cannot be written.
    pub fn find(&self, recipe: &Recipe) -> Result<Option<PathBuf>> {
        is_whole(&self.entry(&recipe.entry_name()), recipe).then(|| self.found(recipe)).transpose()
    }

    fn found(&self, recipe: &Recipe) -> Result<PathBuf> {
        let entry = self.entry(&recipe.entry_name());
        touch(&entry);
        let made = entry.join(MADE).join(recipe.file_name());
        self.link(recipe, &made)?;
        Ok(made)
    }

    /// Takes the lock of an entry; says so if somebody else has it.
    pub(super) fn lock(&self, name: &str, what: &str) -> Result<File> {
        let path = self.lock_file(name);
        let lock = make_directory(path.parent().expect("locks lie in a directory")).and_then(|()| {
            File::options().create(true).append(true).open(&path).with_context(|| format!("cannot write {}", path.display()))
        });
        let lock = lock.context("the cache of guests cannot be written: say where another is with CONGRUENT_CACHE=DIRECTORY")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("  {what}: another run is making it, waiting");
                lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
        Ok(lock)
    }

    fn make(&self, recipe: &Recipe, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let (entry, partial) = (self.entry(name), self.partial(name));
        // What another run left behind when it was stopped: whoever holds the lock is alone here.
        remove(&partial)?;
        let made = partial.join(MADE);
        make_directory(&made)?;
        make(&made.join(recipe.file_name()))?;
        fs::write(partial.join(RECIPE), recipe.text())?;
        fs::write(partial.join(FILES), manifest::write(&made)?)?;
        remove(&entry)?;
        make_directory(entry.parent().expect("entries lie in a directory"))?;
        fs::rename(&partial, &entry).with_context(|| format!("cannot rename {}", partial.display()))
    }

    /// Lets this checkout find an entry under its name. Another run may do the same at the same time.
    fn link(&self, recipe: &Recipe, made: &Path) -> Result<()> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let link = self.links.join(recipe.name());
        if fs::read_link(&link).is_ok_and(|to| to == made) {
            return Ok(());
        }
        let directory = link.parent().expect("links lie in a directory");
        make_directory(directory)?;
        // Earlier versions kept the thing itself here.
        if fs::symlink_metadata(&link).is_ok_and(|found| !found.is_symlink()) {
            remove(&link)?;
        }
        let new = directory.join(format!(".link-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        symlink(made, &new).with_context(|| format!("cannot link {}", new.display()))?;
        fs::rename(&new, &link).with_context(|| format!("cannot link {}", link.display()))
    }
}

/// Whether an entry is there, of this recipe, with all its files. What is there and damaged is told.
fn is_whole(entry: &Path, recipe: &Recipe) -> bool {
    if !entry.exists() {
        return false;
    }
    let list = fs::read_to_string(entry.join(FILES)).unwrap_or_default();
    let same = fs::read_to_string(entry.join(RECIPE)).is_ok_and(|text| text == recipe.text());
    let damaged =
        if list.is_empty() || !same { Some(PathBuf::from(FILES)) } else { manifest::damaged(&entry.join(MADE), &list, false) };
    if let Some(file) = &damaged {
        eprintln!("  {}: damaged in the cache ({}), made again", recipe.name(), file.display());
    }
    damaged.is_none()
}

/// Notes that an entry was used now. Whoever may only read the cache cannot, and need not.
fn touch(entry: &Path) {
    if let Ok(list) = File::options().append(true).open(entry.join(FILES)) {
        let _ = list.set_modified(std::time::SystemTime::now());
    }
}

pub(super) fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}

pub(super) fn remove(path: &Path) -> Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(what) if what.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    gone.with_context(|| format!("cannot remove {}", path.display()))
}

/// An error that a full disk is behind, with the remedy.
fn told(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    if text.contains("No space left on device") || text.contains("not enough free space") || text.contains("Disk quota exceeded")
    {
        return anyhow::anyhow!(
            "{error}: the disk is full; make room (`cargo xtask cache prune`), or say where there is more with CONGRUENT_CACHE=DIRECTORY; \
             what is finished is kept"
        );
    }
    error
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use anyhow::bail;

    use super::*;

    fn cache(dir: &tempfile::TempDir) -> Cache {
        Cache { root: dir.path().join("a cache"), links: dir.path().join("links") }
    }

    fn ensure(cache: &Cache, recipe: &Recipe, made: &AtomicUsize) -> PathBuf {
        let make = |dir: &Path| {
            made.fetch_add(1, Ordering::Relaxed);
            fs::create_dir_all(dir.join("sub"))?;
            fs::write(dir.join("sub/file"), "contents")?;
            Ok(symlink("sub/file", dir.join("link"))?)
        };
        cache.ensure(recipe, make).unwrap()
    }

    #[test]
    fn an_entry_is_made_once_and_found_through_a_link() {
        let (dir, made) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
        let (cache, recipe) = (cache(&dir), Recipe::new("guest/thing").input("1"));
        for _ in 0..3 {
            ensure(&cache, &recipe, &made);
        }
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert_eq!(fs::read_to_string(dir.path().join("links/guest/thing/link")).unwrap(), "contents");
        // A second checkout makes nothing.
        ensure(&Cache { links: dir.path().join("others"), ..cache.clone() }, &recipe, &made);
        assert!(dir.path().join("others/guest/thing/link").exists());
        // Another recipe is another entry, and the first stays.
        ensure(&cache, &Recipe::new("guest/thing").input("2"), &made);
        ensure(&cache, &recipe, &made);
        assert_eq!(made.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn every_kind_of_damage_is_seen_and_mended() {
        let (dir, made) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
        let (cache, recipe) = (cache(&dir), Recipe::new("thing"));
        let thing = ensure(&cache, &recipe, &made);
        let entry = cache.entry(&recipe.entry_name());
        let damages: [(&str, &dyn Fn() -> std::io::Result<()>); 6] = [
            ("a file is gone", &|| fs::remove_file(thing.join("sub/file"))),
            ("a file is short", &|| fs::write(thing.join("sub/file"), "cont")),
            ("a link is gone", &|| fs::remove_file(thing.join("link"))),
            ("all of it is gone", &|| fs::remove_dir_all(&thing)),
            ("the list is gone", &|| fs::remove_file(entry.join(FILES))),
            ("the recipe is another", &|| fs::write(entry.join(RECIPE), "x")),
        ];
        for (count, (what, damage)) in damages.iter().enumerate() {
            damage().unwrap();
            ensure(&cache, &recipe, &made);
            assert_eq!(made.load(Ordering::Relaxed), count + 2, "{what}");
            assert_eq!(fs::read_to_string(thing.join("link")).unwrap(), "contents", "{what}");
        }
    }

    #[test]
    fn contents_are_compared_when_that_is_asked_for() {
        let (dir, made) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
        let (cache, recipe) = (cache(&dir), Recipe::new("thing"));
        let thing = ensure(&cache, &recipe, &made);
        let list = fs::read_to_string(cache.entry(&recipe.entry_name()).join(FILES)).unwrap();
        let root = cache.entry(&recipe.entry_name()).join(MADE);
        assert_eq!(manifest::damaged(&root, &list, true), None);
        fs::write(thing.join("sub/file"), "contentS").unwrap();
        assert_eq!(manifest::damaged(&root, &list, false), None);
        assert_eq!(manifest::damaged(&root, &list, true), Some(PathBuf::from("thing/sub/file")));
    }

    #[test]
    fn what_fails_or_was_left_half_done_is_not_there_and_is_made_anew() {
        let (dir, made) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
        let (cache, recipe) = (cache(&dir), Recipe::new("thing"));
        let error = cache.ensure(&recipe, |path| {
            fs::write(path, "half")?;
            bail!("no compiler")
        });
        assert_eq!(format!("{:#}", error.unwrap_err()), "making thing: no compiler");
        assert_eq!(cache.find(&recipe).unwrap(), None);
        assert!(fs::symlink_metadata(dir.path().join("links/thing")).is_err());
        ensure(&cache, &recipe, &made);
        assert!(cache.find(&recipe).unwrap().is_some());
    }

    #[test]
    fn a_full_disk_is_told_with_the_remedy_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let full = || anyhow::Error::from(std::io::Error::from_raw_os_error(28));
        let error = cache(&dir).ensure(&Recipe::new("thing"), |_| Err(full().context("cannot write x"))).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("the disk is full") && text.contains("CONGRUENT_CACHE") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn many_that_ask_at_once_get_the_same_one() {
        let (dir, made) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
        let recipe = Recipe::new("thing");
        thread::scope(|scope| {
            for checkout in 0..8 {
                let (dir, made, recipe) = (&dir, &made, &recipe);
                scope.spawn(move || {
                    let links = dir.path().join(format!("links-{}", checkout % 3));
                    ensure(&Cache { links, ..cache(dir) }, recipe, made);
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_an_earlier_version_kept_in_the_checkout_gives_way() {
        let (dir, made) = (tempfile::tempdir().unwrap(), AtomicUsize::new(0));
        fs::create_dir_all(dir.path().join("links/thing/old")).unwrap();
        ensure(&cache(&dir), &Recipe::new("thing"), &made);
        assert!(dir.path().join("links/thing/sub/file").exists());
    }
}
