//! The kernel of a guest: Debian's package if one can be had, else one built from Debian's source.
//!
//! Releases lose architectures, and indexes name files that are gone. A board whose stock kernel cannot be had any more is not lost with
//! it: its kernel is built with our configuration, as those are that Debian never had.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::built;
use super::debian::{Debian, Wanted};
use super::machine::{Guest, Machine, Stock};
use crate::apt::root::{Fetched, With};
use crate::apt::tree::Tree;
use crate::cache::Recipe;
use crate::place;

/// Where the kernel of a guest comes from.
pub enum Kernel {
    /// It is there: `vmlinuz`, `board.dtb` if the board needs one, `modules/`, and `PACKAGES`, which says from which version.
    Ready(PathBuf),
    /// It has to be built.
    ToBuild,
}

/// Which kernels are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Choice {
    /// Debian's packages where there are any.
    #[default]
    Stock,
    /// Built ones, even where there is a package: what will be when there is none any more.
    Built,
}

/// Finds the kernel of a guest, and fetches it if it is a package.
///
/// # Errors
/// If packages cannot be fetched or are not laid out as expected.
pub fn find(debian: &Debian, guest: Guest, choice: Choice) -> Result<Kernel> {
    let machine = guest.machine();
    let built = built::recipe(machine)?;
    let Some(stock) = machine.stock.filter(|_| choice == Choice::Stock) else {
        return Ok(built.find()?.map_or(Kernel::ToBuild, Kernel::Ready));
    };
    let recipe = recipe(machine, &stock);
    if let Some(ready) = recipe.find()? {
        return Ok(Kernel::Ready(ready));
    }
    // That none could be had is remembered until it is pruned, so that no network is asked again. A kernel that was built for another reason
    // stands for none.
    let lack = lack(machine, &stock);
    if let (Some(_), Some(ready)) = (lack.find()?, built.find()?) {
        return Ok(Kernel::Ready(ready));
    }
    let mut gone = false;
    let ready = recipe.ensure(|dir| match fetch(debian, machine, &stock)? {
        Some(fetched) => keep(dir, &fetched, &stock),
        None => {
            gone = true;
            bail!("no version of it can be had")
        }
    });
    match ready {
        Ok(ready) => Ok(Kernel::Ready(ready)),
        Err(_) if gone => {
            eprintln!("  {}: no stock kernel can be had any more, building one from Debian's source", machine.directory);
            lack.ensure(|note| Ok(fs::write(note, "no version of the package could be had\n")?))?;
            Ok(built.find()?.map_or(Kernel::ToBuild, Kernel::Ready))
        }
        Err(error) => Err(error),
    }
}

fn recipe(machine: &Machine, stock: &Stock) -> Recipe {
    of_stock(machine, stock, "kernel").input(stock.device_tree.unwrap_or_default()).input(stock.modules.join(" "))
}

/// The note that no version of the package could be had.
fn lack(machine: &Machine, stock: &Stock) -> Recipe {
    of_stock(machine, stock, "no-stock-kernel")
}

fn of_stock(machine: &Machine, stock: &Stock, name: &str) -> Recipe {
    let described = format!("{} linux-image-*{} from {:?}, layout 2", machine.debian_arch, stock.flavour, stock.suites);
    Recipe::new(machine.of(name)).input(described)
}

/// The newest image of the flavour that can be had.
fn fetch(debian: &Debian, machine: &Machine, stock: &Stock) -> Result<Option<Fetched>> {
    let images = debian.root(stock.suites, machine.debian_arch)?.newest_first("linux-image-", stock.flavour)?;
    for image in images {
        let wanted =
            Wanted { alternatives: &[stock.suites], arch: machine.debian_arch, packages: &[&image], with: With::Nothing };
        if let Some(fetched) = debian.try_fetch(&machine.of("kernel"), &wanted)? {
            return Ok(Some(fetched));
        }
    }
    Ok(None)
}

/// Keeps of an image what a boot needs.
fn keep(dir: &Path, fetched: &Fetched, stock: &Stock) -> Result<()> {
    let unpacked = dir.join("unpacked");
    let tree = Tree::unpack(&unpacked, fetched)?;
    fs::create_dir_all(dir.join("modules"))?;
    let keep = |file: PathBuf, name: &str| {
        fs::rename(unpacked.join(&file), dir.join(name)).with_context(|| format!("cannot keep {}", file.display()))
    };
    keep(tree.file("kernel", |name| name.starts_with("boot/vmlinu"))?, "vmlinuz")?;
    if let Some(dtb) = stock.device_tree {
        keep(tree.file(dtb, |name| name.ends_with(&format!("/{dtb}")))?, "board.dtb")?;
    }
    for module in stock.modules {
        let file = format!("{module}.ko");
        keep(tree.file(module, |name| name.ends_with(&format!("/{file}")))?, &format!("modules/{file}"))?;
    }
    keep(PathBuf::from("PACKAGES"), "PACKAGES")?;
    Ok(fs::remove_dir_all(&unpacked)?)
}

/// What ran, in a few words: the package, or the source it was built from.
///
/// # Errors
/// If the guest has not been made yet.
pub fn told(guest: Guest) -> Result<String> {
    let name = package(guest)?;
    Ok(if name.starts_with(SOURCE) { format!("built from {name}") } else { name })
}

/// Whether a guest's kernel is Debian's own.
///
/// # Errors
/// If the guest has not been made yet.
pub fn is_stock(guest: Guest) -> Result<bool> {
    Ok(!package(guest)?.starts_with(SOURCE))
}

/// How the names of packages with the kernel's source begin.
const SOURCE: &str = "linux-source";

fn package(guest: Guest) -> Result<String> {
    let packages = place::guests().join(guest.machine().of("kernel/PACKAGES"));
    let text =
        fs::read_to_string(&packages).with_context(|| format!("{} is missing: run `cargo xtask guests`", packages.display()))?;
    let package = text.lines().find(|line| line.starts_with("linux-")).unwrap_or("a kernel without a name");
    Ok(package.trim_end_matches(".deb").to_owned())
}
