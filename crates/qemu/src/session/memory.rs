//! A copy of the memory where the guest's kernel lies, for the program to find the kernel's symbols in.
//!
//! Made once, at the first finding: a run that finds nothing needs no names. The kernel's tables do not change after its start. What
//! cannot be copied leaves code without names; the judging goes on.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use congruent_arch::{Arch, KernelMemory};

use crate::moment::Running;

/// How much is read at a time, in bytes.
const PIECE: usize = 1 << 20;

/// A copy that is to be made.
pub struct MemoryCopy {
    kernel: KernelMemory,
    file: PathBuf,
}

impl MemoryCopy {
    /// Of the kernel of a guest of this architecture.
    pub fn of(arch: Arch, file: PathBuf) -> Self {
        Self { kernel: arch.facts().kernel_memory, file }
    }

    /// Makes it, as far as there is memory.
    pub fn make(self, now: &Running) {
        let Ok(mut file) = File::create(&self.file) else { return };
        let mut piece = vec![0; PIECE];
        for offset in (0..self.kernel.length).step_by(PIECE) {
            if !now.physical_bytes(self.kernel.physical + offset, &mut piece) || file.write_all(&piece).is_err() {
                return;
            }
        }
    }
}
