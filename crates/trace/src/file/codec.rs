//! Events to bytes and back, small before any compressor has seen them.
//!
//! Both sides keep the same [`Model`] of what was said: where each code address went last, and which one came after it. An event
//! that is as the model expects costs one byte, a run of them two or three. `docs/recordings.md` has the tables.
//!
//! Guarantees: what goes in comes out; no input of any kind makes the decoder panic, allocate without bound, or run without end.

use std::collections::HashMap;
use std::vec::Vec;

use congruent_geometry::{PhysAddr, VirtAddr};

use super::{CHAIN, ChainId, Operation, Target, Visitor};
use crate::{AccessKind, DmaDirection, Event, Maintenance, Scope, Site};

/// Accesses as expected, after the stride of their instruction; then after the step from the access before. With a count.
const EXPECTED: [u8; 2] = [0x00, 0x02];
const RUN: [u8; 2] = [0x01, 0x03];
const OPERATIONS_EXPECTED: u8 = 0x10;
const OPERATION: u8 = 0x11;
const UNCACHED: u8 = 0x20;
const PREFETCH: u8 = 0x21;
const DMA: u8 = 0x22;
const FETCH: u8 = 0x23;
const MAINTAIN_CODE: u8 = 0x24;
const SPACE: u8 = 0x25;
const CPU: u8 = 0x26;
const CHAIN_TAG: u8 = 0x27;
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

const PAGE_SHIFT: u32 = 12;
const PAGE_MASK: u32 = (1 << PAGE_SHIFT) - 1;

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
    /// The code address that came after it last.
    next: u32,
}

/// What both sides know.
struct Model {
    places: Vec<Place>,
    /// The code address of the last access, and where it went.
    last: u32,
    vaddr: u32,
    /// Per virtual page: the frame it led to last, plus one.
    frames: Vec<u32>,
    operation: Operation,
    era: u64,
    /// From one operand to the next.
    stride: u32,
    chains: u32,
}

