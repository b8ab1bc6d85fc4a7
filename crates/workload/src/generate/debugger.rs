//! A debugger and the program that it debugs: breakpoints go into code that runs, data is read and written from outside.

use congruent_vm::Op;

use super::Strand;
use super::plan::{Plan, bytes};

const PROGRAM: u16 = 0;
const PROGRAM_PAGES: u32 = 4;
/// The program's code, data that it maps, and the debugger's own memory.
const CODE: u16 = 0;
const DATA: u16 = 2;
const DATA_PAGES: u32 = 3;
const OWN: u16 = 0;

const DEBUGGER: u16 = 0;
const DEBUGGED: u16 = 1;

pub(super) struct Debugger;

impl Strand for Debugger {
    fn begin(&mut self, plan: &mut Plan) {
        plan.creates(DEBUGGER, PROGRAM, PROGRAM_PAGES);
        plan.maps_memory(DEBUGGER, OWN, 2);
        plan.forks(DEBUGGER, DEBUGGED);
        plan.executes(DEBUGGED, PROGRAM);
        plan.maps_memory(DEBUGGED, DATA, DATA_PAGES);
        plan.fills(DEBUGGED, bytes(DATA, 0, DATA_PAGES * plan.page));
    }

    fn round(&mut self, plan: &mut Plan) {
        let target = plan.task(DEBUGGED);
        let word = bytes(CODE, 4 * plan.below(PROGRAM_PAGES * plan.page / 4), 4);
        let around = bytes(CODE, word.offset / plan.page * plan.page, plan.page / 4);
        // A breakpoint: read the word, write another, run, put it back, run.
        plan.does(DEBUGGED, Op::Run(around));
        plan.does(DEBUGGER, Op::Peek { target, from: word });
        for _ in 0..2 {
            let seed = plan.seed();
            plan.does(DEBUGGER, Op::Poke { target, to: word, seed });
            plan.does(DEBUGGED, Op::Run(word));
        }
        plan.stores(DEBUGGED, DATA, DATA_PAGES);
        let from = plan.some(DATA, DATA_PAGES);
        plan.does(DEBUGGER, Op::Peek { target, from });
        let (to, seed) = (plan.some(DATA, DATA_PAGES), plan.seed());
        plan.does(DEBUGGER, Op::Poke { target, to, seed });
        plan.does(DEBUGGED, Op::Load(to));
        let area = bytes(OWN, 0, 0).area;
        let (from, offset) = (plan.some(DATA, DATA_PAGES), 4 * plan.below(plan.page / 4));
        plan.does(DEBUGGER, Op::RemoteRead { target, from, area, offset });
        plan.does(DEBUGGER, Op::Load(bytes(OWN, offset, from.len)));
        let (to, offset) = (plan.some(DATA, DATA_PAGES), 4 * plan.below(plan.page / 4));
        plan.fills(DEBUGGER, bytes(OWN, offset, to.len));
        plan.does(DEBUGGER, Op::RemoteWrite { target, to, area, offset });
        plan.does(DEBUGGED, Op::Load(to));
    }
}
