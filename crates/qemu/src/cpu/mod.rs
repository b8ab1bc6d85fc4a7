//! The guest's processor as a check needs it while it runs: registers, translations, attributes. One file per architecture.
//!
//! `guest/` says what instructions mean, from their bytes alone; this says what their operands hold now.

mod arm;
mod hppa;
mod mips;
mod sh4;

use congruent_geometry::{CacheGeometry, PhysAddr};
use congruent_trace::{IndexForm, Maintenance, Scope};

use crate::api::{Api, Reader, Register};
use crate::guest::Meaning;
use crate::guest::flow::Flow;
use crate::registers::Environment;

pub use arm::Arm;
pub use hppa::Hppa;
pub use mips::Mips;
pub use sh4::Sh4;

/// Why judging cannot go on with this guest in this QEMU; a sentence with the remedy.
pub type Unsupported = String;

/// What a store to a part of the processor that lies in its address space does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControlStore {
    /// Nothing that matters to caches.
    Nothing,
    /// Remembered translations and attributes are void.
    Translation,
    /// Data cache maintenance.
    Cache {
        /// What is done.
        op: Maintenance,
        /// To which lines.
        scope: Scope,
    },
    /// Judging cannot go on.
    Unsupported(Unsupported),
}

/// How calls are made, as far as following them needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Calling {
    /// Where the CPU state has the stack pointer, in words from its start.
    pub stack_word: usize,
    /// Bytes of a call.
    pub length: usize,
    /// Bytes from a call to the instruction that it returns to.
    pub returns_after: u32,
    /// Stack pointers from here on are the kernel's.
    pub kernel_start: u32,
}

/// A guest processor.
///
/// # Safety
/// The `unsafe` methods read the state of the running CPU: they are called from a callback on its thread, one that was
/// registered as reading registers, and with the environment that this callback received.
pub trait Cpu {
    /// The instruction word in the first `length` of these bytes of memory; `None` if no instruction of that length is more than
    /// its loads and stores.
    fn word(&self, bytes: [u8; 4], length: usize) -> Option<u32>;

    /// What an instruction word means.
    fn decode(&self, word: u32) -> Meaning;

    /// Takes the registers that QEMU describes, by name.
    ///
    /// # Errors
    /// [`Unsupported`] if one that is needed is missing.
    fn start(&mut self, registers: &[(String, *mut Register)]) -> Result<(), Unsupported>;

    /// Another CPU of the same guest, as it is at reset; `None` if guests with several are not judged.
    fn another(&self) -> Option<Box<dyn Cpu>> {
        None
    }

    /// Whether this instruction's address should be compared with the registers (see [`calibrate`](Self::calibrate)).
    fn calibrates(&self, word: u32) -> bool;

