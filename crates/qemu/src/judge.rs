//! The judge and, if the run is recorded, the recorder beside it: whatever is judged goes past both.
//!
//! Guarantees: without a recording nothing is added to the path of a quiet access, which goes to the shadow itself. A recording that
//! can no longer be written ends; the judging does not.

use std::fs::File;
use std::io;

use congruent_geometry::{ByteMask, CacheGeometry, PhysAddr, VirtAddr};
use congruent_shadow::{Alias, ByteId, Config, Consequence, Finding, LedgerLine, OldBytes, PageId, Shadow, Stats};
use congruent_trace::file::{Access, Filter, Footer, Header, Keep, Moment};
use congruent_trace::{AccessKind, Context, Event, IndexForm, Operation, Site};

use crate::contexts::Link;
use crate::recorder::Recorder;

/// Judges, and records if asked to.
pub struct Judge {
    shadow: Shadow,
    geometry: CacheGeometry,
    /// How operands of index operations name sets and ways.
    form: IndexForm,
    /// Through which calls the guest got where it is.
    context: Context,
    recorder: Option<Box<Recorder>>,
    failure: Option<io::Error>,
}

impl Judge {
    /// A judge of these caches that records nothing.
    pub fn new(caches: Config, form: IndexForm) -> Self {
        let (shadow, geometry) = (Shadow::new(caches), caches.geometry);
        Self { shadow, geometry, form, context: Context::NONE, recorder: None, failure: None }
    }

    /// Records from now on into `file`.
    ///
    /// # Errors
    /// Whatever the file reports.
    pub fn record(&mut self, file: File, header: &Header) -> io::Result<()> {
        self.recorder = Some(Box::new(Recorder::new(file, header)?));
        Ok(())
    }

    /// Whether the run is being recorded, so that no access may be taken as quiet.
    pub fn is_recording(&self) -> bool {
        self.recorder.is_some()
    }

    /// See [`Shadow::quiet_load`]; not to be used while recording.
    #[inline(always)]
    pub fn quiet_load(&mut self, byte: ByteId, alias: Alias, size: u32) -> bool {
        self.shadow.quiet_load(byte, alias, size)
    }

    /// See [`Shadow::quiet_store`]; not to be used while recording.
    #[inline(always)]
    pub fn quiet_store(&mut self, byte: ByteId, alias: Alias, size: u32, site: Site) -> bool {
        self.shadow.quiet_store(byte, alias, size, site)
    }

    /// As [`quiet_load`](Self::quiet_load), whether the run is recorded or not.
    #[inline(always)]
    pub fn quiet_recorded_load(&mut self, byte: ByteId, alias: Alias, vaddr: VirtAddr, size: u32) -> bool {
        let recorded = match &self.recorder {
            Some(recorder) => recorder.filter.quiet_load(vaddr, self.paddr_of(byte), size),
            None => true,
        };
        recorded && self.shadow.quiet_load(byte, alias, size)
    }

    /// As [`quiet_store`](Self::quiet_store), whether the run is recorded or not.
    #[inline(always)]
    pub fn quiet_recorded_store(&mut self, byte: ByteId, alias: Alias, vaddr: VirtAddr, size: u32, site: Site) -> bool {
        if self.recorder.is_none() {
            return self.shadow.quiet_store(byte, alias, size, site);
        }
        let paddr = self.paddr_of(byte);
        let Some(recorder) = &mut self.recorder else { return false };
        let Some(store) = recorder.filter.quiet_store(vaddr, paddr, size, site, self.context) else { return false };
        let quiet = self.shadow.quiet_store(byte, alias, size, site);
        if quiet {
            recorder.filter.take_store(store);
        }
        quiet
    }

    /// See [`Shadow::enter_cpu`]; not to be used while recording.
    pub fn enter_cpu(&mut self, cpu: u16) {
        self.shadow.enter_cpu(cpu);
    }

    /// See [`Shadow::keeps_bytes`].
    pub fn keeps_bytes(&self) -> bool {
        self.shadow.keeps_bytes()
    }

    /// See [`Shadow::lacks_bytes`].
    pub fn lacks_bytes(&self, page: PageId) -> bool {
        self.shadow.lacks_bytes(page)
    }

    /// See [`Shadow::tell_page`].
    pub fn tell_page(&mut self, page: PageId, bytes: &[u8]) {
        self.shadow.tell_page(page, bytes);
    }

    /// See [`Shadow::tell_stored`].
    #[inline]
    pub fn tell_stored(&mut self, byte: ByteId, bytes: &[u8]) {
        self.shadow.tell_stored(byte, bytes);
    }

