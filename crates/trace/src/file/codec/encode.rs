//! Events to bytes.

use std::collections::HashMap;
use std::vec::Vec;

use congruent_geometry::{PhysAddr, VirtAddr};

use super::*;
use crate::file::ChainId;
use crate::{AccessKind, DmaDirection, Event};

/// Turns events into bytes.
#[derive(Default)]
pub struct Encoder {
    model: Model,
    bytes: Vec<u8>,
    /// A run of accesses, or of operations, that are as expected: its kind and length.
    run: Option<(u8, u64)>,
    /// Numbers of code addresses, those that fetch apart.
    places: HashMap<(u32, bool), u32>,
}

/// An access as it is coded: of every kind.
#[derive(Clone, Copy)]
struct Coded {
    vaddr: VirtAddr,
    paddr: PhysAddr,
    /// Size and kind.
    shape: u32,
    site: Site,
}

impl Coded {
    fn new(kind: u32, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site) -> Self {
        Self { vaddr, paddr, shape: size << KIND_BITS | kind, site }
    }

    fn fetches(&self) -> bool {
        self.shape & PREFETCH == FETCH
    }
}

impl Encoder {
    /// Bytes waiting to be taken.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes what was coded so far.
    pub fn take(&mut self) -> Vec<u8> {
        self.end_run();
        std::mem::take(&mut self.bytes)
    }

    /// Codes an operation.
    pub fn operation(&mut self, recorded: &Recorded) {
        let Recorded { operation: Operation { on, target, site }, chain, muted } = *recorded;
        let fits = match target {
            Target::Bytes { vaddr, paddr, .. } => plain(vaddr, paddr).is_some(),
            _ => true,
        };
        if fits && self.model.expected_operation() == *recorded {
            self.model.note_operation(recorded);
            return self.lengthen(OPERATIONS_EXPECTED);
        }
        self.end_run();
        self.bytes.push(OPERATION);
        let (kind, operands) = match target {
            Target::Bytes { vaddr, paddr, bytes } => (0, [vaddr.0, paddr.0, u64::from(bytes)]),
            Target::Index(operand) => (1, [u64::from(operand), 0, 0]),
            Target::Whole => (2, [0; 3]),
        };
        self.bytes.push(code_of(on) | kind << 2 | u8::from(muted) << 4);
        self.site(site, false);
        put(&mut self.bytes, u64::from(chain.0));
        for operand in &operands[..[3, 1, 0][usize::from(kind)]] {
            put(&mut self.bytes, *operand);
        }
        self.model.note_operation(recorded);
    }

    /// Codes an event of an era that is over.
    pub fn late(&mut self, era: u64, chain: Option<ChainId>, event: &Event) {
        if era != self.model.era {
            self.end_run();
            self.bytes.push(ERA);
            let difference = era.wrapping_sub(self.model.era) as i64;
            put(&mut self.bytes, (difference << 1 ^ difference >> 63) as u64);
            self.model.era = era;
        }
        self.event(chain, event);
    }

    /// Codes anything but maintenance, which has a form of its own and is ignored here. Without a chain, any will do.
    pub fn event(&mut self, chain: Option<ChainId>, event: &Event) {
        let calls = chain.unwrap_or_default().0;
        let (tag, fields, site): (u8, &[u64], _) = match *event {
            Event::Access { kind, vaddr, paddr, size, site } => {
                let kind = if kind == AccessKind::Store { STORE } else { 0 };
                return self.access(Coded::new(kind, vaddr, paddr, size, site), chain);
            }
            Event::Fetch { vaddr, paddr, size, site } => {
                return self.access(Coded::new(FETCH, vaddr, paddr, size, site), chain);
            }
            Event::Prefetch { vaddr, paddr, site } => {
                return self.access(Coded::new(PREFETCH, vaddr, paddr, 1, site), chain);
            }
            Event::Uncached { kind, paddr, size, site } => {
                (UNCACHED, &[u64::from(kind == AccessKind::Store), paddr.0, size.into(), calls.into()], Some(site))
            }
            Event::Dma { direction, paddr, len, site } => {
                (DMA, &[u64::from(direction == DmaDirection::Write), paddr.0, len], Some(site))
            }
            Event::Space { space } => (SPACE, &[space.into()], None),
            Event::Cpu { cpu } => (CPU, &[cpu.into()], None),
            Event::Maintain { .. } | Event::MaintainCode { .. } => return,
        };
        self.end_run();
        self.bytes.push(tag);
        for field in fields {
            put(&mut self.bytes, *field);
        }
        if let Some(site) = site {
            self.site(site, false);
        }
    }

