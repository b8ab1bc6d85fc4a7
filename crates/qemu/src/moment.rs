//! What QEMU is doing now, as a value, and what may be asked of QEMU while it does that.
//!
//! QEMU's functions may be called at certain times only. So they are asked of a value that says what time it is, which only the callbacks of
//! `plugin` make, and which they only lend: [`Translating`] a block, [`Starting`] a CPU, [`Running`] one, and, while one runs,
//! [`Accessing`] memory or [`Executing`] with the registers stored.
//!
//! Guarantees: who has none of these values cannot call QEMU, and who has one can ask whatever it offers, safely. None of it runs a callback.
//! Not here: what the answers mean (`cpu`, `session`).
//!
//! Unsafe, because each method here calls a foreign function at the time of which its value is the proof.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::access::{AccessInfo, AccessShape, Target};
use crate::api::{
    ADD, Api, Block, IF_NOT_EQUAL, RawExecutionCallback, RawInsn, RawMemoryCallback, Register, Registers, Scoreboard,
    ScoreboardWord, find,
};

const MEM_RW: c_int = 3;
/// What QEMU says when it could read memory.
const READ: c_int = 0;

/// What QEMU knows a CPU by: the address of its `CPUState`.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct CpuState(*const c_void);

impl CpuState {
    /// No CPU.
    pub const NONE: Self = Self(std::ptr::null());
}

/// Where QEMU says on the CPUs' thread whose turn it is. The number that callbacks receive does not say it: where CPUs take turns, it is that
/// of the CPU for which the block was translated (QEMU 10.0 to 11.1, `accel/tcg/plugin-gen.c`, `gen_cpu_index`).
#[derive(Clone, Copy)]
pub struct TurnPlace(NonNull<CpuState>);

/// A handle to a guest register that QEMU describes.
#[derive(Clone, Copy)]
pub struct Handle(*mut Register);

/// What a callback is given, in the one pointer that QEMU hands back.
pub trait Data: Copy {
    /// As that pointer.
    fn pack(self) -> usize;

    /// What [`pack`](Self::pack) was given.
    fn unpack(data: usize) -> Self;
}

/// A callback after each memory access of an instruction, and what it is given.
pub struct MemoryCallback<D> {
    function: RawMemoryCallback,
    registers: Registers,
    data: PhantomData<fn(D)>,
}

impl<D: Data> MemoryCallback<D> {
    /// The callback that `function` is.
    ///
    /// # Safety
    /// QEMU may call `function` after any access, with registers as said, and with a packed `D`.
    pub const unsafe fn new(function: RawMemoryCallback, registers: Registers) -> Self {
        Self { function, registers, data: PhantomData }
    }
}

/// A callback before each execution of an instruction, or of a block, and what it is given.
pub struct ExecutionCallback<D> {
    function: RawExecutionCallback,
    registers: Registers,
    data: PhantomData<fn(D)>,
}

impl<D: Data> ExecutionCallback<D> {
    /// The callback that `function` is.
    ///
    /// # Safety
    /// QEMU may call `function` before anything runs, with registers as said, and with a packed `D`.
    pub const unsafe fn new(function: RawExecutionCallback, registers: Registers) -> Self {
        Self { function, registers, data: PhantomData }
    }
}

/// A block is being translated.
pub struct Translating {
    api: &'static Api,
    block: *mut Block,
}

impl Translating {
    /// Says so.
    ///
    /// # Safety
    /// `block` is the argument of the translation callback that runs as long as this value is there.
    pub unsafe fn new(api: &'static Api, block: *mut Block) -> Self {
        Self { api, block }
    }

