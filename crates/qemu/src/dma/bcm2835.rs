//! The DMA controller of BCM2835, which the SD host and other devices of the Raspberry Pi use.
//!
//! Source: *BCM2835 ARM Peripherals*, chapter 4 "DMA Controller": 4.2.1.1 (control blocks), 4.2.1.2 (registers), and 1.2.4 (bus
//! addresses).
//!
//! Not followed: a change of the next-block register while a channel runs.

use congruent_trace::{AccessKind, DmaDirection, Site};

use super::{Engine, Memory, RegisterAccess, Transfer, UnderWay};

/// Channels 0 to 14 lie one after the other, channel 15 elsewhere.
const CHANNELS: u64 = 0x2000_7000;
const CHANNEL_15: u64 = 0x20e0_5000;
const CHANNEL_SIZE: u64 = 0x100;

const CONTROL_AND_STATUS: u64 = 0;
const BLOCK_ADDRESS: u64 = 4;
const ACTIVE: u32 = 1;
const RESET: u32 = 1 << 31;

const BLOCK_SIZE: u64 = 32;
/// Audio runs in a ring of blocks for ever: a block is followed once.
const LONGEST_CHAIN: usize = 1 << 16;

const TWO_DIMENSIONS: u32 = 1 << 1;
const DESTINATION_COUNTS: u32 = 1 << 4;
const DESTINATION_IGNORED: u32 = 1 << 7;
const SOURCE_COUNTS: u32 = 1 << 8;
const SOURCE_IGNORED: u32 = 1 << 11;

/// The controller with its channels.
#[derive(Default)]
pub struct Bcm2835 {
    channels: [Channel; 16],
    used: bool,
}

#[derive(Default)]
struct Channel {
    /// The first block of the next chain.
    block: u32,
    under_way: UnderWay,
}

impl Engine for Bcm2835 {
    fn owns(&self, paddr: u64) -> bool {
        channel_and_register(paddr).is_some()
    }

    fn access(&mut self, access: RegisterAccess, memory: Memory<'_>, moved: &mut dyn FnMut(Transfer)) {
        let Some((number, register)) = channel_and_register(access.paddr) else { return };
        let channel = &mut self.channels[number];
        match (register, access.kind) {
            (CONTROL_AND_STATUS, kind) => {
                channel.under_way.end(moved);
                // "Active" without a new chain acknowledges an interrupt.
                let starts = kind == AccessKind::Store && access.value & ACTIVE != 0 && access.value & RESET == 0;
                if starts && channel.block != 0 {
                    self.used = true;
                    channel.start(memory, moved);
                }
            }
            (BLOCK_ADDRESS, AccessKind::Store) => channel.block = access.value,
            _ => {}
        }
    }

    fn site(&self) -> Site {
        congruent_trace::devices::BCM2835_DMA
    }

    fn was_used(&self) -> bool {
        self.used
    }

    fn name(&self) -> &'static str {
        "the DMA controller of BCM2835 (SD host)"
    }
}

fn channel_and_register(paddr: u64) -> Option<(usize, u64)> {
    if (CHANNEL_15..CHANNEL_15 + CHANNEL_SIZE).contains(&paddr) {
        return Some((15, paddr - CHANNEL_15));
    }
    let offset = paddr.checked_sub(CHANNELS)?;
    (offset < 15 * CHANNEL_SIZE).then_some(((offset / CHANNEL_SIZE) as usize, offset % CHANNEL_SIZE))
}

/// The physical address of a bus address, `None` for a peripheral: memory appears four times, with different policies of the
/// graphics processor's cache.
fn memory_at(bus: u32) -> Option<u64> {
    const PERIPHERALS: u32 = 0x7e;
    (bus >> 24 != PERIPHERALS).then_some(u64::from(bus & 0x3fff_ffff))
}

/// What one side of a block covers: `counts` if the address advances, else one word again and again.
fn sides(start: u32, counts: bool, length: u32, two_dimensions: bool, stride: i16) -> impl Iterator<Item = (u64, u64)> {
    let (rows, row) = if two_dimensions {
        (u64::from(length >> 16 & 0x3fff) + 1, u64::from(length & 0xffff))
    } else {
        (1, u64::from(length & 0x3fff_ffff))
    };
    // After a row the address has advanced by it; the stride is added to that.
    let step = if counts { row as i64 + i64::from(stride) } else { i64::from(stride) };
    let len = if counts { row } else { row.min(4) };
    let start = memory_at(start);
    (0..rows).filter_map(move |n| Some((start?.wrapping_add_signed(step * n as i64), len)))
}

