//! The guest's general registers, at the moment a callback runs.
//!
//! QEMU describes registers to plugins for ARM but not for MIPS. There they are read from the CPU state: generated code keeps
//! a pointer to it in a fixed host register (x86-64: `rbp`; aarch64: `x19`; QEMU's `tcg/*/tcg-target.h`, TCG_AREG0), and MIPS's
//! `CPUMIPSState` begins with the 32 general registers (`target/mips/cpu.h`). Neither is an interface, so it is never trusted:
//! [`Calibration`] compares it with the effective addresses of ordinary loads and stores and gives up at the first
//! contradiction.

use std::arch::naked_asm;
use std::ffi::{c_uint, c_void};
use std::fmt;

use crate::plugin;

/// A pointer to the CPU state of the guest, as generated code holds it.
pub type Environment = *const u32;

/// An execution callback that receives the CPU state as well.
///
/// # Safety
/// To be registered with QEMU only, with `Registers::Read`.
#[unsafe(naked)]
pub unsafe extern "C" fn execution_with_environment(_vcpu: c_uint, _data: *mut c_void) {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov rdx, rbp", "jmp {}", sym plugin::on_execution_with_environment);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x2, x19", "b {}", sym plugin::on_execution_with_environment);
}

/// A memory callback that receives the CPU state as well.
///
/// # Safety
/// To be registered with QEMU only, with `Registers::Read`.
#[unsafe(naked)]
pub unsafe extern "C" fn memory_with_environment(_vcpu: c_uint, _info: u32, _vaddr: u64, _data: *mut c_void) {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov r8, rbp", "jmp {}", sym plugin::on_memory_with_environment);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x4, x19", "b {}", sym plugin::on_memory_with_environment);
}

/// A block callback that receives the CPU state as well.
///
/// # Safety
/// To be registered with QEMU only, with `Registers::Read`.
#[unsafe(naked)]
pub unsafe extern "C" fn block_with_environment(_vcpu: c_uint, _data: *mut c_void) {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov rdx, rbp", "jmp {}", sym plugin::on_block_with_environment);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x2, x19", "b {}", sym plugin::on_block_with_environment);
}

/// A callback before a call that receives the CPU state as well.
///
/// # Safety
/// To be registered with QEMU only, with `Registers::Read`.
#[unsafe(naked)]
pub unsafe extern "C" fn call_with_environment(_vcpu: c_uint, _data: *mut c_void) {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov rdx, rbp", "jmp {}", sym plugin::on_call_with_environment);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x2, x19", "b {}", sym plugin::on_call_with_environment);
}

/// A callback of a block that follows a call; it receives the CPU state as well.
///
/// # Safety
/// To be registered with QEMU only, with `Registers::Read`.
#[unsafe(naked)]
pub unsafe extern "C" fn arrival_with_environment(_vcpu: c_uint, _data: *mut c_void) {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov rdx, rbp", "jmp {}", sym plugin::on_arrival_with_environment);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x2, x19", "b {}", sym plugin::on_arrival_with_environment);
}

/// A word of the CPU state.
///
/// # Safety
/// `environment` is a pointer that a `*_with_environment` callback received, which is the same for the life of a CPU; the CPU state
/// has that word.
#[inline]
pub unsafe fn state_word(environment: Environment, word: usize) -> u32 {
    // SAFETY: by this function's contract.
    unsafe { environment.add(word).read() }
}

/// Whether reading registers from the CPU state has proved right so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Calibration {
    agreeing: u32,
}

/// Two sources for one effective address contradict each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contradiction {
    /// What the registers give.
    pub computed: u32,
    /// What QEMU says.
    pub reported: u32,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "guest registers cannot be read in this QEMU (an address computed as {:#010x} was {:#010x}); use QEMU 10.0 or 11.1 on \
             an x86-64 or aarch64 host",
            self.computed, self.reported
        )
    }
}

impl Calibration {
    /// How many comparisons are made before calibration is complete.
    pub const SAMPLES: u32 = 4096;

    /// Whether enough has been compared.
    pub fn is_complete(self) -> bool {
        self.agreeing >= Self::SAMPLES
    }

    /// What to say in the report if the guest ended too early.
    pub fn limit(self) -> Option<String> {
        (!self.is_complete()).then(|| {
            format!(
                "only {} of {} readings of guest registers could be checked before the guest ended",
                self.agreeing,
                Self::SAMPLES
            )
        })
    }

    /// Takes one comparison into account.
    ///
    /// # Errors
    /// [`Contradiction`] if they do not: registers cannot be read in this QEMU.
    pub fn compare(&mut self, computed: u32, reported: u32) -> Result<(), Contradiction> {
        if computed != reported {
            return Err(Contradiction { computed, reported });
        }
        self.agreeing += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_contradiction_ends_the_trust() {
        let mut calibration = Calibration::default();
        for address in 0..Calibration::SAMPLES {
            assert!(!calibration.is_complete());
            calibration.compare(address, address).unwrap();
        }
        assert!(calibration.is_complete());
        assert_eq!(calibration.compare(4, 8), Err(Contradiction { computed: 4, reported: 8 }));
    }
}
