//! Which Debian packages the guests, emulators and compilers come from, and how each is laid out under `target/guests`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::machine::{Guest, MISCELLANEOUS, Qemu};
use super::recipe::Recipe;
use crate::apt::root::AptRoot;
use crate::apt::sources;
use crate::apt::tree::Tree;
use crate::place;

/// Debian's name of the machine this runs on.
///
/// # Errors
/// If there are no packages for it.
pub fn host_arch() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no emulator packages are known for a {other} machine: x86_64 or aarch64 is needed"),
    }
}

/// Runs `work` with a fresh apt root, which is removed afterwards: it is a download aid, not a cache.
///
/// # Errors
/// If the package lists cannot be fetched, or `work` fails.
pub fn with_apt<T>(name: &str, suite: &str, arch: &str, work: impl FnOnce(&AptRoot) -> Result<T>) -> Result<T> {
    let dir = place::guests().join("apt").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    let root = AptRoot::fetch(&dir, &sources::debian_mirror()?, suite, arch)?;
    let result = work(&root)?;
    fs::remove_dir_all(&dir)?;
    Ok(result)
}

/// The emulator: a tree with `bin/qemu-system-{mips,mipsel,arm}`.
///
/// # Errors
/// If its packages cannot be fetched or are not laid out as expected.
pub fn qemu(qemu: Qemu) -> Result<PathBuf> {
    let (name, suite, arch) = (qemu.directory(), qemu.suite(), host_arch()?);
    let recipe = Recipe::new(name).input(format!("{suite} {arch} qemu-system-mips qemu-system-arm, layout 1"));
    recipe.ensure(|dir| {
        let tree = with_apt(name, suite, arch, |apt| {
            Tree::unpack(dir, &apt.download_with_dependencies(&["qemu-system-mips", "qemu-system-arm"])?)
        })?;
        for system in ["mips", "mipsel", "arm"] {
            let program = format!("qemu-system-{system}");
            let data = "-L \"$tree/usr/share/qemu\" -L \"$tree/usr/share/seabios\" -L \"$tree/usr/lib/ipxe/qemu\"";
            tree.wrap(&dir.join("bin").join(&program), Path::new(&format!("usr/bin/{program}")), data)?;
        }
        Ok(())
    })
}

/// The emulators of rarer architectures: a tree with one script for each of [`MISCELLANEOUS`].
///
/// # Errors
/// As [`qemu`].
pub fn miscellaneous_qemu(qemu: Qemu) -> Result<PathBuf> {
    let (name, suite, arch) = (format!("{}-misc", qemu.directory()), qemu.suite(), host_arch()?);
    let recipe = Recipe::new(&name).input(format!("{suite} {arch} qemu-system-misc {}, layout 1", MISCELLANEOUS.join(" ")));
    recipe.ensure(|dir| {
        let tree =
            with_apt(&name, suite, arch, |apt| Tree::unpack(dir, &apt.download_with_dependencies(&["qemu-system-misc"])?))?;
        for system in MISCELLANEOUS {
            tree.wrap(&dir.join("bin").join(system), Path::new(&format!("usr/bin/{system}")), "-L \"$tree/usr/share/qemu\"")?;
        }
        Ok(())
    })
}

/// The cross compilers: a tree with `bin/<target>-gcc` for every guest whose kernel Debian has.
///
/// gcc starts its passes by itself, as programs of the machine; each pass is therefore wrapped as well, in a directory that gcc
/// searches first.
///
/// # Errors
/// If the packages cannot be fetched or are not laid out as expected.
pub fn compilers() -> Result<PathBuf> {
    let (suite, arch) = ("trixie", host_arch()?);
    let packages: Vec<String> = Guest::ALL
        .iter()
        .filter(|guest| guest.is_stock())
        .flat_map(|guest| [format!("gcc-{}", guest.target()), format!("libc6-dev-{}-cross", guest.debian_arch())])
        .collect();
    let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
    let recipe = Recipe::new("cross").input(format!("{suite} {arch} {}, layout 1", packages.join(" ")));
    recipe.ensure(|dir| {
        let tree = with_apt("cross", suite, arch, |apt| Tree::unpack(dir, &apt.download_with_dependencies(&packages)?))?;
        for guest in Guest::ALL.into_iter().filter(|guest| guest.is_stock()) {
            wrap_compiler(&tree, dir, guest.target())?;
        }
        Ok(())
    })
}

