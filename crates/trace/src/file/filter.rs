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
//!   than the first did, because the next finding may name it as the producer.
//!
//! What is put off changes nothing that anybody can see before it is given out: every event that could see it ends the run.
//!
//! Guarantees (`crates/shadow/tests/recorded.rs` enumerates): under the judging that [`access`](Filter::access) is told of, the
//! kept events give the very findings of all events, counts included; but where single ways were swept between two stores to a line,
//! the other of them may be named as the producer. Under any other shape of
//! [`Validity::OF_FILTER`](super::Validity::OF_FILTER) and any muting, they give the same verdict and the same first hazard of each block; a
//! hazard that repeats itself within one run is counted once. Caches have physical tags.

use std::collections::HashMap;
use std::vec::Vec;

use congruent_geometry::{PhysAddr, VirtAddr};

use super::Target;
use crate::{AccessKind, Event, Maintenance, Site};

/// log2 of the length of a block.
const BLOCK_SHIFT: u32 = 7;
const BLOCK: u32 = 1 << BLOCK_SHIFT;
const PAGE_SHIFT: u32 = 12;
const BLOCKS: usize = 1 << (PAGE_SHIFT - BLOCK_SHIFT);
/// Blocks of a page that an operation by index tells apart: as many as the shortest way holds.
const CLASSES: usize = 8;
/// The shortest line: what a load is sure to fill.
const SHORTEST: u32 = 16;
const WORD: usize = 4;
const WORDS: usize = BLOCK as usize / WORD;
const FILLS: usize = (BLOCK / SHORTEST) as usize;
/// Stores of single bytes of words that a block remembers.
const DIVIDED: usize = 32;
/// Stands for several code addresses.
const SEVERAL: u32 = u32::MAX;

/// What is known of a block.
#[derive(Clone, Copy, Default)]
struct Block {
    /// The virtual page of the run, and the CPU; zero if nobody ever came.
    who: u64,
    generation: u32,
    /// Where what is put off is kept, plus one.
    pending: u32,
    /// The code address of the stores kept in this run, if it was one.
    storer: u32,
    /// More than one virtual page accessed it, or something else happened to it.
    shared: bool,
    /// A hazard was found in it: everything is kept from then on.
    alarmed: bool,
    /// It is on the list of its class.
    listed: bool,
    /// Bytes loaded in this run (in a private block: filled), and stored.
    loaded: u128,
    stored: u128,
    /// Bytes that were fetched since anything else happened, and by whom.
    fetched: u128,
    fetcher: u64,
    fetch_generation: u32,
}

/// The last store of each byte of a block, and when each of its shortest lines was last filled: what is put off.
#[derive(Clone)]
struct Pending {
    /// The virtual address of the block.
    vaddr: u64,
    filled: u128,
    fills: [u32; FILLS],
    loader: Site,
    /// Bytes of the last store of their word.
    stored: u128,
    stores: [Store; WORDS],
    /// Other bytes of a word, and their stores.
    divided: Vec<(u128, Store)>,
    latest: u32,
}

/// A store that is put off.
#[derive(Clone, Copy, Default)]
struct Store {
    site: u32,
    /// When, in eras; and among the stores of the block.
    era: u32,
    order: u32,
}

/// Decides which events are kept. Events come in by the methods named after them, and what is kept goes to `keep`, in an order that
/// means the same if each event is put before the last so many operations (or other events that end an era) as `keep` is told first.
pub struct Filter {
    frames: Vec<u32>,
    far_frames: HashMap<u64, u32>,
    blocks: Vec<[Block; BLOCKS]>,
    bases: Vec<u64>,
    pending: Vec<Pending>,
    free: Vec<u32>,
    /// Per class: shared blocks that may have something put off.
    listed: [Vec<u32>; CLASSES],
    generation: [u32; CLASSES],
    code_generation: u32,
    cpu: u64,
    /// Operations so far, since the last time that all was given out because they were too many to count.
    era: u32,
}

/// Frames below this are found by their number.
const NEAR_FRAMES: u64 = 1 << 20;

impl Default for Filter {
    fn default() -> Self {
        Self::new()
    }
}

impl Filter {
    /// Nothing has happened yet: caches are empty.
    #[must_use]
    pub fn new() -> Self {
        Self {
            frames: Vec::new(),
            far_frames: HashMap::new(),
            blocks: Vec::new(),
            bases: Vec::new(),
            pending: Vec::new(),
            free: Vec::new(),
            listed: Default::default(),
            generation: [1; CLASSES],
            code_generation: 1,
            cpu: 0,
            era: 0,
        }
    }

