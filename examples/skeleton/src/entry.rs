//! What this kernel's assembly calls (`arch/*/trap.rs`): boot, and a thread that has stopped.

use core::cell::UnsafeCell;

use crate::arch::{self, Registers};
use crate::system::{System, say};

/// The one CPU has it, while the kernel runs.
struct Booted(UnsafeCell<Option<System>>);

// SAFETY: reached by the two functions below alone, which one CPU calls one after the other, interrupts off.
unsafe impl Sync for Booted {}

static SYSTEM: Booted = Booted(UnsafeCell::new(None));

unsafe extern "C" {
    /// The program that processes run, as the linker script has put it among the kernel's own data: where it begins, where its data begin, and
    /// where it ends.
    static skeleton_program: [u8; 0];
    static skeleton_program_data: [u8; 0];
    static skeleton_program_end: [u8; 0];
}

/// Called once, on the first CPU, interrupts off. Returns the registers of the first thread.
///
/// # Safety
/// Nothing else of this crate has run or is running.
#[unsafe(no_mangle)]
unsafe extern "C" fn skeleton_start() -> *mut Registers {
    let [program, data, end] = [&raw const skeleton_program, &raw const skeleton_program_data, &raw const skeleton_program_end];
    // SAFETY: the linker script promises that these bytes are there; nobody stores to them.
    let image = unsafe { core::slice::from_raw_parts(program.cast(), end.addr() - program.addr()) };
    let system = System::new(image, data.addr() - program.addr());
    // SAFETY: the caller's promise.
    let system = unsafe { (*SYSTEM.0.get()).insert(system) };
    &raw mut system.threads.running().registers
}

/// The thread that ran has stopped, and its registers have been stored. Returns those of the one that goes on.
///
/// # Safety
/// Called after [`skeleton_start`], not from itself.
#[unsafe(no_mangle)]
unsafe extern "C" fn skeleton_trap() -> *mut Registers {
    // SAFETY: the caller's promise.
    match unsafe { &mut *SYSTEM.0.get() } {
        Some(system) => system.stopped(),
        None => arch::off(),
    }
}

/// The kernel itself has done what it must not: at `pc`, with this address.
#[unsafe(no_mangle)]
extern "C" fn skeleton_kernel_fault(pc: usize, cause: usize, address: usize) -> ! {
    say(format_args!("Kernel panic: cause {cause:#x} at {pc:#x}, address {address:#x}\n"));
    arch::off()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say(format_args!("Kernel panic: {info}\n"));
    arch::off()
}
