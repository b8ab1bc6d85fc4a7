//! What a data cache does beside its shape: when stores reach memory, what fills a line, what a line is found by.

/// How a data cache behaves. [`USUAL`](Self::USUAL) is what most cores with aliases have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Behaviour {
    /// Stores go to memory at once, and into a copy that is held.
    pub write_through: bool,
    /// A store fills a line that is not held. If not, it goes to memory.
    pub write_allocate: bool,
    /// Lines may be filled that nobody asked for.
    pub speculative: bool,
    /// Lines are found by virtual addresses alone: two addresses are never congruent.
    pub virtual_tags: bool,
}

impl Behaviour {
    /// Write-back, write-allocate, filled by accesses only, physical tags.
    pub const USUAL: Self = Self { write_through: false, write_allocate: true, speculative: false, virtual_tags: false };

    /// Whether this is [`USUAL`](Self::USUAL), which reports need not mention.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::USUAL
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::USUAL
    }
}
