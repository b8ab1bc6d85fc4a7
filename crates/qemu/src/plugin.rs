//! The shell that QEMU calls: installation, callbacks, and the boundary that no panic crosses.
//!
//! Each callback says in a value what QEMU is doing (`moment`) and lends it to the session: whatever is asked of QEMU beyond this file
//! hangs on such a value, and on this file's word that it is true.
//!
//! Invariant on which the one `Global` rests: QEMU runs all callbacks one after another (translation, execution and memory callbacks on
//! the one thread of all CPUs, the callbacks of resets while that thread is paused, the exit callback after it has stopped), and none
//! of the functions that are asked of QEMU in them runs a callback. If the CPUs of a guest have threads of their own, QEMU is ended before
//! the second one runs anything: each thread reports its CPU first.
//!
//! Unsafe, because what QEMU calls is called by its word alone, and because the session is shared by the invariant above alone.

#![allow(unsafe_code)]

use std::arch::naked_asm;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::ThreadId;

use congruent_wire::FailureKind;

use crate::api::{Block, Info, LifeByData, LifeByNumber, Registers};
use crate::bus::{self, Apart, Reads};
use crate::callbacks::{Callbacks, Fetched};
use crate::channel::Channel;
use crate::global::Global;
use crate::halt::{Generated, Halt};
use crate::install::{Refused, prepare};
use crate::moment::{Data, Environment, Executing, ExecutionCallback, MemoryCallback, Running, Starting, Translating};
use crate::session::Session;

mod memory;

static SESSION: Global<Session> = Global::nothing();

/// The thread that runs the CPUs.
static CPUS: OnceLock<ThreadId> = OnceLock::new();

/// A line to the program for threads that may not use the session.
static LINE: Mutex<Option<Channel>> = Mutex::new(None);

/// Runs `body` on the session. A panic ends the judging, not the guest. Says where to leave generated code if the guest is to stop before an
/// access that began in `body`.
///
/// What bus masters have done since comes first: they have done it before.
fn guarded(body: impl FnOnce(&mut Session)) -> Option<(Halt, Generated)> {
    let left = SESSION.with(|session| {
        let judged = catch_unwind(AssertUnwindSafe(|| {
            if bus::is_pending() {
                session.take_transfers();
            }
            body(session);
            session.heed_changes();
            let left = session.leave()?;
            if let Some(halt) = left.stop {
                // SAFETY: what is found is found on the thread of the CPUs.
                unsafe { halt.ask() };
            }
            left.at
        }));
        judged.unwrap_or_else(|_| {
            broken(session);
            None
        })
    });
    left.flatten()
}

/// As [`guarded`], for the CPU whose turn it is.
///
/// # Safety
/// Called from a callback on the thread that runs the CPUs.
#[inline]
unsafe fn in_turn(body: impl FnOnce(&mut Session, &Running)) {
    guarded(|session| {
        // SAFETY: the callback runs until this function returns, and the value not as long.
        let now = unsafe { Running::new(session.api()) };
        session.take_turn(&now);
        body(session, &now);
    });
}

/// As [`in_turn`], before something that has the registers stored.
///
/// # Safety
/// Called from a callback that reads registers, with the environment it received.
#[inline]
unsafe fn with_registers(environment: Environment, body: impl FnOnce(&mut Session, &Executing)) -> Option<(Halt, Generated)> {
    guarded(|session| {
        // SAFETY: the callback runs until this function returns, the value not as long, and the environment is the callback's.
        let now = unsafe { Executing::new(session.api(), environment) };
        session.take_turn(&now);
        body(session, &now);
    })
}

#[cold]
fn broken(session: &mut Session) {
    // If even this panics there is nothing left to say.
    let _ = catch_unwind(AssertUnwindSafe(|| session.stop(FailureKind::Internal, "an internal error of the plugin".into())));
}

/// QEMU's entry point.
///
/// # Safety
/// Called by QEMU once, with the arguments its plugin interface describes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(id: u64, info: *const Info, argc: c_int, argv: *mut *mut c_char) -> c_int {
    // SAFETY: QEMU passes a valid description and `argc` strings.
    let (info, arguments) = unsafe {
        let arguments: Vec<String> =
            (0..argc.max(0) as usize).map(|index| CStr::from_ptr(*argv.add(index)).to_string_lossy().into_owned()).collect();
        (&*info, arguments)
    };
    // SAFETY: QEMU is installing the plugin, and passes its number.
    let installed = catch_unwind(|| unsafe { install(id, info, &arguments) });
    match installed {
        Ok(Ok(())) => 0,
        Ok(Err(Refused::Unheard(reason))) => {
            eprintln!("congruent: {reason}");
            1
        }
        Ok(Err(Refused::Told)) | Err(_) => 1,
    }
}

