//! The guests that tests boot: stock kernels, emulators, programs, symbols, found under `target/guests`.
//!
//! First everything is fetched, then everything is built; the first failure ends the run. What is finished by then is in the cache, and
//! the next run goes on from there.

pub mod bare;
pub mod boot;
mod built;
mod busybox;
pub mod compilers;
pub mod console;
mod cpio;
pub mod debian;
mod disk;
pub mod emulator;
mod initramfs;
mod kallsyms;
pub mod kernel;
pub mod machine;
pub mod modules;
mod page;
pub mod programs;
pub mod skeleton;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::work;
use bare::Bare;
use built::{Release, Workshop};
use compilers::Tools;
use debian::Debian;
use emulator::Qemu;
use kernel::{Choice, Kernel};
use machine::Guest;

/// What was fetched for the guests.
struct Fetched {
    kernels: BTreeMap<Guest, Kernel>,
    shells: BTreeMap<Guest, PathBuf>,
    compilers: BTreeMap<&'static str, Tools>,
    /// What kernels are built from and with, if one must be.
    sources: BTreeMap<Release, PathBuf>,
    tools: Option<Tools>,
}

/// Fetches and builds what is missing or out of date of these guests and what runs them. Quick when nothing is.
///
/// # Errors
/// If a package cannot be fetched, a program does not compile, or a guest does not boot.
pub fn prepare(guests: &[Guest], qemus: &[Qemu], choice: Choice) -> Result<()> {
    let fetched = fetch(guests, qemus, choice)?;
    disk::build()?;
    page::build()?;
    for bare in Bare::ALL {
        if let Some(compiler) = fetched.compilers.get(bare.guest().machine().target) {
            bare.build(compiler)?;
        }
    }
    for guest in guests {
        let machine = guest.machine();
        let compiler = fetched.compilers.get(machine.target).context("a compiler was not fetched")?;
        let kernel = match &fetched.kernels[guest] {
            Kernel::Ready(kernel) => kernel.clone(),
            Kernel::ToBuild => {
                let source = fetched.sources.get(&machine.built.release).cloned().context("the kernel source was not fetched")?;
                let tools = fetched.tools.clone().context("what builds kernels was not fetched")?;
                built::build(machine, &Workshop { source, compiler: compiler.clone(), tools })?
            }
        };
        let programs = programs::build(*guest, compiler)?;
        initramfs::build(*guest, &kernel, fetched.shells.get(guest).map(PathBuf::as_path), &programs)?;
        if machine.shell {
            kallsyms::build(*guest, &kernel)?;
        }
    }
    Ok(())
}

/// Fetches all of it, several things at a time: the mirror is the slow part.
fn fetch(guests: &[Guest], qemus: &[Qemu], choice: Choice) -> Result<Fetched> {
    enum Got {
        Emulator,
        Kernel(Guest, Kernel),
        Shell(Guest, PathBuf),
        Compiler(&'static str, Tools),
    }
    let debian = Arc::new(Debian::new()?);
    let mut jobs = work::Jobs::new();
    let mut targets: Vec<_> = guests.iter().map(|guest| guest.machine()).collect();
    // The kernels come first: with them it is known early what must be built.
    for guest in guests.iter().copied() {
        jobs.add(&debian, move |debian| Ok(Got::Kernel(guest, kernel::find(debian, guest, choice)?)));
        if guest.machine().shell {
            jobs.add(&debian, move |debian| Ok(Got::Shell(guest, busybox::fetch(debian, guest.machine())?)));
        }
    }
    // The oldest one always: it asks kernels for their symbols.
    let mut versions = vec![Qemu::V10_0];
    versions.extend(qemus.iter().filter(|qemu| **qemu != Qemu::V10_0));
    // Debian packs several emulators together; one of each pack is asked for.
    let mut trees = BTreeMap::new();
    for (qemu, guest) in versions.iter().flat_map(|qemu| guests.iter().map(move |guest| (*qemu, guest))) {
        let system = guest.machine().system;
        trees.insert(qemu.tree(system), (qemu, system));
    }
    for (qemu, system) in trees.into_values() {
        jobs.add(&debian, move |debian| qemu.fetch(debian, system).map(|_| Got::Emulator));
    }
    targets.sort_unstable_by_key(|machine| machine.target);
    targets.dedup_by_key(|machine| machine.target);
    for machine in targets {
        jobs.add(&debian, move |debian| Ok(Got::Compiler(machine.target, Tools::compiler(debian, machine)?)));
    }
    let mut fetched = Fetched {
        kernels: BTreeMap::new(),
        shells: BTreeMap::new(),
        compilers: BTreeMap::new(),
        sources: BTreeMap::new(),
        tools: None,
    };
    for got in jobs.run()? {
        match got {
            Got::Kernel(guest, kernel) => drop(fetched.kernels.insert(guest, kernel)),
            Got::Shell(guest, shell) => drop(fetched.shells.insert(guest, shell)),
            Got::Compiler(target, tools) => drop(fetched.compilers.insert(target, tools)),
            Got::Emulator => {}
        }
    }

    if fetched.kernels.values().any(|kernel| matches!(kernel, Kernel::ToBuild)) {
        let mut jobs = work::Jobs::new();
        let to_build = fetched.kernels.iter().filter(|(_, kernel)| matches!(kernel, Kernel::ToBuild));
        let releases: BTreeSet<Release> = to_build.map(|(guest, _)| guest.machine().built.release).collect();
        for release in releases {
            jobs.add(&debian, move |debian| built::source(debian, release).map(|source| (Some((release, source)), None)));
        }
        jobs.add(&debian, |debian| Tools::build(debian).map(|tools| (None, Some(tools))));
        let (sources, tools): (Vec<_>, Vec<_>) = jobs.run()?.into_iter().unzip();
        fetched.sources = sources.into_iter().flatten().collect();
        fetched.tools = tools.into_iter().flatten().next();
    }
    Ok(fetched)
}
