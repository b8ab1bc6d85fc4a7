//! The instruction side of the filter: which fetches are kept at once, which late, and which never.
//!
//! A fetch fills a copy from what memory may have, and can be a hazard if the block was ever stored to. So:
//!
//! - Of a block that nothing was stored to, every copy is good. All that can matter later is when each virtual page fetched each
//!   of its lines last. That is put off until something is stored to the block, if ever.
//! - Else the first fetch of a byte through a virtual page since the block was stored to is kept at once. Further ones find nothing
//!   old and leave the copy as it is, unless the instruction cache was swept in between. Then they fill the copy anew, which is put
//!   off in the same way; but the copy is filled with what memory may have *then*, so if the data cache is swept after that, the
//!   last fetch before is kept as well.
//!
//! Maintenance of the instruction side by address concerns its block only, by index the blocks of its class.

use std::vec::Vec;

use congruent_geometry::{PhysAddr, VirtAddr};

use super::block::{BLOCK, LINES, SHORTEST, blocks_of, bytes, class, part_of, stretches, widened};
use super::{Filter, Keep, Moment};
use crate::{Event, Site};

/// Virtual pages that fetch a block and are told apart.
const MOST: usize = 8;

/// What is known of a virtual page's fetches of a block.
#[derive(Clone, Copy)]
pub(super) struct Fetcher {
    who: u64,
    /// The virtual address of the block.
    vaddr: u64,
    /// Bytes that its copy is known to have as they are: fetched since anything was stored to the block.
    seen: u128,
    /// The code and data generations of its last fetch.
    code_generation: u32,
    generation: u32,
    /// Its shortest lines that were fetched in this code generation, by bits, and those of which that is put off.
    held: u8,
    late: u8,
    /// When those were fetched last, in eras.
    eras: [u32; LINES],
}

impl Fetcher {
    fn new(who: u64, vaddr: VirtAddr) -> Self {
        Self {
            who,
            vaddr: vaddr.0 & !(u64::from(BLOCK) - 1),
            seen: 0,
            code_generation: 0,
            generation: 0,
            held: 0,
            late: 0,
            eras: [0; LINES],
        }
    }
}

/// The shortest lines that hold these bytes, a bit each.
fn lines(mask: u128) -> u8 {
    (0..LINES as u32).fold(0, |lines, line| lines | u8::from(mask & bytes(line * SHORTEST, SHORTEST) != 0) << line)
}

impl Filter {
    /// Whether a fetch is known to change nothing.
    #[inline]
    pub fn knows_fetch(&self, vaddr: VirtAddr, paddr: PhysAddr, size: u32) -> bool {
        let who = self.who(vaddr);
        blocks_of(paddr, size.into()).all(|part| {
            let Some(at) = self.blocks.find(part) else { return false };
            let block = self.blocks.get(at);
            let mask = part_of(paddr, size.into(), part);
            let known = |fetcher: &Fetcher| {
                fetcher.who == who
                    && fetcher.code_generation == self.code_generation[class(at)]
                    && mask & !fetcher.seen == 0
                    && lines(mask) & !fetcher.held == 0
            };
            !block.alarmed && block.fetches != 0 && self.fetches[block.fetches as usize - 1].iter().any(known)
        })
    }

    /// An instruction fetch within one page of 4 KiB.
    pub fn fetch(&mut self, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site, now: Moment, keep: &mut Keep<'_>) {
        if !now.hazardous && self.knows_fetch(vaddr, paddr, size) {
            return;
        }
        let mut matters = now.hazardous;
        let who = self.who(vaddr);
        for part in blocks_of(paddr, size.into()) {
            // A frame is known from its first access on.
            let (at, is_new) = self.blocks.find_or_make(part, self.fresh);
            let mask = part_of(paddr, size.into(), part);
            let block = *self.blocks.get(at);
            let known = self.fetcher(at, who, vaddr, keep).seen;
            matters |= is_new || block.alarmed || block.written && mask & !known != 0;
        }
        for part in blocks_of(paddr, size.into()) {
            let Some(at) = self.blocks.find(part) else { continue };
            let mask = part_of(paddr, size.into(), part);
            if matters {
                self.fetch_now(at, mask, vaddr, now.hazardous, keep);
            } else {
                self.put_off_fetch(at, mask, vaddr, keep);
            }
        }
        if matters {
            keep(0, Some(now.context), &Event::Fetch { vaddr, paddr, size, site });
        }
    }

    /// A fetch of the block is about to be kept.
    fn fetch_now(&mut self, at: u32, mask: u128, vaddr: VirtAddr, hazardous: bool, keep: &mut Keep<'_>) {
        let (written, alarmed) = {
            let block = self.blocks.get_mut(at);
            block.alarmed |= hazardous;
            (block.written, block.alarmed)
        };
        if written || alarmed {
            self.give_out(at, keep);
            let block = self.blocks.get_mut(at);
            block.shared = true;
            // It may be a hazard and heal what the run has left dirty.
            (block.loaded, block.stored) = (0, 0);
        }
        self.give_out_fetches(at, keep);
        let who = self.who(vaddr);
        let code_generation = self.code_generation[class(at)];
        let fetcher = self.fetcher(at, who, vaddr, keep);
        if fetcher.code_generation != code_generation {
            (fetcher.code_generation, fetcher.held) = (code_generation, 0);
        }
        fetcher.seen |= if written { mask } else { widened(mask) };
        fetcher.held |= lines(mask);
    }

