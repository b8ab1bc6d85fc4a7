//! One cache that holds bytes: sets, ways, tags, dirty units, and nothing of what lies around it.
//!
//! Guarantees: an operation acts on the one set that its operand selects, as hardware does; a copy of the same memory in another
//! set is not seen. Not here: what a miss does (`fill`), who else has a copy, costs.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};

use crate::config::{CacheConfig, Indexing, Replacement, Writes};
use crate::memory::Memory;
use crate::random::Random;

/// A translated address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub vaddr: VirtAddr,
    pub paddr: PhysAddr,
    /// The address space for virtual tags; [`GLOBAL`] for a mapping that all share.
    pub space: u32,
}

/// The address space of global mappings, beyond every ASID.
pub(crate) const GLOBAL: u32 = 1 << 16;

/// Where an address is looked for: a set, and what tells its line from the others there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub set: usize,
    key: u128,
}

/// A set and way that holds something, as an index.
pub(crate) type Slot = usize;

/// An empty slot's key: no line has it, as line numbers leave the offset's bits free.
const EMPTY: u128 = u128::MAX;

/// Loads take eight bytes and drop what was not asked for, so there must be bytes behind the last line.
const PADDING: usize = 8;

#[derive(Clone, Debug)]
pub(crate) struct Cache {
    pub geometry: CacheGeometry,
    indexing: Indexing,
    pub writes: Writes,
    pub write_allocate: bool,
    replacement: Replacement,
    random: Random,
    set_mask: usize,
    ways: usize,
    line_shift: u32,
    unit_shift: u32,
    keys: Vec<u128>,
    /// The physical address of the line, for its write-back.
    homes: Vec<PhysAddr>,
    /// One bit per unit of write-back.
    dirty: Vec<u128>,
    used: Vec<u64>,
    clock: u64,
    bytes: Vec<u8>,
}

impl Cache {
    pub fn new(config: &CacheConfig, replacement: Replacement, random: Random) -> Self {
        let geometry = config.geometry;
        let slots = (geometry.sets() * geometry.ways()) as usize;
        Self {
            geometry,
            indexing: config.indexing,
            writes: config.writes,
            write_allocate: config.write_allocate,
            replacement,
            random,
            set_mask: geometry.sets() as usize - 1,
            ways: geometry.ways() as usize,
            line_shift: geometry.line_shift(),
            unit_shift: geometry.write_back_unit().trailing_zeros(),
            keys: vec![EMPTY; slots],
            homes: vec![PhysAddr(0); slots],
            dirty: vec![0; slots],
            used: vec![0; slots],
            clock: 0,
            bytes: vec![0; geometry.size() as usize + PADDING],
        }
    }

    /// Bytes of a line.
    #[inline]
    pub fn line(&self) -> usize {
        1 << self.line_shift
    }

    /// The offset of an address in its line.
    #[inline]
    pub fn offset(&self, vaddr: VirtAddr) -> usize {
        vaddr.0 as usize & (self.line() - 1)
    }

    pub fn slots(&self) -> Range<Slot> {
        0..self.keys.len()
    }

    /// Where this address would be.
    #[inline]
    pub fn place(&self, at: At) -> Place {
        let (index, key) = match self.indexing {
            Indexing::Vipt => (at.vaddr.0, u128::from(at.paddr.0 >> self.line_shift)),
            Indexing::Vivt => (at.vaddr.0, u128::from(at.space) << 64 | u128::from(at.vaddr.0 >> self.line_shift)),
            Indexing::VivtUntagged => (at.vaddr.0, u128::from(at.vaddr.0 >> self.line_shift)),
            Indexing::Pipt => (at.paddr.0, u128::from(at.paddr.0 >> self.line_shift)),
        };
        Place { set: (index >> self.line_shift) as usize & self.set_mask, key }
    }

    /// Where it is, if it is there.
    #[inline]
    pub fn find(&self, place: Place) -> Option<Slot> {
        let first = place.set * self.ways;
        let way = self.keys[first..first + self.ways].iter().position(|key| *key == place.key)?;
        Some(first + way)
    }

    /// Notes an access.
    #[inline]
    pub fn touch(&mut self, slot: Slot) {
        self.clock += 1;
        self.used[slot] = self.clock;
    }

    /// The slot of a set and way, if there are such.
    pub fn slot(&self, set: u32, way: u32) -> Option<Slot> {
        let (set, way) = (set as usize, way as usize);
        (set <= self.set_mask && way < self.ways).then_some(set * self.ways + way)
    }

