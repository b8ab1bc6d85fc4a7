//! The judge and, if the run is recorded, the recorder beside it: whatever is judged goes past both.
//!
//! Guarantees: without a recording nothing is added to the path of a quiet access, which goes to the shadow itself. A recording that
//! can no longer be written ends; the judging does not.

use std::fs::File;
use std::io;

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_shadow::{Alias, Config, Finding, LedgerLine, PageId, Shadow, Stats};
use congruent_trace::file::{Filter, Footer, Header, Operation, Target, Writer};
use congruent_trace::{AccessKind, Context, Event, Maintenance, Scope, Site};

use crate::calls::Calls;

/// Judges, and records if asked to.
pub struct Judge {
    shadow: Shadow,
    geometry: CacheGeometry,
    recorder: Option<Box<Recorder>>,
    failure: Option<io::Error>,
}

/// Keeps the events that matter.
struct Recorder {
    filter: Filter,
    writer: Writer<File>,
    calls: Calls,
}

impl Judge {
    /// A judge of these caches that records nothing.
    pub fn new(caches: Config) -> Self {
        Self { shadow: Shadow::new(caches), geometry: caches.geometry, recorder: None, failure: None }
    }

    /// Records from now on into `file`.
    ///
    /// # Errors
    /// Whatever the file reports.
    pub fn record(&mut self, file: File, header: &Header) -> io::Result<()> {
        let (filter, writer) = (Filter::new(), Writer::new(file, header)?);
        self.recorder = Some(Box::new(Recorder { filter, writer, calls: Calls::default() }));
        Ok(())
    }

    /// Whether the run is being recorded, so that no access may be taken as quiet.
    pub fn is_recording(&self) -> bool {
        self.recorder.is_some()
    }

    /// See [`Shadow::quiet_load`]; not to be used while recording.
    #[inline(always)]
    pub fn quiet_load(&mut self, page: PageId, alias: Alias, offset: u32, size: u32) -> bool {
        self.shadow.quiet_load(page, alias, offset, size)
    }

    /// See [`Shadow::quiet_store`]; not to be used while recording.
    #[inline(always)]
    pub fn quiet_store(&mut self, page: PageId, alias: Alias, offset: u32, size: u32, site: Site) -> bool {
        self.shadow.quiet_store(page, alias, offset, size, site)
    }

    /// See [`Shadow::enter_cpu`]; not to be used while recording.
    pub fn enter_cpu(&mut self, cpu: u16) {
        self.shadow.enter_cpu(cpu);
    }

    /// See [`Shadow::set_context`].
    #[inline]
    pub fn set_context(&mut self, context: Context) {
        self.shadow.set_context(context);
    }

    /// See [`Shadow::access`].
    pub fn access(&mut self, kind: AccessKind, page: PageId, vaddr: VirtAddr, offset: u32, size: u32, site: Site) {
        let before = self.shadow.hazards();
        self.shadow.access(kind, page, vaddr, offset, size, site);
        if self.recorder.is_some() {
            let (hazardous, paddr) = (self.shadow.hazards() != before, self.paddr(page, offset));
            self.note(|filter, keep| filter.access(kind, vaddr, paddr, size, site, hazardous, keep));
        }
    }

    /// A load or store of memory past the cache.
    pub fn bypass(&mut self, event: &Event) {
        self.shadow.apply(event);
        self.note(|filter, keep| filter.bypass(event, keep));
    }

    /// A prefetch; see [`Shadow::prefetch`].
    pub fn prefetch(&mut self, page: PageId, vaddr: VirtAddr, offset: u32, site: Site) {
        self.shadow.prefetch(page, vaddr, offset);
        let paddr = self.paddr(page, offset);
        self.note(|filter, keep| filter.prefetch(vaddr, paddr, site, keep));
    }

    /// Maintenance of one line, one set and way, or the whole cache.
    pub fn maintain(&mut self, op: Maintenance, scope: Scope, site: Site, muted: bool) {
        let event = Event::Maintain { op, scope, site };
        if muted { self.shadow.apply_muted(&event) } else { self.shadow.apply(&event) }
    }