    fn access(&mut self, coded: Coded, chain: Option<ChainId>) {
        let Coded { vaddr, paddr, shape, site } = coded;
        let Some((address, frame)) = plain(vaddr, paddr) else {
            self.end_run();
            self.bytes.extend([ACCESS | ODD]);
            self.site(site, coded.fetches());
            for field in [u64::from(shape), vaddr.0, paddr.0, chain.unwrap_or_default().0.into()] {
                put(&mut self.bytes, field);
            }
            return;
        };
        let expected = self.model.expected_place();
        let known = self.model.places[expected as usize];
        let is_expected = expected != 0 && known.site == site.0 && (known.shape & PREFETCH == FETCH) == coded.fetches();
        let known_frame = *self.model.frame(address) == frame;
        let calls = |model: &Model, place| chain.map_or_else(|| model.expected_chain(place), |chain| chain.0);
        if is_expected
            && known_frame
            && known.shape == shape
            && calls(&self.model, expected) == self.model.expected_chain(expected)
        {
            // A run that is under way keeps its manner.
            let first = match self.run {
                Some((tag, _)) if tag == RUN[1] => 1,
                _ => 0,
            };
            for by in [first, 1 - first] {
                if self.model.expected_address(expected, by) == address {
                    self.model.note(expected, address, shape, self.model.expected_chain(expected));
                    return self.lengthen(RUN[by]);
                }
            }
        }
        self.end_run();
        let tag_at = self.bytes.len();
        self.bytes.push(ACCESS);
        let mut flags = 0;
        let place = if is_expected {
            expected
        } else {
            flags |= SITE;
            self.site(site, coded.fetches())
        };
        let known = self.model.places[place as usize];
        if known.shape != shape {
            flags |= SHAPE;
            put(&mut self.bytes, u64::from(shape));
        }
        let own = zigzag(address.wrapping_sub(known.vaddr));
        let last = zigzag(address.wrapping_sub(self.model.vaddr));
        let mode = if self.model.expected_address(place, 0) == address {
            BY_STRIDE
        } else if self.model.expected_address(place, 1) == address {
            BY_STEP
        } else if own < last {
            put(&mut self.bytes, own);
            FROM_OWN
        } else {
            put(&mut self.bytes, last);
            FROM_LAST
        };
        if !known_frame {
            flags |= FRAME;
            put(&mut self.bytes, u64::from(frame));
            *self.model.frame(address) = frame;
        }
        let calls = calls(&self.model, place);
        if calls != self.model.expected_chain(place) {
            flags |= CALLS;
            put(&mut self.bytes, u64::from(calls));
        }
        self.bytes[tag_at] |= flags | mode << MODE_SHIFT;
        self.model.note(place, address, shape, calls);
    }

    /// Codes a code address, new or known, and gives its number.
    fn site(&mut self, site: Site, fetches: bool) -> u32 {
        if let Some(place) = self.places.get(&(site.0, fetches)) {
            put(&mut self.bytes, u64::from(*place));
            return *place;
        }
        let place = self.model.places.len() as u32;
        self.model.places.push(Place::new(site.0));
        self.places.insert((site.0, fetches), place);
        put(&mut self.bytes, u64::from(place));
        put(&mut self.bytes, zigzag(site.0.wrapping_sub(self.model.newest)));
        self.model.newest = site.0;
        place
    }

    fn lengthen(&mut self, tag: u8) {
        match &mut self.run {
            Some((same, length)) if *same == tag => *length += 1,
            _ => {
                self.end_run();
                self.run = Some((tag, 1));
            }
        }
    }

    fn end_run(&mut self) {
        match self.run.take() {
            None => {}
            Some((OPERATIONS_EXPECTED, length)) => {
                self.bytes.push(OPERATIONS_EXPECTED);
                put(&mut self.bytes, length);
            }
            Some((tag, 1)) => self.bytes.push(if tag == RUN[0] { EXPECTED[0] } else { EXPECTED[1] }),
            Some((tag, length)) => {
                self.bytes.push(tag);
                put(&mut self.bytes, length);
            }
        }
    }
}

/// LEB128.
pub fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn code_of(on: On) -> u8 {
    match on {
        On::Data(Maintenance::WriteBack) => 0,
        On::Data(Maintenance::Invalidate) => 1,
        On::Data(Maintenance::WriteBackInvalidate) => 2,
        On::Code => 3,
    }
}
