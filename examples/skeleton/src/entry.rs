//! What this kernel's assembly calls (`arch/*/trap.rs`): boot, and a thread that has stopped.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::arch::{self, Registers};
use crate::system::{System, say};

/// The CPU has it that is in the kernel.
struct Booted {
    system: UnsafeCell<Option<System>>,
    /// The ticket of the next CPU that comes, and of the one whose turn it is: none is kept out by one that comes back at once.
    tickets: AtomicU32,
    turn: AtomicU32,
}

// SAFETY: reached by `in_kernel` alone, by one CPU at a time, which is not interrupted.
unsafe impl Sync for Booted {}

static BOOTED: Booted = Booted { system: UnsafeCell::new(None), tickets: AtomicU32::new(0), turn: AtomicU32::new(0) };

/// Does this when no other CPU is in the kernel; what those ask of this one it does while it waits.
fn in_kernel<R>(what: impl FnOnce(&mut Option<System>) -> R) -> R {
    let ticket = BOOTED.tickets.fetch_add(1, Ordering::Relaxed);
    while BOOTED.turn.load(Ordering::Acquire) != ticket {
        arch::serve();
    }
    // SAFETY: it is this CPU's turn, which does not come here again before it has passed it on.
    let done = what(unsafe { &mut *BOOTED.system.get() });
    BOOTED.turn.store(ticket.wrapping_add(1), Ordering::Release);
    done
}

/// Waits until this CPU has a thread to run, which `next` says; what other CPUs ask of it it does meanwhile.
fn thread_of(mut next: impl FnMut(&mut System) -> Option<*mut Registers>) -> *mut Registers {
    loop {
        match in_kernel(|system| system.as_mut().map(&mut next)) {
            Some(Some(registers)) => return registers,
            Some(None) => arch::sleep(),
            None => arch::off(),
        }
    }
}

unsafe extern "C" {
    /// The program that processes run, as the linker script has put it among the kernel's own data: where it begins, where its data begin, and
    /// where it ends.
    static skeleton_program: [u8; 0];
    static skeleton_program_data: [u8; 0];
    static skeleton_program_end: [u8; 0];
}

/// Called once, on the first CPU, interrupts off. Returns the registers of the first thread.
#[unsafe(no_mangle)]
extern "C" fn skeleton_start() -> *mut Registers {
    let [program, data, end] = [&raw const skeleton_program, &raw const skeleton_program_data, &raw const skeleton_program_end];
    // SAFETY: the linker script promises that these bytes are there; nobody stores to them.
    let image = unsafe { core::slice::from_raw_parts(program.cast(), end.addr() - program.addr()) };
    in_kernel(|system| *system = Some(System::new(image, data.addr() - program.addr())));
    arch::start_others();
    skeleton_next()
}

/// A CPU has nothing to run. Returns the registers of the first thread that it can.
#[unsafe(no_mangle)]
extern "C" fn skeleton_next() -> *mut Registers {
    thread_of(System::give_turn)
}

/// The thread that this CPU ran has stopped, and its registers have been stored. Returns those of the one that goes on.
#[unsafe(no_mangle)]
extern "C" fn skeleton_trap() -> *mut Registers {
    match in_kernel(|system| system.as_mut().and_then(System::stopped)) {
        Some(registers) => registers,
        None => skeleton_next(),
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
