//! Makes a whole recording smaller: fewer, longer blocks, compressed as well as can be, which would be too slow while a guest runs.
//!
//! Guarantees: the packed recording plays the same events, which was tried. What is not whole is left alone, for its parts may be all that is left.

use std::io;
use std::vec::Vec;

use congruent_geometry::{PhysAddr, VirtAddr};

use super::frame::{EventsAt, Kind, Layout, SIGNATURE, block, sum_of};
use super::play::{Visitor, content, play};
use super::{ChainId, Damage, Footer, Recorded};
use crate::{AccessKind, Event, Site};

/// Coded events of one block, in bytes: as many as readers take.
const BLOCK: usize = super::frame::LONGEST as usize;
/// zstd's, as far as it goes without more memory for the reader.
const LEVEL: i32 = 19;

/// The recording in fewer bytes; `None` if it is damaged, has no end, or does not play.
///
/// # Errors
/// Whatever the compressor reports.
pub fn pack(recording: &Layout<'_>) -> io::Result<Option<Vec<u8>>> {
    let (true, Some(footer), Some(end)) = (recording.is_whole(), &recording.footer, &recording.end) else { return Ok(None) };
    if play(recording, &mut Nobody).is_err() {
        return Ok(None);
    }
    let mut packed = Packed { bytes: SIGNATURE.to_vec(), sums: crc32fast::Hasher::new() };
    packed.json(Kind::Header, &recording.header)?;
    for (kind, blocks) in [(Kind::Chains, &recording.chains), (Kind::Late, &recording.late), (Kind::Events, &recording.events)] {
        if !join(&mut packed, kind, blocks)? {
            return Ok(None);
        }
    }
    let blocks = Some(packed.sums.clone().finalize());
    packed.json(Kind::Footer, &Footer { blocks, ..footer.clone() })?;
    packed.json(Kind::End, end)?;
    Ok(Some(packed.bytes).filter(|bytes| is_same(recording, bytes)))
}

/// The file so far.
struct Packed {
    bytes: Vec<u8>,
    /// Of the checksums of its blocks.
    sums: crc32fast::Hasher,
}

impl Packed {
    fn block(&mut self, kind: Kind, content_length: usize, stored: &[u8]) {
        let block = block(kind, content_length, stored);
        self.sums.update(&sum_of(&block));
        self.bytes.extend(block);
    }

    fn json(&mut self, kind: Kind, value: &impl serde::Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(value)?;
        self.block(kind, text.len(), &text);
        Ok(())
    }
}

/// Whether the packed recording is whole and has the contents of the other: what takes its place must be as good.
fn is_same(recording: &Layout<'_>, packed: &[u8]) -> bool {
    let contents = |blocks: &[EventsAt<'_>]| {
        let mut sum = crc32fast::Hasher::new();
        for block in blocks {
            sum.update(&content(block)?);
        }
        Ok::<_, Damage>(sum.finalize())
    };
    let all = |layout: &Layout<'_>| [&layout.chains, &layout.late, &layout.events].map(|blocks| contents(blocks));
    let Ok(layout) = Layout::of(packed) else { return false };
    layout.is_whole() && layout.end == recording.end && all(&layout) == all(recording)
}

/// Looks at nothing: whether a recording can be played is all that is asked.
struct Nobody;

impl Visitor for Nobody {
    fn access(&mut self, _: AccessKind, _: VirtAddr, _: PhysAddr, _: u32, _: Site, _: ChainId) {}

    fn operation(&mut self, _: &Recorded) {}

    fn event(&mut self, _: &Event, _: ChainId) {}
}

/// Adds what is in these blocks in longer ones; false if one cannot be read.
fn join(packed: &mut Packed, kind: Kind, blocks: &[EventsAt<'_>]) -> io::Result<bool> {
    let mut waiting = Vec::new();
    let mut add = |waiting: &mut Vec<u8>| -> io::Result<()> {
        if !waiting.is_empty() {
            packed.block(kind, waiting.len(), &zstd::bulk::compress(waiting, LEVEL)?);
            waiting.clear();
        }
        Ok(())
    };
    for next in blocks {
        if waiting.len() + next.content_length > BLOCK {
            add(&mut waiting)?;
        }
        let Ok(coded) = content(next) else { return Ok(false) };
        waiting.extend(coded);
    }
    add(&mut waiting)?;
    Ok(true)
}
