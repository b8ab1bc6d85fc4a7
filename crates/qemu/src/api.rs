//! The part of QEMU's plugin interface that Congruent uses, bound at run time.
//!
//! Every function is looked up in the running process instead of being linked, so that one shared object serves QEMU 10.0
//! (plugin API 4) and 11.1 (API 7), and a missing function is a sentence instead of a loader error. The declarations follow
//! QEMU's `include/plugins/qemu-plugin.h` (versions 10.0 and 11.1).
//!
//! Guarantees: an [`Api`] exists only when every function that it cannot do without was found. Not here: when they may be called (`moment`),
//! and what QEMU calls (`plugin`).
//!
//! Unsafe, because functions are looked up by their names and taken to be what QEMU's header says.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::transmute_copy;
use std::ptr::null_mut;

use congruent_trace::AccessKind;

use crate::access::{AccessInfo, AccessShape};

/// `qemu_plugin_insn`, valid inside the translation callback only.
#[repr(C)]
pub struct RawInsn {
    _opaque: [u8; 0],
}

/// `qemu_plugin_tb`, valid inside the translation callback only.
#[repr(C)]
pub struct Block {
    _opaque: [u8; 0],
}

/// A register of the guest.
#[repr(C)]
pub struct Register {
    _opaque: [u8; 0],
}

/// The result of a physical address query; valid until the next one.
#[repr(C)]
pub struct HwAddr {
    _opaque: [u8; 0],
}

/// Memory of a plugin that generated code works on.
#[repr(C)]
pub struct Scoreboard {
    _opaque: [u8; 0],
}

/// `qemu_plugin_u64`: a word in each CPU's element of a scoreboard.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct ScoreboardWord {
    /// Which scoreboard.
    pub scoreboard: *mut Scoreboard,
    /// Where in an element, in bytes.
    pub offset: usize,
}

/// When a callback with a condition is called: if the word in the scoreboard is not the one that is given (`QEMU_PLUGIN_COND_NE`).
pub const IF_NOT_EQUAL: c_int = 3;
/// What generated code does to a word by itself: adds to it (`QEMU_PLUGIN_INLINE_ADD_U64`).
pub const ADD: c_int = 0;

/// GLib's byte array, of which only the public part is declared.
#[repr(C)]
pub struct GByteArray {
    data: *mut u8,
    len: c_uint,
}

/// GLib's array, of which only the public part is declared.
#[repr(C)]
pub struct GArray {
    /// Its elements.
    pub data: *mut c_char,
    /// How many.
    pub len: c_uint,
}

/// `qemu_info_t`: what QEMU tells a plugin about the guest.
#[repr(C)]
pub struct Info {
    target_name: *const c_char,
    version_min: c_int,
    version_cur: c_int,
    system_emulation: bool,
    smp_vcpus: c_int,
    max_vcpus: c_int,
}

impl Info {
    /// The guest architecture as QEMU names it.
    pub fn target(&self) -> String {
        // SAFETY: QEMU passes a NUL-terminated string that lives at least as long as the installation call.
        unsafe { CStr::from_ptr(self.target_name) }.to_string_lossy().into_owned()
    }

    /// The newest plugin API that this QEMU offers.
    pub fn api(&self) -> i32 {
        self.version_cur
    }

    /// How many virtual CPUs the guest can have at most; `None` under user-mode emulation.
    pub fn max_vcpus(&self) -> Option<i32> {
        self.system_emulation.then_some(self.max_vcpus)
    }
}

/// The API version from which callbacks carry user data in place of the plugin's id.
const API_WITH_USER_DATA: i32 = 7;
/// The oldest API version that is spoken here.
pub const OLDEST_API: i32 = 4;

/// Read by QEMU between loading the plugin and installing it.
#[unsafe(no_mangle)]
pub static mut qemu_plugin_version: c_int = OLDEST_API;

/// Chooses [`qemu_plugin_version`] before QEMU reads it.
///
/// QEMU 10.0 accepts versions up to 4 only and 11.1 accepts 7 only; what tells them apart at load time is a function that
/// only the newer one exports.
#[used]
#[unsafe(link_section = ".init_array")]
static CHOOSE_VERSION: extern "C" fn() = {
    extern "C" fn choose() {
        if find(c"qemu_plugin_register_vcpu_discon_cb").is_some() {
            // SAFETY: constructors run on one thread, before anything else can see the variable.
            unsafe { qemu_plugin_version = API_WITH_USER_DATA };
        }
    }
    choose
};

