//! The report `congruent.report/1`: what one run showed, in the form that other programs read.
//!
//! It holds every finding by site. Fields may be added to the schema; none is renamed or removed without a new schema name.

use congruent_arch::Arch;
use congruent_geometry::{Behaviour, CacheGeometry, VirtAddr};
use congruent_shadow::{Consequence, Effect, Finding, HazardClass, Party, PartyKind, PastMaintenance, Side, Stats};
use congruent_trace::{Context, Maintenance, Site};
use serde::{Deserialize, Serialize};

use crate::baseline::{BaselineEntry, Known};
use crate::caveats::{core, limits_of_the_judge, unknown};
use crate::chain::{CallerEntry, Chains, callers_of};
use crate::injected::{GivenEntry, InjectedEntry};
use crate::ledger::Ledger;
use crate::run::{Outcome, Run};
use crate::{Address, Mode, Symbols};

/// The name of the schema.
pub const SCHEMA: &str = "congruent.report/1";

/// What the run proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing in the run could have met stale data.
    Clean,
    /// Something could.
    Findings,
    /// The run did not finish, so the absence of findings proves nothing; findings there are stand.
    Incomplete,
}

/// The target of a report of a run that ended before its guest's architecture was known.
const UNKNOWN: &str = "unknown";

/// The whole report. `serde_json` turns it into the schema and back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// What the run proves.
    pub verdict: Verdict,
    /// Why the verdict is `incomplete`; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incomplete_because: Option<String>,
    /// The guest's architecture as QEMU names it, or `unknown`.
    pub target: String,
    /// What the kernel calls itself on its console; absent if it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The modelled cache.
    pub geometry: GeometryEntry,
    /// What `--mute` was given.
    pub muted: Vec<String>,
    /// Whether symbols were given.
    pub symbols: bool,
    /// What the emulated core says of itself, and what the guest's sweeps show, that is less than the modelled cache: findings may follow from
    /// that alone. Absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<String>,
    /// What is not known because devices that are not followed wrote to memory; absent if none was noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// How often the machine started, each time with empty caches; absent if once.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub lives: u32,
    /// What the guest was given, if it was given old bytes; absent if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injected: Option<InjectedEntry>,
    /// What was seen, in numbers, in all lives.
    pub stats: StatsEntry,
    /// Every finding, the most important first.
    pub findings: Vec<Entry>,
    /// What would be a finding if one that it follows from were let pass; see [`reveal`](Self::reveal).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consequences: Vec<ConsequenceEntry>,
    /// What maintenance was good for; absent unless it was asked.
    #[serde(flatten)]
    pub ledger: Option<Ledger>,
    /// What is not modelled or was not observed.
    pub limits: Vec<String>,
    /// What a baseline had that this run has not; absent without a baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineEntry>,
    /// What is to be said about suppressions and the baseline, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Why a finding may pass.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Suppressed {
    /// What the suppression file says.
    pub reason: String,
    /// The rule, as `FILE:LINE`.
    pub by: String,
}

/// The modelled cache, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GeometryEntry {
    /// The whole cache.
    pub size: u32,
    /// Ways of each set.
    pub ways: u32,
    /// One line.
    pub line: u32,
    /// One page.
    pub page: u32,
    /// How many colours a frame can be cached under.
    pub colours: u32,
    /// What is written back together.
    pub write_back_unit: u32,
    /// What it does beside its shape; absent if that is the usual.
    #[serde(default, skip_serializing_if = "Behaviour::is_usual")]
    pub behaviour: Behaviour,
}

/// What was seen, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StatsEntry {
    /// Cacheable loads and stores.
    pub accesses: u64,
    /// Uncached accesses to memory.
    pub uncached: u64,
    /// Maintenance operations.
    pub maintenance_ops: u64,
    /// Of these, how many `--mute` made to do nothing.
    pub maintenance_muted: u64,
    /// Frames of memory that the guest touched.
    pub frames: u64,
    /// Bytes that the judge needed to follow them.
    pub shadow_bytes: u64,
    /// Hazards, before those of one class and one pair of sites were counted as one finding.
    pub hazards: u64,
}