    /// The instructions of the block, in order.
    pub fn instructions(&self) -> impl Iterator<Item = Insn<'_>> {
        // SAFETY: the block is being translated.
        let count = unsafe { (self.api.qemu_plugin_tb_n_insns)(self.block) };
        // SAFETY: as for the number, below which the index is.
        (0..count).map(|index| Insn { of: self, raw: unsafe { (self.api.qemu_plugin_tb_get_insn)(self.block, index) } })
    }

    /// Has `callback` called at each start of the block, unless the word of `marks` at `place` is the block's mark, which is `data`.
    pub fn on_unmarked_start<D: Data>(&self, callback: &ExecutionCallback<D>, data: D, marks: &Marks, place: usize) {
        let (function, registers, data) = (callback.function, callback.registers as c_int, data.pack());
        let word = |offset| ScoreboardWord { scoreboard: marks.scoreboard, offset };
        // SAFETY: the block is being translated, the callback is what it says, and the words are within an element of the scoreboard.
        unsafe {
            (self.api.qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu)(self.block, ADD, word(Marks::STARTS), 1);
            let (entry, mark) = (word(Marks::offset(place)), data as u64);
            (self.api.qemu_plugin_register_vcpu_tb_exec_cond_cb)(
                self.block,
                function,
                registers,
                IF_NOT_EQUAL,
                entry,
                mark,
                data as *mut c_void,
            );
        }
    }

    /// Has `callback` called at each start of the block.
    pub fn on_start<D: Data>(&self, callback: &ExecutionCallback<D>, data: D) {
        let (function, registers) = (callback.function, callback.registers as c_int);
        // SAFETY: the block is being translated, and the callback is what it says.
        unsafe { (self.api.qemu_plugin_register_vcpu_tb_exec_cb)(self.block, function, registers, data.pack() as *mut c_void) };
    }
}

/// Words that generated code compares with a block's mark before it calls for the block, and how many such blocks have started: of a guest
/// with one CPU.
pub struct Marks {
    scoreboard: *mut Scoreboard,
    words: NonNull<u64>,
}

impl Marks {
    /// How many there are: a power of two.
    pub const COUNT: usize = 1 << 14;
    /// Where the number of starts is, in bytes; the marks follow it.
    const STARTS: usize = 0;
    const WORDS: usize = 1 + Self::COUNT;

    const fn offset(place: usize) -> usize {
        size_of::<u64>() * (1 + place % Self::COUNT)
    }

    /// Sets the mark at a place, which counts modulo [`COUNT`](Self::COUNT). No block has mark zero.
    #[inline]
    pub fn set(&mut self, place: usize, mark: u64) {
        // SAFETY: the place is within the words, which are looked at by the CPUs' thread only.
        unsafe { self.words.add(1 + place % Self::COUNT).write(mark) };
    }

    /// How many blocks that are compared have started.
    pub fn starts(&self) -> u64 {
        // SAFETY: it is the first of the words, which are changed by the CPUs' thread only.
        unsafe { self.words.read() }
    }

    /// Marks that no generated code looks at.
    #[cfg(test)]
    pub fn of_nobody() -> Self {
        let words = Box::leak(vec![0u64; Self::WORDS].into_boxed_slice());
        Self { scoreboard: std::ptr::null_mut(), words: NonNull::from(words).cast() }
    }

    /// The mark at a place.
    #[cfg(test)]
    pub fn get(&self, place: usize) -> u64 {
        // SAFETY: the place is within the words.
        unsafe { self.words.add(1 + place % Self::COUNT).read() }
    }
}

/// An instruction of a block that is being translated.
pub struct Insn<'a> {
    of: &'a Translating,
    raw: *mut RawInsn,
}