    /// Compares the address that QEMU reports, or the value that was moved if it is known, with what the registers give.
    ///
    /// # Errors
    /// [`Unsupported`] if they contradict each other.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn calibrate(
        &mut self,
        word: u32,
        reported: u32,
        value: Option<u32>,
        environment: Environment,
    ) -> Result<(), Unsupported>;

    /// Whether an instruction that is about to run will do anything: its condition holds. Addresses that are asked about next are
    /// those of its operand.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn executes(&mut self, word: u32, reader: &mut Reader, environment: Environment) -> bool;

    /// Whether the same address can mean several things at once, one in each space: then QEMU's addresses have 64 bits, and each access
    /// is announced by [`enter`](Self::enter), each block of code by [`start_block`](Self::start_block).
    fn has_spaces(&self) -> bool {
        false
    }

    /// An access is about to be asked about, to the address that QEMU reports.
    fn enter(&mut self, _reported: u64) {}

    /// A block of code starts to run.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn start_block(&mut self, _environment: Environment) {}

    /// The space of the addresses that are asked about.
    fn space(&self) -> u32 {
        0
    }

    /// An address of that space as QEMU reports it.
    fn reported(&self, vaddr: u32) -> u64 {
        vaddr.into()
    }

    /// The site of code at the address that QEMU reports.
    fn site(&self, reported: u64) -> u32 {
        reported as u32
    }

    /// The value of a general register.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn register(&self, number: u8, reader: &mut Reader, environment: Environment) -> u32;

    /// The number of the stack pointer.
    fn stack_pointer(&self) -> u8;

    /// The number of the register that holds the return address at a function's entry.
    fn link(&self) -> u8;

    /// How calls are made; `None` if they cannot be followed.
    fn calling(&self) -> Option<Calling> {
        None
    }

    /// Whether an instruction is a call or a return from an exception.
    fn flow(&self, _word: u32) -> Flow {
        Flow::Other
    }

    /// A number that stands for the address space of user code.
    fn address_space(&self) -> u32 {
        0
    }

    /// Where the tables of user code's translations begin, if the processor knows it.
    fn page_table(&self) -> Option<PhysAddr> {
        None
    }

    /// Whether the guest's words begin with their highest byte.
    fn is_big_endian(&self) -> bool {
        false
    }

    /// The set and way that the operand of an index operation names.
    fn index(&self, geometry: &CacheGeometry, operand: u32) -> Scope;

    /// How the operands of index operations are coded, if a recording can take them apart for any cache.
    fn index_form(&self) -> IndexForm {
        IndexForm::Resolved
    }
    /// The address that tables and caches see in place of one that a program uses: the *modified* virtual address, which operands of
    /// maintenance are already.
    fn modified(&self, vaddr: u32) -> u32 {
        vaddr
    }

    /// The physical address of a modified virtual address, `None` if it is not mapped.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn resolve(&mut self, vaddr: u32, api: &Api, reader: &mut Reader) -> Option<PhysAddr>;

    /// Whether memory is cached at this modified virtual address, which leads to `paddr` now.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn is_cached(&mut self, vaddr: u32, paddr: PhysAddr, reader: &mut Reader) -> bool;

    /// Takes note of an instruction that may change translations and is about to run.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn translations_change(&mut self, word: u32, reader: &mut Reader, environment: Environment);

    /// The general register that an instruction configures CPUs with that have not run yet.
    fn configures_others(&self, _word: u32) -> Option<u8> {
        None
    }

    /// Another CPU configures this one, which has not run yet.
    fn be_configured(&mut self, _value: u32) {}

    /// Whether maintenance of the instruction cache is understood, without which every change of code would be a false alarm.
    fn follows_code_maintenance(&self) -> bool {
        true
    }

    /// Whether an instruction may be a store to a part of the processor (see [`control_store`](Self::control_store)).
    fn may_store_control(&self, _word: u32) -> bool {
        false
    }

    /// Whether a part of the processor lies at this address.
    fn has_control_at(&self, _vaddr: u32) -> bool {
        false
    }

    /// Takes note of a load from a part of the processor.
    fn control_load(&mut self, _vaddr: u32) {}

    /// Takes note of a store to a part of the processor.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn control_store(
        &mut self,
        _geometry: &CacheGeometry,
        _vaddr: u32,
        _value: u32,
        _reader: &mut Reader,
    ) -> ControlStore {
        ControlStore::Nothing
    }

    /// What this architecture's model leaves out, in sentences.
    fn limits(&self) -> Vec<String>;
}

/// The processor of a guest architecture, by QEMU's name of it.
///
/// # Errors
/// [`Unsupported`] if the architecture is unknown or this QEMU gives no way to translate its addresses.
pub fn of_target(target: &str, api: &Api) -> Result<Box<dyn Cpu>, Unsupported> {
    let (cpu, resolves): (Box<dyn Cpu>, bool) = match target {
        "mips" => (Box::new(Mips::big_endian()), api.can_translate() && api.can_read_physical()),
        "mipsel" => (Box::new(Mips::little_endian()), api.can_translate() && api.can_read_physical()),
        "arm" => (Box::new(Arm::new()), api.can_read_physical()),
        "sh4" => (Box::new(Sh4::new()), api.can_read_physical() && api.can_read_values()),
        "hppa" => (Box::new(Hppa::default()), api.can_translate() && api.can_read_physical()),
        other => return Err(format!("guests of architecture {other} are not supported; mips, mipsel, arm, sh4 and hppa are")),
    };
    if resolves {
        Ok(cpu)
    } else {
        Err("this QEMU gives plugins no way to translate addresses; install QEMU 10.1 or newer, or a distribution's build \
             of 10.0"
            .into())
    }
}
