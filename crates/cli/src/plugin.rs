//! Where the QEMU plugin is.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The plugin's file name.
pub(crate) const FILE_NAME: &str = "libcongruent_qemu.so";

/// The variable that names the plugin where it does not lie beside the program.
pub(crate) const VARIABLE: &str = "CONGRUENT_PLUGIN";

/// Where packages have it: in `lib/congruent` beside the `bin` that the program is in.
fn installed(program: &Path) -> Option<PathBuf> {
    let bin = program.parent().filter(|directory| directory.ends_with("bin"))?;
    Some(bin.parent()?.join("lib/congruent").join(FILE_NAME))
}

/// Finds the plugin: the one asked for, else the one the environment names, else the one that was installed with this program or lies beside it.
///
/// What was asked for explicitly is never replaced by another that happens to be there.
pub(crate) fn find(asked: Option<&Path>) -> anyhow::Result<PathBuf> {
    let (path, by) = if let Some(path) = asked {
        (path.to_owned(), "--plugin")
    } else if let Some(path) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        (PathBuf::from(path), VARIABLE)
    } else {
        let program = std::env::current_exe().context("cannot find out where this program is; give --plugin FILE")?;
        let beside = program.with_file_name(FILE_NAME);
        let Some(path) = installed(&program).into_iter().chain([beside.clone()]).find(|path| path.is_file()) else {
            bail!(
                "no QEMU plugin at `{}`; build it with `cargo build -p congruent-qemu`, or give --plugin FILE",
                beside.display()
            );
        };
        return Ok(path);
    };
    if !path.is_file() {
        bail!(
            "no QEMU plugin at `{}`, which {by} names; correct it, or leave it out to use the one beside congruent",
            path.display()
        );
    }
    // QEMU's dlopen looks a name without a slash up elsewhere.
    std::path::absolute(&path).with_context(|| format!("cannot make `{}` an absolute path", path.display()))
}