impl Insn<'_> {
    /// Pages of memory are no smaller than this on any guest.
    const PAGE: u64 = 4096;

    /// Its address.
    pub fn address(&self) -> u64 {
        // SAFETY: its block is being translated; so in the methods below.
        unsafe { (self.of.api.qemu_plugin_insn_vaddr)(self.raw) }
    }

    /// Its bytes, at most four, with their number.
    pub fn bytes(&self) -> ([u8; 4], usize) {
        let mut bytes = [0; 4];
        // SAFETY: its block is being translated; the buffer has the length that is passed.
        let len = unsafe { (self.of.api.qemu_plugin_insn_data)(self.raw, bytes.as_mut_ptr().cast(), bytes.len()) };
        (bytes, len.min(4))
    }

    /// How many bytes it has.
    pub fn length(&self) -> u32 {
        // SAFETY: its block is being translated.
        unsafe { (self.of.api.qemu_plugin_insn_size)(self.raw) as u32 }
    }

    /// The four bytes of memory that begin `distance` bytes before it; `None` if they are on another page, or it does not lie in memory.
    pub fn bytes_before(&self, distance: usize) -> Option<[u8; 4]> {
        if distance < 4 || self.address() % Self::PAGE < distance as u64 {
            return None;
        }
        // SAFETY: its block is being translated. The pointer is into the guest's memory, where the bytes of a page stand together, and what
        // is read begins on the page of the instruction and ends before it.
        unsafe {
            let host = (self.of.api.qemu_plugin_insn_haddr)(self.raw).cast::<u8>();
            (!host.is_null()).then(|| host.sub(distance).cast::<[u8; 4]>().read())
        }
    }

    /// Has `callback` called after each memory access of it.
    pub fn on_memory<D: Data>(&self, callback: &MemoryCallback<D>, data: D) {
        let (function, registers, data) = (callback.function, callback.registers as c_int, data.pack() as *mut c_void);
        // SAFETY: its block is being translated, and the callback is what it says.
        unsafe { (self.of.api.qemu_plugin_register_vcpu_mem_cb)(self.raw, function, registers, MEM_RW, data) };
    }

    /// Has `callback` called before each execution of it.
    pub fn on_execution<D: Data>(&self, callback: &ExecutionCallback<D>, data: D) {
        let (function, registers, data) = (callback.function, callback.registers as c_int, data.pack() as *mut c_void);
        // SAFETY: its block is being translated, and the callback is what it says.
        unsafe { (self.of.api.qemu_plugin_register_vcpu_insn_exec_cb)(self.raw, function, registers, data) };
    }
}

/// A CPU runs: one of its callbacks does, on its thread.
pub struct Running {
    api: &'static Api,
}

impl Running {
    /// Says so.
    ///
    /// # Safety
    /// A callback runs on the CPUs' thread as long as this value is there.
    #[inline]
    pub unsafe fn new(api: &'static Api) -> Self {
        Self { api }
    }

    /// Whose turn it is.
    #[inline]
    pub fn turn(&self, place: TurnPlace) -> CpuState {
        // SAFETY: the variable is that of the CPUs' thread, which this is, and lives as long as it.
        unsafe { place.0.read() }
    }

    /// The physical address that `vaddr` translates to on the CPU that runs, `None` if it is not mapped now.
    pub fn translate(&self, vaddr: u64) -> Option<u64> {
        if let Some(translate) = self.api.qemu_plugin_translate_vaddr {
            let mut physical = 0;
            // SAFETY: a CPU runs, and the result is this function's.
            return unsafe { translate(vaddr, &mut physical) }.then_some(physical);
        }
        const PAGE: u64 = 0xfff;
        // SAFETY: the number is that of a CPU that runs and therefore exists.
        unsafe {
            let page = (self.api.cpu_get_phys_page_debug?)((self.api.qemu_get_cpu?)(self.api.cpu.get()), vaddr & !PAGE);
            (page != u64::MAX).then_some(page & !PAGE | vaddr & PAGE)
        }
    }

    /// The little-endian word at a physical address, `None` if it cannot be read.
    pub fn physical_word(&self, address: u64) -> Option<u32> {
        if let Some(read) = self.api.qemu_plugin_read_memory_hwaddr {
            // SAFETY: a CPU runs, and the array is this plugin's.
            return (unsafe { read(address, self.api.emptied(), 4) } == READ).then(|| self.api.filled_word()).flatten();
        }
        let mut bytes = [0u8; 4];
        // SAFETY: a CPU runs, and the buffer has the length that is passed.
        unsafe { (self.api.cpu_physical_memory_rw?)(address, bytes.as_mut_ptr().cast(), 4, false) };
        Some(u32::from_le_bytes(bytes))
    }

