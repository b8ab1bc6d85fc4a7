//! Before each atomic operation another CPU, another thread or an interrupt can come (`tests/interleaved`). Never part of a kernel.
//!
//! All of them are coroutines of one thread, so every operation is seen by those that come after it, whatever order is asked for. What
//! weaker orders allow is `tests/loom/tests/every.rs`'s.

unsafe extern "Rust" {
    /// Defined by the test: somebody else may go on now.
    safe fn congruent_may_switch();
    /// Defined by the test: nothing comes of going on before somebody else has.
    safe fn congruent_must_switch();
}

pub(crate) fn wait_for_another_cpu() {
    congruent_must_switch();
}

/// Before a load or a store.
pub(super) fn passes() {
    congruent_may_switch();
}

/// Before a read-modify-write.
pub(super) fn modifies() {
    congruent_may_switch();
}
