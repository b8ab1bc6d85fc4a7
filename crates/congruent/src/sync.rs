//! The atomics in use: the processor's; loom's when the model checker drives the word; counted ones when a test counts; ones at which
//! a scheduler switches when a test tries every interleaving.

#[cfg(counted)]
pub mod counted;
#[cfg(any(counted, interleaved))]
mod hooked;
#[cfg(interleaved)]
mod interleaved;

#[cfg(not(any(loom, counted, interleaved)))]
pub(crate) use core::sync::atomic::{fence, AtomicU32, AtomicUsize, Ordering};
#[cfg(any(counted, interleaved))]
pub(crate) use core::sync::atomic::{fence, Ordering};
#[cfg(any(counted, interleaved))]
pub(crate) use hooked::{AtomicU32, AtomicUsize};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{fence, AtomicU32, AtomicUsize, Ordering};

/// An operation on a word that other CPUs use, too; with `one_cpu`, that there are none: then it is ordered for the compiler only, and
/// costs no barrier. An interrupt, or another thread of this CPU, sees what this one did in its order anyway.
#[inline(always)]
pub(crate) fn ordered<R>(one_cpu: bool, order: Ordering, operation: impl FnOnce(Ordering) -> R) -> R {
    compiler_only();
    // Loom knows threads, and not that they share a CPU.
    let result = operation(if one_cpu && !cfg!(loom) { Ordering::Relaxed } else { order });
    compiler_only();
    result
}

/// What this CPU has stored is seen by others before what it stores after this.
#[inline(always)]
pub(crate) fn send_out(one_cpu: bool) {
    compiler_only();
    if !one_cpu || cfg!(loom) {
        fence(Ordering::Release);
    }
    compiler_only();
}

/// Memory accesses stay on their side of this, as far as the compiler is concerned.
#[inline(always)]
fn compiler_only() {
    // LLVM's MIPS back end makes a `sync` of a fence for one thread, too. What it makes of this is an empty piece of assembly that may
    // change any memory.
    #[cfg(any(target_arch = "mips", target_arch = "mips64"))]
    core::hint::black_box(());
    #[cfg(not(any(target_arch = "mips", target_arch = "mips64")))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
}

/// Another CPU is at work, for a bounded time.
#[inline]
pub(crate) fn wait_for_another_cpu() {
    #[cfg(interleaved)]
    interleaved::wait_for_another_cpu();
    #[cfg(loom)]
    loom::hint::spin_loop();
    #[cfg(not(any(interleaved, loom)))]
    core::hint::spin_loop();
}
