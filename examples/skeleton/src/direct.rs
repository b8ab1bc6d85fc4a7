//! Direct I/O: a disk reads and writes a user's memory, wherever it begins and ends, while the user's other threads go on beside it.

use congruent::{PhysAddr, TransferId, VirtAddr};

use crate::duty::{Duty, forgotten};
use crate::fault::Fault;
use crate::user::{pieces, reach};
use crate::{Kernel, PAGE};

/// Pages that the bytes of one transfer can lie in.
pub const PIECES: usize = 3;

/// A piece of memory that a device moves: its first byte and its length.
pub type Piece = (PhysAddr, u32);

/// A transfer that is under way, and has to be ended.
#[derive(Debug, Default)]
pub struct Direct {
    /// One for each page that the device writes; none if it reads.
    writes: [Option<TransferId>; PIECES],
}

/// Makes a user's memory ready for a device that writes it (`read(2)`), or reads it (`write(2)`). Returns what the device has to be told.
///
/// # Errors
/// [`Fault`]; nothing is under way then.
pub fn begin(
    kernel: &Kernel,
    space: usize,
    address: VirtAddr,
    len: usize,
    device_writes: bool,
) -> Result<(Direct, [Option<Piece>; PIECES]), Fault> {
    let (mut direct, mut told) = (Direct::default(), [None; PIECES]);
    for (number, (at, piece)) in pieces(address, len).enumerate() {
        let begun = if number < PIECES {
            begin_piece(kernel, space, at, piece.len() as u32, device_writes)
        } else {
            Err(Fault::Segmentation(at))
        };
        match begun {
            Ok((piece, id)) => (told[number], direct.writes[number]) = (Some(piece), id),
            Err(fault) => {
                end(kernel, direct);
                return Err(fault);
            }
        }
    }
    if forgotten(Duty::Complete) {
        end(kernel, core::mem::take(&mut direct));
    }
    Ok((direct, told))
}

fn begin_piece(
    kernel: &Kernel,
    space: usize,
    at: VirtAddr,
    len: u32,
    device_writes: bool,
) -> Result<(Piece, Option<TransferId>), Fault> {
    let frame = reach(kernel, space, at, device_writes)?.frame;
    let offset = kernel.geometry().page_offset(at.0);
    let piece = (PhysAddr(frame.0 * PAGE + u64::from(offset)), len);
    if forgotten(if device_writes { Duty::DeviceWrites } else { Duty::DeviceReads }) {
        return Ok((piece, None));
    }
    if !device_writes {
        kernel.device_reads(frame, offset, len)?;
        return Ok((piece, None));
    }
    // The lines at either end keep what other threads have stored beside the buffer; who stores there meanwhile waits.
    Ok((piece, Some(kernel.device_writes(frame, offset, len)?.leak())))
}

/// The device has finished.
pub fn end(kernel: &Kernel, direct: Direct) {
    for id in direct.writes.into_iter().flatten() {
        let mut transfer = kernel.resume_transfer(id);
        // Busy is another CPU, for a bounded time.
        while let Err((again, _)) = transfer.complete() {
            transfer = again;
        }
    }
}
