//! One guest under the judge on a machine that is not ours: another user, without rights, whose home has a space in its path, beside an
//! installed QEMU of another build whose modules lie where the fetched one would look for them.
//!
//! The user's cache begins as a copy of this one, so that nothing is fetched twice; that a second checkout fetches and builds nothing is
//! tested by the way. Without root there is no other user to become and nothing to mount: then this user has no rights, and what the
//! environment can do is tried alone.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

use crate::apt::host::host_triplet;
use crate::guests::emulator::Qemu;
use crate::guests::machine::Guest;
use crate::guests::modules;
use crate::{place, run};

/// The row of the table that is run. It has a finding, so that a report which says nothing is seen.
const ROW: &str = "mips-vm-writev";

/// A device that Debian's QEMU has in a module, asked what it can do.
const MODULAR: &str = "virtio-gpu-pci,help";

/// Whose rights are taken: Debian's `nobody` and `nogroup`.
const NOBODY: [&str; 4] = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];

/// Runs the guest there, and says as whom.
///
/// # Errors
/// If anything is fetched or built, or the verdict is not the one of the table.
pub fn perform() -> Result<String> {
    let home = tempfile::Builder::new().prefix("congruent-").tempdir()?;
    let stranger = Stranger::new(&home.path().join("a home"))?;
    if stranger.is_root {
        run::quietly(Command::new("chown").args(["-R", "65534:65534"]).arg(home.path()))?;
    }
    let made = stranger.xtask(&["guests", "--guest", "mips"])?;
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    ensure!(made.status.success(), "with a copy of the cache: {said}");
    ensure!(said.trim().is_empty(), "a second checkout made something again: {said}");

    // A device that comes from a module: an emulator that finds foreign ones does not know it, or aborts.
    let emulator = stranger.home.join("congruent/target/guests").join(Qemu::V10_0.tree(Guest::Mips.machine().system));
    let emulator = emulator.join("bin").join(Guest::Mips.machine().system);
    let device = stranger.output(&emulator.to_string_lossy(), &["-M", "malta", "-device", MODULAR, "-nographic"])?;
    let said = String::from_utf8_lossy(&device.stdout).into_owned() + &String::from_utf8_lossy(&device.stderr);
    ensure!(
        device.status.success() && said.contains("max_outputs"),
        "the emulator does not load its own modules: {}",
        last(&said)
    );

    let line = stranger.xtask(&["e2e", "--only", ROW, "--print"])?;
    let line = String::from_utf8(line.stdout).context("a command line is not text")?;
    let line = line.lines().find(|line| line.contains("vm_writev") && !line.contains("congruent.run=vm_writev:congruent"));
    let checked = stranger.output("sh", &["-c", line.context("the table has no such row")?])?;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    ensure!(checked.status.code() == Some(1), "{ROW} ended with {}: {}", checked.status, last(&said));
    ensure!(said.contains("child_reads_buffer"), "{ROW} does not name the reader: {}", last(&said));
    Ok(if stranger.is_root { "as nobody, foreign modules mounted" } else { "as this user, foreign modules named" }.to_owned())
}

/// The last lines of what was said.
fn last(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

/// The other user.
struct Stranger {
    home: PathBuf,
    /// A directory of modules that abort whichever QEMU loads them.
    poison: PathBuf,
    is_root: bool,
    /// Where an installed QEMU has its modules.
    installed: PathBuf,
    /// Whether that directory is there for this test alone.
    only_here: bool,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if self.only_here {
            let _ = fs::remove_dir(&self.installed);
        }
    }
}

