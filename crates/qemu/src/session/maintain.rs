//! Instructions that are more than loads and stores: cache maintenance, prefetches, changes of translations.
//!
//! Guarantees: what an instruction covers is told to the judge line by line, in the order of its addresses; an operand that leads
//! nowhere is counted. Not here: what the words mean (`guest/`).

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_trace::file::{On, Target as Operands};
use congruent_trace::{IndexForm, Scope, Site};

use super::{Instruction, Session};
use crate::guest::{Meaning, Named, Offset, Operand, Pointer};
use crate::registers::Environment;
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
        if !unsafe { self.cpu.executes(instruction.word, &mut self.reader, environment) } {
            return;
        }
        self.translations.enter(self.cpu.space());
        match self.cpu.decode(instruction.word) {
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
                self.translations.forget();
                // SAFETY: as above.
                unsafe { self.cpu.translations_change(instruction.word, &mut self.reader, environment) };
                if let Some(register) = self.cpu.configures_others(instruction.word) {
                    // SAFETY: as above.
                    let value = unsafe { self.cpu.register(register, &mut self.reader, environment) };
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
        let site = instruction.site();
        // SAFETY: by this function's contract.
        let mut register = |number| unsafe { self.cpu.register(number, &mut self.reader, environment) };
        let muted = self.mute.is_used() && self.mute.covers(instruction.pc, register(self.cpu.stack_pointer()));
        if self.judge.is_recording() {
            // SAFETY: as above.
            unsafe { self.note_operation(on, operand, site, muted, environment) };
        }
        // SAFETY: as above.
        let mut register = |number| unsafe { self.cpu.register(number, &mut self.reader, environment) };
        match operand.read(&mut register) {
            Named::Whole => self.maintain(on, Scope::Whole, site, muted),
            Named::Index(value) => self.maintain(on, self.cpu.index(&geometry, value), site, muted),
            Named::Address(vaddr) => self.maintain_line(on, vaddr, site, muted),
            Named::Range(first, last) => {
                let line = geometry.line();
                let (first, last) = (first & !(line - 1), last & !(line - 1));
                let mut next = (first <= last).then_some(first);
                while let Some(vaddr) = next {
                    self.maintain_line(on, vaddr, site, muted);
                    next = vaddr.checked_add(line).filter(|vaddr| *vaddr <= last);
                }
            }
        }
        self.step();
    }

    /// Records an operation as the instruction has it, for whatever cache it will be judged with.
    ///
    /// # Safety
    /// As [`execute`](Self::execute).
    unsafe fn note_operation(&mut self, on: On, operand: Operand, site: Site, muted: bool, environment: Environment) {
        // SAFETY: by this function's contract.
        let mut register = |number| unsafe { self.cpu.register(number, &mut self.reader, environment) };
        let (first, last) = match operand.read(&mut register) {
            Named::Whole => return self.judge.note_operation(on, Operands::Whole, site, muted),
            Named::Index(mut operand) => {
                if self.cpu.index_form() == IndexForm::Resolved
                    && let Scope::Index { set, way } = self.cpu.index(&self.geometry_of(on).unwrap_or(self.geometry), operand)
                {
                    operand = IndexForm::resolved(set, way);
                }
                return self.judge.note_operation(on, Operands::Index(operand), site, muted);
            }
            Named::Address(vaddr) => (vaddr, vaddr),
            Named::Range(first, last) => (first, last),
        };
        let mut next = (first <= last).then_some(first);
        while let Some(vaddr) = next {
            let end_of_page = vaddr | (GRANULE - 1);
            let bytes = end_of_page.min(last) - vaddr + 1;
            // SAFETY: by this function's contract.
            if let Some(paddr) = unsafe { self.cpu.resolve(vaddr, &self.api, &mut self.reader) } {
                let target = Operands::Bytes { vaddr: VirtAddr(vaddr.into()), paddr, bytes };
                self.judge.note_operation(on, target, site, muted);
            }
            next = end_of_page.checked_add(1).filter(|vaddr| *vaddr <= last);
        }
    }

    /// A prefetch of a page that is not mapped does nothing; one that the hardware may also ignore is taken to fill.
    ///
    /// # Safety
    /// As [`execute`](Self::execute).
    unsafe fn prefetch(&mut self, pointer: Pointer, site: Site, environment: Environment) {
        // SAFETY: by this function's contract.
        let mut register = |number| unsafe { self.cpu.register(number, &mut self.reader, environment) };
        let base = register(pointer.register);
        let vaddr = match pointer.offset {
            Offset::Constant(offset) => base.wrapping_add_signed(offset),
            Offset::Register { register: number, shift, subtract } => {
                let offset = register(number) << shift;
                if subtract { base.wrapping_sub(offset) } else { base.wrapping_add(offset) }
            }
        };
        let (page, offset) = if let Some(target) = self.translations.find(vaddr) {
            (target.page, target.offset | (vaddr % GRANULE))
        } else {
            let modified = self.cpu.modified(vaddr);
            // SAFETY: by this function's contract.
            let Some(paddr) = (unsafe { self.cpu.resolve(modified, &self.api, &mut self.reader) }) else { return };
            // SAFETY: as above.
            if !unsafe { self.cpu.is_cached(modified, paddr, &mut self.reader) } {
                return;
            }
            (self.remember(vaddr, paddr), self.geometry.page_offset(paddr.0))
        };
        self.judge.prefetch(page, self.cache_address(vaddr), offset, site);
    }

    /// The cache of this side, if it is judged.
    fn geometry_of(&self, on: On) -> Option<CacheGeometry> {
        match on {
            On::Data(_) => Some(self.geometry),
            On::Code => self.code,
        }
    }

    fn maintain_line(&mut self, on: On, vaddr: u32, site: Site, muted: bool) {
        let paddr = if self.virtual_tags {
            // The address itself is compared with the tags, whether it is mapped or not, and the judge does not look at where it leads.
            Some(PhysAddr(vaddr.into()))
        } else {
            // SAFETY: called from execution callbacks only.
            unsafe { self.cpu.resolve(vaddr, &self.api, &mut self.reader) }
        };
        match paddr {
            Some(paddr) => self.maintain(on, Scope::Line { vaddr: VirtAddr(vaddr.into()), paddr }, site, muted),
            None => self.untranslated += 1,
        }
    }

    pub(super) fn maintain(&mut self, on: On, scope: Scope, site: Site, muted: bool) {
        self.judge.maintain(on, scope, site, muted);
    }
}
