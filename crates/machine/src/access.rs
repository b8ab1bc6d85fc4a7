//! Loads, stores, fetches: what programs do.
//!
//! Guarantees: an access that faults has done nothing. One that spans lines is made line by line, as hardware does. An uncached
//! one goes to memory without a look at the caches; an uncached fetch is told as an uncached load.

use core::ops::Range;

use congruent_geometry::VirtAddr;
use congruent_trace::{AccessKind, Event};

use crate::cache::At;
use crate::computer::{Machine, Side};
use crate::config::Writes;
use crate::sink::Sink;
use crate::tlb::{Fault, Need, Refill};

/// The machine word in which bulk transfers are counted, in bytes.
const WORD: usize = 4;

/// Zeros to store, one line at a time.
const ZEROS: [u8; 128] = [0; 128];

/// Cuts a range into the pieces that lie in one line each.
fn pieces(line: usize, start: VirtAddr, len: usize) -> impl Iterator<Item = (VirtAddr, Range<usize>)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let at = start.add(done as u64);
        let piece = (line - (at.0 as usize & (line - 1))).min(len - done);
        let range = done..done + piece;
        done += piece;
        (piece > 0).then_some((at, range))
    })
}

impl<T: Refill, S: Sink> Machine<T, S> {
    /// Loads `size` bytes, 1 to 8, the first the least significant.
    ///
    /// # Errors
    /// [`Fault`] if a byte is not mapped readable.
    ///
    /// # Panics
    /// If `size` is not 1 to 8.
    #[inline]
    pub fn load(&mut self, cpu: usize, vaddr: VirtAddr, size: u32) -> Result<u64, Fault> {
        assert!(size.wrapping_sub(1) < 8, "a load of {size} bytes");
        if self.adversary.is_none() {
            let core = &mut self.cores[cpu];
            let offset = core.data.offset(vaddr);
            if offset + size as usize <= core.data.line()
                && let Some(mapping) = core.tlb.recent(vaddr.0 >> self.page_shift)
                && mapping.cached
                && mapping.rights.read
            {
                let at = self.at(cpu, vaddr, mapping);
                let core = &mut self.cores[cpu];
                if let Some(slot) = core.data.find(core.data.place(at)) {
                    core.data.touch(slot);
                    core.counters.loads += 1;
                    let site = core.site;
                    self.sink.event(&Event::Access { kind: AccessKind::Load, vaddr, paddr: at.paddr, size, site });
                    return Ok(self.cores[cpu].data.load(slot, offset, size));
                }
            }
        }
        self.load_slow(cpu, vaddr, size)
    }

    /// Stores the low `size` bytes, 1 to 8, of `value`.
    ///
    /// # Errors
    /// [`Fault`] if a byte is not mapped writable; then none is stored.
    ///
    /// # Panics
    /// If `size` is not 1 to 8.
    #[inline]
    pub fn store(&mut self, cpu: usize, vaddr: VirtAddr, size: u32, value: u64) -> Result<(), Fault> {
        assert!(size.wrapping_sub(1) < 8, "a store of {size} bytes");
        if self.stores_stay {
            let core = &mut self.cores[cpu];
            let offset = core.data.offset(vaddr);
            if offset + size as usize <= core.data.line()
                && let Some(mapping) = core.tlb.recent(vaddr.0 >> self.page_shift)
                && mapping.cached
                && mapping.rights.write
            {
                let at = self.at(cpu, vaddr, mapping);
                let core = &mut self.cores[cpu];
                if let Some(slot) = core.data.find(core.data.place(at)) {
                    core.data.touch(slot);
                    core.data.store(slot, offset, size, value);
                    core.counters.stores += 1;
                    let site = core.site;
                    self.sink.event(&Event::Access { kind: AccessKind::Store, vaddr, paddr: at.paddr, size, site });
                    return Ok(());
                }
            }
        }
        self.store_slow(cpu, vaddr, size, value)
    }

    /// Loads bytes as a copy routine does: line by line.
    ///
    /// # Errors
    /// [`Fault`] if a byte is not mapped readable.
    pub fn read(&mut self, cpu: usize, vaddr: VirtAddr, to: &mut [u8]) -> Result<(), Fault> {
        self.check(cpu, vaddr, to.len(), Need::Read)?;
        for (vaddr, part) in pieces(self.cores[cpu].data.line(), vaddr, to.len()) {
            let words = part.len().div_ceil(WORD) as u64;
            self.read_piece(cpu, vaddr, &mut to[part], words)?;
        }
        Ok(())
    }

