//! A private apt root: package lists of some suites and one architecture in a directory of our own.
//!
//! It starts from an empty package status, so that a download brings every dependency, whatever the machine has installed. Nothing
//! outside its directory is written. Packages are verified by apt with the machine's Debian keyring.
//!
//! What the lists name and the mirror does not have is passed over: its version is pinned away, and apt solves again, until all of an
//! answer can be had or there is no answer left.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use super::failure::{self, Failure};
use super::sources::Mirror;
use super::suites::Suites;
use crate::run;

/// Package lists of some suites and one architecture.
pub struct AptRoot {
    dir: PathBuf,
    label: String,
    /// What the mirror lists and does not have, by name and version: for everybody who asks this root.
    passed_over: Mutex<BTreeSet<PassedOver>>,
}

/// A version of a package that could not be had.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PassedOver {
    /// The package.
    pub package: String,
    /// Its version, in full.
    pub version: String,
    /// Why, in a word.
    pub reason: &'static str,
}

/// Packages that were fetched.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Their files.
    pub debs: Vec<PathBuf>,
    /// What is newer, and could not be had.
    pub passed_over: Vec<PassedOver>,
}

/// What to fetch beside the packages that are named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum With {
    /// Everything that they depend on.
    Dependencies,
    /// Nothing.
    Nothing,
}

/// One file of a download, as apt plans it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Planned {
    uri: String,
    file: String,
    package: String,
    version: String,
}

impl AptRoot {
    /// Fetches the package lists into `dir`, which it creates. A suite beside the first that the mirror does not have is passed over.
    ///
    /// # Errors
    /// If the directory cannot be written or the first suite's list cannot be fetched.
    pub fn fetch(dir: &Path, mirror: &Mirror, suites: Suites, arch: &str) -> Result<Self> {
        let parts = ["etc/apt/preferences.d", "etc/apt/apt.conf.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d"];
        for part in parts.iter().chain(&["state/lists/partial", "cache", "dpkg", "log"]) {
            fs::create_dir_all(dir.join(part)).with_context(|| format!("cannot create {}", dir.join(part).display()))?;
        }
        let (base, newest) = (suites[0], suites[suites.len() - 1]);
        fs::write(dir.join("dpkg/status"), "")?;
        fs::write(dir.join("apt.conf"), configuration(dir, arch, newest.ends_with("-backports").then_some(newest))?)?;
        let root = Self { dir: dir.to_path_buf(), label: format!("{base}/{arch}"), passed_over: Mutex::default() };
        for suite in suites {
            let archive = mirror.archive(suite);
            let list = root.dir.join(format!("etc/apt/sources.list.d/{suite}.list"));
            fs::write(&list, format!("deb [signed-by={}] {} {suite} main\n", archive.keyring, archive.uri))?;
            let only = format!("Dir::Etc::sourceparts={}", root.dir.join("etc/apt/none").display());
            let mut update = root.command("apt-get");
            update.args([
                "--quiet",
                "--quiet",
                "update",
                "-o",
                "APT::Update::Error-Mode=any",
                "-o",
                "APT::Get::List-Cleanup=false",
            ]);
            update.args(["-o", &only, "-o"]).arg(format!("Dir::Etc::sourcelist={}", list.display()));
            let output = run::output(&mut update)?;
            if output.status.success() {
                continue;
            }
            let why = match failure::read(&String::from_utf8_lossy(&output.stderr)) {
                Failure::NotThere(files) => files.first().map_or("404", |(_, reason)| reason).to_owned(),
                Failure::Other(line) => without_address(&line),
            };
            ensure!(
                *suite != base,
                "Debian's package list of {suite}/{arch} cannot be had ({why}): is the network up, does the mirror have the suite?"
            );
            eprintln!("  {suite}/{arch}: passed over, its package list cannot be had ({why})");
            fs::remove_file(&list)?;
        }
        Ok(root)
    }

