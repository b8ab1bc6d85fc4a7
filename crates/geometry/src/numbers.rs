//! The shape of a cache as it is written down: recordings, and what the plugin is told, have it in this form.
//!
//! Guarantees: what is read back is a shape that a cache can have, or an error that says why not.

use crate::{CacheGeometry, GeometryError};

/// A shape in numbers: bytes, except `ways`.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Numbers {
    /// The whole cache.
    size: u32,
    /// Ways of each set.
    ways: u32,
    /// One line.
    line: u32,
    /// One page.
    page: u32,
    /// What is written back together.
    write_back_unit: u32,
}

impl From<CacheGeometry> for Numbers {
    fn from(cache: CacheGeometry) -> Self {
        Self {
            size: cache.size(),
            ways: cache.ways(),
            line: cache.line(),
            page: cache.page(),
            write_back_unit: cache.write_back_unit(),
        }
    }
}

impl TryFrom<Numbers> for CacheGeometry {
    type Error = GeometryError;

    fn try_from(shape: Numbers) -> Result<Self, GeometryError> {
        Self::with_page(shape.size, shape.ways, shape.line, shape.page)?.with_write_back_unit(shape.write_back_unit)
    }
}
