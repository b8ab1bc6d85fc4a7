//! The guest's processor as a check needs it while it runs: registers, translations, attributes. One file per architecture.
//!
//! `congruent_arch` says what instructions mean, from their bytes alone; this says where QEMU's CPU state has what they name.

#![deny(clippy::wildcard_enum_match_arm)]

mod arm;
mod cores;
mod hppa;
mod mips;
mod sh4;

use congruent_arch::{Arch, Flow, Meaning};
use congruent_geometry::{CacheGeometry, PhysAddr};
use congruent_trace::{IndexForm, Maintenance, Scope};

use crate::api::Api;
use crate::moment::{Executing, Handle, Running, StateWord};

pub use arm::Arm;
pub use cores::suits;
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

/// A guest processor.
pub trait Cpu {
    /// Its architecture.
    fn arch(&self) -> Arch;

    /// Whether this QEMU gives what [`resolve`](Self::resolve) needs.
    fn can_resolve(&self, api: &Api) -> bool;

    /// Takes the registers that QEMU describes, by name.
    ///
    /// # Errors
    /// [`Unsupported`] if one that is needed is missing.
    fn start(&mut self, registers: &[(String, Handle)]) -> Result<(), Unsupported>;

    /// The processor is as it is after a reset. What was learnt of QEMU, and what was left out so far, stays.
    fn reset(&mut self);

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
    fn calibrate(&mut self, word: u32, reported: u32, value: Option<u32>, now: &Executing) -> Result<(), Unsupported>;

    /// Whether an instruction that is about to run will do anything: its condition holds. Addresses that are asked about next are
    /// those of its operand.
    fn executes(&mut self, word: u32, now: &Executing) -> bool;

    /// Whether the same address can mean several things at once, one in each space: then QEMU's addresses have 64 bits, and each access
    /// is announced by [`enter`](Self::enter), each block of code by [`start_block`](Self::start_block).
    fn has_spaces(&self) -> bool {
        false
    }

    /// An access is about to be asked about, to the address that QEMU reports.
    fn enter(&mut self, _reported: u64) {}

    /// A block of code starts to run.
    fn start_block(&mut self, _now: &Executing) {}

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
    fn register(&self, number: u8, now: &Executing) -> u32;

    /// Where the CPU state has the stack pointer; `None` if the architecture's calls are not followed.
    fn stack_word(&self) -> Option<StateWord>;

    /// Where the CPU state has the address of the block that starts, if QEMU runs the code that it has
    /// translated wherever the same memory is mapped (`CF_PCREL`): then the addresses that it gave at translation are of whoever ran it
    /// first.
    fn block_word(&self) -> Option<StateWord> {
        None
    }

    /// Whether the TLB has no part in where this address leads.
    fn is_unmapped(&self, _vaddr: u32) -> bool {
        false
    }

    /// Whether an instruction that changes translations may concern addresses that are [unmapped](Self::is_unmapped).
    fn changes_unmapped(&self, _word: u32) -> bool {
        true
    }

    /// A number that stands for the address space of user code.
    fn address_space(&self) -> u32 {
        0
    }

    /// Where the tables of user code's translations begin, if the processor knows it.
    fn page_table(&self) -> Option<PhysAddr> {
        None
    }

    /// The set and way that the operand of an index operation names.
    fn index(&self, geometry: &CacheGeometry, operand: u32) -> Scope;

    /// The address that tables and caches see in place of one that a program uses: the *modified* virtual address, which operands of
    /// maintenance are already.
    fn modified(&self, vaddr: u32) -> u32 {
        vaddr
    }

    /// The physical address of a modified virtual address, `None` if it is not mapped.
    fn resolve(&mut self, vaddr: u32, now: &Running) -> Option<PhysAddr>;

    /// Whether memory is cached at this modified virtual address, which leads to `paddr` now.
    fn is_cached(&mut self, vaddr: u32, paddr: PhysAddr, now: &Running) -> bool;

    /// As [`is_cached`](Self::is_cached), of the instruction side.
    fn is_code_cached(&mut self, vaddr: u32, paddr: PhysAddr, now: &Running) -> bool {
        self.is_cached(vaddr, paddr, now)
    }

    /// Takes note of an instruction that may change translations and is about to run.
    fn translations_change(&mut self, word: u32, now: &Executing);

    /// Another CPU configures this one, which has not run yet.
    fn be_configured(&mut self, _value: u32) {}

    /// Whether a part of the processor lies at this address.
    fn has_control_at(&self, _vaddr: u32) -> bool {
        false
    }

    /// Takes note of a load from a part of the processor.
    fn control_load(&mut self, _vaddr: u32) {}

    /// Takes note of a store to a part of the processor.
    fn control_store(&mut self, _geometry: &CacheGeometry, _vaddr: u32, _value: u32, _now: &Running) -> ControlStore {
        ControlStore::Nothing
    }

    /// What this architecture's model leaves out, in sentences.
    fn limits(&self) -> Vec<String>;
}

/// What a processor knows from its architecture alone.
impl dyn Cpu {
    /// What an instruction word means.
    pub fn decode(&self, word: u32) -> Meaning {
        (self.arch().facts().decode)(word)
    }

    /// Whether an instruction is a call or a return from an exception.
    pub fn flow(&self, word: u32) -> Flow {
        (self.arch().facts().flow)(word)
    }

    /// The number of the stack pointer.
    pub fn stack_pointer(&self) -> u8 {
        self.arch().facts().stack_pointer
    }

    /// The number of the register that holds the return address at a function's entry.
    pub fn link(&self) -> u8 {
        self.arch().facts().link
    }

    /// How recordings have the operands of index operations.
    pub fn index_form(&self) -> IndexForm {
        self.arch().facts().index
    }

    /// The general register that an instruction configures CPUs with that have not run yet.
    pub fn configures_others(&self, word: u32) -> Option<u8> {
        (self.arch().facts().configures_others)(word)
    }

    /// Whether an instruction may be a store to a part of the processor (see [`Cpu::control_store`]).
    pub fn may_store_control(&self, word: u32) -> bool {
        (self.arch().facts().may_store_control)(word)
    }
}

/// A processor of a guest architecture, as it is at reset.
fn at_reset(arch: Arch) -> Box<dyn Cpu> {
    match arch {
        Arch::Mips(endian) => Box::new(Mips::new(endian)),
        Arch::Arm => Box::new(Arm::new()),
        Arch::Sh4 => Box::new(Sh4::new()),
        Arch::Hppa => Box::new(Hppa::default()),
    }
}

/// The processor of a guest architecture, as it is at reset.
///
/// # Errors
/// [`Unsupported`] if this QEMU gives no way to translate its addresses.
pub fn of_arch(arch: Arch, api: &Api) -> Result<Box<dyn Cpu>, Unsupported> {
    let cpu = at_reset(arch);
    if cpu.can_resolve(api) {
        Ok(cpu)
    } else {
        Err("this QEMU gives plugins no way to translate addresses; install QEMU 10.1 or newer, or a distribution's build \
             of 10.0"
            .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_processor_is_of_its_architecture_and_says_where_its_stack_pointer_is_if_calls_are_followed() {
        for arch in Arch::ALL {
            let cpu = at_reset(arch);
            assert_eq!(cpu.arch(), arch);
            assert_eq!(cpu.stack_word().is_some(), arch.facts().calls.is_some(), "{arch:?}");
        }
    }
}
