//! A recording as the program sees it: read, checked, and judged as often as one likes.
//!
//! Guarantees: a file that is damaged is refused in one line that names the byte, unless everything before it is asked for; and then,
//! or if the recorder or the recorded run did not finish, the outcome says so. Not here: the format (`congruent_trace::file`).

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use congruent_arch::Arch;
use congruent_geometry::{PhysAddr, VirtAddr};
use congruent_report::{Callers, Chain, Chains, Outcome};
use congruent_shadow::{Config, Consequence, Finding, LedgerLine, Shadow, Stats};
use congruent_trace::file::{Bounds, CallChains, ChainId, Header, Layout, Recorded, Validity, Visitor, chains, play};
use congruent_trace::{AccessKind, Context, Event, IndexForm, Maintenance, On, Site, Target};
use congruent_wire::MuteRange;

/// The bytes of a recording.
pub(crate) struct Recording {
    bytes: Vec<u8>,
}

/// Which of a recording's maintenance does nothing.
#[derive(Clone, Debug)]
pub(crate) enum Muting {
    /// What did nothing in the recorded run.
    AsRecorded,
    /// What was issued from this code, or while a function of it was calling.
    Of(Vec<MuteRange>),
    /// What was issued from this function on behalf of the other: the nearest that had called it.
    OnBehalf { function: Vec<MuteRange>, caller: Vec<MuteRange> },
}

/// What a replay found.
pub(crate) struct Replayed {
    pub(crate) stats: Stats,
    pub(crate) findings: Vec<Finding>,
    /// What follows from them.
    pub(crate) consequences: Vec<Consequence>,
    /// The calls behind the contexts of the findings.
    pub(crate) chains: Chains,
    /// The ledger, if one was asked for, and the calls behind its contexts.
    pub(crate) ledger: Vec<LedgerLine>,
    pub(crate) callers: Callers,
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// One line with the remedy.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read the recording `{}`", path.display()))?;
        Ok(Self { bytes })
    }

    /// Of what guest it is, and what is in it. Damage is an error unless `partial`.
    ///
    /// # Errors
    /// One line with the remedy.
    pub(crate) fn layout(&self, path: &Path, partial: bool) -> anyhow::Result<(Arch, Layout<'_>)> {
        let layout = Layout::of(&self.bytes).map_err(|error| anyhow!("cannot use `{}`: {error}", path.display()))?;
        if let Some(damage) = &layout.damage
            && !partial
        {
            bail!("`{}` is damaged: {damage}; get it again, or use what comes before that with --up-to-damage", path.display());
        }
        let target = &layout.header.target;
        let arch = Arch::of_qemu(target).ok_or_else(|| {
            let (path, known) = (path.display(), Arch::names());
            anyhow!("cannot use `{path}`: it is of a guest of architecture `{target}`, and this version knows {known}; take a newer one")
        })?;
        Ok((arch, layout))
    }
}

/// Whether the recording shows a whole run.
pub(crate) fn outcome(layout: &Layout<'_>) -> Outcome {
    if let Some(damage) = &layout.damage {
        return Outcome::Incomplete(format!("the recording is damaged, {damage}, and was used up to there"));
    }
    match &layout.footer {
        None => return Outcome::Incomplete("the recording has no end: the recorder was stopped before the guest was".to_owned()),
        Some(footer) if footer.blocks.is_none() => {
            let reason = "the recording does not say which blocks it is made of, so some may be missing; record again";
            return Outcome::Incomplete(reason.to_owned());
        }
        Some(_) => {}
    }
    match &layout.end {
        None => Outcome::Incomplete("the recording does not say how its run ended".to_owned()),
        Some(end) => end.incomplete_because.clone().map_or(Outcome::Finished, Outcome::Incomplete),
    }
}

/// The caches that a recorded run was judged with.
///
/// # Errors
/// One line, if there cannot be such.
pub(crate) fn recorded_caches(header: &Header) -> anyhow::Result<Config> {
    Config::of(header.geometry, header.behaviour, header.code).map_err(|error| anyhow!("the recording's caches: {error}"))
}

