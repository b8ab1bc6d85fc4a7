//! Unpacked packages, and programs that run out of them with the tree's own loader and libraries.
//!
//! The machine's C library may be older than the tree's; nothing of the machine is used, and nothing of the tree is installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::host::{host_arch, host_triplet};
use super::root::Fetched;
use crate::run;

/// What would make a program of the tree load, or a compiler of the tree read, what is not in it.
const LEAKS: &str = "LD_PRELOAD LD_LIBRARY_PATH GCC_EXEC_PREFIX COMPILER_PATH LIBRARY_PATH CPATH C_INCLUDE_PATH";

/// A directory into which packages were unpacked.
pub struct Tree {
    dir: PathBuf,
}

impl Tree {
    /// Unpacks packages into `dir`, and leaves a list of them, and of what was passed over, in its file `PACKAGES`.
    ///
    /// # Errors
    /// If a package cannot be unpacked.
    pub fn unpack(dir: &Path, fetched: &Fetched) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let mut names = String::new();
        for deb in &fetched.debs {
            run::quietly(Command::new("dpkg-deb").arg("-x").arg(deb).arg(dir))?;
            names.push_str(&deb.file_name().expect("a package is a file").to_string_lossy());
            names.push('\n');
            // Twice the room would be needed otherwise.
            fs::remove_file(deb)?;
        }
        for over in &fetched.passed_over {
            names.push_str(&format!("# {over}\n"));
        }
        drop_set_id(dir)?;
        fs::write(dir.join("PACKAGES"), names)?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    /// Every file whose path in the tree satisfies `wanted`, in order.
    ///
    /// # Errors
    /// If the tree cannot be read.
    pub fn files(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        walk(&self.dir, &mut |path, kind| {
            let name = path.strip_prefix(&self.dir).expect("a path of the tree").to_string_lossy().into_owned();
            if !kind.is_dir() && wanted(&name) {
                found.push(PathBuf::from(name));
            }
            Ok(())
        })?;
        found.sort();
        Ok(found)
    }

    /// The one file whose path in the tree satisfies `wanted`.
    ///
    /// # Errors
    /// If there is none; the message calls it `what`.
    pub fn file(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
        self.files(wanted)?.into_iter().next().with_context(|| format!("no {what} in the packages of {}", self.dir.display()))
    }

    /// Writes the script `script`, which runs `program` of this tree with the tree's loader and the arguments `before`, then those it is
    /// given. It replaces itself by the program, so signals reach it. `$tree` in `before` and in the `environment` that the program gets
    /// stands for the tree's directory. What the caller's environment says of other programs' libraries and compilers is left out.
    ///
    /// # Errors
    /// If the loader is not in the tree or the script cannot be written.
    pub fn wrap(&self, script: &Path, program: &Path, environment: &[(&str, &str)], before: &str) -> Result<()> {
        let environment: String = environment.iter().map(|(name, value)| format!("export {name}=\"{value}\"\n")).collect();
        self.write_script(script, program, &format!("unset {LEAKS}\n{environment}"), before)
    }

    /// As [`Self::wrap`], for a program that another one of the tree starts, and tells by its environment where things are.
    ///
    /// # Errors
    /// As [`Self::wrap`].
    pub fn wrap_part(&self, script: &Path, program: &Path) -> Result<()> {
        self.write_script(script, program, "", "")
    }

    fn write_script(&self, script: &Path, program: &Path, prelude: &str, before: &str) -> Result<()> {
        let triplet = host_triplet()?;
        let loader = if host_arch()? == "amd64" { "ld-linux-x86-64.so.2" } else { "ld-linux-aarch64.so.1" };
        let loader = self.file("loader", |name| name.ends_with(loader))?;
        let up = "/..".repeat(script.strip_prefix(&self.dir)?.components().count() - 1);
        let (loader, program) = (loader.display(), program.display());
        let text = format!(
            "#!/bin/sh\n\
             tree=${{0%/*}}{up}\n\
             {prelude}\
             exec \"$tree/{loader}\" --library-path \"$tree/usr/lib/{triplet}:$tree/lib/{triplet}\" \
             --argv0 \"$tree/{program}\" \"$tree/{program}\" {before} \"$@\"\n"
        );
        fs::create_dir_all(script.parent().expect("a script lies in the tree"))?;
        fs::write(script, text)?;
        fs::set_permissions(script, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }
}

/// Takes set-uid and set-gid bits off unpacked files: a build directory is no place for them.
fn drop_set_id(dir: &Path) -> Result<()> {
    walk(dir, &mut |path, kind| {
        if kind.is_file() {
            let mode = fs::metadata(path)?.permissions().mode();
            if mode & 0o6000 != 0 {
                fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))?;
            }
        }
        Ok(())
    })
}

fn walk(dir: &Path, visit: &mut dyn FnMut(&Path, fs::FileType) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        visit(&path, kind)?;
        if kind.is_dir() {
            walk(&path, visit)?;
        }
    }
    Ok(())
}
