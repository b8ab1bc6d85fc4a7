//! The disk of the guests: a raw image in which every word says where it is.

use std::fs;

use anyhow::Result;

use crate::cache::Recipe;

/// SD cards must be as long as a power of two.
const LEN: u32 = 4 << 20;

/// Writes `target/guests/disk`.
///
/// # Errors
/// If it cannot be written.
pub fn build() -> Result<()> {
    Recipe::new("disk").input(format!("{LEN} bytes, each word its offset")).ensure(|image| {
        let words = (0..LEN).step_by(4);
        Ok(fs::write(image, words.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())?)
    })?;
    Ok(())
}