    /// See [`Shadow::tell_storing`].
    pub fn tell_storing(&mut self, paddr: PhysAddr, bytes: &[u8]) {
        self.shadow.tell_storing(paddr, bytes);
    }

    /// See [`Shadow::states_left_out`].
    pub fn states_left_out(&self) -> u64 {
        self.shadow.states_left_out()
    }

    /// See [`Shadow::old_in_memory`].
    pub fn old_in_memory(&mut self, paddr: PhysAddr, len: u64) -> Vec<(PhysAddr, u8)> {
        self.shadow.old_in_memory(paddr, len)
    }

    /// See [`Shadow::take_blamed`].
    pub fn take_blamed(&mut self) -> Option<u32> {
        self.shadow.take_blamed()
    }

    /// See [`Shadow::take_old_bytes`].
    pub fn take_old_bytes(&mut self) -> Option<OldBytes> {
        self.shadow.take_old_bytes()
    }

    /// See [`Shadow::set_context`].
    #[inline]
    pub fn set_context(&mut self, context: Context) {
        self.context = context;
        self.shadow.set_context(context);
    }

    /// See [`Shadow::access`].
    pub fn access(&mut self, kind: AccessKind, page: PageId, vaddr: VirtAddr, offset: u32, size: u32, site: Site) {
        let hazardous = self.shadow.access(kind, page, vaddr, offset, size, site);
        if self.recorder.is_some() {
            let access = Access { kind, vaddr, paddr: self.paddr(page, offset), size, site };
            let now = Moment { context: self.context, hazardous };
            self.note(|filter, keep| filter.access(access, now, keep));
        }
    }

    /// A load or store of memory past the cache.
    pub fn bypass(&mut self, event: &Event) {
        let now = Moment { hazardous: self.shadow.apply(event), context: self.context };
        self.note(|filter, keep| filter.bypass(event, now, keep));
    }

    /// A prefetch; see [`Shadow::prefetch`].
    pub fn prefetch(&mut self, page: PageId, vaddr: VirtAddr, offset: u32, site: Site) {
        self.shadow.prefetch(page, vaddr, offset);
        let paddr = self.paddr(page, offset);
        self.note(|filter, keep| filter.prefetch(vaddr, paddr, site, keep));
    }

    /// See [`Shadow::quiet_fetch`]; `vaddr` is that of the first byte.
    #[inline(always)]
    pub fn quiet_fetch(&mut self, page: PageId, alias: Alias, vaddr: VirtAddr, offset: u32, size: u32) -> bool {
        let recorded = match &self.recorder {
            Some(recorder) => recorder.filter.knows_fetch(vaddr, self.paddr(page, offset), size),
            None => true,
        };
        recorded && self.shadow.quiet_fetch(page, alias, offset, size)
    }

    /// See [`Shadow::code_changes`].
    #[inline]
    pub fn code_changes(&self) -> u64 {
        self.shadow.code_changes()
    }

    /// See [`Shadow::fetch`].
    pub fn fetch(&mut self, page: PageId, vaddr: VirtAddr, offset: u32, size: u32, site: Site) {
        let hazardous = self.shadow.fetch(page, vaddr, offset, size, site);
        if self.recorder.is_some() {
            let (paddr, now) = (self.paddr(page, offset), Moment { context: self.context, hazardous });
            self.note(|filter, keep| filter.fetch(vaddr, paddr, size, site, now, keep));
        }
    }

    /// Maintenance: the judge of a replay is given the very operation that this one is.
    pub fn operate(&mut self, operation: Operation, muted: bool) {
        if let Some(recorder) = &mut self.recorder {
            let written = recorder.operation(operation, self.context, muted);
            self.keep_going(written);
        }
        self.shadow.operate(&operation, self.form, muted);
    }

    /// How many of the guest's call chains the recorder knows; `None` if nothing is recorded.
    #[inline]
    pub fn known_calls(&self) -> Option<usize> {
        self.recorder.as_ref().map(|recorder| recorder.known_calls())
    }

    /// The recorder learns of call chains, in the order of their numbers.
    pub fn learn_calls(&mut self, calls: impl Iterator<Item = Link>) {
        if let Some(recorder) = &mut self.recorder {
            calls.for_each(|call| recorder.learn_call(call));
        }
    }

