//! Reading a recording: its events, in order, to whoever wants them.

use std::vec::Vec;

use super::codec::Decoder;
use super::frame::EventsAt;
use super::{Bounds, CallChains, ChainId, Damage, Layout, Recorded, ends_era};
use crate::{AccessKind, Event, Site};
use congruent_geometry::{PhysAddr, VirtAddr};

/// Who takes the contents of a recording.
pub trait Visitor {
    /// A load or store through a cacheable mapping, and through which calls it came; most of a recording is these.
    fn access(&mut self, kind: AccessKind, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site, chain: ChainId);

    /// Maintenance.
    fn operation(&mut self, recorded: &Recorded);

    /// Anything else.
    fn event(&mut self, event: &Event, chain: ChainId);

    /// What follows, up to the next call, belongs to this era, which is over. [`play`] puts it there and so does not call this.
    fn era(&mut self, _era: u64) {}

    /// So many of the file's bytes of events are done, of so many. For progress; called now and then.
    fn progress(&mut self, _done: u64, _of: u64) {}
}

/// The call chains that events name. Of a damaged file, those before the damage.
///
/// # Errors
/// Contents that are no chains although their checksum is right.
pub fn chains(layout: &Layout<'_>) -> Result<CallChains, Damage> {
    let mut chains = CallChains::default();
    let most = usize::try_from(Bounds::of(layout).places).unwrap_or(usize::MAX);
    for block in &layout.chains {
        chains.decode(&content(block)?, most).map_err(|_| wrong(block, "a block that holds no call chains"))?;
    }
    Ok(chains)
}

/// Plays everything that comes before the first damage.
///
/// # Errors
/// The damage, if any: that of the file, or contents that are no events although their checksum is right, or more or fewer than the
/// footer says, or more than a file of its size may hold. What came before it has been played.
pub fn play(layout: &Layout<'_>, visitor: &mut impl Visitor) -> Result<(), Damage> {
    let of = layout.events.iter().map(|block| block.stored.len() as u64).sum();
    let bounds = Bounds::of(layout);
    let mut late = Late::default();
    let mut decoder = Decoder::bounded(bounds.late, bounds.places);
    for block in &layout.late {
        decode(&mut decoder, block, &mut late)?;
    }
    let kept_late = decoder.events();
    late.events.sort_by_key(|(era, ..)| *era);
    let mut in_order = InOrder { visitor, late: &late.events, era: 0 };
    let (mut decoder, mut done) = (Decoder::bounded(bounds.events - kept_late.min(bounds.events), bounds.places), 0);
    for block in &layout.events {
        decode(&mut decoder, block, &mut in_order)?;
        done += block.stored.len() as u64;
        in_order.visitor.progress(done, of);
    }
    if let Some(damage) = &layout.damage {
        return Err(damage.clone());
    }
    match &layout.footer {
        Some(footer) if footer.events != kept_late + decoder.events() => {
            Err(Damage { position: layout.footer_at, what: "a footer that tells of more events than there are" })
        }
        _ => Ok(()),
    }
}

const NONSENSE: &str = "a block that holds no events";
const TOO_MANY: &str = "a block with more events than its file can have";

fn decode(decoder: &mut Decoder, block: &EventsAt<'_>, visitor: &mut impl Visitor) -> Result<(), Damage> {
    let content = content(block)?;
    decoder.play(&content, visitor).map_err(|_| wrong(block, if decoder.is_full() { TOO_MANY } else { NONSENSE }))
}

fn wrong(block: &EventsAt<'_>, what: &'static str) -> Damage {
    Damage { position: block.position, what }
}

/// The coded events of a block.
pub(super) fn content(block: &EventsAt<'_>) -> Result<Vec<u8>, Damage> {
    let content = zstd::bulk::decompress(block.stored, block.content_length).ok();
    let content = content.filter(|content| content.len() == block.content_length);
    content.ok_or(wrong(block, "a block that cannot be decompressed"))
}

/// Gathers the events that were kept late, with their eras.
#[derive(Default)]
struct Late {
    events: Vec<(u64, ChainId, Event)>,
    era: u64,
}

impl Visitor for Late {
    fn access(&mut self, kind: AccessKind, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site, chain: ChainId) {
        self.event(&Event::Access { kind, vaddr, paddr, size, site }, chain);
    }

    /// Operations end an era and so are never late.
    fn operation(&mut self, _recorded: &Recorded) {}

    fn event(&mut self, event: &Event, chain: ChainId) {
        self.events.push((self.era, chain, *event));
    }

    fn era(&mut self, era: u64) {
        self.era = era;
    }
}

/// Puts late events where they belong: at the end of their era.
struct InOrder<'a, V> {
    visitor: &'a mut V,
    /// Those still to come.
    late: &'a [(u64, ChainId, Event)],
    era: u64,
}

impl<V: Visitor> InOrder<'_, V> {
    #[inline]
    fn end_era(&mut self) {
        while let Some(((era, chain, event), left)) = self.late.split_first()
            && *era <= self.era
        {
            self.late = left;
            match *event {
                Event::Access { kind, vaddr, paddr, size, site } => {
                    self.visitor.access(kind, vaddr, paddr, size, site, *chain);
                }
                _ => self.visitor.event(event, *chain),
            }
        }
        self.era += 1;
    }
}

impl<V: Visitor> Visitor for InOrder<'_, V> {
    #[inline]
    fn access(&mut self, kind: AccessKind, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site, chain: ChainId) {
        self.visitor.access(kind, vaddr, paddr, size, site, chain);
    }

    fn operation(&mut self, recorded: &Recorded) {
        self.end_era();
        self.visitor.operation(recorded);
    }

    fn event(&mut self, event: &Event, chain: ChainId) {
        if ends_era(event) {
            self.end_era();
        }
        self.visitor.event(event, chain);
    }
}