    /// The physical line that a slot holds.
    pub fn held(&self, slot: Slot) -> Option<PhysAddr> {
        (self.keys[slot] != EMPTY).then(|| self.homes[slot])
    }

    /// Every slot that holds this physical line, in whatever set.
    pub fn copies(&self, line: PhysAddr) -> impl Iterator<Item = Slot> + '_ {
        let in_page = self.geometry.page_offset(line.0) >> self.line_shift;
        let sets = self.geometry.all_colours().map(move |colour| self.geometry.set_of_line(colour, in_page) as usize);
        sets.flat_map(|set| set * self.ways..(set + 1) * self.ways).filter(move |slot| self.held(*slot) == Some(line))
    }

    /// What a new line of this set takes the place of.
    pub fn victim(&mut self, set: usize) -> Slot {
        let ways = set * self.ways..(set + 1) * self.ways;
        let free = || ways.clone().find(|slot| self.keys[*slot] == EMPTY);
        match self.replacement {
            Replacement::Lru => free().or_else(|| ways.clone().min_by_key(|slot| self.used[*slot])).unwrap_or(ways.start),
            Replacement::Random => free().unwrap_or_else(|| ways.start + self.random.index(self.ways)),
            Replacement::Adversarial => ways.start + self.random.index(self.ways),
        }
    }

    /// Puts a clean line into a slot and hands out its bytes to be filled.
    pub fn install(&mut self, slot: Slot, place: Place, line: PhysAddr) -> &mut [u8] {
        self.keys[slot] = place.key;
        self.homes[slot] = line;
        self.dirty[slot] = 0;
        let bytes = self.range(slot);
        &mut self.bytes[bytes]
    }

    /// Forgets what a slot holds.
    pub fn drop_line(&mut self, slot: Slot) {
        self.keys[slot] = EMPTY;
        self.dirty[slot] = 0;
    }

    pub fn line_bytes(&self, slot: Slot) -> &[u8] {
        &self.bytes[self.range(slot)]
    }

    /// `size` bytes, 1 to 8, of one line, the first the least significant.
    #[inline]
    pub fn load(&self, slot: Slot, offset: usize, size: u32) -> u64 {
        word(&self.bytes, (slot << self.line_shift) + offset) & ones(size)
    }

    /// Stores what [`load`](Self::load) would load.
    #[inline]
    pub fn store(&mut self, slot: Slot, offset: usize, size: u32, value: u64) {
        let at = (slot << self.line_shift) + offset;
        let merged = word(&self.bytes, at) & !ones(size) | value & ones(size);
        self.bytes[at..at + 8].copy_from_slice(&merged.to_le_bytes());
        self.mark_dirty(slot, offset, size as usize);
    }

    /// Stores bytes of one line.
    pub fn store_bytes(&mut self, slot: Slot, offset: usize, from: &[u8]) {
        let at = (slot << self.line_shift) + offset;
        self.bytes[at..at + from.len()].copy_from_slice(from);
        self.mark_dirty(slot, offset, from.len());
    }

    /// Whether any unit is dirty.
    #[inline]
    pub fn is_dirty(&self, slot: Slot) -> bool {
        self.dirty[slot] != 0
    }

    /// The dirty units of a slot, one bit each.
    pub fn dirty(&self, slot: Slot) -> u128 {
        self.dirty[slot]
    }

    /// Takes over which units are dirty, with the bytes.
    pub fn set_dirty(&mut self, slot: Slot, dirty: u128) {
        self.dirty[slot] = dirty;
    }

    /// Writes one dirty unit to memory, chosen by number among the dirty ones; returns whether any is left.
    pub fn write_back_one(&mut self, slot: Slot, choice: u64, memory: &mut Memory) -> bool {
        let mut left = self.dirty[slot];
        for _ in 0..choice % u64::from(left.count_ones().max(1)) {
            left &= left - 1;
        }
        if left != 0 {
            self.write_back_unit(slot, left.trailing_zeros(), memory);
        }
        self.is_dirty(slot)
    }

    /// Writes the dirty units to memory; the copy stays. Returns whether there were any.
    pub fn write_back(&mut self, slot: Slot, memory: &mut Memory) -> bool {
        let was_dirty = self.is_dirty(slot);
        while self.is_dirty(slot) {
            self.write_back_unit(slot, self.dirty[slot].trailing_zeros(), memory);
        }
        was_dirty
    }

    fn write_back_unit(&mut self, slot: Slot, unit: u32, memory: &mut Memory) {
        let start = (unit as usize) << self.unit_shift;
        let at = (slot << self.line_shift) + start;
        memory.write(self.homes[slot].add(start as u64), &self.bytes[at..at + (1 << self.unit_shift)]);
        self.dirty[slot] &= !(1 << unit);
    }

    /// Marks the units of some bytes dirty, if stores stay in this cache.
    #[inline]
    fn mark_dirty(&mut self, slot: Slot, offset: usize, len: usize) {
        if self.writes == Writes::Back {
            let (first, last) = (offset >> self.unit_shift, (offset + len - 1) >> self.unit_shift);
            self.dirty[slot] |= u128::MAX >> (127 - (last - first)) << first;
        }
    }

    fn range(&self, slot: Slot) -> Range<usize> {
        slot << self.line_shift..(slot + 1) << self.line_shift
    }
}