    /// A load or store through a cacheable mapping, within one page of 4 KiB. `hazardous` if the judge of this very run found a
    /// hazard in it.
    #[allow(clippy::too_many_arguments, reason = "they are the access")]
    #[inline]
    pub fn access(
        &mut self,
        kind: AccessKind,
        vaddr: VirtAddr,
        paddr: PhysAddr,
        size: u32,
        site: Site,
        hazardous: bool,
        keep: &mut (impl FnMut(u64, &Event) + ?Sized),
    ) {
        let first = paddr.0 as u32 & (BLOCK - 1);
        if first + size > BLOCK {
            return self.spanning(kind, vaddr, paddr, size, site, hazardous, keep);
        }
        let (at, is_new) = self.find_or_make(paddr);
        let who = self.who(vaddr);
        self.begin(at, who, keep);
        let mask = bytes(first, size);
        let block = self.block_mut(at);
        block.alarmed |= hazardous;
        let (shared, alarmed, loaded, stored) = (block.shared, block.alarmed, block.loaded, block.stored);
        let event = Event::Access { kind, vaddr, paddr, size, site };
        if is_new {
            // A frame is known from its first access on.
            keep(0, &event);
            if kind == AccessKind::Load {
                self.block_mut(at).loaded |= widened(mask);
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
                AccessKind::Store => self.put_off(at, vaddr, mask, site, keep),
            }
            return;
        }
        match kind {
            AccessKind::Load if alarmed || mask & !loaded != 0 => {
                self.give_out(at, keep);
                let block = self.block_mut(at);
                block.loaded |= mask;
                block.fetched = 0;
                if mask & stored != 0 {
                    block.storer = SEVERAL;
                }
                keep(0, &event);
            }
            AccessKind::Load => {}
            AccessKind::Store if alarmed || mask & !stored != 0 => {
                self.give_out(at, keep);
                let block = self.block_mut(at);
                block.storer = if stored == 0 || block.storer == site.0 { site.0 } else { SEVERAL };
                block.loaded &= !(mask & !stored);
                block.stored |= mask;
                block.fetched = 0;
                keep(0, &event);
            }
            AccessKind::Store => {
                let block = self.block_mut(at);
                if block.storer != site.0 || block.pending != 0 {
                    self.put_off(at, vaddr, mask, site, keep);
                }
            }
        }
    }

    /// An access that lies in two or more blocks: rare, and always kept.
    #[allow(clippy::too_many_arguments, reason = "they are the access")]
    #[cold]
    fn spanning(
        &mut self,
        kind: AccessKind,
        vaddr: VirtAddr,
        paddr: PhysAddr,
        size: u32,
        site: Site,
        hazardous: bool,
        keep: &mut (impl FnMut(u64, &Event) + ?Sized),
    ) {
        let who = self.who(vaddr);
        for part in blocks_of(paddr, size.into()) {
            let (at, _) = self.find_or_make(part);
            self.begin(at, who, keep);
            self.give_out(at, keep);
            let block = self.block_mut(at);
            block.alarmed |= hazardous;
            // The run starts over: what is said of bytes would have to be taken apart.
            (block.loaded, block.stored, block.fetched) = (0, 0, 0);
        }
        keep(0, &Event::Access { kind, vaddr, paddr, size, site });
    }

    /// A prefetch of the line that holds an address.
    pub fn prefetch(&mut self, vaddr: VirtAddr, paddr: PhysAddr, site: Site, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        let (at, is_new) = self.find_or_make(paddr);
        self.begin(at, self.who(vaddr), keep);
        let filled = widened(bytes(paddr.0 as u32 & (BLOCK - 1), 1));
        let block = self.block_mut(at);
        let is_there = filled & (block.loaded | block.stored) != 0;
        if block.shared || block.alarmed || is_new {
            if !is_there || block.alarmed || is_new {
                self.give_out(at, keep);
                self.block_mut(at).fetched = 0;
                keep(0, &Event::Prefetch { vaddr, paddr, site });
            }
        } else if filled & !block.loaded != 0 {
            self.fill(at, vaddr, filled, site);
        }
    }

