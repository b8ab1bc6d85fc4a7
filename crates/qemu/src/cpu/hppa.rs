//! A PA-RISC processor: registers from the CPU state (QEMU describes none), QEMU's own translation, and Linux's tables where that has
//! nothing.
//!
//! Addresses have a space, and QEMU reports both as one number of 64 bits, the space in its upper half. While an access is not translated
//! at all (PSW.D is off, as in the handlers of TLB misses) its address is the physical one; that is a space of its own here, [`ABSOLUTE`].
//! The cache's index comes from the address alone: Linux turns the hashing of spaces into it off, and some processors have none.
//!
//! `fdce` names an entry of the cache in a way of the processor's own. Firmware tells a system by what addresses, and how often each, it
//! reaches every entry; so a repetition of the same address is taken to reach the next way.
//!
//! Sources: *PA-RISC 1.1 Architecture*, chapters 3 and 5; *PDC Procedures*, "PDC_CACHE"; QEMU's `target/hppa/cpu.h`.

use std::collections::HashSet;

use congruent_arch::hppa::STACK_FROM_ABOVE;
use congruent_arch::hppa::decode::{self, Change, Space, cr};
use congruent_arch::hppa::tables::{ALIAS_REGISTERS, alias_register, walk};
use congruent_arch::{Arch, Meaning, Named};
use congruent_geometry::{CacheGeometry, PhysAddr};
use congruent_trace::{IndexForm, Scope};

use super::{Cpu, Unsupported};
use crate::api::Api;
use crate::calibration::Calibration;
use crate::moment::{Executing, Handle, Running, StateWord};

/// The space of addresses that are not translated. No space register holds it: they have at most 31 bits in use.
const ABSOLUTE: u32 = u32::MAX;
/// Physical addresses from here on are devices, which are never cached (PA-RISC 1.1, "I/O address space").
const DEVICES: u64 = 0xf000_0000;
const PAGE_SHIFT: u32 = 12;

/// Where `CPUHPPAState` has things, in words from its start (QEMU's `target/hppa/cpu.h`): two instruction addresses, then general
/// registers, floating-point registers and space registers of 64 bits, then the PSW. Calibration compares general and space registers
/// and PSW.D with real accesses.
mod state {
    pub const GENERAL: usize = 4;
    pub const SPACES: usize = GENERAL + 2 * 32 + 2 * 32;
    pub const STATUS: usize = SPACES + 2 * 8;
    /// Not zero if the next instruction is nullified.
    pub const NULLIFIED: usize = STATUS + 2;
}

/// PSW.D: data addresses are translated.
const TRANSLATES_DATA: u32 = 1 << 1;

/// A general register of a CPU state that has these words.
fn general(number: u8, word: impl Fn(StateWord) -> u32) -> u32 {
    // What the state holds for register zero, nobody reads.
    if number == 0 { 0 } else { word(StateWord::new(state::GENERAL + 2 * usize::from(number & 31))) }
}

/// The space of an instruction's operand, on a CPU whose state has these words.
fn operand_space(instruction: u32, word: impl Fn(StateWord) -> u32) -> u32 {
    if word(StateWord::new(state::STATUS)) & TRANSLATES_DATA == 0 {
        return ABSOLUTE;
    }
    let number = match decode::space(instruction) {
        Space::Register(number) => number & 7,
        Space::OfBase { base } => 4 + (general(base, &word) >> 30) as u8,
    };
    // Kept shifted into its place in an address: in the upper half.
    word(StateWord::new(state::SPACES + 2 * usize::from(number) + 1))
}

/// A guest of `qemu-system-hppa` with 32-bit addresses.
#[derive(Default)]
pub struct Hppa {
    calibration: Calibration,
    /// The same for spaces other than the kernel's, and with them PSW.D.
    spaces: Calibration,
    /// The space of the addresses that are asked about.
    space: u32,
    /// The space of the running access as QEMU reports it.
    reported_space: u32,
    /// PSW.D: whether the running block's data addresses are translated.
    translates: bool,
    /// Where page tables are: the kernel's, and those of the running program.
    tables: [u32; 2],
    /// What the registers for temporary mappings hold (see [`alias_register`]).
    aliases: [u32; 2],
    /// The entry that was last named, and how often in a row before.
    entry: (u32, u32),
    /// Pages whose translation says that they are not cached, by address as QEMU reports it.
    uncached: HashSet<u64>,
    /// Translations whose attributes were not seen.
    whole_translations: u64,
}

