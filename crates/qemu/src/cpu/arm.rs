//! An ARMv4–v6 processor: registers as QEMU describes them, translations and attributes from the guest's own tables.

use congruent_arch::Arch;
use congruent_arch::arm::FACTS;
use congruent_arch::arm::decode::{self, Condition};
use congruent_arch::arm::tables::{Control, Mapping};
use congruent_geometry::{CacheGeometry, PhysAddr};
use congruent_trace::Scope;

use super::{Cpu, Unsupported};
use crate::api::Api;
use crate::moment::{Executing, Handle, Running, StateWord};

/// A guest of `qemu-system-arm`.
///
/// The registers that steer translation are followed by watching them being written, from their values at reset: QEMU
/// names them differently from version to version, and the newer ones do not let every callback read them.
pub struct Arm {
    registers: Option<Registers>,
    control: Control,
}

struct Registers {
    general: [Handle; 16],
    status: Handle,
}

impl Arm {
    /// A processor after reset.
    pub fn new() -> Self {
        Self { registers: None, control: Control::default() }
    }

    fn walk(&self, vaddr: u32, now: &Running) -> Option<Mapping> {
        self.control.walk(vaddr, |address| now.physical_word(address.into()))
    }
}

impl Cpu for Arm {
    fn arch(&self) -> Arch {
        Arch::Arm
    }

    fn can_resolve(&self, api: &Api) -> bool {
        api.can_read_physical()
    }

    fn start(&mut self, registers: &[(String, Handle)]) -> Result<(), Unsupported> {
        let find = |name: &str| registers.iter().find(|(known, _)| known == name).map(|(_, handle)| *handle);
        let general = |number| match number {
            13 => find("sp"),
            14 => find("lr"),
            15 => find("pc"),
            _ => find(&format!("r{number}")),
        };
        let found = || {
            let general: Option<Vec<Handle>> = (0..16).map(general).collect();
            Some(Registers { general: general?.try_into().ok()?, status: find("cpsr")? })
        };
        self.registers =
            Some(found().ok_or(
                "this QEMU does not show plugins the registers of this ARM core; use QEMU 10.0 or 11.1 and a 32-bit core",
            )?);
        Ok(())
    }

    fn reset(&mut self) {
        self.control = Control::default();
    }

    fn calibrates(&self, _word: u32) -> bool {
        false
    }

    fn calibrate(&mut self, _word: u32, _reported: u32, _value: Option<u32>, _now: &Executing) -> Result<(), Unsupported> {
        Ok(())
    }

    fn executes(&mut self, word: u32, now: &Executing) -> bool {
        let condition = Condition::of(word);
        if condition.is_always() {
            return true;
        }
        self.registers.as_ref().and_then(|registers| now.register(registers.status)).is_some_and(|status| condition.holds(status))
    }

    fn register(&self, number: u8, now: &Executing) -> u32 {
        let handle = self.registers.as_ref().map(|registers| registers.general[number as usize & 15]);
        handle.and_then(|handle| now.register(handle)).unwrap_or(0)
    }

    fn stack_word(&self) -> Option<StateWord> {
        // `CPUARMState` begins with the general registers of the current mode.
        Some(StateWord::new(FACTS.stack_pointer as usize))
    }

    fn block_word(&self) -> Option<StateWord> {
        /// The program counter, which is in its place whenever a block starts (`target/arm/tcg/translate.c`, `gen_goto_tb`).
        const PROGRAM_COUNTER: StateWord = StateWord::new(15);
        Some(PROGRAM_COUNTER)
    }

    fn address_space(&self) -> u32 {
        self.control.ttbr0
    }

    fn page_table(&self) -> Option<PhysAddr> {
        /// The low bits of TTBR0 are attributes of the walk (DDI 0100I, B4.9.2), if TTBCR.N is zero.
        const BASE: u32 = !0x3fff;
        const N: u32 = 7;
        (self.control.ttbcr & N == 0).then(|| PhysAddr(u64::from(self.control.ttbr0 & BASE)))
    }

    fn index(&self, geometry: &CacheGeometry, operand: u32) -> Scope {
        FACTS.index.scope(geometry, operand)
    }

    fn modified(&self, vaddr: u32) -> u32 {
        self.control.modified(vaddr)
    }

    fn resolve(&mut self, vaddr: u32, now: &Running) -> Option<PhysAddr> {
        self.walk(vaddr, now).map(|mapping| PhysAddr(mapping.paddr.into()))
    }

    fn is_cached(&mut self, vaddr: u32, _paddr: PhysAddr, now: &Running) -> bool {
        self.walk(vaddr, now).is_some_and(|mapping| mapping.cached)
    }

    fn is_code_cached(&mut self, vaddr: u32, _paddr: PhysAddr, now: &Running) -> bool {
        self.walk(vaddr, now).is_some_and(|mapping| mapping.code_cached)
    }

    fn translations_change(&mut self, word: u32, now: &Executing) {
        let Some((register, source)) = decode::control_write(word) else { return };
        let value = self.register(source, now);
        *self.control.register_mut(register) = value;
    }

    fn limits(&self) -> Vec<String> {
        vec![
            "write-through memory is judged as if it were write-back".into(),
            "lines that are locked into the cache are judged as if they could be evicted, and walks of the translation tables not at all"
                .into(),
            "code that lies at several addresses is named by the one at which QEMU translated it".into(),
            "translation is followed from the CPU's reset: guests that start from a snapshot, or switch between the secure and \
             the normal world, are not judged rightly"
                .into(),
        ]
    }
}
