//! The full records of the lines that have no simple form, packed: such lines are few, but many times larger unpacked.
//!
//! Guarantees: what was put in comes out; a record of two colours and one writer of a 32-byte line takes 48 bytes and its place.
//! Places of records that are gone are used again. Not here: which lines need a record.
//!
//! A record is a string of words. Two of header (how many copies; how many writers, and which of the lost masks follow), the
//! masks, the copies (colour and what follows, stamp, ways unless all, masks unless empty), the writers (kind and colour, site,
//! mask). A mask is a bit per byte of the line. If the line was healed, the same follows of what it is if it was not, and then what it
//! was healed after.

use alloc::boxed::Box;
use alloc::vec::Vec;

use congruent_geometry::ByteMask;
use congruent_trace::Site;

use crate::finding::{Party, PartyKind};
use crate::line::{Copy, Line, Ways, Writer};
use crate::unhealed::Unhealed;

/// Records by place.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    lines: Vec<Box<[u32]>>,
    free: Vec<u32>,
    /// Words in all records.
    words: usize,
    /// Words of a mask.
    mask_words: usize,
    all_ways: Ways,
    /// Where a record is packed before its length is known.
    scratch: Vec<u32>,
}

const FIRST_FLAG: u32 = 1 << 16;
const SECOND_FLAG: u32 = 1 << 17;
const THIRD_FLAG: u32 = 1 << 18;
const FOURTH_FLAG: u32 = 1 << 19;
const KIND_SHIFT: u32 = 24;

impl Records {
    /// No records, for lines of `line` bytes in sets with these ways.
    pub fn new(line: u32, all_ways: Ways) -> Self {
        let mask_words = line.div_ceil(u32::BITS) as usize;
        Self { lines: Vec::new(), free: Vec::new(), words: 0, mask_words, all_ways, scratch: Vec::new() }
    }

    /// Stores a record and says where.
    ///
    /// # Panics
    /// If there are 2^30 records already.
    pub fn insert(&mut self, line: &Line) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            assert!(self.lines.len() < 1 << 30, "a key has room for 2^30 records");
            self.lines.push(Box::default());
            self.lines.len() as u32 - 1
        });
        self.put(place, line);
        place
    }

    /// Stores a record at a place that was given out.
    pub fn put(&mut self, place: u32, line: &Line) {
        let mut words = core::mem::take(&mut self.scratch);
        words.clear();
        self.pack(line, &mut words);
        let held = &mut self.lines[place as usize];
        if held.len() == words.len() {
            held.copy_from_slice(&words);
        } else {
            self.words = self.words - held.len() + words.len();
            *held = words.as_slice().into();
        }
        self.scratch = words;
    }

    /// Reads the record at `place` into an empty line.
    pub fn read(&self, place: u32, line: &mut Line) {
        let mut words = self.lines[place as usize].iter().copied();
        if self.unpack(&mut words, line) {
            let mut other = Unhealed::default();
            self.unpack(&mut words, &mut other.line);
            other.follows.extend(words);
            line.unhealed = Some(Box::new(other));
        }
    }

    /// Reads one state of a line; true if that is only what it is if all is mended.
    fn unpack(&self, words: &mut impl Iterator<Item = u32>, line: &mut Line) -> bool {
        let mut next = || words.next().unwrap_or(0);
        let copies = next();
        let header = next();
        let mask = |next: &mut dyn FnMut() -> u32, present: bool| {
            let words = if present { self.mask_words } else { 0 };
            (0..words).fold(ByteMask::EMPTY, |mask, at| ByteMask(mask.0 | u128::from(next()) << (at as u32 * u32::BITS)))
        };
        line.discarded = mask(&mut next, header & FIRST_FLAG != 0);
        line.clobbered = mask(&mut next, header & SECOND_FLAG != 0);
        for _ in 0..copies {
            let what = next();
            let stamp = next();
            let ways = if what & FIRST_FLAG == 0 {
                self.all_ways
            } else {
                let low = next();
                Ways::from_halves(low, next())
            };
            let stale = mask(&mut next, what & SECOND_FLAG != 0);
            let dirty = mask(&mut next, what & THIRD_FLAG != 0);
            let spared = mask(&mut next, what & FOURTH_FLAG != 0);
            line.copies.push(Copy { colour: what as u16, ways, stamp, stale, dirty, spared });
        }
        for _ in 0..header as u16 {
            let what = next();
            let colour = (what & FIRST_FLAG != 0).then_some(what as u16);
            let site = Site(next());
            let kind = KINDS.get((what >> KIND_SHIFT) as usize).copied().unwrap_or(PartyKind::Store);
            line.writers.push(Writer { party: Party { kind, site, colour }, bytes: mask(&mut next, true) });
        }
        header & THIRD_FLAG != 0
    }

    /// Gives up a place.
    pub fn free(&mut self, place: u32) {
        self.words -= self.lines[place as usize].len();
        self.lines[place as usize] = Box::default();
        self.free.push(place);
    }

    /// The places of all records.
    pub fn places(&self) -> impl Iterator<Item = u32> + use<> {
        // A record that is gone is empty; none that is there is.
        let there: Vec<u32> = (0..self.lines.len() as u32).filter(|place| !self.lines[*place as usize].is_empty()).collect();
        there.into_iter()
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        // Allocators add a word or two to each block and round it up.
        let blocks = (self.lines.len() - self.free.len()) * 16;
        let places = self.lines.capacity() * size_of::<Box<[u32]>>() + self.free.capacity() * size_of::<u32>();
        self.words * size_of::<u32>() + blocks + places
    }

    fn pack(&self, line: &Line, words: &mut Vec<u32>) {
        let flag = |mask: ByteMask, flag: u32| if mask.is_empty() { 0 } else { flag };
        let push_mask = |words: &mut Vec<u32>, mask: ByteMask| {
            words.extend((0..self.mask_words).map(|at| (mask.0 >> (at as u32 * u32::BITS)) as u32));
        };
        let push_mask_unless_empty = |words: &mut Vec<u32>, mask: ByteMask| {
            if !mask.is_empty() {
                push_mask(words, mask);
            }
        };
        let unhealed = if line.unhealed.is_some() { THIRD_FLAG } else { 0 };
        words.push(line.copies.len() as u32);
        words.push(line.writers.len() as u32 | flag(line.discarded, FIRST_FLAG) | flag(line.clobbered, SECOND_FLAG) | unhealed);
        push_mask_unless_empty(words, line.discarded);
        push_mask_unless_empty(words, line.clobbered);
        for copy in &line.copies {
            let some_ways = if copy.ways == self.all_ways { 0 } else { FIRST_FLAG };
            let masks = flag(copy.stale, SECOND_FLAG) | flag(copy.dirty, THIRD_FLAG) | flag(copy.spared, FOURTH_FLAG);
            words.push(u32::from(copy.colour) | some_ways | masks);
            words.push(copy.stamp);
            if some_ways != 0 {
                words.extend(copy.ways.halves());
            }
            push_mask_unless_empty(words, copy.stale);
            push_mask_unless_empty(words, copy.dirty);
            push_mask_unless_empty(words, copy.spared);
        }
        for writer in &line.writers {
            let Party { kind, site, colour } = writer.party;
            let kind = KINDS.iter().position(|known| *known == kind).unwrap_or(0) as u32;
            words.push(colour.map_or(0, |colour| u32::from(colour) | FIRST_FLAG) | kind << KIND_SHIFT);
            words.push(site.0);
            push_mask(words, writer.bytes);
        }
        if let Some(other) = &line.unhealed {
            self.pack(&other.line, words);
            words.extend(&other.follows);
        }
    }
}

