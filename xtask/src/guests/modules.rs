//! The modules of a QEMU that runs out of a tree: its own, and for those that are not in the tree, empty ones.
//!
//! What QEMU does not find in `QEMU_MODULE_DIR` it looks for where it would have been installed, and a module of another build found there
//! ends it (`util/module.c`: an assertion, once a module that was refused has registered itself).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;

/// What a module's file name begins with: the part of QEMU that it belongs to (`modules` in QEMU's `meson.build`).
const PARTS: &[&str] = &["accel", "audio", "backends", "block", "chardev", "hw", "target", "ui"];

/// What the symbol begins with by which QEMU tells modules of its own build (`DSO_STAMP_FUN`).
const STAMP: &[u8] = b"qemu_stamp_";

/// Puts an empty module of the same build into `directory` under every name that `program` may ask for and that is not there.
///
/// # Errors
/// If none of the modules that are there bears the mark of its build, or an empty one cannot be compiled.
pub fn complete(program: &Path, directory: &Path) -> Result<()> {
    let own = fs::read_dir(directory).with_context(|| format!("no modules in {}", directory.display()))?;
    let marked = |entry: fs::DirEntry| stamp(&fs::read(entry.path()).ok()?).map(str::to_owned);
    let stamp = own.flatten().find_map(marked).context("no module bears the mark of its build")?;
    let empty = directory.join("empty");
    compile(&format!("void {stamp}(void) {{}}"), &empty)?;
    for name in names(&fs::read(program)?).iter().filter(|name| PARTS.iter().any(|part| is_of(name, part))) {
        let module = directory.join(format!("{name}.so"));
        if !module.exists() {
            fs::hard_link(&empty, module)?;
        }
    }
    Ok(fs::remove_file(empty)?)
}

/// Compiles a module that needs no library.
///
/// # Errors
/// If that fails.
pub fn compile(text: &str, module: &Path) -> Result<()> {
    let source = tempfile::Builder::new().suffix(".c").tempfile()?;
    fs::write(source.path(), text)?;
    run::quietly(Command::new("cc").args(["-shared", "-fPIC", "-nostdlib", "-o"]).arg(module).arg(source.path())).map(drop)
}

/// Every string of a program that a module could be called by: words in lower case, with dashes between them.
pub fn names(program: &[u8]) -> BTreeSet<&str> {
    let strings = program.split(|&byte| byte == 0).filter_map(|text| str::from_utf8(text).ok());
    strings.filter(|text| text.contains('-') && text.split('-').all(is_word)).collect()
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.+".contains(&byte))
}

fn is_of(name: &str, part: &str) -> bool {
    name.strip_prefix(part).is_some_and(|rest| rest.starts_with('-'))
}

fn stamp(module: &[u8]) -> Option<&str> {
    let from = module.windows(STAMP.len()).position(|window| window == STAMP)?;
    str::from_utf8(module[from..].split(|&byte| byte == 0).next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_known_by_its_name_and_its_build() {
        let program = b"\0ui-opengl\0hw-usb-host\0Hw-usb\0hw_usb\0a -b\0-hw\0block-\0host-arm-cpu\0";
        assert_eq!(names(program).into_iter().collect::<Vec<_>>(), ["host-arm-cpu", "hw-usb-host", "ui-opengl"]);
        assert!(is_of("hw-usb-host", "hw") && !is_of("hwmon-a", "hw"));
        assert_eq!(stamp(b"\0init\0qemu_stamp_a93\0rest\0"), Some("qemu_stamp_a93"));
        assert_eq!(stamp(b"\0init\0"), None);
    }
}
