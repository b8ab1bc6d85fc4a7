//! Bus masters: what devices read and write in the guest's memory, seen where they do it.
//!
//! A device of QEMU reaches memory through an address space of its own, and an IOMMU may stand in it. One is put there (`region`), in
//! front of whatever was there before: QEMU asks it at each access where the address leads and whether it is read or written, is told "where
//! it did before", and goes on as if nobody had been asked. So every PCI device is seen, whatever it is and whoever wrote its driver, and its
//! accesses stay what they were: same bytes, same order, same pointers where it maps memory.
//!
//! Devices run on QEMU's main thread and others, while the guest's CPUs run on theirs. What was seen is queued here, and the CPUs' thread is
//! asked to take it before it runs the next block; everything that the plugin does that is not quiet takes it first as well. A device tells the
//! guest of its bytes after it has moved them, so the guest cannot have seen them before the judge has.
//!
//! Guarantees: bytes are known to [`GRANULE`]: an access that ends within one counts to its end. Of memory that a device maps, the
//! start of the mapping is when it is taken to be written or read. Not seen: devices that are not on PCI and are no virtio device, and those
//! that are plugged in after the guest has started; `dma/` follows some of them, and those that say more about when they move bytes.
//!
//! Unsafe, because it may be begun while the plugin is installed only.

#![allow(unsafe_code)]

mod apart;
mod qemu;
mod queue;
mod region;

pub use apart::{Apart, ROOM, Reads};
pub use queue::{Access, Master, drain, forget, is_pending};

use congruent_arch::Arch;

/// What is asked for at once, in bytes: as few as any device moves in one access of its own (QEMU loads and stores words of up to eight bytes
/// whole, and aligned).
const GRANULE: u64 = 8;

/// Has every bus master of the machine seen, once all are there. Nothing is seen where this QEMU lacks something that is needed; `taken` is
/// run on the CPUs' thread when there is something to take, `reads` says what is put apart, if anything ever is.
///
/// # Safety
/// Called while the plugin is installed, on QEMU's main thread.
pub unsafe fn watch(arch: Arch, taken: unsafe fn(), reads: Option<Reads>) {
    // SAFETY: by this function's contract.
    unsafe { region::watch_when_complete(arch, taken, reads) };
}

/// Whether there is a device of which something can be put apart.
pub fn sets_apart() -> bool {
    region::sets_apart()
}

/// The bus masters that are seen.
pub fn masters() -> &'static [Master] {
    region::masters()
}

/// Reads memory of the guest's CPUs, which is there; `false` if no bus master is seen, or it cannot be read.
pub fn read(paddr: u64, to: &mut [u8]) -> bool {
    region::read(paddr, to)
}

/// Whether the host does file accesses for the guest, into its memory.
pub fn does_semihosting() -> bool {
    qemu::Functions::bind().is_some_and(|functions| functions.does_semihosting())
}
