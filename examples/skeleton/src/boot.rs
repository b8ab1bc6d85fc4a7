//! Boot: one flush of the whole cache, the geometry from the processor, the library.

use congruent::{CacheOps, Config, ConfigError, Congruent};

use crate::arch::Hardware;
use crate::machine::WINDOWS;
use crate::{Kernel, Machine};

/// Makes the library for this machine, before there are users.
///
/// # Errors
/// [`ConfigError`] if the processor's cache is one that the library cannot serve.
pub fn boot(hardware: Hardware) -> Result<Kernel, ConfigError> {
    let geometry = hardware.data_cache();
    let machine = Machine::new(hardware);
    // Whatever the boot loader left in the cache, under whatever colour: a zeroed frame table says that nothing is there.
    // SAFETY: there is no other condition than the time that it takes.
    unsafe { machine.write_back_invalidate_all() };
    Congruent::new(machine, Config::new(geometry, WINDOWS))
}
