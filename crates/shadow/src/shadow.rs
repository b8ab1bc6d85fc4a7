//! The judge itself: takes events, keeps the shadow of every touched frame, gives out findings.
//!
//! Guarantees: an access that changes nothing costs one load and one compare once its page is known; no allocation, lock,
//! division or panic on that path. Everything else is in `access` and `maintain`. Not here: the rules (`line`).

use alloc::boxed::Box;
use alloc::vec::Vec;

use congruent_geometry::{CacheGeometry, Frame, PhysAddr, VirtAddr};
use congruent_trace::{AccessKind, Context, DmaDirection, Event, Site, devices};

use crate::aliases::{Alias, Aliases};
use crate::code::Code;
use crate::cpus::Places;
use crate::finding::{Consequence, Finding};
use crate::findings::Findings;
use crate::frames::Frames;
use crate::habits::Habits;
use crate::heads::{Heads, LAST_EPOCH, WATCHED, single_key};
use crate::history::History;
use crate::ledger::{Ledger, SweepLog};
use crate::line::{CODE, Hazard, Line, Path, Shape, Ways};
use crate::old::Bytes;
use crate::origins::Origins;
use crate::records::Records;
use crate::sweep::Sweeps;
use crate::{Config, Stats};

/// The shadow of one frame, as [`Shadow::page`] gave it out. Valid for the life of that `Shadow`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PageId(pub(crate) u32);

/// A byte of the memory that has a shadow: a page and where in it, in one number, so that what is kept of it is found by a shift.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct ByteId(pub(crate) u64);

impl ByteId {
    /// The number: bytes of one page are numbered one after the other.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The byte that is so many further on from one whose address is a multiple of a power of two above that number.
    #[inline]
    #[must_use]
    pub const fn with(self, bytes: u32) -> Self {
        Self(self.0 | bytes as u64)
    }
}

/// The judge. See the [crate's documentation](crate) for what it decides and what it promises.
#[derive(Clone, Debug)]
pub struct Shadow {
    // What the fast path reads, first.
    /// The key of a line that only colour 0, of the CPU that events are of, may hold and that was accessed in this epoch.
    pub(crate) now: u32,
    /// The bits of a byte's number that are the same in all bytes of an access that stays in one line, and in one word of the bitmap.
    pub(crate) simple: u64,
    pub(crate) accesses: u64,
    pub(crate) heads: Heads,
    pub(crate) code: Code,
    pub(crate) origins: Origins,

    pub(crate) geometry: CacheGeometry,
    /// The geometry's sets less one: to ask it would be to divide.
    pub(crate) set_mask: u32,
    pub(crate) places: Places,
    pub(crate) aliases: Aliases,
    pub(crate) shape: Shape,
    pub(crate) records: Records,
    pub(crate) sweeps: Sweeps,
    pub(crate) history: History,
    pub(crate) findings: Findings,
    /// What maintenance was good for, if that is asked.
    pub(crate) ledger: Option<Box<Ledger>>,
    /// The bytes themselves, if they are asked for.
    pub(crate) old: Option<Box<Bytes>>,
    pub(crate) frames: Frames,
    /// Per page, whether it was accessed through the data cache; empty unless the core is speculative.
    pub(crate) live: Vec<bool>,
    /// The virtual address of the access in hand, where the source gave one.
    pub(crate) vaddr: Option<VirtAddr>,
    pub(crate) fetches: u64,
    pub(crate) uncached: u64,
    pub(crate) maintenance: u64,
    pub(crate) muted: u64,
    /// See [`Stats::taken_as_dropped`].
    pub(crate) taken_as_dropped: u64,
    /// See [`Stats::unseen_writes`].
    pub(crate) unseen_writes: u64,
    pub(crate) habits: Habits,
    /// Kept for their memory.
    pub(crate) spare: Vec<Line>,
    pub(crate) hazards: Vec<Hazard>,
}