    /// An instruction fetch within one page. It changes nothing on the data side unless it is a hazard.
    #[allow(clippy::too_many_arguments, reason = "they are the fetch")]
    pub fn fetch(
        &mut self,
        vaddr: VirtAddr,
        paddr: PhysAddr,
        size: u32,
        site: Site,
        hazardous: bool,
        keep: &mut (impl FnMut(u64, &Event) + ?Sized),
    ) {
        let (who, generation) = (self.who(vaddr), self.code_generation);
        let mut is_known = !hazardous;
        for part in blocks_of(paddr, size.into()) {
            let (at, _) = self.find_or_make(part);
            let mask = part_of(paddr, size.into(), part);
            let block = self.block_mut(at);
            let by_same = block.fetcher == who && block.fetch_generation == generation;
            is_known &= !block.alarmed && by_same && mask & !block.fetched == 0;
        }
        if is_known {
            return;
        }
        for part in blocks_of(paddr, size.into()) {
            let (at, _) = self.find_or_make(part);
            self.give_out(at, keep);
            let block = self.block_mut(at);
            block.shared = true;
            block.alarmed |= hazardous;
            if block.fetcher != who || block.fetch_generation != generation {
                (block.fetcher, block.fetch_generation, block.fetched) = (who, generation, 0);
            }
            block.fetched |= part_of(paddr, size.into(), part);
            (block.loaded, block.stored) = (0, 0);
        }
        keep(0, &Event::Fetch { vaddr, paddr, size, site });
    }

    /// An access that goes past the cache: by a program, or by a device.
    pub fn bypass(&mut self, event: &Event, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        let (paddr, len) = match *event {
            Event::Uncached { paddr, size, .. } => (paddr, u64::from(size)),
            Event::Dma { paddr, len, .. } => (paddr, len),
            _ => return,
        };
        let mut concerns = false;
        for part in blocks_of(paddr, len) {
            if let Some(at) = self.find(part)
                && (self.block_mut(at).who != 0 || self.block_mut(at).fetcher != 0)
            {
                concerns = true;
                self.end(at, keep);
                self.block_mut(at).shared = true;
            }
        }
        // What was never cached has no copies.
        if concerns {
            keep(0, event);
        }
    }

    /// Something that is kept and concerns everything: the events that are none of the others.
    pub fn other(&mut self, event: &Event, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        self.give_out_all(keep);
        self.next_era(keep);
        match *event {
            Event::Cpu { cpu } => self.cpu = cpu.into(),
            Event::MaintainCode { .. } => self.code_generation = self.code_generation.wrapping_add(1),
            _ => {}
        }
        keep(0, event);
    }

    /// Maintenance of the data side follows, muted or not. It is always kept, by the caller.
    pub fn before_operation(&mut self, op: Maintenance, target: Target, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        let discards = op == Maintenance::Invalidate;
        match target {
            Target::Bytes { paddr, bytes, .. } => {
                for part in blocks_of(paddr, bytes.into()) {
                    if let Some(at) = self.find(part) {
                        self.end(at, keep);
                        self.block_mut(at).shared |= discards;
                    }
                }
            }
            Target::Index(operand) => self.end_class((operand >> BLOCK_SHIFT) as usize % CLASSES, discards, keep),
            Target::Whole => (0..CLASSES).for_each(|class| self.end_class(class, discards, keep)),
        }
        self.next_era(keep);
    }

    /// The run is over: gives out what was put off of shared blocks. What only one page ever accessed nobody will see any more.
    pub fn finish(&mut self, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        (0..CLASSES).for_each(|class| self.end_class(class, false, keep));
    }

    fn give_out_all(&mut self, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        (0..(self.blocks.len() * BLOCKS) as u32).for_each(|at| self.end(at, keep));
        (0..CLASSES).for_each(|class| self.end_class(class, false, keep));
    }

    fn next_era(&mut self, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        if self.era == u32::MAX {
            self.give_out_all(keep);
            self.era = 0;
        }
        self.era += 1;
    }

    /// Ends the runs of all blocks of a class.
    fn end_class(&mut self, class: usize, discards: bool, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        let mut listed = std::mem::take(&mut self.listed[class]);
        for at in listed.drain(..) {
            self.give_out(at, keep);
            self.block_mut(at).listed = false;
        }
        self.listed[class] = listed;
        self.generation[class] = self.generation[class].wrapping_add(1);
        if discards {
            for at in (class as u32..(self.blocks.len() * BLOCKS) as u32).step_by(CLASSES) {
                if self.block_mut(at).who != 0 {
                    self.end(at, keep);
                    self.block_mut(at).shared = true;
                }
            }
        }
    }

    /// Ends the run of a block.
    fn end(&mut self, at: u32, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        self.give_out(at, keep);
        let block = self.block_mut(at);
        (block.loaded, block.stored, block.fetched) = (0, 0, 0);
    }

