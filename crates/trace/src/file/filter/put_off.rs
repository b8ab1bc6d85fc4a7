//! What is put off of a block's loads and stores: the last store of each byte, and when each of its shortest lines was last filled.

use std::vec::Vec;

use congruent_geometry::{PhysAddr, VirtAddr};

use super::block::{BLOCK, LINES, SHORTEST, bytes, class, stretches};
use super::{Filter, Keep, SEVERAL};
use crate::{AccessKind, Context, Event, Site};

const WORD: usize = 4;
const WORDS: usize = BLOCK as usize / WORD;
/// Stores of single bytes of words that a block remembers.
const DIVIDED: usize = 32;

/// What is put off of a block.
#[derive(Clone)]
pub(super) struct Pending {
    /// The virtual address of the block.
    vaddr: u64,
    filled: u128,
    fills: [u32; LINES],
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
    context: u32,
    /// When, in eras; and among the stores of the block.
    era: u32,
    order: u32,
}

impl Store {
    /// Whether it may be told as one with another, but for its place among them.
    fn is_like(&self, other: &Self) -> bool {
        (self.site, self.context, self.era) == (other.site, other.context, other.era)
    }
}

impl Filter {
    #[inline]
    pub(super) fn put_off(&mut self, at: u32, vaddr: VirtAddr, mask: u128, site: Site, context: Context, keep: &mut Keep<'_>) {
        let pending = self.pending(at, vaddr);
        if pending.latest == u32::MAX || pending.divided.len() >= DIVIDED {
            self.give_out(at, keep);
        }
        self.pending(at, vaddr);
        self.replace(self.blocks.get(at).pending - 1, mask, site, context);
    }

    /// Where a block's next store may be put off without giving anything out; none if there is no such place.
    #[inline]
    pub(super) fn has_room(&self, at: u32) -> Option<u32> {
        let place = self.blocks.get(at).pending.checked_sub(1)?;
        let pending = self.pending.get(place as usize)?;
        (pending.latest != u32::MAX && pending.divided.len() < DIVIDED).then_some(place)
    }

    /// Puts off the last store of these bytes, in place of the ones that they had.
    #[inline]
    pub(super) fn replace(&mut self, place: u32, mask: u128, site: Site, context: Context) {
        let era = self.era;
        let Some(pending) = self.pending.get_mut(place as usize) else { return };
        pending.latest += 1;
        let store = Store { site: site.0, context: context.0, era, order: pending.latest };
        if !pending.divided.is_empty() {
            pending.divided.retain_mut(|(bytes, _)| {
                *bytes &= !mask;
                *bytes != 0
            });
        }
        for word in mask.trailing_zeros() as usize / WORD..=(127 - mask.leading_zeros() as usize) / WORD {
            let known = &mut pending.stores[word];
            let others = pending.stored & !mask & 0xf << (word * WORD);
            if others != 0 && !known.is_like(&store) {
                pending.divided.push((others, *known));
                pending.stored &= !others;
            }
            *known = store;
        }
        pending.stored |= mask;
    }

    /// Puts off that these shortest lines were filled, in a block of one page.
    pub(super) fn fill(&mut self, at: u32, vaddr: VirtAddr, filled: u128, site: Site) {
        self.blocks.get_mut(at).loaded |= filled;
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
        let place = match self.blocks.get(at).pending {
            0 => self.new_pending(at, vaddr),
            place => place - 1,
        };
        &mut self.pending[place as usize]
    }

    fn new_pending(&mut self, at: u32, vaddr: VirtAddr) -> u32 {
        let fresh = Pending {
            vaddr: vaddr.0 & !(u64::from(BLOCK) - 1),
            filled: 0,
            fills: [0; LINES],
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
        let block = self.blocks.get_mut(at);
        block.pending = place + 1;
        if (block.shared || block.alarmed) && !std::mem::replace(&mut block.listed, true) {
            self.listed[class(at)].push(at);
        }
        place
    }

    /// Gives out what was put off.
    #[inline]
    pub(super) fn give_out(&mut self, at: u32, keep: &mut Keep<'_>) {
        let block = self.blocks.get_mut(at);
        let place = std::mem::take(&mut block.pending);
        if place != 0 {
            block.storer = SEVERAL;
            self.give_out_now(at, place - 1, keep);
        }
    }

    fn give_out_now(&mut self, at: u32, place: u32, keep: &mut Keep<'_>) {
        let base = self.blocks.base(at);
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
                keep(age(*fill), None, &access(AccessKind::Load, first, SHORTEST, pending.loader));
            }
        }
        let mut stores: Vec<(u128, Store)> = stores().collect();
        stores.sort_unstable_by_key(|(bytes, store)| (store.order, bytes.trailing_zeros()));
        let mut left = stores.into_iter().peekable();
        while let Some((mut mask, store)) = left.next() {
            // Stores of one instruction side by side, with none of another in between, are one.
            while let Some((next, by)) = left.peek()
                && next.trailing_zeros() / WORD as u32 == (127 - mask.leading_zeros()) / WORD as u32 + 1
                && by.is_like(&store)
            {
                mask |= next;
                left.next();
            }
            for (first, size) in stretches(mask) {
                keep(age(store.era), Some(Context(store.context)), &access(AccessKind::Store, first, size, Site(store.site)));
            }
        }
        self.free.push(place);
    }
}
