//! Which cores of an architecture are judged: one whose caches are not what is modelled is refused by name of what it is.
//!
//! A core that says nothing of itself is taken for one that is judged.

use congruent_arch::Arch;

use super::Unsupported;
use crate::moment::Handle;

/// Looks at the core that a guest of this architecture runs on, whose registers QEMU describes as `registers` and `read` reads.
///
/// # Errors
/// [`Unsupported`] if it is none of those that are judged.
pub fn suits(arch: Arch, registers: &[(String, Handle)], read: impl FnOnce(Handle) -> Option<u32>) -> Result<(), Unsupported> {
    let Some(cache_type) = arch.facts().cache_type else { return Ok(()) };
    let handle = registers.iter().find(|(name, _)| name == cache_type).map(|(_, handle)| *handle);
    match handle.and_then(read) {
        Some(cache_type) if has_no_aliases(cache_type) => Err(
            "this core is an ARMv7 or newer one, whose data caches have no aliases and are not judged; ARMv4 to ARMv6 are, as with \
             -M raspi1ap or -M versatilepb"
                .into(),
        ),
        _ => Ok(()),
    }
}

/// Whether this is the cache type of a core whose data caches have no aliases (`Facts::cache_type`).
fn has_no_aliases(cache_type: u32) -> bool {
    cache_type >> 29 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_told_by_the_format_of_their_cache_type() {
        // Cortex-A7, A9 and A15; ARM926, ARM1136 and ARM1176, ARM11 MPCore, SA-1110 (QEMU's target/arm/tcg/cpu32.c).
        for newer in [0x8444_8003, 0x8003_8003, 0x8444_c004] {
            assert!(has_no_aliases(newer), "{newer:#x}");
        }
        for older in [0x01dd_20d2, 0x1d19_2992, 0] {
            assert!(!has_no_aliases(older), "{older:#x}");
        }
    }
}
