//! The devices of a guest: which accesses concern a DMA engine that is followed, and which devices are not followed.

use std::collections::{BTreeSet, HashSet};

use congruent_arch::{Arch, DmaEngine, Endian};
use congruent_geometry::PhysAddr;
use congruent_trace::{AccessKind, Event};

use super::bcm2835::Bcm2835;
use super::piix::Piix;
use super::{Engine, Memory, RegisterAccess};

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
        }
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
                self.others.extend(name().filter(|name| !is_made_up(name)));
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
        let names = |used: bool| -> Vec<&str> {
            self.engines.iter().filter(|engine| engine.was_used() == used).map(|engine| engine.name()).collect()
        };
        let mut limits = Vec::new();
        let used = names(true);
        if !used.is_empty() {
            limits.push(format!("DMA is judged for {} and for nothing else", used.join(", ")));
        } else if let [engine, ..] = names(false)[..] {
            limits.push(format!("no DMA was judged: {engine}, the only device whose DMA is followed, moved nothing"));
        } else {
            limits.push("no DMA was judged: no device of these boards is followed".into());
        }
        if !self.others.is_empty() {
            let others: Vec<&str> = self.others.iter().map(String::as_str).collect();
            limits.push(format!("if any of these devices moved bytes by itself, that was not observed: {}", others.join(", ")));
        }
        limits
    }
}

/// Whether QEMU made the name up from an address of its own, for regions that have none: bridges, ports.
fn is_made_up(name: &str) -> bool {
    name.strip_prefix("anon").is_some_and(|rest| rest.chars().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
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
