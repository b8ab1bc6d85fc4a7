//! Instructions that are more than loads and stores: cache maintenance, prefetches, changes of translations.
//!
//! Guarantees: what an instruction covers is made out once, and judged and recorded as that, in the order of its addresses; an operand
//! that leads nowhere is counted. Not here: what the words mean (`congruent_arch`), which lines an operation has (`congruent_trace`).

use congruent_arch::{Meaning, Named, Offset, Operand, Pointer};
use congruent_geometry::{CacheGeometry, VirtAddr};
use congruent_trace::{IndexForm, On, Operation, Site, Target};

use super::{Instruction, Session};
use crate::registers::Environment;
use crate::stretches::Stretches;
use crate::translation::GRANULE;

impl Session {
    /// An instruction that is more than a load or store is about to run.
    ///
    /// # Safety
    /// Called from an execution callback that reads registers, with the environment it received.
    pub unsafe fn execute(&mut self, instruction: Instruction, environment: Environment) {
        // SAFETY: by this function's contract, here and below.
        if self.stopped {
            return;
        }
        // SAFETY: as above.
        if !unsafe { self.reach.cpu.executes(instruction.word, &mut self.reach.reader, environment) } {
            return;
        }
        self.reach.translations.enter(self.reach.cpu.space());
        match self.reach.cpu.decode(instruction.word) {
            // SAFETY: as above.
            Meaning::Cache(what) => unsafe { self.maintain_as(On::Data(what.op), what.operand, instruction, environment) },
            // SAFETY: as above.
            Meaning::CodeCache(operand) => unsafe { self.maintain_as(On::Code, operand, instruction, environment) },
            // SAFETY: as above.
            Meaning::BothCaches(what) => unsafe {
                self.maintain_as(On::Data(what.op), what.operand, instruction, environment);
                self.maintain_as(On::Code, what.operand, instruction, environment);
            },
            // SAFETY: as above.
            Meaning::Prefetch(pointer) => unsafe { self.prefetch(pointer, instruction.site(), environment) },
            Meaning::Translation => {
                // Remembered translations are void from the next access on.
                self.reach.translations.forget();
                // SAFETY: as above.
                unsafe { self.reach.cpu.translations_change(instruction.word, &mut self.reach.reader, environment) };
                if let Some(register) = self.reach.cpu.configures_others(instruction.word) {
                    // SAFETY: as above.
                    let value = unsafe { self.reach.register(register, environment) };
                    self.configure_others(value);
                }
                self.space_changes();
            }
            Meaning::PartialWord(_) | Meaning::Other => {}
        }
    }

    /// # Safety
    /// As [`execute`](Self::execute).
    unsafe fn maintain_as(&mut self, on: On, operand: Operand, instruction: Instruction, environment: Environment) {
        let Some(geometry) = self.geometry_of(on) else { return };
        // The callback reads registers, so the stack pointer is there.
        self.learn_context();
        let (site, stack_pointer) = (instruction.site(), self.reach.cpu.stack_pointer());
        // SAFETY: by this function's contract.
        let mut register = |number| unsafe { self.reach.register(number, environment) };
        let muted = self.mute.is_used() && self.mute.covers(instruction.pc, register(stack_pointer));
        let line = geometry.line();
        let stretches = match operand.read(&mut register) {
            Named::Whole => return self.operate(on, Target::Whole, site, muted),
            Named::Index(value) => return self.operate(on, self.index(&geometry, value), site, muted),
            Named::Address(vaddr) => Stretches::line_of(vaddr),
            Named::Range(first, last) => Stretches::between(first, last, line),
        };
        for stretch in stretches {
            // SAFETY: by this function's contract.
            match unsafe { self.reach.operand(stretch.vaddr) } {
                Some(paddr) => {
                    let target = Target::Bytes { vaddr: VirtAddr(stretch.vaddr.into()), paddr, bytes: stretch.bytes };
                    self.judge.operate(Operation { on, target, site }, muted);
                }
                None => self.reach.untranslated += stretch.lines(line),
            }
        }
        self.step();
    }

    fn operate(&mut self, on: On, target: Target, site: Site, muted: bool) {
        self.judge.operate(Operation { on, target, site }, muted);
        self.step();
    }

    /// What an index operation covers, in the form that the judge and every recording take apart.
    fn index(&self, geometry: &CacheGeometry, operand: u32) -> Target {
        match self.reach.cpu.index_form() {
            IndexForm::Resolved => self.reach.cpu.index(geometry, operand).into(),
            IndexForm::WayAboveSet | IndexForm::WayOnTop => Target::Index(operand),
        }
    }

    /// A prefetch of a page that is not mapped does nothing; one that the hardware may also ignore is taken to fill.
    ///
    /// # Safety
    /// As [`execute`](Self::execute).
    unsafe fn prefetch(&mut self, pointer: Pointer, site: Site, environment: Environment) {
        // SAFETY: by this function's contract.
        let mut register = |number| unsafe { self.reach.register(number, environment) };
        let base = register(pointer.register);
        let vaddr = match pointer.offset {
            Offset::Constant(offset) => base.wrapping_add_signed(offset),
            Offset::Register { register: number, shift, subtract } => {
                let offset = register(number) << shift;
                if subtract { base.wrapping_sub(offset) } else { base.wrapping_add(offset) }
            }
        };
        let (page, offset) = if let Some(target) = self.reach.translations.find(vaddr) {
            (target.page, target.offset | (vaddr % GRANULE))
        } else {
            // SAFETY: by this function's contract.
            let Some(paddr) = (unsafe { self.reach.resolve(vaddr) }) else { return };
            // SAFETY: as above.
            if !unsafe { self.reach.is_cached(vaddr, paddr) } {
                return;
            }
            (self.remember(vaddr, paddr), self.reach.geometry.page_offset(paddr.0))
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
