//! A ring as of `io_uring`: the program stores entries and its tail, the kernel takes them, posts answers and its own.

use congruent_vm::{AreaId, Op};

use super::Strand;
use super::plan::{Plan, bytes};

const RING: u16 = 0;
const PAGES: u32 = 2;
/// Bytes of an entry.
const ENTRY: u32 = 64;
/// Where the program's and the kernel's tails are: in one line, as rings of packet sockets have them.
const TAIL: u32 = 0;
const ANSWERED: u32 = 4;

pub(super) struct Ring {
    next: u32,
}

impl Ring {
    pub fn new() -> Self {
        Self { next: 0 }
    }
}

impl Strand for Ring {
    fn begin(&mut self, plan: &mut Plan) {
        plan.does(0, Op::RingCreate { area: AreaId(RING), pages: PAGES });
        let new = plan.task(1);
        plan.does(0, Op::Thread { new });
    }

    fn round(&mut self, plan: &mut Plan) {
        // The first page holds the tails and answers, the second one entries.
        let per_page = plan.page / ENTRY;
        for _ in 0..=plan.below(3) {
            let entry = bytes(RING, plan.page + ENTRY * (self.next % per_page), ENTRY);
            let answer = bytes(RING, ENTRY * (1 + self.next % (per_page - 1)), ENTRY);
            self.next += 1;
            let writer = plan.below(2) as u16;
            plan.fills(writer, entry);
            plan.does(writer, Op::Increment { area: AreaId(RING), offset: TAIL });
            plan.does(writer, Op::RingTake(bytes(RING, TAIL, 4)));
            plan.does(writer, Op::RingTake(entry));
            for to in [answer, bytes(RING, ANSWERED, 4)] {
                let seed = plan.seed();
                plan.does(writer, Op::RingPost { to, seed });
            }
            plan.does(1 - writer, Op::Load(bytes(RING, ANSWERED, 4)));
            plan.does(1 - writer, Op::Load(answer));
        }
    }
}
