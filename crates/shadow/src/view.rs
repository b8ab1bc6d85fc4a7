//! What the judge holds possible of one line, for people to look at: a finding told event by event needs the state in between.
//!
//! Guarantees: looking changes nothing. Not here: what the masks mean (`line`).

use alloc::vec::Vec;

use congruent_geometry::{ByteMask, PhysAddr};

use crate::finding::Side;
use crate::line::CODE;
use crate::shadow::Shadow;

/// What may be held of a line of memory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LineView {
    /// The copies that caches may hold, by side and colour.
    pub copies: Vec<CopyView>,
    /// Bytes whose newest value may exist nowhere any more.
    pub lost: ByteMask,
}

/// A copy that may be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyView {
    /// In which cache.
    pub side: Side,
    /// At which colour of it, on any CPU.
    pub colour: u16,
    /// Bytes that may be nowhere else.
    pub dirty: ByteMask,
    /// Bytes that may be older here than elsewhere.
    pub stale: ByteMask,
}

impl Shadow {
    /// What may be held of the line at this address. Takes time and memory in proportion to all that the judge knows.
    #[must_use]
    pub fn view(&self, paddr: PhysAddr) -> LineView {
        let Some(id) = self.line_id(paddr) else { return LineView::default() };
        // Opening a line settles what is postponed, which is noted.
        let line = self.clone().open(id);
        let mut copies: Vec<CopyView> = Vec::new();
        for copy in &line.copies {
            let side = if copy.is_code() { Side::Instruction } else { Side::Data };
            let alias = copy.colour & !CODE;
            let colour = if copy.is_code() { self.code_colour(id.page, alias) } else { self.colour_at(id.page, alias) };
            match copies.iter_mut().find(|other| (other.side, other.colour) == (side, colour)) {
                // In different ways of one set, or on different CPUs.
                Some(other) => (other.dirty, other.stale) = (other.dirty | copy.dirty, other.stale | copy.stale),
                None => copies.push(CopyView { side, colour, dirty: copy.dirty, stale: copy.stale }),
            }
        }
        copies.sort_by_key(|copy| (copy.side == Side::Instruction, copy.colour));
        LineView { copies, lost: line.lost() }
    }
}

#[cfg(test)]
mod tests {
    use congruent_geometry::VirtAddr;
    use congruent_trace::{AccessKind, Event, Maintenance, Scope, Site};

    use super::*;
    use crate::Config;

    #[test]
    fn a_view_tells_copies_and_what_is_lost() {
        let mut judge = Shadow::new(Config::new("32K,4,32".parse().unwrap()));
        let paddr = PhysAddr(0x4000);
        let access = |kind, page: u64| Event::Access { kind, vaddr: VirtAddr(page << 12), paddr, size: 4, site: Site(1) };
        assert_eq!(judge.view(paddr), LineView::default());
        judge.apply(&access(AccessKind::Load, 1));
        judge.apply(&access(AccessKind::Store, 2));
        let copy = |colour, dirty, stale| CopyView { side: Side::Data, colour, dirty, stale };
        let word = ByteMask::range(0, 4);
        let held = [copy(0, word, ByteMask::EMPTY), copy(1, ByteMask::EMPTY, word)];
        assert_eq!(judge.view(paddr), LineView { copies: held.to_vec(), lost: ByteMask::EMPTY });
        let scope = Scope::Line { vaddr: VirtAddr(0x2000), paddr };
        judge.apply(&Event::Maintain { op: Maintenance::Invalidate, scope, site: Site(2) });
        assert_eq!(judge.view(paddr), LineView { copies: held[1..].to_vec(), lost: word });
        assert!(judge.findings().is_empty());
    }
}