impl Shadow {
    /// A judge of a machine whose caches are empty.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_last_epoch(config, LAST_EPOCH)
    }

    /// As [`new`](Self::new), with room for fewer epochs, so that tests can run out of them.
    pub(crate) fn with_last_epoch(config: Config, last_epoch: u32) -> Self {
        let geometry = config.geometry;
        let heads = Heads::new(&geometry);
        let cpus = config.cpus;
        let sweeps = Sweeps::new(&geometry, cpus.count, last_epoch);
        let code = Code::new(config.code, &geometry, cpus.count, last_epoch);
        let places = Places::new(cpus, geometry.colours(), code.geometry().colours());
        let ledger = config.ledger.then(|| {
            let logs = (SweepLog::new(&geometry), SweepLog::new(code.geometry()));
            Box::new(Ledger::new(geometry.lines_per_page(), logs.0, logs.1, config.writes_through, config.write_allocate))
        });
        Self {
            now: single_key(0, 1),
            simple: u64::MAX << heads.simple_shift(),
            accesses: 0,
            heads,
            origins: Origins::new(&geometry, config.contexts),
            geometry,
            set_mask: geometry.sets() - 1,
            places,
            aliases: Aliases::new(config.virtual_tags, geometry),
            shape: Shape {
                all_ways: Ways::first(geometry.ways()),
                code_ways: code.all_ways(),
                unit: geometry.write_back_unit(),
                writes_through: config.writes_through,
                write_allocate: config.write_allocate,
                speculative: config.speculative,
                incoherent: places.incoherent(CODE),
            },
            code,
            records: Records::new(geometry.line(), Ways::first(geometry.ways())),
            sweeps,
            history: History::new(),
            findings: Findings::default(),
            ledger,
            old: config.bytes.map(|which| Box::new(Bytes::new(&geometry, which, config.virtual_tags.is_some()))),
            frames: Frames::new(),
            live: Vec::new(),
            vaddr: None,
            fetches: 0,
            uncached: 0,
            maintenance: 0,
            muted: 0,
            taken_as_dropped: 0,
            unseen_writes: 0,
            habits: Habits::default(),
            spare: Vec::new(),
            hazards: Vec::new(),
        }
    }

    /// Whether a frame has a shadow. One that has none was never reached through the cache: what goes past the cache cannot harm it.
    pub fn knows(&self, frame: Frame) -> bool {
        self.frames.find(frame).is_some()
    }

    /// The shadow of a frame, made on the first call.
    ///
    /// # Panics
    /// If the guest touches 2^32 frames or more.
    #[inline]
    pub fn page(&mut self, frame: Frame) -> PageId {
        PageId(self.frames.find(frame).unwrap_or_else(|| self.add_page(frame)))
    }

    #[cold]
    fn add_page(&mut self, frame: Frame) -> u32 {
        let page = self.frames.add(frame);
        self.heads.push_page();
        self.aliases.push_page();
        if self.shape.speculative {
            self.live.push(false);
        }
        self.origins.push_page();
        if let Some(ledger) = &mut self.ledger {
            ledger.push_page();
        }
        if let Some(old) = &mut self.old {
            old.push_page();
        }
        page
    }

    /// From here on, events are of this CPU. Without effect unless [`Config::with_cpus`](crate::Config::with_cpus) says that there are
    /// several.
    pub fn enter_cpu(&mut self, cpu: u16) {
        self.places.enter(cpu);
        self.now = self.key_now();
        self.code.enter(self.places.code_base());
    }

    /// What [`now`](Self::now) is to be in this epoch and on this CPU.
    pub(crate) fn key_now(&self) -> u32 {
        single_key(self.places.base().into(), self.sweeps.epoch())
    }

    /// From here on, events come about through the call chain that the source calls `context`. Without effect unless
    /// [`Config::contexts`](crate::Config::contexts) is set.
    #[inline]
    pub fn set_context(&mut self, context: Context) {
        self.origins.set_context(context);
    }

    /// The byte at `offset` of a page.
    #[inline]
    #[must_use]
    pub fn byte(&self, page: PageId, offset: u32) -> ByteId {
        ByteId(u64::from(page.0) << self.geometry.page_shift() | u64::from(offset))
    }

    /// The page of a byte and its offset there: what [`byte`](Self::byte) was given.
    #[inline]
    #[must_use]
    pub fn page_of(&self, byte: ByteId) -> (PageId, u32) {
        (PageId((byte.0 >> self.geometry.page_shift()) as u32), self.geometry.page_offset(byte.0))
    }

    /// Takes a load that changes nothing. False, and nothing was taken, if it may change something: then it is one for
    /// [`access`](Self::access). It is of `size` bytes, at least 1, within the page. `alias`: the colour if
    /// tags are physical, else what [`alias`](Self::alias) says.
    #[inline]
    pub fn quiet_load(&mut self, byte: ByteId, alias: impl Into<Alias>, size: u32) -> bool {
        let quiet = self.is_quiet(byte, alias.into(), size, WATCHED);
        if quiet {
            self.accesses += 1;
        }
        quiet
    }

    /// Takes a store that changes nothing but which bytes are dirty in the one colour that holds the line, and who stored
    /// last; else as [`quiet_load`](Self::quiet_load).
    #[inline]
    pub fn quiet_store(&mut self, byte: ByteId, alias: impl Into<Alias>, size: u32, site: Site) -> bool {
        let quiet = self.is_quiet(byte, alias.into(), size, 0);
        if quiet {
            self.accesses += 1;
            self.heads.store_at(byte, size, site);
            self.origins.note(byte, site);
        }
        quiet
    }

    /// Takes any cacheable access of `size` bytes, at least 1, at `offset` of a page, within the page; it may span lines. Whether
    /// anything was found in it, a hazard or a consequence of findings.
    pub fn access(&mut self, kind: AccessKind, page: PageId, vaddr: VirtAddr, offset: u32, size: u32, site: Site) -> bool {
        let (alias, byte) = (self.alias(page, vaddr), self.byte(page, offset));
        let quiet = match kind {
            AccessKind::Load => self.quiet_load(byte, alias, size),
            AccessKind::Store => self.quiet_store(byte, alias, size, site),
        };
        if quiet {
            if kind == AccessKind::Store {
                self.take_quietly_stored(byte, size);
            }
            return false;
        }
        let before = self.findings.changes();
        self.accesses += 1;
        self.vaddr = Some(vaddr);
        self.access_slow(kind, page, alias, offset, size, site);
        self.vaddr = None;
        if kind == AccessKind::Store {
            self.origins.note_all(page.0, offset, size, site);
        }
        self.findings.changes() != before
    }

    /// As [`access`](Self::access), for sources that keep no pages.
    #[inline]
    pub fn access_at(&mut self, kind: AccessKind, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site) -> bool {
        let page = self.page(self.geometry.frame(paddr));
        self.access(kind, page, vaddr, self.geometry.page_offset(paddr.0), size, site)
    }

    /// Whether an access stays in a line that only this colour holds, and that was accessed in this epoch. Of the line's key,
    /// the bits in `ignored` do not count.
    #[inline]
    fn is_quiet(&self, byte: ByteId, alias: Alias, size: u32, ignored: u32) -> bool {
        let key = self.heads.key_at(byte);
        self.is_simple(byte, size) && key.is_some_and(|key| key & !ignored == self.now | u32::from(alias.0))
    }

    /// Whether an access stays in one line, and in one word of the bitmap.
    #[inline]
    pub(crate) fn is_simple(&self, byte: ByteId, size: u32) -> bool {
        let last = byte.0.wrapping_add(u64::from(size.wrapping_sub(1)));
        (byte.0 ^ last) & self.simple == 0
    }

    /// Takes any event. Whether anything was found in it, a hazard or a consequence of findings.
    pub fn apply(&mut self, event: &Event) -> bool {
        let before = self.findings.changes();
        match *event {
            Event::Access { kind, vaddr, paddr, size, site } => return self.access_at(kind, vaddr, paddr, size, site),
            Event::Uncached { kind, paddr, size, site } => {
                self.uncached += 1;
                self.bypass(Path::Uncached, kind, paddr, u64::from(size), site);
                if kind == AccessKind::Store
                    && let Some(page) = self.frames.find(self.geometry.frame(paddr))
                {
                    self.origins.note_all(page, self.geometry.page_offset(paddr.0), size, site);
                }
            }
            Event::Dma { direction: DmaDirection::Write, paddr, len, site: devices::UNSEEN } => {
                self.take_unseen_write(paddr, len)
            }
            Event::Dma { direction, paddr, len, site } => {
                let kind = match direction {
                    DmaDirection::Read => AccessKind::Load,
                    DmaDirection::Write => AccessKind::Store,
                };
                self.bypass(Path::Dma, kind, paddr, len, site);
            }
            Event::Prefetch { vaddr, paddr, .. } => {
                let page = self.page(self.geometry.frame(paddr));
                self.prefetch(page, vaddr, self.geometry.page_offset(paddr.0));
            }
            Event::Fetch { vaddr, paddr, size, site } if self.code.is_judged() => {
                let page = self.page(self.geometry.frame(paddr));
                return self.fetch(page, vaddr, self.geometry.page_offset(paddr.0), size, site);
            }
            Event::Maintain { op, scope, site } => self.maintain(op, scope, site),
            Event::MaintainCode { scope, site } if self.code.is_judged() => self.maintain_code(scope, site),
            // Without an instruction cache, that side is not judged.
            Event::Fetch { .. } | Event::MaintainCode { .. } => {}
            Event::Space { space } => self.aliases.enter(space),
            Event::Cpu { cpu } => self.enter_cpu(cpu),
        }
        self.findings.changes() != before
    }

    /// What was found so far, in order of first appearance.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        self.findings.list()
    }

    /// What could be seen only because findings are not mended, in order of first appearance. None is also a finding.
    pub fn consequences(&self) -> impl Iterator<Item = &Consequence> {
        self.findings.consequences()
    }

    /// Changes with each event that [`findings`](Self::findings), their counts, or [`consequences`](Self::consequences) come from.
    #[must_use]
    #[inline]
    pub fn changes(&self) -> u64 {
        self.findings.changes()
    }

    /// Hazards so far, before they were folded into findings.
    #[must_use]
    #[inline]
    pub fn hazards(&self) -> u64 {
        self.findings.hazards()
    }

    /// How many frames have a shadow.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.frames.len() as u64
    }

    /// The frame whose shadow this is.
    ///
    /// # Panics
    /// If another `Shadow` gave the page out.
    #[must_use]
    #[inline]
    pub fn frame(&self, page: PageId) -> Frame {
        self.frames.of(page.0)
    }

    /// What was seen so far, in numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let bytes = self.heads.bytes()
            + self.code.bytes()
            + self.origins.bytes()
            + self.records.bytes()
            + self.sweeps.bytes()
            + self.history.bytes()
            + self.aliases.bytes()
            + self.ledger.as_ref().map_or(0, |ledger| ledger.bytes())
            + self.old.as_ref().map_or(0, |old| old.bytes())
            + self.frames.bytes();
        Stats {
            accesses: self.accesses,
            fetches: self.fetches,
            uncached: self.uncached,
            maintenance: self.maintenance,
            muted: self.muted,
            frames: self.frames.len() as u64,
            shadow_bytes: bytes as u64,
            hazards: self.findings.hazards(),
            taken_as_dropped: self.taken_as_dropped,
            unseen_writes: self.unseen_writes,
            step: self.habits.step,
            sweep: self.habits.sweep,
        }
    }
}
