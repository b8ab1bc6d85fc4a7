//! One folder per processor: its cache instructions, how it maps one page of the window area, how users' code is entered and left, and the
//! board around it. Nothing else depends on either. The host has a stand-in, for the rest of this kernel to be tested on.

#[cfg(all(target_os = "none", target_arch = "arm"))]
mod armv6;
#[cfg(not(target_os = "none"))]
mod hosted;
#[cfg(all(target_os = "none", target_arch = "mips"))]
mod mips;

#[cfg(all(target_os = "none", target_arch = "arm"))]
use armv6 as this;
#[cfg(not(target_os = "none"))]
use hosted as this;
#[cfg(all(target_os = "none", target_arch = "mips"))]
use mips as this;

pub use this::{CPUS, Hardware, LINEAR, WINDOWS, cpu};
#[cfg(target_os = "none")]
pub use this::{Disk, Registers};
#[cfg(target_os = "none")]
pub(crate) use this::{off, print, rest, serve, sleep, start_others, tick_again, work};

use congruent::VirtAddr;

/// Why a thread has stopped.
#[cfg(target_os = "none")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A system call.
    Call,
    /// A load, store or fetch that the processor has no translation for, or one with too few rights.
    Fault {
        /// Where.
        address: VirtAddr,
        /// Whether it stores.
        store: bool,
    },
    /// The timer.
    Tick,
    /// What no kernel can help with.
    Wrong,
}

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
