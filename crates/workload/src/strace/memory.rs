//! The calls that change mappings.

use core::ops::Range;

use congruent_vm::{AreaId, Bytes, Op, Place};

use super::StraceErrorReason;
use super::call::Call;
use super::process::Open;
use super::translator::{GLANCE, Translator, Who};

/// The longest mapping that is modelled: longer ones are address space kept free, not memory.
const LONGEST: u64 = 1 << 30;

impl Translator<'_> {
    /// Does what the call does, if it is one of these.
    pub fn memory_call(&mut self, who: Who, call: &Call) -> Result<bool, StraceErrorReason> {
        match call.name.as_str() {
            "mmap" | "mmap2" => self.mmap(who, call)?,
            "munmap" => {
                let (start, len) = (call.number(0)? as u64, call.number(1)? as u64);
                self.unmap(who, self.whole_pages(start, len));
            }
            "brk" => self.brk(who, call.returned()),
            "mprotect" => self.mprotect(who, call)?,
            "mremap" => self.mremap(who, call)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// A range as the log's machine takes it: up to the end of its last page.
    fn whole_pages(&self, start: u64, len: u64) -> Range<u64> {
        const LOGGED_PAGE: u64 = 4096;
        start..start.saturating_add(len).checked_next_multiple_of(LOGGED_PAGE).unwrap_or(u64::MAX)
    }

    fn mmap(&mut self, who: Who, call: &Call) -> Result<(), StraceErrorReason> {
        let (len, rights, flags) = (call.number(1)? as u64, call.text(2), call.text(3));
        let range = self.whole_pages(call.returned(), len);
        self.unmap(who, range.clone());
        if rights == "PROT_NONE" || range.end - range.start > LONGEST {
            // Memory that nobody can use; mprotect may make it usable.
            return Ok(());
        }
        if flags.contains("MAP_ANONYMOUS") {
            self.new_memory(who, range, flags.contains("MAP_SHARED"));
            return Ok(());
        }
        let unit = if call.name == "mmap2" { 4096 } else { 1 };
        let at = (call.number(5)? as u64).saturating_mul(unit);
        let Some((Open::File { file, .. }, _)) = self.descriptor(who, call.number(4)?).map(|at| self.opened[at]) else {
            self.leave_out("mmap of something else than a file");
            return Ok(());
        };
        // No file is longer.
        let Some(at) = u32::try_from(at).ok().filter(|at| at.checked_add(len as u32).is_some()) else {
            self.leave_out("mmap beyond 4 GiB");
            return Ok(());
        };
        self.saw(file, u64::from(at) + len, 0);
        let area = self.processes[who.process].free_area();
        let offset = at % self.page;
        let first = at / self.page;
        let pages = (u64::from(offset) + (range.end - range.start)).div_ceil(self.page.into()) as u32;
        let shared = flags.contains("MAP_SHARED");
        self.does(who, Op::MapFile { area, file, first, pages, shared, place: Place::Anywhere });
        if rights.contains("PROT_EXEC") {
            self.does(who, Op::Protect { area, write: rights.contains("PROT_WRITE"), execute: true });
        }
        self.processes[who.process].space.insert(range, area, offset);
        let inside = u64::from(self.length(file)).saturating_sub(at.into()).min(len).min(u64::from(GLANCE)) as u32;
        let glance = Bytes { area, offset, len: inside };
        if inside > 0 {
            self.does(who, if rights.contains("PROT_EXEC") { Op::Run(glance) } else { Op::Load(glance) });
        }
        Ok(())
    }

    /// Maps memory at this range, in place of what is there, and uses its beginning.
    fn new_memory(&mut self, who: Who, range: Range<u64>, shared: bool) {
        self.unmap(who, range.clone());
        let area = self.processes[who.process].free_area();
        let pages = (range.end - range.start).div_ceil(u64::from(self.page)) as u32;
        self.does(who, Op::MapAnonymous { area, pages, shared, place: Place::Anywhere });
        self.processes[who.process].space.insert(range, area, 0);
        self.stores(who, Bytes { area, offset: 0, len: GLANCE });
    }

    /// Maps memory that has no address in the log.
    pub fn maps_memory(&mut self, who: Who, area: AreaId, len: u32) {
        let pages = len.div_ceil(self.page);
        self.does(who, Op::MapAnonymous { area, pages, shared: false, place: Place::Anywhere });
    }

    fn unmap(&mut self, who: Who, range: Range<u64>) {
        for gone in self.processes[who.process].space.remove(range) {
            // Of pages larger than the log's, those that are gone as a whole, or with which nothing is left of the mapping.
            let last = !self.processes[who.process].space.areas().contains(&gone.area);
            let end = gone.offset + gone.len;
            let (first, end) = if last {
                (gone.offset / self.page, end.div_ceil(self.page))
            } else {
                (gone.offset.div_ceil(self.page), end / self.page)
            };
            if first < end {
                self.does(who, Op::Unmap { area: gone.area, first, pages: end - first });
            }
        }
    }

    fn brk(&mut self, who: Who, end: u64) {
        let before = self.processes[who.process].heap_end.replace(end);
        match before {
            Some(before) if before < end && end - before <= LONGEST => self.new_memory(who, before..end, false),
            Some(before) => self.unmap(who, end..before.max(end)),
            None => {}
        }
    }

    fn mprotect(&mut self, who: Who, call: &Call) -> Result<(), StraceErrorReason> {
        let range = self.whole_pages(call.number(0)? as u64, call.number(1)? as u64);
        let rights = call.text(2);
        let (write, execute) = (rights.contains("PROT_WRITE"), rights.contains("PROT_EXEC"));
        let space = &self.processes[who.process].space;
        match space.find(range.clone()) {
            None if write && range.end - range.start <= LONGEST => {
                self.new_memory(who, range, false);
            }
            Some(pieces) if pieces.iter().all(|piece| space.is_all_of(piece)) => {
                for piece in pieces {
                    self.does(who, Op::Protect { area: piece.area, write, execute });
                }
            }
            Some(_) => self.leave_out("mprotect of a part of a mapping"),
            None => self.leave_out("mprotect where the log shows no mapping"),
        }
        Ok(())
    }

    fn mremap(&mut self, who: Who, call: &Call) -> Result<(), StraceErrorReason> {
        let old = self.whole_pages(call.number(0)? as u64, call.number(1)? as u64);
        let new = self.whole_pages(call.returned(), call.number(2)? as u64);
        let keep = (old.end - old.start).min(new.end - new.start);
        self.unmap(who, old.start + keep..old.end);
        if new.start != old.start {
            self.unmap(who, new.clone());
            let moved = self.processes[who.process].space.remove(old.start..old.start + keep);
            let mut at = new.start;
            for piece in moved {
                self.does(who, Op::Remap { area: piece.area, place: Place::Anywhere });
                let end = at + u64::from(piece.len);
                self.processes[who.process].space.insert(at..end, piece.area, piece.offset);
                at = end;
            }
        }
        if new.start + keep < new.end && new.end - new.start <= LONGEST {
            // What a mapping grows by becomes one of its own.
            self.new_memory(who, new.start + keep..new.end, false);
        }
        Ok(())
    }
}
