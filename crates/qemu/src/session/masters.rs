//! What bus masters have done, told to the judge.
//!
//! A device that is coherent sees what the caches hold and is seen by them: before it writes, whatever they hold of those lines goes back to
//! memory and is dropped, at every colour, as a snoop does it; what it reads is never old. One that is not is judged. With virtual tags no
//! snoop finds a line, so what a coherent device does is not judged there.

use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
use congruent_trace::{DmaDirection, Event, Maintenance, On, Operation, Target};

use super::Session;
use super::inject::Memory;
use super::unseen::Unseen;
use crate::bus::{self, Access, Master};
use crate::judge::Judge;
use crate::translation::GRANULE;

impl Session {
    /// Judges what bus masters have done since. What is found is told with the next step.
    #[cold]
    pub fn take_transfers(&mut self) {
        let masters = bus::masters();
        let accesses = bus::drain();
        for (number, &access) in accesses.iter().enumerate() {
            let Some(master) = masters.get(access.master).filter(|_| !self.stopped) else { continue };
            self.devices.note_master(access.master);
            if !master.is_coherent || !self.reach.virtual_tags {
                let later = &accesses[number + 1..];
                let own = Memory::of(self.inject.as_ref(), self.leaving.as_ref());
                transfer(&mut self.judge, &mut self.unseen, own, &self.reach.geometry, master, access, later);
            }
        }
    }
}

/// One access of a bus master, before these others.
fn transfer(
    judge: &mut Judge,
    unseen: &mut Unseen,
    own: Memory<'_>,
    geometry: &CacheGeometry,
    master: &Master,
    access: Access,
    later: &[Access],
) {
    let Access { direction, paddr, len, .. } = access;
    match (master.is_coherent, direction) {
        (true, DmaDirection::Read) => return,
        (true, DmaDirection::Write) => snoop(judge, geometry, master, access),
        (false, _) => {}
    }
    let event = Event::Dma { direction, paddr: PhysAddr(paddr), len, site: master.site };
    // Memory has what those wrote already.
    let writes = |other: &Access| other.direction == DmaDirection::Write && shares_page(other, &access);
    let read = |at, to: &mut [u8]| own.is_read(at, to, bus::read);
    unseen.before(judge, geometry, &event, read, || bus::is_pending() || later.iter().any(writes));
    own.tell_moved(judge, &event);
    judge.bypass(&event);
    // What this device could be given is no load's.
    judge.take_blamed();
}

/// Whether both concern some page.
fn shares_page(one: &Access, other: &Access) -> bool {
    let pages = |access: &Access| {
        let last = access.paddr.saturating_add(access.len.saturating_sub(1));
        (access.paddr / u64::from(GRANULE), last / u64::from(GRANULE))
    };
    let (one, other) = (pages(one), pages(other));
    one.0 <= other.1 && other.0 <= one.1
}

/// What the caches hold of these lines goes back to memory and is dropped.
fn snoop(judge: &mut Judge, geometry: &CacheGeometry, master: &Master, access: Access) {
    let end = access.paddr + access.len;
    let mut at = access.paddr;
    while at < end {
        let next = (at / u64::from(GRANULE) + 1) * u64::from(GRANULE);
        let paddr = PhysAddr(at);
        if judge.knows(geometry.frame(paddr)) {
            for colour in 0..u64::from(geometry.colours()) {
                let vaddr = VirtAddr(colour * u64::from(geometry.page()) + u64::from(geometry.page_offset(at)));
                let target = Target::Bytes { vaddr, paddr, bytes: (next.min(end) - at) as u32 };
                judge.operate(Operation { on: On::Data(Maintenance::WriteBackInvalidate), target, site: master.site }, false);
            }
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use congruent_shadow::{Config, Schedules};
    use congruent_trace::{AccessKind, IndexForm, Site};

    use super::*;

    /// A kernel zeroes two pages through one colour, a device writes from the middle of the first to the middle of the second and reads
    /// them, and a program loads all of it through every colour. How often something could be old.
    fn hazards(is_coherent: bool) -> u64 {
        let geometry = CacheGeometry::new(64 << 10, 4, 32).unwrap();
        let mut judge = Judge::new(Config::new(geometry), IndexForm::Resolved);
        let master = Master { name: "disk".into(), site: Site(7), is_coherent, registers: Vec::new() };
        let start = 0x5_0000;
        let all = |judge: &mut Judge, kind, colour: u64, from: u64, to: u64| {
            for paddr in (start + from..start + to).step_by(8) {
                let page = judge.page(geometry.frame(PhysAddr(paddr)));
                let vaddr = VirtAddr(colour << 12 | paddr & 0xfff);
                judge.access(kind, page, vaddr, geometry.page_offset(paddr), 8, Site(1));
            }
        };
        all(&mut judge, AccessKind::Store, 1, 0, 0x2000);
        for direction in [DmaDirection::Write, DmaDirection::Read] {
            let access = Access { master: 0, direction, paddr: start + 0x804, len: 0x1000 };
            transfer(&mut judge, &mut Unseen::default(), Memory::default(), &geometry, &master, access, &[]);
        }
        for colour in 0..4 {
            all(&mut judge, AccessKind::Load, colour, 0x808, 0x1800);
        }
        judge.stats().hazards
    }

    #[test]
    fn what_a_coherent_device_writes_is_old_at_no_colour_and_what_another_writes_is() {
        assert_eq!(hazards(true), 0);
        assert!(hazards(false) > 0x1000 / 32);
    }

    #[test]
    fn what_a_device_could_have_been_given_is_no_loads() {
        let geometry = CacheGeometry::new(64 << 10, 4, 32).unwrap();
        let caches = Config::new(geometry).with_bytes(Schedules::Worst).unwrap();
        let mut judge = Judge::new(caches, IndexForm::Resolved);
        let paddr = PhysAddr(0x5_0000);
        let page = judge.page(geometry.frame(paddr));
        judge.tell_storing(paddr, &[1; 8]);
        judge.access(AccessKind::Store, page, VirtAddr(0x1000), 0, 8, Site(1));
        let master = Master { name: "disk".into(), site: Site(7), is_coherent: false, registers: Vec::new() };
        let access = Access { master: 0, direction: DmaDirection::Read, paddr: paddr.0, len: 8 };
        transfer(&mut judge, &mut Unseen::default(), Memory::default(), &geometry, &master, access, &[]);
        assert_eq!((judge.stats().hazards, judge.take_old_bytes()), (1, None));
    }
}
