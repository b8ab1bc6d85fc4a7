//! The guests that tests boot: stock kernels, emulators, programs, symbols, all under `target/guests`.

pub mod bare;
mod built;
pub mod console;
mod cpio;
mod disk;
mod initramfs;
mod kallsyms;
pub mod machine;
pub mod packages;
pub mod programs;
pub mod recipe;

use std::fs::{self, File};
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};

use crate::place;
use bare::Bare;
use machine::{Guest, KernelFrom, MISCELLANEOUS, Qemu};

/// Fetches and builds what is missing or out of date of these guests and what runs them. Quick when nothing is.
///
/// # Errors
/// If a package cannot be fetched, a program does not compile, or a guest does not boot.
pub fn prepare(guests: &[Guest], newest_too: bool) -> Result<()> {
    let dir = place::guests();
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let lock = File::create(dir.join(".lock"))?;
    lock.lock().context("cannot lock target/guests")?;

    // Everything that is fetched, at once: the mirror is the slow part.
    let (compilers, made) = thread::scope(|scope| {
        let versions = [Some(Qemu::V10_0), newest_too.then_some(Qemu::V11_1)].into_iter().flatten();
        let rarer = guests.iter().any(|guest| MISCELLANEOUS.contains(&guest.system()));
        let emulators: Vec<_> = versions
            .flat_map(|version| {
                let rarer = rarer.then(|| scope.spawn(move || packages::miscellaneous_qemu(version)));
                [Some(scope.spawn(move || packages::qemu(version))), rarer]
            })
            .flatten()
            .collect();
        let compilers = scope.spawn(packages::compilers);
        let made: Vec<_> = guests.iter().map(|guest| scope.spawn(move || make(*guest))).collect();
        let fetched = emulators.into_iter().map(join).collect::<Result<Vec<_>>>();
        let (compilers, made) = (join(compilers), made.into_iter().map(join).collect::<Vec<_>>());
        fetched?;
        anyhow::Ok((compilers?, made))
    })?;
    disk::build()?;
    for bare in Bare::ALL {
        bare.build(&compilers)?;
    }
    for (guest, made) in guests.iter().copied().zip(made) {
        let (kernel, own_compiler) = made?;
        let programs = programs::build(guest, own_compiler.as_ref().unwrap_or(&compilers))?;
        initramfs::build(guest, &kernel, &programs)?;
        if guest.is_stock() {
            kallsyms::build(guest, &kernel)?;
        }
    }
    Ok(())
}

/// A guest's kernel, and the compiler that it was built with if it was.
fn make(guest: Guest) -> Result<(PathBuf, Option<PathBuf>)> {
    match guest.kernel() {
        KernelFrom::Package(image) => Ok((packages::kernel(guest, image)?, None)),
        KernelFrom::Source(built) => {
            let compiler = packages::builder(guest)?;
            Ok((built::kernel(guest, built, &compiler)?, Some(compiler)))
        }
    }
}

/// What a thread came to.
fn join<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().expect("a fetch does not panic")
}
