//! What is either so or not of a frame, as bits of one word: most of them where the word of the frame has them, too.
//!
//! Fields of their own would be a byte each, and every copy of a state a dozen loads and stores.

use super::State;

macro_rules! flags {
    ($($(#[$doc:meta])* $get:ident, $set:ident = $bit:expr;)*) => {
        impl State {
            $(
                $(#[$doc])*
                #[must_use]
                #[inline]
                #[allow(dead_code, reason = "as below")]
                pub const fn $get(&self) -> bool {
                    self.flags & $bit != 0
                }

                #[inline]
                #[allow(dead_code, reason = "of one flag only the word is changed")]
                pub(crate) fn $set(&mut self, on: bool) {
                    if on {
                        self.flags |= $bit;
                    } else {
                        self.flags &= !$bit;
                    }
                }
            )*

            #[cfg(any(test, feature = "model"))]
            pub(super) fn flags(&self) -> impl Iterator<Item = &'static str> + '_ {
                [$((stringify!($get), $bit)),*].into_iter().filter(|(_, bit)| self.flags & bit != 0).map(|(name, _)| name)
            }
        }
    };
}

/// Those that have the same place in the packed word.
pub(crate) const PACKED: u32 = FETCHED | BUSY | REVOKING | FETCHABLE | DIRTY;

pub(crate) const FETCHED: u32 = 1 << 25;
pub(crate) const BUSY: u32 = 1 << 24;
pub(crate) const REVOKING: u32 = 1 << 23;
pub(crate) const FETCHABLE: u32 = 1 << 22;
pub(crate) const DIRTY: u32 = 1 << 21;
pub(crate) const MAPPED: u32 = 1;
pub(crate) const WRITABLE: u32 = 1 << 1;
pub(crate) const SPREAD: u32 = 1 << 2;
pub(crate) const GIVEN: u32 = 1 << 3;

flags! {
    /// Whether the home colour may hold dirty lines.
    dirty, set_dirty = DIRTY;
    /// Whether user mappings may exist.
    mapped, set_mapped = MAPPED;
    /// Whether a user mapping may allow stores. Then all of them are of the home colour.
    writable, set_writable = WRITABLE;
    /// Whether user mappings may exist at other colours than the home.
    spread, set_spread = SPREAD;
    /// Whether instruction fetches see the newest bytes.
    fetchable, set_fetchable = FETCHABLE;
    /// Whether the instruction side may hold anything of the frame: it has been fetchable since the caches were empty.
    fetched, set_fetched = FETCHED;
    /// Whether maintenance is going on: nobody else may change the state, except to end a use.
    busy, set_busy = BUSY;
    /// Whether somebody is taking user rights away: nobody announces a mapping meanwhile, or takes rights away as well.
    revoking, set_revoking = REVOKING;
    /// Whether kernel code loads and stores at the permanent address, without a word, whenever it likes. That is the home then.
    given, set_given = GIVEN;
}
