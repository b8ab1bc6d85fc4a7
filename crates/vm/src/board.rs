//! The computer as the kernel and its policies handle it: one machine, the CPU that runs, and who listens.
//!
//! Guarantees: what the machine does is heard by the judge; muted maintenance is told to the judge as muted, and not done; a
//! change of the page tables reaches every TLB before the call returns, except where a function says otherwise. It is shared
//! between the kernel and the library's platform, so it is borrowed for one operation at a time.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cell::{RefCell, RefMut};

use congruent::{CpuSlots, FrameWord, KeptSlot};
use congruent_geometry::{CacheGeometry, Frame, PhysAddr, VirtAddr};
use congruent_machine::{Asid, CacheConfig, Config, Fault, Machine, NoSuchMemory, Sink};
use congruent_shadow::Shadow;
use congruent_trace::{Event, Maintenance, Site};

use crate::setup::{Setup, SetupError};
use crate::site::At;
use crate::tables::{Allowed, Pte, Tables, WINDOWS};

/// Who hears the machine: the judge, and the record if one is kept.
pub(crate) struct Ear {
    pub judge: Shadow,
    pub history: Option<Vec<Event>>,
    geometry: CacheGeometry,
    /// The lines of memory that the judge has reported.
    accused: BTreeSet<PhysAddr>,
}

impl Ear {
    fn accuse(&mut self, paddr: PhysAddr, len: u64) {
        let line = u64::from(self.geometry.line());
        let mut at = paddr.align_down(line);
        while at.0 < paddr.0 + len {
            self.accused.insert(at);
            at = at.add(line);
        }
    }

    /// Whether the judge has reported this line.
    pub fn named(&self, paddr: PhysAddr) -> bool {
        self.accused.contains(&paddr.align_down(u64::from(self.geometry.line())))
    }
}

impl Sink for Ear {
    fn event(&mut self, event: &Event) {
        if let Some(history) = &mut self.history {
            history.push(*event);
        }
        if self.judge.apply(event) {
            match *event {
                Event::Access { paddr, size, .. } | Event::Uncached { paddr, size, .. } | Event::Fetch { paddr, size, .. } => {
                    self.accuse(paddr, size.into());
                }
                Event::Dma { paddr, len, .. } => self.accuse(paddr, len),
                // These see no bytes.
                Event::Prefetch { .. }
                | Event::Maintain { .. }
                | Event::MaintainCode { .. }
                | Event::Space { .. }
                | Event::Cpu { .. } => {}
            }
        }
    }
}

/// The machine and the state of the CPU that runs.
pub(crate) struct Hw {
    pub machine: Machine<Tables, Ear>,
    /// The CPU that runs.
    pub cpu: usize,
    mute: BTreeSet<Site>,
    /// What the last [`copy`](Self::copy) moved.
    pub copied: Vec<u8>,
    /// Searches for a user's mapping.
    pub lookups: u64,
}

impl Hw {
    /// Says where in the kernel the CPU is.
    #[inline]
    pub fn at(&mut self, at: At) {
        self.machine.set_site(self.cpu, at.site());
    }

    pub fn site(&self) -> Site {
        self.machine.site(self.cpu)
    }

    pub const fn geometry(&self) -> &CacheGeometry {
        self.machine.geometry()
    }

    pub const fn page(&self) -> u32 {
        self.machine.geometry().page()
    }

    pub fn linear(&self, frame: Frame) -> VirtAddr {
        self.machine.tables().linear(frame)
    }

    /// The colour of an address, as a number.
    pub const fn colour(&self, va: VirtAddr) -> usize {
        self.machine.geometry().colour(va).index()
    }

    /// Whether a frame's permanent address has another colour than this one.
    pub fn alias(&self, frame: Frame, va: VirtAddr) -> bool {
        self.colour(self.linear(frame)) != self.colour(va)
    }

    /// Loads through an address of the kernel, which is mapped.
    pub fn load(&mut self, va: VirtAddr, to: &mut [u8]) {
        self.machine.read(self.cpu, va, to).expect("the kernel's own addresses are mapped");
    }

    /// Stores through an address of the kernel, which is mapped.
    pub fn store(&mut self, va: VirtAddr, from: &[u8]) {
        self.machine.write(self.cpu, va, from).expect("the kernel's own addresses are mapped");
    }

    pub fn zero(&mut self, va: VirtAddr, len: u32) {
        self.machine.zero(self.cpu, va, len as usize).expect("the kernel's own addresses are mapped");
    }

