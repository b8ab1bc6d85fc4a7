//! What this kernel's assembly calls: boot and the page fault. The rest of a kernel hangs on to [`kernel`].

use core::cell::UnsafeCell;

use congruent::VirtAddr;

use crate::arch::Hardware;
use crate::{Kernel, boot, fault};

struct Once(UnsafeCell<Option<Kernel>>);

// SAFETY: written once, by `skeleton_start`, before there are interrupts; only read from then on.
unsafe impl Sync for Once {}

static KERNEL: Once = Once(UnsafeCell::new(None));

/// The library, once booted.
fn kernel() -> Option<&'static Kernel> {
    // SAFETY: nobody writes it after `skeleton_start`.
    unsafe { (*KERNEL.0.get()).as_ref() }
}

/// Called once, on the first CPU, interrupts off. Returns whether this machine can be served.
///
/// # Safety
/// Nothing else of this crate has run or is running.
#[unsafe(no_mangle)]
unsafe extern "C" fn skeleton_start() -> bool {
    let Ok(kernel) = boot::boot(Hardware::new()) else { return false };
    // SAFETY: the caller's promise.
    unsafe { *KERNEL.0.get() = Some(kernel) };
    true
}

/// A user's store or load at `address` has faulted. Returns whether to try it again; if not, it is a signal.
#[unsafe(no_mangle)]
extern "C" fn skeleton_fault(space: usize, address: usize, store: bool) -> bool {
    let Some(kernel) = kernel() else { return false };
    if space >= kernel.platform().spaces.len() {
        return false;
    }
    let served = fault::fault(kernel, space, VirtAddr(address as u64).align_down(crate::PAGE), store);
    match served {
        Ok(()) => true,
        Err(fault::Fault::Library(error)) => error.is_transient(),
        Err(_) => false,
    }
}

/// `read(2)` of one page of memory that a user has mapped, as `/proc/pid/mem` does. Returns the byte, or -1.
#[unsafe(no_mangle)]
extern "C" fn skeleton_peek(space: usize, address: usize) -> i32 {
    let byte = || {
        let kernel = kernel()?;
        let address = VirtAddr(address as u64);
        let entry = kernel.platform().spaces.get(space)?.get(address)?;
        let mut byte = [0];
        kernel.read(entry.frame, kernel.geometry().page_offset(address.0), &mut byte).ok()?;
        Some(i32::from(byte[0]))
    };
    byte().unwrap_or(-1)
}