/// Prepares a session, and has QEMU call what concerns it.
///
/// # Safety
/// QEMU is installing the plugin under the number `id`.
unsafe fn install(id: u64, info: &Info, arguments: &[String]) -> Result<(), Refused> {
    let (session, line) = prepare(info, arguments, &CALLBACKS)?;
    *LINE.lock().unwrap_or_else(PoisonError::into_inner) = line;
    let (api, arch) = (session.api(), session.arch());
    let reads = session.injects().then_some(on_device_read as Reads);
    // SAFETY: the plugin is being installed, and no callback is registered before the session is there.
    unsafe {
        SESSION.install(session);
        api.register(id, &life_by_number::LIFE, &life_by_data::LIFE);
        bus::watch(arch, on_transfers, reads);
        api.on_reset(on_reset, after_any_reset);
    }
    Ok(())
}

/// The plugin's life as API 6 and older ones tell it.
mod life_by_number {
    use super::*;

    pub const LIFE: LifeByNumber = LifeByNumber { translate, vcpu_init, exit };

    unsafe extern "C" fn translate(_id: u64, block: *mut Block) {
        // SAFETY: QEMU calls this with a block under translation.
        unsafe { super::translate(block) };
    }

    unsafe extern "C" fn vcpu_init(_id: u64, vcpu: c_uint) {
        // SAFETY: QEMU calls this when a CPU starts, on its thread.
        unsafe { super::vcpu_init(vcpu) };
    }

    unsafe extern "C" fn exit(_id: u64, _data: *mut c_void) {
        super::exit();
    }
}

/// The plugin's life as API 7 and newer ones tell it.
mod life_by_data {
    use super::*;

    pub const LIFE: LifeByData = LifeByData { translate, vcpu_init, exit };

    unsafe extern "C" fn translate(block: *mut Block, _data: *mut c_void) {
        // SAFETY: QEMU calls this with a block under translation.
        unsafe { super::translate(block) };
    }

    unsafe extern "C" fn vcpu_init(vcpu: c_uint, _data: *mut c_void) {
        // SAFETY: QEMU calls this when a CPU starts, on its thread.
        unsafe { super::vcpu_init(vcpu) };
    }

    unsafe extern "C" fn exit(_data: *mut c_void) {
        super::exit();
    }
}

/// A block is being translated.
///
/// # Safety
/// Called by QEMU with the block.
unsafe fn translate(block: *mut Block) {
    guarded(|session| {
        // SAFETY: QEMU is translating the block until this function returns.
        let now = unsafe { Translating::new(session.api(), block) };
        session.translate(&now);
    });
}

/// A CPU exists.
///
/// # Safety
/// Called by QEMU from its initialisation callback, on the CPU's thread.
unsafe fn vcpu_init(vcpu: c_uint) {
    let this = std::thread::current().id();
    if *CPUS.get_or_init(|| this) != this {
        refuse_threads();
    }
    guarded(|session| {
        // SAFETY: QEMU is initialising the CPU until this function returns.
        let now = unsafe { Starting::new(session.api(), vcpu) };
        session.vcpu_init(&now);
    });
}

/// Ends QEMU: its CPUs would run callbacks at the same time.
fn refuse_threads() -> ! {
    unsafe extern "C" {
        fn _exit(status: c_int) -> !;
    }
    if let Some(mut channel) = LINE.lock().ok().and_then(|mut line| line.take()) {
        let reason = "the guest's CPUs run at the same time; add `-accel tcg,thread=single` to the QEMU command".into();
        channel.fail(FailureKind::Environment, reason);
    }
    // SAFETY: it ends the process at once, without callbacks of other threads.
    unsafe { _exit(1) }
}

/// The machine is being reset; [`after_any_reset`] follows.
///
/// # Safety
/// Called by QEMU while it resets the machine, see `Api::on_reset`.
unsafe extern "C" fn on_reset(_data: *mut c_void) {
    guarded(Session::machine_is_reset);
}

/// The machine has been reset, or a snapshot is about to be loaded. Safe to call when [`on_reset`] is.
unsafe extern "C" fn after_any_reset(_data: *mut c_void) {
    guarded(Session::machine_starts);
}