    /// Begins a run of `who`, unless it is under way.
    #[inline]
    fn begin(&mut self, at: u32, who: u64, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        let generation = self.generation[at as usize % CLASSES];
        let block = self.block_mut(at);
        if block.who == who && block.generation == generation {
            return;
        }
        if block.who == who && !block.shared && !block.alarmed {
            // A sweep: what it did to the one copy will be seen from when its bytes were last stored and filled.
            (block.generation, block.loaded, block.fetched) = (generation, 0, 0);
            return;
        }
        self.end(at, keep);
        let block = self.block_mut(at);
        block.shared |= block.who != 0 && block.who != who;
        block.who = who;
        block.generation = generation;
    }

    #[inline]
    fn put_off(&mut self, at: u32, vaddr: VirtAddr, mask: u128, site: Site, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        let pending = self.pending(at, vaddr);
        if pending.latest == u32::MAX || pending.divided.len() >= DIVIDED {
            self.give_out(at, keep);
        }
        let era = self.era;
        let pending = self.pending(at, vaddr);
        pending.latest += 1;
        let store = Store { site: site.0, era, order: pending.latest };
        if !pending.divided.is_empty() {
            pending.divided.retain_mut(|(bytes, _)| {
                *bytes &= !mask;
                *bytes != 0
            });
        }
        for word in mask.trailing_zeros() as usize / WORD..=(127 - mask.leading_zeros() as usize) / WORD {
            let known = &mut pending.stores[word];
            let others = pending.stored & !mask & 0xf << (word * WORD);
            if others != 0 && (known.site, known.era) != (site.0, era) {
                pending.divided.push((others, *known));
                pending.stored &= !others;
            }
            *known = store;
        }
        pending.stored |= mask;
    }

    /// Puts off that these shortest lines were filled, in a block of one page.
    fn fill(&mut self, at: u32, vaddr: VirtAddr, filled: u128, site: Site) {
        self.block_mut(at).loaded |= filled;
        let era = self.era;
        let pending = self.pending(at, vaddr);
        pending.filled |= filled;
        pending.loader = site;
        for (line, fill) in pending.fills.iter_mut().enumerate() {
            if filled >> (line * SHORTEST as usize) & 1 != 0 {
                *fill = era;
            }
        }
    }

    /// What is put off of a block, made if there is nothing yet.
    #[inline]
    fn pending(&mut self, at: u32, vaddr: VirtAddr) -> &mut Pending {
        let place = match self.block_mut(at).pending {
            0 => self.new_pending(at, vaddr),
            place => place - 1,
        };
        &mut self.pending[place as usize]
    }

    fn new_pending(&mut self, at: u32, vaddr: VirtAddr) -> u32 {
        let fresh = Pending {
            vaddr: vaddr.0 & !(u64::from(BLOCK) - 1),
            filled: 0,
            fills: [0; FILLS],
            loader: Site(0),
            stored: 0,
            stores: [Store::default(); WORDS],
            divided: Vec::new(),
            latest: 0,
        };
        let place = match self.free.pop() {
            Some(place) => {
                self.pending[place as usize] = fresh;
                place
            }
            None => {
                self.pending.push(fresh);
                self.pending.len() as u32 - 1
            }
        };
        let block = self.block_mut(at);
        block.pending = place + 1;
        if (block.shared || block.alarmed) && !std::mem::replace(&mut block.listed, true) {
            self.listed[at as usize % CLASSES].push(at);
        }
        place
    }

    /// Gives out what was put off.
    #[inline]
    fn give_out(&mut self, at: u32, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        let place = std::mem::take(&mut self.block_mut(at).pending);
        if place != 0 {
            self.block_mut(at).storer = SEVERAL;
            self.give_out_now(at, place - 1, keep);
        }
    }

    fn give_out_now(&mut self, at: u32, place: u32, keep: &mut (impl FnMut(u64, &Event) + ?Sized)) {
        let base = self.bases[at as usize / BLOCKS] + u64::from(at) % BLOCKS as u64 * u64::from(BLOCK);
        let pending = &self.pending[place as usize];
        let access = |kind, first: u32, size, site| Event::Access {
            kind,
            vaddr: VirtAddr(pending.vaddr + u64::from(first)),
            paddr: PhysAddr(base + u64::from(first)),
            size,
            site,
        };
        let age = |era| u64::from(self.era - era);
        let of_word = |word: usize| (pending.stored & 0xf << (word * WORD), pending.stores[word]);
        let stores = || (0..WORDS).map(of_word).chain(pending.divided.iter().copied()).filter(|(bytes, _)| *bytes != 0);
        for (line, fill) in pending.fills.iter().enumerate() {
            let first = line as u32 * SHORTEST;
            let whole = bytes(first, SHORTEST);
            let stored_since = || stores().any(|(bytes, store)| bytes & whole != 0 && store.era >= *fill);
            if pending.filled & whole != 0 && !stored_since() {
                keep(age(*fill), &access(AccessKind::Load, first, SHORTEST, pending.loader));
            }
        }
        let mut stores: Vec<(u128, Store)> = stores().collect();
        stores.sort_unstable_by_key(|(bytes, store)| (store.order, bytes.trailing_zeros()));
        let mut left = stores.into_iter().peekable();
        while let Some((mut mask, store)) = left.next() {
            // Stores of one instruction side by side, with none of another in between, are one.
            while let Some((next, by)) = left.peek()
                && next.trailing_zeros() / WORD as u32 == (127 - mask.leading_zeros()) / WORD as u32 + 1
                && (by.site, by.era) == (store.site, store.era)
            {
                mask |= next;
                left.next();
            }
            for (first, size) in stretches(mask) {
                keep(age(store.era), &access(AccessKind::Store, first, size, Site(store.site)));
            }
        }
        self.free.push(place);
    }