/// What builds a guest's kernel and programs where Debian has neither: a tree with the compiler, the tools of binary files, and those
/// that Linux's build generates parsers with.
///
/// # Errors
/// As [`compilers`].
pub fn builder(guest: Guest) -> Result<PathBuf> {
    let (suite, arch, target) = ("trixie", host_arch()?, guest.target());
    let name = format!("cross-{}", guest.directory());
    let (gcc, libc) = (format!("gcc-{target}"), format!("libc6-dev-{}-cross", guest.debian_arch()));
    let packages = [&gcc, &libc, "flex", "bison", "m4"];
    let recipe = Recipe::new(&name).input(format!("{suite} {arch} {}, layout 1", packages.join(" ")));
    recipe.ensure(|dir| {
        let tree = with_apt(&name, suite, arch, |apt| Tree::unpack(dir, &apt.download_with_dependencies(&packages)?))?;
        wrap_compiler(&tree, dir, target)?;
        let tools = ["as", "ld", "ar", "nm", "objcopy", "objdump", "strip", "readelf"].map(|tool| format!("{target}-{tool}"));
        for program in tools.iter().map(String::as_str).chain(["flex", "bison", "m4"]) {
            tree.wrap(&dir.join("bin").join(program), Path::new(&format!("usr/bin/{program}")), "")?;
        }
        Ok(())
    })
}

/// Writes `bin/<target>-gcc`, and a script for each pass.
fn wrap_compiler(tree: &Tree, dir: &Path, target: &str) -> Result<()> {
    let passes = dir.join("passes").join(target);
    for pass in ["cc1", "collect2"] {
        let program =
            tree.file(pass, |name| name.contains(&format!("gcc-cross/{target}/")) && name.ends_with(&format!("/{pass}")))?;
        tree.wrap(&passes.join(pass), &program, "")?;
    }
    for pass in ["as", "ld"] {
        tree.wrap(&passes.join(pass), Path::new(&format!("usr/bin/{target}-{pass}")), "")?;
    }
    let driver = tree.file("gcc", |name| {
        let version = name.strip_prefix(&format!("usr/bin/{target}-gcc-"));
        version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit()))
    })?;
    let search = format!("-B \"$tree/passes/{target}/\" --sysroot=\"$tree\"");
    tree.wrap(&dir.join("bin").join(format!("{target}-gcc")), &driver, &search)
}

/// A stock kernel with its device tree and its modules if it needs any, and busybox: `vmlinuz`, `board.dtb`, `<module>.ko`, `busybox`, and
/// `PACKAGES`, which says from which versions.
///
/// # Errors
/// If the packages cannot be fetched or are not laid out as expected.
pub fn kernel(guest: Guest, image: &str) -> Result<PathBuf> {
    let (suite, arch) = (guest.suite(), guest.debian_arch());
    let name = format!("{}/kernel", guest.directory());
    let mut recipe = Recipe::new(&name).input(format!("{suite} {arch} {image} busybox-static, layout 1"));
    for module in guest.modules() {
        recipe = recipe.input(module);
    }
    recipe.ensure(|dir| {
        let unpacked = dir.join("unpacked");
        let tree = with_apt(guest.directory(), suite, arch, |apt| {
            let image = apt.dependency(image, "linux-image-")?;
            Tree::unpack(&unpacked, &apt.download(&[&image, "busybox-static"])?)
        })?;
        let keep = |file: PathBuf, name: &str| {
            fs::rename(unpacked.join(&file), dir.join(name)).with_context(|| format!("cannot keep {}", file.display()))
        };
        keep(tree.file("kernel", |name| name.starts_with("boot/vmlinu"))?, "vmlinuz")?;
        keep(tree.file("busybox", |name| name.ends_with("bin/busybox"))?, "busybox")?;
        if let Some(dtb) = guest.device_tree() {
            keep(tree.file(dtb, |name| name.ends_with(&format!("/{dtb}")))?, "board.dtb")?;
        }
        for module in guest.modules() {
            let file = format!("{module}.ko");
            keep(tree.file(module, |name| name.ends_with(&format!("/{file}")))?, &file)?;
        }
        keep(PathBuf::from("PACKAGES"), "PACKAGES")?;
        Ok(fs::remove_dir_all(&unpacked)?)
    })
}
