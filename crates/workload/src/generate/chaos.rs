//! Any operation on anything: what nobody would think of. Most steps name something that exists, because few things have names.

use congruent_vm::{AreaId, Bytes, FileId, Op, PipeId, Place, TaskId};

use super::Strand;
use super::plan::Plan;

const TASKS: u32 = 4;
const AREAS: u32 = 3;
const FILES: u32 = 2;
/// Pages of what is mapped and created, at most.
const PAGES: u32 = 4;
/// Steps of a round.
const STEPS: usize = 16;

pub(super) struct Chaos;

impl Strand for Chaos {
    fn begin(&mut self, plan: &mut Plan) {
        plan.creates(0, 0, PAGES);
        plan.maps_memory(0, 0, PAGES);
        plan.maps_file(0, 1, 0, 0..PAGES, true);
    }

    fn round(&mut self, plan: &mut Plan) {
        for _ in 0..STEPS {
            let (task, op) = (plan.below(TASKS) as u16, any(plan));
            plan.does(task, op);
        }
    }
}

fn any(plan: &mut Plan) -> Op {
    let (area, other_area) = (AreaId(plan.below(AREAS) as u16), AreaId(plan.below(AREAS) as u16));
    let (file, pipe, target) = (FileId(plan.below(FILES) as u16), PipeId(0), TaskId(plan.below(TASKS) as u16));
    let bytes = Bytes { area, ..plan.some(0, PAGES) };
    let (to, from) = (bytes, bytes);
    let offset = 4 * plan.below(PAGES * plan.page / 4);
    let at = if plan.one_in(2) { offset } else { plan.below(PAGES) * plan.page };
    let (first, pages) = (plan.below(PAGES), 1 + plan.below(PAGES));
    let (shared, write, execute, seed) = (plan.one_in(2), !plan.one_in(4), plan.one_in(4), plan.seed());
    let place = if plan.one_in(3) { Place::Colour(plan.below(16) as u16) } else { Place::Anywhere };
    let sectors = Bytes { area, offset: bytes.offset, len: 512 * (1 + plan.below(2 * plan.page / 512)) };
    let sector = offset / 512 * 512;
    match plan.below(64) {
        0..12 => Op::Load(bytes),
        12..26 => Op::Store { to, seed },
        26 => Op::Increment { area, offset },
        27 | 28 => Op::Run(bytes),
        29 => Op::SyncCode(bytes),
        30 => Op::Thread { new: target },
        31..34 => Op::Fork { child: target },
        34 => Op::Exec { file, arguments: plan.below(600), seed },
        35 => Op::Exit,
        36 | 37 => Op::MapAnonymous { area, pages, shared, place },
        38 | 39 => Op::MapFile { area, file, first, pages, shared, place },
        40 => Op::Unmap { area, first, pages },
        41 => Op::Remap { area, place },
        42 => Op::Protect { area, write, execute },
        43 => Op::Create { file, len: plan.below(PAGES * plan.page), seed },
        44 | 45 => Op::Read { file, at, to },
        46 | 47 => Op::Write { file, at, from },
        48 | 49 => Op::DirectRead { file, at: sector, to: sectors },
        50 => Op::DirectWrite { file, at: sector, from: sectors },
        51 => Op::Splice { file, first, pages, pipe },
        52 => Op::PipeWrite { pipe, from },
        53 => Op::PipeRead { pipe, to },
        54 => Op::Sync { file },
        55 => Op::Evict { file },
        56 => Op::VmapRead { file, first, pages },
        57 => Op::VmapWrite { file, first, pages, seed },
        58 => Op::SwapOut { area, first, pages },
        59 => Op::Peek { target, from },
        60 => Op::Poke { target, to, seed },
        61 => Op::RemoteRead { target, from, area: other_area, offset },
        62 => Op::RemoteWrite { target, to, area: other_area, offset },
        _ => match plan.below(3) {
            0 => Op::RingCreate { area, pages },
            1 => Op::RingPost { to, seed },
            _ => Op::RingTake(from),
        },
    }
}
