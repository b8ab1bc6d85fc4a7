//! Events to bytes and back, small before any compressor has seen them.
//!
//! Both sides keep the same [`Model`] of what was said: where each code address went last, through which calls, and which one came
//! after it. An event that is as the model expects costs one byte, a run of them two or three. `docs/recordings.md` has the tables.
//!
//! Guarantees: what goes in comes out; no input of any kind makes the decoder panic, allocate without bound, or run without end.

mod decode;
mod encode;

use std::vec::Vec;

use congruent_geometry::{PhysAddr, VirtAddr};

use super::{ChainId, Recorded};
use crate::{Maintenance, On, Operation, Site, Target};

pub use decode::{Bytes, Decoder};
pub use encode::{Encoder, put};

/// Accesses as expected, after the stride of their instruction; then after the step from the access before. With a count.
const EXPECTED: [u8; 2] = [0x00, 0x02];
const RUN: [u8; 2] = [0x01, 0x03];
const OPERATIONS_EXPECTED: u8 = 0x10;
const OPERATION: u8 = 0x11;
const UNCACHED: u8 = 0x20;
const DMA: u8 = 0x22;
const SPACE: u8 = 0x25;
const CPU: u8 = 0x26;
const ERA: u8 = 0x28;
/// An access of which something is said: the flags say what.
const ACCESS: u8 = 0x80;
const SITE: u8 = 1;
const SHAPE: u8 = 2;
const FRAME: u8 = 4;
const ODD: u8 = 8;
/// How the address is said.
const MODE_SHIFT: u8 = 4;
const BY_STRIDE: u8 = 0;
const BY_STEP: u8 = 1;
const FROM_OWN: u8 = 2;
const FROM_LAST: u8 = 3;
const CALLS: u8 = 0x40;

/// Kinds of accesses, in the lowest bits of a shape; the size is above them.
const STORE: u32 = 1;
const FETCH: u32 = 2;
const PREFETCH: u32 = 3;
const KIND_BITS: u32 = 2;

const PAGE_SHIFT: u32 = 12;
const PAGE_MASK: u32 = (1 << PAGE_SHIFT) - 1;

/// Something that no encoder wrote.
#[derive(Debug)]
pub struct Nonsense;

/// What is known of one code address.
#[derive(Clone, Copy, Default)]
struct Place {
    site: u32,
    /// Where it went last, and how far that was from the time before, and from the access before.
    vaddr: u32,
    stride: u32,
    step: u32,
    /// Size and kind of its last access.
    shape: u32,
    /// Through which calls it came last, and whether these were those of the access before.
    chain: u32,
    same_chain: bool,
    /// The code address that came after it last.
    next: u32,
}

impl Place {
    /// Nothing but the code address is known: if it fetches, it fetches itself.
    fn new(site: u32) -> Self {
        Self { site, vaddr: site, ..Self::default() }
    }
}

/// What both sides know.
struct Model {
    places: Vec<Place>,
    /// The code address of the last access, where it went, and through which calls it came.
    last: u32,
    vaddr: u32,
    chain: u32,
    /// The code address that was new last.
    newest: u32,
    /// Per virtual page: the frame it led to last, plus one.
    frames: Vec<u32>,
    last_operation: Recorded,
    era: u64,
    /// From one operand to the next.
    stride: u32,
}

impl Default for Model {
    fn default() -> Self {
        let (on, target) = (On::Data(Maintenance::WriteBack), Target::Whole);
        Self {
            places: std::vec![Place::default()],
            last: 0,
            vaddr: 0,
            chain: 0,
            newest: 0,
            frames: std::vec![0; 1 << (32 - PAGE_SHIFT)],
            last_operation: Recorded { operation: Operation { on, target, site: Site(0) }, chain: ChainId::NONE, muted: false },
            era: 0,
            stride: 0,
        }
    }
}

impl Model {
    fn expected_place(&self) -> u32 {
        self.places[self.last as usize].next
    }

    fn expected_address(&self, place: u32, by: usize) -> u32 {
        let known = &self.places[place as usize];
        if by == 0 { known.vaddr.wrapping_add(known.stride) } else { self.vaddr.wrapping_add(known.step) }
    }

    #[inline]
    fn expected_chain(&self, place: u32) -> u32 {
        let known = &self.places[place as usize];
        if known.same_chain { self.chain } else { known.chain }
    }

    fn frame(&mut self, vaddr: u32) -> &mut u32 {
        &mut self.frames[(vaddr >> PAGE_SHIFT) as usize]
    }

    #[inline]
    fn note(&mut self, place: u32, vaddr: u32, shape: u32, chain: u32) {
        self.places[self.last as usize].next = place;
        let known = &mut self.places[place as usize];
        known.stride = vaddr.wrapping_sub(known.vaddr);
        known.step = vaddr.wrapping_sub(self.vaddr);
        known.vaddr = vaddr;
        known.shape = shape;
        known.same_chain = chain == self.chain;
        known.chain = chain;
        self.last = place;
        self.vaddr = vaddr;
        self.chain = chain;
    }

    /// The operation that is expected next.
    fn expected_operation(&mut self) -> Recorded {
        let mut next = self.last_operation;
        match &mut next.operation.target {
            Target::Whole => {}
            Target::Index(operand) => *operand = operand.wrapping_add(self.stride),
            Target::Bytes { vaddr, paddr, .. } => {
                let address = (vaddr.0 as u32).wrapping_add(self.stride);
                *vaddr = VirtAddr(address.into());
                let frame = u64::from(self.frame(address).wrapping_sub(1));
                *paddr = PhysAddr(frame << PAGE_SHIFT | u64::from(address & PAGE_MASK));
            }
        }
        next
    }

    fn note_operation(&mut self, recorded: &Recorded) {
        let operand = |target| match target {
            Target::Bytes { vaddr, .. } => vaddr.0 as u32,
            Target::Index(operand) => operand,
            Target::Whole => 0,
        };
        self.stride = operand(recorded.operation.target).wrapping_sub(operand(self.last_operation.operation.target));
        if let Target::Bytes { vaddr, paddr, .. } = recorded.operation.target
            && let Some((address, frame)) = plain(vaddr, paddr)
        {
            *self.frame(address) = frame;
        }
        self.last_operation = *recorded;
    }
}

/// A virtual address of 32 bits, and the frame plus one that it leads to; none for addresses that do not fit.
fn plain(vaddr: VirtAddr, paddr: PhysAddr) -> Option<(u32, u32)> {
    let address = u32::try_from(vaddr.0).ok()?;
    let frame = u32::try_from((paddr.0 >> PAGE_SHIFT) + 1).ok()?;
    ((paddr.0 as u32 ^ address) & PAGE_MASK == 0).then_some((address, frame))
}

pub(super) fn zigzag(difference: u32) -> u64 {
    let difference = difference as i32;
    u64::from((difference << 1 ^ difference >> 31) as u32)
}

pub(super) fn unzigzag(coded: u64) -> u32 {
    let coded = coded as u32;
    coded >> 1 ^ (coded & 1).wrapping_neg()
}