    /// Reads memory from a physical address on; `false` if it cannot be read.
    pub fn physical_bytes(&self, address: u64, to: &mut [u8]) -> bool {
        if let Some(read) = self.api.qemu_plugin_read_memory_hwaddr {
            // SAFETY: a CPU runs, and the array is this plugin's.
            let done = unsafe { read(address, self.api.emptied(), to.len()) } == READ && self.api.filled().len() == to.len();
            if done {
                to.copy_from_slice(self.api.filled());
            }
            return done;
        }
        let Some(read) = self.api.cpu_physical_memory_rw else { return false };
        // SAFETY: a CPU runs, and the buffer has the length that is passed.
        unsafe { read(address, to.as_mut_ptr().cast(), to.len() as u64, false) };
        true
    }
}

/// A CPU that runs has just accessed memory.
pub struct Accessing {
    running: Running,
    info: AccessInfo,
}

impl Accessing {
    /// Says so.
    ///
    /// # Safety
    /// The memory callback of the access that `info` describes runs as long as this value is there.
    pub unsafe fn new(api: &'static Api, info: AccessInfo) -> Self {
        Self { running: Running { api }, info }
    }

    /// What QEMU packs of it into an integer.
    pub fn info(&self) -> AccessInfo {
        self.info
    }

    /// Its direction and length.
    pub fn shape(&self) -> AccessShape {
        self.api.shape(self.info)
    }

    /// The low 32 bits of what it moved, if this QEMU tells.
    pub fn value(&self) -> Option<u32> {
        // SAFETY: the callback of this access runs.
        self.api.qemu_plugin_mem_get_value.map(|value| unsafe { value(self.info.0) }.bytes[0] as u32)
    }

    /// Where it went at this address, which is one of its bytes; `None` if QEMU does not know.
    pub fn target(&self, vaddr: u64) -> Option<Target> {
        // SAFETY: the callback of this access runs; the handle stays valid until the next query on this thread.
        unsafe {
            let handle = (self.api.qemu_plugin_get_hwaddr)(self.info.0, vaddr);
            if handle.is_null() {
                None
            } else if (self.api.qemu_plugin_hwaddr_is_io)(handle) {
                Some(Target::Device((self.api.qemu_plugin_hwaddr_phys_addr)(handle)))
            } else {
                Some(Target::Memory((self.api.qemu_plugin_hwaddr_phys_addr)(handle)))
            }
        }
    }

    /// The name of the device that it went to.
    pub fn device_name(&self, vaddr: u64) -> Option<String> {
        // SAFETY: the callback of this access runs; the name is a string that QEMU keeps.
        unsafe {
            let handle = (self.api.qemu_plugin_get_hwaddr)(self.info.0, vaddr);
            let name = if handle.is_null() { std::ptr::null() } else { (self.api.qemu_plugin_hwaddr_device_name)(handle) };
            (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
        }
    }
}

impl Deref for Accessing {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// A pointer to the CPU state of the guest, as generated code holds it in a host register and passes it to callbacks (see `plugin`).
///
/// None is made from anything else, and it stays good: no CPU of the supported machines can be unplugged.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Environment(NonNull<u32>);

impl Environment {
    /// A word of the CPU state, whoever runs on this thread.
    #[inline]
    pub fn word(self, at: StateWord, _now: &Running) -> u32 {
        // SAFETY: the CPU state is there as long as its CPU and has that word. It is changed by generated code and by QEMU on this thread
        // only, which runs a callback now.
        unsafe { self.0.add(at.0).read() }
    }
}

/// A place in the CPU state, in words from its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateWord(usize);

impl StateWord {
    /// The CPU state of every supported guest has more words than this (QEMU's `target/{mips,arm,sh4,hppa}/cpu.h`).
    const MOST: usize = 256;

    /// The place that is so many words from the start.
    ///
    /// # Panics
    /// If it is so far away that it could lie outside.
    #[inline]
    pub const fn new(words: usize) -> Self {
        assert!(words < Self::MOST);
        Self(words)
    }

