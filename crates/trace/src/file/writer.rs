//! Writing a recording: coded, compressed, and on its way to the disk block by block.
//!
//! Guarantees: what was handed over before the last full block survives the end of the process, however it ends. Not
//! promised: that it survives the end of the machine (nothing is synced).

use std::io::{self, Write};
use std::vec::Vec;

use super::codec::Encoder;
use super::frame::{Kind, SIGNATURE, block, sum_of};
use super::{CallChains, ChainId, Footer, Header, Recorded, RunEnd, ends_era};
use crate::{Event, Site};

/// Coded events of one block, in bytes.
const BLOCK: usize = 1 << 20;
/// zstd's: fast, and near the best for what is coded already.
const LEVEL: i32 = 6;

/// Writes one recording.
pub struct Writer<W: Write> {
    to: W,
    encoder: Encoder,
    late: Encoder,
    chains: CallChains,
    /// So many of them are written.
    chains_written: usize,
    era: u64,
    events: u64,
    /// Of the checksums of the blocks so far.
    sums: crc32fast::Hasher,
}

impl<W: Write> Writer<W> {
    /// Starts a recording.
    ///
    /// # Errors
    /// Whatever `to` reports.
    pub fn new(mut to: W, header: &Header) -> io::Result<Self> {
        to.write_all(&SIGNATURE)?;
        let mut writer = Self {
            to,
            encoder: Encoder::default(),
            late: Encoder::default(),
            chains: CallChains::default(),
            chains_written: 0,
            era: 0,
            events: 0,
            sums: crc32fast::Hasher::new(),
        };
        writer.json(Kind::Header, header)?;
        Ok(writer)
    }

    /// Adds an event that is not maintenance, which is added by [`operation`](Self::operation). It came before the last `age` events
    /// that end an era; if it is one of those itself, `age` must be 0. Without a chain, any will do.
    ///
    /// # Errors
    /// Whatever the file reports.
    #[inline]
    pub fn event(&mut self, age: u64, chain: Option<ChainId>, event: &Event) -> io::Result<()> {
        self.events += 1;
        if age == 0 {
            self.encoder.event(chain, event);
            self.era += u64::from(ends_era(event));
        } else {
            self.late.late(self.era.saturating_sub(age), chain, event);
        }
        self.write_if_full()
    }

    /// Adds an operation; its chain is one that [`chain`](Self::chain) gave.
    ///
    /// # Errors
    /// Whatever the file reports.
    pub fn operation(&mut self, recorded: &Recorded) -> io::Result<()> {
        self.events += 1;
        self.encoder.operation(recorded);
        self.era += 1;
        self.write_if_full()
    }

    /// The number of a new call chain: this call, under the chain of its caller.
    pub fn chain(&mut self, caller: ChainId, site: Site) -> ChainId {
        self.chains.add(caller, site)
    }

    /// The number of the chain without a call of a program, which goes by its place in [`Footer::programs`].
    pub fn program(&mut self, program: u32) -> ChainId {
        self.chains.add_program(program)
    }

    /// Writes what has come so far, so that it is not lost with the process.
    ///
    /// # Errors
    /// Whatever the file reports.
    pub fn flush(&mut self) -> io::Result<()> {
        // Chains and what is late first: what comes before any place of the file then means the same without the rest.
        let chains = self.chains.coded_from(self.chains_written);
        self.chains_written = self.chains.len();
        for (kind, coded) in [(Kind::Chains, chains), (Kind::Late, self.late.take()), (Kind::Events, self.encoder.take())] {
            if !coded.is_empty() {
                let stored = zstd::bulk::compress(&coded, LEVEL)?;
                self.block(kind, coded.len(), &stored)?;
            }
        }
        self.to.flush()
    }

    /// Ends the recording. `footer.events` and `footer.blocks` are filled in.
    ///
    /// # Errors
    /// Whatever the file reports.
    pub fn finish(mut self, footer: Footer) -> io::Result<W> {
        self.flush()?;
        let blocks = Some(self.sums.clone().finalize());
        self.json(Kind::Footer, &Footer { events: self.events, blocks, ..footer })?;
        self.to.flush()?;
        Ok(self.to)
    }

    #[inline]
    fn write_if_full(&mut self) -> io::Result<()> {
        if self.encoder.len().max(self.late.len()) >= BLOCK { self.flush() } else { Ok(()) }
    }

    fn json(&mut self, kind: Kind, value: &impl serde::Serialize) -> io::Result<()> {
        let text: Vec<u8> = serde_json::to_vec(value)?;
        self.block(kind, text.len(), &text)
    }

    fn block(&mut self, kind: Kind, content_length: usize, stored: &[u8]) -> io::Result<()> {
        let block = block(kind, content_length, stored);
        self.sums.update(&sum_of(&block));
        self.to.write_all(&block)
    }
}

/// Adds to a finished recording how its run ended.
///
/// # Errors
/// Whatever `to` reports.
pub fn append_end(mut to: impl Write, end: &RunEnd) -> io::Result<()> {
    let text = serde_json::to_vec(end)?;
    to.write_all(&block(Kind::End, text.len(), &text))?;
    to.flush()
}