    /// Downloads packages into `into`, the newest versions that can be had; `None` if no version of one of them can.
    ///
    /// # Errors
    /// If the mirror cannot be reached, or the disk is full.
    pub fn download(&self, into: &Path, packages: &[&str], with: With) -> Result<Option<Fetched>> {
        fs::create_dir_all(into.join("partial")).with_context(|| format!("cannot create {}", into.display()))?;
        let asked: &[&str] = match with {
            With::Dependencies => &["install", "--yes", "--download-only"],
            With::Nothing => &["download"],
        };
        loop {
            let passed_over = self.passed_over();
            let plan = self.apt_get(into, &passed_over, &[&["--print-uris"], asked, packages].concat())?;
            let said = String::from_utf8_lossy(&plan.stderr);
            if !plan.status.success() {
                // With nothing passed over, the lists themselves lack it.
                return Ok(None);
            }
            let plan = planned(&String::from_utf8_lossy(&plan.stdout));
            ensure!(!plan.is_empty(), "{}: apt plans nothing for {}: {said}", self.label, packages.join(" "));
            let output = self.apt_get(into, &passed_over, &[asked, packages].concat())?;
            if output.status.success() {
                // Files of plans that could not be carried out may lie there, too.
                let debs = plan.into_iter().map(|planned| into.join(planned.file)).collect();
                return Ok(Some(Fetched { debs, passed_over: passed_over.into_iter().collect() }));
            }
            let said = String::from_utf8_lossy(&output.stderr);
            match failure::read(&said) {
                Failure::Other(line) => {
                    bail!(
                        "fetching {} from Debian's {}: {}: is the network up?",
                        packages.join(" "),
                        self.label,
                        without_address(&line)
                    )
                }
                Failure::NotThere(files) => {
                    // Others may have found out meanwhile, so what counts is that the plan cannot be carried out, not that this is news.
                    let gone: Vec<_> = files
                        .iter()
                        .filter_map(|(uri, reason)| Some((plan.iter().find(|file| file.uri == *uri)?, *reason)))
                        .collect();
                    ensure!(!gone.is_empty(), "fetching {} from Debian's {}: {said}", packages.join(" "), self.label);
                    gone.into_iter().for_each(|(file, reason)| self.pass_over(file, reason));
                }
            }
        }
    }

    /// The packages whose names begin and end so, with something that begins with a digit between; the newest first.
    ///
    /// # Errors
    /// If the lists cannot be read.
    pub fn newest_first(&self, prefix: &str, suffix: &str) -> Result<Vec<String>> {
        let listing = run::quietly(self.command("apt-cache").args(["pkgnames", prefix]))?;
        let mut found = Vec::new();
        for name in listing.lines() {
            let between = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
            if between.is_some_and(|between| between.starts_with(|c: char| c.is_ascii_digit())) {
                let shown = run::quietly(self.command("apt-cache").args(["show", "--no-all-versions", name]))?;
                let version = shown.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap_or_default().to_owned();
                found.push((name.to_owned(), version));
            }
        }
        sort_newest_first(&mut found);
        Ok(found.into_iter().map(|(name, _)| name).collect())
    }

    /// Takes a version out of what apt may choose, and says so, once.
    fn pass_over(&self, file: &Planned, reason: &'static str) {
        let over = PassedOver { package: file.package.clone(), version: file.version.clone(), reason };
        let new = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner).insert(over.clone());
        if new {
            eprintln!("  {}: {over}", self.label);
        }
    }

    fn passed_over(&self) -> BTreeSet<PassedOver> {
        self.passed_over.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = run::bound(program);
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C").current_dir(&self.dir);
        command
    }

    /// Runs apt-get with archives in `into` and without the versions that are passed over.
    fn apt_get(&self, into: &Path, passed_over: &BTreeSet<PassedOver>, words: &[&str]) -> Result<std::process::Output> {
        let preferences = into.join("preferences");
        let pins: String = passed_over
            .iter()
            .map(|over| format!("Package: {}\nPin: version {}\nPin-Priority: -1\n\n", over.package, over.version))
            .collect();
        fs::write(&preferences, pins).with_context(|| format!("cannot write {}", preferences.display()))?;
        let mut command = self.command("apt-get");
        command
            .current_dir(into)
            .args(["--quiet", "--quiet", "-o"])
            .arg(format!("Dir::Etc::preferences={}", preferences.display()));
        command.arg("-o").arg(format!("Dir::Cache::archives={}", into.display()));
        run::output(command.args(words))
    }
}

impl std::fmt::Display for PassedOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "passed over {} {} ({})", self.package, self.version, self.reason)
    }
}

/// The files of a download, as `--print-uris` says: `'uri' package_version_arch.deb size hash`.
fn planned(listing: &str) -> Vec<Planned> {
    listing
        .lines()
        .filter_map(|line| {
            let (uri, rest) = line.strip_prefix('\'')?.split_once("' ")?;
            let file = rest.split(' ').next()?;
            let mut parts = file.split('_');
            let (package, version) = (parts.next()?.to_owned(), parts.next()?.replace("%3a", ":"));
            Some(Planned { uri: uri.to_owned(), file: file.to_owned(), package, version })
        })
        .collect()
}

