//! Address spaces: mappings, where they lie, and what each of their pages is. Page tables are separate: what they say of a page can
//! be taken back at any time, what is said here cannot.

use alloc::vec::Vec;

use congruent_geometry::{CacheGeometry, Frame, VirtAddr};

use super::files::Key;
use crate::tables::USER;
use crate::{AreaId, Bytes, Errno, TaskId};

/// What a page of a mapping is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// What the mapping's object has there; zeros if it has none.
    Backing,
    /// A frame of the process's own (shared with children and parents until one of them stores).
    Own(Frame),
    /// A page of the swap.
    Swapped(u32),
    /// Unmapped.
    Hole,
}

#[derive(Clone, Debug)]
pub(crate) struct Area {
    pub base: VirtAddr,
    pub entries: Vec<Entry>,
    /// What it maps and from which page on; nothing for private anonymous memory.
    pub object: Option<(Key, u32)>,
    pub shared: bool,
    pub write: bool,
    pub execute: bool,
    pub ring: bool,
}

impl Area {
    /// The address of a page.
    pub fn va(&self, page: u32, geometry: &CacheGeometry) -> VirtAddr {
        self.base.add(u64::from(page) << geometry.page_shift())
    }

    fn end(&self, geometry: &CacheGeometry) -> u64 {
        self.base.0 + ((self.entries.len() as u64) << geometry.page_shift())
    }
}

#[derive(Clone, Default, Debug)]
pub(crate) struct Process {
    areas: Vec<Option<Area>>,
    pub threads: Vec<TaskId>,
}

impl Process {
    #[inline]
    pub fn area(&self, id: AreaId) -> Option<&Area> {
        self.areas.get(usize::from(id.0))?.as_ref()
    }

    pub fn area_mut(&mut self, id: AreaId) -> Option<&mut Area> {
        self.areas.get_mut(usize::from(id.0))?.as_mut()
    }

    pub fn insert(&mut self, id: AreaId, area: Area) {
        let at = usize::from(id.0);
        if self.areas.len() <= at {
            self.areas.resize_with(at + 1, || None);
        }
        self.areas[at] = Some(area);
    }

    pub fn remove(&mut self, id: AreaId) -> Option<Area> {
        self.areas.get_mut(usize::from(id.0))?.take()
    }

    /// The numbers of its mappings.
    pub fn ids(&self) -> Vec<AreaId> {
        let numbers = self.areas.iter().enumerate().filter(|(_, area)| area.is_some());
        numbers.map(|(number, _)| AreaId(number as u16)).collect()
    }

    /// The lowest free address for so many pages, of a colour if one is asked for.
    pub fn gap(&self, geometry: &CacheGeometry, pages: u32, colour: Option<usize>) -> Option<VirtAddr> {
        let page = u64::from(geometry.page());
        let mut taken: Vec<(u64, u64)> = self.areas.iter().flatten().map(|area| (area.base.0, area.end(geometry))).collect();
        taken.sort_unstable();
        let coloured = |from: u64| match colour {
            Some(colour) => {
                let colours = geometry.colours() as usize;
                let ahead = (colour + colours - geometry.colour(VirtAddr(from)).index()) % colours;
                from + ahead as u64 * page
            }
            None => from,
        };
        let mut from = coloured(USER.start.next_multiple_of(page));
        for (start, end) in taken {
            if from + u64::from(pages) * page <= start {
                break;
            }
            from = from.max(coloured(end));
        }
        (from + u64::from(pages) * page <= USER.end).then_some(VirtAddr(from))
    }
}

/// The pieces of some bytes of a mapping that lie in one page each: page, offset in it, length, bytes before.
pub(crate) fn pieces(bytes: Bytes, page_size: u32) -> impl Iterator<Item = Piece> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let at = bytes.offset + done;
        let (page, offset) = (at / page_size, at % page_size);
        let len = (page_size - offset).min(bytes.len - done);
        let piece = Piece { page, offset, len, done };
        done += len;
        (len > 0).then_some(piece)
    })
}

/// Bytes within one page of a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub page: u32,
    pub offset: u32,
    pub len: u32,
    /// Bytes before it.
    pub done: u32,
}

/// Whether some bytes lie within a mapping of so many pages.
pub(crate) fn within(bytes: Bytes, pages: usize, page_size: u32) -> Result<(), Errno> {
    let end = u64::from(bytes.offset) + u64::from(bytes.len);
    if end <= pages as u64 * u64::from(page_size) { Ok(()) } else { Err(Errno::Fault) }
}