impl Stranger {
    /// Gives it a checkout, a copy of what the guest needs from the cache, and the modules of another QEMU.
    fn new(home: &Path) -> Result<Self> {
        let checkout = home.join("congruent");
        for directory in [checkout.join("xtask"), checkout.join("target/release"), home.join(".cache/congruent/entries")] {
            fs::create_dir_all(directory)?;
        }
        copy(&place::guest_sources(), &checkout)?;
        copy(&env::current_exe()?, &checkout.join("target"))?;
        for built in ["congruent", "libcongruent_qemu.so"] {
            copy(&place::release().join(built), &checkout.join("target/release"))?;
        }
        let machine = Guest::Mips.machine();
        let tree = Qemu::V10_0.tree(machine.system);
        let of_guest = ["kernel", "shell", "programs", "initramfs.cpio", "kallsyms"].map(|name| machine.of(name));
        let bare = fs::read_dir(place::guests().join("bare"))?;
        let bare = bare.map(|entry| Ok(format!("bare/{}", entry?.file_name().to_string_lossy()))).collect::<Result<Vec<_>>>()?;
        let others = [tree, format!("cross-{}", machine.target), "disk".to_owned(), "page".to_owned()];
        for name in others.into_iter().chain(of_guest).chain(bare) {
            let made = fs::read_link(place::guests().join(&name)).with_context(|| format!("no {name} in the cache"))?;
            let entry = made.ancestors().nth(2).context("an entry has a directory")?;
            copy(entry, &home.join(".cache/congruent/entries"))?;
        }
        let poison = home.join("foreign modules");
        foreign_modules(&poison)?;
        let is_root = run::quietly(Command::new("id").arg("-u"))?.trim() == "0";
        let installed = Path::new("/usr/lib").join(host_triplet()?).join("qemu");
        let only_here = is_root && !installed.exists();
        if only_here {
            fs::create_dir(&installed)?;
        }
        Ok(Self { home: home.to_path_buf(), poison, is_root, installed, only_here })
    }

    /// Its `cargo xtask`.
    fn xtask(&self, words: &[&str]) -> Result<Output> {
        self.output(&self.home.join("congruent/target/xtask").to_string_lossy(), words)
    }

    /// Runs a program as it would.
    fn output(&self, program: &str, words: &[&str]) -> Result<Output> {
        let mut command = if self.is_root {
            // In a mount namespace of its own, so that the machine's directory is not touched.
            let script = "mount --bind \"$1\" \"$2\" || exit 9; shift 2; \"$@\"";
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", script, "sh"]).arg(&self.poison).arg(&self.installed);
            command.arg("setpriv").args(NOBODY).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(words).env_clear().current_dir(&self.home).stdin(Stdio::null());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", &self.home).env("LC_ALL", "C");
        command.env("CARGO_MANIFEST_DIR", self.home.join("congruent/xtask"));
        for variable in ["QEMU_MODULE_DIR", "LD_LIBRARY_PATH"] {
            command.env(variable, &self.poison);
        }
        command.output().with_context(|| format!("cannot start {program}"))
    }
}

/// Modules as another build of QEMU has them: they load, and lack the mark of this one's build. There is one under every name that the
/// fetched one could ask for, whether it has that module or not.
fn foreign_modules(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let first = directory.join("foreign");
    // As a module does, it says that it is there before it is looked at.
    modules::compile(
        "void register_dso_module_init(void (*)(void), int) __attribute__((weak));\n\
         static void nothing(void) {}\n\
         __attribute__((constructor)) static void start(void) { if (register_dso_module_init) register_dso_module_init(nothing, 3); }\n",
        &first,
    )?;
    let system = Guest::Mips.machine().system;
    let program = fs::read(place::guests().join(Qemu::V10_0.tree(system)).join("usr/bin").join(system))?;
    let names = modules::names(&program);
    ensure!(names.contains("ui-opengl"), "the fetched QEMU asks for no modules, so nothing is tried here");
    for name in names {
        fs::hard_link(&first, directory.join(format!("{name}.so")))?;
    }
    Ok(())
}

/// Copies a file or a directory, with its rights and dates, into a directory.
fn copy(from: &Path, into: &Path) -> Result<()> {
    run::quietly(Command::new("cp").args(["-a", "--reflink=auto"]).arg(from).arg(into)).map(drop)
}
