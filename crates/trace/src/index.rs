//! How the operand of an index operation names a set and a way: once for live judging and for replay under another shape.

use congruent_geometry::CacheGeometry;

use crate::Scope;

/// A coding of set and way in one 32-bit operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum IndexForm {
    /// The set above the line offset, the way just above the set (MIPS: MD00086, "CACHE", usage of address fields).
    WayAboveSet,
    /// The set above the line offset, the way in the topmost bits (ARM: DDI 0100I, B6.6.5).
    WayOnTop,
    /// Already taken apart for one shape of cache: the set above eight bits of way.
    Resolved,
}

impl IndexForm {
    /// The operand of [`Resolved`](Self::Resolved) for a set and way, which are below 2^24 and 2^8.
    #[must_use]
    pub const fn resolved(set: u32, way: u32) -> u32 {
        set << 8 | way
    }

    /// The set and way that `operand` names in this cache.
    #[must_use]
    pub const fn scope(self, geometry: &CacheGeometry, operand: u32) -> Scope {
        let line = operand >> geometry.line_shift();
        let set = line & (geometry.sets() - 1);
        match self {
            Self::WayAboveSet => Scope::Index { set, way: (line / geometry.sets()) & (geometry.ways() - 1) },
            Self::WayOnTop => {
                let way_bits = geometry.ways().trailing_zeros();
                let way = if way_bits == 0 { 0 } else { operand >> (32 - way_bits) };
                Scope::Index { set, way }
            }
            Self::Resolved => Scope::Index { set: operand >> 8, way: operand & 0xff },
        }
    }
}
