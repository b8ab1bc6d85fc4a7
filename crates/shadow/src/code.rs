//! The compact form of the instruction side: a word per line of the pages that were fetched from, and when its sets were swept.
//!
//! Nearly every line that is fetched is held by one colour of the instruction cache, and what is old in that copy is exactly what
//! is dirty in the data cache: it was stored after the copy was made, or before that and not written back. So a store need not note
//! which bytes it makes old here, only that there are some ([`Code::outdate`]); it does so once, when it finds the line *watched*
//! (`heads`). When dirty bytes are written back they stay old in the copy, and the line gets a full record.
//!
//! Guarantees: a fetch that changes nothing costs one compare; nothing is kept for pages that were never fetched from. Not here:
//! the rules (`line`), what the events do (`fetch`).

use alloc::vec::Vec;

use congruent_geometry::{CacheGeometry, VirtAddr};

use crate::config::CodeCache;
use crate::heads::{LAST_EPOCH, LineId, single_key};
use crate::line::Ways;
use crate::sweep::Sweeps;

/// What a key says of the copies of a line in the instruction cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CodeKey {
    /// There are none.
    Empty,
    /// Only this colour may hold the line, in any way, last fetched in epoch `stamp`. If `new`, nothing of it is old or dirty
    /// anywhere; else what is dirty in the data cache is old. (If the line has a record, that is to be believed; `new` is right.)
    Alone { colour: u16, stamp: u32, new: bool },
    /// They are in the line's record.
    InRecord,
}

const COLOUR_BITS: u32 = 10;
const OUTDATED: u32 = 1 << 30;
const IN_RECORD: u32 = 1 << 31;

impl CodeKey {
    const fn decode(key: u32) -> Self {
        match key {
            0 => Self::Empty,
            IN_RECORD => Self::InRecord,
            _ => Self::Alone {
                colour: (key & ((1 << COLOUR_BITS) - 1)) as u16,
                stamp: key >> COLOUR_BITS & LAST_EPOCH,
                new: key & OUTDATED == 0,
            },
        }
    }

    const fn encode(self) -> u32 {
        match self {
            Self::Empty => 0,
            Self::InRecord => IN_RECORD,
            Self::Alone { colour, stamp, new } => single_key(colour as u32, stamp) | if new { 0 } else { OUTDATED },
        }
    }
}

/// A page that was not fetched from.
const NO_PLACE: u32 = u32::MAX;

/// The instruction cache's part of every line.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    /// The key of a line that only colour 0, of the CPU that events are of, may hold, that is new, and that was fetched in this epoch.
    now: u32,
    /// What makes a colour the place of that CPU.
    base: u16,
    /// How often a fetch that would have changed nothing may have become one that changes something.
    changes: u64,
    /// log2 of the lines of the data cache in a page.
    lines_shift: u32,
    /// log2 of the length of the data cache's lines, in bytes.
    line_shift: u32,
    /// Per page, where its keys are, in pages of them.
    places: Vec<u32>,
    keys: Vec<u32>,
    pub sweeps: Sweeps,
    cache: Option<CodeCache>,
    geometry: CacheGeometry,
}

impl Code {
    /// Nothing is held. Without a cache, nothing ever is.
    pub fn new(cache: Option<CodeCache>, data: &CacheGeometry, cpus: u16, last_epoch: u32) -> Self {
        let geometry = cache.map_or(*data, |cache| cache.geometry);
        Self {
            now: single_key(0, 1),
            base: 0,
            changes: 0,
            lines_shift: data.page_shift() - data.line_shift(),
            line_shift: data.line_shift(),
            places: Vec::new(),
            keys: Vec::new(),
            sweeps: if cache.is_some() { Sweeps::new(&geometry, cpus, last_epoch) } else { Sweeps::none(last_epoch) },
            cache,
            geometry,
        }
    }

    /// Whether the instruction side is judged at all.
    pub fn is_judged(&self) -> bool {
        self.cache.is_some()
    }

    pub fn fills_from_data(&self) -> bool {
        self.cache.is_some_and(|cache| cache.fills_from_data)
    }

    pub fn all_ways(&self) -> Ways {
        Ways::first(self.geometry.ways())
    }

    pub fn geometry(&self) -> &CacheGeometry {
        &self.geometry
    }

    /// From here on, fetches are of the CPU whose places are colours with this added.
    pub fn enter(&mut self, base: u16) {
        if base != self.base {
            self.base = base;
            self.set_now();
        }
    }

    fn set_now(&mut self) {
        self.now = self.key_now();
        self.changes += 1;
    }

