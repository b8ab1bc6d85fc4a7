//! Kernel code or user code, told from a code address alone: the guests judged here have fixed address spaces (`congruent_arch`).
//!
//! It is right for Linux with the default split. It is a reading aid: no verdict depends on it.

use congruent_arch::Arch;
use congruent_trace::Site;
use serde::{Deserialize, Serialize};

/// Whose code an address is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The kernel's.
    Kernel,
    /// A user program's.
    User,
}

impl Mode {
    /// The mode of code at `site` on a guest of this architecture.
    #[must_use]
    pub fn of(arch: Arch, site: Site) -> Self {
        if arch.facts().split.is_kernels(site) { Self::Kernel } else { Self::User }
    }

    /// The word for it: `kernel` or `user`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::User => "user",
        }
    }
}
