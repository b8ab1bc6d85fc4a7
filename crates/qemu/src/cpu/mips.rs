//! A MIPS32 processor: registers from the CPU state (QEMU describes none), segments, QEMU's own translation.
//!
//! Hardware refills the TLB when the operand of a cache instruction misses it; QEMU executes nothing there, so the entry may be
//! missing. Then the tables decide, as the hardware page walker would read them; on cores without one, what the page led to at
//! its last access in the same address space stands in.

use congruent_geometry::{CacheGeometry, PhysAddr};
use congruent_trace::Scope;

use super::{Cpu, Unsupported};
use crate::api::{Api, Reader, Register};
use crate::guest::Meaning;
use crate::guest::mips::{self, ControlRegister, Endian};
use crate::guest::mips_tables::Walker;
use crate::registers::{Calibration, Environment, mips_calibration_operand, mips_register};

/// A guest of `qemu-system-mips` or `qemu-system-mipsel`.
pub struct Mips {
    endian: Endian,
    calibration: Calibration,
    /// The address space in EntryHi, as last written.
    address_space: u16,
    walker: Walker,
    /// Per virtual page: where it led at its last access. Untouched parts cost nothing.
    last_seen: Box<[LastSeen]>,
}

/// A frame and the address space in which a page led to it; all zero if none.
#[derive(Clone, Copy, Default)]
struct LastSeen {
    frame_plus_one: u32,
    address_space: u16,
}

impl Mips {
    /// `qemu-system-mips`.
    pub fn big_endian() -> Self {
        Self::new(Endian::Big)
    }

    /// `qemu-system-mipsel`.
    pub fn little_endian() -> Self {
        Self::new(Endian::Little)
    }

    fn new(endian: Endian) -> Self {
        let last_seen = vec![LastSeen::default(); 1 << (32 - PAGE_SHIFT)].into_boxed_slice();
        Self { endian, calibration: Calibration::default(), address_space: 0, walker: Walker::default(), last_seen }
    }

    /// # Safety
    /// As [`Cpu::resolve`].
    unsafe fn physical_word(&self, address: u32, reader: &mut Reader) -> Option<u32> {
        // SAFETY: by this function's contract.
        let word = unsafe { reader.physical_word(address.into()) }?;
        Some(if self.endian == Endian::Big { word.swap_bytes() } else { word })
    }
}

const PAGE_SHIFT: u32 = 12;
/// EntryHi.ASID with its extension (MD00090, "EntryHi Register").
const ADDRESS_SPACE: u32 = 0x3ff;

impl Cpu for Mips {
    fn word(&self, bytes: [u8; 4]) -> u32 {
        match self.endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        }
    }

    fn decode(&self, word: u32) -> Meaning {
        mips::decode(word, self.endian)
    }

    fn start(&mut self, _registers: &[(String, *mut Register)]) -> Result<(), Unsupported> {
        Ok(())
    }

    fn calibrates(&self, word: u32) -> bool {
        !self.calibration.is_complete() && mips_calibration_operand(word).is_some()
    }

    unsafe fn calibrate(&mut self, word: u32, reported: u32, environment: Environment) -> Result<(), Unsupported> {
        if self.calibration.is_complete() {
            return Ok(());
        }
        let Some((register, offset)) = mips_calibration_operand(word) else { return Ok(()) };
        // SAFETY: by the trait's contract.
        let computed = unsafe { mips_register(environment, register) }.wrapping_add_signed(offset);
        self.calibration.compare(computed, reported).map_err(|contradiction| {
            format!(
                "guest registers cannot be read in this QEMU (an address computed as {:#010x} was {:#010x}); use QEMU 10.0 or \
                 11.1 on an x86-64 or aarch64 host",
                contradiction.computed, contradiction.reported
            )
        })
    }

    unsafe fn executes(&self, _word: u32, _reader: &mut Reader) -> bool {
        true
    }

    unsafe fn register(&self, number: u8, _reader: &mut Reader, environment: Environment) -> u32 {
        // SAFETY: by the trait's contract.
        unsafe { mips_register(environment, number) }
    }

    fn stack_pointer(&self) -> u8 {
        29
    }

    fn link(&self) -> u8 {
        31
    }

    fn index(&self, geometry: &CacheGeometry, operand: u32) -> Scope {
        mips::index(geometry, operand)
    }

    fn saw_translation(&mut self, vaddr: u32, paddr: PhysAddr) {
        self.last_seen[(vaddr >> PAGE_SHIFT) as usize] =
            LastSeen { frame_plus_one: (paddr.0 >> PAGE_SHIFT) as u32 + 1, address_space: self.address_space };
    }

    unsafe fn resolve(&mut self, vaddr: u32, api: &Api, reader: &mut Reader) -> Option<PhysAddr> {
        // SAFETY: by the trait's contract.
        if let Some(paddr) = unsafe { api.translate(vaddr.into()) } {
            return Some(PhysAddr(paddr));
        }
        // SAFETY: by the trait's contract.
        if let Some(paddr) = self.walker.walk(vaddr, |address| unsafe { self.physical_word(address, reader) }) {
            return Some(PhysAddr(paddr.into()));
        }
        let seen = self.last_seen[(vaddr >> PAGE_SHIFT) as usize];
        let frame = seen.frame_plus_one.checked_sub(1)?;
        let offset = vaddr & ((1 << PAGE_SHIFT) - 1);
        (seen.address_space == self.address_space).then(|| PhysAddr(u64::from(frame) << PAGE_SHIFT | u64::from(offset)))
    }

    unsafe fn is_cached(&mut self, vaddr: u32, _reader: &mut Reader) -> Result<bool, Unsupported> {
        Ok(!mips::is_uncached_segment(vaddr))
    }

    unsafe fn translations_change(&mut self, word: u32, _reader: &mut Reader, environment: Environment) {
        let Some((register, source)) = mips::control_write(word) else { return };
        // SAFETY: by the trait's contract.
        let value = unsafe { mips_register(environment, source) };
        match register {
            ControlRegister::EntryHi => self.address_space = (value & ADDRESS_SPACE) as u16,
            ControlRegister::Walker(register) => *self.walker.register_mut(register) = value,
        }
    }

    fn limits(&self) -> Vec<String> {
        let mut limits = vec!["all memory outside kseg1 is taken to be cached, whatever the attribute of its TLB entry".into()];
        if !self.calibration.is_complete() {
            limits.push(format!(
                "only {} of {} readings of guest registers could be checked before the guest ended",
                self.calibration.agreeing(),
                Calibration::SAMPLES
            ));
        }
        limits
    }
}
