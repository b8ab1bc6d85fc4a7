//! Whether the guest's general registers are where they are taken to be in QEMU's CPU state.
//!
//! QEMU describes registers to plugins for ARM but not for MIPS. There they are read from the CPU state: generated code keeps
//! a pointer to it in a fixed host register (x86-64: `rbp`; aarch64: `x19`; QEMU's `tcg/*/tcg-target.h`, TCG_AREG0), and MIPS's
//! `CPUMIPSState` begins with the 32 general registers (`target/mips/cpu.h`). Neither is an interface, so it is never trusted:
//! [`Calibration`] compares it with the effective addresses of ordinary loads and stores and gives up at the first
//! contradiction.

use std::fmt;

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
