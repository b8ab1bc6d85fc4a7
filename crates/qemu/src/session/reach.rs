//! Where an address leads, on the CPU that runs: remembered, or asked of QEMU and the processor.
//!
//! Guarantees: what is remembered is the judge's own page; all of it is forgotten when a frame first gets into the cache, because what
//! went past the cache to it matters from then on. Not here: when a guest changes where addresses lead (`congruent_arch`).

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_shadow::{Alias, ByteId, Config, PageId};

use super::Session;
use crate::access::Target;
use crate::api::Api;
use crate::cpu::Cpu;
use crate::moment::{Accessing, Running};
use crate::translation::{GRANULE, Known, Translations};

/// What an access reaches.
pub(super) enum Reached {
    /// Cacheable memory: the shadow of its frame, and the offset there.
    Cached(PageId, u32),
    /// Memory, past the cache.
    Uncached(PhysAddr),
    /// Memory that was never in the cache, past it.
    Harmless,
    /// A device's registers.
    Device(u64),
    /// Nothing that is known.
    Nothing,
}

/// What is asked where an address leads.
pub(super) struct Reach {
    pub translations: Translations,
    /// Those of fetches: the instruction side may be switched on and off by itself.
    pub code: Translations,
    pub cpu: Box<dyn Cpu>,
    pub api: &'static Api,
    pub geometry: CacheGeometry,
    /// Whether the caches find lines by virtual addresses alone.
    pub virtual_tags: bool,
    /// Operations on addresses that led nowhere.
    pub untranslated: u64,
    /// Accesses past the cache to frames that were never in it.
    pub harmless: u64,
    /// Fetches past it from such frames.
    pub harmless_fetches: u64,
    /// How often everything was forgotten, and how often what is mapped by the TLB.
    pub forgotten: u64,
    pub forgotten_mapped: u64,
}

impl Reach {
    /// Nothing is remembered yet.
    pub fn new(cpu: Box<dyn Cpu>, api: &'static Api, caches: &Config) -> Self {
        Self {
            translations: Translations::new(),
            code: Translations::new(),
            cpu,
            api,
            geometry: caches.geometry,
            virtual_tags: caches.behaviour().virtual_tags,
            untranslated: 0,
            harmless: 0,
            harmless_fetches: 0,
            forgotten: 0,
            forgotten_mapped: 0,
        }
    }

    /// The virtual address that the caches see in place of this one.
    pub fn cache_address(&self, vaddr: u32) -> VirtAddr {
        VirtAddr(self.cpu.modified(vaddr).into())
    }

    /// The physical address of a virtual one; `None` if it is not mapped.
    pub fn resolve(&mut self, vaddr: u32, now: &Running) -> Option<PhysAddr> {
        self.cpu.resolve(self.cpu.modified(vaddr), now)
    }

    /// Whether accesses through a virtual address, which leads there, go through the cache.
    pub fn is_cached(&mut self, vaddr: u32, paddr: PhysAddr, now: &Running) -> bool {
        self.cpu.is_cached(self.cpu.modified(vaddr), paddr, now)
    }

    /// As [`is_cached`](Self::is_cached), of fetches.
    pub fn is_code_cached(&mut self, vaddr: u32, paddr: PhysAddr, now: &Running) -> bool {
        self.cpu.is_code_cached(self.cpu.modified(vaddr), paddr, now)
    }

    /// Forgets where addresses lead.
    pub fn forget(&mut self) {
        self.forgotten += 1;
        self.forget_mapped();
    }

    /// As [`forget`](Self::forget), where it is known that addresses that are [unmapped](Cpu::is_unmapped) lead where they led.
    pub fn forget_mapped(&mut self) {
        self.forgotten_mapped += 1;
        self.translations.forget();
        self.code.forget();
    }

    /// Where an operand of maintenance leads, which is a modified address.
    pub fn operand(&mut self, vaddr: u32, now: &Running) -> Option<PhysAddr> {
        if self.virtual_tags {
            // The address itself is compared with the tags, whether it is mapped or not, and the judge does not look at where it leads.
            return Some(PhysAddr(vaddr.into()));
        }
        self.cpu.resolve(vaddr, now)
    }
}

impl Session {
    /// Where an access leads, which has stored so many bytes there, remembered or asked for.
    pub(super) fn reach(&mut self, access: &Accessing, vaddr: u32, stored: u32) -> Reached {
        match self.reach.translations.find(vaddr) {
            Known::Cached(target) => {
                let (page, offset) = self.judge.page_of(target.byte(vaddr));
                return Reached::Cached(page, offset);
            }
            Known::Harmless => return Reached::Harmless,
            Known::Nothing => {}
        }
        let paddr = match access.target(self.reach.cpu.reported(vaddr)) {
            Some(Target::Memory(paddr)) => PhysAddr(paddr),
            Some(Target::Device(paddr)) => return Reached::Device(paddr),
            None => {
                self.reach.untranslated += 1;
                return Reached::Nothing;
            }
        };
        if !self.reach.is_cached(vaddr, paddr, access) {
            if self.judge.knows(self.reach.geometry.frame(paddr)) {
                return Reached::Uncached(paddr);
            }
            self.reach.translations.remember_harmless(vaddr);
            return Reached::Harmless;
        }
        Reached::Cached(self.remember(vaddr, paddr, stored), self.reach.geometry.page_offset(paddr.0))
    }

    /// The shadow of the frame that a cacheable address leads to, which is remembered for loads and stores. So many bytes have just been stored
    /// there.
    pub(super) fn remember(&mut self, vaddr: u32, paddr: PhysAddr, stored: u32) -> PageId {
        let (page, alias, start) = self.known_as(vaddr, paddr, stored);
        self.reach.translations.remember(vaddr, start, alias);
        page
    }

    /// As [`remember`](Self::remember), for fetches.
    pub(super) fn remember_code(&mut self, vaddr: u32, paddr: PhysAddr) -> PageId {
        let (page, alias, start) = self.known_as(vaddr, paddr, 0);
        self.reach.code.remember(vaddr, start, alias);
        page
    }

    /// The shadow of the frame that a cacheable address leads to, what the judge knows the address by, and where its granule starts.
    fn known_as(&mut self, vaddr: u32, paddr: PhysAddr, stored: u32) -> (PageId, Alias, ByteId) {
        let page = self.page(paddr);
        let offset = self.reach.geometry.page_offset(paddr.0);
        self.meet_page(page, offset, stored);
        let generation = self.judge.alias_generation();
        let alias = self.judge.alias(page, self.reach.cache_address(vaddr));
        if self.judge.alias_generation() != generation {
            // The alias of another page may have been given to this one.
            self.forget_translations();
        }
        (page, alias, self.judge.byte(page, offset & !(GRANULE - 1)))
    }

    /// The shadow of the frame of cacheable memory.
    fn page(&mut self, paddr: PhysAddr) -> PageId {
        let frame = self.reach.geometry.frame(paddr);
        if !self.judge.knows(frame) {
            // What goes past the cache to it matters from now on.
            self.forget_translations();
        }
        self.judge.page(frame)
    }
}
