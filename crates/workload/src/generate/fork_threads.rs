//! Threads that write while their process forks: what copy-on-write gets wrong when it looks at the wrong colour.

use congruent_vm::Op;

use super::Strand;
use super::plan::{Plan, bytes};

const PAGES: u32 = 8;
/// The first of the tasks that children are named by, in turn.
const CHILDREN: u16 = 4;

pub(super) struct ForkThreads {
    rounds: u16,
    /// A child that lives on into the next round.
    left: Option<u16>,
}

impl ForkThreads {
    pub fn new() -> Self {
        Self { rounds: 0, left: None }
    }
}

impl Strand for ForkThreads {
    fn begin(&mut self, plan: &mut Plan) {
        plan.maps_memory(0, 0, PAGES);
        plan.fills(0, bytes(0, 0, PAGES * plan.page));
        for thread in [1, 2] {
            let new = plan.task(thread);
            plan.does(0, Op::Thread { new });
        }
    }

    fn round(&mut self, plan: &mut Plan) {
        let child = CHILDREN + self.rounds % 4;
        self.rounds += 1;
        for _ in 0..=plan.below(3) {
            let writer = plan.below(3) as u16;
            plan.stores(writer, 0, PAGES);
        }
        plan.forks(0, child);
        // What the threads do now, a kernel may let them do while the fork is under way.
        for _ in 0..2 + plan.below(3) {
            let thread = 1 + plan.below(2) as u16;
            plan.stores(thread, 0, PAGES);
        }
        plan.loads(child, 0, PAGES);
        plan.stores(0, 0, PAGES);
        plan.stores(child, 0, PAGES);
        plan.loads(child, 0, PAGES);
        if let Some(old) = self.left.take() {
            plan.loads(old, 0, PAGES);
            plan.does(old, Op::Exit);
        }
        plan.stores(1, 0, PAGES);
        plan.loads(2, 0, PAGES);
        plan.loads(child, 0, PAGES);
        if plan.one_in(3) {
            self.left = Some(child);
        } else {
            plan.does(child, Op::Exit);
        }
        plan.loads(0, 0, PAGES);
    }
}
