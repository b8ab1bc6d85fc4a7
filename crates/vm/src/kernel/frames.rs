//! The frame table and the allocator: who has which frame, and which free one suits whom.
//!
//! Guarantees: a frame is given out once until it is freed. Free frames stand on shelves by the colour at which the policy says
//! they are best used; the last one put there goes first, as its lines may still be warm.

use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::Frame;

use super::files::Key;

/// Who has a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    Free,
    Kernel,
    Anon,
    File(Key, u32),
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    used: Use,
    /// Processes and pipes that share it; the page cache counts as one.
    refs: u32,
    /// Direct I/O that works on it.
    pins: u32,
}

#[derive(Debug)]
pub(crate) struct Frames {
    entries: Vec<Entry>,
    /// By colour.
    shelves: Vec<Vec<Frame>>,
    /// Those that suit all colours.
    any: Vec<Frame>,
}

impl Frames {
    pub fn new(frames: u64, colours: u32) -> Self {
        Self {
            entries: vec![Entry { used: Use::Free, refs: 0, pins: 0 }; frames as usize],
            shelves: vec![Vec::new(); colours as usize],
            any: Vec::new(),
        }
    }

    /// Puts a free frame on the shelf of a colour.
    pub fn shelve(&mut self, frame: Frame, colour: Option<usize>) {
        self.entries[frame.0 as usize] = Entry { used: Use::Free, refs: 0, pins: 0 };
        match colour {
            Some(colour) => self.shelves[colour].push(frame),
            None => self.any.push(frame),
        }
    }

    /// Gives out a frame with one reference, of this colour if there is one.
    pub fn take(&mut self, colour: Option<usize>, used: Use) -> Option<Frame> {
        let shelves = &mut self.shelves;
        let colours = shelves.len();
        let exact = colour.and_then(|colour| shelves[colour % colours].pop());
        let frame = exact.or_else(|| self.any.pop()).or_else(|| {
            // Where most are left, so that no colour runs out early.
            let fullest = (0..shelves.len()).max_by_key(|at| (shelves[*at].len(), usize::MAX - at))?;
            shelves[fullest].pop()
        })?;
        self.entries[frame.0 as usize] = Entry { used, refs: 1, pins: 0 };
        Some(frame)
    }

    pub fn used(&self, frame: Frame) -> Use {
        self.entries[frame.0 as usize].used
    }

    pub fn refs(&self, frame: Frame) -> u32 {
        self.entries[frame.0 as usize].refs
    }

    pub fn share(&mut self, frame: Frame) {
        self.entries[frame.0 as usize].refs += 1;
    }

    /// One reference less; whether it was the last.
    pub fn release(&mut self, frame: Frame) -> bool {
        let entry = &mut self.entries[frame.0 as usize];
        entry.refs -= 1;
        entry.refs == 0
    }

    pub fn pin(&mut self, frame: Frame) {
        self.entries[frame.0 as usize].pins += 1;
    }

    pub fn unpin(&mut self, frame: Frame) {
        self.entries[frame.0 as usize].pins -= 1;
    }

    pub fn pinned(&self, frame: Frame) -> bool {
        self.entries[frame.0 as usize].pins > 0
    }

    /// How many are free.
    pub fn free(&self) -> usize {
        self.any.len() + self.shelves.iter().map(Vec::len).sum::<usize>()
    }
}
