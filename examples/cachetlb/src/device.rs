//! Devices, and kernel mappings that stay: `vmap` areas and rings.
//!
//! A frame that the kernel holds at a colour of its own has that colour for its home, so the maintenance before and after a transfer
//! finds the right lines by itself.

use congruent::{Colour, Error, Frame, PhysAddr, Transfer, TransferId, VirtAddr};
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

/// Hands memory to a device, whosever it is. The hook returns nothing, is called again and again for one buffer, and not always paired:
/// so nothing is counted here, and that nobody touches the buffer meanwhile is the driver's duty, as in Linux.
pub fn arch_sync_dma_for_device(kernel: &Kernel, start: PhysAddr, len: u64, _to: Direction) {
    kernel.sync_for_device(start, len);
}

/// Takes it back.
pub fn arch_sync_dma_for_cpu(kernel: &Kernel, start: PhysAddr, len: u64, to: Direction) {
    if to != Direction::ToDevice {
        kernel.sync_for_cpu(start, len);
    }
}

/// A frame is going to be mapped uncached, for as long as a driver has it: it is a device's all that time, and none of it is left
/// dirty in the cache. Its name is kept with the mapping, and [`dma_free_coherent`] is the end of it.
///
/// # Errors
/// [`Error`]; the frame is not the driver's then.
pub fn arch_dma_prep_coherent(kernel: &Kernel, frame: Frame) -> Result<TransferId, Error> {
    kernel.device_writes(frame, 0, kernel.geometry().page()).map(Transfer::leak)
}

/// The uncached mapping has gone.
///
/// # Errors
/// [`Error::Busy`]: call it again with what is handed back.
pub fn dma_free_coherent(kernel: &Kernel, transfer: TransferId) -> Result<(), (TransferId, Error)> {
    kernel.resume_transfer(transfer).complete().map_err(|(transfer, error)| (transfer.leak(), error))
}

/// Kernel mappings of `frames`, one page after the other from `start` on, are about to be made: each frame is bound to the colour
/// of its address until [`flush_cache_vunmap`].
///
/// # Errors
/// [`Error`]; none of the frames is bound then.
pub fn flush_cache_vmap(kernel: &Kernel, start: VirtAddr, frames: &[Frame]) -> Result<(), Error> {
    kernel.hold_all(frames, kernel.colour(start))
}

/// The mappings have gone.
///
/// # Errors
/// [`Error::UnknownFrame`].
pub fn flush_cache_vunmap(kernel: &Kernel, frames: &[Frame]) -> Result<(), Error> {
    kernel.release_all(frames)
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
