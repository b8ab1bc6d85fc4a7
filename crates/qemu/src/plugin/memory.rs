//! Callbacks of loads and stores, each as short as what it has to find out allows.
//!
//! Unsafe, because QEMU calls them by `plugin`'s word alone, and because one gives up the instruction that called it.

#![allow(unsafe_code)]

use std::arch::naked_asm;
use std::ffi::{c_uint, c_void};

use congruent_trace::Site;

use super::{SESSION, guarded, with_registers};
use crate::access::AccessInfo;
use crate::callbacks::Instruction;
use crate::moment::{Accessing, Data, Environment, Executing, Running};
use crate::session::{Looked, Session, Stored};

/// A load or store has been executed.
///
/// # Safety
/// Called by QEMU as a memory callback, with an [`Instruction`] as data. So are the other `on_memory…`.
pub unsafe extern "C" fn on_memory(_vcpu: c_uint, info: u32, vaddr: u64, data: *mut c_void) {
    let (info, vaddr, site) = (AccessInfo(info), vaddr as u32, Instruction::unpack(data as usize).site());
    // SAFETY: it cannot panic, and calls nothing of QEMU's.
    let looked = unsafe { SESSION.quietly(|session| session.look(info, vaddr)) };
    // SAFETY: this is the callback of the access.
    unsafe {
        match looked {
            Some(Looked::Taken) => {}
            Some(Looked::Store(target)) => store(info, vaddr, site, target),
            Some(Looked::Other) | None => any_access(info, vaddr, site),
        }
    }
}

/// The rest of [`on_memory`] of a store through the cache: apart, so that a quiet load needs few of the registers that are its caller's,
/// and by C's convention, which passes its target in registers.
///
/// # Safety
/// Called from it.
#[inline(never)]
unsafe extern "C" fn store(info: AccessInfo, vaddr: u32, site: Site, target: Stored) {
    // SAFETY: it cannot panic, and calls nothing of QEMU's.
    if unsafe { SESSION.quietly(|session| session.quiet_store(target, site)) } != Some(true) {
        // SAFETY: this is the callback of the access.
        unsafe { any_access(info, vaddr, site) };
    }
}

/// As [`on_memory`], of guests with several CPUs.
///
/// # Safety
/// See [`on_memory`].
pub unsafe extern "C" fn on_memory_in_turn(_vcpu: c_uint, info: u32, vaddr: u64, data: *mut c_void) {
    let (info, vaddr, site) = (AccessInfo(info), vaddr as u32, Instruction::unpack(data as usize).site());
    let quiet = |session: &mut Session| {
        // SAFETY: a memory callback is one on the CPUs' thread, and lasts longer than the value.
        let now = unsafe { Running::new(session.api()) };
        session.has_turn(&now) && session.quiet_access(info, vaddr, site)
    };
    // SAFETY: none of it can panic, or calls anything of QEMU's.
    if unsafe { SESSION.quietly(quiet) } != Some(true) {
        // SAFETY: this is the callback of the access.
        unsafe { any_access_in_turn(info, vaddr, site) };
    }
}

/// The rest of [`on_memory_in_turn`].
///
/// # Safety
/// Called from it.
#[cold]
#[inline(never)]
unsafe fn any_access_in_turn(info: AccessInfo, vaddr: u32, site: Site) {
    guarded(|session| {
        // SAFETY: the callback of the access runs until this function returns.
        let access = unsafe { Accessing::new(session.api(), info) };
        session.take_turn(&access);
        if !session.quiet_access(info, vaddr, site) {
            session.access(&access, vaddr, site);
        }
    });
}

/// As [`on_memory`], on guests where an address belongs to a space.
///
/// # Safety
/// See [`on_memory`].
pub unsafe extern "C" fn on_memory_in_space(_vcpu: c_uint, info: u32, reported: u64, data: *mut c_void) {
    let (info, vaddr, site) = (AccessInfo(info), reported as u32, Instruction::unpack(data as usize).site());
    let quiet = |session: &mut Session| {
        session.enter(reported);
        session.quiet_recorded_access(info, vaddr, site)
    };
    // SAFETY: neither can panic, or calls anything of QEMU's.
    if unsafe { SESSION.quietly(quiet) } != Some(true) {
        // SAFETY: this is the callback of the access.
        unsafe { any_access(info, vaddr, site) };
    }
}

