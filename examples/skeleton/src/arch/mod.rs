//! One file per processor: its cache instructions, and how it maps one page of the window area. Nothing else depends on it.

#[cfg(all(target_os = "none", target_arch = "arm"))]
mod armv6;
#[cfg(not(target_os = "none"))]
mod hosted;
#[cfg(all(target_os = "none", target_arch = "mips"))]
mod mips;

#[cfg(all(target_os = "none", target_arch = "arm"))]
pub use armv6::{Hardware, LINEAR, WINDOWS};
#[cfg(not(target_os = "none"))]
pub use hosted::{Hardware, LINEAR, WINDOWS};
#[cfg(all(target_os = "none", target_arch = "mips"))]
pub use mips::{Hardware, LINEAR, WINDOWS};

use congruent::VirtAddr;

/// The number of the colour of an address.
pub fn colour(machine: &crate::Machine, address: VirtAddr) -> usize {
    machine.hardware.data_cache().colour(address).index()
}

/// The lines that a range touches, by their first addresses.
#[cfg(target_os = "none")]
fn lines(start: VirtAddr, len: u32, line: u32) -> impl Iterator<Item = u32> {
    let first = start.0 as u32 & !(line - 1);
    let last = start.0 as u32 + len.max(1) - 1;
    (0..=(last - first) / line).map(move |k| first + k * line)
}
