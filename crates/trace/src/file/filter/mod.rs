//! Which events of a run can change a verdict: the only ones that a recording keeps.
//!
//! Memory is looked at in *blocks* as long as the longest line. A *run* is a stretch in which a block is accessed through one
//! virtual page only and nothing else happens to it: no other page, no access past the cache, no fetch, no maintenance that could
//! concern it under any shape of cache. Within a run:
//!
//! - A block that only one virtual page ever accessed, and nothing ever discarded, cannot be read stale under any shape: each of
//!   its copies is the newest. Its accesses are put off until somebody else comes, beyond sweeps by index and of the whole cache: what
//!   a sweep left of the copy follows from when each byte was last stored and each line last filled. So these are all that is
//!   kept, *late*: with the number of operations since. What nobody else ever comes to see is not kept at all.
//! - In any other block, a first load or store of a byte is kept at once, for it may be a hazard and hazards are told in order.
//!   Further ones find what the first left behind. The last store of each word is kept at the end of the run if it says more
//!   than the first did, because the next finding may name it, and its callers, as the producer.
//! - Of the instruction side, see [`fetches`].
//!
//! What is put off changes nothing that anybody can see before it is given out: every event that could see it ends the run.
//!
//! Guarantees (random runs of `crates/shadow/tests/recorded.rs`): under the judging whose hazards it is told of ([`Moment`]), the
//! kept events give the very findings of all events, counts included; but where single ways were swept between two stores to a line,
//! the other of them may be named as the producer. Under any other shape of
//! [`Validity::OF_FILTER`](super::Validity::OF_FILTER) and any muting, they give the same verdict and the same first hazard of each block; a
//! hazard that repeats itself within one run is counted once. Caches have physical tags. For caches that do not
//! allocate at stores, or that fill lines nobody asked for, more is kept ([`Filter::for_every_core`]): what a store or a device does then
//! depends on more than what a program did to the block before.

mod block;
mod fetches;
mod put_off;

use std::vec::Vec;

use congruent_geometry::{PhysAddr, VirtAddr};

use crate::{AccessKind, Context, Event, IndexForm, Maintenance, On, Operation, Site, Target};
use block::{BLOCK, BLOCK_SHIFT, Block, Blocks, CLASSES, PAGE_SHIFT, blocks_of, bytes, class, widened};
use fetches::Fetcher;
use put_off::Pending;

/// Stands for several code addresses.
const SEVERAL: u32 = u32::MAX;

/// Takes what is kept: how many eras ago it was; through which calls it came, unless no finding can ever tell of that; and what it was.
pub type Keep<'a> = dyn FnMut(u64, Option<Context>, &Event) + 'a;

/// A load or store through a cacheable mapping, within one page of 4 KiB.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Load or store.
    pub kind: AccessKind,
    /// The virtual address.
    pub vaddr: VirtAddr,
    /// The physical address of the same byte.
    pub paddr: PhysAddr,
    /// Length in bytes, at least 1.
    pub size: u32,
    /// The instruction.
    pub site: Site,
}

impl From<Access> for Event {
    fn from(Access { kind, vaddr, paddr, size, site }: Access) -> Self {
        Self::Access { kind, vaddr, paddr, size, site }
    }
}

/// What goes with an event that came from code.
#[derive(Clone, Copy, Default, Debug)]
pub struct Moment {
    /// Through which calls.
    pub context: Context,
    /// Whether the judge of this very run found a hazard in it.
    pub hazardous: bool,
}

/// A store that nothing has to be kept of at once.
#[derive(Clone, Copy, Debug)]
pub struct QuietStore {
    /// Where it is put off; nowhere if it says nothing that the last one did not.
    place: Option<u32>,
    mask: u128,
    site: Site,
    context: Context,
}

/// Decides which events are kept. Events come in by the methods named after them, and what is kept goes to `keep`, in an order that
/// means the same if each event is put before the last so many operations (or other events that end an era) as `keep` is told first.
pub struct Filter {
    blocks: Blocks,
    /// A block of a frame that nobody accessed.
    fresh: Block,
    every_core: bool,
    /// How index operations name sets.
    form: IndexForm,
    pending: Vec<Pending>,
    free: Vec<u32>,
    /// Per block that was fetched from: by which pages.
    fetches: Vec<Vec<Fetcher>>,
    /// Per class: shared blocks that may have something put off.
    listed: [Vec<u32>; CLASSES],
    generation: [u32; CLASSES],
    code_generation: [u32; CLASSES],
    cpu: u64,
    /// Operations so far, since the last time that all was given out because they were too many to count.
    era: u32,
}

