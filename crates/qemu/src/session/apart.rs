//! What devices are given that read old bytes: granules of memory that are put apart, for the device alone, with the old bytes in them.
//!
//! QEMU's IDE controller maps what it is going to read while the store is made that starts it, on the thread of the CPUs and before the store's
//! callback. Where the addresses lead is asked for then (`bus`). What it is about to read can be told from what it was told before (`dma`); so
//! that is looked at first, and judged when the callback comes. Nobody else ever sees what is put apart, and it stays as it is until nothing
//! moves any more. What a program stores meanwhile, the device does not get; it may go either way on any machine.
//!
//! Guarantees: a device gets old bytes where its read is a finding, or follows from one. If it should not be, the check ends as incomplete.

use std::collections::HashMap;

use congruent_geometry::PhysAddr;
use congruent_trace::DmaDirection;
use congruent_wire::{Delivery, FailureKind};

use super::Session;
use super::inject::Memory;
use crate::bus::{self, Apart, ROOM};
use crate::dma::Transfer;
use crate::ram::Bytes;
use crate::translation::GRANULE;

const SIZE: u64 = GRANULE as u64;

/// The most bytes of one read that are told.
const TOLD: usize = 16;

/// What is put apart.
#[derive(Default)]
pub(super) struct SetApart {
    /// By the number of a granule of the guest's memory, its place: of what is just being started.
    places: HashMap<u64, usize>,
    /// Places that are taken, also by what moves already.
    taken: usize,
    /// Whether the device has been started.
    started: bool,
    /// What was put there and is still to be judged: the old byte and the newest.
    shown: Vec<(PhysAddr, u8, u8)>,
    /// Granules that there was no room for, or that were read when nobody could tell.
    left_out: u64,
}

impl SetApart {
    /// The machine starts anew: nothing moves.
    pub fn begin_anew(&mut self) {
        (self.places, self.taken) = (HashMap::new(), 0);
        self.shown.clear();
    }

    /// Something is about to be started, or to be mapped for what is.
    fn begin(&mut self, are_at_rest: bool) {
        if std::mem::take(&mut self.started) {
            // What was put apart for another start is not what memory has now.
            self.places.clear();
            if are_at_rest {
                self.taken = 0;
            }
        }
    }

    /// What was left out, in a sentence.
    pub fn limit(&self) -> Option<String> {
        (self.left_out > 0).then(|| {
            format!("{} pages that the IDE controller read had the newest bytes, because it had not been said beforehand that it would", self.left_out)
        })
    }

    /// Of what is still to be judged, that in this range.
    fn take_shown(&mut self, paddr: PhysAddr, len: u64) -> Vec<(PhysAddr, u8, u8)> {
        let (mut taken, left) = std::mem::take(&mut self.shown)
            .into_iter()
            .partition::<Vec<_>, _>(|(at, ..)| at.0.checked_sub(paddr.0).is_some_and(|offset| offset < len));
        self.shown = left;
        taken.sort_unstable_by_key(|(at, ..)| *at);
        taken
    }
}

/// The first of these, as far as they follow one another, and as many as are told.
fn first_run(shown: &[(PhysAddr, u8, u8)]) -> &[(PhysAddr, u8, u8)] {
    let follow = shown.windows(2).take_while(|pair| pair[0].0.0 + 1 == pair[1].0.0).count();
    &shown[..(follow + 1).min(TOLD).min(shown.len())]
}

