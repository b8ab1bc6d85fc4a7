//! An ARMv4–v6 processor: registers as QEMU describes them, translations and attributes from the guest's own tables.

use congruent_arch::Arch;
use congruent_arch::arm::FACTS;
use congruent_arch::arm::decode::{self, Condition};
use congruent_arch::arm::tables::{Control, Mapping};
use congruent_geometry::{CacheGeometry, PhysAddr};
use congruent_trace::Scope;

use super::{Cpu, Unsupported};
use crate::api::{Api, Reader, Register};
use crate::registers::Environment;

type Handle = *mut Register;

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

    /// # Safety
    /// As [`Cpu::resolve`].
    unsafe fn walk(&self, vaddr: u32, reader: &mut Reader) -> Option<Mapping> {
        // SAFETY: by this function's contract.
        self.control.walk(vaddr, |address| unsafe { reader.physical_word(address.into()) })
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

    unsafe fn calibrate(
        &mut self,
        _word: u32,
        _reported: u32,
        _value: Option<u32>,
        _environment: Environment,
    ) -> Result<(), Unsupported> {
        Ok(())
    }

    unsafe fn executes(&mut self, word: u32, reader: &mut Reader, _environment: Environment) -> bool {
        let condition = Condition::of(word);
        if condition.is_always() {
            return true;
        }
        // SAFETY: by the trait's contract.
        self.registers
            .as_ref()
            .and_then(|registers| unsafe { reader.register(registers.status) })
            .is_some_and(|status| condition.holds(status))
    }

    unsafe fn register(&self, number: u8, reader: &mut Reader, _environment: Environment) -> u32 {
        let handle = self.registers.as_ref().map(|registers| registers.general[number as usize & 15]);
        // SAFETY: by the trait's contract.
        handle.and_then(|handle| unsafe { reader.register(handle) }).unwrap_or(0)
    }

    fn stack_word(&self) -> Option<usize> {
        // `CPUARMState` begins with the general registers of the current mode.
        Some(FACTS.stack_pointer.into())
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

    unsafe fn resolve(&mut self, vaddr: u32, _api: &Api, reader: &mut Reader) -> Option<PhysAddr> {
        // SAFETY: by the trait's contract.
        unsafe { self.walk(vaddr, reader) }.map(|mapping| PhysAddr(mapping.paddr.into()))
    }

    unsafe fn is_cached(&mut self, vaddr: u32, _paddr: PhysAddr, reader: &mut Reader) -> bool {
        // SAFETY: by the trait's contract.
        unsafe { self.walk(vaddr, reader) }.is_some_and(|mapping| mapping.cached)
    }

    unsafe fn translations_change(&mut self, word: u32, reader: &mut Reader, environment: Environment) {
        let Some((register, source)) = decode::control_write(word) else { return };
        // SAFETY: by the trait's contract.
        let value = unsafe { self.register(source, reader, environment) };
        *self.control.register_mut(register) = value;
    }

    fn limits(&self) -> Vec<String> {
        vec![
            "write-through memory is judged as if it were write-back".into(),
            "lines that are locked into the cache are judged as if they could be evicted, and walks of the translation tables not at all"
                .into(),
            "translation is followed from the CPU's reset: guests that start from a snapshot, or switch between the secure and \
             the normal world, are not judged rightly"
                .into(),
        ]
    }
}
