//! The part of QEMU's plugin interface that Congruent uses, bound at run time.
//!
//! Every function is looked up in the running process instead of being linked, so that one shared object serves QEMU 10.0
//! (plugin API 4) and 11.1 (API 7), and a missing function is a sentence instead of a loader error. The declarations follow
//! QEMU's `include/plugins/qemu-plugin.h` (versions 10.0 and 11.1).
//!
//! Guarantees: a [`Api`] exists only when every function that it cannot do without was found.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::transmute_copy;

use congruent_trace::AccessKind;

/// An instruction of a block under translation; valid only inside the translation callback.
#[repr(C)]
pub struct Insn {
    _opaque: [u8; 0],
}

/// A block under translation; valid only inside the translation callback.
#[repr(C)]
pub struct Block {
    _opaque: [u8; 0],
}

/// A handle to a guest register.
#[repr(C)]
pub struct Register {
    _opaque: [u8; 0],
}

/// The result of a physical address query; valid until the next one.
#[repr(C)]
pub struct HwAddr {
    _opaque: [u8; 0],
}

/// GLib's byte array, of which only the public part is declared.
#[repr(C)]
pub struct GByteArray {
    data: *mut u8,
    len: c_uint,
}

/// GLib's array, of which only the public part is declared.
#[repr(C)]
struct GArray {
    data: *mut c_char,
    len: c_uint,
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

fn find(name: &CStr) -> Option<*mut c_void> {
    unsafe extern "C" {
        fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    }
    // SAFETY: a null handle is RTLD_DEFAULT on Linux; the name is NUL-terminated.
    let address = unsafe { dlsym(std::ptr::null_mut(), name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// What QEMU knows a CPU by: the address of its `CPUState`.
pub type CpuState = *const c_void;

/// Called after a guest memory access.
pub type MemCallback = unsafe extern "C" fn(vcpu: c_uint, info: u32, vaddr: u64, data: *mut c_void);
/// Called before a guest instruction, or at the start of a block.
pub type ExecCallback = unsafe extern "C" fn(vcpu: c_uint, data: *mut c_void);

/// Called while the machine is reset.
pub type ResetCallback = unsafe extern "C" fn(data: *mut c_void);

const MEM_RW: c_int = 3;

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
        #[derive(Clone, Copy)]
        pub struct Api {
            version: i32,
            /// The CPU that runs.
            cpu: c_int,
            $( $required: unsafe extern "C" fn($($rarg),*) $(-> $rret)?, )*
            $( $optional: Option<unsafe extern "C" fn($($oarg),*) $(-> $oret)?>, )*
        }

        impl Api {
            /// Binds the functions of the QEMU that this code runs in; `version` is its plugin API.
            ///
            /// # Errors
            /// The name of a function that is missing.
            pub fn bind(version: i32) -> Result<Self, &'static str> {
                Ok(Self {
                    version,
                    cpu: 0,
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
                        // SAFETY: as above.
                        address.map(|address| unsafe {
                            transmute_copy::<*mut c_void, unsafe extern "C" fn($($oarg),*) $(-> $oret)?>(&address)
                        })
                    }, )*
                })
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
        qemu_plugin_tb_get_insn: fn(*const Block, usize) -> *mut Insn;
        qemu_plugin_insn_data: fn(*const Insn, *mut c_void, usize) -> usize;
        qemu_plugin_insn_vaddr: fn(*const Insn) -> u64;
        qemu_plugin_insn_size: fn(*const Insn) -> usize;
        qemu_plugin_insn_haddr: fn(*const Insn) -> *const c_void;
        qemu_plugin_register_vcpu_mem_cb: fn(*mut Insn, MemCallback, c_int, c_int, *mut c_void);
        qemu_plugin_register_vcpu_insn_exec_cb: fn(*mut Insn, ExecCallback, c_int, *mut c_void);
        qemu_plugin_register_vcpu_tb_exec_cb: fn(*mut Block, ExecCallback, c_int, *mut c_void);
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

/// A guest memory access as QEMU packs it into an integer.
#[derive(Clone, Copy)]
pub struct AccessInfo(pub u32);

/// The bytes of an access, as QEMU returns them: a word for the length, then up to sixteen bytes of which the low ones come first.
#[derive(Clone, Copy)]
#[repr(C)]
struct Value {
    length: c_int,
    bytes: [u64; 2],
}

/// What an [`AccessInfo`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AccessShape {
    /// Whether bytes are read or written.
    pub kind: AccessKind,
    /// log2 of the length in bytes.
    pub size_shift: u32,
}

impl AccessShape {
    const PRESENT: u8 = 0x80;
    const STORE: u8 = 0x40;
    const SIZE: u8 = 0x1f;

    /// The shape in one byte that is never zero.
    pub fn pack(self) -> u8 {
        let store = if self.kind == AccessKind::Store { Self::STORE } else { 0 };
        Self::PRESENT | store | (self.size_shift as u8 & Self::SIZE)
    }

    /// The shape in a byte, `None` for zero.
    #[inline]
    pub fn unpack(packed: u8) -> Option<Self> {
        let kind = if packed & Self::STORE != 0 { AccessKind::Store } else { AccessKind::Load };
        (packed != 0).then_some(Self { kind, size_shift: u32::from(packed & Self::SIZE) })
    }
}

/// Where an access went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Memory, at this physical address.
    Memory(u64),
    /// A device, at this physical address.
    Device(u64),
}

impl Api {
    /// Registers the callbacks of the plugin's life: translation of blocks, a CPU's start, QEMU's end.
    ///
    /// Their arguments differ between versions; [`Handlers`] hides that.
    pub fn register(&self, id: u64) {
        let (translate, init, exit): (*const c_void, *const c_void, *const c_void) = if self.version >= API_WITH_USER_DATA {
            (new_style::translate as *const c_void, new_style::vcpu_init as *const c_void, new_style::exit as *const c_void)
        } else {
            (old_style::translate as *const c_void, old_style::vcpu_init as *const c_void, old_style::exit as *const c_void)
        };
        let none = std::ptr::null_mut();
        // SAFETY: the callbacks have the signatures of this API version; older versions ignore the extra argument of the
        // first two, which the C calling conventions of the supported hosts permit.
        unsafe {
            (self.qemu_plugin_register_vcpu_tb_trans_cb)(id, translate, none);
            (self.qemu_plugin_register_vcpu_init_cb)(id, init, none);
            (self.qemu_plugin_register_atexit_cb)(id, exit, none);
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
            // SAFETY: by this function's contract.
            unsafe {
                register_but_for_snapshots(reset, std::ptr::null_mut());
                register(any, std::ptr::null_mut());
            }
        }
    }

