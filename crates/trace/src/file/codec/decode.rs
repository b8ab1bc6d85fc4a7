//! Bytes to events.

use congruent_geometry::{PhysAddr, VirtAddr};

use super::*;
use crate::file::{ChainId, Visitor};
use crate::{AccessKind, DmaDirection, Event};

/// Turns bytes into events.
pub struct Decoder {
    model: Model,
    /// Events that may come yet.
    left: u64,
    events: u64,
    places: usize,
}

/// Bytes to be read.
pub struct Bytes<'a>(pub &'a [u8]);

impl Bytes<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Nonsense> {
        let (first, rest) = self.0.split_first().ok_or(Nonsense)?;
        self.0 = rest;
        Ok(*first)
    }

    /// A number in LEB128.
    #[inline]
    pub fn number(&mut self) -> Result<u64, Nonsense> {
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

    /// A number that fits.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Nonsense> {
        T::try_from(self.number()?).map_err(|_| Nonsense)
    }
}

impl Decoder {
    /// A decoder of so many events and code addresses at most.
    pub fn bounded(events: u64, places: u64) -> Self {
        let places = usize::try_from(places).unwrap_or(usize::MAX);
        Self { model: Model::default(), left: events, events: 0, places }
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Whether there were more than there may be.
    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Counts events that are about to be played. More than are left are none.
    #[inline]
    fn count(&mut self, events: u64) -> Result<(), Nonsense> {
        match self.left.checked_sub(events) {
            Some(left) => (self.left, self.events) = (left, self.events + events),
            None => {
                self.left = 0;
                return Err(Nonsense);
            }
        }
        Ok(())
    }

    /// Plays the events of one block.
    ///
    /// # Errors
    /// [`Nonsense`] where the bytes are no events; those before have been played.
    pub fn play(&mut self, bytes: &[u8], visitor: &mut impl Visitor) -> Result<(), Nonsense> {
        let mut bytes = Bytes(bytes);
        while !bytes.0.is_empty() {
            let tag = bytes.byte()?;
            match tag {
                _ if tag & ACCESS != 0 => {
                    self.count(1)?;
                    self.access(tag & !ACCESS, &mut bytes, visitor)?;
                }
                _ if tag == EXPECTED[0] || tag == EXPECTED[1] => self.run(1, usize::from(tag == EXPECTED[1]), visitor)?,
                _ if tag == RUN[0] || tag == RUN[1] => self.run(bytes.number()?, usize::from(tag == RUN[1]), visitor)?,
                OPERATIONS_EXPECTED => {
                    let length: u32 = bytes.small()?;
                    self.count(length.into())?;
                    for _ in 0..length {
                        let recorded = self.model.expected_operation();
                        self.operation(&recorded, visitor)?;
                    }
                }
                OPERATION => {
                    self.count(1)?;
                    self.said_operation(&mut bytes, visitor)?;
                }
                ERA => {
                    let coded = bytes.number()?;
                    let difference = coded >> 1 ^ (coded & 1).wrapping_neg();
                    self.model.era = self.model.era.wrapping_add(difference);
                    visitor.era(self.model.era);
                }
                _ => {
                    self.count(1)?;
                    let (event, chain) = self.other(tag, &mut bytes)?;
                    visitor.event(&event, chain);
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn run(&mut self, length: u64, by: usize, visitor: &mut impl Visitor) -> Result<(), Nonsense> {
        self.count(length)?;
        for _ in 0..length {
            let place = self.model.expected_place();
            let address = self.model.expected_address(place, by);
            let (shape, chain) = (self.model.places[place as usize].shape, self.model.expected_chain(place));
            self.give(place, address, shape, chain, visitor)?;
        }
        Ok(())
    }

    fn access(&mut self, flags: u8, bytes: &mut Bytes<'_>, visitor: &mut impl Visitor) -> Result<(), Nonsense> {
        if flags & ODD != 0 {
            let place = self.site(bytes)?;
            let (shape, vaddr, paddr) = (bytes.small::<u32>()?, bytes.number()?, bytes.number()?);
            let (chain, site) = (ChainId(bytes.small()?), Site(self.model.places[place as usize].site));
            give(visitor, VirtAddr(vaddr), PhysAddr(paddr), shape, site, chain);
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
        let chain = if flags & CALLS != 0 { bytes.small()? } else { self.model.expected_chain(place) };
        self.give(place, address, shape, chain, visitor)
    }

    #[inline]
    fn give(&mut self, place: u32, address: u32, shape: u32, chain: u32, visitor: &mut impl Visitor) -> Result<(), Nonsense> {
        let frame = u64::from(self.model.frame(address).checked_sub(1).ok_or(Nonsense)?);
        let paddr = PhysAddr(frame << PAGE_SHIFT | u64::from(address & PAGE_MASK));
        let site = Site(self.model.places[place as usize].site);
        if place == 0 || shape >> KIND_BITS == 0 {
            return Err(Nonsense);
        }
        give(visitor, VirtAddr(address.into()), paddr, shape, site, ChainId(chain));
        self.model.note(place, address, shape, chain);
        Ok(())
    }

    fn said_operation(&mut self, bytes: &mut Bytes<'_>, visitor: &mut impl Visitor) -> Result<(), Nonsense> {
        let what = bytes.byte()?;
        let on = match what & 3 {
            0 => On::Data(Maintenance::WriteBack),
            1 => On::Data(Maintenance::Invalidate),
            2 => On::Data(Maintenance::WriteBackInvalidate),
            _ => On::Code,
        };
        let site = self.named(bytes)?;
        let chain = ChainId(bytes.small()?);
        let target = match what >> 2 & 3 {
            0 => Target::Bytes { vaddr: VirtAddr(bytes.number()?), paddr: PhysAddr(bytes.number()?), bytes: bytes.small()? },
            1 => Target::Index(bytes.small()?),
            2 => Target::Whole,
            _ => return Err(Nonsense),
        };
        let operation = Operation { on, target, site };
        self.operation(&Recorded { operation, chain, muted: what & 16 != 0 }, visitor)
    }

    fn operation(&mut self, recorded: &Recorded, visitor: &mut impl Visitor) -> Result<(), Nonsense> {
        // Within one page, and the pages of both addresses are in an address space.
        if let Target::Bytes { vaddr, paddr, bytes } = recorded.operation.target
            && (bytes == 0
                || (vaddr.0 as u32 & PAGE_MASK).saturating_add(bytes) > PAGE_MASK + 1
                || paddr.0.checked_add(bytes.into()).is_none())
        {
            return Err(Nonsense);
        }
        visitor.operation(recorded);
        self.model.note_operation(recorded);
        Ok(())
    }

    fn other(&mut self, tag: u8, bytes: &mut Bytes<'_>) -> Result<(Event, ChainId), Nonsense> {
        Ok(match tag {
            UNCACHED => {
                let kind = if bytes.number()? == 0 { AccessKind::Load } else { AccessKind::Store };
                let (paddr, size) = (PhysAddr(bytes.number()?), bytes.small()?);
                let chain = ChainId(bytes.small()?);
                (Event::Uncached { kind, paddr, size, site: self.named(bytes)? }, chain)
            }
            DMA => {
                let direction = if bytes.number()? == 0 { DmaDirection::Read } else { DmaDirection::Write };
                let (paddr, len) = (PhysAddr(bytes.number()?), bytes.number()?);
                (Event::Dma { direction, paddr, len, site: self.named(bytes)? }, ChainId::NONE)
            }
            SPACE => (Event::Space { space: bytes.small()? }, ChainId::NONE),
            CPU => (Event::Cpu { cpu: bytes.small()? }, ChainId::NONE),
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
            if self.model.places.len() == self.places {
                return Err(Nonsense);
            }
            self.model.newest = self.model.newest.wrapping_add(unzigzag(bytes.number()?));
            self.model.places.push(Place::new(self.model.newest));
        }
        if place == 0 || place > known { Err(Nonsense) } else { Ok(place) }
    }
}

#[inline]
fn give(visitor: &mut impl Visitor, vaddr: VirtAddr, paddr: PhysAddr, shape: u32, site: Site, chain: ChainId) {
    let size = shape >> KIND_BITS;
    match shape & PREFETCH {
        FETCH => visitor.event(&Event::Fetch { vaddr, paddr, size, site }, chain),
        PREFETCH => visitor.event(&Event::Prefetch { vaddr, paddr, site }, chain),
        STORE => visitor.access(AccessKind::Store, vaddr, paddr, size, site, chain),
        _ => visitor.access(AccessKind::Load, vaddr, paddr, size, site, chain),
    }
}
