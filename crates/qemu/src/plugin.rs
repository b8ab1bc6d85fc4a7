//! The shell that QEMU calls: installation, callbacks, and the boundary that no panic crosses.
//!
//! Invariant on which the one global rests: QEMU runs all callbacks one after another (translation, execution and memory callbacks on
//! the one thread of all CPUs, the callbacks of resets while that thread is paused, the exit callback after it has stopped), and none
//! of the functions the plugin calls back
//! into QEMU runs a callback. If the CPUs of a guest have threads of their own, QEMU is ended before the second one runs anything: each
//! thread reports its CPU first.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::ThreadId;

use congruent_arch::Arch;
use congruent_trace::Site;
use congruent_wire::{FailureKind, Message, PROTOCOL};

use crate::api::{AccessInfo, Api, Block, Info, OLDEST_API};
use crate::channel::{Channel, read_config};
use crate::registers::Environment;
use crate::session::{Fetched, Instruction, Session};

/// The one value that callbacks share. Whoever uses it takes it away for as long, so that a callback within a callback finds nothing.
struct Global<T>(UnsafeCell<*mut T>);

// SAFETY: see the module's invariant: there is never more than one callback at a time.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    const fn nothing() -> Self {
        Self(UnsafeCell::new(std::ptr::null_mut()))
    }

    /// Puts a value here, which is never freed.
    ///
    /// # Safety
    /// No callback runs, and none has been registered yet.
    unsafe fn install(&self, value: T) {
        // SAFETY: by this function's contract nothing else looks at the pointer.
        unsafe { *self.0.get() = Box::into_raw(Box::new(value)) };
    }

    /// Runs `body` on the value; `None` if there is none yet, or if a callback is using it already.
    fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> Option<R> {
        /// Gives the value back, however `body` ends.
        struct Taken<'a, T>(&'a Global<T>, *mut T);
        impl<T> Drop for Taken<'_, T> {
            fn drop(&mut self) {
                // SAFETY: the module's invariant; whoever was called in between has found null and left it there.
                unsafe { *self.0.0.get() = self.1 };
            }
        }
        // SAFETY: the module's invariant: no other thread looks at the pointer now.
        let taken = Taken(self, unsafe { self.0.get().replace(std::ptr::null_mut()) });
        // SAFETY: the pointer came from a box that is never freed, and is here alone: the global is null until it is given back.
        unsafe { taken.1.as_mut() }.map(body)
    }

    /// As [`with`](Self::with), and false in place of `None`; without writing anything, because this is the path of nearly every access.
    ///
    /// # Safety
    /// `body` does not panic and calls nothing of QEMU's: no callback can run within it.
    #[inline(always)]
    unsafe fn quietly(&self, body: impl FnOnce(&mut T) -> bool) -> bool {
        // SAFETY: the module's invariant, and this function's contract: the reference is the only one while it lives. While another
        // callback uses the value, the pointer is null.
        unsafe { (*self.0.get()).as_mut() }.is_some_and(body)
    }
}

static SESSION: Global<Session> = Global::nothing();

/// A line to the program for threads that may not use the session.
static LINE: Mutex<Option<Channel>> = Mutex::new(None);

/// Runs `body` on the session. A panic ends the judging, not the guest.
fn guarded(body: impl FnOnce(&mut Session)) {
    SESSION.with(|session| {
        if catch_unwind(AssertUnwindSafe(|| body(session))).is_err() {
            broken(session);
        }
    });
}

/// As [`guarded`], for the CPU whose turn it is.
#[inline]
fn in_turn(body: impl FnOnce(&mut Session)) {
    guarded(|session| {
        // SAFETY: callbacks of instructions run on the thread that runs the CPUs.
        unsafe { session.take_turn() };
        body(session);
    });
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
    let installed = catch_unwind(|| install(id, info, &arguments));
    match installed {
        Ok(Ok(())) => 0,
        Ok(Err(Refused::Unheard(reason))) => {
            eprintln!("congruent: {reason}");
            1
        }
        Ok(Err(Refused::Told)) | Err(_) => 1,
    }
}

/// Why the plugin does not install.
enum Refused {
    /// The program knows, and says it.
    Told,
    /// Nobody else can say it.
    Unheard(String),
}

impl From<String> for Refused {
    fn from(reason: String) -> Self {
        Self::Unheard(reason)
    }
}

