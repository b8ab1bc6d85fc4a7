//! Through which calls the last store to each line came: what a finding tells of its producer beside the code address.
//!
//! Kept beside the rules, which know nothing of it: switched off it costs one compare per store and no memory.
//!
//! Guarantees: a context is handed out only for a producer whose code address made the last store noted there, so that no finding
//! shows somebody else's calls. Not promised: a context for a producer that another store to the line followed. Lines shorter than 32
//! bytes share one note with their neighbours.

use alloc::vec::Vec;

use congruent_geometry::CacheGeometry;
use congruent_trace::{Context, Site};

use crate::finding::{Contexts, Party, PartyKind};
use crate::shadow::ByteId;

/// log2 of the fewest bytes that have a note of their own.
const SMALLEST_SHIFT: u32 = 5;

/// The notes of all pages.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    /// The context of what happens now.
    context: Context,
    /// Per piece of memory the code address of its last store in the upper half, the context in the lower; none if switched off.
    notes: Vec<u64>,
    per_page: usize,
    piece_shift: u32,
    page_shift: u32,
}

impl Origins {
    pub fn new(geometry: &CacheGeometry, on: bool) -> Self {
        let piece_shift = geometry.line_shift().max(SMALLEST_SHIFT);
        let page_shift = geometry.page_shift();
        let per_page = if on { 1 << (page_shift - piece_shift) } else { 0 };
        Self { context: Context::NONE, notes: Vec::new(), per_page, piece_shift, page_shift }
    }

    #[inline]
    pub fn set_context(&mut self, context: Context) {
        self.context = context;
    }

    /// What [`set_context`](Self::set_context) said last.
    pub fn context(&self) -> Context {
        self.context
    }

    /// Adds a page that nobody stored to.
    pub fn push_page(&mut self) {
        // Little more at a time, as `Heads` does and for its reason.
        if self.notes.capacity() - self.notes.len() < self.per_page {
            self.notes.reserve_exact(self.per_page.max(self.notes.len() / 32));
        }
        self.notes.resize(self.notes.len() + self.per_page, 0);
    }

    /// Notes a store within one line.
    #[inline]
    pub fn note(&mut self, byte: ByteId, site: Site) {
        if let Some(note) = self.notes.get_mut((byte.0 >> self.piece_shift) as usize) {
            *note = u64::from(site.0) << 32 | u64::from(self.context.0);
        }
    }

    /// Notes a store of `size` bytes within a page.
    pub fn note_all(&mut self, page: u32, offset: u32, size: u32, site: Site) {
        let last = offset.saturating_add(size.saturating_sub(1)).min((1 << self.page_shift) - 1);
        for piece in offset >> self.piece_shift..=last >> self.piece_shift {
            self.note(self.byte(page, piece << self.piece_shift), site);
        }
    }

    /// The contexts of a finding at this byte: the one of now, and the one that the producer's store had.
    pub fn contexts(&self, page: u32, offset: u32, consumer: Party, producer: Option<Party>) -> Contexts {
        let by_code = |party: &Party| party.kind != PartyKind::Dma;
        let at = self.byte(page, offset).0 >> self.piece_shift;
        let note = self.notes.get(at as usize).copied().unwrap_or(0);
        let noted = |producer: Party| (note >> 32) as u32 == producer.site.0;
        Contexts {
            consumer: if by_code(&consumer) { self.context } else { Context::NONE },
            producer: match producer.filter(by_code) {
                Some(producer) if noted(producer) => Context(note as u32),
                _ => Context::NONE,
            },
        }
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.notes.capacity() * size_of::<u64>()
    }

    fn byte(&self, page: u32, offset: u32) -> ByteId {
        ByteId(u64::from(page) << self.page_shift | u64::from(offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORE: Party = Party { kind: PartyKind::Store, site: Site(0x8000_1000), colour: Some(1) };
    const LOAD: Party = Party { kind: PartyKind::Load, site: Site(0x0040_1000), colour: Some(0) };

    fn origins(line: u32, on: bool) -> Origins {
        let mut origins = Origins::new(&CacheGeometry::new(64 << 10, 4, line).unwrap(), on);
        origins.push_page();
        origins.push_page();
        origins
    }

    #[test]
    fn each_piece_that_a_store_touches_knows_its_calls_and_no_other_does() {
        for line in [16, 32, 64, 128] {
            let piece = line.max(32);
            let mut origins = origins(line, true);
            origins.set_context(Context(7));
            origins.note_all(1, piece - 4, piece + 8, STORE.site);
            origins.set_context(Context(9));
            for page in 0..2 {
                for offset in 0..4096 {
                    let producer = if page == 1 && offset < 3 * piece { Context(7) } else { Context::NONE };
                    let found = origins.contexts(page, offset, LOAD, Some(STORE));
                    assert_eq!(found, Contexts { consumer: Context(9), producer }, "line {line}, page {page}, offset {offset}");
                }
            }
        }
    }

    #[test]
    fn nobody_is_given_the_calls_of_another_store_or_of_a_device() {
        let mut origins = origins(32, true);
        origins.set_context(Context(7));
        origins.note(ByteId(8), STORE.site);
        let producer = |producer| origins.contexts(0, 8, LOAD, producer).producer;
        assert_eq!(producer(Some(STORE)), Context(7));
        assert_eq!(producer(Some(Party { site: Site(0x8000_2000), ..STORE })), Context::NONE);
        let device = Party { kind: PartyKind::Dma, ..STORE };
        assert_eq!(producer(Some(device)), Context::NONE);
        assert_eq!(origins.contexts(0, 8, device, None), Contexts::default());
    }

    #[test]
    fn switched_off_it_needs_no_memory_and_knows_nothing_of_producers() {
        let mut origins = origins(32, false);
        origins.note_all(1, 0, 4096, STORE.site);
        assert_eq!((origins.bytes(), origins.contexts(1, 0, LOAD, Some(STORE)).producer), (0, Context::NONE));
    }
}
