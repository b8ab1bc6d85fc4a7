//! What devices read and write in memory, from what the guest tells them to do: one file per DMA engine.
//!
//! QEMU's plugin interface reports no DMA. But an engine does what its registers and tables say, the guest writes both, and its
//! accesses to registers are seen; so each transfer is known exactly, and before any of it is missed. When within a transfer a byte
//! moves is the device's affair. Therefore a write to memory is reported twice, when the transfer starts and when the guest has seen that
//! it is over: a copy that the cache took in between is as old as one from before. A read of memory is reported at the start only,
//! because bytes that a program stores meanwhile may go either way, and kernels send them again.
//!
//! Not followed: devices without a file here; those on PCI are seen by `bus/`. Pure functions of accesses and memory; nothing here knows QEMU.

mod bcm2835;
mod devices;
mod piix;

pub use devices::Devices;

use congruent_trace::{AccessKind, DmaDirection, Site};

/// One move of bytes between memory and a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// From or to memory.
    pub direction: DmaDirection,
    /// The first byte.
    pub paddr: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Transfer {
    /// What both have, from its first byte on, and its length.
    pub fn common(&self, other: &Self) -> Option<(u64, u64)> {
        let start = self.paddr.max(other.paddr);
        let end = self.paddr.saturating_add(self.len).min(other.paddr.saturating_add(other.len));
        (start < end).then(|| (start, end - start))
    }
}

/// What an engine is going to read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Plan {
    /// Where it looks what to move.
    pub looks: Vec<Transfer>,
    /// What it moves.
    pub reads: Vec<Transfer>,
}

/// An access of the guest to a device's registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegisterAccess {
    /// Load or store.
    pub kind: AccessKind,
    /// The physical address.
    pub paddr: u64,
    /// What was loaded or stored, as bytes in the order of memory.
    pub value: u32,
}

/// Reads the little-endian word at a physical address; `None` where there is no memory.
pub type Memory<'a> = &'a mut dyn FnMut(u64) -> Option<u32>;

/// An engine that moves bytes between memory and devices.
pub trait Engine {
    /// Whether this address is one of its registers.
    fn owns(&self, paddr: u64) -> bool;

    /// Takes note of an access to one of them, and tells `moved` of each transfer that is therefore under way or over.
    fn access(&mut self, access: RegisterAccess, memory: Memory<'_>, moved: &mut dyn FnMut(Transfer));

    /// What it would read of memory if it were started now; nothing if it does not say that beforehand.
    fn would_read(&self, _memory: Memory<'_>) -> Plan {
        Plan::default()
    }

    /// Whether nothing moves of what it was told to move.
    fn is_at_rest(&self) -> bool {
        true
    }

    /// The number that stands for it in events.
    fn site(&self) -> Site;

    /// Whether it has moved anything.
    fn was_used(&self) -> bool;

    /// What it is called in a sentence.
    fn name(&self) -> &'static str;
}

/// Transfers under way that write to memory: told of at the start, and once more at the end.
#[derive(Default)]
struct UnderWay(Vec<Transfer>);

impl UnderWay {
    /// A transfer starts.
    fn start(&mut self, transfer: Transfer, moved: &mut dyn FnMut(Transfer)) {
        if transfer.len == 0 {
            return;
        }
        moved(transfer);
        if transfer.direction == DmaDirection::Write {
            self.0.push(transfer);
        }
    }

    /// All of them are over.
    fn end(&mut self, moved: &mut dyn FnMut(Transfer)) {
        self.0.drain(..).for_each(moved);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Everything that an engine reports while the guest does this.
    pub fn transfers(engine: &mut dyn Engine, memory: &HashMap<u64, u32>, accesses: &[RegisterAccess]) -> Vec<Transfer> {
        let mut all = Vec::new();
        for &access in accesses {
            assert!(engine.owns(access.paddr), "{access:x?}");
            engine.access(access, &mut |address| memory.get(&address).copied(), &mut |transfer| all.push(transfer));
        }
        all
    }

    pub fn store(paddr: u64, value: u32) -> RegisterAccess {
        RegisterAccess { kind: AccessKind::Store, paddr, value }
    }

    pub fn load(paddr: u64, value: u32) -> RegisterAccess {
        RegisterAccess { kind: AccessKind::Load, paddr, value }
    }

    pub fn read(paddr: u64, len: u64) -> Transfer {
        Transfer { direction: DmaDirection::Read, paddr, len }
    }

    pub fn write(paddr: u64, len: u64) -> Transfer {
        Transfer { direction: DmaDirection::Write, paddr, len }
    }
}