/// Bus masters have done something.
///
/// # Safety
/// Called on the thread of the CPUs, between two blocks.
unsafe fn on_transfers() {
    // SAFETY: by this function's contract; what they did is taken on the way.
    unsafe { in_turn(Session::step) };
}

/// A device that is followed is about to read memory at this address. On other threads than the CPUs' nothing can be said of it.
///
/// # Safety
/// Called by QEMU when it has the address translated.
unsafe fn on_device_read(address: u64) -> Option<Apart> {
    if CPUS.get() != Some(&std::thread::current().id()) {
        return None;
    }
    // On that thread it is within an access, whose callback comes after it; within a callback, there is no session.
    let apart = SESSION.with(|session| {
        let said = catch_unwind(AssertUnwindSafe(|| {
            if bus::is_pending() {
                session.take_transfers();
            }
            session.device_reads(address)
        }));
        said.unwrap_or_else(|_| {
            broken(session);
            None
        })
    });
    apart.flatten()
}

/// QEMU is leaving.
fn exit() {
    guarded(Session::finish);
}

/// What QEMU calls while a guest runs.
// SAFETY: each function takes what its field says, and those that are registered as reading registers are the ones that are passed the CPU
// state.
static CALLBACKS: Callbacks = unsafe {
    Callbacks {
        memory: MemoryCallback::new(memory::on_memory, Registers::Unused),
        memory_recorded: MemoryCallback::new(memory::on_memory_recorded, Registers::Unused),
        memory_in_turn: MemoryCallback::new(memory::on_memory_in_turn, Registers::Unused),
        memory_in_space: MemoryCallback::new(memory::on_memory_in_space, Registers::Unused),
        memory_leaving: MemoryCallback::new(memory::memory_leaving, Registers::Unused),
        memory_with_registers: MemoryCallback::new(memory::memory_with_registers, Registers::Read),
        fetch: ExecutionCallback::new(on_fetch, Registers::Unused),
        fetch_settling: ExecutionCallback::new(on_fetch_settling, Registers::Unused),
        fetch_in_turn: ExecutionCallback::new(on_fetch_in_turn, Registers::Unused),
        fetch_anywhere: ExecutionCallback::new(fetch_anywhere, Registers::Read),
        block: ExecutionCallback::new(block, Registers::Read),
        execution: ExecutionCallback::new(execution, Registers::Read),
        call: ExecutionCallback::new(call, Registers::Read),
        arrival: ExecutionCallback::new(arrival, Registers::Read),
        exception_return: ExecutionCallback::new(on_exception_return, Registers::Unused),
    }
};

/// A block starts, while fetches are judged.
///
/// # Safety
/// Called by QEMU as a block callback, with a [`Fetched`] as data.
unsafe extern "C" fn on_fetch(_vcpu: c_uint, data: *mut c_void) {
    let fetched = Fetched::unpack(data as usize);
    // SAFETY: it cannot panic, and calls nothing of QEMU's.
    if unsafe { SESSION.quietly(|session| session.quiet_fetch(fetched)) } != Some(true) {
        // SAFETY: block callbacks run on the CPUs' thread.
        unsafe { any_fetch(fetched) };
    }
}

/// As [`on_fetch`], of a block that does not bear its mark.
///
/// # Safety
/// As [`on_fetch`].
unsafe extern "C" fn on_fetch_settling(_vcpu: c_uint, data: *mut c_void) {
    let fetched = Fetched::unpack(data as usize);
    // SAFETY: it cannot panic, and calls nothing of QEMU's.
    if unsafe { SESSION.quietly(|session| session.settle_fetch(fetched)) } != Some(true) {
        // SAFETY: block callbacks run on the CPUs' thread.
        unsafe { any_fetch(fetched) };
    }
}

/// As [`on_fetch`], of guests with several CPUs.
///
/// # Safety
/// As [`on_fetch`].
unsafe extern "C" fn on_fetch_in_turn(_vcpu: c_uint, data: *mut c_void) {
    let fetched = Fetched::unpack(data as usize);
    let quiet = |session: &mut Session| {
        // SAFETY: a block callback is one on the CPUs' thread, and lasts longer than the value.
        let now = unsafe { Running::new(session.api()) };
        session.has_turn(&now) && session.quiet_fetch(fetched)
    };
    // SAFETY: none of it can panic, or calls anything of QEMU's.
    if unsafe { SESSION.quietly(quiet) } != Some(true) {
        // SAFETY: block callbacks run on the CPUs' thread.
        unsafe { any_fetch_in_turn(fetched) };
    }
}

