//! MIPS32 Release 2: KSEG0 is the permanent mapping, a window is a wired TLB entry, all other entries are filled by software.
//!
//! | file | what |
//! |---|---|
//! | `cache.rs` | the caches' shapes, and the five operations |
//! | `tlb.rs` | windows; users' translations |
//! | `trap.rs` | the way in at boot, and in and out of users' code |
//! | `cpus.rs` | the second CPU, and what the two ask of one another |
//! | `malta.rs`, `ide.rs` | the board: console, power, timer; its disk |

mod cache;
mod cpus;
mod ide;
mod malta;
mod tlb;
mod trap;

use congruent::CacheGeometry;

use crate::machine::SLOTS;

pub use cpus::{CPUS, cpu};
pub(crate) use cpus::{rest, serve, start_others, work};
pub use ide::Disk;
pub(crate) use malta::{off, print, sleep, tick_again};
pub use trap::Registers;

/// KSEG0.
pub const LINEAR: u64 = 0x8000_0000;
/// In KSEG2, which the TLB maps.
pub const WINDOWS: u64 = 0xc000_0000;
/// KSEG1: memory and devices past the cache.
const UNCACHED: usize = 0xa000_0000;

/// What the processor says of itself.
#[derive(Debug)]
pub struct Hardware {
    geometry: CacheGeometry,
    instruction_bytes: u32,
    instruction_line: u32,
}

impl Hardware {
    /// Reads the caches' shapes, and reserves a TLB entry for each window.
    ///
    /// # Panics
    /// If there is no data cache.
    #[must_use]
    pub fn new() -> Self {
        let hardware = Self::with_caches_of(tlb::config1());
        tlb::wire(SLOTS as u32);
        hardware
    }

    pub(crate) fn data_cache(&self) -> CacheGeometry {
        self.geometry
    }
}
