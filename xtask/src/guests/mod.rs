//! The guests that tests boot: stock kernels, emulators, programs, symbols, all under `target/guests`.

pub mod bare;
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
use std::thread;

use anyhow::{Context, Result};

use crate::place;
use bare::Bare;
use machine::{Guest, Qemu};

/// Fetches and builds what is missing or out of date. Quick when nothing is.
///
/// # Errors
/// If a package cannot be fetched, a program does not compile, or a guest does not boot.
pub fn prepare(newest_too: bool) -> Result<()> {
    let dir = place::guests();
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let lock = File::create(dir.join(".lock"))?;
    lock.lock().context("cannot lock target/guests")?;

    // Everything that is fetched, at once: the mirror is the slow part.
    let (compilers, kernels) = thread::scope(|scope| {
        let qemu = scope.spawn(|| packages::qemu(Qemu::V10_0));
        let newest = newest_too.then(|| scope.spawn(|| packages::qemu(Qemu::V11_1)));
        let compilers = scope.spawn(packages::compilers);
        let kernels = Guest::ALL.map(|guest| scope.spawn(move || packages::kernel(guest)));
        let join = |thread: thread::ScopedJoinHandle<'_, Result<_>>| thread.join().expect("a fetch does not panic");
        let fetched = [Some(qemu), newest].into_iter().flatten().map(join).collect::<Result<Vec<_>>>();
        let (compilers, kernels) = (join(compilers), kernels.map(join));
        fetched?;
        anyhow::Ok((compilers?, kernels))
    })?;
    disk::build()?;
    for bare in Bare::ALL {
        bare.build(&compilers)?;
    }
    for (guest, kernel) in Guest::ALL.into_iter().zip(kernels) {
        let kernel = kernel?;
        let programs = programs::build(guest, &compilers)?;
        initramfs::build(guest, &kernel, &programs)?;
        kallsyms::build(guest, &kernel)?;
    }
    Ok(())
}