    /// Puts what was recorded so far where the end of the process does not take it.
    pub fn flush(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            let written = recorder.flush();
            self.keep_going(written);
        }
    }

    /// Ends the recording. `stats` are those of the run, `programs` the names behind the numbers of programs.
    pub fn finish(&mut self, stats: Stats, limits: Vec<String>, programs: &[String]) {
        let Some(recorder) = self.recorder.take() else { return };
        let Stats { accesses, uncached, fetches, shadow_bytes, .. } = stats;
        let footer = Footer {
            accesses,
            uncached,
            fetches,
            shadow_bytes: Some(shadow_bytes),
            events: 0,
            blocks: None,
            limits,
            programs: programs.to_vec(),
        };
        if let Err(error) = recorder.finish(footer) {
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

    /// See [`Shadow::may_discard`].
    pub fn may_discard(&self, paddr: PhysAddr) -> bool {
        self.shadow.may_discard(paddr)
    }

    /// See [`Shadow::discarded`].
    pub fn discarded(&self, paddr: PhysAddr) -> ByteMask {
        self.shadow.discarded(paddr)
    }

    /// See [`Shadow::alias`].
    pub fn alias(&mut self, page: PageId, vaddr: VirtAddr) -> Alias {
        self.shadow.alias(page, vaddr)
    }

    /// See [`Shadow::alias_generation`].
    pub fn alias_generation(&self) -> u64 {
        self.shadow.alias_generation()
    }

    /// See [`Shadow::byte`].
    #[inline]
    pub fn byte(&self, page: PageId, offset: u32) -> ByteId {
        self.shadow.byte(page, offset)
    }

    /// See [`Shadow::page_of`].
    #[inline]
    pub fn page_of(&self, byte: ByteId) -> (PageId, u32) {
        self.shadow.page_of(byte)
    }

    /// See [`Shadow::page`].
    pub fn page(&mut self, frame: congruent_geometry::Frame) -> PageId {
        self.shadow.page(frame)
    }

    /// What was found so far.
    pub fn findings(&self) -> &[Finding] {
        self.shadow.findings()
    }

    /// See [`Shadow::consequences`].
    pub fn consequences(&self) -> impl Iterator<Item = &Consequence> {
        self.shadow.consequences()
    }

    /// See [`Shadow::ledger`].
    pub fn ledger(&self) -> &[LedgerLine] {
        self.shadow.ledger()
    }

    /// What was seen so far.
    pub fn stats(&self) -> Stats {
        self.shadow.stats()
    }

    fn paddr_of(&self, byte: ByteId) -> PhysAddr {
        let (page, offset) = self.page_of(byte);
        self.paddr(page, offset)
    }

    /// The physical address of this place of a page.
    pub fn paddr(&self, page: PageId, offset: u32) -> PhysAddr {
        PhysAddr(self.geometry.frame_base(self.shadow.frame(page)).0 + u64::from(offset))
    }

    fn note(&mut self, event: impl FnOnce(&mut Filter, &mut Keep<'_>)) {
        let Some(recorder) = &mut self.recorder else { return };
        let written = recorder.note(event);
        self.keep_going(written);
    }

    fn keep_going(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.recorder = None;
            self.failure = Some(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use congruent_geometry::Behaviour;
    use congruent_trace::file::{VERSION, Validity};
    use std::os::fd::OwnedFd;

    use super::*;

    fn header(caches: &Config) -> Header {
        Header {
            version: VERSION,
            target: "mipsel".into(),
            geometry: caches.geometry,
            behaviour: Behaviour::USUAL,
            code: None,
            index: IndexForm::WayAboveSet,
            muted: Vec::new(),
            qemu_api: 4,
            valid: Validity::OF_FILTER,
        }
    }

    #[test]
    fn a_full_disk_is_noticed_when_the_recording_is_begun() {
        let caches = Config::new(CacheGeometry::new(32 << 10, 4, 32).unwrap());
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = Judge::new(caches, IndexForm::WayAboveSet).record(full, &header(&caches)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_recording_that_can_no_longer_be_written_ends_and_the_judging_goes_on() {
        let caches = Config::new(CacheGeometry::new(32 << 10, 4, 32).unwrap());
        // Nobody reads what is written from now on: to the writer that is an error like any other.
        let (reader, writer) = io::pipe().unwrap();
        let mut judge = Judge::new(caches, IndexForm::WayAboveSet);
        judge.record(OwnedFd::from(writer).into(), &header(&caches)).unwrap();
        drop(reader);
        for frame in 0..1 << 10 {
            let page = judge.page(congruent_geometry::Frame(frame));
            for (vaddr, kind) in [(0x1000, AccessKind::Store), (0x2000, AccessKind::Load)] {
                judge.access(kind, page, VirtAddr(vaddr), 0, 4, Site(vaddr as u32));
            }
            if frame == 512 {
                judge.flush();
            }
        }
        assert!(!judge.is_recording());
        assert_eq!(judge.recording_failure().map(|error| error.kind()), Some(io::ErrorKind::BrokenPipe));
        assert!(judge.recording_failure().is_none());
        let [finding] = judge.findings() else { panic!("{:?}", judge.findings()) };
        assert_eq!(finding.count, 1 << 10);
    }
}
