//! The first Raspberry Pi: its console, its timer, and the way to switch it off. Its card reader this kernel does not know.
//!
//! Sources: BCM2835 ARM Peripherals, 7 "Interrupts", 12 "System Timer", 13 "UART"; for the watchdog, Linux's `bcm2835_wdt.c`.

use core::ptr;

use crate::direct::{PIECES, Piece};

/// Where boot code has mapped the devices, which are at 0x20000000.
const DEVICES: usize = 0xf200_0000;
const TIMER: usize = DEVICES + 0x3000;
const TIMER_STATUS: usize = TIMER;
const TIMER_NOW: usize = TIMER + 4;
const TIMER_COMPARE_3: usize = TIMER + 0x18;
const ENABLE_INTERRUPTS: usize = DEVICES + 0xb210;
const COMPARE_3: u32 = 1 << 3;
const WATCHDOG: usize = DEVICES + 0x10_0024;
const RESET_CONTROL: usize = DEVICES + 0x10_001c;
const PASSWORD: u32 = 0x5a00_0000;
const UART: usize = DEVICES + 0x20_1000;
const UART_FLAGS: usize = UART + 0x18;
const FULL: u32 = 1 << 5;

/// Time between two ticks, in microseconds.
const PERIOD: u32 = 1_000;

fn write(register: usize, value: u32) {
    // SAFETY: registers of the board, which are this file's.
    unsafe { ptr::write_volatile(register as *mut u32, value) }
}

fn read(register: usize) -> u32 {
    // SAFETY: as above.
    unsafe { ptr::read_volatile(register as *const u32) }
}

/// Prints.
pub(crate) fn print(text: &[u8]) {
    for &byte in text {
        while read(UART_FLAGS) & FULL != 0 {}
        write(UART, byte.into());
    }
}

/// Has the timer interrupt once more.
pub(crate) fn tick_again() {
    write(TIMER_COMPARE_3, read(TIMER_NOW).wrapping_add(PERIOD));
    write(TIMER_STATUS, COMPARE_3);
    write(ENABLE_INTERRUPTS, COMPARE_3);
}

/// Waits for a tick.
pub(crate) fn sleep() {
    // SAFETY: Wait For Interrupt; one goes on where it is not taken, too.
    unsafe { core::arch::asm!("mcr p15, 0, {0}, c7, c0, 4", in(reg) 0, options(nostack)) };
}

/// Switches the machine off.
pub(crate) fn off() -> ! {
    write(WATCHDOG, PASSWORD | 10);
    write(RESET_CONTROL, PASSWORD | 0x20);
    loop {
        core::hint::spin_loop();
    }
}

/// There is none.
#[derive(Debug)]
pub enum Disk {}

impl Disk {
    /// None.
    #[must_use]
    pub const fn find() -> Option<Self> {
        None
    }

    /// As malta's.
    pub fn start(&self, _: u32, _: &[Option<Piece>; PIECES], _: bool) {
        match *self {}
    }

    /// As malta's.
    pub fn finished(&self) -> Option<bool> {
        match *self {}
    }
}
