//! The malta board: its console, its timer, and the way to switch it off.
//!
//! Sources: Malta User's Manual, "Memory Map" (UART of the FDC37M817, SOFTRES); MIPS32 Architecture Volume III, "Count Register", "Compare
//! Register".

use core::arch::asm;
use core::ptr;

use super::UNCACHED;

/// I/O space of the PCI bus.
pub(super) const IO: usize = UNCACHED + 0x1800_0000;
const UART: usize = IO + 0x3f8;
const LINE_STATUS: usize = UART + 5;
const CAN_SEND: u8 = 0x20;
const SOFTRES: usize = UNCACHED + 0x1f00_0500;
const GORESET: u32 = 0x42;

/// Time between two ticks, in counts of the processor.
const PERIOD: u32 = 20_000;

/// Prints.
pub(crate) fn print(text: &[u8]) {
    for &byte in text {
        // SAFETY: registers of the board, past the cache.
        unsafe {
            while ptr::read_volatile(LINE_STATUS as *const u8) & CAN_SEND == 0 {}
            ptr::write_volatile(UART as *mut u8, byte);
        }
    }
}

/// Has the timer interrupt once more.
pub(crate) fn tick_again() {
    // SAFETY: the timer of a CPU is the kernel's.
    unsafe {
        asm!(
            ".set noat", "mfc0 {0}, $9", "addu {0}, {0}, {1}", "mtc0 {0}, $11", "ehb",
            out(reg) _, in(reg) PERIOD, options(nostack),
        );
    }
}

/// Waits for a tick. (Before Release 6 a processor goes on at an interrupt even where it is not taken.)
pub(crate) fn sleep() {
    // SAFETY: the timer has been told.
    unsafe { asm!("wait", options(nostack)) };
}

/// Switches the machine off.
pub(crate) fn off() -> ! {
    // SAFETY: as above.
    unsafe { ptr::write_volatile(SOFTRES as *mut u32, GORESET) };
    loop {
        core::hint::spin_loop();
    }
}
