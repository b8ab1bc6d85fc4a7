//! An SH-4 processor: registers from the CPU state (QEMU describes none), translations and attributes from the TLB entries and control
//! registers that the guest is seen to write.
//!
//! QEMU's own translation is not asked: on this processor it counts as an access and moves the TLB's replacement on, and the guest
//! must not notice that it is watched.

use congruent_arch::Arch;
use congruent_arch::sh4::decode::{self, Area, Control, TagStore, ccr, mmu};
use congruent_arch::sh4::tlb::{self, Entry, Tlb};
use congruent_arch::sh4::{FACTS, PROCEDURE};
use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_trace::{Maintenance, Scope};

use super::{ControlStore, Cpu, Unsupported};
use crate::api::Api;
use crate::calibration::Calibration;
use crate::moment::{Executing, Handle, Running, StateWord};

/// A guest of `qemu-system-sh4`.
#[derive(Default)]
pub struct Sh4 {
    calibration: Calibration,
    entry_high: u32,
    entry_low: u32,
    table_base: u32,
    mmu: u32,
    cache: u32,
    /// What the cache control register was last written with, as long as the guest has read it since.
    cache_echo: u32,
    echoes: u64,
    tlb: Tlb,
    /// Whether the guest itself has named the page of the next TLB entry; the hardware also does, at a miss.
    page_named: bool,
    unnamed_loads: u64,
}

/// Where `CPUSH4State` has things, in words from its start (QEMU's `target/sh4/cpu.h`). Calibration compares the general registers
/// with addresses, and with them the status register, which says what bank they are in; and PR with what functions save of it.
mod state {
    /// R0 to R7 of bank 0, R8 to R15, R0 to R7 of bank 1.
    pub const GENERAL: usize = 1;
    pub const SECOND_BANK: usize = GENERAL + 16;
    pub const STATUS: usize = GENERAL + 24 + 32;
    pub const PROCEDURE: usize = STATUS + 13;
}

/// A general register, or the procedure register, of a CPU state that has these words.
fn register(number: u8, word: impl Fn(StateWord) -> u32) -> u32 {
    /// SR.MD and SR.RB: privileged, and on the second bank.
    const SECOND_BANK: u32 = 1 << 30 | 1 << 29;
    let word = |at| word(StateWord::new(at));
    word(match number {
        PROCEDURE => state::PROCEDURE,
        0..8 if word(state::STATUS) & SECOND_BANK == SECOND_BANK => state::SECOND_BANK + usize::from(number),
        _ => state::GENERAL + usize::from(number & 15),
    })
}

impl Sh4 {
    /// A processor after reset: cache and translation are off.
    pub fn new() -> Self {
        Self::default()
    }

    fn space(&self) -> u16 {
        (self.entry_high & 0xff) as u16
    }

    fn translates(&self) -> bool {
        self.mmu & mmu::ON != 0
    }

    fn translate(&self, vaddr: u32, now: &Running) -> Option<PhysAddr> {
        let paddr = match decode::area(vaddr) {
            Area::P4 => None,
            Area::Translated if self.translates() => self
                .tlb
                .physical(vaddr, self.space())
                .or_else(|| tlb::walk(self.table_base, vaddr, |address| now.physical_word(address.into()))),
            Area::Translated | Area::P1 | Area::P2 => Some(decode::untranslated(vaddr)),
        };
        paddr.map(|paddr| PhysAddr(paddr.into()))
    }

    /// What a store to the cache control register does.
    ///
    /// Hardware always reads OCI as zero; QEMU returns it as it was written. A guest that reads the register, sets another bit and
    /// writes it back would thereby discard its whole cache, which it neither means nor does on hardware.
    fn control_cache(&mut self, value: u32) -> ControlStore {
        let echo = std::mem::take(&mut self.cache_echo) & value & ccr::INVALIDATE_OPERANDS;
        self.cache = value;
        self.echoes += u64::from(echo != 0);
        if let Some(reason) = unsupported_cache(value) {
            ControlStore::Unsupported(reason)
        } else if value & !echo & ccr::INVALIDATE_OPERANDS != 0 {
            ControlStore::Cache { op: Maintenance::Invalidate, scope: Scope::Whole }
        } else {
            ControlStore::Translation
        }
    }
}