impl Filter {
    /// Nothing has happened yet: caches are empty. Index operations will name sets in this form.
    #[must_use]
    pub fn new(form: IndexForm) -> Self {
        Self {
            blocks: Blocks::default(),
            fresh: Block::default(),
            every_core: false,
            form,
            pending: Vec::new(),
            free: Vec::new(),
            fetches: Vec::new(),
            listed: Default::default(),
            generation: [1; CLASSES],
            code_generation: [1; CLASSES],
            cpu: 0,
            era: 0,
        }
    }

    /// The same, for judging caches that do not allocate at stores, or fill lines on their own, as well. More is kept.
    #[must_use]
    pub fn for_every_core(self) -> Self {
        Self { every_core: true, fresh: Block { shared: true, ..self.fresh }, ..self }
    }

    /// Takes a load that is known to change nothing; false if it is none.
    #[inline]
    pub fn quiet_load(&self, vaddr: VirtAddr, paddr: PhysAddr, size: u32) -> bool {
        let first = paddr.0 as u32 & (BLOCK - 1);
        let Some(at) = self.blocks.find(paddr).filter(|_| first + size <= BLOCK) else { return false };
        let block = self.blocks.get(at);
        block.who == self.who(vaddr)
            && block.generation == self.generation[class(at)]
            && !block.alarmed
            && bytes(first, size) & !block.loaded == 0
    }

    /// Finds out whether a store is one that at most replaces what is put off of an earlier one. Nothing is done yet: it is, by
    /// [`take_store`](Self::take_store), if the judge finds nothing in the store either.
    #[inline]
    pub fn quiet_store(&self, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site, context: Context) -> Option<QuietStore> {
        let first = paddr.0 as u32 & (BLOCK - 1);
        let at = self.blocks.find(paddr).filter(|_| first + size <= BLOCK)?;
        let block = self.blocks.get(at);
        let mask = bytes(first, size);
        let seen = block.written && (block.fetches == 0 || mask & !block.stored == 0);
        if block.who != self.who(vaddr) || block.generation != self.generation[class(at)] || block.alarmed || !seen {
            return None;
        }
        if block.shared && mask & !block.stored != 0 {
            return None;
        }
        let repeats = block.storer == site.0 && block.storer_context == context.0 && block.pending == 0;
        if block.shared && repeats {
            return Some(QuietStore { place: None, mask, site, context });
        }
        let place = self.has_room(at)?;
        Some(QuietStore { place: Some(place), mask, site, context })
    }

    /// Takes a store that [`quiet_store`](Self::quiet_store) has just said to be quiet.
    #[inline]
    pub fn take_store(&mut self, QuietStore { place, mask, site, context }: QuietStore) {
        if let Some(place) = place {
            self.replace(place, mask, site, context);
        }
    }

    /// A load or store.
    #[inline]
    pub fn access(&mut self, access: Access, now: Moment, keep: &mut Keep<'_>) {
        let Access { kind, vaddr, paddr, size, site } = access;
        let first = paddr.0 as u32 & (BLOCK - 1);
        if first + size > BLOCK {
            return self.spanning(access, now, keep);
        }
        let (at, is_new) = self.blocks.find_or_make(paddr, self.fresh);
        self.begin(at, self.who(vaddr), keep);
        let mask = bytes(first, size);
        let block = self.blocks.get(at);
        let is_new_store = !block.written || block.fetches != 0 && (mask & !block.stored != 0 || block.alarmed);
        if kind == AccessKind::Store && is_new_store {
            self.outdate(at, keep);
        }
        let block = self.blocks.get_mut(at);
        block.alarmed |= now.hazardous;
        let Block { shared, alarmed, loaded, stored, .. } = *block;
        if is_new {
            // A frame is known from its first access on.
            keep(0, Some(now.context), &access.into());
            if kind == AccessKind::Load {
                block.loaded |= if shared { mask } else { widened(mask) };
            }
            if kind == AccessKind::Load || alarmed {
                return;
            }
        }
        if !shared && !alarmed {
            match kind {
                AccessKind::Load => {
                    let filled = widened(mask);
                    if filled & !loaded != 0 {
                        self.fill(at, vaddr, filled, site);
                    }
                }
                AccessKind::Store => self.put_off(at, vaddr, mask, site, now.context, keep),
            }
            return;
        }
        match kind {
            AccessKind::Load if alarmed || mask & !loaded != 0 => {
                self.give_out(at, keep);
                let block = self.blocks.get_mut(at);
                block.loaded |= mask;
                if mask & stored != 0 {
                    block.storer = SEVERAL;
                }
                if self.every_core {
                    // Now stores hit.
                    block.stored = 0;
                }
                keep(0, Some(now.context), &access.into());
            }
            AccessKind::Load => {}
            AccessKind::Store if alarmed || mask & !stored != 0 => {
                self.give_out(at, keep);
                let block = self.blocks.get_mut(at);
                let by_same = block.storer == site.0 && block.storer_context == now.context.0;
                block.storer = if stored == 0 || by_same { site.0 } else { SEVERAL };
                block.storer_context = now.context.0;
                block.loaded &= !(mask & !stored);
                block.stored |= mask;
                keep(0, Some(now.context), &access.into());
            }
            AccessKind::Store => {
                if block.storer != site.0 || block.storer_context != now.context.0 || block.pending != 0 {
                    self.put_off(at, vaddr, mask, site, now.context, keep);
                }
            }
        }
    }

