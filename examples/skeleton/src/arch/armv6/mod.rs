//! ARMv6 (ARM1136, ARM1176): memory is mapped at 3 GiB, by sections; windows and users' pages have a second-level table each.
//!
//! | file | what |
//! |---|---|
//! | `cache.rs` | the caches' shape, and the five operations |
//! | `pages.rs` | windows; users' pages |
//! | `trap.rs` | the way in at boot, and in and out of users' code |
//! | `raspi.rs` | the board: console, power, timer |

mod cache;
mod pages;
mod raspi;
mod trap;

use congruent::CacheGeometry;

pub use raspi::Disk;
pub(crate) use raspi::{off, print, sleep, tick_again};
pub use trap::Registers;

/// The permanent mapping begins here.
pub const LINEAR: u64 = 0xc000_0000;
/// The MiB at which windows are mapped.
pub const WINDOWS: u64 = 0xff00_0000;

/// One.
pub const CPUS: usize = 1;

/// The number of this CPU.
pub const fn cpu() -> usize {
    0
}

/// There are no others that could ask anything of it.
pub(crate) const fn serve() {}

/// There are none.
pub(crate) const fn start_others() {}

/// Nobody asks.
pub(crate) const fn rest() {}

/// Nobody asks.
pub(crate) const fn work() {}

/// What the processor says of itself.
#[derive(Debug)]
pub struct Hardware {
    geometry: CacheGeometry,
}

impl Hardware {
    pub(crate) fn data_cache(&self) -> CacheGeometry {
        self.geometry
    }
}

/// Writes to a register of the system control coprocessor: cache operations (c7) and TLB operations (c8).
macro_rules! cp15 {
    ($register:literal, $operation:literal, $value:expr) => {
        // SAFETY: see the caller's.
        unsafe { asm!(concat!("mcr p15, 0, {0}, ", $register, ", ", $operation), in(reg) $value, options(nostack)) }
    };
}
use cp15;

/// Data Synchronization Barrier: what was begun before is complete.
fn dsb() {
    use core::arch::asm;
    cp15!("c7, c10", "4", 0);
}