/// One finding: all hazards of one class between one consumer site and one producer site.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The way in which old bytes could be seen.
    pub class: HazardClass,
    /// How often.
    pub count: u64,
    /// The access that could see old bytes; for the write classes, that endangers newer ones.
    pub consumer: PartyEntry,
    /// The last access known to have made newer bytes of the line.
    pub producer: Option<PartyEntry>,
    /// The consumer's colour; none for devices and uncached accesses.
    pub consumer_colour: Option<u16>,
    /// The producer's colour; none for devices and uncached accesses.
    pub producer_colour: Option<u16>,
    /// Whether the caches find lines by virtual addresses alone: then two addresses of one colour are no more the same place than any
    /// two others. Absent if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub virtual_tags: bool,
    /// The first occurrence.
    pub example: ExampleEntry,
    /// Maintenance on the line between producer and consumer of the example, oldest first.
    pub maintenance_between: Vec<PastMaintenanceEntry>,
    /// What the guest was given because of it; absent if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<GivenEntry>,
    /// Why it may pass; absent if it may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<Suppressed>,
    /// Whether the baseline has it; absent without a baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Known>,
}

impl Entry {
    /// Whether it counts for the exit status: neither suppressed nor known from the baseline.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.suppressed.is_none() && self.baseline != Some(Known::Known)
    }
}

/// What is no finding because of others: whoever mends those mends this.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ConsequenceEntry {
    /// What it would be; its count is 1, however often it came about. Of all that have the same [`Identity`](crate::Identity), the first.
    #[serde(flatten)]
    pub finding: Entry,
    /// How many there are of this identity; absent if one.
    #[serde(default = "one_pair", skip_serializing_if = "is_one_pair")]
    pub pairs: usize,
    /// The findings that they follow from, by their places in the report, counted from 0; of those of one identity, the first.
    pub follows: Vec<usize>,
}

/// What kind of access it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartyKindName {
    /// A load.
    Load,
    /// A store.
    Store,
    /// An instruction fetch.
    Fetch,
    /// A device's access.
    Dma,
}

/// Consumer or producer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PartyEntry {
    /// What it did.
    pub kind: PartyKindName,
    /// Whether it went through the cache.
    pub cached: bool,
    /// The code address; none for a device.
    pub pc: Option<Address>,
    /// Function and offset; none for a device and where no symbol is known.
    pub symbol: Option<String>,
    /// `file:line`, where a symbol file had line information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// Whose code; none for a device.
    pub mode: Option<Mode>,
    /// What the guest calls the program that this code belongs to, the first time; absent for kernel code and where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The number of the device; absent for code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<u32>,
    /// The CPU it was on, the first time; absent where one CPU was judged, and for devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u16>,
    /// Who had called that code, the innermost first, the first time; absent where no caller is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<CallerEntry>,
}

/// The first occurrence of a finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExampleEntry {
    /// The virtual address of the consumer's access; none for devices and uncached accesses.
    pub vaddr: Option<Address>,
    /// The physical address of the first byte that may be old.
    pub paddr: Address,
    /// How many bytes may be old.
    pub bytes: u32,
}

/// One maintenance operation on the line of a finding.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PastMaintenanceEntry {
    /// `write-back`, `invalidate` or `write-back-invalidate`.
    #[serde(with = "operation")]
    pub op: Maintenance,
    /// On which cache: left out if `data`, else `instruction`.
    #[serde(default, skip_serializing_if = "is_data")]
    pub side: Side,
    /// The colour it was aimed at; none for the whole cache and sweeps by index.
    pub colour: Option<u16>,
    /// The code address.
    pub pc: Address,
    /// Function and offset.
    pub symbol: Option<String>,
    /// `file:line`, where a symbol file had line information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// What it did to the line.
    pub effect: Effect,
    /// Whether `--mute` made it do nothing.
    pub muted: bool,
    /// The CPU whose cache it acted on; absent where one CPU was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u16>,
}

fn one() -> u32 {
    1
}