fn install(id: u64, info: &Info, arguments: &[String]) -> Result<(), Refused> {
    let config = arguments
        .iter()
        .find_map(|argument| argument.strip_prefix("config="))
        .ok_or_else(|| String::from("the plugin is started by `congruent check`; it needs config=FILE"))?;
    let config = read_config(Path::new(config))?;
    let mut channel = Channel::connect(&config)?;
    let bound = Api::bind(info.api());
    let follows_resets = bound.as_ref().is_ok_and(Api::knows_resets);
    // From here on the program is told as well, because it decides the exit status.
    let target = info.target();
    let started = match Arch::of_qemu(&target) {
        Some(target) => {
            channel.send(&Message::Hello { protocol: PROTOCOL, target, qemu_api: info.api(), follows_resets });
            start(info, bound, target, config)
        }
        None => Err(format!("guests of architecture {target} are not supported; {} are", Arch::names())),
    };
    match started {
        Ok(mut session) => {
            *LINE.lock().unwrap_or_else(PoisonError::into_inner) = channel.again();
            session.attach(channel);
            let api = *session.api();
            // SAFETY: no callback is registered yet.
            unsafe { SESSION.install(session) };
            api.register(id);
            // SAFETY: the plugin is being installed.
            unsafe { api.on_reset(on_reset, after_any_reset) };
            Ok(())
        }
        Err(reason) => {
            channel.fail(FailureKind::Environment, reason);
            Err(Refused::Told)
        }
    }
}

fn start(info: &Info, bound: Result<Api, &'static str>, arch: Arch, config: congruent_wire::Config) -> Result<Session, String> {
    if info.api() < OLDEST_API {
        return Err(format!("this QEMU offers plugin API {}; install QEMU 10.0 or newer", info.api()));
    }
    let Some(cpus) = info.max_vcpus() else {
        return Err("this is user-mode emulation; use qemu-system-… and a kernel".into());
    };
    let api = bound.map_err(|missing| format!("this QEMU lacks {missing}; install QEMU 10.0 or newer, built with plugins"))?;
    Session::new(api, info.api(), arch, cpus.max(1) as u32, config)
}

/// A block is being translated.
///
/// # Safety
/// Called by QEMU with the block.
pub unsafe fn translate(block: *mut Block) {
    // SAFETY: by this function's contract.
    guarded(|session| unsafe { session.translate(block) });
}