    /// The instructions of a block, in order.
    ///
    /// # Safety
    /// `block` is the argument of the running translation callback.
    pub unsafe fn instructions(&self, block: *const Block) -> impl Iterator<Item = *mut Insn> + use<'_> {
        // SAFETY: by this function's contract.
        let count = unsafe { (self.qemu_plugin_tb_n_insns)(block) };
        // SAFETY: as above, and the index is below the count.
        (0..count).map(move |index| unsafe { (self.qemu_plugin_tb_get_insn)(block, index) })
    }

    /// The address and the bytes of an instruction (at most four) with their number.
    ///
    /// # Safety
    /// `insn` came from [`instructions`](Self::instructions) in the running translation callback.
    pub unsafe fn fetch(&self, insn: *const Insn) -> (u64, [u8; 4], usize) {
        let mut bytes = [0; 4];
        // SAFETY: by this function's contract; the buffer has the length that is passed.
        let len = unsafe { (self.qemu_plugin_insn_data)(insn, bytes.as_mut_ptr().cast(), bytes.len()) };
        // SAFETY: by this function's contract.
        (unsafe { (self.qemu_plugin_insn_vaddr)(insn) }, bytes, len.min(4))
    }

    /// How many bytes an instruction has.
    ///
    /// # Safety
    /// As [`fetch`](Self::fetch).
    pub unsafe fn length(&self, insn: *const Insn) -> u32 {
        // SAFETY: by this function's contract.
        unsafe { (self.qemu_plugin_insn_size)(insn) as u32 }
    }

