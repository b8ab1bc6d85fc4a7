//! The devices of a guest: which accesses concern a DMA engine that is followed, and which devices are not followed.

use std::collections::{BTreeSet, HashSet};

use congruent_arch::{Arch, DmaEngine, Endian};
use congruent_geometry::PhysAddr;
use congruent_trace::{AccessKind, Event};

use super::bcm2835::Bcm2835;
use super::piix::Piix;
use super::{Engine, Memory, Plan, RegisterAccess};
use crate::bus::{self, Master};

/// Devices are told apart by pieces of the address space this long, because asking for a name is slow.
const PIECE: u64 = 4;

/// Every device that the guest has touched.
pub struct Devices {
    engines: Vec<Box<dyn Engine>>,
    /// Guests of this architecture store the most significant byte first; registers have the least significant one first.
    is_big_endian: bool,
    known: HashSet<u64>,
    /// What QEMU calls the others.
    others: BTreeSet<String>,
    /// Bus masters that have moved something, by their place in [`bus::masters`].
    moved: BTreeSet<usize>,
}

impl Devices {
    /// The devices of the boards of a guest architecture.
    pub fn of(arch: Arch) -> Self {
        let follow = |engine: &DmaEngine| -> Box<dyn Engine> {
            match engine {
                DmaEngine::PiixIde => Box::new(Piix::default()),
                DmaEngine::Bcm2835 => Box::new(Bcm2835::default()),
            }
        };
        Self {
            engines: arch.facts().dma.iter().map(follow).collect(),
            is_big_endian: arch.facts().endian == Endian::Big,
            known: HashSet::new(),
            others: BTreeSet::new(),
            moved: BTreeSet::new(),
        }
    }

    /// What the engines that are followed would read of memory if they were started now.
    pub fn would_read(&self, memory: Memory<'_>) -> Plan {
        let mut all = Plan::default();
        for engine in &self.engines {
            let Plan { looks, reads } = engine.would_read(&mut *memory);
            all.looks.extend(looks);
            all.reads.extend(reads);
        }
        all
    }

    /// Whether none of them moves anything.
    pub fn are_at_rest(&self) -> bool {
        self.engines.iter().all(|engine| engine.is_at_rest())
    }

    /// A bus master that is seen has moved something.
    pub fn note_master(&mut self, number: usize) {
        self.moved.insert(number);
    }

    /// Takes note of an access of `size` bytes to a device's register, and passes on what the device therefore does to memory. `name`
    /// is what QEMU calls the device, `memory` reads the guest's.
    #[allow(clippy::too_many_arguments)]
    pub fn access(
        &mut self,
        kind: AccessKind,
        paddr: u64,
        size: u32,
        value: u32,
        name: impl FnOnce() -> Option<String>,
        memory: Memory<'_>,
        pass_on: &mut dyn FnMut(Event),
    ) {
        let Some(engine) = self.engines.iter_mut().find(|engine| engine.owns(paddr)) else {
            if self.known.insert(paddr / PIECE) {
                self.others.extend(name().filter(|name| !is_made_up(name) && !is_passive(name)));
            }
            return;
        };
        let value = if self.is_big_endian && size <= 4 { value.swap_bytes() >> (32 - 8 * size) } else { value };
        let site = engine.site();
        engine.access(RegisterAccess { kind, paddr, value }, memory, &mut |transfer| {
            let (direction, paddr, len) = (transfer.direction, PhysAddr(transfer.paddr), transfer.len);
            pass_on(Event::Dma { direction, paddr, len, site });
        });
    }

    /// What was observed of DMA and what was not, in sentences.
    pub fn limits(&self) -> Vec<String> {
        self.limits_beside(bus::masters(), bus::does_semihosting())
    }