/// The function or variable of this name that the running process exports.
pub fn find(name: &CStr) -> Option<*mut c_void> {
    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    }
    // SAFETY: a null handle is RTLD_DEFAULT on Linux; the name is NUL-terminated.
    let address = unsafe { dlsym(null_mut(), name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// Called after a guest memory access.
pub type RawMemoryCallback = unsafe extern "C" fn(vcpu: c_uint, info: u32, vaddr: u64, data: *mut c_void);
/// Called before a guest instruction, or at the start of a block.
pub type RawExecutionCallback = unsafe extern "C" fn(vcpu: c_uint, data: *mut c_void);

/// The bytes of an access, as QEMU returns them: a word for the length, then up to sixteen bytes of which the low ones come first.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Value {
    length: c_int,
    /// The bytes, the low ones first.
    pub bytes: [u64; 2],
}

/// Called while the machine is reset.
pub type ResetCallback = unsafe extern "C" fn(data: *mut c_void);

/// Whether a callback needs the guest's registers stored to memory first.
#[derive(Clone, Copy)]
#[repr(C)]
pub enum Registers {
    /// It does not look at them.
    Unused = 0,
    /// It reads them.
    Read = 1,
}

macro_rules! api {
    (
        required { $( $required:ident : fn($($rarg:ty),*) $(-> $rret:ty)? ; )* }
        optional { $( $optional:ident : fn($($oarg:ty),*) $(-> $oret:ty)? ; )* }
    ) => {
        /// QEMU's functions.
        pub struct Api {
            version: i32,
            /// The CPU that runs.
            pub cpu: Cell<c_int>,
            /// What QEMU puts bytes into: emptied before each use, never freed, as QEMU's functions are there as long as it.
            buffer: *mut GByteArray,
            $( pub $required: unsafe extern "C" fn($($rarg),*) $(-> $rret)?, )*
            $( pub $optional: Option<unsafe extern "C" fn($($oarg),*) $(-> $oret)?>, )*
        }

        impl Api {
            /// Binds the functions of the QEMU that this code runs in; `version` is its plugin API.
            ///
            /// # Errors
            /// The name of a function that is missing.
            pub fn bind(version: i32) -> Result<Self, &'static str> {
                let mut api = Self {
                    version,
                    cpu: Cell::new(0),
                    buffer: null_mut(),
                    $( $required: {
                        let name = concat!(stringify!($required), "\0");
                        let address = CStr::from_bytes_with_nul(name.as_bytes()).ok().and_then(find)
                            .ok_or(stringify!($required))?;
                        // SAFETY: the symbol is QEMU's function of this name, declared above as in its header.
                        unsafe { transmute_copy::<*mut c_void, unsafe extern "C" fn($($rarg),*) $(-> $rret)?>(&address) }
                    }, )*
                    $( $optional: {
                        let name = concat!(stringify!($optional), "\0");
                        let address = CStr::from_bytes_with_nul(name.as_bytes()).ok().and_then(find);
                        // SAFETY: the same is true of functions that a QEMU may lack.
                        address.map(|address| unsafe {
                            transmute_copy::<*mut c_void, unsafe extern "C" fn($($oarg),*) $(-> $oret)?>(&address)
                        })
                    }, )*
                };
                // SAFETY: a constructor that takes nothing and gives an array of its own.
                api.buffer = unsafe { (api.g_byte_array_new)() };
                Ok(api)
            }
        }
    };
}

