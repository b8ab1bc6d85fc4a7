//! The guest is brought to a halt, and an instruction is given up to be executed again.
//!
//! QEMU's plugin interface has neither. Its executable exports what its own devices and helpers do it with: `vm_stop` (`system/cpus.c`), after
//! which the machine stands still once the CPU has left generated code, and `cpu_loop_exit_restore` (`accel/tcg/cpu-exec-common.c`), which
//! leaves it at once, in the state before the instruction whose generated code it was called from. QEMU 10.0 to 11.1.
//!
//! Unsafe, because functions are found by their names and taken for what QEMU's headers say, and because one of them jumps.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::transmute;

use crate::api::find;

/// `RUN_STATE_PAUSED` (`qapi/run-state.json`).
const PAUSED: c_int = 4;

/// What a return address lies behind the call that it belongs to, at least (`GETPC_ADJ`).
const BEFORE: usize = 2;

const CURRENT_CPU: &CStr = c"current_cpu";

type VmStop = unsafe extern "C" fn(c_int) -> c_int;
type Leave = unsafe extern "C-unwind" fn(*mut c_void, usize) -> !;

/// The functions.
#[derive(Clone, Copy)]
pub struct Halt {
    vm_stop: VmStop,
    leave: Leave,
}

/// An address in generated code: that which a callback returns to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generated(usize);

impl Generated {
    /// What a callback returns to, if that is generated code: no file that the process has loaded has it. QEMU's helpers call, too.
    pub fn of(return_address: usize) -> Option<Self> {
        /// `Dl_info` of `dladdr`(3).
        #[repr(C)]
        struct Found([*const c_char; 4]);
        unsafe extern "C" {
            fn dladdr(address: *const c_void, found: *mut Found) -> c_int;
        }
        let mut found = Found([std::ptr::null(); 4]);
        // SAFETY: any address may be asked about, and there is room for the answer.
        let known = unsafe { dladdr(return_address as *const c_void, &raw mut found) };
        (known == 0).then_some(Self(return_address))
    }
}

impl Halt {
    /// Finds the functions in the running QEMU.
    ///
    /// # Errors
    /// The name of what it does not export.
    pub fn find() -> Result<Self, &'static str> {
        find(CURRENT_CPU).ok_or("current_cpu")?;
        let vm_stop = find(c"vm_stop").ok_or("vm_stop")?;
        let leave = find(c"cpu_loop_exit_restore").ok_or("cpu_loop_exit_restore")?;
        // SAFETY: the signatures in QEMU's `system/runstate.h` and `exec/cpu-common.h`, 10.0 to 11.1.
        unsafe { Ok(Self { vm_stop: transmute::<*mut c_void, VmStop>(vm_stop), leave: transmute::<*mut c_void, Leave>(leave) }) }
    }

    /// Asks for a halt. The CPU goes on to the end of its block, unless it is made to leave.
    ///
    /// # Safety
    /// Called in a callback on the thread of the CPUs.
    pub unsafe fn ask(&self) {
        // SAFETY: on a CPU's thread it only takes note, and has that CPU leave generated code.
        unsafe { (self.vm_stop)(PAUSED) };
    }

    /// Has the CPU leave generated code, in the state before the instruction of this callback.
    ///
    /// # Safety
    /// Called in a callback on the thread of the CPUs, of an instruction that has changed nothing yet and whose code this address is in;
    /// nothing is dropped, or given back, between here and there.
    pub unsafe fn leave(&self, Generated(address): Generated) -> ! {
        let here = find(CURRENT_CPU).unwrap_or_default().cast::<*mut c_void>();
        // SAFETY: it was found before, and is this thread's; it points to the CPU that runs.
        unsafe { (self.leave)(*here, address - BEFORE) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_files_is_not_generated() {
        let function = Halt::find as fn() -> Result<Halt, &'static str>;
        assert_eq!(Generated::of(function as usize), None);
        let memory = Box::new(0u8);
        let address = (&raw const *memory) as usize;
        assert_eq!(Generated::of(address), Some(Generated(address)));
    }

    #[test]
    fn what_is_not_qemu_cannot_halt() {
        assert_eq!(Halt::find().err(), Some("current_cpu"));
    }
}
