//! Exec and exit: address spaces that begin and end.

use alloc::vec;
use alloc::vec::Vec;

use congruent_geometry::VirtAddr;
use congruent_machine::{Asid, Medium};

use super::files::Key;
use super::space::{Area, Entry};
use super::{Kernel, Need};
use crate::errno::Errno;
use crate::model::Source;
use crate::op::pattern;
use crate::policy::Backing;
use crate::{AreaId, FileId, TaskId};

/// Pages of a new program's stack; the arguments are at the beginning of the last.
pub(super) const STACK_PAGES: u32 = 4;

impl<M: Medium> Kernel<M> {
    /// Another program in the caller's place. Nothing is lost if it cannot be begun.
    pub(super) fn exec(&mut self, task: TaskId, file: FileId, arguments: u32, seed: u32) -> Result<u32, Errno> {
        let old = self.asid(task)?;
        let pages = self.file(file)?.blocks.len() as u32;
        if pages == 0 || arguments > self.page {
            return Err(Errno::Invalid);
        }
        let asid = self.new_space();
        if let Err(error) = self.begin_program(asid, file, pages, arguments, seed) {
            self.end_space(asid);
            return Err(error);
        }
        let threads = core::mem::take(&mut self.process(old).threads);
        for thread in threads {
            self.tasks[usize::from(thread.0)] = None;
        }
        self.policy.exit(&self.b);
        self.end_space(old);
        self.add_task(task, asid);
        let new = self.task(task)?;
        self.run_on(task, new);
        Ok(arguments)
    }

    /// The program's mappings, and the arguments on its stack, which is made elsewhere first and then moved to its place.
    fn begin_program(&mut self, asid: Asid, file: FileId, pages: u32, arguments: u32, seed: u32) -> Result<(), Errno> {
        let (code, stack) = (AreaId(0), AreaId(1));
        let key = Key::File(file);
        let colour = self.policy.placement(&self.b, Backing::Object(0));
        let geometry = self.b.geometry;
        let base = self.process(asid).gap(&geometry, pages, colour).ok_or(Errno::NoMemory)?;
        self.object(key).mapped += 1;
        let area = Area {
            base,
            entries: vec![Entry::Backing; pages as usize],
            object: Some((key, 0)),
            shared: false,
            write: false,
            execute: true,
            ring: false,
        };
        self.process(asid).insert(code, area);
        self.model.space(asid.0).map(code, Source::File(file), 0, pages, false);

        // One page further than where it will be, so that each page changes its colour on the way.
        let last = self.process(asid).gap(&geometry, STACK_PAGES + 1, None).ok_or(Errno::NoMemory)?;
        let entries = vec![Entry::Backing; STACK_PAGES as usize];
        let first = last.add(self.page.into());
        let area = Area { base: first, entries, object: None, shared: false, write: true, execute: false, ring: false };
        self.process(asid).insert(stack, area);
        self.model.space(asid.0).map(stack, Source::Zero, 0, STACK_PAGES, false);
        let top = STACK_PAGES - 1;
        let bytes: Vec<u8> = (0..arguments).map(|at| pattern(seed, at)).collect();
        if arguments > 0 {
            let frame = self.fault(asid, stack, top, Need::Write, false)?;
            let user = self.user(asid, self.area(asid, stack)?, top);
            let page = self.page_of(frame);
            self.policy.pin(&self.b, page, user)?;
            let home = VirtAddr(last.0 + u64::from(top) * u64::from(self.page));
            self.policy.argument(&self.b, page, user, home, 0, &bytes)?;
            self.model.write(asid.0, stack, top, 0, &bytes, false);
        }
        self.move_area(asid, stack, last, true)
    }

    pub(super) fn exit(&mut self, task: TaskId) -> Result<u32, Errno> {
        let asid = self.asid(task)?;
        self.tasks[usize::from(task.0)] = None;
        let threads = &mut self.process(asid).threads;
        threads.retain(|thread| *thread != task);
        if threads.is_empty() {
            self.policy.exit(&self.b);
            self.end_space(asid);
        }
        Ok(0)
    }

    /// An address space goes, with all that is its own.
    fn end_space(&mut self, asid: Asid) {
        let areas = self.process(asid).ids();
        for id in areas {
            let pages = self.area(asid, id).map_or(0, |area| area.entries.len() as u32);
            // Its entries are read from the tables as they go; nothing in it can fail.
            let _ = self.take_away(asid, id, 0..pages);
            self.end_area(asid, id);
        }
        self.processes[usize::from(asid.0)] = None;
        self.model.end_space(asid.0);
    }
}
