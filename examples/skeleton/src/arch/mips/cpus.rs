//! The second CPU of a core with a Coherence Manager: its start, and what one CPU asks of the other.
//!
//! Hardware keeps the data caches of both equal at each colour, and hit operations reach both. TLBs and operations by index are each CPU's own. A
//! CPU in users' code sees at its next tick what it is asked, and one that waits for its turn in the kernel at once; to interrupt it would be
//! quicker, and another device to program. Sources: MIPS32 P5600 Software User's Manual, "Coherence Manager" (GCR_CPC_BASE, GCR_CL_CONFIG,
//! GCR_CL_OTHER, GCR_CO_RESET_BASE), "Cluster Power Controller", of which QEMU starts a CPU by the bit in VP_RUN.

use core::arch::asm;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::{Hardware, UNCACHED, tlb};
use crate::machine::SLOTS;

/// At most.
pub const CPUS: usize = 2;

/// What a CPU can be asked to drop: users' entries of its TLB; what its instruction side holds.
pub(super) const TRANSLATIONS: u32 = 1;
pub(super) const INSTRUCTIONS: u32 = 2;

static ASKED: [AtomicU32; CPUS] = [const { AtomicU32::new(0) }; CPUS];
/// Whether there is anything that it could be asked to drop. Changed and looked at by the CPU alone that is in the kernel.
static WORKS: [AtomicBool; CPUS] = [const { AtomicBool::new(false) }; CPUS];

const MANAGER: usize = UNCACHED + 0x1fbf_8000;
const POWER_BASE: usize = MANAGER + 0x88;
const OWN_CONFIG: usize = MANAGER + 0x2010;
const OWN_OTHER: usize = MANAGER + 0x2018;
const OTHER_RESET_BASE: usize = MANAGER + 0x4020;
/// Where we put the power controller.
const POWER: usize = 0x1bde_0000;
const RUN: usize = UNCACHED + POWER + 0x2028;

/// The number of this CPU.
pub fn cpu() -> usize {
    let base: usize;
    // SAFETY: reads EBase, of which it is the lowest bits.
    unsafe { asm!(".set noat", "mfc0 {0}, $15, 1", out(reg) base, options(nomem, nostack)) };
    base & (CPUS - 1)
}

/// Has the other CPUs do this, and waits until they have.
pub(super) fn ask_others(what: u32) {
    let others = || (0..CPUS).filter(|&other| other != cpu() && WORKS[other].load(Ordering::Acquire));
    others().for_each(|other| {
        ASKED[other].fetch_or(what, Ordering::Release);
    });
    while others().any(|other| ASKED[other].load(Ordering::Acquire) & what != 0) {
        core::hint::spin_loop();
    }
}

/// This CPU has nothing to run, and nothing that others could ask it to drop: it is left alone.
pub(crate) fn rest() {
    if WORKS[cpu()].swap(false, Ordering::AcqRel) {
        tlb::flush();
    }
}

/// This CPU has something to run.
pub(crate) fn work() {
    if !WORKS[cpu()].swap(true, Ordering::AcqRel) {
        // What it was not asked to drop meanwhile.
        Hardware::with_caches_of(tlb::config1()).drop_own_instructions();
    }
}

/// Does what others ask of this CPU.
pub(crate) fn serve() {
    let asked = ASKED[cpu()].load(Ordering::Acquire);
    if asked & TRANSLATIONS != 0 {
        tlb::flush();
    }
    if asked & INSTRUCTIONS != 0 {
        Hardware::with_caches_of(tlb::config1()).drop_own_instructions();
    }
    ASKED[cpu()].fetch_and(!asked, Ordering::Release);
}

fn write(register: usize, value: usize) {
    // SAFETY: registers of the Coherence Manager and of the power controller, which are this file's.
    unsafe { ptr::write_volatile(register as *mut usize, value) }
}

/// Starts the other CPUs, if there are any.
pub(crate) fn start_others() {
    unsafe extern "C" {
        static skeleton_second: [u8; 0];
    }
    // SAFETY: as above.
    let others = unsafe { ptr::read_volatile(OWN_CONFIG as *const usize) } & 0x3ff;
    if others > 0 {
        write(POWER_BASE, POWER | 1);
        write(OWN_OTHER, 1);
        write(OTHER_RESET_BASE, (&raw const skeleton_second).addr() & 0x1fff_ffff | UNCACHED);
        write(RUN, 1 << 1);
    }
}

/// Called on another CPU when it has a stack, before its first thread.
#[unsafe(no_mangle)]
extern "C" fn skeleton_join() {
    tlb::wire(SLOTS as u32);
}