/// As [`on_fetch`], of guests whose blocks run wherever they are mapped.
///
/// # Safety
/// As [`on_fetch`]; registers are stored, and `environment` is the CPU state.
unsafe extern "C" fn on_fetch_anywhere(_vcpu: c_uint, data: *mut c_void, environment: Environment) {
    let translated = Fetched::unpack(data as usize);
    let quiet = |session: &mut Session| {
        // SAFETY: this callback reads registers, and lasts longer than the value.
        let now = unsafe { Executing::new(session.api(), environment) };
        session.place(translated, &now).is_ok_and(|fetched| session.quiet_fetch(fetched))
    };
    // SAFETY: none of it can panic, or calls anything of QEMU's.
    if unsafe { SESSION.quietly(quiet) } != Some(true) {
        // SAFETY: this callback reads registers.
        unsafe { any_fetch_anywhere(translated, environment) };
    }
}

/// The rest of [`on_fetch_anywhere`].
///
/// # Safety
/// Called from it.
#[cold]
#[inline(never)]
unsafe fn any_fetch_anywhere(translated: Fetched, environment: Environment) {
    // SAFETY: by this function's contract.
    unsafe { with_registers(environment, |session, now| session.fetch_anywhere(translated, now)) };
}

/// The rest of [`on_fetch_in_turn`].
///
/// # Safety
/// Called from it.
#[cold]
#[inline(never)]
unsafe fn any_fetch_in_turn(fetched: Fetched) {
    let body = |session: &mut Session, now: &Running| {
        if !session.quiet_fetch(fetched) {
            session.fetch(fetched, now);
        }
    };
    // SAFETY: block callbacks run on the CPUs' thread.
    unsafe { in_turn(body) };
}

/// The rest of [`on_fetch`].
///
/// # Safety
/// Called from it.
#[cold]
#[inline(never)]
unsafe fn any_fetch(fetched: Fetched) {
    // SAFETY: block callbacks run on the CPUs' thread.
    unsafe { in_turn(|session, now| session.fetch(fetched, now)) };
}

/// A return from an exception is about to run.
///
/// # Safety
/// Called by QEMU as an execution callback.
unsafe extern "C" fn on_exception_return(_vcpu: c_uint, _data: *mut c_void) {
    // SAFETY: execution callbacks run on the CPUs' thread.
    unsafe { in_turn(|session, _| session.exception_returns()) };
}

/// Callbacks that read registers. Generated code, which calls them, keeps the CPU state in a register of the host, of which QEMU says
/// nothing: the naked half passes it on after what QEMU gives.
macro_rules! with_the_cpu_state {
    ($name:ident($($argument:ty),*) in $x86_64:literal or $aarch64:literal to $callback:path) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name($(_: $argument),*) {
            #[cfg(target_arch = "x86_64")]
            naked_asm!(concat!("mov ", $x86_64, ", rbp"), "jmp {}", sym $callback);
            #[cfg(target_arch = "aarch64")]
            naked_asm!(concat!("mov ", $aarch64, ", x19"), "b {}", sym $callback);
        }
    };
    ($($(#[$documentation:meta])* $name:ident: $body:path;)*) => { $(
        with_the_cpu_state!($name(c_uint, *mut c_void) in "rdx" or "x2" to received::$name);
    )*
        /// The halves that receive the CPU state.
        mod received {
            use super::*;
            $(
                $(#[$documentation])*
                ///
                /// # Safety
                /// Called by QEMU as a callback that reads registers, with data as its body wants it; `environment` is the CPU state.
                pub unsafe extern "C" fn $name(_vcpu: c_uint, data: *mut c_void, environment: Environment) {
                    let body = |session: &mut Session, now: &Executing| $body(session, Data::unpack(data as usize), now);
                    // SAFETY: this callback reads registers.
                    unsafe { with_registers(environment, body) };
                }
            )*
        }
    };
}

with_the_cpu_state!(fetch_anywhere(c_uint, *mut c_void) in "rdx" or "x2" to on_fetch_anywhere);

with_the_cpu_state! {
    /// An instruction that is more than loads and stores is about to run.
    execution: Session::execute;
    /// A block starts, while something is muted or addresses belong to spaces.
    block: Session::block;
    /// A call is about to run.
    call: Session::called;
    /// A block starts that follows a call.
    arrival: Session::arrived;
}
