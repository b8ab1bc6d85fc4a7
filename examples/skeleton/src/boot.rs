//! Boot: the geometry from the processor, and the library, which empties the caches.

use congruent::{Config, ConfigError, Congruent};

use crate::arch::Hardware;
use crate::machine::WINDOWS;
use crate::{Kernel, Machine};

/// Makes the library for this machine, before there are users.
///
/// # Errors
/// [`ConfigError`] if the processor's cache is one that the library cannot serve.
pub fn boot(hardware: Hardware) -> Result<Kernel, ConfigError> {
    let geometry = hardware.data_cache();
    // Whatever the boot loader left in the caches, under whatever colour, goes: a zeroed frame table says that nothing is there.
    Congruent::new(Machine::new(hardware), Config::new(geometry, WINDOWS))
}