    /// An access that lies in two or more blocks: rare, and always kept.
    #[cold]
    fn spanning(&mut self, access: Access, now: Moment, keep: &mut Keep<'_>) {
        let who = self.who(access.vaddr);
        for part in blocks_of(access.paddr, access.size.into()) {
            let (at, _) = self.blocks.find_or_make(part, self.fresh);
            self.begin(at, who, keep);
            if access.kind == AccessKind::Store {
                self.outdate(at, keep);
            }
            self.give_out(at, keep);
            let block = self.blocks.get_mut(at);
            block.alarmed |= now.hazardous;
            // The run starts over: what is said of bytes would have to be taken apart.
            (block.loaded, block.stored) = (0, 0);
        }
        keep(0, Some(now.context), &access.into());
    }

    /// A prefetch of the line that holds an address.
    pub fn prefetch(&mut self, vaddr: VirtAddr, paddr: PhysAddr, site: Site, keep: &mut Keep<'_>) {
        let (at, is_new) = self.blocks.find_or_make(paddr, self.fresh);
        self.begin(at, self.who(vaddr), keep);
        let filled = widened(bytes(paddr.0 as u32 & (BLOCK - 1), 1));
        let block = self.blocks.get_mut(at);
        if block.shared || block.alarmed || is_new {
            let there = block.loaded | if self.every_core { 0 } else { block.stored };
            if filled & there == 0 || block.alarmed || is_new {
                self.give_out(at, keep);
                if self.every_core {
                    self.blocks.get_mut(at).stored = 0;
                }
                keep(0, None, &Event::Prefetch { vaddr, paddr, site });
            }
        } else if filled & !block.loaded != 0 {
            self.fill(at, vaddr, filled, site);
        }
    }

    /// An access that goes past the cache: by a program, or by a device.
    pub fn bypass(&mut self, event: &Event, now: Moment, keep: &mut Keep<'_>) {
        let (paddr, len, stores) = match *event {
            Event::Uncached { paddr, size, kind, .. } => (paddr, u64::from(size), kind == AccessKind::Store),
            Event::Dma { paddr, len, direction, .. } => (paddr, len, direction == crate::DmaDirection::Write),
            Event::Access { .. }
            | Event::Prefetch { .. }
            | Event::Fetch { .. }
            | Event::Maintain { .. }
            | Event::MaintainCode { .. }
            | Event::Space { .. }
            | Event::Cpu { .. } => return,
        };
        let mut concerns = false;
        for part in blocks_of(paddr, len) {
            if let Some(at) = self.blocks.find(part)
                && (self.every_core || self.blocks.get(at).who != 0 || self.blocks.get(at).fetches != 0)
            {
                concerns = true;
                if stores {
                    self.outdate(at, keep);
                }
                self.end(at, keep);
                self.blocks.get_mut(at).shared = true;
            }
        }
        // What was never cached has no copies.
        if concerns {
            let calls = matches!(event, Event::Uncached { .. }).then_some(now.context);
            keep(0, calls, event);
        }
    }