    /// The four bytes of memory that begin `distance` bytes before an instruction; `None` if it does not lie in memory.
    ///
    /// # Safety
    /// As [`fetch`](Self::fetch); those bytes are on the same page of memory as the instruction.
    pub unsafe fn bytes_before(&self, insn: *const Insn, distance: usize) -> Option<[u8; 4]> {
        // SAFETY: by this function's contract. The pointer is into the guest's memory, of which pages are contiguous.
        unsafe {
            let host = (self.qemu_plugin_insn_haddr)(insn).cast::<u8>();
            (!host.is_null()).then(|| host.sub(distance).cast::<[u8; 4]>().read())
        }
    }

    /// Has `callback` called after each memory access of `insn`.
    ///
    /// # Safety
    /// As [`fetch`](Self::fetch); `callback` accepts `data`.
    pub unsafe fn on_memory(&self, insn: *mut Insn, callback: MemCallback, registers: Registers, data: usize) {
        // SAFETY: by this function's contract.
        unsafe { (self.qemu_plugin_register_vcpu_mem_cb)(insn, callback, registers as c_int, MEM_RW, data as *mut c_void) };
    }

    /// Has `callback` called before each execution of `insn`.
    ///
    /// # Safety
    /// As [`on_memory`](Self::on_memory).
    pub unsafe fn on_execution(&self, insn: *mut Insn, callback: ExecCallback, registers: Registers, data: usize) {
        // SAFETY: by this function's contract.
        unsafe { (self.qemu_plugin_register_vcpu_insn_exec_cb)(insn, callback, registers as c_int, data as *mut c_void) };
    }

    /// Has `callback` called at each start of `block`.
    ///
    /// # Safety
    /// As [`on_memory`](Self::on_memory).
    pub unsafe fn on_block(&self, block: *mut Block, callback: ExecCallback, registers: Registers, data: usize) {
        // SAFETY: by this function's contract.
        unsafe { (self.qemu_plugin_register_vcpu_tb_exec_cb)(block, callback, registers as c_int, data as *mut c_void) };
    }

    /// Direction and length of an access.
    pub fn shape(&self, info: AccessInfo) -> AccessShape {
        // SAFETY: both are pure functions of the integer.
        let (size_shift, stores) =
            unsafe { ((self.qemu_plugin_mem_size_shift)(info.0), (self.qemu_plugin_mem_is_store)(info.0)) };
        // Atomic read-modify-writes come as a load and a store: only guests with several CPUs get them in one piece.
        AccessShape { kind: if stores { AccessKind::Store } else { AccessKind::Load }, size_shift }
    }

    /// Whether [`value`](Self::value) works in this QEMU.
    pub fn can_read_values(&self) -> bool {
        self.qemu_plugin_mem_get_value.is_some()
    }

    /// The low 32 bits of what the access that a memory callback reports moved.
    ///
    /// # Safety
    /// Called from that memory callback.
    pub unsafe fn value(&self, info: AccessInfo) -> Option<u32> {
        // SAFETY: by this function's contract.
        self.qemu_plugin_mem_get_value.map(|value| unsafe { value(info.0) }.bytes[0] as u32)
    }

    /// Where the access that a memory callback reports went, or `None` if QEMU does not know.
    ///
    /// # Safety
    /// Called from that memory callback, with an address of that access.
    pub unsafe fn target(&self, info: AccessInfo, vaddr: u64) -> Option<Target> {
        // SAFETY: by this function's contract; the handle stays valid until the next query on this thread.
        unsafe {
            let handle = (self.qemu_plugin_get_hwaddr)(info.0, vaddr);
            if handle.is_null() {
                None
            } else if (self.qemu_plugin_hwaddr_is_io)(handle) {
                Some(Target::Device((self.qemu_plugin_hwaddr_phys_addr)(handle)))
            } else {
                Some(Target::Memory((self.qemu_plugin_hwaddr_phys_addr)(handle)))
            }
        }
    }