    /// What coherent devices are called that have moved something.
    pub fn coherent(&self) -> Vec<&'static str> {
        let moved = |(number, _): &(usize, &Master)| self.moved.contains(number);
        bus::masters()
            .iter()
            .enumerate()
            .filter(moved)
            .filter(|(_, master)| master.is_coherent)
            .map(|(_, it)| &*it.name)
            .collect()
    }

    /// The same beside these bus masters.
    fn limits_beside(&self, masters: &[Master], semihosting: bool) -> Vec<String> {
        let engines =
            |used: bool| self.engines.iter().filter(move |engine| engine.was_used() == used).map(|engine| engine.name());
        let mut used: Vec<&str> = engines(true).collect();
        let moved = masters.iter().enumerate().filter(|(number, _)| self.moved.contains(number)).map(|(_, master)| &*master.name);
        used.extend(moved);
        used.dedup();
        let mut limits = Vec::new();
        let unused = engines(false).next();
        if !used.is_empty() {
            limits.push(format!("DMA is judged for {} and for nothing else", used.join(", ")));
        } else if let (Some(engine), true) = (unused, masters.is_empty()) {
            limits.push(format!("no DMA was judged: {engine}, the only device whose DMA is followed, moved nothing"));
        } else if masters.is_empty() {
            limits.push("no DMA was judged: no device of these boards is followed".into());
        } else {
            limits.push("no DMA was judged: no device that is followed moved anything".into());
        }
        if !self.moved.is_empty() {
            limits.push(
                "where a device maps memory to move bytes later, they are judged as moved when it maps it, and pieces of 8 bytes are judged whole"
                    .into(),
            );
        }
        let is_seen = |name: &&String| masters.iter().any(|master| master.registers.contains(name));
        let others: Vec<&str> = self.others.iter().filter(|name| !is_seen(name)).map(String::as_str).collect();
        if !others.is_empty() {
            limits.push(format!("if any of these devices moved bytes by itself, that was not observed: {}", others.join(", ")));
        }
        if semihosting {
            limits.push("semihosting is on, and what the host put into the guest's memory for it was not observed".into());
        }
        limits
    }
}

/// Whether this is no device that could move anything: memory-mapped flash, and places where there is nothing.
fn is_passive(name: &str) -> bool {
    name == "empty-slot" || name.contains("flash") || name.ends_with(".rom") || name.ends_with(".bios")
}

/// Whether QEMU made the name up from an address of its own, for regions that have none: bridges, ports.
fn is_made_up(name: &str) -> bool {
    name.strip_prefix("anon").is_some_and(|rest| rest.chars().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use congruent_trace::Site;

    use super::*;

    fn nothing(devices: &mut Devices, paddr: u64, name: &str) {
        let mut asked = false;
        let name = || {
            asked = true;
            Some(name.to_owned())
        };
        devices.access(AccessKind::Load, paddr, 4, 0, name, &mut |_| None, &mut |event| panic!("{event:?}"));
    }

    #[test]
    fn devices_that_are_not_followed_are_named_once_and_in_order() {
        let mut devices = Devices::of(Arch::Arm);
        for (paddr, name) in
            [(0x2020_1000, "pl011"), (0x2000_b880, "mailbox"), (0x2020_1000, "asked again"), (0x2020_2000, "anon0009ab40")]
        {
            nothing(&mut devices, paddr, name);
        }
        let limits = devices.limits();
        assert!(limits[0].starts_with("no DMA was judged"), "{limits:?}");
        assert!(limits[1].ends_with("mailbox, pl011"), "{limits:?}");
    }

    #[test]
    fn a_bus_master_that_is_seen_is_named_once_it_has_moved_something_and_its_registers_are_not_those_of_others() {
        let masters = [("pcnet", "pcnet-io"), ("e1000", "e1000-mmio")].map(|(name, registers)| Master {
            name: name.into(),
            site: Site(1),
            is_coherent: false,
            registers: vec![registers.into()],
        });
        let mut devices = Devices::of(Arch::Mips(Endian::Little));
        for (paddr, name) in
            [(0x1810_0000, "pcnet-io"), (0x1820_0000, "cirrus"), (0x1e00_0000, "mips.flash"), (0x1f00_0000, "empty-slot")]
        {
            nothing(&mut devices, paddr, name);
        }
        assert!(devices.limits_beside(&masters, false)[0].starts_with("no DMA was judged"));
        devices.note_master(0);
        let limits = devices.limits_beside(&masters, true);
        assert_eq!(limits[0], "DMA is judged for pcnet and for nothing else");
        assert!(limits[2].ends_with("not observed: cirrus"), "{limits:?}");
        assert!(limits[3].starts_with("semihosting is on"), "{limits:?}");
    }

    #[test]
    fn a_big_endian_guest_sees_registers_turned_round() {
        let mut devices = Devices::of(Arch::Mips(Endian::Big));
        let mut events = Vec::new();
        let table = |address: u64| {
            [(0x5000, 0x0010_0000u32), (0x5004, 1 << 31 | 512)].iter().find(|(at, _)| *at == address).map(|(_, word)| *word)
        };
        let ports = 0x1800_1080;
        for (paddr, size, value) in [
            (0x1be0_0cf8, 4, 0x8000_5120u32.swap_bytes()),
            (0x1be0_0cfc, 4, 0x1081u32.swap_bytes()),
            (ports + 4, 4, 0x5000u32.swap_bytes()),
            (ports, 1, 1),
        ] {
            devices.access(AccessKind::Store, paddr, size, value, || None, &mut { table }, &mut |event| events.push(event));
        }
        let Event::Dma { paddr, len, .. } = events[1] else { panic!("{events:?}") };
        assert_eq!((paddr, len), (PhysAddr(0x10_0000), 512));
    }
}