/// Every kind of party, by its number in a record.
const KINDS: [PartyKind; 5] =
    [PartyKind::Load, PartyKind::Store, PartyKind::UncachedLoad, PartyKind::UncachedStore, PartyKind::Dma];

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(length: u32) -> Line {
        let (low, high) = (ByteMask::range(0, length / 2), ByteMask::range(length / 2, length / 2));
        let copy = |colour, ways, stale, dirty| Copy { colour, ways, stamp: 7 + u32::from(colour), stale, dirty, spared: stale };
        let writer = |kind, colour, bytes| Writer { party: Party { kind, site: Site(0x8000_1000), colour }, bytes };
        Line {
            copies: alloc::vec![
                copy(0, Ways::first(4), low, ByteMask::EMPTY),
                copy(1023, Ways::NONE.with(0).with(3), ByteMask::EMPTY, high),
                copy(1023, Ways::NONE.with(1), low, high),
            ],
            discarded: high,
            clobbered: ByteMask::EMPTY,
            writers: alloc::vec![writer(PartyKind::Dma, None, low), writer(PartyKind::Store, Some(1023), high)],
            unhealed: None,
        }
    }

    #[test]
    fn what_was_put_in_comes_out() {
        for length in [4, 8, 16, 32, 64, 128] {
            let mut records = Records::new(length, Ways::first(4));
            let mut healed = line_of(length);
            healed.part();
            healed.copies.pop();
            healed.note_healed(7);
            let clobbered = Line { clobbered: ByteMask::range(0, length), ..Line::default() };
            let lines = [line_of(length), Line::default(), clobbered, healed];
            let places = lines.clone().map(|line| records.insert(&line));
            for (line, place) in lines.iter().zip(places) {
                let mut read = Line::default();
                records.read(place, &mut read);
                assert_eq!(read, *line);
            }
        }
    }

    #[test]
    fn a_place_that_was_given_up_is_used_again_and_costs_nothing_until_then() {
        let mut records = Records::new(32, Ways::first(4));
        let first = records.insert(&line_of(32));
        let second = records.insert(&line_of(32));
        let both = records.words;
        records.free(first);
        assert_eq!((records.words, records.places().collect::<Vec<_>>()), (both / 2, alloc::vec![second]));
        assert_eq!(records.insert(&Line::default()), first);
    }
}