impl Session {
    /// A device that is followed has the address translated of something that it is going to read. Called on the thread of the CPUs, within an
    /// access that has not been judged yet.
    pub fn device_reads(&mut self, address: u64) -> Option<Apart> {
        if self.stopped {
            return None;
        }
        let apart = &mut self.inject.as_mut()?.apart;
        let number = address / SIZE;
        apart.begin(self.devices.are_at_rest());
        if let Some(granule) = apart.places.get(&number) {
            return Some(Apart { granule: *granule, bytes: None });
        }
        let own = Memory::of(self.inject.as_ref(), self.leaving.as_ref());
        let plan = self.devices.would_read(&mut |at| own.word(at));
        let covers = |read: &Transfer| address.checked_sub(read.paddr).is_some_and(|offset| offset < read.len);
        if plan.looks.iter().any(covers) {
            // What it does is followed by what memory has there.
            return None;
        }
        let is_foreseen = plan.reads.iter().any(covers);
        let granule = Transfer { direction: DmaDirection::Read, paddr: number * SIZE, len: SIZE };
        let pieces = if is_foreseen { plan.reads } else { vec![granule] };
        let mut old = Vec::new();
        for (from, len) in pieces.iter().filter_map(|piece| piece.common(&granule)) {
            let read = |at, to: &mut [u8]| own.reads(at, to);
            if !self.unseen.look(&mut self.judge, &self.reach.geometry, from, len, read, bus::is_pending) {
                return None;
            }
            old.extend(self.judge.old_in_memory(PhysAddr(from), len));
        }
        let mut bytes: Box<Bytes> = own.bytes(PhysAddr(granule.paddr), GRANULE as usize)?.try_into().ok()?;
        let apart = &mut self.inject.as_mut()?.apart;
        let place = apart.taken;
        let has_room = is_foreseen && place < ROOM;
        let mut differs = false;
        for (paddr, value) in old {
            let byte = &mut bytes[(paddr.0 % SIZE) as usize];
            if *byte != value {
                differs = true;
                if has_room {
                    apart.shown.push((paddr, value, *byte));
                }
                *byte = value;
            }
        }
        if !differs {
            return None;
        }
        if !has_room {
            apart.left_out += 1;
            return None;
        }
        apart.places.insert(number, place);
        apart.taken += 1;
        Some(Apart { granule: place, bytes: Some(bytes) })
    }

    /// An access to a device's registers has been judged, and so were these reads of an engine: each with what it is blamed on.
    pub(super) fn note_device_reads(&mut self, reads: Vec<(PhysAddr, u64, Option<u32>)>) {
        for (paddr, len, blamed) in reads {
            let Some(inject) = &mut self.inject else { return };
            let shown = inject.apart.take_shown(paddr, len);
            let told = first_run(&shown);
            let Some(&(paddr, ..)) = told.first() else { continue };
            let Some(finding) = blamed.and_then(|finding| self.judge.findings().get(finding as usize)) else {
                return self.stop(FailureKind::Internal, "a device was given old bytes where there is no finding".into());
            };
            let (got, newest) = told.iter().map(|(_, old, newest)| (*old, *newest)).unzip();
            let accesses = self.judge.stats().accesses;
            self.deliver(finding.key(), Delivery { paddr, got, newest, accesses });
        }
        if let Some(inject) = &mut self.inject {
            inject.apart.started = true;
            // Of another channel, which was not started.
            inject.apart.shown.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_read_is_its_first_bytes_that_follow_one_another() {
        let shown = |addresses: &[u64]| addresses.iter().map(|at| (PhysAddr(*at), 0, 1)).collect::<Vec<_>>();
        assert_eq!(first_run(&[]), []);
        assert_eq!(first_run(&shown(&[7])).len(), 1);
        assert_eq!(first_run(&shown(&[7, 8, 10])).len(), 2);
        assert_eq!(first_run(&shown(&(0..100).collect::<Vec<_>>())).len(), TOLD);
    }

    #[test]
    fn a_place_is_taken_until_nothing_moves_and_is_for_one_start_only() {
        let mut apart = SetApart { places: HashMap::from([(7, 0)]), taken: 1, ..SetApart::default() };
        apart.begin(true);
        assert_eq!((apart.places.len(), apart.taken), (1, 1), "it has not been started yet");
        apart.started = true;
        apart.begin(false);
        assert_eq!((apart.places.len(), apart.taken), (0, 1), "the other channel moves");
        apart.started = true;
        apart.begin(true);
        assert_eq!(apart.taken, 0);
    }

    #[test]
    fn each_read_takes_what_was_put_apart_for_it() {
        let mut apart = SetApart { shown: [9, 3, 4, 20].map(|at| (PhysAddr(at), 0, 1)).to_vec(), ..SetApart::default() };
        let addresses = |taken: Vec<(PhysAddr, u8, u8)>| taken.iter().map(|(at, ..)| at.0).collect::<Vec<_>>();
        assert_eq!(addresses(apart.take_shown(PhysAddr(3), 7)), [3, 4, 9]);
        assert!(apart.take_shown(PhysAddr(3), 7).is_empty());
        assert_eq!(addresses(apart.take_shown(PhysAddr(16), 8)), [20]);
    }
}