impl Channel {
    fn start(&mut self, memory: Memory<'_>, moved: &mut dyn FnMut(Transfer)) {
        let mut next = std::mem::take(&mut self.block);
        let mut followed = std::collections::HashSet::new();
        while next != 0 && followed.len() < LONGEST_CHAIN && followed.insert(next) {
            let Some(at) = memory_at(next) else { return };
            let mut word = |index: u64| memory(at + 4 * index);
            let words = (word(0), word(1), word(2), word(3), word(4), word(5));
            let (Some(information), Some(source), Some(destination), Some(length), Some(strides), Some(following)) = words else {
                return;
            };
            moved(Transfer { direction: DmaDirection::Read, paddr: at, len: BLOCK_SIZE });
            let has = |bit: u32| information & bit != 0;
            let two_dimensions = has(TWO_DIMENSIONS);
            if !has(SOURCE_IGNORED) {
                for (paddr, len) in sides(source, has(SOURCE_COUNTS), length, two_dimensions, strides as i16) {
                    self.under_way.start(Transfer { direction: DmaDirection::Read, paddr, len }, moved);
                }
            }
            if !has(DESTINATION_IGNORED) {
                for (paddr, len) in sides(destination, has(DESTINATION_COUNTS), length, two_dimensions, (strides >> 16) as i16) {
                    self.under_way.start(Transfer { direction: DmaDirection::Write, paddr, len }, moved);
                }
            }
            next = following;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::tests::{load, read, store, transfers, write};
    use super::*;

    const CHANNEL_2: u64 = CHANNELS + 2 * CHANNEL_SIZE;
    const SD_DATA: u32 = 0x7e20_2040;

    fn blocks(blocks: &[(u64, [u32; 6])]) -> HashMap<u64, u32> {
        let words =
            |&(at, words): &(u64, [u32; 6])| words.into_iter().enumerate().map(move |(n, word)| (at + 4 * n as u64, word));
        blocks.iter().flat_map(words).collect()
    }

    fn run(memory: &HashMap<u64, u32>, block: u32) -> Vec<Transfer> {
        transfers(&mut Bcm2835::default(), memory, &[store(CHANNEL_2 + 4, block), store(CHANNEL_2, ACTIVE)])
    }

    #[test]
    fn a_chain_from_a_device_writes_each_piece_at_the_start_and_again_at_the_interrupt() {
        let memory = blocks(&[
            (0x1000, [DESTINATION_COUNTS, SD_DATA, 0x4010_0000, 512, 0, 0x4000_1040]),
            (0x1040, [DESTINATION_COUNTS, SD_DATA, 0x4020_0000, 1024, 0, 0]),
        ]);
        let pieces = [write(0x10_0000, 512), write(0x20_0000, 1024)];
        let mut controller = Bcm2835::default();
        let begun = transfers(&mut controller, &memory, &[store(CHANNEL_2 + 4, 0x4000_1000), store(CHANNEL_2, ACTIVE)]);
        assert_eq!(begun, [read(0x1000, 32), pieces[0], read(0x1040, 32), pieces[1]]);
        // The interrupt is acknowledged with "active": that starts nothing.
        assert_eq!(transfers(&mut controller, &memory, &[store(CHANNEL_2, ACTIVE | 1 << 2)]), pieces);
        assert_eq!(transfers(&mut controller, &memory, &[load(CHANNEL_2, 0)]), []);
        assert!(controller.was_used());
    }

    #[test]
    fn a_block_to_a_device_reads_memory() {
        let memory = blocks(&[(0x1000, [SOURCE_COUNTS, 0xc010_0000, SD_DATA, 4096, 0, 0])]);
        assert_eq!(run(&memory, 0xc000_1000), [read(0x1000, 32), read(0x10_0000, 4096)]);
    }

    #[test]
    fn rows_are_apart_by_length_and_stride() {
        let information = TWO_DIMENSIONS | SOURCE_COUNTS | DESTINATION_COUNTS;
        let memory = blocks(&[(0x1000, [information, 0x1_0000, 0x2_0000, 1 << 16 | 64, (-32i16 as u16 as u32) << 16 | 16, 0])]);
        let expected = [read(0x1000, 32), read(0x1_0000, 64), read(0x1_0050, 64), write(0x2_0000, 64), write(0x2_0020, 64)];
        assert_eq!(run(&memory, 0x1000), expected);
    }

    #[test]
    fn a_ring_is_followed_once() {
        let memory = blocks(&[(0x1000, [SOURCE_COUNTS, 0x1_0000, SD_DATA, 64, 0, 0x1000])]);
        assert_eq!(run(&memory, 0x1000), [read(0x1000, 32), read(0x1_0000, 64)]);
    }

    #[test]
    fn a_reset_starts_nothing() {
        let memory = blocks(&[(0x1000, [SOURCE_COUNTS, 0x1_0000, SD_DATA, 64, 0, 0])]);
        let accesses = [store(CHANNEL_2 + 4, 0x1000), store(CHANNEL_2, RESET | ACTIVE)];
        assert_eq!(transfers(&mut Bcm2835::default(), &memory, &accesses), []);
    }

    #[test]
    fn sixteen_channels_are_known() {
        let controller = Bcm2835::default();
        for (paddr, owned) in
            [(CHANNELS - 4, false), (CHANNELS, true), (CHANNELS + 0xefc, true), (CHANNELS + 0xf00, false), (CHANNEL_15, true)]
        {
            assert_eq!(controller.owns(paddr), owned, "{paddr:#x}");
        }
    }
}
