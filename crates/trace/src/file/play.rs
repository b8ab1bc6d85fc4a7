//! Reading a recording: its events, in order, to whoever wants them.

use super::codec::Decoder;
use super::{Damage, Layout, Operation};
use crate::{AccessKind, Event, Site};
use congruent_geometry::{PhysAddr, VirtAddr};

/// Who takes the contents of a recording.
pub trait Visitor {
    /// A load or store through a cacheable mapping; most of a recording is these.
    fn access(&mut self, kind: AccessKind, vaddr: VirtAddr, paddr: PhysAddr, size: u32, site: Site);

    /// Maintenance. `chain` are the code addresses of the calls it was made under, innermost first.
    fn operation(&mut self, operation: &Operation, chain: &[u32]);

    /// Anything else.
    fn event(&mut self, event: &Event);

    /// So many of the file's bytes of events are done, of so many. For progress; called now and then.
    fn progress(&mut self, _done: u64, _of: u64) {}
}

/// Plays everything that comes before the first damage.
///
/// # Errors
/// The damage, if any: that of the file, or contents that are no events although their checksum is right. What came before it has
/// been played.
pub fn play(layout: &Layout<'_>, visitor: &mut impl Visitor) -> Result<(), Damage> {
    let of = layout.events.iter().map(|block| block.stored.len() as u64).sum();
    let (mut decoder, mut done) = (Decoder::default(), 0);
    for block in &layout.events {
        let wrong = |what| Damage { position: block.position, what };
        let content = zstd::bulk::decompress(block.stored, block.content_length)
            .ok()
            .filter(|content| content.len() == block.content_length)
            .ok_or(wrong("a block that cannot be decompressed"))?;
        decoder.play(&content, visitor).map_err(|_| wrong("a block that holds no events"))?;
        done += block.stored.len() as u64;
        visitor.progress(done, of);
    }
    layout.damage.clone().map_or(Ok(()), Err)
}