/// A CPU exists.
///
/// # Safety
/// Called by QEMU from its initialisation callback, on the CPU's thread.
pub unsafe fn vcpu_init(vcpu: c_uint) {
    static THREAD: OnceLock<ThreadId> = OnceLock::new();
    let this = std::thread::current().id();
    if *THREAD.get_or_init(|| this) != this {
        refuse_threads();
    }
    // SAFETY: by this function's contract.
    guarded(|session| unsafe { session.vcpu_init(vcpu) });
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
/// To be registered with QEMU only, see [`Api::on_reset`].
unsafe extern "C" fn on_reset(_data: *mut c_void) {
    guarded(Session::machine_is_reset);
}

/// The machine has been reset, or a snapshot is about to be loaded.
///
/// # Safety
/// As [`on_reset`].
unsafe extern "C" fn after_any_reset(_data: *mut c_void) {
    guarded(Session::machine_starts);
}

/// QEMU is leaving.
///
/// # Safety
/// Called by QEMU from its exit callback.
pub unsafe fn exit() {
    guarded(Session::finish);
}

/// A load or store has been executed.
///
/// # Safety
/// Called by QEMU as a memory callback registered with an [`Instruction`] as data.
pub unsafe extern "C" fn on_memory(_vcpu: c_uint, info: u32, vaddr: u64, data: *mut c_void) {
    let (info, vaddr, site) = (AccessInfo(info), vaddr as u32, Instruction::from_data(data as usize).site());
    // SAFETY: it cannot panic, and calls nothing of QEMU's.
    if !unsafe { SESSION.quietly(|session| session.quiet_access(info, vaddr, site)) } {
        any_access(info, vaddr, site);
    }
}

/// As [`on_memory`], of guests with several CPUs.
///
/// # Safety
/// As [`on_memory`].
pub unsafe extern "C" fn on_memory_in_turn(_vcpu: c_uint, info: u32, vaddr: u64, data: *mut c_void) {
    let (info, vaddr, site) = (AccessInfo(info), vaddr as u32, Instruction::from_data(data as usize).site());
    // SAFETY: by this function's contract; none of it can panic, or calls anything of QEMU's.
    if !unsafe { SESSION.quietly(|session| session.has_turn() && session.quiet_access(info, vaddr, site)) } {
        any_access_in_turn(info, vaddr, site);
    }
}

/// The rest of [`on_memory_in_turn`].
#[cold]
#[inline(never)]
fn any_access_in_turn(info: AccessInfo, vaddr: u32, site: Site) {
    in_turn(|session| {
        if !session.quiet_access(info, vaddr, site) {
            session.access(info, vaddr, site);
        }
    });
}

/// As [`on_memory`], on guests where an address belongs to a space.
///
/// # Safety
/// As [`on_memory`].
pub unsafe extern "C" fn on_memory_in_space(_vcpu: c_uint, info: u32, reported: u64, data: *mut c_void) {
    let (info, vaddr, site) = (AccessInfo(info), reported as u32, Instruction::from_data(data as usize).site());
    // SAFETY: neither can panic, or calls anything of QEMU's.
    let quiet = unsafe {
        SESSION.quietly(|session| {
            session.enter(reported);
            session.quiet_access(info, vaddr, site)
        })
    };
    if !quiet {
        any_access(info, vaddr, site);
    }
}

/// The rest of [`on_memory`], apart so that the quiet path keeps no stack frame.
#[cold]
#[inline(never)]
fn any_access(info: AccessInfo, vaddr: u32, site: Site) {
    guarded(|session| session.access(info, vaddr, site));
}

/// A block starts, while fetches are judged.
///
/// # Safety
/// Called by QEMU as a block callback registered with a [`Fetched`] as data.
pub unsafe extern "C" fn on_fetch(_vcpu: c_uint, data: *mut c_void) {
    let fetched = Fetched::from_data(data as usize);
    // SAFETY: it cannot panic, and calls nothing of QEMU's.
    if !unsafe { SESSION.quietly(|session| session.quiet_fetch(fetched)) } {
        any_fetch(fetched);
    }
}

/// As [`on_fetch`], of guests with several CPUs.
///
/// # Safety
/// As [`on_fetch`].
pub unsafe extern "C" fn on_fetch_in_turn(_vcpu: c_uint, data: *mut c_void) {
    let fetched = Fetched::from_data(data as usize);
    // SAFETY: by this function's contract; none of it can panic, or calls anything of QEMU's.
    if !unsafe { SESSION.quietly(|session| session.has_turn() && session.quiet_fetch(fetched)) } {
        any_fetch_in_turn(fetched);
    }
}

/// The rest of [`on_fetch_in_turn`].
#[cold]
#[inline(never)]
fn any_fetch_in_turn(fetched: Fetched) {
    in_turn(|session| {
        if !session.quiet_fetch(fetched) {
            session.fetch(fetched);
        }
    });
}

/// The rest of [`on_fetch`].
#[cold]
#[inline(never)]
fn any_fetch(fetched: Fetched) {
    guarded(|session| session.fetch(fetched));
}

/// A call is about to run.
///
/// # Safety
/// As [`on_memory_with_environment`].
pub unsafe extern "C" fn on_call_with_environment(_vcpu: c_uint, data: *mut c_void, environment: Environment) {
    // SAFETY: by this function's contract.
    in_turn(|session| unsafe { session.called(data as usize as u32, environment) });
}

/// A block starts that follows a call.
///
/// # Safety
/// As [`on_memory_with_environment`].
pub unsafe extern "C" fn on_arrival_with_environment(_vcpu: c_uint, data: *mut c_void, environment: Environment) {
    // SAFETY: by this function's contract.
    in_turn(|session| unsafe { session.arrived(data as usize as u32, environment) });
}

/// A return from an exception is about to run.
///
/// # Safety
/// To be registered with QEMU only.
pub unsafe extern "C" fn on_exception_return(_vcpu: c_uint, _data: *mut c_void) {
    in_turn(Session::exception_returns);
}

/// As [`on_memory`], for the few instructions whose registers are needed.
///
/// # Safety
/// As [`on_memory`]; `environment` is the CPU state.
pub unsafe extern "C" fn on_memory_with_environment(
    _vcpu: c_uint,
    info: u32,
    vaddr: u64,
    data: *mut c_void,
    environment: Environment,
) {
    let instruction = Instruction::from_data(data as usize);
    // SAFETY: by this function's contract.
    in_turn(|session| unsafe {
        session.enter(vaddr);
        session.access_with_registers(AccessInfo(info), vaddr as u32, instruction, environment);
    });
}

/// An instruction that is more than loads and stores is about to run.
///
/// # Safety
/// As [`on_memory_with_environment`].
pub unsafe extern "C" fn on_execution_with_environment(_vcpu: c_uint, data: *mut c_void, environment: Environment) {
    let instruction = Instruction::from_data(data as usize);
    // SAFETY: by this function's contract.
    in_turn(|session| unsafe { session.execute(instruction, environment) });
}

/// A block starts, while something is muted or addresses belong to spaces.
///
/// # Safety
/// As [`on_memory_with_environment`].
pub unsafe extern "C" fn on_block_with_environment(_vcpu: c_uint, data: *mut c_void, environment: Environment) {
    // SAFETY: by this function's contract.
    in_turn(|session| unsafe { session.block(data as usize as u32, environment) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_within_a_callback_finds_nothing_and_the_value_is_there_again_afterwards() {
        static VALUE: Global<u32> = Global::nothing();
        // SAFETY: it neither panics nor calls anything.
        let quietly = || unsafe { VALUE.quietly(|value| *value > 0) };
        assert_eq!((VALUE.with(|_| ()), quietly()), (None, false), "before it is installed");
        // SAFETY: this test is alone with it.
        unsafe { VALUE.install(7) };
        let within = VALUE.with(|value| {
            *value += 1;
            (VALUE.with(|_| ()), quietly())
        });
        assert_eq!(within, Some((None, false)));
        assert_eq!((VALUE.with(|value| *value), quietly()), (Some(8), true));
        let panics = catch_unwind(|| VALUE.with(|_| panic!("a defect")));
        assert!(panics.is_err());
        assert_eq!((VALUE.with(|value| *value), quietly()), (Some(8), true));
    }
}
