//! The caches that a check assumes, from the words that name them: shapes, presets, and what a data cache does beside its shape.
//!
//! Guarantees: what the plugin would refuse is refused here, before QEMU is started. Not here: which shapes can be (`geometry`), and which
//! caches can be judged together (`shadow`).

use anyhow::{anyhow, bail};
use congruent_geometry::{Behaviour, CacheGeometry, PRESETS, preset};
use congruent_shadow::{CodeCache, Config};
use congruent_wire::CpuCaches;

/// The caches of `check`, as they were given.
#[derive(clap::Args)]
pub(crate) struct CacheOptions {
    /// The modelled level-1 data cache: SIZE,WAYS,LINE such as 32K,4,32, or a preset's name such as p5600, which also stands for
    /// how that core's cache behaves. May be left out where the QEMU command names a core that is known, such as -cpu P5600
    #[arg(long, value_name = "GEOMETRY")]
    pub(crate) dcache: Option<String>,
    /// The modelled level-1 instruction cache: SIZE,WAYS,LINE. Without it, instruction fetches are not judged
    #[arg(long, value_name = "GEOMETRY")]
    pub(crate) icache: Option<String>,
    /// How the caches of a guest's CPUs hang together, if it has several
    #[arg(long, value_name = "HOW", value_enum, default_value_t = CpuCachesOption::Broadcast)]
    pub(crate) cpu_caches: CpuCachesOption,
    #[command(flatten)]
    pub(crate) behaviour: BehaviourOptions,
}

/// [`CpuCaches`] as a word of the command line.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CpuCachesOption {
    /// Each CPU has its own, data caches coherent at each colour; maintenance by address reaches all (MIPS's Coherence Manager, PA-RISC)
    Broadcast,
    /// The same, but maintenance by address reaches the CPU that runs it, as maintenance by index always does
    Local,
    /// The CPUs share one set of caches, as hardware threads of one core do (MIPS 34K)
    Shared,
}

impl From<CpuCachesOption> for CpuCaches {
    fn from(option: CpuCachesOption) -> Self {
        match option {
            CpuCachesOption::Broadcast => Self::Broadcast,
            CpuCachesOption::Local => Self::Local,
            CpuCachesOption::Shared => Self::Shared,
        }
    }
}

/// How the data cache behaves, as it was given.
#[derive(clap::Args, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct BehaviourOptions {
    /// The data cache writes stores to memory at once (write-through), so that only stale copies remain
    #[arg(long)]
    write_through: bool,
    /// A store that misses the data cache goes to memory and fills nothing
    #[arg(long)]
    no_write_allocate: bool,
    /// The core may fill a line of the data cache at any moment, not only when it is accessed: invalidating a buffer before a device
    /// writes it is not enough then. For caches without aliases
    #[arg(long)]
    speculative: bool,
    /// The caches find their lines by virtual addresses alone (VIVT): every two addresses of a frame alias, and an address may hit
    /// what it stood for before
    #[arg(long)]
    virtual_tags: bool,
}

impl CacheOptions {
    /// What the judge is to assume; `known` is the preset of the core if the command names one.
    ///
    /// # Errors
    /// One line that lists the presets, or says what cannot be.
    pub(crate) fn config(&self, known: Option<&str>) -> anyhow::Result<Config> {
        let data = data(self.dcache.as_deref().or(known))?;
        let config =
            Config::new(data.geometry).behaving(self.behaviour.over(data.behaviour)).map_err(|error| anyhow!("{error}"))?;
        let Some(text) = &self.icache else { return Ok(config) };
        let code: CacheGeometry = text.parse().map_err(|error| anyhow!("--icache {text}: {error}"))?;
        config.with_code(CodeCache::new(code)).map_err(|error| anyhow!("--icache {text}: {error}"))
    }
}

/// The caches of `replay` and `necessity`, as they were given: in place of those of the recorded check.
#[derive(clap::Args)]
pub(crate) struct OtherCaches {
    /// Another level-1 data cache than that of the recorded check: SIZE,WAYS,LINE such as 32K,4,32, or a preset's name, which also
    /// stands for how that core's cache behaves
    #[arg(long, value_name = "GEOMETRY")]
    pub(crate) dcache: Option<String>,
    /// Another level-1 instruction cache: SIZE,WAYS,LINE. For recordings that were made with --icache
    #[arg(long, value_name = "GEOMETRY")]
    pub(crate) icache: Option<String>,
    /// Do not judge the instruction side, though the recorded check did
    #[arg(long, conflicts_with = "icache")]
    pub(crate) no_icache: bool,
    #[command(flatten)]
    pub(crate) behaviour: BehaviourOptions,
}

impl OtherCaches {
    /// What the judge is to assume, where the recorded check assumed that.
    ///
    /// # Errors
    /// One line that says what cannot be.
    pub(crate) fn config(&self, recorded: Config) -> anyhow::Result<Config> {
        let (geometry, behaviour) = match &self.dcache {
            Some(text) => data(Some(text)).map(|data| (data.geometry, data.behaviour))?,
            None => (recorded.geometry, recorded.behaviour()),
        };
        let config = Config::new(geometry).behaving(self.behaviour.over(behaviour)).map_err(|error| anyhow!("{error}"))?;
        let (code, hint) = match &self.icache {
            Some(text) => {
                let code: CacheGeometry = text.parse().map_err(|error| anyhow!("--icache {text}: {error}"))?;
                (Some(CodeCache::new(code)), "")
            }
            None => (recorded.code.filter(|_| !self.no_icache), "; give an --icache that goes with it, or --no-icache"),
        };
        let Some(code) = code else { return Ok(config) };
        config.with_code(code).map_err(|error| anyhow!("--icache: {error}{hint}"))
    }
}

impl BehaviourOptions {
    /// With what was asked for beside what the preset says.
    pub(crate) fn over(self, known: Behaviour) -> Behaviour {
        Behaviour {
            write_through: known.write_through || self.write_through,
            write_allocate: known.write_allocate && !self.no_write_allocate,
            speculative: known.speculative || self.speculative,
            virtual_tags: known.virtual_tags || self.virtual_tags,
        }
    }
}

/// A data cache by its name or its figures.
pub(crate) struct DataCache {
    pub(crate) geometry: CacheGeometry,
    pub(crate) behaviour: Behaviour,
}

/// The cache that `--dcache` names.
///
/// # Errors
/// One line that lists the presets, or says what cannot be.
pub(crate) fn data(text: Option<&str>) -> anyhow::Result<DataCache> {
    let Some(text) = text else {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        bail!("no cache given; add --dcache SIZE,WAYS,LINE such as 32K,4,32, or one of {}", names.join(", "));
    };
    let geometry = text.parse().map_err(|error| anyhow!("--dcache {text}: {error}"))?;
    Ok(DataCache { geometry, behaviour: preset(text).map_or(Behaviour::USUAL, |preset| preset.behaviour) })
}