/// Why a check cannot go on with this value of the cache control register.
fn unsupported_cache(value: u32) -> Option<Unsupported> {
    if value & ccr::OPERAND_CACHE == 0 {
        None
    } else if value & (ccr::AS_MEMORY | ccr::INDEX_MODE) != 0 {
        Some("the guest uses a part of its cache as memory, or index mode (CCR.ORA, CCR.OIX), which is not supported".into())
    } else if value & ccr::WRITE_THROUGH != 0 || value & ccr::P1_COPY_BACK == 0 {
        Some(WRITE_THROUGH.into())
    } else {
        None
    }
}

/// Why a check cannot go on with this TLB entry.
fn unsupported_page(entry: Entry) -> Option<Unsupported> {
    if !entry.is_valid() {
        None
    } else if entry.is_small() {
        Some("the guest uses pages of 1 KiB, which are not supported".into())
    } else {
        (entry.is_cached() && entry.is_write_through()).then(|| WRITE_THROUGH.into())
    }
}

const WRITE_THROUGH: &str =
    "the guest writes through to memory, which is not supported on SH-4; build its kernel with CONFIG_CACHE_WRITEBACK";

impl Cpu for Sh4 {
    fn arch(&self) -> Arch {
        Arch::Sh4
    }

    fn can_resolve(&self, api: &Api) -> bool {
        api.can_read_physical() && api.can_read_values()
    }

    fn start(&mut self, _registers: &[(String, Handle)]) -> Result<(), Unsupported> {
        Ok(())
    }

    fn reset(&mut self) {
        let Self { calibration, echoes, unnamed_loads, .. } = *self;
        *self = Self { calibration, echoes, unnamed_loads, ..Self::default() };
    }

    fn calibrates(&self, word: u32) -> bool {
        !self.calibration.is_complete() && (decode::calibration_operand(word).is_some() || decode::saves_procedure(word))
    }

    fn calibrate(&mut self, word: u32, reported: u32, value: Option<u32>, now: &Executing) -> Result<(), Unsupported> {
        if self.calibration.is_complete() {
            return Ok(());
        }
        let (number, offset, reported) = match (decode::calibration_operand(word), value) {
            (Some((number, offset)), _) => (number, offset, reported),
            // What is stored is PR itself.
            (None, Some(stored)) if decode::saves_procedure(word) => (PROCEDURE, 0, stored),
            _ => return Ok(()),
        };
        let computed = register(number, |at| now.word(at)).wrapping_add_signed(offset);
        self.calibration.compare(computed, reported).map_err(|contradiction| contradiction.to_string())
    }

    fn executes(&mut self, _word: u32, _now: &Executing) -> bool {
        true
    }

    fn register(&self, number: u8, now: &Executing) -> u32 {
        register(number, |at| now.word(at))
    }

    fn stack_word(&self) -> Option<StateWord> {
        Some(StateWord::new(state::GENERAL + usize::from(FACTS.stack_pointer)))
    }

    fn address_space(&self) -> u32 {
        self.table_base
    }

    fn page_table(&self) -> Option<PhysAddr> {
        // Linux has its tables in P1.
        (decode::area(self.table_base) == Area::P1).then(|| PhysAddr(decode::untranslated(self.table_base).into()))
    }

    fn index(&self, geometry: &CacheGeometry, operand: u32) -> Scope {
        decode::index(geometry, operand)
    }

    fn resolve(&mut self, vaddr: u32, now: &Running) -> Option<PhysAddr> {
        self.translate(vaddr, now)
    }

    fn is_cached(&mut self, vaddr: u32, _paddr: PhysAddr, _now: &Running) -> bool {
        let cached = match decode::area(vaddr) {
            Area::P1 => true,
            Area::P2 | Area::P4 => false,
            Area::Translated if self.translates() => self.tlb.entry(vaddr, self.space()).is_none_or(Entry::is_cached),
            Area::Translated => true,
        };
        cached && self.cache & ccr::OPERAND_CACHE != 0
    }

    fn translations_change(&mut self, _word: u32, _now: &Executing) {
        // ldtlb is the only such instruction.
        if std::mem::take(&mut self.page_named) {
            self.tlb.load(self.entry_high, self.entry_low);
        } else {
            self.unnamed_loads += 1;
        }
    }

    fn control_load(&mut self, vaddr: u32) {
        if decode::control(vaddr) == Some(Control::Cache) {
            self.cache_echo = self.cache;
        }
    }

    fn has_control_at(&self, vaddr: u32) -> bool {
        decode::control(vaddr).is_some()
    }

