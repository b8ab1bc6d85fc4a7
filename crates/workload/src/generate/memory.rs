//! Memory that is short and moves about: swap, mremap to other colours, changes of rights, new mappings in place of old ones, and
//! a file system that handles blocks through mappings of its own.

use congruent_vm::{AreaId, Op, Place};

use super::Strand;
use super::plan::{Plan, bytes};

const PRIVATE: u16 = 0;
const SHARED: u16 = 1;
const FILE_COPY: u16 = 2;
/// Comes and goes.
const SHORT: u16 = 3;
const PAGES: u32 = 6;
const FILE: u16 = 0;
const BLOCK_PAGES: u32 = 2;

pub(super) struct Memory;

impl Strand for Memory {
    fn begin(&mut self, plan: &mut Plan) {
        plan.creates(0, FILE, PAGES);
        plan.maps_memory(0, PRIVATE, PAGES);
        plan.fills(0, bytes(PRIVATE, 0, PAGES * plan.page));
        plan.does(0, Op::MapAnonymous { area: AreaId(SHARED), pages: PAGES, shared: true, place: Place::Anywhere });
        plan.maps_file(0, FILE_COPY, FILE, 0..PAGES, false);
        plan.maps_memory(0, SHORT, PAGES);
        plan.forks(0, 1);
    }

    fn round(&mut self, plan: &mut Plan) {
        let (task, other) = if plan.one_in(2) { (0, 1) } else { (1, 0) };
        let area = plan.below(3) as u16;
        let file = plan.file(FILE);
        let first = plan.below(PAGES - BLOCK_PAGES + 1);
        plan.stores(task, area, PAGES);
        match plan.below(8) {
            0 | 1 => plan.does(task, Op::SwapOut { area: AreaId(area), first, pages: BLOCK_PAGES }),
            2 => {
                let place = if plan.one_in(2) { Place::Anywhere } else { Place::Colour(plan.below(16) as u16) };
                plan.does(task, Op::Remap { area: AreaId(area), place });
            }
            3 => {
                plan.does(task, Op::Protect { area: AreaId(area), write: false, execute: false });
                plan.loads(task, area, PAGES);
                plan.does(task, Op::Protect { area: AreaId(area), write: true, execute: false });
            }
            4 => {
                plan.stores(task, SHORT, PAGES);
                plan.does(task, Op::Unmap { area: AreaId(SHORT), first: 0, pages: PAGES });
                let place = Place::Colour(plan.below(16) as u16);
                plan.does(task, Op::MapAnonymous { area: AreaId(SHORT), pages: PAGES, shared: false, place });
                plan.loads(task, SHORT, PAGES);
            }
            5 => plan.does(task, Op::VmapRead { file, first, pages: BLOCK_PAGES }),
            6 => {
                let seed = plan.seed();
                plan.does(task, Op::VmapWrite { file, first, pages: BLOCK_PAGES, seed });
                plan.does(task, Op::Evict { file });
            }
            _ => {
                plan.does(task, Op::Exit);
                plan.forks(other, task);
            }
        }
        plan.loads(task, area, PAGES);
        plan.loads(other, area, PAGES);
    }
}
