//! `cargo xtask dist`: what people install: a Debian package and an archive that can be unpacked anywhere, with program, plugin, manual pages,
//! completions and licences.
//!
//! Both have the same tree, below `/usr` or below one directory; the program finds its plugin by where it is itself. Nothing in them says when, by
//! whom or in which directory they were built: built twice from the same sources by the same compiler they are the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::{e2e, place, run};

/// The date of all files: that of the last commit would differ between checkouts without history.
const EPOCH: &str = "1767225600";

const PROGRAM: &str = "congruent";
const PLUGIN: &str = "libcongruent_qemu.so";

/// The completions: the shell, and where distributions have them for all users.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "share/bash-completion/completions/congruent"),
    ("zsh", "share/zsh/vendor-completions/_congruent"),
    ("fish", "share/fish/vendor_completions.d/congruent.fish"),
];

/// Documents that go along, and where they are in the repository.
const DOCUMENTS: [&str; 5] = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "docs/guide"];

/// What was made.
pub struct Made {
    /// The archive.
    pub archive: PathBuf,
    /// The Debian package.
    pub package: PathBuf,
}

/// Builds program and plugin for strangers, and packs them into `target/dist`.
///
/// # Errors
/// If something does not build, or a tool is missing.
pub fn perform() -> Result<()> {
    let (root, dist) = (place::root(), place::root().join("target/dist"));
    let made = pack(&root, &build(&root, &dist.join("build"))?, &dist)?;
    for file in [&made.archive, &made.package] {
        println!("{}  {}", hash(file)?, file.display());
    }
    Ok(())
}

/// Builds twice, the second time in a copy of the repository elsewhere, and compares.
///
/// # Errors
/// As [`perform`], and if the two differ.
pub fn twice() -> Result<()> {
    let elsewhere = tempfile::Builder::new().prefix("congruent-").tempdir()?;
    let copy = elsewhere.path().join("another checkout");
    let root = place::root();
    run::quietly(Command::new("git").args(["clone", "--quiet"]).arg(&root).arg(&copy))?;
    let of = |root: &Path, dist: PathBuf| -> Result<Made> { pack(root, &build(root, &dist.join("build"))?, &dist) };
    let (one, other) = (of(&root, root.join("target/dist"))?, of(&copy, copy.join("target/dist"))?);
    for (one, other) in [(&one.archive, &other.archive), (&one.package, &other.package)] {
        let (a, b) = (hash(one)?, hash(other)?);
        ensure!(a == b, "{} differs when it is built elsewhere (is everything committed?): {a} and {b}", one.display());
        println!("{a}  {}", one.display());
    }
    Ok(())
}

/// Packs what tests run, unpacks both forms as people do, and has the program of each check a guest: the plugin, which lies elsewhere than in the
/// checkout, must be found.
///
/// # Errors
/// If something is missing, or a check does not say what it says in the checkout.
pub fn try_out() -> Result<String> {
    let elsewhere = tempfile::Builder::new().prefix("congruent-").tempdir()?;
    let made = pack(&place::root(), &place::release(), &elsewhere.path().join("dist"))?;
    let (root, any) = (elsewhere.path().join("root"), elsewhere.path().join("any place"));
    run::quietly(Command::new("dpkg-deb").arg("--extract").arg(&made.package).arg(&root))?;
    fs::create_dir(&any)?;
    run::quietly(Command::new("tar").arg("-xf").arg(&made.archive).arg("-C").arg(&any))?;
    let unpacked = fs::read_dir(&any)?.next().context("the archive is empty")??.path();

    let listed = run::quietly(Command::new("dpkg-deb").arg("--contents").arg(&made.package))?;
    ensure!(listed.lines().all(|line| line.contains(" root/root ")), "a file of the package is not root's:\n{listed}");
    let documents =
        ["share/man/man1/congruent-check.1.gz", "share/doc/congruent/guide/classes.md", "share/doc/congruent/LICENSE-MIT"];
    for file in COMPLETIONS.map(|(_, file)| file).into_iter().chain(documents) {
        ensure!(listed.contains(file) && unpacked.join(file).is_file(), "{file} is missing");
    }
    for tree in [root.join("usr"), unpacked] {
        let sums = fs::read_to_string(tree.join("share/doc/congruent/CONTENTS"))?;
        for (sum, file) in sums.lines().filter_map(|line| line.split_once("  ")) {
            ensure!(hash(&tree.join(file))? == sum, "{file} is not what CONTENTS says");
        }
        let program = tree.join("bin").join(PROGRAM);
        // Nor need the cache be said, which is that of the core that the line names.
        let mut line = e2e::bare_command()?;
        let said = line.iter().position(|word| word == "--dcache").context("the check says no cache")?;
        line.drain(said..said + 2);
        let checked = Command::new(&program).args(line).env_remove("CONGRUENT_PLUGIN").stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
        let as_it_must = said.contains("findings: ") && said.contains("the cache is that of `-cpu P5600` (p5600)");
        ensure!(checked.status.code() == Some(1) && as_it_must, "{}: {said}", program.display());
    }
    Ok(format!("{} and .tar.gz", made.package.file_name().unwrap_or_default().display()))
}

