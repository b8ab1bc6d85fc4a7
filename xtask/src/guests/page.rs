//! What the network of the guests serves: an answer to every request, whose text the guest knows (`guests/programs/traffic.sh`).

use std::fs;

use anyhow::Result;

use crate::cache::Recipe;

/// Writes `target/guests/page`.
///
/// # Errors
/// If it cannot be written.
pub fn build() -> Result<()> {
    let text: String = (100_000..=140_000).map(|number| format!("{number}\n")).collect();
    let answer = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    Recipe::new("page").input("the numbers from 100000 to 140000, one a line").ensure(|file| Ok(fs::write(file, &answer)?))?;
    Ok(())
}
