//! Geometries as people write them: `32K,4,32`, or a preset's name.

use core::fmt;
use core::str::FromStr;

use crate::{preset, CacheGeometry, GeometryError, PRESETS};

/// Why a text does not describe a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ParseGeometryError {
    /// Neither a preset's name nor three comma-separated numbers.
    NotUnderstood,
    /// The named number is not one.
    Number(&'static str),
    /// The numbers describe a cache that cannot be.
    Shape(GeometryError),
}

impl fmt::Display for ParseGeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUnderstood => {
                f.write_str("expected SIZE,WAYS,LINE such as 32K,4,32, or one of")?;
                for (i, known) in PRESETS.iter().enumerate() {
                    write!(f, "{} {}", if i == 0 { "" } else { "," }, known.name)?;
                }
                Ok(())
            }
            Self::Number(what) => write!(f, "the {what} is not a number; expected SIZE,WAYS,LINE such as 32K,4,32"),
            Self::Shape(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ParseGeometryError {}

impl FromStr for CacheGeometry {
    type Err = ParseGeometryError;

    /// Reads `SIZE,WAYS,LINE` (bytes; `K` and `M` for 2^10 and 2^20), optionally followed by `,PAGE`, or the name of a preset.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(known) = preset(text) {
            return Ok(known.geometry);
        }
        let mut parts = text.split(',');
        let (Some(size), Some(ways), Some(line), page, None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseGeometryError::NotUnderstood);
        };
        let number = |what, text| bytes(text).ok_or(ParseGeometryError::Number(what));
        Self::with_page(
            number("cache size", size)?,
            number("number of ways", ways)?,
            number("line length", line)?,
            page.map_or(Ok(4096), |page| number("page size", page))?,
        )
        .map_err(ParseGeometryError::Shape)
    }
}

/// A number of bytes with an optional `K` or `M`.
fn bytes(text: &str) -> Option<u32> {
    let text = text.trim();
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1 << 10),
        b'm' | b'M' => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    digits.parse::<u32>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn sizes_ways_and_lines_are_read() {
        let cache: CacheGeometry = "32K,4,32".parse().unwrap();
        assert_eq!((cache.size(), cache.ways(), cache.line(), cache.page()), (32768, 4, 32, 4096));
        let cache: CacheGeometry = "65536, 4, 32, 16K".parse().unwrap();
        assert_eq!((cache.size(), cache.page(), cache.colours()), (65536, 16384, 1));
        assert_eq!("p5600".parse::<CacheGeometry>(), "32K,4,32".parse());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("", "expected SIZE,WAYS,LINE"),
            ("z80", "p5600"),
            ("32K,4", "expected SIZE,WAYS,LINE"),
            ("32K,four,32", "number of ways is not a number"),
            ("9999999M,4,32", "cache size is not a number"),
            ("48K,4,32", "cache size must be a power of two"),
        ] {
            let error = text.parse::<CacheGeometry>().unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
