//! Address spaces of the model: mappings by number, with the pages that are a process's own.

use alloc::vec;
use alloc::vec::Vec;

use super::Leaf;
use crate::{AreaId, FileId};

/// What a mapping shows where a process has no page of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Zero,
    File(FileId),
    Object(u32),
}

#[derive(Clone, Debug)]
pub(crate) struct ModelArea {
    pub source: Source,
    /// The page of the source that is the first of the mapping.
    pub first: u32,
    pub shared: bool,
    /// Pages of its own, of a private mapping.
    pub own: Vec<Option<Leaf>>,
}

/// An address space.
#[derive(Clone, Default, Debug)]
pub(crate) struct Space {
    areas: Vec<Option<ModelArea>>,
}

impl Space {
    #[inline]
    pub fn area(&self, id: AreaId) -> Option<&ModelArea> {
        self.areas.get(usize::from(id.0))?.as_ref()
    }

    pub fn area_mut(&mut self, id: AreaId) -> Option<&mut ModelArea> {
        self.areas.get_mut(usize::from(id.0))?.as_mut()
    }

    pub fn map(&mut self, id: AreaId, source: Source, first: u32, pages: u32, shared: bool) {
        let at = usize::from(id.0);
        if self.areas.len() <= at {
            self.areas.resize_with(at + 1, || None);
        }
        let own = if shared { Vec::new() } else { vec![None; pages as usize] };
        self.areas[at] = Some(ModelArea { source, first, shared, own });
    }

    pub fn unmap(&mut self, id: AreaId) {
        if let Some(area) = self.areas.get_mut(usize::from(id.0)) {
            *area = None;
        }
    }
}