impl Hppa {
    fn is_calibrated(&self) -> bool {
        self.calibration.is_complete() && self.spaces.is_complete()
    }

    fn walk(&self, vaddr: u32, now: &Running) -> Option<u32> {
        let root = self.tables[usize::from(self.space != 0)];
        let word = |address: u32| now.physical_word(address.into()).map(u32::swap_bytes);
        (root != 0).then(|| walk(root, vaddr, word)).flatten().map(|entry| entry.physical(vaddr))
    }
}

impl Cpu for Hppa {
    fn arch(&self) -> Arch {
        Arch::Hppa
    }

    fn can_resolve(&self, api: &Api) -> bool {
        api.can_translate() && api.can_read_physical()
    }

    fn start(&mut self, _registers: &[(String, Handle)]) -> Result<(), Unsupported> {
        Ok(())
    }

    fn reset(&mut self) {
        let Self { calibration, spaces, whole_translations, .. } = *self;
        *self = Self { calibration, spaces, whole_translations, ..Self::default() };
    }

    fn calibrates(&self, word: u32) -> bool {
        !self.is_calibrated() && decode::calibration_operand(word).is_some()
    }

    fn calibrate(&mut self, word: u32, reported: u32, _value: Option<u32>, now: &Executing) -> Result<(), Unsupported> {
        let Some((number, offset)) = decode::calibration_operand(word).filter(|_| !self.is_calibrated()) else { return Ok(()) };
        let computed = general(number, |at| now.word(at)).wrapping_add_signed(offset);
        let space = operand_space(word, |at| now.word(at));
        let agreed = self.calibration.compare(computed, reported).and_then(|()| match (space, self.reported_space) {
            // Nothing to tell them apart by: without translation QEMU reports space 0.
            (ABSOLUTE | 0, 0) => Ok(()),
            (space, reported) => self.spaces.compare(space, reported),
        });
        agreed.map_err(|contradiction| contradiction.to_string())
    }

    fn executes(&mut self, word: u32, now: &Executing) -> bool {
        if now.word(StateWord::new(state::NULLIFIED)) != 0 {
            return false;
        }
        self.space = operand_space(word, |at| now.word(at));
        let general = |number| general(number, |at| now.word(at));
        self.aliases = ALIAS_REGISTERS.map(general);
        if let Meaning::Cache(cache) = decode::decode(word)
            && let Named::Index(entry) = cache.operand.read(general)
        {
            let again = if self.entry.0 == entry { self.entry.1 + 1 } else { 0 };
            self.entry = (entry, again);
        }
        true
    }

    fn has_spaces(&self) -> bool {
        true
    }

    fn enter(&mut self, reported: u64) {
        self.reported_space = (reported >> 32) as u32;
        self.space = if self.translates { self.reported_space } else { ABSOLUTE };
    }

    fn start_block(&mut self, now: &Executing) {
        // A change of PSW.D ends a block.
        self.translates = now.word(StateWord::new(state::STATUS)) & TRANSLATES_DATA != 0;
    }

    fn space(&self) -> u32 {
        self.space
    }

    fn reported(&self, vaddr: u32) -> u64 {
        let space = if self.space == ABSOLUTE { 0 } else { self.space };
        u64::from(space) << 32 | u64::from(vaddr)
    }

    /// As the instruction address queue has it: with the privilege in the two lowest bits, which no instruction's address uses. Linux
    /// runs its own code in space 0 and every program in another.
    fn site(&self, reported: u64) -> u32 {
        let privilege = if reported >> 32 == 0 { 0 } else { 3 };
        reported as u32 & !3 | privilege
    }

    fn register(&self, number: u8, now: &Executing) -> u32 {
        let complement = number == STACK_FROM_ABOVE;
        let value = general(if complement { STACK } else { number }, |at| now.word(at));
        if complement { !value } else { value }
    }

    fn stack_word(&self) -> Option<StateWord> {
        None
    }

    fn index(&self, geometry: &CacheGeometry, operand: u32) -> Scope {
        match IndexForm::WayAboveSet.scope(geometry, operand) {
            Scope::Index { set, way } => Scope::Index { set, way: way.wrapping_add(self.entry.1) & (geometry.ways() - 1) },
            other @ (Scope::Line { .. } | Scope::Whole) => other,
        }
    }