/// Builds with nothing in the result that says where.
fn build(root: &Path, target: &Path) -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map_or_else(
        || std::env::home_dir().map(|home| home.join(".cargo")).context("no home directory"),
        |home| Ok(PathBuf::from(home)),
    )?;
    let flags = [(root, "/congruent"), (home.as_path(), "/cargo"), (target, "/target")]
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--locked", "--package", "congruent-cli", "--package", "congruent-qemu"]);
    // Paths may have spaces: each flag by itself.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).env("CARGO_TARGET_DIR", target);
    run::visibly(cargo.current_dir(root))?;
    Ok(target.join("release"))
}

/// Packs what was built, and the documents of the checkout `root`, into `dist`.
///
/// # Errors
/// If a tool is missing (`tar`, `gzip`, `dpkg-deb`), or a file cannot be read or written.
pub fn pack(root: &Path, built: &Path, dist: &Path) -> Result<Made> {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("{PROGRAM}-{version}-{}-linux", std::env::consts::ARCH);
    let tree = dist.join(&name);
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    stage(root, built, &tree).with_context(|| format!("cannot gather what is packed in {}", tree.display()))?;
    let listing = contents(&tree)?;
    fs::write(tree.join("share/doc/congruent/CONTENTS"), &listing)?;

    let archive = dist.join(format!("{name}.tar.gz"));
    archived(dist, &name, &archive)?;

    // The same tree below /usr, and what dpkg wants to know.
    let unpacked = dist.join("unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    fs::create_dir_all(unpacked.join("DEBIAN"))?;
    run::quietly(Command::new("cp").arg("--recursive").arg(&tree).arg(unpacked.join("usr")))?;
    let arch = run::quietly(Command::new("dpkg").arg("--print-architecture"))?;
    let libc = [PROGRAM, PLUGIN].map(|file| newest_libc(&built.join(file))).into_iter().collect::<Result<Vec<_>>>()?;
    let libc = libc.into_iter().max().unwrap_or_default();
    fs::write(unpacked.join("DEBIAN/control"), control(version, arch.trim(), libc, size(&tree)?))?;
    let package = dist.join(format!("{PROGRAM}_{version}_{}.deb", arch.trim()));
    run::quietly(
        Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zxz", "--build"])
            .arg(&unpacked)
            .arg(&package)
            .env("SOURCE_DATE_EPOCH", EPOCH),
    )
    .context("is dpkg-deb installed?")?;
    let sums =
        [&archive, &package].map(|file| Ok(format!("{}  {}\n", hash(file)?, file.file_name().unwrap_or_default().display())));
    fs::write(dist.join("SHA256SUMS"), sums.into_iter().collect::<Result<String>>()?)?;
    Ok(Made { archive, package })
}

/// Puts everything where it belongs below `tree`.
fn stage(root: &Path, built: &Path, tree: &Path) -> Result<()> {
    let place = |from: &Path, to: &str, mode: &str| -> Result<()> {
        run::quietly(Command::new("install").args(["-D", "-m", mode]).arg(from).arg(tree.join(to))).map(drop)
    };
    let program = built.join(PROGRAM);
    place(&program, "bin/congruent", "755")?;
    place(&built.join(PLUGIN), &format!("lib/congruent/{PLUGIN}"), "644")?;
    // Where each line of code is takes ten times the room of the code.
    run::quietly(
        Command::new("strip")
            .arg("--strip-debug")
            .args(["bin/congruent", "lib/congruent/libcongruent_qemu.so"].map(|file| tree.join(file))),
    )?;
    for (shell, to) in COMPLETIONS {
        let text = run::quietly(Command::new(&program).args(["completions", shell]))?;
        fs::create_dir_all(tree.join(to).parent().context("a file has a directory")?)?;
        fs::write(tree.join(to), text)?;
    }
    let manual = tree.join("share/man/man1");
    fs::create_dir_all(&manual)?;
    run::quietly(Command::new(&program).arg("man").arg(&manual))?;
    for page in fs::read_dir(&manual)? {
        run::quietly(Command::new("gzip").args(["--no-name", "--best"]).arg(page?.path()))?;
    }
    let documents = tree.join("share/doc/congruent");
    fs::create_dir_all(&documents)?;
    for document in DOCUMENTS {
        run::quietly(Command::new("cp").arg("--recursive").arg(root.join(document)).arg(&documents))?;
    }
    let licences = "Congruent is licensed under either of the Apache License, Version 2.0, or the MIT license, at your option.\n";
    fs::write(documents.join("copyright"), licences)?;
    run::quietly(Command::new("chmod").args(["--recursive", "u=rwX,go=rX"]).arg(tree)).map(drop)
}

/// Every file with its hash, in the order of their names.
fn contents(tree: &Path) -> Result<String> {
    let files = walkdir::WalkDir::new(tree).sort_by_file_name().into_iter().collect::<Result<Vec<_>, _>>()?;
    let files = files.iter().filter(|entry| entry.file_type().is_file());
    let line = |entry: &walkdir::DirEntry| -> Result<String> {
        Ok(format!("{}  {}\n", hash(entry.path())?, entry.path().strip_prefix(tree)?.display()))
    };
    files.map(line).collect()
}

/// Archives the directory `name` of `dist`.
fn archived(dist: &Path, name: &str, archive: &Path) -> Result<()> {
    let tar = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=ustar", "--create", "--file=-"];
    let mut tar = Command::new("tar")
        .args(tar)
        .arg(format!("--mtime=@{EPOCH}"))
        .arg("-C")
        .arg(dist)
        .arg(name)
        .stdout(Stdio::piped())
        .spawn()?;
    let packed = Command::new("gzip")
        .args(["--no-name", "--best"])
        .stdin(tar.stdout.take().context("tar has an output")?)
        .stdout(fs::File::create(archive)?)
        .status()?;
    ensure!(packed.success() && tar.wait()?.success(), "cannot write {}", archive.display());
    Ok(())
}

fn control(version: &str, arch: &str, libc: (u32, u32), kilobytes: u64) -> String {
    format!(
        "Package: {PROGRAM}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: The Congruent developers <congruent@example.invalid>\n\
         Installed-Size: {kilobytes}\nDepends: libc6 (>= {}.{}), libgcc-s1\nRecommends: qemu-system-mips | qemu-system-arm | qemu-system-misc\n\
         Section: devel\nPriority: optional\nDescription: finds stale data on CPUs with virtually indexed caches\n Runs an unmodified kernel \
         under an unmodified QEMU and names every place where\n stale cached data can be seen: who reads, who wrote, through which colours, and the\n \
         missing step.\n",
        libc.0, libc.1
    )
}

/// The newest C library whose symbols a file uses.
fn newest_libc(file: &Path) -> Result<(u32, u32)> {
    let table = run::quietly(Command::new("objdump").arg("-T").arg(file))?;
    let versions = table.split("GLIBC_").skip(1).filter_map(|rest| {
        let version: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let (major, rest) = version.split_once('.')?;
        Some((major.parse().ok()?, rest.split('.').next()?.parse().ok()?))
    });
    versions.max().with_context(|| format!("{} needs no C library: is it ours?", file.display()))
}

/// In kilobytes.
fn size(tree: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in walkdir::WalkDir::new(tree) {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes.div_ceil(1024))
}

fn hash(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| file.display().to_string())?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}
