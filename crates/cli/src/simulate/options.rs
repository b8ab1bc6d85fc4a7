//! What can be said to `congruent simulate`, and the computers that it means.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use congruent_geometry::{CacheGeometry, preset};
use congruent_machine::{COSTS, CostModel, Replacement, SECTOR, cost_model};
use congruent_trace::Site;
use congruent_vm::{PolicyKind, Setup, site_named};

use crate::output::Targets;

/// The options of `congruent simulate`, as they were given.
#[derive(clap::Args)]
#[command(
    after_help = "Exit status: 0 no policy has a finding and no wrong byte was seen; 1 some policy has (`none` and the Linux policies are expected to); 2 wrong usage or environment."
)]
pub(crate) struct SimulateOptions {
    /// How the kernel keeps the colours of a frame equal; repeatable. All of them, if none is given: none, flush-always,
    /// linux-mips, linux-arm, window, reverse-lookup, kept-windows, frame-coloured
    #[arg(long, value_name = "POLICY")]
    policy: Vec<PolicyKind>,
    /// What is run: fork-threads, shell, page-cache, direct-io, debugger, ring, sharers, memory, everything, chaos; or a file with
    /// a script or a log of `strace -f`
    #[arg(long, value_name = "NAME|FILE", default_value = "everything")]
    pub(crate) workload: String,
    /// Run this script
    #[arg(long, value_name = "FILE", conflicts_with_all = ["workload", "strace"])]
    pub(crate) script: Option<PathBuf>,
    /// Replay this log, written by `strace -f -o FILE PROGRAM`
    #[arg(long, value_name = "FILE", conflicts_with = "workload")]
    pub(crate) strace: Option<PathBuf>,
    /// How much of a named workload: rounds; for sharers, processes
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) scale: u32,
    /// Decides everything that is left to chance
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The level-1 data cache: SIZE,WAYS,LINE such as 32K,4,32, or a preset's name
    #[arg(long, value_name = "GEOMETRY", default_value = "p5600")]
    dcache: String,
    /// The level-1 instruction cache; otherwise as the data cache
    #[arg(long, value_name = "GEOMETRY")]
    icache: Option<String>,
    /// Bytes of a page: 4K to 64K
    #[arg(long, value_name = "BYTES", default_value = "4K")]
    page_size: String,
    /// How many CPUs; task N runs on CPU N modulo their number
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    cpus: usize,
    /// Pages of memory
    #[arg(long, value_name = "COUNT", default_value_t = 4096)]
    frames: u64,
    /// Pages of swap, on the disk
    #[arg(long, value_name = "COUNT", default_value_t = 256)]
    swap: u32,
    /// Windows that each CPU keeps mapped under the policy kept-windows, rounded up to a multiple of the colours
    #[arg(long, value_name = "COUNT", default_value_t = 64)]
    kept_windows: u32,
    /// What a full set of the cache throws out
    #[arg(long, value_name = "HOW", value_enum, default_value = "lru")]
    replacement: ReplacementName,
    /// What things cost: 24kc, p5600, arm1136 or sh7750; otherwise as the data cache's preset
    #[arg(long, value_name = "CORE")]
    cost: Option<String>,
    /// Make the maintenance issued from this place of the kernel do nothing, such as copy_user_highpage or flush_dcache_folio;
    /// repeatable
    #[arg(long, value_name = "SITE")]
    mute: Vec<String>,
    /// Keep the simulated disk in this file, which must be new or empty; several policies use it one after the other
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sweep", "explain"])]
    pub(crate) disk: Option<PathBuf>,
    /// How large the simulated disk is
    #[arg(long, value_name = "BYTES", default_value = "64M")]
    disk_size: String,
    /// Let reads of these sectors of the disk fail, to see what becomes of the programs; they have 512 bytes
    #[arg(long, value_name = "FIRST..END")]
    bad_sectors: Option<String>,
    /// Run on all of these caches and pages instead of one, in parallel
    #[arg(long)]
    sweep: bool,
    /// The data caches of --sweep, separated by spaces or given repeatedly
    #[arg(long, value_name = "GEOMETRIES", requires = "sweep")]
    sweep_dcache: Vec<String>,
    /// The page sizes of --sweep, separated by commas
    #[arg(long, value_name = "BYTES", requires = "sweep", value_delimiter = ',')]
    sweep_page_size: Vec<String>,
    /// Tell what led to finding number N of the policy: every event on its line, with what the caches may hold before and after
    #[arg(long, value_name = "N", conflicts_with = "sweep", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) explain: Option<u32>,
    /// How many findings of a policy the text tells
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub(crate) show: usize,
    /// Write what would be run to this file as a script, and run nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) write_script: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) targets: Targets,
}

/// `--replacement`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum ReplacementName {
    /// What was used longest ago
    Lru,
    /// Any, by the seed
    Random,
    /// Any, and lines come and go at the worst moments
    Adversarial,
}

/// The caches of `--sweep`: one, two, four, eight and sixteen colours of pages of 4 KiB, at one size and number of ways each.
const SWEPT: [&str; 5] = ["16K,4,32", "32K,4,32", "64K,4,32", "128K,4,32", "256K,4,32"];
/// The page sizes of `--sweep`.
const SWEPT_PAGES: [&str; 2] = ["4K", "16K"];

/// A computer to run on.
#[derive(Clone, Debug)]
pub(crate) struct Computer {
    /// The data cache as it was asked for.
    pub(crate) name: String,
    /// Everything but the policy.
    pub(crate) setup: Setup,
}

impl SimulateOptions {
    pub(crate) fn policies(&self) -> Vec<PolicyKind> {
        // In the order of tables, each once.
        PolicyKind::ALL.into_iter().filter(|policy| self.policy.is_empty() || self.policy.contains(policy)).collect()
    }

