//! The IDE controller of the malta board: the bus master of PIIX4, programmed through the GT-64120 bridge.
//!
//! Sources: *Programming Interface for Bus Master IDE Controller* (revision 1.0), sections 1.2 "PRD Table" and 2 "Registers";
//! *82371AB (PIIX4)* data sheet, 4.1.9 "BMIBA"; *GT-64120* data sheet, 17.16 "PCI Configuration"; *Malta User's Manual*, "Memory Map"
//! and "PCI".
//!
//! Assumed: the bridge's registers at 0x1be00000 and PCI I/O space at 0x18000000, where the board's firmware and QEMU's put them.

use congruent_trace::{AccessKind, DmaDirection, Site};

use super::{Engine, Memory, Plan, RegisterAccess, Transfer, UnderWay};

const CONFIG_ADDRESS: u64 = 0x1be0_0cf8;
const CONFIG_DATA: u64 = 0x1be0_0cfc;
const IO_SPACE: u64 = 0x1800_0000;
/// Base address register 4 (offset 0x20) of function 1 of device 10 on bus 0, configuration cycles enabled.
const BUS_MASTER_BASE: u32 = 1 << 31 | 10 << 11 | 1 << 8 | 0x20;

const COMMAND: u64 = 0;
const STATUS: u64 = 2;
const TABLE: u64 = 4;
const START: u32 = 1;
const TO_MEMORY: u32 = 1 << 3;
const INTERRUPT: u32 = 1 << 2;
/// A table holds at most 64 KiB.
const LONGEST_TABLE: u64 = (64 << 10) / 8;
const LAST: u32 = 1 << 31;

/// The controller with its two channels.
#[derive(Default)]
pub struct Piix {
    config_address: u32,
    /// The I/O ports of the bus master; zero while it has none.
    ports: u64,
    channels: [Channel; 2],
    used: bool,
}

#[derive(Default)]
struct Channel {
    table: u32,
    running: bool,
    under_way: UnderWay,
}

impl Engine for Piix {
    fn owns(&self, paddr: u64) -> bool {
        let ports = IO_SPACE + self.ports;
        matches!(paddr & !3, CONFIG_ADDRESS | CONFIG_DATA) || (self.ports != 0 && (ports..ports + 16).contains(&paddr))
    }

    fn access(&mut self, access: RegisterAccess, memory: Memory<'_>, moved: &mut dyn FnMut(Transfer)) {
        let RegisterAccess { kind, paddr, value } = access;
        match (paddr, kind) {
            (CONFIG_ADDRESS, AccessKind::Store) => self.config_address = value,
            (CONFIG_DATA, AccessKind::Store) if self.config_address == BUS_MASTER_BASE => self.ports = u64::from(value & 0xfff0),
            _ if self.ports != 0 && paddr >= IO_SPACE + self.ports => {
                let port = paddr - IO_SPACE - self.ports;
                let Some(channel) = self.channels.get_mut((port / 8) as usize) else { return };
                self.used |= channel.access(port % 8, kind, value, memory, moved);
            }
            _ => {}
        }
    }

    fn would_read(&self, memory: Memory<'_>) -> Plan {
        let mut plan = Plan::default();
        for channel in self.channels.iter().filter(|channel| !channel.running && channel.table != 0) {
            channel.go_through(&mut *memory, &mut |entry, piece| {
                plan.looks.push(entry);
                plan.reads.push(piece);
            });
        }
        plan
    }

    fn is_at_rest(&self) -> bool {
        self.channels.iter().all(|channel| !channel.running)
    }

    fn site(&self) -> Site {
        congruent_trace::devices::PIIX_IDE
    }

    fn was_used(&self) -> bool {
        self.used
    }

    fn name(&self) -> &'static str {
        "the IDE controller of malta (PIIX4)"
    }
}

impl Channel {
    /// Whether a transfer starts.
    fn access(
        &mut self,
        register: u64,
        kind: AccessKind,
        value: u32,
        memory: Memory<'_>,
        moved: &mut dyn FnMut(Transfer),
    ) -> bool {
        match (register, kind) {
            (TABLE, AccessKind::Store) => self.table = value & !3,
            (COMMAND, AccessKind::Store) => {
                let starts = value & START != 0 && !self.running;
                self.running = value & START != 0;
                if starts {
                    self.under_way.end(moved);
                    self.start(value & TO_MEMORY != 0, memory, moved);
                } else if !self.running {
                    self.under_way.end(moved);
                }
                return starts;
            }
            (STATUS, AccessKind::Load) if value & INTERRUPT != 0 => self.under_way.end(moved),
            _ => {}
        }
        false
    }

    fn start(&mut self, to_memory: bool, memory: Memory<'_>, moved: &mut dyn FnMut(Transfer)) {
        let direction = if to_memory { DmaDirection::Write } else { DmaDirection::Read };
        let mut pieces = Vec::new();
        self.go_through(memory, &mut |entry, piece| pieces.extend([(false, entry), (true, Transfer { direction, ..piece })]));
        for (is_piece, transfer) in pieces {
            if is_piece {
                self.under_way.start(transfer, moved);
            } else {
                moved(transfer);
            }
        }
    }

