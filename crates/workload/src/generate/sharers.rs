//! Many processes that map the same pages of a file, while one of them also reads and writes it: what a search for the mappings
//! of a page costs as they grow in number.

use congruent_vm::Op;

use super::Strand;
use super::plan::{Plan, bytes};

const PAGES: u32 = 4;
const SHARED: u16 = 0;
const BUFFER: u16 = 1;

pub(super) struct Sharers {
    /// At least one.
    processes: u16,
}

impl Sharers {
    pub fn new(scale: u32) -> Self {
        Self { processes: u16::try_from(scale).unwrap_or(u16::MAX).max(1) }
    }
}

impl Strand for Sharers {
    fn begin(&mut self, plan: &mut Plan) {
        plan.creates(0, 0, PAGES);
        plan.maps_file(0, SHARED, 0, 0..PAGES, true);
        plan.maps_memory(0, BUFFER, 2);
        for process in 1..self.processes {
            plan.forks(0, process);
        }
        for process in 0..self.processes {
            plan.does(process, Op::Load(bytes(SHARED, 0, PAGES * plan.page)));
        }
    }

    fn round(&mut self, plan: &mut Plan) {
        let (process, file) = (plan.below(u32::from(self.processes)) as u16, plan.file(0));
        let (at, len) = plan.extent(PAGES, plan.page);
        let buffer = bytes(BUFFER, 0, len);
        match plan.below(8) {
            0..3 => {
                plan.does(0, Op::Read { file, at, to: buffer });
                plan.does(0, Op::Load(buffer));
            }
            3..6 => {
                plan.fills(0, buffer);
                plan.does(0, Op::Write { file, at, from: buffer });
            }
            6 => plan.loads(process, SHARED, PAGES),
            _ => plan.stores(process, SHARED, PAGES),
        }
    }
}