    /// Stores bytes as a copy routine does: line by line.
    ///
    /// # Errors
    /// [`Fault`] if a byte is not mapped writable; then none is stored.
    pub fn write(&mut self, cpu: usize, vaddr: VirtAddr, from: &[u8]) -> Result<(), Fault> {
        self.check(cpu, vaddr, from.len(), Need::Write)?;
        for (vaddr, part) in pieces(self.cores[cpu].data.line(), vaddr, from.len()) {
            let words = part.len().div_ceil(WORD) as u64;
            self.write_piece(cpu, vaddr, &from[part], words)?;
        }
        Ok(())
    }

    /// Copies `len` bytes: a line is loaded, then stored. The two ranges should not overlap.
    ///
    /// # Errors
    /// [`Fault`] if a byte is not mapped as it must be; then none is stored.
    pub fn copy(&mut self, cpu: usize, from: VirtAddr, to: VirtAddr, len: usize) -> Result<(), Fault> {
        self.check(cpu, from, len, Need::Read)?;
        self.check(cpu, to, len, Need::Write)?;
        let mut line = [0; 128];
        for (from, part) in pieces(self.cores[cpu].data.line(), from, len) {
            let line = &mut line[..part.len()];
            self.read_piece(cpu, from, line, part.len().div_ceil(WORD) as u64)?;
            self.write(cpu, to.add(part.start as u64), line)?;
        }
        Ok(())
    }

    /// Stores `len` zeros.
    ///
    /// # Errors
    /// [`Fault`] if a byte is not mapped writable; then none is stored.
    pub fn zero(&mut self, cpu: usize, vaddr: VirtAddr, len: usize) -> Result<(), Fault> {
        self.check(cpu, vaddr, len, Need::Write)?;
        for (vaddr, part) in pieces(self.cores[cpu].data.line(), vaddr, len) {
            self.write_piece(cpu, vaddr, &ZEROS[..part.len()], part.len().div_ceil(WORD) as u64)?;
        }
        Ok(())
    }

    /// Loads `size` bytes, 1 to 8, stores what `change` makes of them, and returns what was loaded. No other CPU comes in between.
    ///
    /// # Errors
    /// [`Fault`] if a byte is not mapped readable and writable; then nothing is loaded or stored.
    ///
    /// # Panics
    /// If `size` is not 1 to 8.
    pub fn update(&mut self, cpu: usize, vaddr: VirtAddr, size: u32, change: impl FnOnce(u64) -> u64) -> Result<u64, Fault> {
        self.check(cpu, vaddr, size as usize, Need::Read)?;
        self.check(cpu, vaddr, size as usize, Need::Write)?;
        let old = self.load(cpu, vaddr, size)?;
        self.store(cpu, vaddr, size, change(old))?;
        Ok(old)
    }

    /// Fills the line of an address, if it is mapped and cached; never faults.
    pub fn prefetch(&mut self, cpu: usize, vaddr: VirtAddr) {
        let Ok((at, true)) = self.reach(cpu, vaddr, Need::Nothing) else { return };
        let site = self.cores[cpu].site;
        self.tell(Event::Prefetch { vaddr, paddr: at.paddr, site });
        self.stir_at(cpu, Side::Data, at);
        self.note_live(at.paddr);
        if self.adversary.as_mut().is_none_or(|adversary| adversary.likes()) {
            let (_, missed) = self.bring(cpu, Side::Data, at);
            self.cores[cpu].counters.prefetch_fills += u64::from(missed);
        }
    }

    /// Fetches `size` bytes of instructions, 1 to 8, through the instruction cache; the first is the least significant.
    ///
    /// # Errors
    /// [`Fault`] if a byte is not mapped executable.
    ///
    /// # Panics
    /// If `size` is not 1 to 8.
    pub fn fetch(&mut self, cpu: usize, vaddr: VirtAddr, size: u32) -> Result<u64, Fault> {
        assert!(size.wrapping_sub(1) < 8, "a fetch of {size} bytes");
        let mut bytes = [0; 8];
        self.check(cpu, vaddr, size as usize, Need::Execute)?;
        let mut times = 1;
        for (vaddr, part) in pieces(self.cores[cpu].code.line(), vaddr, size as usize) {
            let (at, cached) = self.reach(cpu, vaddr, Need::Execute)?;
            let to = &mut bytes[part];
            let (site, size) = (self.cores[cpu].site, to.len() as u32);
            self.tell(match cached {
                true => Event::Fetch { vaddr, paddr: at.paddr, size, site },
                false => Event::Uncached { kind: AccessKind::Load, paddr: at.paddr, size, site },
            });
            if cached {
                self.stir_at(cpu, Side::Code, at);
                let (slot, missed) = self.bring(cpu, Side::Code, at);
                let core = &mut self.cores[cpu];
                let offset = core.code.offset(vaddr);
                to.copy_from_slice(&core.code.line_bytes(slot)[offset..offset + to.len()]);
                core.counters.fetches += times;
                core.counters.fetch_misses += u64::from(missed);
            } else {
                self.memory.read(at.paddr, to);
                self.cores[cpu].counters.uncached += times;
            }
            times = 0;
        }
        Ok(u64::from_le_bytes(bytes))
    }

