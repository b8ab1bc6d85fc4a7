//! Instructions that are more than loads and stores: cache maintenance, prefetches, changes of translations.
//!
//! Guarantees: what an instruction covers is made out once, and judged and recorded as that, in the order of its addresses; an operand
//! that leads nowhere is counted. Not here: what the words mean (`congruent_arch`), which lines an operation has (`congruent_trace`).

use congruent_arch::{Meaning, Named, Offset, Operand, Pointer};
use congruent_geometry::{CacheGeometry, VirtAddr};
use congruent_trace::{IndexForm, On, Operation, Site, Target};

use super::Session;
use crate::callbacks::Instruction;
use crate::moment::Executing;
use crate::stretches::Stretches;
use crate::translation::Known;

impl Session {
    /// An instruction that is more than a load or store is about to run.
    pub fn execute(&mut self, instruction: Instruction, now: &Executing) {
        if self.stopped {
            return;
        }
        if !self.reach.cpu.executes(instruction.word, now) {
            return;
        }
        self.show_own();
        self.reach.translations.enter(self.reach.cpu.space());
        match self.reach.cpu.decode(instruction.word) {
            Meaning::Cache(what) => self.maintain_as(On::Data(what.op), what.operand, instruction, now),
            Meaning::CodeCache(operand) => self.maintain_as(On::Code, operand, instruction, now),
            Meaning::BothCaches(what) => {
                self.maintain_as(On::Data(what.op), what.operand, instruction, now);
                self.maintain_as(On::Code, what.operand, instruction, now);
            }
            Meaning::Prefetch(pointer) => self.prefetch(pointer, instruction.site(), now),
            Meaning::Translation => {
                // Remembered translations are void from the next access on.
                if self.reach.cpu.changes_unmapped(instruction.word) {
                    self.reach.forget();
                } else {
                    self.reach.forget_mapped();
                }
                self.reach.cpu.translations_change(instruction.word, now);
                if let Some(register) = self.reach.cpu.configures_others(instruction.word) {
                    let value = self.reach.cpu.register(register, now);
                    self.configure_others(value);
                }
                self.space_changes();
            }
            Meaning::PartialWord(_) | Meaning::Other => {}
        }
    }

    fn maintain_as(&mut self, on: On, operand: Operand, instruction: Instruction, now: &Executing) {
        let Some(geometry) = self.geometry_of(on) else { return };
        // The callback reads registers, so the stack pointer is there.
        self.learn_context(now);
        let (site, stack_pointer) = (instruction.site(), self.reach.cpu.stack_pointer());
        let register = |number| self.reach.cpu.register(number, now);
        let muted = self.mute.is_used() && self.mute.covers(instruction.pc, register(stack_pointer));
        let line = geometry.line();
        let stretches = match operand.read(register) {
            Named::Whole => return self.operate(on, Target::Whole, site, muted, now),
            Named::Index(value) => return self.operate(on, self.index(&geometry, value), site, muted, now),
            Named::Address(vaddr) => Stretches::line_of(vaddr),
            Named::Range(first, last) => Stretches::between(first, last, line),
        };
        for stretch in stretches {
            match self.reach.operand(stretch.vaddr, now) {
                Some(paddr) => {
                    if !muted {
                        let led = if self.reach.virtual_tags { self.reach.cpu.resolve(stretch.vaddr, now) } else { Some(paddr) };
                        self.keep_discarded(on, led, stretch.bytes, site, now);
                    }
                    let target = Target::Bytes { vaddr: VirtAddr(stretch.vaddr.into()), paddr, bytes: stretch.bytes };
                    self.judge.operate(Operation { on, target, site }, muted);
                }
                None => self.reach.untranslated += stretch.lines(line),
            }
        }
        self.step(now);
    }

    fn operate(&mut self, on: On, target: Target, site: Site, muted: bool, now: &Executing) {
        if !muted {
            self.keep_discarded(on, None, 0, site, now);
        }
        self.judge.operate(Operation { on, target, site }, muted);
        self.step(now);
    }

    /// What an index operation covers, in the form that the judge and every recording take apart.
    fn index(&self, geometry: &CacheGeometry, operand: u32) -> Target {
        match self.reach.cpu.index_form() {
            IndexForm::Resolved => self.reach.cpu.index(geometry, operand).into(),
            IndexForm::WayAboveSet | IndexForm::WayOnTop => Target::Index(operand),
        }
    }

    /// A prefetch of a page that is not mapped does nothing; one that the hardware may also ignore is taken to fill.
    fn prefetch(&mut self, pointer: Pointer, site: Site, now: &Executing) {
        let register = |number| self.reach.cpu.register(number, now);
        let base = register(pointer.register);
        let vaddr = match pointer.offset {
            Offset::Constant(offset) => base.wrapping_add_signed(offset),
            Offset::Register { register: number, shift, subtract } => {
                let offset = register(number) << shift;
                if subtract { base.wrapping_sub(offset) } else { base.wrapping_add(offset) }
            }
        };
        let (page, offset) = if let Known::Cached(target) = self.reach.translations.find(vaddr) {
            self.judge.page_of(target.byte(vaddr))
        } else {
            let Some(paddr) = self.reach.resolve(vaddr, now) else { return };
            if !self.reach.is_cached(vaddr, paddr, now) {
                return;
            }
            (self.remember(vaddr, paddr, 0), self.reach.geometry.page_offset(paddr.0))
        };
        self.judge.prefetch(page, self.reach.cache_address(vaddr), offset, site);
    }

    /// The cache of this side, if it is judged.
    fn geometry_of(&self, on: On) -> Option<CacheGeometry> {
        match on {
            On::Data(_) => Some(self.reach.geometry),
            On::Code => self.code,
        }
    }
}
