//! A private apt root: package lists of one suite and architecture in a directory of our own.
//!
//! It starts from an empty package status, so that a download brings every dependency, whatever the machine has installed. Nothing
//! outside its directory is written. Packages are verified by apt with the machine's Debian keyring.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::sources::Mirror;
use crate::run;

/// Package lists of one suite and architecture.
pub struct AptRoot {
    dir: PathBuf,
    label: String,
}

impl AptRoot {
    /// Fetches the package lists into `dir`, which it creates.
    ///
    /// # Errors
    /// If the directory cannot be written or the lists cannot be fetched.
    pub fn fetch(dir: &Path, mirror: &Mirror, suite: &str, arch: &str) -> Result<Self> {
        let parts = ["etc/apt/preferences.d", "etc/apt/apt.conf.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d"];
        for part in parts.iter().chain(&["state/lists/partial", "cache/archives/partial", "dpkg", "log"]) {
            fs::create_dir_all(dir.join(part)).with_context(|| format!("cannot create {}", dir.join(part).display()))?;
        }
        let Mirror { uri, keyring } = mirror;
        fs::write(dir.join("dpkg/status"), "")?;
        fs::write(dir.join("etc/apt/sources.list"), format!("deb [signed-by={keyring}] {uri} {suite} main\n"))?;
        fs::write(dir.join("apt.conf"), configuration(dir, arch)?)?;
        let root = Self { dir: dir.to_path_buf(), label: format!("{suite}/{arch}") };
        root.apt_get(&["update"])?;
        Ok(root)
    }

    /// Downloads packages with all that they depend on.
    ///
    /// # Errors
    /// If a package does not exist or cannot be fetched.
    pub fn download_with_dependencies(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        self.apt_get(&[&["install", "--yes", "--download-only"], packages].concat())?;
        self.archives()
    }

    /// Downloads just these packages.
    ///
    /// # Errors
    /// If a package does not exist or cannot be fetched.
    pub fn download(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        self.apt_get(&[&["download"], packages].concat())?;
        self.archives()
    }

    /// The first package that `package` depends on whose name begins with `prefix`: what a package without contents stands for.
    ///
    /// # Errors
    /// If there is no such package.
    pub fn dependency(&self, package: &str, prefix: &str) -> Result<String> {
        let listing = run::quietly(self.command("apt-cache").args(["depends", package]))?;
        let names = listing.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        match names.map(str::trim).find(|name| name.starts_with(prefix)) {
            Some(name) => Ok(name.to_owned()),
            None => bail!("{}: {package} depends on no {prefix}*", self.label),
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.dir.join("apt.conf")).env("LC_ALL", "C").current_dir(self.dir.join("cache/archives"));
        command
    }

    fn apt_get(&self, words: &[&str]) -> Result<()> {
        run::quietly(self.command("apt-get").args(["--quiet", "--quiet"]).args(words))
            .with_context(|| format!("fetching from Debian's {}: is the network up, is the suite on the mirror?", self.label))?;
        Ok(())
    }

    fn archives(&self) -> Result<Vec<PathBuf>> {
        let mut debs = Vec::new();
        for entry in fs::read_dir(self.dir.join("cache/archives"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                debs.push(path);
            }
        }
        debs.sort();
        Ok(debs)
    }
}

/// The configuration that confines apt to `dir`. The machine's hooks stay out of it; its proxies are taken over.
fn configuration(dir: &Path, arch: &str) -> Result<String> {
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
         Dir::Log \"{at}/log\";\n\
         APT::Architecture \"{arch}\";\n\
         APT::Architectures {{ \"{arch}\"; }};\n\
         APT::Install-Recommends \"false\";\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         Acquire::Check-Valid-Until \"false\";\n"
    );
    let machine = run::quietly(Command::new("apt-config").arg("dump"))?;
    for line in machine.lines().filter(|line| line.starts_with("Acquire::http")) {
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}
