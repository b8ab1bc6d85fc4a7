//! A MIPS32 processor: registers from the CPU state (QEMU describes none), segments, QEMU's own translation.
//!
//! Hardware refills the TLB when the operand of a cache instruction misses it; QEMU executes nothing there, so the entry may be
//! missing. Then the tables decide, as the hardware page walker would read them; on cores without one, what the page led to at
//! its last access in the same address space stands in.
//!
//! Whether memory is cached: Config.K0 for kseg0, never for kseg1, and for mapped pages the attribute of the TLB entry, which is the page
//! table's where hardware reads it, else the one that the guest wrote (`congruent_arch::mips::tlb`).

use std::cell::Cell;
use std::rc::Rc;

use congruent_arch::mips::LITTLE;
use congruent_arch::mips::decode::{self, ControlRegister, Segment};
use congruent_arch::mips::tables::{Walked, Walker};
use congruent_arch::mips::tlb::{Attributes, Cacheability};
use congruent_arch::{Arch, Endian};
use congruent_geometry::{CacheGeometry, PhysAddr};
use congruent_trace::Scope;

use super::{Cpu, Unsupported};
use crate::api::Api;
use crate::calibration::Calibration;
use crate::moment::{Executing, Handle, Running, StateWord};

/// General register `number` (0 to 31), of a CPU state that begins with those registers.
fn general(number: u8, word: impl Fn(StateWord) -> u32) -> u32 {
    // What the state holds for register zero, nobody reads.
    if number == 0 { 0 } else { word(StateWord::new(usize::from(number & 31))) }
}

/// A guest of `qemu-system-mips` or `qemu-system-mipsel`.
pub struct Mips {
    endian: Endian,
    /// Of all CPUs: generated code is the same for them.
    calibration: Rc<Cell<Calibration>>,
    /// The address space in EntryHi, as last written.
    address_space: u16,
    walker: Walker,
    /// The attribute of kseg0.
    kseg0: Cacheability,
    attributes: Attributes,
    /// Per virtual page: where it led at its last access. Untouched parts cost nothing.
    last_seen: Box<[LastSeen]>,
    /// Frames found mapped although no entry for them was seen.
    unknown_attributes: u64,
}

/// A frame and the address space in which a page led to it; all zero if none.
#[derive(Clone, Copy, Default)]
struct LastSeen {
    frame_plus_one: u32,
    address_space: u16,
    uncached: bool,
}

impl LastSeen {
    fn is_of(self, address_space: u16) -> bool {
        self.address_space == address_space || self.address_space == EVERY_ADDRESS_SPACE
    }
}

impl Mips {
    /// A processor after reset.
    pub fn new(endian: Endian) -> Self {
        let last_seen = vec![LastSeen::default(); 1 << (32 - PAGE_SHIFT)].into_boxed_slice();
        Self {
            endian,
            calibration: Rc::default(),
            address_space: 0,
            walker: Walker::default(),
            kseg0: Cacheability::new(KSEG0_AT_RESET),
            attributes: Attributes::default(),
            last_seen,
            unknown_attributes: 0,
        }
    }

    fn walk(&self, vaddr: u32, now: &Running) -> Option<Walked> {
        self.walker.walk(vaddr, |address| self.physical_word(address, now))
    }

    fn entry_is_written(&mut self) {
        let (last_seen, current) = (&mut self.last_seen, self.address_space);
        self.attributes.write_entry(|known| {
            let address_space = if known.is_global { EVERY_ADDRESS_SPACE } else { current };
            let uncached = !known.cacheability.is_cached();
            last_seen[known.page as usize] = LastSeen { frame_plus_one: known.frame + 1, address_space, uncached };
        });
    }

