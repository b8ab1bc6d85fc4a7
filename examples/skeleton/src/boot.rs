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
    let mut config = Config::new(geometry, WINDOWS);
    config.speculative = !cfg!(feature = "in-order");
    // Whatever the boot loader left in the caches, under whatever colour, goes: a zeroed frame table says that nothing is there.
    Congruent::new(Machine::new(hardware), config)
}

/// What a boot loader does before that, if it is thorough: stores to every line of the frames that users will have, at the permanent address.
#[cfg(target_os = "none")]
pub(crate) fn test_memory() {
    use crate::PAGE;
    use crate::arch::LINEAR;
    use crate::machine::{FIRST, FRAMES};

    let first = (LINEAR + FIRST * PAGE) as usize;
    for word in (first..first + FRAMES * PAGE as usize).step_by(16) {
        let word = word as *mut usize;
        // SAFETY: memory that nobody uses yet, and no Rust object ever.
        unsafe {
            word.write_volatile(!word.addr());
            assert_eq!(word.read_volatile(), !word.addr(), "memory");
        }
    }
}
