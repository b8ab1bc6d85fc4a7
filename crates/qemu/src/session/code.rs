//! The instruction side of a check: each block's fetches, when it runs.
//!
//! QEMU translates a block once and runs it often; a real core fetches its bytes each time, from its instruction cache if they are
//! there. So each run of a block is one fetch of all its bytes. That is a little more than was executed if an exception ends the block
//! early: the core may have fetched those bytes as well.

use congruent_geometry::{PhysAddr, VirtAddr};
use congruent_trace::{AccessKind, Event, Site};
use congruent_wire::FailureKind;

use super::Session;
use super::reach::Reach;
use crate::callbacks::Fetched;
use crate::moment::{Executing, Running, Starting, Translating};
use crate::settled::{Grounds, Settled};
use crate::translation::{GRANULE, Known};

impl Session {
    /// The bytes of a block where they are run now.
    ///
    /// QEMU keeps what it has translated by physical address, and runs it at every virtual one that leads there (`CF_PCREL`): the address
    /// that it said at translation is of the process that ran it first, and another may have something else there.
    ///
    /// # Errors
    /// Where the CPU state says that the block starts, if that cannot be.
    #[inline(always)]
    pub fn place(&self, translated: Fetched, now: &Executing) -> Result<Fetched, u32> {
        let Some(word) = self.block_word else { return Ok(translated) };
        let pc = now.word(word);
        // The same physical page, so the same place in the virtual one.
        if (pc ^ translated.pc).is_multiple_of(GRANULE) { Ok(Fetched { pc, ..translated }) } else { Err(pc) }
    }

    /// Any fetch of a block that may run at several addresses.
    #[cold]
    pub fn fetch_anywhere(&mut self, translated: Fetched, now: &Executing) {
        match self.place(translated, now) {
            Ok(fetched) => self.fetch(fetched, now),
            Err(pc) => self.stop(
                FailureKind::Environment,
                format!(
                    "this QEMU does not tell where code runs (a block translated at {:#010x} starts at {pc:#010x}); leave --icache out, or \
                     use QEMU 10.0 or 11.1",
                    translated.pc
                ),
            ),
        }
    }

    /// Takes a fetch that changes nothing, which is nearly every one; false if it is none of those. Cannot panic.
    #[inline(always)]
    pub fn quiet_fetch(&mut self, Fetched { pc, len }: Fetched) -> bool {
        if pc % GRANULE + len > GRANULE {
            return false;
        }
        let (target, code) = match (self.reach.code.find(pc), self.code) {
            (Known::Cached(target), Some(code)) => (target, code),
            (Known::Harmless, _) => {
                self.reach.harmless_fetches += 1;
                return true;
            }
            (Known::Cached(_) | Known::Nothing, _) => return false,
        };
        let alias = if self.reach.virtual_tags { target.alias } else { code.colour(VirtAddr(pc.into())).into() };
        let (vaddr, (page, offset)) = (self.recorded_address(pc), self.judge.page_of(target.byte(pc)));
        self.judge.quiet_fetch(page, alias, vaddr, offset, len)
    }

    /// As [`quiet_fetch`](Self::quiet_fetch), of a block that generated code need not call for again.
    #[inline(always)]
    pub fn settle_fetch(&mut self, block: Fetched) -> bool {
        let quiet = self.quiet_fetch(block);
        if let Some(settled) = &mut self.settled {
            settled.count();
            if quiet {
                settled.mark(block, self.reach.cpu.is_unmapped(block.pc));
            }
        }
        quiet
    }

    /// Something was done that may have changed what fetches find.
    #[inline]
    pub fn heed_changes(&mut self) {
        if let Some(settled) = &mut self.settled {
            let Reach { forgotten: fixed, forgotten_mapped: mapped, .. } = self.reach;
            settled.heed(Grounds { code: self.judge.code_changes(), fixed, mapped });
        }
    }

    /// Has fetches of a block told of.
    pub(super) fn watch_fetches(&self, block: &Translating, fetched: Fetched) {
        match &self.settled {
            Some(settled) => {
                block.on_unmarked_start(&self.callbacks.fetch_settling, fetched, settled.marks(), Settled::place(fetched));
            }
            None => block.on_start(self.fetch_callback(), fetched),
        }
    }

    /// Lets blocks settle that need not be called for each time, where a block has one address, and the judge is all that is told of
    /// fetches.
    pub(super) fn let_settle(&mut self, now: &Starting) {
        let told_always = self.block_word.is_some() || self.reach.virtual_tags || self.reach.cpu.has_spaces();
        if self.code.is_some()
            && !told_always
            && !self.turns.are_several()
            && !self.judge.is_recording()
            && self.settled.is_none()
        {
            self.settled = now.marks().map(Settled::new);
        }
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
        let (page, offset) = if let Known::Cached(target) = self.reach.code.find(vaddr) {
            self.judge.page_of(target.byte(vaddr))
        } else {
            let Some(paddr) = self.reach.resolve(vaddr, now) else {
                self.reach.untranslated += 1;
                return;
            };
            if !self.reach.is_code_cached(vaddr, paddr, now) {
                self.look_for_unseen(AccessKind::Load, paddr, size, now);
                return self.fetch_past_cache(vaddr, paddr, size, site);
            }
            (self.remember_code(vaddr, paddr), self.reach.geometry.page_offset(paddr.0))
        };
        self.look_for_unseen(AccessKind::Load, self.judge.paddr(page, offset), size, now);
        self.judge.fetch(page, self.reach.cache_address(vaddr), offset, size, site);
    }

    /// Memory is all that such a fetch sees, as an uncached load does.
    fn fetch_past_cache(&mut self, vaddr: u32, paddr: PhysAddr, size: u32, site: Site) {
        if self.judge.knows(self.reach.geometry.frame(paddr)) {
            self.judge.bypass(&Event::Uncached { kind: AccessKind::Load, paddr, size, site });
        } else {
            self.reach.harmless_fetches += 1;
            self.reach.code.remember_harmless(vaddr);
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