    /// A number that grows whenever a fetch that would have changed nothing may change something from then on.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    fn key_now(&self) -> u32 {
        single_key(self.base.into(), self.sweeps.epoch())
    }

    pub fn colour_of(&self, vaddr: VirtAddr) -> u16 {
        self.geometry.colour(vaddr).index() as u16
    }

    /// The place of this address in the cache of the CPU that events are of.
    pub fn place_of(&self, vaddr: VirtAddr) -> u16 {
        self.base | self.colour_of(vaddr)
    }

    /// The lines of the data cache that make up the line of the instruction cache around this one.
    pub fn fetched_with(&self, id: LineId) -> impl Iterator<Item = LineId> + use<> {
        let lines = 1 << (self.geometry.line_shift() - self.line_shift);
        let first = id.line & !(lines - 1);
        (first..first + lines).map(move |line| LineId { line, ..id })
    }

    /// The set of a CPU's instruction cache in which `colour` holds the line.
    pub fn set_of(&self, id: LineId, cpu: u16, colour: u16) -> u32 {
        let line = id.line >> (self.geometry.line_shift() - self.line_shift);
        let set = (u32::from(colour) * self.geometry.lines_per_page() + line) & (self.geometry.sets() - 1);
        u32::from(cpu) * self.geometry.sets() + set
    }

    /// Whether some colour holds the line in this set.
    pub fn concerns(&self, set: u32, id: LineId) -> bool {
        let lines = self.geometry.lines_per_page();
        set % lines.min(self.geometry.sets()) == self.set_of(id, 0, 0) % lines.min(self.geometry.sets())
    }

    /// Whether the line that holds `offset` was fetched through this colour in this epoch and is new.
    #[inline]
    pub fn is_quiet(&self, page: u32, offset: u32, colour: u32) -> bool {
        let line = offset >> self.line_shift;
        self.place(LineId { page, line }).and_then(|at| self.keys.get(at)).is_some_and(|key| *key == self.now | colour)
    }

    #[inline]
    pub fn key(&self, id: LineId) -> CodeKey {
        self.place(id).and_then(|at| self.keys.get(at)).map_or(CodeKey::Empty, |key| CodeKey::decode(*key))
    }

    /// Sets the key; makes room for the page's keys if there is none and it says anything.
    pub fn set(&mut self, id: LineId, key: CodeKey) {
        if self.place(id).is_none() && key != CodeKey::Empty {
            self.add_page(id.page);
        }
        if let Some(word) = self.place(id).and_then(|at| self.keys.get_mut(at)) {
            let (before, after) = (*word, key.encode());
            *word = after;
            let was_quiet = (before ^ self.now) >> COLOUR_BITS == 0;
            self.changes += u64::from(was_quiet && before != after);
        }
    }

    /// Whether the instruction cache may hold the line.
    #[inline]
    pub fn may_hold(&self, id: LineId) -> bool {
        self.key(id) != CodeKey::Empty
    }

    /// Whether it may hold a copy that the next store makes old.
    #[inline]
    pub fn is_new(&self, id: LineId) -> bool {
        matches!(self.key(id), CodeKey::Alone { new: true, .. })
    }

    /// Whether what is dirty is old in a copy.
    #[inline]
    pub fn is_outdated(&self, id: LineId) -> bool {
        matches!(self.key(id), CodeKey::Alone { new: false, .. })
    }

    /// Notes that bytes of the line become dirty.
    #[inline]
    pub fn outdate(&mut self, id: LineId) {
        if let CodeKey::Alone { colour, stamp, new: true } = self.key(id) {
            self.set(id, CodeKey::Alone { colour, stamp, new: false });
        }
    }

    /// Begins an operation by index or on the whole cache, and returns its epoch.
    pub fn begin_sweep(&mut self) -> u32 {
        let epoch = self.sweeps.begin();
        self.set_now();
        epoch
    }

    /// Starts over at the first epoch, and gives every key its stamp. What is new stays so.
    pub fn restart(&mut self) {
        self.sweeps.restart();
        let stamp = self.sweeps.stamp();
        self.set_now();
        for word in &mut self.keys {
            if let CodeKey::Alone { colour, new, .. } = CodeKey::decode(*word) {
                *word = CodeKey::Alone { colour, stamp, new }.encode();
            }
        }
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        (self.places.capacity() + self.keys.capacity()) * size_of::<u32>() + self.sweeps.bytes()
    }

    fn add_page(&mut self, page: u32) {
        let page = page as usize;
        if self.places.len() <= page {
            self.places.resize(page + 1, NO_PLACE);
        }
        let lines = 1 << self.lines_shift;
        self.places[page] = (self.keys.len() >> self.lines_shift) as u32;
        if self.keys.capacity() - self.keys.len() < lines {
            // Little more at a time, because memory is promised.
            self.keys.reserve_exact(lines.max(self.keys.len() / 32 / lines * lines));
        }
        self.keys.resize(self.keys.len() + lines, 0);
    }

    #[inline]
    fn place(&self, id: LineId) -> Option<usize> {
        match self.places.get(id.page as usize) {
            Some(&place) if place != NO_PLACE => Some(((place as usize) << self.lines_shift) + id.line as usize),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_everything_apart() {
        let alone = [(0, 1), (1023, 1), (0, LAST_EPOCH), (1023, LAST_EPOCH)]
            .into_iter()
            .flat_map(|(colour, stamp)| [false, true].map(|new| CodeKey::Alone { colour, stamp, new }));
        for key in [CodeKey::Empty, CodeKey::InRecord].into_iter().chain(alone) {
            assert_eq!(CodeKey::decode(key.encode()), key);
        }
    }

    #[test]
    fn pages_that_were_not_fetched_from_cost_four_bytes_at_most() {
        let data = CacheGeometry::new(32 << 10, 4, 32).unwrap();
        let mut code = Code::new(Some(CodeCache::new(data)), &data, 1, LAST_EPOCH);
        let before = code.bytes();
        for page in 0..1000 {
            code.set(LineId { page, line: 3 }, CodeKey::Empty);
        }
        assert_eq!(code.bytes(), before);
        code.set(LineId { page: 999, line: 3 }, CodeKey::InRecord);
        assert_eq!(code.key(LineId { page: 999, line: 3 }), CodeKey::InRecord);
        assert_eq!(code.bytes(), before + 1000 * 4 + 128 * 4);
    }
}
