//! Makes a whole recording smaller: fewer, longer blocks, compressed as well as can be, which would be too slow while a guest runs.
//!
//! Guarantees: the packed recording plays the same events. What is not whole is left alone, for its parts may be all that is left.

use std::io;
use std::vec::Vec;

use super::frame::{EventsAt, Kind, Layout, SIGNATURE, block};
use super::play::content;

/// Coded events of one block, in bytes: as many as readers take.
const BLOCK: usize = super::frame::LONGEST as usize;
/// zstd's, as far as it goes without more memory for the reader.
const LEVEL: i32 = 19;

/// The recording in fewer bytes; `None` if it is damaged or has no end.
///
/// # Errors
/// Whatever the compressor reports.
pub fn pack(recording: &Layout<'_>) -> io::Result<Option<Vec<u8>>> {
    let (true, Some(footer), Some(end)) = (recording.is_whole(), &recording.footer, &recording.end) else { return Ok(None) };
    let mut packed = SIGNATURE.to_vec();
    let json = |packed: &mut Vec<u8>, kind, text: Vec<u8>| packed.extend(block(kind, text.len(), &text));
    json(&mut packed, Kind::Header, serde_json::to_vec(&recording.header)?);
    for (kind, blocks) in [(Kind::Chains, &recording.chains), (Kind::Late, &recording.late), (Kind::Events, &recording.events)] {
        if !join(&mut packed, kind, blocks)? {
            return Ok(None);
        }
    }
    json(&mut packed, Kind::Footer, serde_json::to_vec(footer)?);
    json(&mut packed, Kind::End, serde_json::to_vec(end)?);
    Ok(Some(packed))
}

/// Adds what is in these blocks in longer ones; false if one cannot be read.
fn join(packed: &mut Vec<u8>, kind: Kind, blocks: &[EventsAt<'_>]) -> io::Result<bool> {
    let mut waiting = Vec::new();
    let mut add = |waiting: &mut Vec<u8>| -> io::Result<()> {
        if !waiting.is_empty() {
            packed.extend(block(kind, waiting.len(), &zstd::bulk::compress(waiting, LEVEL)?));
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
