//! What the machine did, in the words of the judge.

use congruent::{Congruent, Frame};
use congruent_geometry::PhysAddr;
use congruent_trace::{AccessKind, Event, Maintenance, Scope, Site};

use super::machine::{Did, Machine, Maintain, Pte, LINE, PAGE};

/// The physical address of a byte of a frame.
pub fn paddr(frame: usize, offset: u32) -> PhysAddr {
    PhysAddr(frame as u64 * u64::from(PAGE) + u64::from(offset))
}

/// An access of `len` bytes through a colour.
pub fn access(kind: AccessKind, frame: usize, colour: usize, offset: u32, len: u32, site: Site) -> Event {
    let vaddr = Machine::user_address(colour).add(u64::from(offset));
    Event::Access { kind, vaddr, paddr: paddr(frame, offset), size: len, site }
}

/// Maintenance through a colour, line by line.
pub fn maintenance(
    op: Maintenance,
    frame: usize,
    colour: usize,
    offset: u32,
    len: u32,
    site: Site,
) -> impl Iterator<Item = Event> {
    (offset..offset + len).step_by(LINE as usize).map(move |at| {
        let vaddr = Machine::user_address(colour).add(u64::from(at));
        Event::Maintain { op, scope: Scope::Line { vaddr, paddr: paddr(frame, at) }, site }
    })
}

/// The colours through which a core that speculates can fill lines of a frame: those of its users, and of its permanent mapping.
pub fn live_mappings(congruent: &Congruent<Machine>, frame: usize) -> Vec<usize> {
    let ptes = congruent.platform().ptes.borrow()[frame];
    let users = ptes.iter().enumerate().filter(|&(_, &pte)| pte != Pte::None).map(|(colour, _)| colour);
    users.chain(congruent.linear_colour(Frame(frame as u64)).map(|colour| colour.index())).collect()
}

/// The fills of a core that speculates through a live mapping: of the watched line, and of one for all others.
pub fn fills(frame: usize, colour: usize, site: Site) -> impl Iterator<Item = Event> {
    [0, LINE].into_iter().map(move |offset| {
        let vaddr = Machine::user_address(colour).add(u64::from(offset));
        Event::Prefetch { vaddr, paddr: paddr(frame, offset), site }
    })
}

/// What the library did, as events on the data side, in order.
pub fn events(did: Did, site: Site, mut happens: impl FnMut(Event)) {
    match did {
        Did::Load { frame, colour, offset, len } => {
            happens(access(AccessKind::Load, frame as usize, colour, offset, len, site));
        }
        Did::Store { frame, colour, offset, len } => {
            happens(access(AccessKind::Store, frame as usize, colour, offset, len, site));
        }
        Did::Maintain { op, frame, colour, offset, len } => {
            let op = match op {
                Maintain::WriteBack => Maintenance::WriteBack,
                Maintain::Invalidate => Maintenance::Invalidate,
                Maintain::Both => Maintenance::WriteBackInvalidate,
            };
            maintenance(op, frame as usize, colour, offset, len, site).for_each(happens);
        }
        Did::Reachable { frame, colour } => fills(frame as usize, colour, site).for_each(happens),
        Did::DropInstructions { .. } => {}
    }
}
