//! The disk of the malta board: the first channel of PIIX4's IDE controller, whose bus master moves bytes between the disk and memory, past the
//! caches.
//!
//! Sources: *Programming Interface for Bus Master IDE Controller* (revision 1.0), sections 1.2 "PRD Table" and 2 "Registers"; *82371AB (PIIX4)*
//! data sheet, 4.1 "PCI Configuration Registers"; *GT-64120* data sheet, 17.16 "PCI Configuration"; ATA/ATAPI-4, `READ DMA`, `WRITE DMA`.

use core::cell::UnsafeCell;
use core::ptr;

use super::UNCACHED;
use super::malta::IO;
use crate::direct::{PIECES, Piece};

/// The bridge's registers, where the board's firmware has put them.
const CONFIG_ADDRESS: usize = UNCACHED + 0x1be0_0cf8;
const CONFIG_DATA: usize = UNCACHED + 0x1be0_0cfc;
/// Registers of function 1 of device 10 on bus 0.
const FUNCTION: u32 = 1 << 31 | 10 << 11 | 1 << 8;
const COMMAND: u32 = 0x04;
const IO_AND_BUS_MASTER: u32 = 0x5;
const BUS_MASTER_BASE: u32 = 0x20;
const IDE_TIMING: u32 = 0x40;
const BOTH_CHANNELS_DECODE: u32 = 0x8000_8000;

/// Where in I/O space we put the bus master.
const BUS_MASTER_PORT: u32 = 0x1080;
const BUS_MASTER: usize = IO + BUS_MASTER_PORT as usize;
const STATUS: usize = BUS_MASTER + 2;
const TABLE: usize = BUS_MASTER + 4;
const START: u8 = 1;
const TO_MEMORY: u8 = 1 << 3;
const ERROR: u8 = 1 << 1;
const INTERRUPT: u8 = 1 << 2;
const LAST: u32 = 1 << 31;

const DRIVE: usize = IO + 0x1f0;
const SECTOR_COUNT: usize = DRIVE + 2;
const SECTOR: usize = DRIVE + 3;
const DRIVE_SELECT: usize = DRIVE + 6;
const DRIVE_COMMAND: usize = DRIVE + 7;
const READ_DMA: u8 = 0xc8;
const WRITE_DMA: u8 = 0xca;
const SECTOR_BYTES: u32 = 512;

/// What the bus master is to move: two words for each piece. The kernel reaches it past the cache, in a line that holds nothing else.
#[repr(align(128))]
struct PieceTable(UnsafeCell<[u32; 32]>);

// SAFETY: reached by its address alone, by the one CPU and the device.
unsafe impl Sync for PieceTable {}

static PIECE_TABLE: PieceTable = PieceTable(UnsafeCell::new([0; 32]));

/// The controller.
#[derive(Debug)]
pub struct Disk(());

fn write<T>(register: usize, value: T) {
    // SAFETY: registers of the controller, and its table, past the cache; both are this file's.
    unsafe { ptr::write_volatile(register as *mut T, value) }
}

fn read(register: usize) -> u8 {
    // SAFETY: as above.
    unsafe { ptr::read_volatile(register as *const u8) }
}

impl Disk {
    /// Switches the controller on.
    #[must_use]
    pub fn find() -> Option<Self> {
        for (register, value) in
            [(IDE_TIMING, BOTH_CHANNELS_DECODE), (BUS_MASTER_BASE, BUS_MASTER_PORT | 1), (COMMAND, IO_AND_BUS_MASTER)]
        {
            write(CONFIG_ADDRESS, FUNCTION | register);
            write(CONFIG_DATA, value);
        }
        Some(Self(()))
    }

    /// Begins to move whole sectors between the disk, from `sector` on, and these pieces of memory. No other transfer is under way.
    pub fn start(&self, sector: u32, pieces: &[Option<Piece>; PIECES], to_memory: bool) {
        let table = PIECE_TABLE.0.get().addr();
        let (mut words, mut bytes) = (table & 0x1fff_ffff | UNCACHED, 0);
        let last = pieces.iter().flatten().count();
        for (number, (start, len)) in pieces.iter().flatten().enumerate() {
            write(words, start.0 as u32);
            write(words + 4, len | if number + 1 == last { LAST } else { 0 });
            words += 8;
            bytes += len;
        }
        let direction = if to_memory { TO_MEMORY } else { 0 };
        write(TABLE, (table & 0x1fff_ffff) as u32);
        write(BUS_MASTER, direction);
        write(STATUS, ERROR | INTERRUPT);
        write(DRIVE_SELECT, 0xe0 | (sector >> 24 & 0xf) as u8);
        write(SECTOR_COUNT, (bytes / SECTOR_BYTES) as u8);
        for byte in 0..3 {
            write(SECTOR + byte, (sector >> (8 * byte)) as u8);
        }
        write(DRIVE_COMMAND, if to_memory { READ_DMA } else { WRITE_DMA });
        write(BUS_MASTER, direction | START);
    }

    /// Whether the transfer is over, and if so, whether it went well.
    pub fn finished(&self) -> Option<bool> {
        let status = read(STATUS);
        (status & INTERRUPT != 0).then(|| {
            let drive = read(DRIVE_COMMAND);
            write(BUS_MASTER, 0u8);
            write(STATUS, ERROR | INTERRUPT);
            status & ERROR == 0 && drive & 1 == 0
        })
    }
}