    /// The page sizes to run with; one unless there is a sweep.
    pub(crate) fn pages(&self) -> anyhow::Result<Vec<u32>> {
        let one = [self.page_size.clone()];
        let defaults = SWEPT_PAGES.map(str::to_owned);
        let (option, texts) = match (self.sweep, self.sweep_page_size.is_empty()) {
            (false, _) => ("--page-size", &one[..]),
            (true, true) => ("--sweep", &defaults[..]),
            (true, false) => ("--sweep-page-size", &self.sweep_page_size[..]),
        };
        let page = |text: &String| match bytes(text).and_then(|bytes| u32::try_from(bytes).ok()) {
            Some(page) if page.is_power_of_two() && (4096..=65536).contains(&page) => Ok(page),
            _ => bail!("{option} {text}: expected a power of two from 4K to 64K"),
        };
        texts.iter().map(page).collect()
    }

    fn caches(&self) -> Vec<String> {
        match (self.sweep, self.sweep_dcache.is_empty()) {
            (false, _) => vec![self.dcache.clone()],
            (true, true) => SWEPT.map(str::to_owned).to_vec(),
            (true, false) => self.sweep_dcache.iter().flat_map(|list| list.split_whitespace()).map(str::to_owned).collect(),
        }
    }

    /// Every computer to run on, in order.
    pub(crate) fn computers(&self) -> anyhow::Result<Vec<Computer>> {
        let option = if self.sweep { "--sweep-dcache" } else { "--dcache" };
        let mut computers = Vec::new();
        if self.caches().is_empty() {
            bail!("--sweep-dcache: no cache given; give SIZE,WAYS,LINE or names, separated by spaces, or leave the option out");
        }
        for page in self.pages()? {
            for name in self.caches() {
                let dcache = geometry(option, &name, page)?;
                let icache = self.icache.as_deref().map_or(Ok(dcache), |name| geometry("--icache", name, page))?;
                let mut setup = Setup::new(dcache);
                setup.icache = icache;
                setup.cpus = self.cpus;
                setup.frames = self.frames;
                setup.swap_pages = self.swap;
                setup.kept_windows = self.kept_windows;
                setup.replacement = match self.replacement {
                    ReplacementName::Lru => Replacement::Lru,
                    ReplacementName::Random => Replacement::Random,
                    ReplacementName::Adversarial => Replacement::Adversarial,
                };
                setup.cost = *self.cost(&name)?;
                setup.seed = self.seed;
                setup.mute = self.muted()?;
                computers.push(Computer { name, setup });
            }
        }
        Ok(computers)
    }

    pub(crate) fn is_sweep(&self) -> bool {
        self.sweep
    }

    fn cost(&self, dcache: &str) -> anyhow::Result<&'static CostModel> {
        let Some(name) = &self.cost else {
            // The core of the preset, or the first model.
            let core = match dcache.to_ascii_lowercase() {
                name if name.starts_with("p5600") => "p5600",
                name if name.starts_with("arm") => "arm1136",
                name if name.starts_with("sh") => "sh7750",
                _ => COSTS[0].name,
            };
            return Ok(cost_model(core).unwrap_or(&COSTS[0]));
        };
        let known: Vec<&str> = COSTS.iter().map(|model| model.name).collect();
        cost_model(name).with_context(|| format!("--cost {name}: expected one of {}", known.join(", ")))
    }

    fn muted(&self) -> anyhow::Result<Vec<Site>> {
        let site = |name: &String| {
            let names: Vec<&str> = congruent_vm::sites().map(|(_, name)| name).collect();
            site_named(name).with_context(|| format!("--mute {name}: no such place; there are {}", names.join(", ")))
        };
        self.mute.iter().map(site).collect()
    }

    /// Sectors of the disk.
    pub(crate) fn sectors(&self) -> anyhow::Result<u64> {
        match bytes(&self.disk_size) {
            Some(size) if size >= SECTOR as u64 && size <= 64 << 30 => Ok(size / SECTOR as u64),
            _ => bail!("--disk-size {}: expected a number of bytes such as 64M, at most 64G", self.disk_size),
        }
    }

    /// Sectors that cannot be read.
    pub(crate) fn bad_sectors(&self) -> anyhow::Result<std::ops::Range<u64>> {
        let Some(text) = &self.bad_sectors else { return Ok(0..0) };
        let range = text.split_once("..").and_then(|(first, end)| Some(first.parse().ok()?..end.parse().ok()?));
        match range {
            Some(range) if range.start < range.end && range.end <= self.sectors()? => Ok(range),
            _ => bail!("--bad-sectors {text}: expected FIRST..END within the disk's {} sectors", self.sectors()?),
        }
    }
}

fn geometry(option: &str, name: &str, page: u32) -> anyhow::Result<CacheGeometry> {
    let shape: CacheGeometry = name.parse().map_err(|error| anyhow::anyhow!("{option} {name}: {error}"))?;
    if preset(name).is_some_and(|preset| !preset.behaviour.is_usual()) {
        let (size, ways, line) = (shape.size(), shape.ways(), shape.line());
        bail!(
            "{option} {name}: this core's caches differ in more than their shape (write policy or tags), which is not simulated; give the \
             shape alone, {size},{ways},{line}"
        );
    }
    let paged = CacheGeometry::with_page(shape.size(), shape.ways(), shape.line(), page)
        .and_then(|paged| paged.with_write_back_unit(shape.write_back_unit()));
    paged.map_err(|error| anyhow::anyhow!("{option} {name} with pages of {page} bytes: {error}"))
}

/// A number of bytes with an optional `K`, `M` or `G`.
fn bytes(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        b'g' | b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}