/// What apt said, without the address of the mirror, which is nobody's business in a log.
fn without_address(line: &str) -> String {
    let words = line.split_whitespace().filter(|word| !word.contains("://") && !word.starts_with("E:"));
    words.collect::<Vec<_>>().join(" ")
}

/// The configuration that confines apt to `dir`. The machine's hooks stay out of it; its proxies are taken over. Several downloads go on at
/// a time, each into a directory of its own, so nothing is locked.
fn configuration(dir: &Path, arch: &str, release: Option<&str>) -> Result<String> {
    let at = dir.display();
    let mut text = format!(
        "Dir::Etc \"{at}/etc/apt/\";\n\
         Dir::Etc::main \"none.conf\";\n\
         Dir::Etc::parts \"{at}/etc/apt/apt.conf.d\";\n\
         Dir::Etc::sourcelist \"{at}/etc/apt/sources.list\";\n\
         Dir::Etc::sourceparts \"{at}/etc/apt/sources.list.d\";\n\
         Dir::State \"{at}/state\";\n\
         Dir::State::status \"{at}/dpkg/status\";\n\
         Dir::Cache \"{at}/cache\";\n\
         Dir::Cache::pkgcache \"\";\n\
         Dir::Cache::srcpkgcache \"\";\n\
         Dir::Log \"{at}/log\";\n\
         APT::Architecture \"{arch}\";\n\
         APT::Architectures {{ \"{arch}\"; }};\n\
         APT::Install-Recommends \"false\";\n\
         APT::Sandbox::User \"root\";\n\
         Debug::NoLocking \"true\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"2\";\n\
         Acquire::http::Timeout \"20\";\n\
         Acquire::https::Timeout \"20\";\n\
         Acquire::Check-Valid-Until \"false\";\n"
    );
    if let Some(release) = release {
        text.push_str(&format!("APT::Default-Release \"{release}\";\n"));
    }
    let machine = run::quietly(Command::new("apt-config").arg("dump"))?;
    for line in machine.lines().filter(|line| line.starts_with("Acquire::http") && !line.contains("Timeout")) {
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}

/// Sorts by the second part, a version, by Debian's rules (deb-version(7)).
fn sort_newest_first(packages: &mut [(String, String)]) {
    packages.sort_by(|(_, left), (_, right)| {
        if is_newer(left, right) {
            std::cmp::Ordering::Less
        } else if is_newer(right, left) {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Equal
        }
    });
}

fn is_newer(version: &str, other: &str) -> bool {
    Command::new("dpkg").args(["--compare-versions", version, "gt", other]).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_each_file_with_its_version_in_full() {
        let listing = "'http://m.example/pool/q/qemu_10.0.13+ds-0+deb13u1_amd64.deb' qemu-system-mips_1%3a10.0.13+ds-0+deb13u1_amd64.deb 11 SHA256:0\n\
                       not a line of a plan\n";
        let expected = Planned {
            uri: "http://m.example/pool/q/qemu_10.0.13+ds-0+deb13u1_amd64.deb".to_owned(),
            file: "qemu-system-mips_1%3a10.0.13+ds-0+deb13u1_amd64.deb".to_owned(),
            package: "qemu-system-mips".to_owned(),
            version: "1:10.0.13+ds-0+deb13u1".to_owned(),
        };
        assert_eq!(planned(listing), [expected]);
    }

    #[test]
    fn versions_are_compared_as_debian_does() {
        let mut packages = ["6.1.9-1", "6.1.176-1", "6.1.176-1~bpo1", "1:5.0"].map(|version| (String::new(), version.to_owned()));
        sort_newest_first(&mut packages);
        assert_eq!(packages.map(|(_, version)| version), ["1:5.0", "6.1.176-1", "6.1.176-1~bpo1", "6.1.9-1"]);
    }

    #[test]
    fn the_mirrors_address_stays_out_of_what_is_said() {
        let line = "E: Failed to fetch http://m.example/x.deb  Could not connect [IP: 192.0.2.1 80]";
        assert_eq!(without_address(line), "Failed to fetch Could not connect [IP: 192.0.2.1 80]");
    }
}