    fn who(&self, vaddr: VirtAddr) -> u64 {
        self.cpu << 40 | ((vaddr.0 >> PAGE_SHIFT) + 1)
    }

    #[inline]
    fn block_mut(&mut self, at: u32) -> &mut Block {
        &mut self.blocks[at as usize / BLOCKS][at as usize % BLOCKS]
    }

    /// The block that holds an address, if its frame is known.
    #[inline]
    fn find(&self, paddr: PhysAddr) -> Option<u32> {
        let frame = paddr.0 >> PAGE_SHIFT;
        let page = if frame < NEAR_FRAMES {
            self.frames.get(frame as usize).copied().filter(|page| *page != 0)
        } else {
            self.far_frames.get(&frame).copied()
        };
        page.map(|page| (page - 1) * BLOCKS as u32 + (paddr.0 as u32 >> BLOCK_SHIFT) % BLOCKS as u32)
    }

    #[inline]
    fn find_or_make(&mut self, paddr: PhysAddr) -> (u32, bool) {
        match self.find(paddr) {
            Some(at) => (at, false),
            None => (self.make(paddr), true),
        }
    }

    #[cold]
    fn make(&mut self, paddr: PhysAddr) -> u32 {
        let frame = paddr.0 >> PAGE_SHIFT;
        self.blocks.push([Block::default(); BLOCKS]);
        self.bases.push(frame << PAGE_SHIFT);
        let page = self.blocks.len() as u32;
        if frame < NEAR_FRAMES {
            if self.frames.len() <= frame as usize {
                self.frames.resize(frame as usize + 1, 0);
            }
            self.frames[frame as usize] = page;
        } else {
            self.far_frames.insert(frame, page);
        }
        (page - 1) * BLOCKS as u32 + (paddr.0 as u32 >> BLOCK_SHIFT) % BLOCKS as u32
    }
}

/// The mask of some bytes of a block.
#[inline]
fn bytes(first: u32, size: u32) -> u128 {
    (u128::MAX >> (BLOCK - size)) << first
}

/// The shortest lines that hold these bytes, whole.
#[inline]
fn widened(mask: u128) -> u128 {
    const FIRSTS: u128 = u128::MAX / ((1 << SHORTEST) - 1);
    // Gathers each line's bytes in its first one, then spreads that over the line.
    let mut gathered = mask;
    for shift in [8, 4, 2, 1] {
        gathered |= gathered >> shift;
    }
    (gathered & FIRSTS) * ((1 << SHORTEST) - 1)
}

/// The first address of every block that a range concerns.
fn blocks_of(paddr: PhysAddr, len: u64) -> impl Iterator<Item = PhysAddr> + use<> {
    let first = paddr.0 >> BLOCK_SHIFT;
    let end = if len == 0 { first } else { (paddr.0.saturating_add(len - 1) >> BLOCK_SHIFT) + 1 };
    (first..end).map(|block| PhysAddr(block << BLOCK_SHIFT))
}

/// The bytes of the block at `part` that a range concerns.
fn part_of(paddr: PhysAddr, len: u64, part: PhysAddr) -> u128 {
    let first = paddr.0.max(part.0);
    let end = paddr.0.saturating_add(len).min(part.0 + u64::from(BLOCK));
    bytes((first - part.0) as u32, (end - first) as u32)
}

/// Every stretch of set bits: the first and how many.
fn stretches(mut mask: u128) -> impl Iterator<Item = (u32, u32)> {
    core::iter::from_fn(move || {
        let first = (mask != 0).then(|| mask.trailing_zeros())?;
        let size = (!(mask >> first)).trailing_zeros();
        mask &= !bytes(first, size);
        Some((first, size))
    })
}