    /// Goes through the table: the read of each entry, and the piece that it says, read as well.
    fn go_through(&self, memory: Memory<'_>, each: &mut dyn FnMut(Transfer, Transfer)) {
        for entry in 0..LONGEST_TABLE {
            let at = u64::from(self.table) + 8 * entry;
            let (Some(base), Some(count)) = (memory(at), memory(at + 4)) else { return };
            // The lowest bit of both is zero; a count of zero means 64 KiB.
            let len = match count & 0xfffe {
                0 => 64 << 10,
                len => u64::from(len),
            };
            let read = |paddr, len| Transfer { direction: DmaDirection::Read, paddr, len };
            each(read(at, 8), read(u64::from(base & !1), len));
            if count & LAST != 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::tests::{load, read, store, transfers, write};
    use super::*;

    const PORTS: u64 = IO_SPACE + 0x1080;

    fn configured() -> Piix {
        let mut piix = Piix::default();
        let config = [
            store(CONFIG_ADDRESS, BUS_MASTER_BASE),
            store(CONFIG_DATA, 0xffff_ffff),
            store(CONFIG_DATA, 0x1081),
            // Another function's register.
            store(CONFIG_ADDRESS, BUS_MASTER_BASE + (1 << 8)),
            store(CONFIG_DATA, 0x2001),
        ];
        assert_eq!(transfers(&mut piix, &HashMap::new(), &config), []);
        piix
    }

    /// Two pieces, the second of 64 KiB.
    fn table() -> HashMap<u64, u32> {
        [(0x5000, 0x0010_0200), (0x5004, 0x0400), (0x5008, 0x0020_0000), (0x500c, LAST)].into()
    }

    #[test]
    fn what_the_table_says_is_written_at_the_start_and_again_when_the_guest_sees_the_end() {
        let pieces = [write(0x0010_0200, 0x400), write(0x0020_0000, 0x1_0000)];
        let start = [read(0x5000, 8), pieces[0], read(0x5008, 8), pieces[1]];
        let mut piix = configured();
        let begun =
            transfers(&mut piix, &table(), &[store(PORTS + 4, 0x5000), store(PORTS, TO_MEMORY), store(PORTS, TO_MEMORY | START)]);
        assert_eq!(begun, start);
        assert_eq!(transfers(&mut piix, &table(), &[load(PORTS + 2, 1)]), []);
        assert_eq!(transfers(&mut piix, &table(), &[load(PORTS + 2, INTERRUPT)]), pieces);
        // The end is told of once.
        assert_eq!(transfers(&mut piix, &table(), &[load(PORTS + 2, INTERRUPT), store(PORTS, 0)]), []);
        assert!(piix.was_used());
    }

    #[test]
    fn what_goes_to_the_disk_is_read_once() {
        let all =
            transfers(&mut configured(), &table(), &[store(PORTS + 12, 0x5000), store(PORTS + 8, START), store(PORTS + 8, 0)]);
        assert_eq!(all, [read(0x5000, 8), read(0x0010_0200, 0x400), read(0x5008, 8), read(0x0020_0000, 0x1_0000)]);
    }

    #[test]
    fn what_it_would_read_is_known_before_it_is_told_to_and_not_after() {
        let mut piix = configured();
        let would = |piix: &Piix| piix.would_read(&mut |address| table().get(&address).copied());
        assert_eq!(would(&piix), Plan::default());
        transfers(&mut piix, &table(), &[store(PORTS + 12, 0x5000)]);
        let looks = vec![read(0x5000, 8), read(0x5008, 8)];
        assert_eq!(would(&piix), Plan { looks, reads: vec![read(0x0010_0200, 0x400), read(0x0020_0000, 0x1_0000)] });
        assert!(piix.is_at_rest());
        transfers(&mut piix, &table(), &[store(PORTS + 8, START)]);
        assert_eq!(would(&piix), Plan::default());
        assert!(!piix.is_at_rest());
        transfers(&mut piix, &table(), &[store(PORTS + 8, 0)]);
        assert!(piix.is_at_rest());
    }

    #[test]
    fn the_channels_have_nothing_to_do_with_each_other() {
        let mut piix = configured();
        transfers(&mut piix, &table(), &[store(PORTS + 4, 0x5000), store(PORTS, TO_MEMORY | START)]);
        assert_eq!(transfers(&mut piix, &table(), &[store(PORTS + 8, 0), load(PORTS + 10, INTERRUPT)]), []);
    }

    #[test]
    fn a_table_that_leaves_memory_ends_there() {
        let mut memory = table();
        memory.remove(&0x5008);
        let all = transfers(&mut configured(), &memory, &[store(PORTS + 4, 0x5000), store(PORTS, START)]);
        assert_eq!(all, [read(0x5000, 8), read(0x0010_0200, 0x400)]);
    }

    #[test]
    fn without_a_base_no_port_is_its_own() {
        assert!(!Piix::default().owns(IO_SPACE));
        assert!(!configured().owns(PORTS - 1) && configured().owns(PORTS) && !configured().owns(PORTS + 16));
    }
}
