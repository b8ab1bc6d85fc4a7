//! A recording as the program sees it: read, checked, and judged as often as one likes.
//!
//! Guarantees: a file that is damaged is refused in one line that names the byte, unless everything before it is asked for; and then,
//! or if the recorder or the recorded run did not finish, the outcome says so. Not here: the format (`congruent_trace::file`).

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use congruent_geometry::{CacheGeometry, Frame, PhysAddr, VirtAddr};
use congruent_report::{Callers, Outcome};
use congruent_shadow::{Config, Finding, LedgerLine, PageId, Shadow, Stats};
use congruent_trace::file::{Layout, Operation, Visitor, play};
use congruent_trace::{AccessKind, Context, Event, IndexForm, Site};
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
}

/// What a replay found.
pub(crate) struct Replayed {
    pub(crate) stats: Stats,
    pub(crate) findings: Vec<Finding>,
    pub(crate) ledger: Vec<LedgerLine>,
    /// The calls behind the contexts of the ledger.
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

    /// What is in it. Damage is an error unless `partial`.
    ///
    /// # Errors
    /// One line with the remedy.
    pub(crate) fn layout(&self, path: &Path, partial: bool) -> anyhow::Result<Layout<'_>> {
        let layout = Layout::of(&self.bytes).map_err(|error| anyhow!("cannot use `{}`: {error}", path.display()))?;
        if let Some(damage) = &layout.damage
            && !partial
        {
            bail!("`{}` is damaged: {damage}; get it again, or use what comes before that with --up-to-damage", path.display());
        }
        Ok(layout)
    }
}

/// Whether the recording shows a whole run.
pub(crate) fn outcome(layout: &Layout<'_>) -> Outcome {
    if let Some(damage) = &layout.damage {
        return Outcome::Incomplete(format!("the recording is damaged, {damage}, and was used up to there"));
    }
    if layout.footer.is_none() {
        return Outcome::Incomplete("the recording has no end: the recorder was stopped before the guest was".to_owned());
    }
    match &layout.end {
        None => Outcome::Incomplete("the recording does not say how its run ended".to_owned()),
        Some(end) => end.incomplete_because.clone().map_or(Outcome::Finished, Outcome::Incomplete),
    }
}

/// Judges a recording under `geometry`, with a ledger if it is asked for. `progress` is told how much of it is done.
///
/// # Errors
/// One line, if its contents are no events.
pub(crate) fn judge(
    layout: &Layout<'_>,
    geometry: CacheGeometry,
    muting: &Muting,
    ledger: bool,
    progress: impl FnMut(u64, u64),
) -> anyhow::Result<Replayed> {
    if let Some(reason) = layout.header.valid.refuses(&geometry) {
        bail!("--dcache: {reason}");
    }
    let recorded = CacheGeometry::try_from(layout.header.geometry);
    let same_sets = recorded.is_ok_and(|recorded| recorded.sets() == geometry.sets() && recorded.ways() == geometry.ways());
    if layout.header.index == IndexForm::Resolved && !same_sets {
        bail!("--dcache: this recording names sets and ways of its own cache; give one with as many sets and ways");
    }
    let config = Config::new(geometry);
    let config = if ledger { config.with_ledger().map_err(|error| anyhow!("--ledger: {error}"))? } else { config };
    let mut replay = Replay {
        shadow: Shadow::new(config),
        callers: ledger.then(Callers::new),
        geometry,
        form: layout.header.index,
        muting,
        muted_chains: HashMap::new(),
        pages: Vec::new(),
        progress,
    };
    if let Err(damage) = play(layout, &mut replay)
        && layout.damage.is_none()
    {
        bail!("the recording holds {damage} although its checksum is right; record again with this version");
    }
    let mut stats = replay.shadow.stats();
    // Accesses that could change no verdict are not in the file, only their number.
    if let Some(footer) = &layout.footer {
        (stats.accesses, stats.uncached) = (footer.accesses, footer.uncached);
    }
    let Replay { shadow, callers, .. } = replay;
    Ok(Replayed {
        stats,
        findings: shadow.findings().to_vec(),
        ledger: shadow.ledger().to_vec(),
        callers: callers.unwrap_or_default(),
    })
}

struct Replay<'a, P> {
    shadow: Shadow,
    /// The calls that operations were made under, if there is a ledger.
    callers: Option<Callers>,
    geometry: CacheGeometry,
    form: IndexForm,
    muting: &'a Muting,
    /// What is known of call chains: whether they are muted.
    muted_chains: HashMap<(u32, Site), bool>,
    /// Shadows of frames, by number, plus one.
    pages: Vec<Option<PageId>>,
    progress: P,
}

/// Frames below this are remembered by their number (16 GiB of 4 KiB pages).
const REMEMBERED: u64 = 1 << 22;

impl<P> Replay<'_, P> {
    #[inline]
    fn page(&mut self, frame: Frame) -> PageId {
        if let Some(Some(page)) = self.pages.get(frame.0 as usize) {
            return *page;
        }
        let page = self.shadow.page(frame);
        if frame.0 < REMEMBERED {
            let at = frame.0 as usize;
            if self.pages.len() <= at {
                self.pages.resize(at + 1, None);
            }
            self.pages[at] = Some(page);
        }
        page
    }

    fn is_muted(&mut self, operation: &Operation, chain: &[u32]) -> bool {
        let ranges = match self.muting {
            Muting::AsRecorded => return operation.muted,
            Muting::Of(ranges) if ranges.is_empty() => return false,
            Muting::Of(ranges) => ranges,
        };
        *self.muted_chains.entry((operation.chain.0, operation.site)).or_insert_with(|| {
            let mut code = chain.iter().copied().chain([operation.site.0]).map(u64::from);
            code.any(|pc| ranges.iter().any(|range| range.start <= pc && pc < range.end))
        })
    }
}

impl<P: FnMut(u64, u64)> Visitor for Replay<'_, P> {
    #[inline]
    fn access(&mut self, kind: AccessKind, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site) {
        let page = self.page(self.geometry.frame(paddr));
        let offset = self.geometry.page_offset(paddr.0);
        let colour = self.geometry.colour(vaddr);
        let quiet = match kind {
            AccessKind::Load => self.shadow.quiet_load(page, colour, offset, size),
            AccessKind::Store => self.shadow.quiet_store(page, colour, offset, size, site),
        };
        if !quiet {
            self.shadow.access(kind, page, vaddr, offset, size, site);
        }
    }

    fn operation(&mut self, operation: &Operation, chain: &[u32]) {
        let muted = self.is_muted(operation, chain);
        let context = Context(operation.chain.0);
        if let Some(callers) = &mut self.callers {
            callers.entry(context).or_insert_with(|| chain.iter().copied().map(Site).collect());
            self.shadow.set_context(context);
        }
        for event in operation.events(&self.geometry, self.form) {
            if muted {
                self.shadow.apply_muted(&event);
            } else {
                self.shadow.apply(&event);
            }
        }
        // Of accesses, the calls are not known.
        self.shadow.set_context(Context::NONE);
    }

    fn event(&mut self, event: &Event) {
        self.shadow.apply(event);
    }

    fn progress(&mut self, done: u64, of: u64) {
        (self.progress)(done, of);
    }
}
