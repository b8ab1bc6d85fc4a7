//! The instruction side of a check: each block's fetches, when it runs.
//!
//! QEMU translates a block once and runs it often; a real core fetches its bytes each time, from its instruction cache if they are
//! there. So each run of a block is one fetch of all its bytes. That is a little more than was executed if an exception ends the block
//! early: the core may have fetched those bytes as well.

use congruent_geometry::{PhysAddr, VirtAddr};
use congruent_trace::{AccessKind, Event, Site};

use super::Session;
use crate::callbacks::Fetched;
use crate::moment::Running;
use crate::translation::GRANULE;

impl Session {
    /// Takes a fetch that changes nothing, which is nearly every one; false if it is none of those. Cannot panic.
    #[inline(always)]
    pub fn quiet_fetch(&mut self, Fetched { pc, len }: Fetched) -> bool {
        let (Some(target), Some(code)) = (self.reach.translations.find(pc), self.code) else {
            return self.reach.translations.is_harmless(pc) && pc % GRANULE + len <= GRANULE;
        };
        let alias = if self.reach.virtual_tags { target.alias } else { code.colour(VirtAddr(pc.into())).into() };
        // Only recordings ask for it.
        let vaddr = if self.judge.is_recording() { self.reach.cache_address(pc) } else { VirtAddr(pc.into()) };
        let offset = target.offset | (pc % GRANULE);
        pc % GRANULE + len <= GRANULE && self.judge.quiet_fetch(target.page, alias, vaddr, offset, len)
    }

    /// Any fetch, page by page.
    #[cold]
    pub fn fetch(&mut self, Fetched { pc: mut vaddr, len: mut size }: Fetched, now: &Running) {
        let site = Site(vaddr);
        while size > 0 && !self.stopped {
            let piece = size.min(GRANULE - vaddr % GRANULE);
            self.fetch_piece(vaddr, piece, site, now);
            vaddr = vaddr.wrapping_add(piece);
            size -= piece;
        }
        self.step(now);
    }

    /// A fetch within one page.
    fn fetch_piece(&mut self, vaddr: u32, size: u32, site: Site, now: &Running) {
        let (page, offset) = if let Some(target) = self.reach.translations.find(vaddr) {
            (target.page, target.offset | (vaddr % GRANULE))
        } else {
            let Some(paddr) = self.reach.resolve(vaddr, now) else {
                self.reach.untranslated += 1;
                return;
            };
            if !self.reach.is_cached(vaddr, paddr, now) {
                return self.fetch_past_cache(vaddr, paddr, size, site);
            }
            (self.remember(vaddr, paddr), self.reach.geometry.page_offset(paddr.0))
        };
        self.judge.fetch(page, self.reach.cache_address(vaddr), offset, size, site);
    }

    /// Memory is all that such a fetch sees, as an uncached load does.
    fn fetch_past_cache(&mut self, vaddr: u32, paddr: PhysAddr, size: u32, site: Site) {
        if self.judge.knows(self.reach.geometry.frame(paddr)) {
            self.judge.bypass(&Event::Uncached { kind: AccessKind::Load, paddr, size, site });
        } else {
            self.reach.translations.remember_harmless(vaddr);
        }
    }

    /// What of the instruction side is not judged, in a sentence.
    pub(super) fn code_limit(&self) -> String {
        if self.code.is_some() {
            "of the instruction side, the cache is judged, but not what a pipeline has fetched ahead".into()
        } else {
            "instruction fetches are not judged; --icache SIZE,WAYS,LINE does it".into()
        }
    }
}
