//! The outermost layer of a recording: a signature, then blocks with a checksum each.
//!
//! Guarantees: every changed or missing byte is noticed before anything of its block is used, and its position told; a block that is
//! missing, there twice or in another's place is noticed at the footer. Sources: none; CRC-32 is that of IEEE 802.3.

use std::vec::Vec;

use super::{Damage, Footer, Header, OpenError, RunEnd, VERSION};

/// How every recording begins.
pub const SIGNATURE: [u8; 16] = *b"CONGRUENT-TRACE\n";
/// Kind, length of the content, length as stored, checksum of these three and what is stored.
pub const HEAD: usize = 13;
/// The longest content of one block; what claims to be longer is damage.
pub const LONGEST: u32 = 16 << 20;

/// What a block holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The [`Header`], as JSON.
    Header = b'H' as isize,
    /// Call chains, coded and compressed.
    Chains = b'C' as isize,
    /// Events, coded and compressed.
    Events = b'E' as isize,
    /// Events of eras that were over when they were kept, coded and compressed.
    Late = b'L' as isize,
    /// The [`Footer`], as JSON.
    Footer = b'F' as isize,
    /// The [`RunEnd`], as JSON.
    End = b'R' as isize,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [Self::Header, Self::Chains, Self::Events, Self::Late, Self::Footer, Self::End]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// One block, ready to be written.
pub fn block(kind: Kind, content_length: usize, stored: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + stored.len());
    bytes.push(kind as u8);
    bytes.extend((content_length as u32).to_le_bytes());
    bytes.extend((stored.len() as u32).to_le_bytes());
    let sum = checksum(&bytes, stored);
    bytes.extend(sum.to_le_bytes());
    bytes.extend(stored);
    bytes
}

/// The checksum in the head of a block.
pub fn sum_of(block: &[u8]) -> [u8; 4] {
    let mut sum = [0; 4];
    sum.copy_from_slice(&block[HEAD - 4..HEAD]);
    sum
}

fn checksum(head: &[u8], stored: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(head);
    sum.update(stored);
    sum.finalize()
}

/// A stored block of events or chains.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventsAt<'a> {
    /// The position of the block.
    pub position: u64,
    pub content_length: usize,
    pub stored: &'a [u8],
}

/// What a file holds, and whether it is whole. Looks at every byte, decodes no events.
#[derive(Clone, Debug)]
pub struct Layout<'a> {
    /// What was recorded.
    pub header: Header,
    pub(super) chains: Vec<EventsAt<'a>>,
    pub(super) events: Vec<EventsAt<'a>>,
    pub(super) late: Vec<EventsAt<'a>>,
    /// The recorder's last words; none if it never got to say them.
    pub footer: Option<Footer>,
    /// How the run ended; none if nobody was there to see it.
    pub end: Option<RunEnd>,
    pub(super) footer_at: u64,
    /// Of the checksums of the blocks so far.
    sums: crc32fast::Hasher,
    /// The first thing that is wrong with the file. What is listed above came before it.
    pub damage: Option<Damage>,
}

impl<'a> Layout<'a> {
    /// Looks through a file.
    ///
    /// # Errors
    /// [`OpenError`] if it is no recording of this version. Damage behind the header is no error: see [`Layout::damage`].
    pub fn of(file: &'a [u8]) -> Result<Self, OpenError> {
        let blocks = file.strip_prefix(&SIGNATURE).ok_or(OpenError::NotARecording)?;
        let mut blocks = Blocks { rest: blocks, position: SIGNATURE.len() as u64 };
        let damaged = |position, what| OpenError::Header(Damage { position, what });
        let at = blocks.position;
        let first = blocks.next().unwrap_or(Err(Damage { position: at, what: "the file is cut off" }));
        let Block { kind: Kind::Header, stored, position, sum, .. } = first.map_err(OpenError::Header)? else {
            return Err(damaged(at, "something else is in its place"));
        };
        let mut sums = crc32fast::Hasher::new();
        sums.update(&sum.to_le_bytes());
        // The version first: another one may have other fields.
        let value: serde_json::Value = serde_json::from_slice(stored).map_err(|_| damaged(position, "it is no JSON"))?;
        match value["version"].as_u64() {
            Some(version) if version == u64::from(VERSION) => {}
            version => return Err(OpenError::Version(version.unwrap_or(0) as u32)),
        }
        let header =
            serde_json::from_value(value).map_err(|_| damaged(position, "a field is missing, or says what no cache can have"))?;
        let (chains, events, late) = Default::default();
        let mut layout = Self { header, chains, events, late, footer: None, end: None, footer_at: 0, sums, damage: None };
        for block in blocks {
            if let Err(damage) = block.and_then(|block| layout.add(block)) {
                layout.damage = Some(damage);
                break;
            }
        }
        Ok(layout)
    }

    /// Whether the recorder finished: nothing is missing, nothing is damaged. That its blocks hold what it says shows when it is
    /// [played](super::play).
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.footer.is_some() && self.damage.is_none()
    }

    fn add(&mut self, block: Block<'a>) -> Result<(), Damage> {
        let Block { kind, position, content_length, stored, sum } = block;
        let wrong = |what| Damage { position, what };
        match kind {
            Kind::Chains | Kind::Events | Kind::Late if self.footer.is_none() => {
                let list = match kind {
                    Kind::Chains => &mut self.chains,
                    Kind::Late => &mut self.late,
                    _ => &mut self.events,
                };
                list.push(EventsAt { position, content_length, stored });
                self.sums.update(&sum.to_le_bytes());
            }
            Kind::Footer if self.footer.is_none() => {
                let footer: Footer = serde_json::from_slice(stored).map_err(|_| wrong("a footer that cannot be read"))?;
                if footer.blocks.is_some_and(|sums| sums != self.sums.clone().finalize()) {
                    return Err(wrong("a footer that is not of the blocks before it"));
                }
                (self.footer, self.footer_at) = (Some(footer), position);
            }
            Kind::End if self.end.is_none() && self.footer.is_some() => {
                self.end = Some(serde_json::from_slice(stored).map_err(|_| wrong("an end that cannot be read"))?);
            }
            _ => return Err(wrong("a block that should not be here")),
        }
        Ok(())
    }
}

struct Block<'a> {
    kind: Kind,
    position: u64,
    content_length: usize,
    stored: &'a [u8],
    sum: u32,
}

/// The blocks of a file, up to the first that is damaged.
struct Blocks<'a> {
    rest: &'a [u8],
    position: u64,
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Result<Block<'a>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let position = self.position;
        let block = self.take();
        if block.is_err() {
            self.rest = &[];
        }
        Some(block.map_err(|what| Damage { position, what }))
    }
}

impl<'a> Blocks<'a> {
    fn take(&mut self) -> Result<Block<'a>, &'static str> {
        const CUT: &str = "the file is cut off";
        let (head, rest) = self.rest.split_at_checked(HEAD).ok_or(CUT)?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (content_length, stored_length, sum) = (word(1), word(5), word(9));
        if content_length > LONGEST || stored_length > LONGEST {
            return Err("a block that cannot be");
        }
        let (stored, rest) = rest.split_at_checked(stored_length as usize).ok_or(CUT)?;
        if checksum(&head[..HEAD - 4], stored) != sum {
            return Err("a block whose checksum is wrong");
        }
        let kind = Kind::of(head[0]).ok_or("a block of an unknown kind")?;
        let block = Block { kind, position: self.position, content_length: content_length as usize, stored, sum };
        self.position += (HEAD + stored.len()) as u64;
        self.rest = rest;
        Ok(block)
    }
}