    fn resolve(&mut self, vaddr: u32, now: &Running) -> Option<PhysAddr> {
        if self.space == ABSOLUTE {
            return Some(PhysAddr(vaddr.into()));
        }
        if let Some(paddr) = now.translate(self.reported(vaddr)) {
            return Some(PhysAddr(paddr));
        }
        if let Some(paddr) = self.walk(vaddr, now) {
            return Some(PhysAddr(paddr.into()));
        }
        let register = alias_register(vaddr).filter(|_| self.space == 0)?;
        let frame = ALIAS_REGISTERS.iter().position(|&number| number == register).map(|at| self.aliases[at])?;
        Some(PhysAddr((frame & !0xfff | vaddr & 0xfff).into()))
    }

    fn is_cached(&mut self, vaddr: u32, paddr: PhysAddr, _now: &Running) -> bool {
        paddr.0 < DEVICES && (self.space == ABSOLUTE || !self.uncached.contains(&(self.reported(vaddr) >> PAGE_SHIFT)))
    }

    fn translations_change(&mut self, word: u32, now: &Executing) {
        let general = |number| general(number, |at| now.word(at));
        match decode::change(word) {
            Some(Change::Tables { control, from }) => self.tables[usize::from(control == cr::USER_TABLES)] = general(from),
            Some(Change::Protection { address, attributes }) => {
                let page = self.reported(general(address)) >> PAGE_SHIFT;
                if decode::is_uncached(general(attributes)) {
                    self.uncached.insert(page);
                } else {
                    self.uncached.remove(&page);
                }
            }
            Some(Change::Whole) => self.whole_translations += 1,
            None => {}
        }
    }

    fn limits(&self) -> Vec<String> {
        let mut limits = vec![
            "on PA-RISC the cache is taken to be indexed by the address alone, without its space".into(),
            "maintenance of pages that no translation was loaded for is judged by where the page tables of Linux 6.12 with 32 bits lead"
                .into(),
        ];
        if self.whole_translations > 0 {
            limits.push("attributes of PA-RISC 2.0 translations are not read: all memory is taken to be cached".into());
        }
        limits.extend(self.calibration.limit().or(self.spaces.limit()));
        limits
    }
}

/// The general register that the stack pointer is in.
const STACK: u8 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    /// A CPU state in which word `n` holds `n`.
    fn state() -> Vec<u32> {
        (0..200).collect()
    }

    #[test]
    fn registers_and_spaces_are_where_qemu_keeps_them() {
        let mut words = state();
        words[state::STATUS] = TRANSLATES_DATA;
        let space = |words: &[u32], instruction| operand_space(instruction, |at| words[at.words()]);
        assert_eq!([0, 1, 31].map(|number| general(number, |at| words[at.words()])), [0, 6, 66]);
        assert_eq!(space(&words, 0x0757_d2a0), 133 + 2 * 3); // fdc,m r23(sr3,r26)
        // stw r19,0(r26): by the upper bits of r26
        for (base, number) in [(0x0fff_ffff, 4), (0x4000_0000, 5), (0x8000_0000, 6), (0xffff_ffff, 7)] {
            words[4 + 2 * 26] = base;
            assert_eq!(space(&words, 0x0f53_1280), 133 + 2 * number, "{base:#x}");
        }
        words[state::STATUS] = !TRANSLATES_DATA;
        assert_eq!(space(&words, 0x0757_d2a0), ABSOLUTE);
    }

    #[test]
    fn code_is_known_by_its_privilege() {
        let cpu = Hppa::default();
        assert_eq!(cpu.site(0x1010_0004), 0x1010_0004);
        assert_eq!(cpu.site(0x0000_0012_0001_0004), 0x0001_0007);
    }

    #[test]
    fn naming_an_entry_again_reaches_the_next_way() {
        let geometry = CacheGeometry::new(64 << 10, 2, 32).unwrap();
        let way = |again, operand| {
            let cpu = Hppa { entry: (operand, again), ..Hppa::default() };
            cpu.index(&geometry, operand)
        };
        assert_eq!(way(0, 0x40), Scope::Index { set: 2, way: 0 });
        assert_eq!(way(1, 0x40), Scope::Index { set: 2, way: 1 });
        // Firmware may also count through the ways by addresses.
        assert_eq!(way(0, 0x8040), Scope::Index { set: 2, way: 1 });
    }
}
