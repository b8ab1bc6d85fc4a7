//! A shell that runs pipelines of two: fork, exec with arguments, code to fetch, a pipe, small files.

use congruent_vm::Op;

use super::Strand;
use super::plan::{Plan, bytes};

/// The shell and the two programs, by file.
const SHELL: u16 = 0;
const PROGRAMS: [u16; 2] = [1, 2];
const PROGRAM_PAGES: u32 = 4;
const INPUT: u16 = 3;
const INPUT_PAGES: u32 = 8;
const OUTPUT: u16 = 4;

/// Mappings that `exec` makes, and the one that follows.
const CODE: u16 = 0;
const STACK: u16 = 1;
const HEAP: u16 = 2;
const HEAP_PAGES: u32 = 2;

pub(super) struct Shell;

impl Strand for Shell {
    fn begin(&mut self, plan: &mut Plan) {
        for file in [SHELL, PROGRAMS[0], PROGRAMS[1]] {
            plan.creates(0, file, PROGRAM_PAGES);
        }
        plan.creates(0, INPUT, INPUT_PAGES);
        plan.creates(0, OUTPUT, 1);
        plan.executes(0, SHELL);
        plan.maps_memory(0, HEAP, HEAP_PAGES);
    }

    fn round(&mut self, plan: &mut Plan) {
        let (left, right) = (1, 2);
        plan.stores(0, HEAP, HEAP_PAGES);
        runs(plan, 0);
        for child in [left, right] {
            plan.forks(0, child);
            plan.stores(0, STACK, 1);
            plan.loads(child, HEAP, HEAP_PAGES);
            plan.stores(child, STACK, 1);
        }
        for (child, program) in [left, right].into_iter().zip(PROGRAMS) {
            plan.executes(child, program);
            plan.loads(child, STACK, 1);
            runs(plan, child);
            plan.maps_memory(child, HEAP, HEAP_PAGES);
        }
        let (file, pipe) = (plan.file(INPUT), plan.pipe(0));
        let (at, len) = plan.extent(INPUT_PAGES, plan.page);
        plan.does(left, Op::Read { file, at, to: bytes(HEAP, 0, len) });
        plan.does(left, Op::Load(bytes(HEAP, 0, len)));
        plan.stores(left, HEAP, 1);
        plan.does(left, Op::PipeWrite { pipe, from: bytes(HEAP, 0, len) });
        plan.does(left, Op::Exit);
        plan.does(right, Op::PipeRead { pipe, to: bytes(HEAP, 0, len) });
        plan.does(right, Op::Load(bytes(HEAP, 0, len)));
        runs(plan, right);
        let (file, at) = (plan.file(OUTPUT), plan.below(plan.page));
        plan.does(right, Op::Write { file, at, from: bytes(HEAP, 0, len) });
        plan.does(right, Op::Exit);
        plan.loads(0, HEAP, HEAP_PAGES);
        if plan.one_in(8) {
            let file = plan.file(PROGRAMS[0]);
            plan.does(0, Op::Evict { file });
        }
    }
}

fn runs(plan: &mut Plan, task: u16) {
    let code = plan.some(CODE, PROGRAM_PAGES);
    plan.does(task, Op::Run(code));
}
