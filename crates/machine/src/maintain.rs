//! Cache maintenance: by address, by index, of the whole; data side and instruction side.
//!
//! Guarantees: an operation by address acts in the set that its *virtual* operand selects (in a PIPT cache, the physical one)
//! and nowhere else. Which CPUs' caches operations act on is the computer's ([`Maintained`]).

use congruent_geometry::VirtAddr;
use congruent_trace::{Event, Maintenance, Scope};

use core::ops::Range;

use crate::cache::Slot;
use crate::computer::{Machine, Side};
use crate::config::Maintained;
use crate::sink::Sink;
use crate::tlb::{Fault, Need, Refill};

impl<T: Refill, S: Sink> Machine<T, S> {
    /// Maintains the line of one address. It must be mapped, with whatever rights.
    ///
    /// # Errors
    /// [`Fault`] if it is not mapped (MIPS32 Volume II, `CACHE`: hit operations can take TLB exceptions).
    pub fn maintain(&mut self, cpu: usize, op: Maintenance, vaddr: VirtAddr) -> Result<(), Fault> {
        let (at, _) = self.reach(cpu, vaddr, Need::Nothing)?;
        let site = self.cores[cpu].site;
        self.tell(Event::Maintain { op, scope: Scope::Line { vaddr, paddr: at.paddr }, site });
        let counters = &mut self.cores[cpu].counters;
        *match op {
            Maintenance::WriteBack => &mut counters.lines_written_back,
            Maintenance::Invalidate => &mut counters.lines_invalidated,
            Maintenance::WriteBackInvalidate => &mut counters.lines_written_back_and_invalidated,
        } += 1;
        self.stir_at(cpu, Side::Data, at);
        for other in self.reached_by_address(cpu) {
            let data = &self.cores[other].data;
            if let Some(slot) = data.find(data.place(at)) {
                self.act(cpu, other, op, slot);
            }
        }
        Ok(())
    }

    /// Maintains every line of which a byte lies in the range, one by one.
    ///
    /// # Errors
    /// [`Fault`] at the first that is not mapped; those before it are done.
    pub fn maintain_range(&mut self, cpu: usize, op: Maintenance, vaddr: VirtAddr, len: u64) -> Result<(), Fault> {
        for vaddr in lines(vaddr, len, self.config.data.geometry.line()) {
            self.maintain(cpu, op, vaddr)?;
        }
        Ok(())
    }

    /// Maintains whatever is in this set and way. If there is no such set or way, nothing is.
    pub fn maintain_index(&mut self, cpu: usize, op: Maintenance, set: u32, way: u32) {
        let site = self.cores[cpu].site;
        self.tell(Event::Maintain { op, scope: Scope::Index { set, way }, site });
        self.cores[cpu].counters.index_operations += 1;
        for other in self.reached(cpu) {
            if let Some(slot) = self.cores[other].data.slot(set, way) {
                self.maintain_slot(cpu, other, op, slot);
            }
        }
    }

    /// Maintains the whole data cache.
    pub fn maintain_whole(&mut self, cpu: usize, op: Maintenance) {
        let site = self.cores[cpu].site;
        self.tell(Event::Maintain { op, scope: Scope::Whole, site });
        self.cores[cpu].counters.whole_operations += 1;
        for other in self.reached(cpu) {
            for slot in self.cores[other].data.slots() {
                self.maintain_slot(cpu, other, op, slot);
            }
        }
    }

    /// Drops the line of one address from the instruction caches, in the set that the address selects.
    ///
    /// # Errors
    /// [`Fault`] if it is not mapped.
    pub fn invalidate_code(&mut self, cpu: usize, vaddr: VirtAddr) -> Result<(), Fault> {
        let (at, _) = self.reach(cpu, vaddr, Need::Nothing)?;
        self.tell_drop(cpu, Scope::Line { vaddr, paddr: at.paddr });
        self.cores[cpu].counters.code_lines_invalidated += 1;
        self.stir_at(cpu, Side::Code, at);
        let reached = self.reached_by_address(cpu);
        for core in &mut self.cores[reached] {
            if let Some(slot) = core.code.find(core.code.place(at)) {
                core.code.drop_line(slot);
            }
        }
        Ok(())
    }

    /// Drops every line of which a byte lies in the range from the instruction caches.
    ///
    /// # Errors
    /// [`Fault`] at the first that is not mapped; those before it are done.
    pub fn invalidate_code_range(&mut self, cpu: usize, vaddr: VirtAddr, len: u64) -> Result<(), Fault> {
        for vaddr in lines(vaddr, len, self.config.code.geometry.line()) {
            self.invalidate_code(cpu, vaddr)?;
        }
        Ok(())
    }

    /// Empties this set and way of the instruction caches, if there is such.
    pub fn invalidate_code_index(&mut self, cpu: usize, set: u32, way: u32) {
        self.tell_drop(cpu, Scope::Index { set, way });
        self.cores[cpu].counters.code_index_operations += 1;
        let reached = self.reached(cpu);
        for core in &mut self.cores[reached] {
            if let Some(slot) = core.code.slot(set, way) {
                core.code.drop_line(slot);
            }
        }
    }

    /// Empties the instruction caches.
    pub fn invalidate_code_whole(&mut self, cpu: usize) {
        self.tell_drop(cpu, Scope::Whole);
        self.cores[cpu].counters.code_whole_operations += 1;
        let reached = self.reached(cpu);
        for core in &mut self.cores[reached] {
            let code = core.cache(Side::Code);
            code.slots().for_each(|slot| code.drop_line(slot));
        }
    }

    /// The CPUs whose caches an operation by address acts on.
    fn reached_by_address(&self, cpu: usize) -> Range<usize> {
        if self.config.maintained == Maintained::Here { cpu..cpu + 1 } else { 0..self.cores.len() }
    }

    /// The CPUs whose caches an operation by index or on the whole acts on.
    fn reached(&self, cpu: usize) -> Range<usize> {
        if self.config.maintained == Maintained::Everywhere { 0..self.cores.len() } else { cpu..cpu + 1 }
    }

    fn tell_drop(&mut self, cpu: usize, scope: Scope) {
        let site = self.cores[cpu].site;
        self.tell(Event::MaintainCode { scope, site });
    }

    /// Maintains a slot, whatever it holds when its turn comes.
    fn maintain_slot(&mut self, cpu: usize, owner: usize, op: Maintenance, slot: Slot) {
        if let Some(line) = self.cores[owner].data.held(slot) {
            self.stir(line);
            if self.cores[owner].data.held(slot).is_some() {
                self.act(cpu, owner, op, slot);
            }
        }
    }

    /// Carries an operation out on what `owner` holds in `slot`, on behalf of `cpu`.
    fn act(&mut self, cpu: usize, owner: usize, op: Maintenance, slot: Slot) {
        let data = &mut self.cores[owner].data;
        let written = op.writes_back() && data.write_back(slot, &mut self.memory);
        if op.invalidates() {
            data.drop_line(slot);
        }
        self.cores[cpu].counters.write_backs += u64::from(written);
    }
}

/// The first address of every line of which a byte lies in the range.
fn lines(start: VirtAddr, len: u64, line: u32) -> impl Iterator<Item = VirtAddr> {
    let first = start.align_down(line.into()).0;
    let end = start.0.saturating_add(len);
    (first..end).step_by(line as usize).filter(move |_| len > 0).map(VirtAddr)
}