    /// The name of the device that the access of the running memory callback went to.
    ///
    /// # Safety
    /// As [`target`](Self::target), which said that it was a device.
    pub unsafe fn device_name(&self, info: AccessInfo, vaddr: u64) -> Option<String> {
        // SAFETY: by this function's contract; the name is a string that QEMU keeps.
        unsafe {
            let handle = (self.qemu_plugin_get_hwaddr)(info.0, vaddr);
            let name = if handle.is_null() { std::ptr::null() } else { (self.qemu_plugin_hwaddr_device_name)(handle) };
            (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
        }
    }

    /// Whether [`translate`](Self::translate) can work in this QEMU.
    pub fn can_translate(&self) -> bool {
        self.qemu_plugin_translate_vaddr.is_some() || (self.qemu_get_cpu.is_some() && self.cpu_get_phys_page_debug.is_some())
    }

    /// From here on, [`translate`](Self::translate) is called on this CPU's behalf.
    pub fn turn_to(&mut self, cpu: u32) {
        self.cpu = cpu as c_int;
    }

    /// Whether [`running_cpu`](Self::running_cpu) and [`cpu_state`](Self::cpu_state) work in this QEMU.
    pub fn knows_running_cpu(&self) -> bool {
        self.qemu_get_cpu.is_some() && find(c"current_cpu").is_some()
    }

    /// Where QEMU says on this thread whose turn it is, as a [state](Self::cpu_state). The number that callbacks receive does not say it:
    /// where CPUs take turns, it is that of the CPU for which the block was translated (QEMU 10.0 to 11.1, `accel/tcg/plugin-gen.c`,
    /// `gen_cpu_index`).
    pub fn running_cpu(&self) -> Option<*const CpuState> {
        find(c"current_cpu").map(|place| place.cast_const().cast())
    }

    /// What QEMU knows a CPU by.
    ///
    /// # Safety
    /// Called from a callback.
    pub unsafe fn cpu_state(&self, cpu: u32) -> Option<CpuState> {
        // SAFETY: by this function's contract; a number without a CPU gives null.
        self.qemu_get_cpu.map(|get| unsafe { get(cpu as c_int) }.cast_const()).filter(|state| !state.is_null())
    }

    /// The physical address that `vaddr` translates to on the CPU that runs, `None` if it is not mapped now.
    ///
    /// # Safety
    /// Called from a callback on that CPU's thread.
    pub unsafe fn translate(&self, vaddr: u64) -> Option<u64> {
        if let Some(translate) = self.qemu_plugin_translate_vaddr {
            let mut physical = 0;
            // SAFETY: by this function's contract.
            return unsafe { translate(vaddr, &mut physical) }.then_some(physical);
        }
        const PAGE: u64 = 0xfff;
        // SAFETY: by this function's contract; a CPU exists while a callback runs on it.
        unsafe {
            let page = (self.cpu_get_phys_page_debug?)((self.qemu_get_cpu?)(self.cpu), vaddr & !PAGE);
            (page != u64::MAX).then_some(page & !PAGE | vaddr & PAGE)
        }
    }

    /// Whether [`Reader::physical_word`] can work in this QEMU.
    pub fn can_read_physical(&self) -> bool {
        self.qemu_plugin_read_memory_hwaddr.is_some() || self.cpu_physical_memory_rw.is_some()
    }
}

/// Reads guest registers and memory; owns the buffer that QEMU's interface wants.
pub struct Reader {
    api: Api,
    buffer: *mut GByteArray,
}

impl Reader {
    /// A reader over `api`.
    pub fn new(api: Api) -> Self {
        // SAFETY: a plain constructor; the array is never freed, as the reader lives as long as QEMU.
        Self { api, buffer: unsafe { (api.g_byte_array_new)() } }
    }

    /// The names and handles of the guest's registers; empty for guests whose registers QEMU does not describe.
    ///
    /// # Safety
    /// Called from the vCPU initialisation callback.
    pub unsafe fn registers(&self) -> Vec<(String, *mut Register)> {
        // The descriptor: handle, name, feature; API 7 appends a flag word.
        let stride = if self.api.version >= API_WITH_USER_DATA { 32 } else { 24 };
        // SAFETY: by this function's contract; the array holds `len` descriptors of `stride` bytes whose first two members
        // are the handle and the name.
        unsafe {
            let array = (self.api.qemu_plugin_get_registers)();
            if array.is_null() {
                return Vec::new();
            }
            let found = (0..(*array).len as usize)
                .map(|index| {
                    let descriptor = (*array).data.add(index * stride).cast::<*mut c_void>();
                    let name = descriptor.add(1).read().cast::<c_char>();
                    (CStr::from_ptr(name).to_string_lossy().into_owned(), descriptor.read().cast())
                })
                .collect();
            (self.api.g_array_free)(array, 1);
            found
        }
    }