    /// Whether a mapped page is cached: by what the walker reads, by the newest entry, by what was seen of the page before, by what the
    /// frame was mapped with before; in this order, because each is surer than the next.
    fn is_mapped_cached(&mut self, vaddr: u32, paddr: PhysAddr, now: &Running) -> bool {
        let (vpage, address) = ((vaddr >> PAGE_SHIFT) as usize, paddr.0 as u32);
        let frame = address >> PAGE_SHIFT;
        let walked = self.walk(vaddr, now).filter(|walked| walked.paddr >> PAGE_SHIFT == frame);
        let seen = self.last_seen[vpage];
        let seen = (seen.frame_plus_one == frame + 1 && seen.is_of(self.address_space)).then_some(!seen.uncached);
        let cached = walked
            .map(|walked| walked.cacheability)
            .or_else(|| self.attributes.by_newest_entry(vaddr, address))
            .map(Cacheability::is_cached)
            .or(seen)
            .or_else(|| self.attributes.by_frame(vaddr, address).map(Cacheability::is_cached));
        self.unknown_attributes += u64::from(cached.is_none());
        let uncached = cached == Some(false);
        let known = &mut self.last_seen[vpage];
        if known.frame_plus_one != frame + 1 || !known.is_of(self.address_space) {
            known.address_space = self.address_space;
        }
        (known.frame_plus_one, known.uncached) = (frame + 1, uncached);
        !uncached
    }

    fn physical_word(&self, address: u32, now: &Running) -> Option<u32> {
        let word = now.physical_word(address.into())?;
        Some(if self.endian == Endian::Big { word.swap_bytes() } else { word })
    }
}

const PAGE_SHIFT: u32 = 12;
/// The general register that the stack pointer is in.
const STACK: usize = LITTLE.stack_pointer as usize;
/// QEMU resets Config.K0 to "uncached".
const KSEG0_AT_RESET: u32 = 2;
/// EntryHi.ASID with its extension (MD00090, "EntryHi Register").
const ADDRESS_SPACE: u32 = 0x3ff;
/// The part of an address of kseg0 that is the physical address.
const KSEG0_PHYSICAL: u32 = 0x1fff_ffff;
/// No address space has this number.
const EVERY_ADDRESS_SPACE: u16 = u16::MAX;

impl Cpu for Mips {
    fn arch(&self) -> Arch {
        Arch::Mips(self.endian)
    }

    fn can_resolve(&self, api: &Api) -> bool {
        api.can_translate() && api.can_read_physical()
    }

    fn start(&mut self, _registers: &[(String, Handle)]) -> Result<(), Unsupported> {
        Ok(())
    }

    fn reset(&mut self) {
        let (calibration, unknown_attributes) = (self.calibration.clone(), self.unknown_attributes);
        *self = Self { calibration, unknown_attributes, ..Self::new(self.endian) };
    }

    fn another(&self) -> Option<Box<dyn Cpu>> {
        Some(Box::new(Self { calibration: self.calibration.clone(), ..Self::new(self.endian) }))
    }

    fn calibrates(&self, word: u32) -> bool {
        !self.calibration.get().is_complete() && decode::calibration_operand(word).is_some()
    }

    fn calibrate(&mut self, word: u32, reported: u32, _value: Option<u32>, now: &Executing) -> Result<(), Unsupported> {
        let mut calibration = self.calibration.get();
        if calibration.is_complete() {
            return Ok(());
        }
        let Some((register, offset)) = decode::calibration_operand(word) else { return Ok(()) };
        let computed = general(register, |at| now.word(at)).wrapping_add_signed(offset);
        calibration.compare(computed, reported).map_err(|contradiction| contradiction.to_string())?;
        self.calibration.set(calibration);
        Ok(())
    }

    fn executes(&mut self, _word: u32, _now: &Executing) -> bool {
        true
    }

    fn register(&self, number: u8, now: &Executing) -> u32 {
        general(number, |at| now.word(at))
    }

    fn stack_word(&self) -> Option<StateWord> {
        // `CPUMIPSState` begins with the general registers.
        Some(StateWord::new(STACK))
    }

    fn address_space(&self) -> u32 {
        // Tables are not shared by processes that live at the same time, and are not numbered anew as address spaces are.
        if self.walker.is_on() { self.walker.base } else { self.address_space.into() }
    }

    fn page_table(&self) -> Option<PhysAddr> {
        // Linux has its tables in kseg0.
        let base = self.walker.base;
        (self.walker.is_on() && Segment::of(base) == Segment::Kseg0).then(|| PhysAddr(u64::from(base & KSEG0_PHYSICAL)))
    }