#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// The low `size` bytes, 1 to 8.
#[inline]
fn ones(size: u32) -> u64 {
    u64::MAX >> ((8 - size) * 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(replacement: Replacement, unit: u32) -> Cache {
        let geometry = CacheGeometry::with_page(4096, 2, 32, 1024).unwrap().with_write_back_unit(unit).unwrap();
        Cache::new(&CacheConfig::new(geometry), replacement, Random::new(1))
    }

    fn at(vaddr: u64, paddr: u64) -> At {
        At { vaddr: VirtAddr(vaddr), paddr: PhysAddr(paddr), space: 0 }
    }

    fn hold(cache: &mut Cache, at: At) -> Slot {
        let place = cache.place(at);
        let slot = cache.victim(place.set);
        cache.install(slot, place, at.paddr.align_down(32)).fill(0);
        cache.touch(slot);
        slot
    }

    #[test]
    fn a_line_can_be_held_in_two_colours_and_each_is_found_through_its_own_only() {
        let mut cache = cache(Replacement::Lru, 32);
        let slots = [0x0, 0x400].map(|colour| hold(&mut cache, at(colour + 64, 0x1040)));
        assert_ne!(slots[0], slots[1]);
        for (slot, vaddr) in slots.into_iter().zip([0x8040, 0x8440]) {
            assert_eq!(cache.find(cache.place(at(vaddr, 0x1040))), Some(slot));
        }
        assert_eq!(cache.copies(PhysAddr(0x1040)).collect::<Vec<_>>(), slots);
    }

    #[test]
    fn the_least_recently_used_way_is_thrown_out() {
        let mut cache = cache(Replacement::Lru, 32);
        let [a, b] = [0x1000, 0x2000].map(|paddr| hold(&mut cache, at(0, paddr)));
        cache.touch(a);
        assert_eq!(cache.victim(0), b);
    }

    #[test]
    fn only_dirty_units_reach_memory() {
        let mut cache = cache(Replacement::Lru, 16);
        let mut memory = Memory::new(4, &cache.geometry, None);
        let slot = hold(&mut cache, at(0, 0x400));
        memory.write(PhysAddr(0x400), &[9; 32]);
        cache.store(slot, 4, 2, 0x0102);
        assert!(cache.write_back(slot, &mut memory));
        assert!(!cache.write_back(slot, &mut memory), "it is clean now");
        let mut line = [0; 32];
        memory.read(PhysAddr(0x400), &mut line);
        assert_eq!(line[..8], [0, 0, 0, 0, 2, 1, 0, 0]);
        assert_eq!(line[16..], [9; 16]);
    }

    #[test]
    fn words_of_every_size_are_stored_and_loaded_in_place() {
        let mut cache = cache(Replacement::Lru, 32);
        // The very last line: the eight bytes taken reach past it.
        let last = cache.slots().end - 1;
        let place = cache.place(at(0x7e0, 0x7e0));
        cache.install(last, place, PhysAddr(0x7e0)).fill(0xaa);
        for size in 1..=8 {
            for offset in 0..=32 - size as usize {
                cache.store(last, offset, size, 0x0807_0605_0403_0201);
                assert_eq!(cache.load(last, offset, size), 0x0807_0605_0403_0201 & ones(size));
                assert!(cache.line_bytes(last)[..offset].iter().all(|byte| *byte == 0xaa));
                assert!(cache.line_bytes(last)[offset + size as usize..].iter().all(|byte| *byte == 0xaa));
                cache.store_bytes(last, offset, &[0xaa; 8][..size as usize]);
            }
        }
    }
}