fn one_pair() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references.
fn is_one_pair(pairs: &usize) -> bool {
    *pairs == 1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references.
fn is_one(lives: &u32) -> bool {
    *lives == 1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes references.
fn is_data(side: &Side) -> bool {
    *side == Side::Data
}

impl Report {
    /// The report of one run. A run in which hardly anything was cached is incomplete, however it ended: next to nothing was judged.
    #[must_use]
    pub fn new(run: &Run<'_>, symbols: &Symbols) -> Self {
        let incomplete_because = match &run.outcome {
            Outcome::Incomplete(reason) => Some(reason.clone()),
            Outcome::Finished if run.stats.accesses <= run.stats.uncached / CACHED_SHARE => Some(nothing_cached(run)),
            Outcome::Finished => None,
        };
        let verdict = match (&incomplete_because, run.findings) {
            (Some(_), _) => Verdict::Incomplete,
            (None, []) => Verdict::Clean,
            (None, _) => Verdict::Findings,
        };
        let names = Names { arch: run.target, virtual_tags: run.behaviour.virtual_tags, chains: run.chains, symbols };
        let consequence = |it: &Consequence| ConsequenceEntry {
            finding: names.entry(&it.finding),
            pairs: 1,
            follows: it.follows.iter().map(|place| *place as usize).collect(),
        };
        let given = |place: usize| run.injected.and_then(|injected| injected.given.get(place)?.as_ref());
        let finding_of = |place, finding| Entry { given: given(place).map(GivenEntry::from), ..names.entry(finding) };
        let mut report = Self {
            schema: SCHEMA.to_owned(),
            verdict,
            incomplete_because,
            target: run.target.map_or(UNKNOWN, |arch| arch.facts().name).to_owned(),
            kernel: run.kernel.clone(),
            geometry: GeometryEntry::of(run.geometry, run.behaviour),
            muted: run.muted.clone(),
            symbols: !symbols.is_empty(),
            core: core(run),
            unknown: unknown(run.stats.unseen_writes),
            lives: run.lives,
            injected: run.injected.map(InjectedEntry::of),
            stats: run.stats.into(),
            findings: run.findings.iter().enumerate().map(|(place, finding)| finding_of(place, finding)).collect(),
            consequences: run.consequences.iter().map(consequence).collect(),
            ledger: run.ledger.as_ref().map(|booked| Ledger::new(booked, run.target, symbols)),
            limits: run.limits.iter().cloned().chain(limits_of_the_judge(run)).collect(),
            baseline: None,
            notes: Vec::new(),
        };
        report.sort();
        report.fold_consequences();
        report.clean();
        report
    }

    /// The report as indented JSON, with a newline at the end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a report has no map with keys that are not strings");
        json.push('\n');
        json
    }

    /// How often stale data could be seen, over all findings.
    #[must_use]
    pub fn occurrences(&self) -> u64 {
        self.findings.iter().map(|finding| finding.count).sum()
    }
}

/// A run is worth a verdict if more than one access to memory of this many goes through the cache.
const CACHED_SHARE: u64 = 100;

fn nothing_cached(run: &Run<'_>) -> String {
    let remedy = run.target.and_then(|arch| arch.facts().uncached_remedy).map(|remedy| format!("; {remedy}")).unwrap_or_default();
    let Stats { accesses, uncached, .. } = run.stats;
    let what = if accesses == 0 {
        "no cached access to memory was seen, so nothing could be judged".to_owned()
    } else {
        format!("{accesses} of {} accesses to memory were cached, so next to nothing could be judged", accesses + uncached)
    };
    format!("{what}: the guest ran with its data cache off{remedy}")
}

struct Names<'a> {
    arch: Option<Arch>,
    virtual_tags: bool,
    chains: &'a Chains,
    symbols: &'a Symbols,
}