    /// Maintenance of the instruction side. It is not recorded, nor are fetches.
    pub fn maintain_code(&mut self, scope: Scope, site: Site, muted: bool) {
        let event = Event::MaintainCode { scope, site };
        if muted { self.shadow.apply_muted(&event) } else { self.shadow.apply(&event) }
    }

    /// See [`Shadow::quiet_fetch`].
    #[inline(always)]
    pub fn quiet_fetch(&mut self, page: PageId, alias: Alias, offset: u32, size: u32) -> bool {
        self.shadow.quiet_fetch(page, alias, offset, size)
    }

    /// See [`Shadow::fetch`].
    pub fn fetch(&mut self, page: PageId, vaddr: VirtAddr, offset: u32, size: u32, site: Site) {
        self.shadow.fetch(page, vaddr, offset, size, site);
    }

    /// Records an operation that [`maintain`](Self::maintain) takes line by line; made with this stack pointer.
    pub fn note_operation(&mut self, op: Maintenance, target: Target, site: Site, muted: bool, stack: u32) {
        self.note(|filter, keep| filter.before_operation(op, target, keep));
        let Some(recorder) = &mut self.recorder else { return };
        let (calls, length) = recorder.calls.under_way(stack);
        let chain = recorder.writer.chain(&calls[..length]);
        let written = recorder.writer.operation(&Operation { op, target, site, chain, muted });
        self.keep_going(written);
    }

    /// A call instruction runs.
    pub fn note_call(&mut self, pc: u32, stack: u32) {
        if let Some(recorder) = &mut self.recorder {
            recorder.calls.call(pc, stack);
        }
    }

    /// Puts what was recorded so far where the end of the process does not take it.
    pub fn flush(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            let written = recorder.writer.flush();
            self.keep_going(written);
        }
    }

    /// Ends the recording. `stats` are those of the run.
    pub fn finish(&mut self, stats: Stats, limits: Vec<String>) {
        self.note(|filter, keep| filter.finish(keep));
        let Some(recorder) = self.recorder.take() else { return };
        let footer = Footer { accesses: stats.accesses, uncached: stats.uncached, events: 0, limits };
        if let Err(error) = recorder.writer.finish(footer) {
            self.failure = Some(error);
        }
    }

    /// Why the recording ended early, once.
    pub fn recording_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// See [`Shadow::knows`].
    pub fn knows(&self, frame: congruent_geometry::Frame) -> bool {
        self.shadow.knows(frame)
    }

    /// See [`Shadow::alias`].
    pub fn alias(&mut self, page: PageId, vaddr: VirtAddr) -> Alias {
        self.shadow.alias(page, vaddr)
    }

    /// See [`Shadow::alias_generation`].
    pub fn alias_generation(&self) -> u64 {
        self.shadow.alias_generation()
    }

    /// See [`Shadow::page`].
    pub fn page(&mut self, frame: congruent_geometry::Frame) -> PageId {
        self.shadow.page(frame)
    }

    /// What was found so far.
    pub fn findings(&self) -> &[Finding] {
        self.shadow.findings()
    }

    /// See [`Shadow::ledger`].
    pub fn ledger(&self) -> &[LedgerLine] {
        self.shadow.ledger()
    }

    /// What was seen so far.
    pub fn stats(&self) -> Stats {
        self.shadow.stats()
    }

    fn paddr(&self, page: PageId, offset: u32) -> PhysAddr {
        PhysAddr(self.geometry.frame_base(self.shadow.frame(page)).0 + u64::from(offset))
    }

    fn note(&mut self, event: impl FnOnce(&mut Filter, &mut dyn FnMut(u64, &Event))) {
        let Some(recorder) = &mut self.recorder else { return };
        let Recorder { filter, writer, .. } = &mut **recorder;
        let mut written = Ok(());
        event(filter, &mut |age, event| {
            if let Err(error) = writer.event(age, event) {
                written = Err(error);
            }
        });
        self.keep_going(written);
    }

    fn keep_going(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.recorder = None;
            self.failure = Some(error);
        }
    }
}