    /// Something that is kept and concerns everything: the events that are none of the others.
    pub fn other(&mut self, event: &Event, keep: &mut Keep<'_>) {
        self.give_out_all(keep);
        self.next_era(keep);
        if let Event::Cpu { cpu } = *event {
            self.cpu = cpu.into();
        }
        keep(0, None, event);
    }

    /// Maintenance follows, muted or not. It is always kept, by the caller.
    pub fn before_operation(&mut self, Operation { on, target, .. }: Operation, keep: &mut Keep<'_>) {
        let discards = on == On::Data(Maintenance::Invalidate);
        match target {
            Target::Bytes { paddr, bytes, .. } => {
                for part in blocks_of(paddr, bytes.into()) {
                    match (self.blocks.find(part), on) {
                        (Some(at), On::Data(_)) => {
                            self.end(at, keep);
                            self.give_out_fetches(at, keep);
                            if discards {
                                self.blocks.get_mut(at).shared = true;
                                self.forget_seen(at, keep);
                            }
                        }
                        (Some(at), On::Code) => self.drop_fetched(at, keep),
                        (None, _) => {}
                    }
                }
            }
            // Sets that are counted for one shape of cache say nothing of addresses.
            Target::Index(operand) if self.form != IndexForm::Resolved => {
                self.sweep((operand >> BLOCK_SHIFT) as usize % CLASSES, on, discards, keep);
            }
            Target::Index(_) | Target::Whole => (0..CLASSES).for_each(|class| self.sweep(class, on, discards, keep)),
        }
        self.next_era(keep);
    }

    fn sweep(&mut self, class: usize, on: On, discards: bool, keep: &mut Keep<'_>) {
        match on {
            On::Data(_) => self.end_class(class, discards, keep),
            On::Code => self.sweep_fetched(class),
        }
    }

    /// The run is over: gives out what was put off of shared blocks. What only one page ever accessed nobody will see any more.
    pub fn finish(&mut self, keep: &mut Keep<'_>) {
        (0..CLASSES).for_each(|class| self.end_class(class, false, keep));
    }

    fn give_out_all(&mut self, keep: &mut Keep<'_>) {
        for at in 0..self.blocks.len() {
            self.end(at, keep);
            self.give_out_fetches(at, keep);
        }
        (0..CLASSES).for_each(|class| self.end_class(class, false, keep));
    }

    fn next_era(&mut self, keep: &mut Keep<'_>) {
        if self.era == u32::MAX {
            self.give_out_all(keep);
            self.era = 0;
        }
        self.era += 1;
    }

    /// Ends the runs of all blocks of a class.
    fn end_class(&mut self, class: usize, discards: bool, keep: &mut Keep<'_>) {
        let mut listed = std::mem::take(&mut self.listed[class]);
        for at in listed.drain(..) {
            self.give_out(at, keep);
            self.blocks.get_mut(at).listed = false;
        }
        self.listed[class] = listed;
        self.generation[class] = self.generation[class].wrapping_add(1);
        if discards {
            for at in (class as u32..self.blocks.len()).step_by(CLASSES) {
                if self.blocks.get(at).who != 0 {
                    self.end(at, keep);
                    self.blocks.get_mut(at).shared = true;
                    self.forget_seen(at, keep);
                }
            }
        }
    }

    /// Ends the run of a block.
    fn end(&mut self, at: u32, keep: &mut Keep<'_>) {
        self.give_out(at, keep);
        let block = self.blocks.get_mut(at);
        (block.loaded, block.stored) = (0, 0);
    }

    /// Begins a run of `who`, unless it is under way.
    #[inline]
    fn begin(&mut self, at: u32, who: u64, keep: &mut Keep<'_>) {
        let generation = self.generation[class(at)];
        let block = self.blocks.get_mut(at);
        if block.who == who && block.generation == generation {
            return;
        }
        if block.who == who && !block.shared && !block.alarmed {
            // A sweep: what it did to the one copy will be seen from when its bytes were last stored and filled.
            (block.generation, block.loaded) = (generation, 0);
            return;
        }
        self.end(at, keep);
        let block = self.blocks.get_mut(at);
        block.shared |= block.who != 0 && block.who != who;
        block.who = who;
        block.generation = generation;
    }

    #[inline]
    fn who(&self, vaddr: VirtAddr) -> u64 {
        self.cpu << 40 | ((vaddr.0 >> PAGE_SHIFT) + 1)
    }
}