impl Names<'_> {
    fn entry(&self, finding: &Finding) -> Entry {
        let Finding { class, count, consumer, producer, example, maintenance_between, cpus, contexts } = finding;
        Entry {
            class: *class,
            count: *count,
            consumer: self.party(consumer, contexts.consumer, cpus.consumer),
            producer: producer.as_ref().map(|producer| self.party(producer, contexts.producer, cpus.producer)),
            consumer_colour: consumer.colour,
            producer_colour: producer.and_then(|producer| producer.colour),
            virtual_tags: self.virtual_tags,
            example: ExampleEntry {
                vaddr: example.vaddr.map(|VirtAddr(address)| Address(address)),
                paddr: Address(example.paddr.0),
                bytes: example.bytes,
            },
            maintenance_between: maintenance_between.iter().map(|past| self.past(past)).collect(),
            given: None,
            suppressed: None,
            baseline: None,
        }
    }

    fn party(&self, party: &Party, context: Context, cpu: Option<u16>) -> PartyEntry {
        let (kind, cached) = match party.kind {
            PartyKind::Load => (PartyKindName::Load, true),
            PartyKind::Store => (PartyKindName::Store, true),
            PartyKind::UncachedLoad => (PartyKindName::Load, false),
            PartyKind::UncachedStore => (PartyKindName::Store, false),
            PartyKind::Dma => (PartyKindName::Dma, false),
            PartyKind::Fetch => (PartyKindName::Fetch, true),
        };
        if kind == PartyKindName::Dma {
            let device = Some(party.site.0);
            let (pc, symbol, line, mode, program) = Default::default();
            return PartyEntry { kind, cached, pc, symbol, line, mode, program, device, cpu, chain: Vec::new() };
        }
        let (pc, symbol, line) = self.name(party.site);
        let mode = self.arch.map(|arch| Mode::of(arch, party.site));
        let behind = self.chains.get(&context).filter(|_| mode == Some(Mode::User));
        PartyEntry {
            kind,
            cached,
            pc: Some(pc),
            symbol,
            line,
            mode,
            program: behind.and_then(|chain| chain.program.clone()),
            device: None,
            cpu,
            chain: self.chain(party.site, context),
        }
    }

    fn chain(&self, site: Site, context: Context) -> Vec<CallerEntry> {
        let callers = self.chains.get(&context).map_or(&[][..], |chain| &chain.callers);
        let named = |caller: Site| {
            let (pc, symbol, line) = self.name(caller);
            CallerEntry { pc, symbol, line }
        };
        self.arch.into_iter().flat_map(|arch| callers_of(arch, site, callers)).map(named).collect()
    }

    fn past(&self, past: &PastMaintenance) -> PastMaintenanceEntry {
        let &PastMaintenance { op, side, colour, site, effect, muted, cpu } = past;
        let (pc, symbol, line) = self.name(site);
        PastMaintenanceEntry { op, side, colour, pc, symbol, line, effect, muted, cpu }
    }

    /// Where a site is, and what it is called.
    fn name(&self, site: Site) -> (Address, Option<String>, Option<String>) {
        let pc = Address::of(self.arch, site);
        match self.symbols.resolve(pc.0) {
            Some(place) => (pc, Some(place.to_string()), place.line),
            None => (pc, None, None),
        }
    }
}

impl GeometryEntry {
    /// The entry of a data cache of this shape that behaves so.
    #[must_use]
    pub fn of(cache: CacheGeometry, behaviour: Behaviour) -> Self {
        Self {
            size: cache.size(),
            ways: cache.ways(),
            line: cache.line(),
            page: cache.page(),
            colours: cache.colours(),
            write_back_unit: cache.write_back_unit(),
            behaviour,
        }
    }
}

impl From<Stats> for StatsEntry {
    fn from(stats: Stats) -> Self {
        Self {
            accesses: stats.accesses,
            uncached: stats.uncached,
            maintenance_ops: stats.maintenance,
            maintenance_muted: stats.muted,
            frames: stats.frames,
            shadow_bytes: stats.shadow_bytes,
            hazards: stats.hazards,
        }
    }
}

mod operation {
    //! The names of maintenance operations in JSON.

    use congruent_trace::Maintenance;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const NAMES: [(Maintenance, &str); 3] = [
        (Maintenance::WriteBack, "write-back"),
        (Maintenance::Invalidate, "invalidate"),
        (Maintenance::WriteBackInvalidate, "write-back-invalidate"),
    ];

    pub fn serialize<S: Serializer>(op: &Maintenance, to: S) -> Result<S::Ok, S::Error> {
        let name = NAMES.iter().find(|(known, _)| known == op).map(|(_, name)| *name);
        to.serialize_str(name.expect("every operation has a name"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Maintenance, D::Error> {
        let name = String::deserialize(from)?;
        let op = NAMES.iter().find(|(_, known)| *known == name).map(|(op, _)| *op);
        op.ok_or_else(|| D::Error::custom(format_args!("unknown maintenance {name:?}")))
    }
}