impl Default for Model {
    fn default() -> Self {
        let (op, target) = (Maintenance::WriteBack, Target::Whole);
        Self {
            places: std::vec![Place::default()],
            last: 0,
            vaddr: 0,
            frames: std::vec![0; 1 << (32 - PAGE_SHIFT)],
            operation: Operation { op, target, site: Site(0), chain: ChainId(0), muted: false },
            era: 0,
            stride: 0,
            chains: 0,
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

    fn frame(&mut self, vaddr: u32) -> &mut u32 {
        &mut self.frames[(vaddr >> PAGE_SHIFT) as usize]
    }

    #[inline]
    fn note(&mut self, place: u32, vaddr: u32, shape: u32) {
        self.places[self.last as usize].next = place;
        let known = &mut self.places[place as usize];
        known.stride = vaddr.wrapping_sub(known.vaddr);
        known.step = vaddr.wrapping_sub(self.vaddr);
        known.vaddr = vaddr;
        known.shape = shape;
        self.last = place;
        self.vaddr = vaddr;
    }

    /// The operation that is expected next.
    fn expected_operation(&mut self) -> Operation {
        let mut next = self.operation;
        match &mut next.target {
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

    fn note_operation(&mut self, operation: &Operation) {
        let operand = |target| match target {
            Target::Bytes { vaddr, .. } => vaddr.0 as u32,
            Target::Index(operand) => operand,
            Target::Whole => 0,
        };
        self.stride = operand(operation.target).wrapping_sub(operand(self.operation.target));
        if let Target::Bytes { vaddr, paddr, .. } = operation.target
            && let Some((address, frame)) = plain(vaddr, paddr)
        {
            *self.frame(address) = frame;
        }
        self.operation = *operation;
    }
}

/// A virtual address of 32 bits, and the frame plus one that it leads to; none for addresses that do not fit.
fn plain(vaddr: VirtAddr, paddr: PhysAddr) -> Option<(u32, u32)> {
    let address = u32::try_from(vaddr.0).ok()?;
    let frame = u32::try_from((paddr.0 >> PAGE_SHIFT) + 1).ok()?;
    ((paddr.0 as u32 ^ address) & PAGE_MASK == 0).then_some((address, frame))
}

fn zigzag(difference: u32) -> u64 {
    let difference = difference as i32;
    u64::from((difference << 1 ^ difference >> 31) as u32)
}

fn unzigzag(coded: u64) -> u32 {
    let coded = coded as u32;
    coded >> 1 ^ (coded & 1).wrapping_neg()
}

fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Turns events into bytes.
#[derive(Default)]
pub struct Encoder {
    model: Model,
    bytes: Vec<u8>,
    /// A run of accesses, or of operations, that are as expected: its kind and length.
    run: Option<(u8, u64)>,
    places: HashMap<u32, u32>,
    chains: HashMap<Vec<u32>, ChainId>,
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

    /// The number of a call chain.
    pub fn chain(&mut self, calls: &[u32]) -> ChainId {
        let calls = &calls[..calls.len().min(CHAIN)];
        if let Some(known) = self.chains.get(calls) {
            return *known;
        }
        let chain = ChainId(self.model.chains);
        self.model.chains += 1;
        self.chains.insert(calls.to_vec(), chain);
        self.end_run();
        self.bytes.push(CHAIN_TAG);
        put(&mut self.bytes, calls.len() as u64);
        for call in calls {
            put(&mut self.bytes, u64::from(*call));
        }
        chain
    }

    /// Codes an operation.
    pub fn operation(&mut self, operation: &Operation) {
        let fits = match operation.target {
            Target::Bytes { vaddr, paddr, .. } => plain(vaddr, paddr).is_some(),
            _ => true,
        };
        if fits && self.model.expected_operation() == *operation {
            self.model.note_operation(operation);
            return self.lengthen(OPERATIONS_EXPECTED);
        }
        self.end_run();
        let Operation { op, target, site, chain, muted } = *operation;
        self.bytes.push(OPERATION);
        let (kind, operands) = match target {
            Target::Bytes { vaddr, paddr, bytes } => (0, [vaddr.0, paddr.0, u64::from(bytes)]),
            Target::Index(operand) => (1, [u64::from(operand), 0, 0]),
            Target::Whole => (2, [0; 3]),
        };
        self.bytes.push(code_of(op) | kind << 2 | u8::from(muted) << 4);
        self.site(site);
        put(&mut self.bytes, u64::from(chain.0));
        for operand in &operands[..[3, 1, 0][usize::from(kind)]] {
            put(&mut self.bytes, *operand);
        }
        self.model.note_operation(operation);
    }

    /// Codes an event of an era that is over.
    pub fn late(&mut self, era: u64, event: &Event) {
        if era != self.model.era {
            self.end_run();
            self.bytes.push(ERA);
            let difference = era.wrapping_sub(self.model.era) as i64;
            put(&mut self.bytes, (difference << 1 ^ difference >> 63) as u64);
            self.model.era = era;
        }
        self.event(event);
    }

    /// Codes anything but maintenance of the data side, which has a form of its own and is ignored here.
    pub fn event(&mut self, event: &Event) {
        if let Event::Access { kind, vaddr, paddr, size, site } = *event {
            return self.access(kind, vaddr, paddr, size, site);
        }
        self.end_run();
        let is_store = |kind| u64::from(kind == AccessKind::Store);
        let (tag, fields, site): (u8, &[u64], _) = match *event {
            Event::Access { .. } | Event::Maintain { .. } => return,
            Event::Uncached { kind, paddr, size, site } => (UNCACHED, &[is_store(kind), paddr.0, size.into()], Some(site)),
            Event::Prefetch { vaddr, paddr, site } => (PREFETCH, &[vaddr.0, paddr.0], Some(site)),
            Event::Dma { direction, paddr, len, site } => {
                (DMA, &[u64::from(direction == DmaDirection::Write), paddr.0, len], Some(site))
            }
            Event::Fetch { vaddr, paddr, size, site } => (FETCH, &[vaddr.0, paddr.0, size.into()], Some(site)),
            Event::MaintainCode { scope, site } => {
                let [kind, a, b] = match scope {
                    Scope::Line { vaddr, paddr } => [0, vaddr.0, paddr.0],
                    Scope::Index { set, way } => [1, set.into(), way.into()],
                    Scope::Whole => [2, 0, 0],
                };
                (MAINTAIN_CODE, &[kind, a, b], Some(site))
            }
            Event::Space { space } => (SPACE, &[space.into()], None),
            Event::Cpu { cpu } => (CPU, &[cpu.into()], None),
        };
        self.bytes.push(tag);
        for field in fields {
            put(&mut self.bytes, *field);
        }
        if let Some(site) = site {
            self.site(site);
        }
    }

    fn access(&mut self, kind: AccessKind, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site) {
        let shape = size << 1 | u32::from(kind == AccessKind::Store);
        let expected = self.model.expected_place();
        let is_expected = expected != 0 && self.model.places[expected as usize].site == site.0;
        let Some((address, frame)) = plain(vaddr, paddr) else {
            self.end_run();
            self.bytes.extend([ACCESS | ODD]);
            self.site(site);
            for field in [u64::from(shape), vaddr.0, paddr.0] {
                put(&mut self.bytes, field);
            }
            return;
        };
        let known_frame = *self.model.frame(address) == frame;
        if is_expected && known_frame && self.model.places[expected as usize].shape == shape {
            // A run that is under way keeps its manner.
            let first = match self.run {
                Some((tag, _)) if tag == RUN[1] => 1,
                _ => 0,
            };
            for by in [first, 1 - first] {
                if self.model.expected_address(expected, by) == address {
                    self.model.note(expected, address, shape);
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
            self.site(site)
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
        self.bytes[tag_at] |= flags | mode << MODE_SHIFT;
        self.model.note(place, address, shape);
    }

    /// Codes a code address, new or known, and gives its number.
    fn site(&mut self, site: Site) -> u32 {
        if let Some(place) = self.places.get(&site.0) {
            put(&mut self.bytes, u64::from(*place));
            return *place;
        }
        let place = self.model.places.len() as u32;
        self.model.places.push(Place { site: site.0, ..Place::default() });
        self.places.insert(site.0, place);
        put(&mut self.bytes, u64::from(place));
        put(&mut self.bytes, u64::from(site.0));
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

fn code_of(op: Maintenance) -> u8 {
    match op {
        Maintenance::WriteBack => 0,
        Maintenance::Invalidate => 1,
        Maintenance::WriteBackInvalidate => 2,
    }
}

/// Something that no encoder wrote.
#[derive(Debug)]
pub struct Nonsense;

/// Turns bytes into events.
#[derive(Default)]
pub struct Decoder {
    model: Model,
    chains: Vec<Vec<u32>>,
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Nonsense> {
        let (first, rest) = self.0.split_first().ok_or(Nonsense)?;
        self.0 = rest;
        Ok(*first)
    }

    #[inline]
    fn number(&mut self) -> Result<u64, Nonsense> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Nonsense)
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Nonsense> {
        T::try_from(self.number()?).map_err(|_| Nonsense)
    }
}

impl Decoder {
    /// Plays the events of one block.
    ///
    /// # Errors
    /// [`Nonsense`] where the bytes are no events; those before have been played.
    pub fn play(&mut self, bytes: &[u8], visitor: &mut impl Visitor) -> Result<(), Nonsense> {
        let mut bytes = Bytes(bytes);
        while !bytes.0.is_empty() {
            let tag = bytes.byte()?;
            match tag {
                _ if tag & ACCESS != 0 => self.access(tag & !ACCESS, &mut bytes, visitor)?,
                _ if tag == EXPECTED[0] || tag == EXPECTED[1] => self.run(1, usize::from(tag == EXPECTED[1]), visitor)?,
                _ if tag == RUN[0] || tag == RUN[1] => self.run(bytes.number()?, usize::from(tag == RUN[1]), visitor)?,
                OPERATIONS_EXPECTED => {
                    let length: u32 = bytes.small()?;
                    for _ in 0..length {
                        let operation = self.model.expected_operation();
                        self.operation(&operation, visitor)?;
                    }
                }
                OPERATION => self.said_operation(&mut bytes, visitor)?,
                CHAIN_TAG => {
                    let length: usize = bytes.small()?;
                    if length > CHAIN {
                        return Err(Nonsense);
                    }
                    let calls: Result<_, _> = (0..length).map(|_| bytes.small()).collect();
                    self.chains.push(calls?);
                }
                ERA => {
                    let coded = bytes.number()?;
                    let difference = coded >> 1 ^ (coded & 1).wrapping_neg();
                    self.model.era = self.model.era.wrapping_add(difference);
                    visitor.era(self.model.era);
                }
                _ => {
                    let event = self.other(tag, &mut bytes)?;
                    visitor.event(&event);
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn run(&mut self, length: u64, by: usize, visitor: &mut impl Visitor) -> Result<(), Nonsense> {
        if length > u64::from(u32::MAX) {
            return Err(Nonsense);
        }
        for _ in 0..length {
            let place = self.model.expected_place();
            let address = self.model.expected_address(place, by);
            self.give(place, address, self.model.places[place as usize].shape, visitor)?;
        }
        Ok(())
    }

    fn access(&mut self, flags: u8, bytes: &mut Bytes<'_>, visitor: &mut impl Visitor) -> Result<(), Nonsense> {
        if flags & ODD != 0 {
            let place = self.site(bytes)?;
            let (shape, vaddr, paddr) = (bytes.small::<u32>()?, bytes.number()?, bytes.number()?);
            let site = Site(self.model.places[place as usize].site);
            visitor.access(kind_of(shape), VirtAddr(vaddr), PhysAddr(paddr), shape >> 1, site);
            return Ok(());
        }
        let place = if flags & SITE != 0 { self.site(bytes)? } else { self.model.expected_place() };
        let known = self.model.places[place as usize];
        let shape = if flags & SHAPE != 0 { bytes.small()? } else { known.shape };
        let address = match flags >> MODE_SHIFT & 3 {
            BY_STRIDE => self.model.expected_address(place, 0),
            BY_STEP => self.model.expected_address(place, 1),
            FROM_OWN => known.vaddr.wrapping_add(unzigzag(bytes.number()?)),
            _ => self.model.vaddr.wrapping_add(unzigzag(bytes.number()?)),
        };
        if flags & FRAME != 0 {
            *self.model.frame(address) = bytes.small()?;
        }
        self.give(place, address, shape, visitor)
    }

    #[inline]
    fn give(&mut self, place: u32, address: u32, shape: u32, visitor: &mut impl Visitor) -> Result<(), Nonsense> {
        let frame = u64::from(self.model.frame(address).checked_sub(1).ok_or(Nonsense)?);
        let paddr = PhysAddr(frame << PAGE_SHIFT | u64::from(address & PAGE_MASK));
        let site = Site(self.model.places[place as usize].site);
        if place == 0 || shape >> 1 == 0 {
            return Err(Nonsense);
        }
        visitor.access(kind_of(shape), VirtAddr(address.into()), paddr, shape >> 1, site);
        self.model.note(place, address, shape);
        Ok(())
    }

    fn said_operation(&mut self, bytes: &mut Bytes<'_>, visitor: &mut impl Visitor) -> Result<(), Nonsense> {
        let what = bytes.byte()?;
        let op = match what & 3 {
            0 => Maintenance::WriteBack,
            1 => Maintenance::Invalidate,
            2 => Maintenance::WriteBackInvalidate,
            _ => return Err(Nonsense),
        };
        let place = self.site(bytes)?;
        let site = Site(self.model.places[place as usize].site);
        let chain = ChainId(bytes.small()?);
        let target = match what >> 2 & 3 {
            0 => Target::Bytes { vaddr: VirtAddr(bytes.number()?), paddr: PhysAddr(bytes.number()?), bytes: bytes.small()? },
            1 => Target::Index(bytes.small()?),
            2 => Target::Whole,
            _ => return Err(Nonsense),
        };
        self.operation(&Operation { op, target, site, chain, muted: what & 16 != 0 }, visitor)
    }

    fn operation(&mut self, operation: &Operation, visitor: &mut impl Visitor) -> Result<(), Nonsense> {
        if let Target::Bytes { vaddr, bytes, .. } = operation.target
            && (bytes == 0 || (vaddr.0 as u32 & PAGE_MASK).saturating_add(bytes) > PAGE_MASK + 1)
        {
            return Err(Nonsense);
        }
        let chain = self.chains.get(operation.chain.0 as usize).ok_or(Nonsense)?;
        visitor.operation(operation, chain);
        self.model.note_operation(operation);
        Ok(())
    }

    fn other(&mut self, tag: u8, bytes: &mut Bytes<'_>) -> Result<Event, Nonsense> {
        let kind = |bytes: &mut Bytes<'_>| Ok(if bytes.number()? == 0 { AccessKind::Load } else { AccessKind::Store });
        Ok(match tag {
            UNCACHED => {
                let (kind, paddr, size) = (kind(bytes)?, PhysAddr(bytes.number()?), bytes.small()?);
                Event::Uncached { kind, paddr, size, site: self.named(bytes)? }
            }
            PREFETCH => {
                let (vaddr, paddr) = (VirtAddr(bytes.number()?), PhysAddr(bytes.number()?));
                Event::Prefetch { vaddr, paddr, site: self.named(bytes)? }
            }
            DMA => {
                let direction = if bytes.number()? == 0 { DmaDirection::Read } else { DmaDirection::Write };
                let (paddr, len) = (PhysAddr(bytes.number()?), bytes.number()?);
                Event::Dma { direction, paddr, len, site: self.named(bytes)? }
            }
            FETCH => {
                let (vaddr, paddr, size) = (VirtAddr(bytes.number()?), PhysAddr(bytes.number()?), bytes.small()?);
                Event::Fetch { vaddr, paddr, size, site: self.named(bytes)? }
            }
            MAINTAIN_CODE => {
                let (kind, a, b) = (bytes.number()?, bytes.number()?, bytes.number()?);
                let scope = match kind {
                    0 => Scope::Line { vaddr: VirtAddr(a), paddr: PhysAddr(b) },
                    1 => Scope::Index { set: a as u32, way: b as u32 },
                    2 => Scope::Whole,
                    _ => return Err(Nonsense),
                };
                Event::MaintainCode { scope, site: self.named(bytes)? }
            }
            SPACE => Event::Space { space: bytes.small()? },
            CPU => Event::Cpu { cpu: bytes.small()? },
            _ => return Err(Nonsense),
        })
    }

    fn named(&mut self, bytes: &mut Bytes<'_>) -> Result<Site, Nonsense> {
        let place = self.site(bytes)?;
        Ok(Site(self.model.places[place as usize].site))
    }

    /// The number of a code address, known or new.
    fn site(&mut self, bytes: &mut Bytes<'_>) -> Result<u32, Nonsense> {
        let place: u32 = bytes.small()?;
        let known = self.model.places.len() as u32;
        if place == known {
            self.model.places.push(Place { site: bytes.small()?, ..Place::default() });
        }
        if place == 0 || place > known { Err(Nonsense) } else { Ok(place) }
    }
}

fn kind_of(shape: u32) -> AccessKind {
    if shape & 1 == 0 { AccessKind::Load } else { AccessKind::Store }
}