    #[cold]
    #[inline(never)]
    fn load_slow(&mut self, cpu: usize, vaddr: VirtAddr, size: u32) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        self.check(cpu, vaddr, size as usize, Need::Read)?;
        let mut times = 1;
        for (vaddr, part) in pieces(self.cores[cpu].data.line(), vaddr, size as usize) {
            self.read_piece(cpu, vaddr, &mut bytes[part], times)?;
            times = 0;
        }
        Ok(u64::from_le_bytes(bytes))
    }

    #[cold]
    #[inline(never)]
    fn store_slow(&mut self, cpu: usize, vaddr: VirtAddr, size: u32, value: u64) -> Result<(), Fault> {
        let bytes = value.to_le_bytes();
        self.check(cpu, vaddr, size as usize, Need::Write)?;
        let mut times = 1;
        for (vaddr, part) in pieces(self.cores[cpu].data.line(), vaddr, size as usize) {
            self.write_piece(cpu, vaddr, &bytes[part], times)?;
            times = 0;
        }
        Ok(())
    }

    /// Loads within one line; counts it `times` times.
    fn read_piece(&mut self, cpu: usize, vaddr: VirtAddr, to: &mut [u8], times: u64) -> Result<(), Fault> {
        let (at, cached) = self.reach(cpu, vaddr, Need::Read)?;
        self.tell_access(cpu, AccessKind::Load, at, cached, to.len());
        self.stir_at(cpu, Side::Data, at);
        if cached {
            self.note_live(at.paddr);
            let (slot, missed) = self.bring(cpu, Side::Data, at);
            let core = &mut self.cores[cpu];
            let offset = core.data.offset(vaddr);
            to.copy_from_slice(&core.data.line_bytes(slot)[offset..offset + to.len()]);
            core.counters.loads += times;
            core.counters.load_misses += u64::from(missed);
        } else {
            self.memory.read(at.paddr, to);
            self.cores[cpu].counters.uncached += times;
        }
        Ok(())
    }

    /// Stores within one line; counts it `times` times.
    fn write_piece(&mut self, cpu: usize, vaddr: VirtAddr, from: &[u8], times: u64) -> Result<(), Fault> {
        let (at, cached) = self.reach(cpu, vaddr, Need::Write)?;
        self.tell_access(cpu, AccessKind::Store, at, cached, from.len());
        self.stir_at(cpu, Side::Data, at);
        if !cached {
            self.memory.write(at.paddr, from);
            self.cores[cpu].counters.uncached += times;
            return Ok(());
        }
        self.note_live(at.paddr);
        let data = &self.cores[cpu].data;
        let place = data.place(at);
        // What another CPU holds is a hit: the copy moves here.
        let to_cache = data.write_allocate || self.cores.iter().any(|core| core.data.find(place).is_some());
        let to_memory = !to_cache || data.writes == Writes::Through;
        self.cores[cpu].counters.stores += times;
        if to_cache {
            let (slot, missed) = self.bring(cpu, Side::Data, at);
            let core = &mut self.cores[cpu];
            let offset = core.data.offset(vaddr);
            core.data.store_bytes(slot, offset, from);
            core.counters.store_misses += u64::from(missed);
        } else {
            self.cores[cpu].counters.store_misses += 1;
        }
        self.claim(cpu, place);
        if to_memory {
            self.memory.write(at.paddr, from);
            self.cores[cpu].counters.written_through += times.max(1);
        }
        Ok(())
    }

    fn tell_access(&mut self, cpu: usize, kind: AccessKind, at: At, cached: bool, len: usize) {
        let (site, size) = (self.cores[cpu].site, len as u32);
        let At { vaddr, paddr, .. } = at;
        self.tell(match cached {
            true => Event::Access { kind, vaddr, paddr, size, site },
            false => Event::Uncached { kind, paddr, size, site },
        });
    }
}