    /// A fetch that finds nothing old, and fills a copy anew at most.
    fn put_off_fetch(&mut self, at: u32, mask: u128, vaddr: VirtAddr, keep: &mut Keep<'_>) {
        let (who, era) = (self.who(vaddr), self.era);
        let (code_generation, generation) = (self.code_generation[class(at)], self.generation[class(at)]);
        let written = self.blocks.get(at).written;
        let fetcher = self.fetcher(at, who, vaddr, keep);
        if fetcher.late != 0 && written && fetcher.generation != generation {
            self.give_out_fetches(at, keep);
        }
        let fetcher = self.fetcher(at, who, vaddr, keep);
        if fetcher.code_generation != code_generation {
            (fetcher.code_generation, fetcher.held) = (code_generation, 0);
        }
        let lines = lines(mask);
        fetcher.generation = generation;
        fetcher.held |= lines;
        fetcher.late |= lines;
        for (line, filled) in fetcher.eras.iter_mut().enumerate() {
            if lines >> line & 1 != 0 {
                *filled = era;
            }
        }
        if !written {
            fetcher.seen |= widened(mask);
        }
    }

    /// The block is about to be stored to, by whomever, and not as it was since it was fetched. Bytes beside those stored to may
    /// become old as well: a stale copy that becomes dirty may be written back over them.
    pub(super) fn outdate(&mut self, at: u32, keep: &mut Keep<'_>) {
        let block = self.blocks.get_mut(at);
        block.written = true;
        if block.fetches == 0 {
            return;
        }
        if !block.shared {
            self.give_out(at, keep);
            self.blocks.get_mut(at).shared = true;
        }
        self.forget_seen(at, keep);
    }

    /// Maintenance of the instruction side of the block by address follows.
    pub(super) fn drop_fetched(&mut self, at: u32, keep: &mut Keep<'_>) {
        self.give_out_fetches(at, keep);
        self.for_fetchers(at, |fetcher| fetcher.held = 0);
    }

    /// What was fetched may be lost.
    pub(super) fn forget_seen(&mut self, at: u32, keep: &mut Keep<'_>) {
        self.give_out_fetches(at, keep);
        self.for_fetchers(at, |fetcher| fetcher.seen = 0);
    }

    /// Maintenance of the instruction side of every block of a class follows.
    pub(super) fn sweep_fetched(&mut self, class: usize) {
        self.code_generation[class] = self.code_generation[class].wrapping_add(1);
    }

    /// Gives out which fetches of a block came last.
    pub(super) fn give_out_fetches(&mut self, at: u32, keep: &mut Keep<'_>) {
        let place = self.blocks.get(at).fetches;
        let Some(fetchers) = (place as usize).checked_sub(1).and_then(|place| self.fetches.get_mut(place)) else { return };
        for fetcher in fetchers {
            give_out(fetcher, self.blocks.base(at), self.era, keep);
        }
    }

    fn for_fetchers(&mut self, at: u32, each: impl FnMut(&mut Fetcher)) {
        let place = self.blocks.get(at).fetches;
        if let Some(fetchers) = (place as usize).checked_sub(1).and_then(|place| self.fetches.get_mut(place)) {
            fetchers.iter_mut().for_each(each);
        }
    }

    /// What is known of a virtual page's fetches, the latest page first. Of too many, the one that was away longest is forgotten.
    fn fetcher(&mut self, at: u32, who: u64, vaddr: VirtAddr, keep: &mut Keep<'_>) -> &mut Fetcher {
        let base = self.blocks.base(at);
        let block = self.blocks.get_mut(at);
        if block.fetches == 0 {
            self.fetches.push(Vec::new());
            block.fetches = self.fetches.len() as u32;
        }
        let fetchers = &mut self.fetches[block.fetches as usize - 1];
        let place = match fetchers.iter().position(|fetcher| fetcher.who == who) {
            Some(place) => place,
            None => {
                if fetchers.len() == MOST {
                    give_out(&mut fetchers[MOST - 1], base, self.era, keep);
                    fetchers.truncate(MOST - 1);
                }
                fetchers.push(Fetcher::new(who, vaddr));
                fetchers.len() - 1
            }
        };
        fetchers[..=place].rotate_right(1);
        &mut fetchers[0]
    }
}

fn give_out(fetcher: &mut Fetcher, base: u64, era: u32, keep: &mut Keep<'_>) {
    let mut late = core::mem::take(&mut fetcher.late);
    while late != 0 {
        let when = fetcher.eras[late.trailing_zeros() as usize];
        let together = (0..LINES as u32).filter(|line| late >> line & 1 != 0 && fetcher.eras[*line as usize] == when);
        let (lines, mask) =
            together.fold((0, 0), |(lines, mask), line| (lines | 1 << line, mask | bytes(line * SHORTEST, SHORTEST)));
        late &= !lines;
        // Other bytes of these lines may be old.
        for (first, size) in stretches(mask & fetcher.seen) {
            let (vaddr, paddr) = (VirtAddr(fetcher.vaddr + u64::from(first)), PhysAddr(base + u64::from(first)));
            keep(u64::from(era - when), None, &Event::Fetch { vaddr, paddr, size, site: Site(vaddr.0 as u32) });
        }
    }
}
