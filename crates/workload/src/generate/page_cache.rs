//! Read, write and mmap of the same files: a process and its child share a file's pages, another process maps a second file.

use congruent_vm::Op;

use super::Strand;
use super::plan::{Plan, bytes};

const PAGES: [u32; 2] = [16, 8];
/// The first file, shared; in task 2 the second.
const SHARED: u16 = 0;
/// Part of the first file, private.
const PRIVATE: u16 = 1;
const PRIVATE_PAGES: core::ops::Range<u32> = 4..12;
const BUFFER: u16 = 2;
const BUFFER_PAGES: u32 = 2;

pub(super) struct PageCache;

impl Strand for PageCache {
    fn begin(&mut self, plan: &mut Plan) {
        for file in [0, 1] {
            plan.creates(0, file, PAGES[usize::from(file)]);
        }
        plan.forks(0, 2);
        plan.maps_file(0, SHARED, 0, 0..PAGES[0], true);
        plan.maps_file(0, PRIVATE, 0, PRIVATE_PAGES, false);
        plan.maps_file(2, SHARED, 1, 0..PAGES[1], true);
        for task in [0, 2] {
            plan.maps_memory(task, BUFFER, BUFFER_PAGES);
        }
        plan.forks(0, 1);
    }

    fn round(&mut self, plan: &mut Plan) {
        let task = plan.below(3) as u16;
        let which = plan.below(2) as u16;
        let file = plan.file(which);
        let (at, len) = plan.extent(PAGES[usize::from(which)], plan.page);
        let buffer = bytes(BUFFER, 4 * plan.below(plan.page / 4), len);
        let mapped = PAGES[usize::from(task == 2)];
        match plan.below(100) {
            0..40 => {
                plan.does(task, Op::Read { file, at, to: buffer });
                plan.does(task, Op::Load(buffer));
            }
            40..65 => {
                plan.fills(task, buffer);
                plan.does(task, Op::Write { file, at, from: buffer });
            }
            65..80 => plan.loads(task, SHARED, mapped),
            80..90 => plan.stores(task, SHARED, mapped),
            90..92 if task != 2 => plan.stores(task, PRIVATE, PRIVATE_PAGES.end - PRIVATE_PAGES.start),
            90..94 if task != 2 => plan.loads(task, PRIVATE, PRIVATE_PAGES.end - PRIVATE_PAGES.start),
            90..96 => {
                let (pipe, first) = (plan.pipe(0), at / plan.page);
                plan.does(task, Op::Splice { file, first, pages: 1, pipe });
                plan.does(task, Op::PipeRead { pipe, to: bytes(BUFFER, 0, plan.page) });
                plan.loads(task, BUFFER, 1);
            }
            96..99 => plan.does(task, Op::Sync { file }),
            _ => plan.does(task, Op::Evict { file }),
        }
    }
}
