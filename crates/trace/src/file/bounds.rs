//! How much a recording may hold: a file that somebody made to cost time and memory must not cost more than its size allows.
//!
//! Guarantees: what is read is bounded in proportion to the bytes of the file, and by the number of events in its footer. Real
//! recordings stay far below: those of whole boots have some ten events to a byte.

use super::Layout;

/// What a file may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Events, those that were kept late included.
    pub events: u64,
    /// Of these, the ones that were kept late, which are all in memory at once.
    pub late: u64,
    /// Different code addresses, and call chains.
    pub places: u64,
    /// Different frames.
    pub frames: u64,
}

impl Bounds {
    /// Of this file.
    #[must_use]
    pub fn of(layout: &Layout<'_>) -> Self {
        let stored = layout.chains.iter().chain(&layout.events).chain(&layout.late).map(|block| block.stored.len() as u64).sum();
        let footer = layout.footer.as_ref().map_or(u64::MAX, |footer| footer.events);
        let bound = |least: u64, each: u64| least.saturating_add(each.saturating_mul(stored));
        Self {
            events: footer.min(bound(1 << 25, 1 << 16)),
            late: footer.min(bound(1 << 20, 1 << 8)),
            places: bound(1 << 18, 1 << 4),
            frames: bound(1 << 16, 1),
        }
    }
}