/// Why a recording of this validity cannot be judged with these caches, if it cannot.
pub(crate) fn refuses(valid: &Validity, caches: &Config) -> Option<String> {
    let shape = valid.refuses(&caches.geometry).map(|reason| format!("--dcache: {reason}"));
    let code = || caches.code.and_then(|code| valid.refuses_code(&code.geometry)).map(|reason| format!("--icache: {reason}"));
    shape.or_else(code).or_else(|| valid.refuses_behaviour(caches.behaviour()).map(str::to_owned))
}

/// Whether a recording that names sets and ways of its own cache can be judged with these caches.
fn names_same_sets(header: &Header, caches: &Config) -> bool {
    let (sets, ways) = (caches.geometry.sets(), caches.geometry.ways());
    header.index != IndexForm::Resolved || (header.geometry.sets() == sets && header.geometry.ways() == ways)
}

/// Judges a recording with these caches. `progress` is told how much of it is done.
///
/// # Errors
/// One line, if it cannot be judged so, or its contents are no events.
pub(crate) fn judge(
    layout: &Layout<'_>,
    caches: Config,
    muting: &Muting,
    progress: impl FnMut(u64, u64),
) -> anyhow::Result<Replayed> {
    if let Some(reason) = refuses(&layout.header.valid, &caches) {
        bail!("{reason}");
    }
    if !names_same_sets(&layout.header, &caches) {
        bail!("--dcache: this recording names sets and ways of its own cache; give one with as many sets and ways");
    }
    let nonsense =
        |damage| anyhow!("the recording holds {damage} although its checksum is right; record again with this version");
    let calls = chains(layout).map_err(nonsense)?;
    let mut replay = Replay {
        shadow: Shadow::new(caches),
        caches,
        form: layout.header.index,
        muting,
        calls: &calls,
        muted_chains: HashMap::new(),
        bounds: Bounds::of(layout),
        lines_left: Bounds::of(layout).events.saturating_mul(LINES_PER_EVENT).saturating_add(LINES),
        progress,
    };
    if let Err(damage) = play(layout, &mut replay)
        && layout.damage.is_none()
    {
        return Err(nonsense(damage));
    }
    if replay.is_exhausted() {
        bail!("the recording asks for more frames, or more work, than a run of so many events can need; record again");
    }
    let mut stats = replay.shadow.stats();
    // Events that could change no verdict are not in the file, only their number.
    if let Some(footer) = &layout.footer {
        (stats.accesses, stats.uncached) = (footer.accesses, footer.uncached);
        stats.fetches = if caches.code.is_some() { footer.fetches } else { 0 };
        // So is what the judge of the run needed, where this one does the same.
        let known = recorded_caches(&layout.header)?;
        let same = (known.geometry, known.behaviour(), known.code) == (caches.geometry, caches.behaviour(), caches.code);
        let as_recorded = same && matches!(muting, Muting::AsRecorded);
        stats.shadow_bytes = footer.shadow_bytes.filter(|_| as_recorded).unwrap_or(stats.shadow_bytes);
    }
    let findings = replay.shadow.findings().to_vec();
    let consequences: Vec<_> = replay.shadow.consequences().cloned().collect();
    let ledger = replay.shadow.ledger().to_vec();
    let callers = |contexts: BTreeSet<Context>, most| -> Callers {
        let calls = |context: Context| calls.callers(ChainId(context.0)).take(most).collect();
        contexts.into_iter().map(|context| (context, calls(context))).collect()
    };
    let told = findings.iter().chain(consequences.iter().map(|it| &it.finding));
    let contexts = told.flat_map(|finding| [finding.contexts.consumer, finding.contexts.producer]);
    let chains = callers(contexts.filter(|context| *context != Context::NONE).collect(), TOLD);
    let programs = layout.footer.as_ref().map_or(&[][..], |footer| &footer.programs);
    let program = |context: Context| programs.get(calls.program(ChainId(context.0))? as usize).cloned();
    let chains = chains.into_iter().map(|(context, callers)| (context, Chain { program: program(context), callers })).collect();
    let callers = callers(ledger.iter().map(|line| line.context).collect(), NEAREST);
    Ok(Replayed { stats, findings, consequences, chains, ledger, callers })
}

/// Lines that operations and devices look at, for each event of a recording and at the least; real runs need a hundredth.
const LINES_PER_EVENT: u64 = 1 << 10;
const LINES: u64 = 1 << 28;