    fn control_store(&mut self, geometry: &CacheGeometry, vaddr: u32, value: u32, now: &Running) -> ControlStore {
        let Some(control) = decode::control(vaddr) else { return ControlStore::Nothing };
        match control {
            Control::EntryHigh => {
                (self.entry_high, self.page_named) = (value, true);
                ControlStore::Translation
            }
            Control::EntryLow => {
                self.entry_low = value;
                unsupported_page(Entry::from(value)).map_or(ControlStore::Nothing, ControlStore::Unsupported)
            }
            Control::TableBase => {
                self.table_base = value;
                ControlStore::Translation
            }
            Control::Mmu => {
                self.mmu = value;
                if value & mmu::INVALIDATE != 0 {
                    self.tlb.clear();
                }
                ControlStore::Translation
            }
            Control::TlbTags => {
                self.tlb.store_tag(vaddr, value, self.space());
                ControlStore::Translation
            }
            Control::TlbData => {
                self.tlb.clear();
                ControlStore::Translation
            }
            Control::Cache => self.control_cache(value),
            Control::OperandTags => match decode::tag_store(geometry, vaddr, value) {
                TagStore::Nothing => ControlStore::Nothing,
                TagStore::Entry(scope) => ControlStore::Cache { op: Maintenance::WriteBackInvalidate, scope },
                TagStore::Matching { op, index, tag } => match self.translate(tag, now) {
                    Some(frame) => {
                        let line = (geometry.line() - 1) as u64;
                        let paddr = PhysAddr(frame.0 & !0xfff | u64::from(index) & 0xfff & !line);
                        ControlStore::Cache { op, scope: Scope::Line { vaddr: VirtAddr(index.into()), paddr } }
                    }
                    // The hardware takes no exception here and does nothing.
                    None => ControlStore::Nothing,
                },
            },
        }
    }

    fn limits(&self) -> Vec<String> {
        let mut limits = vec![
            "what goes through store queues is not judged, and movca.l is taken to be an ordinary store".into(),
            "translation is followed from the CPU's reset: a guest that starts from a snapshot is not judged rightly".into(),
        ];
        limits.extend(self.calibration.limit());
        if self.echoes > 0 {
            limits.push(format!(
                "{} stores of CCR with the bit that invalidates the whole cache were taken to return what QEMU had let the guest read \
                 there, and to invalidate nothing: hardware reads it as zero",
                self.echoes
            ));
        }
        if self.unnamed_loads > 0 {
            limits.push(format!(
                "{} TLB entries were loaded for a page that the hardware had named; such pages are taken to be cached, and \
                 maintenance of them is judged only if Linux's page tables lead there",
                self.unnamed_loads
            ));
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_back_what_was_read_from_the_cache_control_register_discards_nothing() {
        let mut cpu = Sh4::new();
        let all = ControlStore::Cache { op: Maintenance::Invalidate, scope: Scope::Whole };
        let on = ccr::OPERAND_CACHE | ccr::P1_COPY_BACK;
        let ccr_address = 0xff00_001c;
        cpu.control_load(ccr_address);
        assert_eq!(cpu.control_cache(on | ccr::INVALIDATE_OPERANDS), all);
        assert_eq!(cpu.control_cache(on | ccr::INVALIDATE_OPERANDS), all);
        cpu.control_load(ccr_address);
        assert_eq!(cpu.control_cache(on | ccr::INVALIDATE_OPERANDS | 1 << 11), ControlStore::Translation);
        assert_eq!(cpu.control_cache(on | ccr::INVALIDATE_OPERANDS), all);
    }

    #[test]
    fn the_bank_of_the_low_registers_is_the_one_the_status_register_names() {
        let mut words: Vec<u32> = (0..100).collect();
        let read = |words: &[u32], number| register(number, |at| words[at.words()]);
        words[state::STATUS] = 1 << 30;
        assert_eq!([0, 7, 8, 15, PROCEDURE].map(|number| read(&words, number)), [1, 8, 9, 16, 70]);
        words[state::STATUS] = 1 << 30 | 1 << 29;
        assert_eq!([0, 7, 8, 15, PROCEDURE].map(|number| read(&words, number)), [17, 24, 9, 16, 70]);
        // A user program has the first bank whatever RB says.
        words[state::STATUS] = 1 << 29;
        assert_eq!(read(&words, 0), 1);
    }
}
