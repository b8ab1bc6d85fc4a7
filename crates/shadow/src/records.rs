//! The full records of the lines that have no simple form.

use alloc::vec::Vec;

use crate::line::{Copy, Line, Writer};

/// Records by place; places of records that are gone are used again.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    lines: Vec<Line>,
    free: Vec<u32>,
}

impl Records {
    pub fn new() -> Self {
        Self { lines: Vec::new(), free: Vec::new() }
    }

    /// Stores a record and says where.
    ///
    /// # Panics
    /// If there are 2^30 records already.
    pub fn insert(&mut self, line: Line) -> u32 {
        if let Some(place) = self.free.pop() {
            self.lines[place as usize] = line;
            return place;
        }
        assert!(self.lines.len() < 1 << 30, "a key has room for 2^30 records");
        self.lines.push(line);
        self.lines.len() as u32 - 1
    }

    /// The record at `place`.
    pub fn get(&self, place: u32) -> &Line {
        &self.lines[place as usize]
    }

    /// The record at `place`, to be changed where it is.
    pub fn get_mut(&mut self, place: u32) -> &mut Line {
        &mut self.lines[place as usize]
    }

    /// Takes the record out; its place stays reserved.
    pub fn take(&mut self, place: u32) -> Line {
        core::mem::take(&mut self.lines[place as usize])
    }

    /// Puts a record that was taken out back.
    pub fn put(&mut self, place: u32, line: Line) {
        self.lines[place as usize] = line;
    }

    /// Gives up the place of a record that was taken out.
    pub fn free(&mut self, place: u32) {
        self.free.push(place);
    }

    /// Every record, for a change of epochs.
    pub fn all(&mut self) -> &mut [Line] {
        &mut self.lines
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        let inner = |line: &Line| line.copies.capacity() * size_of::<Copy>() + line.writers.capacity() * size_of::<Writer>();
        self.lines.capacity() * size_of::<Line>()
            + self.free.capacity() * size_of::<u32>()
            + self.lines.iter().map(inner).sum::<usize>()
    }
}
