//! What a database does: blocks of 8 KiB with `O_DIRECT` in both directions, at random, while its other thread uses the memory
//! beside the block's, and other accesses to the file go through the page cache.

use congruent_vm::Op;

use super::Strand;
use super::plan::{Plan, bytes};

const BLOCK: u32 = 8 << 10;
const BLOCKS: u32 = 16;
const FILE: u16 = 0;
/// Memory for blocks.
const POOL: u16 = 0;
/// Blocks that it has room for, with a block's worth to spare for unaligned ones.
const ROOM: u32 = 3;
/// The file, mapped.
const MAPPED: u16 = 1;
const BUFFER: u16 = 2;

pub(super) struct DirectIo;

impl DirectIo {
    fn pool_pages(plan: &Plan) -> u32 {
        ((ROOM + 1) * BLOCK).div_ceil(plan.page)
    }
}

impl Strand for DirectIo {
    fn begin(&mut self, plan: &mut Plan) {
        let pages = (BLOCKS * BLOCK).div_ceil(plan.page);
        plan.creates(0, FILE, pages);
        let pool = Self::pool_pages(plan);
        plan.maps_memory(0, POOL, pool);
        plan.fills(0, bytes(POOL, 0, pool * plan.page));
        plan.maps_file(0, MAPPED, FILE, 0..pages, true);
        plan.maps_memory(0, BUFFER, BLOCK.div_ceil(plan.page));
        let new = plan.task(1);
        plan.does(0, Op::Thread { new });
    }

    fn round(&mut self, plan: &mut Plan) {
        let file = plan.file(FILE);
        let at = BLOCK * plan.below(BLOCKS);
        let aligned = BLOCK * plan.below(ROOM);
        let offset = match plan.below(8) {
            0..4 => aligned,
            4 | 5 => aligned + 512 * plan.below(16),
            _ => aligned + plan.below(BLOCK),
        };
        let block = bytes(POOL, offset, BLOCK);
        // The bytes on either side, which share their first or last line with the block if it is not aligned.
        let before = bytes(POOL, offset.saturating_sub(12), offset.min(12));
        let after = bytes(POOL, offset + BLOCK, 12.min((ROOM + 1) * BLOCK - offset - BLOCK));
        for beside in [before, after] {
            if beside.len > 0 {
                plan.fills(1, beside);
            }
        }
        match plan.below(10) {
            0..4 => {
                plan.fills(0, block);
                plan.does(0, Op::DirectWrite { file, at, from: block });
            }
            4..8 => {
                plan.does(0, Op::DirectRead { file, at, to: block });
                plan.does(0, Op::Load(block));
            }
            8 => {
                plan.does(0, Op::Read { file, at, to: bytes(BUFFER, 0, BLOCK) });
                plan.does(0, Op::Load(bytes(BUFFER, 0, BLOCK)));
            }
            _ => {
                plan.fills(0, bytes(BUFFER, 0, BLOCK));
                plan.does(0, Op::Write { file, at, from: bytes(BUFFER, 0, BLOCK) });
            }
        }
        for beside in [before, after] {
            if beside.len > 0 {
                plan.does(1, Op::Load(beside));
            }
        }
        if plan.one_in(4) {
            plan.does(1, Op::Load(bytes(MAPPED, at, 64)));
        }
        if plan.one_in(8) {
            plan.fills(1, bytes(MAPPED, at, 64));
        }
    }
}
