//! Devices, and kernel mappings that stay: `vmap` areas and rings.
//!
//! A frame that the kernel holds at a colour of its own has that colour for its home, so the maintenance before and after a transfer
//! finds the right lines by itself.

use congruent::{At, Colour, Error, Frame, TransferId, VirtAddr, Write};
use skeleton::{Kernel, Machine};

/// Who writes to memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The processor (`DMA_TO_DEVICE`).
    ToDevice,
    /// The device (`DMA_FROM_DEVICE`).
    FromDevice,
    /// Both (`DMA_BIDIRECTIONAL`).
    Both,
}

/// Hands `len` bytes of a frame to a device. What it writes has a name, which the request keeps: Linux keeps no guard between the
/// two hooks.
///
/// # Errors
/// [`Error`]; the frame is not the device's then.
pub fn arch_sync_dma_for_device(
    kernel: &Kernel,
    frame: Frame,
    offset: u32,
    len: u32,
    to: Direction,
) -> Result<Option<TransferId>, Error> {
    if to != Direction::FromDevice {
        kernel.device_reads(frame, offset, len)?;
    }
    if to == Direction::ToDevice {
        return Ok(None);
    }
    kernel.device_writes(frame, offset, len).map(|transfer| Some(transfer.leak()))
}

/// Takes them back.
///
/// # Errors
/// [`Error::Busy`]: call it again with what is handed back.
pub fn arch_sync_dma_for_cpu(kernel: &Kernel, transfer: Option<TransferId>) -> Result<(), (TransferId, Error)> {
    match transfer {
        Some(transfer) => kernel.resume_transfer(transfer).complete().map_err(|(transfer, error)| (transfer.leak(), error)),
        None => Ok(()),
    }
}

/// A frame is going to be mapped uncached, for as long as a driver has it: it is a device's all that time, and none of it is left
/// dirty in the cache. [`dma_free_coherent`] is the end of it.
///
/// # Errors
/// [`Error`].
pub fn arch_dma_prep_coherent(kernel: &Kernel, frame: Frame) -> Result<Option<TransferId>, Error> {
    arch_sync_dma_for_device(kernel, frame, 0, kernel.geometry().page(), Direction::FromDevice)
}

/// The uncached mapping has gone.
///
/// # Errors
/// As [`arch_sync_dma_for_cpu`].
pub fn dma_free_coherent(kernel: &Kernel, transfer: Option<TransferId>) -> Result<(), (TransferId, Error)> {
    arch_sync_dma_for_cpu(kernel, transfer)
}

/// Kernel mappings of `frames`, one page after the other from `start` on, are about to be made: each frame is bound to the colour
/// of its address until [`flush_cache_vunmap`].
///
/// # Errors
/// [`Error`]; none of the frames is bound then.
pub fn flush_cache_vmap(kernel: &Kernel, start: VirtAddr, frames: &[Frame]) -> Result<(), Error> {
    for (page, &frame) in frames.iter().enumerate() {
        let colour = kernel.object_colour(kernel.colour(start), page as u64);
        match kernel.settle::<Write>(frame, At::Colour(colour)) {
            Ok(settled) => settled.hold().leak(),
            Err(error) => {
                flush_cache_vunmap(kernel, &frames[..page])?;
                return Err(error);
            }
        }
    }
    Ok(())
}

/// The mappings have gone.
///
/// # Errors
/// [`Error::UnknownFrame`].
pub fn flush_cache_vunmap(kernel: &Kernel, frames: &[Frame]) -> Result<(), Error> {
    frames.iter().try_for_each(|&frame| kernel.resume(frame).map(drop))
}

/// Nothing: mappings that are made before there are users and devices are covered by the flush at boot.
pub fn flush_cache_vmap_early(_start: VirtAddr, _end: VirtAddr) {}

/// Nothing, before I/O on a `vmap` area: [`arch_sync_dma_for_device`] finds the lines at the frame's home, which is the area's.
pub fn flush_kernel_vmap_range(_start: VirtAddr, _len: u32) {}

/// Nothing, after I/O into a `vmap` area: [`arch_sync_dma_for_cpu`] has dropped the old lines at the frame's home.
pub fn invalidate_kernel_vmap_range(_start: VirtAddr, _len: u32) {}

/// A page that kernel and user share for long (`io_uring`, AIO, packet rings, VDSO data): where the user's side belongs, so that
/// both sides see each other's stores. Kept until [`flush_cache_vunmap`].
///
/// # Errors
/// [`Error`].
pub fn share_ring(kernel: &Kernel, frame: Frame, kernel_address: VirtAddr) -> Result<Colour<Machine>, Error> {
    flush_cache_vmap(kernel, kernel_address, &[frame])?;
    Ok(kernel.colour(kernel_address))
}