/// As [`on_memory`], while the run is recorded.
///
/// # Safety
/// See [`on_memory`].
pub unsafe extern "C" fn on_memory_recorded(_vcpu: c_uint, info: u32, vaddr: u64, data: *mut c_void) {
    let (info, vaddr, site) = (AccessInfo(info), vaddr as u32, Instruction::unpack(data as usize).site());
    // SAFETY: it cannot panic, and calls nothing of QEMU's.
    if unsafe { SESSION.quietly(|session| session.quiet_recorded_access(info, vaddr, site)) } != Some(true) {
        // SAFETY: this is the callback of the access.
        unsafe { any_access(info, vaddr, site) };
    }
}

/// As [`on_memory`], while generated code may be left at any access, of every guest.
///
/// # Safety
/// See [`on_memory`]; `return_address` is where it returns to.
unsafe extern "C" fn on_memory_leaving(_vcpu: c_uint, info: u32, reported: u64, data: *mut c_void, return_address: usize) {
    let (info, vaddr, site) = (AccessInfo(info), reported as u32, Instruction::unpack(data as usize).site());
    let quiet = |session: &mut Session| session.is_alone() && session.quiet_known_access(info, vaddr, site);
    // SAFETY: none of it can panic, or calls anything of QEMU's.
    if unsafe { SESSION.quietly(quiet) } == Some(true) {
        return;
    }
    let leave = guarded(|session| {
        // SAFETY: the callback of the access runs until this function returns.
        let access = unsafe { Accessing::new(session.api(), info) };
        session.enter(reported);
        session.take_turn(&access);
        if session.begin_access(&access, site, vaddr, return_address) && !session.quiet_known_access(info, vaddr, site) {
            session.access(&access, vaddr, site);
        }
    });
    if let Some((halt, address)) = leave {
        // SAFETY: a load has changed nothing yet when its callback runs, and nothing here is dropped.
        unsafe { halt.leave(address) };
    }
}

/// The rest of [`on_memory`], apart so that the quiet path keeps no stack frame.
///
/// # Safety
/// Called from it, or from [`on_memory_in_space`].
#[cold]
#[inline(never)]
unsafe fn any_access(info: AccessInfo, vaddr: u32, site: Site) {
    guarded(|session| {
        // SAFETY: the callback of the access runs until this function returns.
        let access = unsafe { Accessing::new(session.api(), info) };
        session.access(&access, vaddr, site);
    });
}

/// As [`on_memory`], for the few instructions whose registers are needed.
///
/// # Safety
/// See [`on_memory`]; registers are stored, `environment` is the CPU state, and `return_address` is where it returns to.
unsafe extern "C" fn on_memory_with_registers(
    _vcpu: c_uint,
    info: u32,
    vaddr: u64,
    data: *mut c_void,
    environment: Environment,
    return_address: usize,
) {
    let instruction = Instruction::unpack(data as usize);
    let body = |session: &mut Session, now: &Executing| {
        // SAFETY: the callback of the access runs until this function returns.
        let access = unsafe { Accessing::new(session.api(), AccessInfo(info)) };
        session.enter(vaddr);
        if session.begin_access(&access, instruction.site(), vaddr as u32, return_address) {
            session.access_with_registers(&access, vaddr as u32, instruction, now);
        }
    };
    // SAFETY: this callback reads registers.
    if let Some((halt, address)) = unsafe { with_registers(environment, body) } {
        // SAFETY: a load has changed nothing yet when its callback runs, and nothing here is dropped.
        unsafe { halt.leave(address) };
    }
}

/// The naked half of [`on_memory_with_registers`]: passes on the CPU state, and where it returns to, which is in generated code.
#[unsafe(naked)]
pub unsafe extern "C" fn memory_with_registers(_: c_uint, _: u32, _: u64, _: *mut c_void) {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov r8, rbp", "mov r9, [rsp]", "jmp {}", sym on_memory_with_registers);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x4, x19", "mov x5, x30", "b {}", sym on_memory_with_registers);
}

/// The naked half of [`on_memory_leaving`].
#[unsafe(naked)]
pub unsafe extern "C" fn memory_leaving(_: c_uint, _: u32, _: u64, _: *mut c_void) {
    #[cfg(target_arch = "x86_64")]
    naked_asm!("mov r8, [rsp]", "jmp {}", sym on_memory_leaving);
    #[cfg(target_arch = "aarch64")]
    naked_asm!("mov x4, x30", "b {}", sym on_memory_leaving);
}