    /// Copies from one address of the kernel to another, line by line, and remembers what.
    pub fn copy(&mut self, from: VirtAddr, to: VirtAddr, len: u32) {
        let line = self.geometry().line();
        self.copied.resize(len as usize, 0);
        let mut copied = core::mem::take(&mut self.copied);
        for (part, bytes) in copied.chunks_mut(line as usize).enumerate() {
            let offset = part as u64 * u64::from(line);
            self.at(At::CopySource);
            self.load(from.add(offset), bytes);
            self.at(At::CopyTarget);
            self.store(to.add(offset), bytes);
        }
        self.copied = copied;
    }

    fn muted(&mut self, op: impl FnOnce(Site) -> Event) -> bool {
        let site = self.site();
        let muted = self.mute.contains(&site);
        if muted {
            self.machine.sink_mut().judge.apply_muted(&op(site));
        }
        muted
    }

    /// Maintains lines by address.
    pub fn maintain(&mut self, op: Maintenance, va: VirtAddr, len: u32) {
        if !self.muted(|site| Event::Maintain { op, scope: congruent_trace::Scope::Whole, site }) {
            self.machine.maintain_range(self.cpu, op, va, len.into()).expect("what is maintained is mapped");
        }
    }

    /// Writes a page back and drops it, by address.
    pub fn flush_page(&mut self, va: VirtAddr) {
        let page = self.page();
        self.maintain(Maintenance::WriteBackInvalidate, va.align_down(page.into()), page);
    }

    /// Writes the whole data cache back and drops it.
    pub fn flush_whole(&mut self) {
        let op = Maintenance::WriteBackInvalidate;
        if !self.muted(|site| Event::Maintain { op, scope: congruent_trace::Scope::Whole, site }) {
            self.machine.maintain_whole(self.cpu, op);
        }
    }

    /// Drops the whole instruction cache.
    pub fn drop_code(&mut self) {
        if !self.mute.contains(&self.site()) {
            self.machine.invalidate_code_whole(self.cpu);
        }
    }

    /// Drops a page from the instruction cache, by address.
    pub fn drop_code_page(&mut self, va: VirtAddr) {
        if !self.mute.contains(&self.site()) {
            let page = u64::from(self.page());
            self.machine.invalidate_code_range(self.cpu, va.align_down(page), page).expect("what is maintained is mapped");
        }
    }

    /// Maps a frame at an address of the kernel.
    pub fn map_kernel(&mut self, va: VirtAddr, frame: Frame) {
        self.machine.tables_mut().set_kernel(va, Some(frame));
    }

    /// Takes such a mapping away, from all TLBs.
    pub fn unmap_kernel(&mut self, va: VirtAddr) {
        self.machine.tables_mut().set_kernel(va, None);
        self.drop_everywhere(Asid(0), va);
    }

    /// A window of a colour for a moment, for policies that flush through windows: one place per colour, CPU and number.
    pub fn with_window<R>(&mut self, frame: Frame, colour: usize, number: u64, work: impl FnOnce(&mut Self, VirtAddr) -> R) -> R {
        let (page, colours) = (u64::from(self.page()), u64::from(self.geometry().colours()));
        let va = VirtAddr(WINDOWS + ((self.cpu as u64 * 2 + number) * colours + colour as u64) * page);
        self.machine.tables_mut().set_kernel(va, Some(frame));
        self.machine.note_window_map(self.cpu);
        let result = work(self, va);
        self.machine.tables_mut().set_kernel(va, None);
        self.machine.tlb_drop_page(self.cpu, Asid(0), va);
        result
    }

    /// Flushes a frame at the colour of an address: through its permanent address if that will do.
    pub fn flush_at(&mut self, frame: Frame, va: VirtAddr) {
        if self.alias(frame, va) {
            let colour = self.colour(va);
            self.with_window(frame, colour, 0, |hw, window| hw.flush_page(window));
        } else {
            let linear = self.linear(frame);
            self.flush_page(linear);
        }
    }

    /// Flushes a frame at its permanent address.
    pub fn flush_linear(&mut self, frame: Frame) {
        let linear = self.linear(frame);
        self.flush_page(linear);
    }

    pub fn pte(&self, asid: Asid, va: VirtAddr) -> Option<Pte> {
        self.machine.tables().pte(asid, va)
    }

    /// Makes or changes a program's page-table entry.
    pub fn set_pte(&mut self, asid: Asid, va: VirtAddr, pte: Pte) {
        let old = self.pte(asid, va);
        self.machine.tables_mut().set(asid, va, pte);
        if old.is_some() {
            self.drop_everywhere(asid, va);
        }
    }

    /// Makes an entry read-only; TLBs are told later (fork tells them once).
    pub fn protect_quietly(&mut self, asid: Asid, va: VirtAddr) {
        if let Some(pte) = self.pte(asid, va) {
            let allowed = Allowed { write: false, ..pte.allowed };
            self.machine.tables_mut().set(asid, va, Pte { allowed, ..pte });
        }
    }