/// Callers that a finding tells of, as many as those of a check.
const TOLD: usize = 16;
/// Callers that a line of the ledger tells of, as many as those of a check.
const NEAREST: usize = 6;

struct Replay<'a, P> {
    shadow: Shadow,
    caches: Config,
    form: IndexForm,
    muting: &'a Muting,
    calls: &'a CallChains,
    /// What is known of call chains: whether they are muted.
    muted_chains: HashMap<(ChainId, Site), bool>,
    bounds: Bounds,
    /// Lines that operations and devices may look at yet: what a file of this size can ask for.
    lines_left: u64,
    progress: P,
}

/// Chains of which it is remembered whether they are muted; beyond that it is looked up again.
const MOST_REMEMBERED: usize = 1 << 20;

impl<P> Replay<'_, P> {
    /// Whether so many lines more may be looked at.
    fn may_look_at(&mut self, lines: u64) -> bool {
        let left = self.lines_left.checked_sub(lines);
        self.lines_left = left.unwrap_or(0);
        left.is_some()
    }

    /// Whether there are more frames than a run of so many events can need.
    fn has_too_many_frames(&self) -> bool {
        self.shadow.pages() > self.bounds.frames
    }

    fn is_exhausted(&self) -> bool {
        self.has_too_many_frames() || self.lines_left == 0
    }

    fn is_muted(&mut self, recorded: &Recorded) -> bool {
        let within =
            |ranges: &[MuteRange], code: Site| ranges.iter().any(|range| (range.start..range.end).contains(&u64::from(code.0)));
        let Recorded { operation, chain, muted } = *recorded;
        let (site, calls) = (operation.site, self.calls);
        let is_muted = || match self.muting {
            Muting::AsRecorded => muted,
            Muting::Of(ranges) => calls.callers(chain).chain([site]).any(|code| within(ranges, code)),
            Muting::OnBehalf { function, caller } => {
                let nearest = calls.callers(chain).find(|code| !within(function, *code));
                within(function, site) && nearest.is_some_and(|code| within(caller, code))
            }
        };
        match self.muting {
            Muting::AsRecorded => muted,
            Muting::Of(ranges) if ranges.is_empty() => false,
            _ => {
                if self.muted_chains.len() > MOST_REMEMBERED {
                    self.muted_chains.clear();
                }
                *self.muted_chains.entry((chain, site)).or_insert_with(is_muted)
            }
        }
    }
}

impl<P: FnMut(u64, u64)> Visitor for Replay<'_, P> {
    #[inline]
    fn access(&mut self, kind: AccessKind, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site, chain: ChainId) {
        if self.has_too_many_frames() {
            return;
        }
        self.shadow.set_context(chain.into());
        self.shadow.access_at(kind, vaddr, paddr, size, site);
    }

    fn operation(&mut self, recorded: &Recorded) {
        let geometry = match (recorded.operation.on, self.caches.code) {
            (On::Data(_), _) => self.caches.geometry,
            (On::Code, Some(code)) => code.geometry,
            (On::Code, None) => return,
        };
        let frames = self.shadow.pages();
        if !self.may_look_at(match (recorded.operation.on, recorded.operation.target) {
            (On::Data(Maintenance::Invalidate), Target::Whole) => frames * u64::from(geometry.lines_per_page()),
            (On::Data(Maintenance::Invalidate), Target::Index(_)) => frames,
            _ => 1,
        }) {
            return;
        }
        let muted = self.is_muted(recorded);
        self.shadow.set_context(recorded.chain.into());
        self.shadow.operate(&recorded.operation, self.form, muted);
    }

    fn event(&mut self, event: &Event, chain: ChainId) {
        let lines = match event {
            Event::Dma { len, .. } => {
                let every_line = self.shadow.pages() * u64::from(self.caches.geometry.lines_per_page());
                every_line.min(len / u64::from(self.caches.geometry.line())) + 1
            }
            _ => 1,
        };
        if self.has_too_many_frames() || !self.may_look_at(lines) {
            return;
        }
        self.shadow.set_context(chain.into());
        self.shadow.apply(event);
    }

    fn progress(&mut self, done: u64, of: u64) {
        (self.progress)(done, of);
    }
}

#[cfg(test)]
mod tests;
