//! The guest's file system: `/init`, the programs, and busybox where Debian has one.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::cpio::Cpio;
use super::machine::Guest;
use super::programs::{self, SCRIPTS};
use crate::cache::Recipe;
use crate::place;

/// Writes `target/guests/<guest>/initramfs.cpio`.
///
/// # Errors
/// If an input cannot be read.
pub fn build(guest: Guest, kernel: &Path, shell: Option<&Path>, programs: &Path) -> Result<()> {
    let sources = place::guest_sources();
    let mut files: Vec<_> = programs::of(guest).map(|(_, name)| (programs.join(name), format!("programs/{name}"))).collect();
    files.extend(programs::libraries(guest).iter().map(|name| (programs.join(name), format!("lib/{name}"))));
    if let Some(shell) = shell {
        files.extend([(shell.join("busybox"), "bin/busybox".to_owned()), (sources.join("init.sh"), "init".to_owned())]);
        let script = |name: &&str| (sources.join("programs").join(format!("{name}.sh")), format!("programs/{name}"));
        files.extend(SCRIPTS.iter().map(script));
    } else {
        files.push((programs.join("init"), "init".to_owned()));
    }

    // A kernel that was built has none.
    if let Ok(modules) = fs::read_dir(kernel.join("modules")) {
        for module in modules {
            let module = module?;
            files.push((module.path(), format!("modules/{}", module.file_name().to_string_lossy())));
        }
    }

    let mut recipe = Recipe::new(guest.machine().of("initramfs.cpio")).input(programs::every());
    for (file, path) in &files {
        recipe = recipe.input(path).file(file)?;
    }
    recipe.ensure(|archive| {
        let mut cpio = Cpio::new();
        for directory in ["bin", "dev", "lib", "modules", "programs"] {
            cpio.directory(directory);
        }
        // The kernel opens the first process's console before anything can be mounted.
        cpio.character_device("dev/console", 5, 1);
        cpio.character_device("dev/null", 1, 3);
        cpio.character_device("dev/zero", 1, 5);
        for (file, path) in &files {
            cpio.program(path, &fs::read(file)?);
        }
        cpio.program("programs/every", programs::every().as_bytes());
        Ok(fs::write(archive, cpio.finish())?)
    })?;
    Ok(())
}
