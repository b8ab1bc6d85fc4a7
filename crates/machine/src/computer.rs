//! The computer as a whole: what it consists of, how it is built and looked at, and how addresses are translated.
//!
//! What it does is in the files named after it: `access`, `fill`, `maintain`, `device`.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use congruent_geometry::{CacheGeometry, VirtAddr};
use congruent_trace::{Event, Site};

use crate::adversary::Adversary;
use crate::cache::{At, Cache, GLOBAL};
use crate::config::{Config, ConfigError, Indexing, Replacement, Writes};
use crate::counters::Counters;
use crate::memory::Memory;
use crate::random::Random;
use crate::sink::{Ignore, Sink};
use crate::tlb::{Asid, Fault, FaultKind, Mapping, Need, Refill, Tlb};

/// A computer with caches that hold bytes: a load returns what the cache returns, stale or not.
///
/// `T` is where TLB misses are answered ([`Refill`]), `S` where events go ([`Sink`]). CPUs are numbered from 0; a method panics
/// if there is no such CPU. Every method that takes a virtual address means the address space that the CPU is in.
///
/// # Several CPUs
/// The caches of one colour are kept coherent as on real SMPs with virtually indexed caches: a miss is served by another CPU's
/// copy *in the same set*, if there is one, and a store takes the copies in the same set of other CPUs away. A dirty copy moves,
/// dirty bits and all, as in protocols that pass lines from cache to cache without a detour to memory. Copies in other sets are
/// aliases, on whatever CPU, and nothing keeps those coherent.
///
/// Which CPUs' caches maintenance acts on is said by [`Config::maintained`](crate::Config::maintained). Instruction caches are not kept coherent
/// with anything.
#[derive(Clone)]
pub struct Machine<T, S = Ignore> {
    pub(crate) tables: T,
    pub(crate) sink: S,
    pub(crate) memory: Memory,
    pub(crate) cores: Vec<Core>,
    pub(crate) adversary: Option<Adversary>,
    /// Per frame, whether it was accessed through a data cache; kept if the computer is speculative.
    pub(crate) live: Vec<bool>,
    /// Whether a store that hits a data cache concerns nobody else.
    pub(crate) stores_stay: bool,
    pub(crate) page_shift: u32,
    pub(crate) config: Config,
}

/// One CPU.
#[derive(Clone)]
pub(crate) struct Core {
    pub data: Cache,
    pub code: Cache,
    pub tlb: Tlb,
    pub counters: Counters,
    /// Where in its program it is.
    pub site: Site,
}

/// Which of its two caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Data,
    Code,
}

impl Core {
    pub fn cache(&mut self, side: Side) -> &mut Cache {
        match side {
            Side::Data => &mut self.data,
            Side::Code => &mut self.code,
        }
    }
}

impl<T: Refill> Machine<T> {
    /// A computer with empty caches and memory of zeros, whose events nobody hears.
    ///
    /// # Errors
    /// [`ConfigError`] if it cannot be built.
    pub fn new(config: Config, tables: T) -> Result<Self, ConfigError> {
        Self::with_sink(config, tables, Ignore)
    }
}

impl<T: Refill, S: Sink> Machine<T, S> {
    /// As [`new`](Machine::new), with somebody to hear the events.
    ///
    /// # Errors
    /// [`ConfigError`] if it cannot be built.
    pub fn with_sink(config: Config, tables: T, sink: S) -> Result<Self, ConfigError> {
        config.check()?;
        let mut random = Random::new(config.seed);
        let adversary = (config.replacement == Replacement::Adversarial).then(|| Adversary::new(random.split()));
        let core = |_| Core {
            data: Cache::new(&config.data, config.replacement, random.split()),
            code: Cache::new(&config.code, config.replacement, random.split()),
            tlb: Tlb::new(config.tlb_entries),
            counters: Counters::default(),
            site: Site::default(),
        };
        let cores: Vec<Core> = (0..config.cpus).map(core).collect();
        Ok(Self {
            tables,
            sink,
            memory: Memory::new(config.frames, &config.data.geometry, config.l2),
            cores,
            stores_stay: adversary.is_none() && config.cpus == 1 && config.data.writes == Writes::Back,
            adversary,
            live: vec![false; if config.speculative { config.frames as usize } else { 0 }],
            page_shift: config.data.geometry.page_shift(),
            config,
        })
    }

    /// What it was built from.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The shape of its data caches.
    pub const fn geometry(&self) -> &CacheGeometry {
        &self.config.data.geometry
    }

    /// How many CPUs it has.
    pub const fn cpus(&self) -> usize {
        self.config.cpus
    }

    /// The page tables.
    pub const fn tables(&self) -> &T {
        &self.tables
    }

    /// The page tables, to be changed. TLBs do not notice.
    pub const fn tables_mut(&mut self) -> &mut T {
        &mut self.tables
    }

    /// Who hears the events.
    pub const fn sink(&self) -> &S {
        &self.sink
    }