    /// The low 32 bits of a register, `None` if QEMU does not give it.
    ///
    /// # Safety
    /// Called from a callback on the CPU's thread that was registered with [`Registers::Read`].
    pub unsafe fn register(&mut self, handle: *mut Register) -> Option<u32> {
        // SAFETY: by this function's contract; the handle came from `registers`.
        unsafe {
            (self.api.g_byte_array_set_size)(self.buffer, 0);
            (self.api.qemu_plugin_read_register)(handle, self.buffer);
        }
        self.word()
    }

    /// The little-endian word at a physical address, `None` if it cannot be read.
    ///
    /// # Safety
    /// Called from a callback on the CPU's thread.
    pub unsafe fn physical_word(&mut self, address: u64) -> Option<u32> {
        const SUCCESS: c_int = 0;
        if let Some(read) = self.api.qemu_plugin_read_memory_hwaddr {
            // SAFETY: by this function's contract.
            unsafe {
                (self.api.g_byte_array_set_size)(self.buffer, 0);
                if read(address, self.buffer, 4) != SUCCESS {
                    return None;
                }
            }
            return self.word();
        }
        let mut bytes = [0u8; 4];
        // SAFETY: by this function's contract; the buffer has the length that is passed.
        unsafe { (self.api.cpu_physical_memory_rw?)(address, bytes.as_mut_ptr().cast(), 4, false) };
        Some(u32::from_le_bytes(bytes))
    }

    /// Reads memory from a physical address on; `false` if it cannot be read.
    ///
    /// # Safety
    /// Called from a callback on the CPU's thread.
    pub unsafe fn physical_bytes(&mut self, address: u64, to: &mut [u8]) -> bool {
        const SUCCESS: c_int = 0;
        if let Some(read) = self.api.qemu_plugin_read_memory_hwaddr {
            // SAFETY: by this function's contract; nothing else refers to the contents of the array, which is ours.
            unsafe {
                (self.api.g_byte_array_set_size)(self.buffer, 0);
                if read(address, self.buffer, to.len()) != SUCCESS || (*self.buffer).len as usize != to.len() {
                    return false;
                }
                to.copy_from_slice(std::slice::from_raw_parts((*self.buffer).data, to.len()));
            }
            return true;
        }
        let Some(read) = self.api.cpu_physical_memory_rw else { return false };
        // SAFETY: by this function's contract; the buffer has the length that is passed.
        unsafe { read(address, to.as_mut_ptr().cast(), to.len() as u64, false) };
        true
    }

    fn word(&self) -> Option<u32> {
        // SAFETY: the array is ours and nothing else refers to its contents now.
        let bytes = unsafe {
            let array = &*self.buffer;
            if array.len < 4 {
                return None;
            }
            std::slice::from_raw_parts(array.data, 4)
        };
        bytes.try_into().ok().map(u32::from_le_bytes)
    }
}

/// What the plugin does at the three moments of its life, whatever the API version.
pub mod handlers {
    pub use crate::plugin::{exit, translate, vcpu_init};
}

mod old_style {
    use super::{Block, c_uint, c_void, handlers};

    pub unsafe extern "C" fn translate(_id: u64, block: *mut Block) {
        // SAFETY: QEMU calls this with a block under translation.
        unsafe { handlers::translate(block) };
    }

    pub unsafe extern "C" fn vcpu_init(_id: u64, vcpu: c_uint) {
        // SAFETY: QEMU calls this when a CPU starts.
        unsafe { handlers::vcpu_init(vcpu) };
    }

    pub unsafe extern "C" fn exit(_id: u64, _data: *mut c_void) {
        // SAFETY: QEMU calls this when it leaves.
        unsafe { handlers::exit() };
    }
}

mod new_style {
    use super::{Block, c_uint, c_void, handlers};

    pub unsafe extern "C" fn translate(block: *mut Block, _data: *mut c_void) {
        // SAFETY: QEMU calls this with a block under translation.
        unsafe { handlers::translate(block) };
    }

    pub unsafe extern "C" fn vcpu_init(vcpu: c_uint, _data: *mut c_void) {
        // SAFETY: QEMU calls this when a CPU starts.
        unsafe { handlers::vcpu_init(vcpu) };
    }

    pub unsafe extern "C" fn exit(_data: *mut c_void) {
        // SAFETY: QEMU calls this when it leaves.
        unsafe { handlers::exit() };
    }
}