    /// How many words from the start: for CPU states that are made for tests.
    #[cfg(test)]
    pub fn words(self) -> usize {
        self.0
    }
}

/// A CPU runs whose registers are stored where they can be read.
pub struct Executing {
    running: Running,
    environment: Environment,
}

impl Executing {
    /// Says so.
    ///
    /// # Safety
    /// A callback that reads registers runs as long as this value is there, and has received `environment`.
    #[inline]
    pub unsafe fn new(api: &'static Api, environment: Environment) -> Self {
        Self { running: Running { api }, environment }
    }

    /// The CPU state, which can be looked at again while the CPU runs.
    #[inline]
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// A word of the CPU state.
    #[inline]
    pub fn word(&self, at: StateWord) -> u32 {
        self.environment.word(at, self)
    }

    /// The low 32 bits of a register that QEMU describes, `None` if it does not give it.
    pub fn register(&self, handle: Handle) -> Option<u32> {
        value_of(handle, self.api)
    }
}

impl Deref for Executing {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// A CPU exists now and is about to run for the first time.
pub struct Starting {
    api: &'static Api,
    number: u32,
}

impl Starting {
    /// Says so.
    ///
    /// # Safety
    /// The initialisation callback of the CPU of this number runs as long as this value is there, on the thread that will run the CPU.
    pub unsafe fn new(api: &'static Api, number: u32) -> Self {
        Self { api, number }
    }

    /// The number of the CPU.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What QEMU knows the CPU by.
    pub fn state(&self) -> Option<CpuState> {
        // SAFETY: any number may be asked for; one without a CPU gives null.
        let state = self.api.qemu_get_cpu.map(|get| unsafe { get(self.number as c_int) })?;
        (!state.is_null()).then_some(CpuState(state))
    }

    /// Marks for this CPU, which is to be the only one; they stay as long as QEMU.
    pub fn marks(&self) -> Option<Marks> {
        // SAFETY: a scoreboard has an element of the length that is passed for every CPU that exists, and does not move as long as there is
        // no other.
        unsafe {
            let scoreboard = (self.api.qemu_plugin_scoreboard_new)(Marks::WORDS * size_of::<u64>());
            let words = (self.api.qemu_plugin_scoreboard_find)(scoreboard, self.number);
            NonNull::new(words.cast()).map(|words| Marks { scoreboard, words })
        }
    }

    /// Where QEMU says on this thread whose turn it is.
    pub fn turn_place(&self) -> Option<TurnPlace> {
        find(c"current_cpu").and_then(|place| NonNull::new(place.cast())).map(TurnPlace)
    }

    /// The names and handles of the guest's registers; empty for guests whose registers QEMU does not describe.
    pub fn registers(&self) -> Vec<(String, Handle)> {
        let stride = self.api.descriptor_length();
        // SAFETY: a CPU is being initialised; the array holds `len` descriptors of `stride` bytes whose first two members are the handle
        // and the name, and is the caller's to free.
        unsafe {
            let array = (self.api.qemu_plugin_get_registers)();
            if array.is_null() {
                return Vec::new();
            }
            let found = (0..(*array).len as usize)
                .map(|index| {
                    let descriptor = (*array).data.add(index * stride).cast::<*mut c_void>();
                    let name = descriptor.add(1).read().cast::<c_char>();
                    (CStr::from_ptr(name).to_string_lossy().into_owned(), Handle(descriptor.read().cast()))
                })
                .collect();
            (self.api.g_array_free)(array, 1);
            found
        }
    }

    /// The low 32 bits of a register, `None` if QEMU does not give it.
    pub fn register(&self, handle: Handle) -> Option<u32> {
        value_of(handle, self.api)
    }
}

/// What a register holds, which only [`Starting`] and [`Executing`] may ask.
fn value_of(handle: Handle, api: &Api) -> Option<u32> {
    // SAFETY: the handle is QEMU's, which has stored the registers of the CPU of this thread; the array is this plugin's.
    unsafe { (api.qemu_plugin_read_register)(handle.0, api.emptied()) };
    api.filled_word()
}