    /// Who hears the events, to be changed.
    pub const fn sink_mut(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Memory as it is, whatever the caches hold.
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Memory, to be loaded before the machine starts.
    pub const fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// What one CPU did so far.
    #[must_use]
    pub fn counters(&self, cpu: usize) -> &Counters {
        &self.cores[cpu].counters
    }

    /// What all CPUs did so far.
    #[must_use]
    pub fn total(&self) -> Counters {
        let mut total = Counters::default();
        self.cores.iter().for_each(|core| total += core.counters);
        total
    }

    /// Says where in its program a CPU is: the site of its events from now on.
    pub fn set_site(&mut self, cpu: usize, site: Site) {
        self.cores[cpu].site = site;
    }

    /// Where in its program a CPU is.
    #[must_use]
    pub fn site(&self, cpu: usize) -> Site {
        self.cores[cpu].site
    }

    /// Switches a CPU to another address space. If tags of data caches depend on it, it is told; of which CPU is not.
    pub fn set_asid(&mut self, cpu: usize, asid: Asid) {
        self.cores[cpu].tlb.asid = asid;
        if self.config.data.indexing == Indexing::Vivt {
            self.tell(Event::Space { space: asid.0.into() });
        }
    }

    /// The address space that a CPU is in.
    #[must_use]
    pub fn asid(&self, cpu: usize) -> Asid {
        self.cores[cpu].tlb.asid
    }

    /// Drops a page of one address space from a CPU's TLB, and global translations of it.
    pub fn tlb_drop_page(&mut self, cpu: usize, asid: Asid, vaddr: VirtAddr) {
        let page = vaddr.0 >> self.page_shift;
        self.tlb_drop(cpu, |entry, space, global| entry == page && (global || space == asid));
    }

    /// Drops an address space from a CPU's TLB; global translations stay.
    pub fn tlb_drop_space(&mut self, cpu: usize, asid: Asid) {
        self.tlb_drop(cpu, |_, space, global| !global && space == asid);
    }

    /// Empties a CPU's TLB.
    pub fn tlb_drop_all(&mut self, cpu: usize) {
        self.tlb_drop(cpu, |_, _, _| true);
    }

    fn tlb_drop(&mut self, cpu: usize, is_meant: impl FnMut(u64, Asid, bool) -> bool) {
        let core = &mut self.cores[cpu];
        core.counters.tlb_drops += 1;
        core.tlb.drop_if(is_meant);
    }

    /// Notes that the kernel model mapped a window on this CPU, which costs what the cost model says.
    pub fn note_window_map(&mut self, cpu: usize) {
        self.cores[cpu].counters.window_maps += 1;
    }

    /// Notes work of a CPU that is no access to memory.
    pub fn note_work(&mut self, cpu: usize, cycles: u64) {
        self.cores[cpu].counters.work += cycles;
    }

    /// Where a CPU's program would find this address, without an access.
    ///
    /// # Errors
    /// [`Fault`] if it is not mapped to memory.
    pub fn translate(&mut self, cpu: usize, vaddr: VirtAddr) -> Result<Mapping, Fault> {
        self.mapping(cpu, vaddr, Need::Nothing)
    }

    /// Translates and checks one address.
    pub(crate) fn reach(&mut self, cpu: usize, vaddr: VirtAddr, need: Need) -> Result<(At, bool), Fault> {
        let mapping = self.mapping(cpu, vaddr, need)?;
        Ok((self.at(cpu, vaddr, mapping), mapping.cached))
    }

    /// Checks every page of a range, so that an access that faults has changed nothing.
    pub(crate) fn check(&mut self, cpu: usize, vaddr: VirtAddr, len: usize, need: Need) -> Result<(), Fault> {
        let page = 1 << self.page_shift;
        let mut at = vaddr.0;
        let end = vaddr.0.checked_add(len as u64).ok_or(Fault { vaddr, kind: FaultKind::NotMapped })?;
        while at < end {
            self.mapping(cpu, VirtAddr(at), need)?;
            at = (at & !(page - 1)).saturating_add(page);
        }
        Ok(())
    }

    /// The operand that caches understand.
    #[inline]
    pub(crate) fn at(&self, cpu: usize, vaddr: VirtAddr, mapping: Mapping) -> At {
        let offset = vaddr.0 & ((1 << self.page_shift) - 1);
        let paddr = self.config.data.geometry.frame_base(mapping.frame).add(offset);
        let space = if mapping.global { GLOBAL } else { u32::from(self.cores[cpu].tlb.asid.0) };
        At { vaddr, paddr, space }
    }

    fn mapping(&mut self, cpu: usize, vaddr: VirtAddr, need: Need) -> Result<Mapping, Fault> {
        let page = vaddr.0 >> self.page_shift;
        let core = &mut self.cores[cpu];
        let start = VirtAddr(page << self.page_shift);
        let known = self.tables.direct(start).or_else(|| core.tlb.find(page));
        let mapping = match known {
            Some(mapping) if mapping.frame.0 >= self.memory.frames() => Err(FaultKind::NoMemory(mapping.frame)),
            Some(mapping) => Ok(mapping),
            None => match self.tables.refill(cpu, core.tlb.asid, start) {
                None => Err(FaultKind::NotMapped),
                Some(mapping) if mapping.frame.0 >= self.memory.frames() => Err(FaultKind::NoMemory(mapping.frame)),
                Some(mapping) => {
                    core.counters.tlb_refills += 1;
                    core.tlb.insert(page, mapping);
                    Ok(mapping)
                }
            },
        };
        let checked = mapping.and_then(|mapping| need.of(mapping.rights).map(|()| mapping));
        checked.map_err(|kind| {
            core.counters.faults += 1;
            Fault { vaddr, kind }
        })
    }

    #[inline]
    pub(crate) fn tell(&mut self, event: Event) {
        self.sink.event(&event);
    }
}

impl<T, S> fmt::Debug for Machine<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("config", &self.config).finish_non_exhaustive()
    }
}