    /// Makes an entry read-only.
    pub fn protect(&mut self, asid: Asid, va: VirtAddr) {
        self.protect_quietly(asid, va);
        self.drop_everywhere(asid, va);
    }

    /// Takes an entry away; TLBs are told later ([`drop_space`](Self::drop_space)).
    pub fn clear_quietly(&mut self, asid: Asid, va: VirtAddr) -> Option<Pte> {
        self.machine.tables_mut().clear(asid, va)
    }

    /// Takes an entry away.
    pub fn clear_pte(&mut self, asid: Asid, va: VirtAddr) -> Option<Pte> {
        let old = self.machine.tables_mut().clear(asid, va);
        if old.is_some() {
            self.drop_everywhere(asid, va);
        }
        old
    }

    fn drop_everywhere(&mut self, asid: Asid, va: VirtAddr) {
        for cpu in 0..self.machine.cpus() {
            self.machine.tlb_drop_page(cpu, asid, va);
        }
    }

    /// Drops an address space from all TLBs.
    pub fn drop_space(&mut self, asid: Asid) {
        for cpu in 0..self.machine.cpus() {
            self.machine.tlb_drop_space(cpu, asid);
        }
    }

    /// Where programs have a frame mapped.
    pub fn users(&self, frame: Frame) -> &[(Asid, VirtAddr)] {
        self.machine.tables().users(frame)
    }

    /// Whether any program may store to a frame.
    pub fn writable(&self, frame: Frame) -> bool {
        self.users(frame).iter().any(|(asid, va)| self.pte(*asid, *va).is_some_and(|pte| pte.allowed.write))
    }

    /// Takes programs' rights to a frame away: all but those at one colour, or (`None`) the right to store.
    pub fn revoke(&mut self, frame: Frame, all_but: Option<usize>) {
        for (asid, va) in self.users(frame).to_vec() {
            match all_but {
                Some(colour) if self.colour(va) == colour => {}
                Some(_) => {
                    self.clear_pte(asid, va);
                }
                None => self.protect(asid, va),
            }
        }
    }

    /// A device moves bytes out of memory.
    pub fn device_reads(&mut self, from: PhysAddr, to: &mut [u8]) -> Result<(), NoSuchMemory> {
        self.machine.device_reads(At::Disk.site(), from, to)
    }

    /// A device moves bytes into memory.
    pub fn device_writes(&mut self, to: PhysAddr, from: &[u8]) -> Result<(), NoSuchMemory> {
        self.machine.device_writes(At::Disk.site(), to, from)
    }

    /// The physical address behind an address of the running program.
    pub fn physical(&mut self, va: VirtAddr) -> Result<PhysAddr, Fault> {
        let mapping = self.machine.translate(self.cpu, va)?;
        let offset = self.geometry().page_offset(va.0);
        Ok(self.geometry().frame_base(mapping.frame).add(offset.into()))
    }
}

/// What kernel and library share.
pub(crate) struct Board {
    hw: RefCell<Hw>,
    pub geometry: CacheGeometry,
    /// The library's word of each frame.
    pub words: Vec<FrameWord>,
    pub slots: Vec<CpuSlots>,
    pub kept: Vec<Vec<KeptSlot>>,
}

impl Board {
    pub fn new(setup: &Setup, kept: u32) -> Result<Self, SetupError> {
        let config = Config {
            cpus: setup.cpus,
            code: CacheConfig::new(setup.icache),
            l2: setup.l2,
            replacement: setup.replacement,
            seed: setup.seed,
            ..Config::new(setup.dcache, setup.frames)
        };
        config.check().map_err(SetupError::Machine)?;
        let frames = setup.frames as usize;
        let ear = Ear {
            judge: Shadow::new(setup.judged().map_err(SetupError::Judge)?),
            history: setup.history.then(Vec::new),
            geometry: setup.dcache,
            accused: BTreeSet::new(),
        };
        let tables = Tables::new(setup.frames, setup.dcache.page_shift());
        let machine = Machine::with_sink(config, tables, ear).map_err(SetupError::Machine)?;
        let mute = setup.mute.iter().copied().collect();
        Ok(Self {
            hw: RefCell::new(Hw { machine, cpu: 0, mute, copied: Vec::new(), lookups: 0 }),
            geometry: setup.dcache,
            words: (0..frames).map(|_| FrameWord::new()).collect(),
            slots: (0..setup.cpus).map(|_| CpuSlots::new()).collect(),
            kept: (0..setup.cpus).map(|_| (0..kept).map(|_| KeptSlot::new()).collect()).collect(),
        })
    }

    /// The hardware, for one operation.
    #[inline]
    pub fn hw(&self) -> RefMut<'_, Hw> {
        self.hw.borrow_mut()
    }
}