api! {
    required {
        qemu_plugin_register_vcpu_tb_trans_cb: fn(u64, *const c_void, *mut c_void);
        qemu_plugin_register_vcpu_init_cb: fn(u64, *const c_void, *mut c_void);
        qemu_plugin_register_atexit_cb: fn(u64, *const c_void, *mut c_void);
        qemu_plugin_tb_n_insns: fn(*const Block) -> usize;
        qemu_plugin_tb_get_insn: fn(*const Block, usize) -> *mut RawInsn;
        qemu_plugin_insn_data: fn(*const RawInsn, *mut c_void, usize) -> usize;
        qemu_plugin_insn_vaddr: fn(*const RawInsn) -> u64;
        qemu_plugin_insn_size: fn(*const RawInsn) -> usize;
        qemu_plugin_insn_haddr: fn(*const RawInsn) -> *const c_void;
        qemu_plugin_register_vcpu_mem_cb: fn(*mut RawInsn, RawMemoryCallback, c_int, c_int, *mut c_void);
        qemu_plugin_register_vcpu_insn_exec_cb: fn(*mut RawInsn, RawExecutionCallback, c_int, *mut c_void);
        qemu_plugin_register_vcpu_tb_exec_cb: fn(*mut Block, RawExecutionCallback, c_int, *mut c_void);
        qemu_plugin_scoreboard_new: fn(usize) -> *mut Scoreboard;
        qemu_plugin_scoreboard_find: fn(*mut Scoreboard, c_uint) -> *mut c_void;
        qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu: fn(*mut Block, c_int, ScoreboardWord, u64);
        qemu_plugin_register_vcpu_tb_exec_cond_cb:
            fn(*mut Block, RawExecutionCallback, c_int, c_int, ScoreboardWord, u64, *mut c_void);
        qemu_plugin_get_hwaddr: fn(u32, u64) -> *mut HwAddr;
        qemu_plugin_hwaddr_is_io: fn(*const HwAddr) -> bool;
        qemu_plugin_hwaddr_phys_addr: fn(*const HwAddr) -> u64;
        qemu_plugin_hwaddr_device_name: fn(*const HwAddr) -> *const c_char;
        qemu_plugin_mem_size_shift: fn(u32) -> c_uint;
        qemu_plugin_mem_is_store: fn(u32) -> bool;
        qemu_plugin_get_registers: fn() -> *mut GArray;
        qemu_plugin_read_register: fn(*mut Register, *mut GByteArray) -> c_int;
        g_byte_array_new: fn() -> *mut GByteArray;
        g_byte_array_set_size: fn(*mut GByteArray, c_uint) -> *mut GByteArray;
        g_array_free: fn(*mut GArray, c_int) -> *mut c_char;
    }
    optional {
        // API 4 has it, but not all that call themselves so.
        qemu_plugin_mem_get_value: fn(u32) -> Value;
        // API 5.
        qemu_plugin_translate_vaddr: fn(u64, *mut u64) -> bool;
        qemu_plugin_read_memory_hwaddr: fn(u64, *mut GByteArray, usize) -> c_int;
        // Not part of the plugin interface, but exported by builds with loadable modules, as distributions make them.
        qemu_get_cpu: fn(c_int) -> *mut c_void;
        cpu_get_phys_page_debug: fn(*mut c_void, u64) -> u64;
        cpu_physical_memory_rw: fn(u64, *mut c_void, u64, bool);
        qemu_register_reset: fn(ResetCallback, *mut c_void);
        qemu_register_reset_nosnapshotload: fn(ResetCallback, *mut c_void);
    }
}

/// The callbacks of the plugin's life with the arguments that they have up to API 6.
pub struct LifeByNumber {
    /// A block is being translated.
    pub translate: unsafe extern "C" fn(u64, *mut Block),
    /// A CPU exists.
    pub vcpu_init: unsafe extern "C" fn(u64, c_uint),
    /// QEMU is leaving.
    pub exit: unsafe extern "C" fn(u64, *mut c_void),
}

/// The same with those from API 7 on.
pub struct LifeByData {
    /// A block is being translated.
    pub translate: unsafe extern "C" fn(*mut Block, *mut c_void),
    /// A CPU exists.
    pub vcpu_init: unsafe extern "C" fn(c_uint, *mut c_void),
    /// QEMU is leaving.
    pub exit: unsafe extern "C" fn(*mut c_void),
}

impl Api {
    /// The length of the descriptor of a register: handle, name, feature; API 7 appends a flag word.
    pub fn descriptor_length(&self) -> usize {
        if self.version >= API_WITH_USER_DATA { 32 } else { 24 }
    }

