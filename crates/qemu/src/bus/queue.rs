//! What bus masters did and nobody has judged yet: put in by QEMU's threads, taken by the one of the guest's CPUs.
//!
//! Pieces that follow one another are joined, as QEMU asks for each granule by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use congruent_trace::{DmaDirection, Site};

/// A device that reads and writes memory by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Master {
    /// What QEMU calls its kind.
    pub name: String,
    /// Its number in events.
    pub site: Site,
    /// Whether it sees caches and is seen by them.
    pub is_coherent: bool,
    /// What QEMU calls its registers.
    pub registers: Vec<String>,
}

/// One access of a bus master.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Whose, by its place among the masters.
    pub master: usize,
    /// From or to memory.
    pub direction: DmaDirection,
    /// The first byte.
    pub paddr: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Access {
    /// Whether `next` goes on where this ends.
    fn is_continued_by(&self, next: &Self) -> bool {
        (self.master, self.direction) == (next.master, next.direction) && self.paddr.wrapping_add(self.len) == next.paddr
    }
}

/// Accesses, in order.
#[derive(Default)]
struct Queue(Vec<Access>);

impl Queue {
    fn push(&mut self, access: Access) {
        match self.0.last_mut() {
            Some(last) if last.is_continued_by(&access) => last.len += access.len,
            _ => self.0.push(access),
        }
    }
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue(Vec::new()));
static PENDING: AtomicBool = AtomicBool::new(false);

/// Puts one in. True if there was none.
pub(super) fn push(access: Access) -> bool {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner).push(access);
    !PENDING.swap(true, Ordering::AcqRel)
}

/// Whether there is one.
#[inline]
pub fn is_pending() -> bool {
    PENDING.load(Ordering::Acquire)
}

/// Takes all of them out.
pub fn drain() -> Vec<Access> {
    // First the mark, so that one that is put in now is either taken or marked anew.
    PENDING.store(false, Ordering::Release);
    std::mem::take(&mut QUEUE.lock().unwrap_or_else(PoisonError::into_inner).0)
}

/// Drops all of them: the machine was reset.
pub fn forget() {
    drain();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_follow_one_another_are_one_access() {
        let piece = |master, direction, paddr| Access { master, direction, paddr, len: 8 };
        let (read, write) = (DmaDirection::Read, DmaDirection::Write);
        let mut queue = Queue::default();
        for access in [
            piece(0, read, 0x1000),
            piece(0, read, 0x1008),
            piece(0, write, 0x1010),
            piece(1, write, 0x1018),
            piece(1, write, 0x1028),
            piece(1, write, 0x1030),
            // The same bytes again are another access.
            piece(1, write, 0x1030),
        ] {
            queue.push(access);
        }
        let lengths: Vec<_> = queue.0.iter().map(|access| (access.paddr, access.len)).collect();
        assert_eq!(lengths, [(0x1000, 16), (0x1010, 8), (0x1018, 8), (0x1028, 16), (0x1030, 8)]);
    }

    #[test]
    fn the_first_one_is_told_of_and_none_is_lost() {
        let access = Access { master: 0, direction: DmaDirection::Read, paddr: 0x40, len: 4 };
        assert!(!is_pending());
        assert!(push(access) && !push(access) && is_pending());
        assert_eq!(drain().len(), 2);
        assert!(!is_pending() && drain().is_empty() && push(access));
        forget();
        assert!(!is_pending());
    }
}