    fn index(&self, geometry: &CacheGeometry, operand: u32) -> Scope {
        self.arch().facts().index.scope(geometry, operand)
    }

    fn resolve(&mut self, vaddr: u32, now: &Running) -> Option<PhysAddr> {
        if let Some(paddr) = now.translate(vaddr.into()) {
            return Some(PhysAddr(paddr));
        }
        if let Some(walked) = self.walk(vaddr, now) {
            return Some(PhysAddr(walked.paddr.into()));
        }
        let seen = self.last_seen[(vaddr >> PAGE_SHIFT) as usize];
        let frame = seen.frame_plus_one.checked_sub(1)?;
        let offset = vaddr & ((1 << PAGE_SHIFT) - 1);
        seen.is_of(self.address_space).then(|| PhysAddr(u64::from(frame) << PAGE_SHIFT | u64::from(offset)))
    }

    fn is_unmapped(&self, vaddr: u32) -> bool {
        Segment::of(vaddr) != Segment::Mapped
    }

    fn changes_unmapped(&self, word: u32) -> bool {
        // Config.K0 is the attribute of kseg0.
        let other = decode::config_of_other(word).is_some();
        other || matches!(decode::control_write(word), Some((ControlRegister::Config, _)))
    }

    fn is_cached(&mut self, vaddr: u32, paddr: PhysAddr, now: &Running) -> bool {
        match Segment::of(vaddr) {
            Segment::Kseg0 => self.kseg0.is_cached(),
            Segment::Kseg1 => false,
            Segment::Mapped => self.is_mapped_cached(vaddr, paddr, now),
        }
    }

    fn translations_change(&mut self, word: u32, now: &Executing) {
        if decode::writes_entry(word) {
            return self.entry_is_written();
        }
        if decode::reads_fault_address(word) {
            return self.attributes.set_entry_hi(None);
        }
        let Some((register, source)) = decode::control_write(word) else { return };
        let value = general(source, |at| now.word(at));
        match register {
            ControlRegister::EntryHi => {
                self.address_space = (value & ADDRESS_SPACE) as u16;
                self.attributes.set_entry_hi(Some(value));
            }
            ControlRegister::Config => self.kseg0 = Cacheability::new(value),
            ControlRegister::Entry(register) => self.attributes.set(register, value),
            ControlRegister::Walker(register) => *self.walker.register_mut(register) = value,
        }
    }

    fn be_configured(&mut self, value: u32) {
        self.kseg0 = Cacheability::new(value);
    }

    fn limits(&self) -> Vec<String> {
        let mut limits = vec!["write-through memory is judged as if it were write-back".into()];
        if self.unknown_attributes > 0 {
            limits.push(format!(
                "{} times memory was taken to be cached because no TLB entry for it was seen",
                self.unknown_attributes
            ));
        }
        limits.extend(self.calibration.get().limit());
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_unmapped_addresses_a_write_of_config_alone_changes_anything() {
        let cpu = Mips::new(Endian::Little);
        let unmapped =
            [0x7fff_ffff, 0x8000_0000, 0x9fff_ffff, 0xa000_0000, 0xbfff_ffff, 0xc000_0000].map(|vaddr| cpu.is_unmapped(vaddr));
        assert_eq!(unmapped, [false, true, true, true, true, false]);
        // mtc0 $a0,$16; mttc0 $at,$16; tlbwi; tlbwr; mtc0 $a0,$10; mtc0 $a1,$5,5; mfc0 $a0,$8
        for (word, changes) in [
            (0x4084_8000, true),
            (0x4181_8000, true),
            (0x4200_0002, false),
            (0x4200_0006, false),
            (0x4084_5000, false),
            (0x4085_2805, false),
            (0x4004_4000, false),
        ] {
            assert_eq!(decode::decode(word, Endian::Little), congruent_arch::Meaning::Translation, "{word:#x}");
            assert_eq!(cpu.changes_unmapped(word), changes, "{word:#x}");
        }
    }

    #[test]
    fn register_zero_is_zero_whatever_the_state_holds() {
        assert_eq!((general(0, |_| 7), general(31, |_| 7)), (0, 7));
    }
}