    /// Has the callbacks of the plugin's life called, in the form that this API version has them.
    ///
    /// # Safety
    /// Called once, while the plugin is installed under the number `id`; QEMU may call the callbacks for what they are.
    pub unsafe fn register(&self, id: u64, old: &LifeByNumber, new: &LifeByData) {
        let (translate, init, exit): (*const c_void, *const c_void, *const c_void) = if self.version >= API_WITH_USER_DATA {
            (new.translate as *const c_void, new.vcpu_init as *const c_void, new.exit as *const c_void)
        } else {
            (old.translate as *const c_void, old.vcpu_init as *const c_void, old.exit as *const c_void)
        };
        // SAFETY: the callbacks have the signatures of this API version. Older versions take no data for the first two; an argument too
        // many is ignored in the C calling conventions of the supported hosts.
        unsafe {
            (self.qemu_plugin_register_vcpu_tb_trans_cb)(id, translate, null_mut());
            (self.qemu_plugin_register_vcpu_init_cb)(id, init, null_mut());
            (self.qemu_plugin_register_atexit_cb)(id, exit, null_mut());
        }
    }

    /// Whether [`on_reset`](Self::on_reset) works in this QEMU.
    pub fn knows_resets(&self) -> bool {
        self.qemu_register_reset.is_some() && self.qemu_register_reset_nosnapshotload.is_some()
    }

    /// Has `reset` called when the machine is reset, and `any` after that, and also, alone, when a snapshot takes its place. No CPU
    /// runs meanwhile, and the thread is QEMU's main one (QEMU 10.0 to 11.1: `hw/core/reset.c`, `system/runstate.c`: `main_loop_should_exit`
    /// pauses all CPUs around `qemu_system_reset`, `load_snapshot` works on a stopped machine; handlers run in the order of their registration).
    ///
    /// # Safety
    /// Called while the plugin is installed; both accept a null pointer as data.
    pub unsafe fn on_reset(&self, reset: ResetCallback, any: ResetCallback) {
        if let (Some(register), Some(register_but_for_snapshots)) =
            (self.qemu_register_reset, self.qemu_register_reset_nosnapshotload)
        {
            // SAFETY: the main thread installs plugins, with nothing of the machine running, and the callbacks take null.
            unsafe {
                register_but_for_snapshots(reset, null_mut());
                register(any, null_mut());
            }
        }
    }

    /// Direction and length of an access.
    pub fn shape(&self, info: AccessInfo) -> AccessShape {
        // SAFETY: both are pure functions of the integer.
        let (size_shift, stores) =
            unsafe { ((self.qemu_plugin_mem_size_shift)(info.0), (self.qemu_plugin_mem_is_store)(info.0)) };
        // Atomic read-modify-writes come as a load and a store: only guests with several CPUs get them in one piece.
        AccessShape { kind: if stores { AccessKind::Store } else { AccessKind::Load }, size: 1 << size_shift }
    }

    /// Whether `Accessing::value` works in this QEMU.
    pub fn can_read_values(&self) -> bool {
        self.qemu_plugin_mem_get_value.is_some()
    }

    /// Whether `Running::translate` can work in this QEMU.
    pub fn can_translate(&self) -> bool {
        self.qemu_plugin_translate_vaddr.is_some() || (self.qemu_get_cpu.is_some() && self.cpu_get_phys_page_debug.is_some())
    }

    /// Whether `Running::physical_word` can work in this QEMU.
    pub fn can_read_physical(&self) -> bool {
        self.qemu_plugin_read_memory_hwaddr.is_some() || self.cpu_physical_memory_rw.is_some()
    }

    /// From here on, `Running::translate` is asked on this CPU's behalf.
    pub fn turn_to(&self, cpu: u32) {
        self.cpu.set(cpu as c_int);
    }

    /// Whether `Starting::turn_place` and `Starting::state` work in this QEMU.
    pub fn knows_running_cpu(&self) -> bool {
        self.qemu_get_cpu.is_some() && find(c"current_cpu").is_some()
    }

    /// Empties the buffer, for QEMU to put bytes into it.
    pub fn emptied(&self) -> *mut GByteArray {
        // SAFETY: the array is this plugin's, and no reference to its contents outlives the method that made it.
        unsafe { (self.g_byte_array_set_size)(self.buffer, 0) }
    }

    /// What QEMU has put into the buffer.
    pub fn filled(&self) -> &[u8] {
        // SAFETY: the array is this plugin's, has `len` bytes, and is changed by QEMU only when a method of this file passes it on.
        unsafe {
            let GByteArray { data, len } = *self.buffer;
            if data.is_null() { &[] } else { std::slice::from_raw_parts(data, len as usize) }
        }
    }

    /// The little-endian word that QEMU has put there; `None` if it has put less.
    pub fn filled_word(&self) -> Option<u32> {
        self.filled().first_chunk().copied().map(u32::from_le_bytes)
    }
}
