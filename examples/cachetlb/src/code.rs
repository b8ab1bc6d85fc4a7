//! The instruction side: fetches read memory, and what was stored may be in the data cache.

use congruent::{Error, Frame, VirtAddr};
use skeleton::{Kernel, PAGE};

use crate::Folio;

/// Modules and kernel text, which the kernel has stored through permanent addresses (`give_to_kernel`) or windows: fetches see them.
///
/// # Errors
/// [`Error`].
pub fn flush_icache_range(kernel: &Kernel, folio: Folio) -> Result<(), Error> {
    folio.frames().try_for_each(|frame| kernel.sync_instructions(frame))
}

/// `cacheflush(2)`: a process has stored code and is going to run it.
///
/// # Errors
/// [`Error`].
pub fn flush_icache_user_range(kernel: &Kernel, space: usize, start: VirtAddr, end: VirtAddr) -> Result<(), Error> {
    let first = start.align_down(PAGE);
    let pages = kernel.platform().spaces[space].mapped().filter(|(address, _)| first <= *address && *address < end);
    pages.map(|(_, entry)| entry.frame).try_for_each(|frame| kernel.sync_instructions(frame))
}

/// The kernel has stored code to a process's page. After [`copy_to_user_page`](crate::access::copy_to_user_page) it is superfluous,
/// and then free.
///
/// # Errors
/// [`Error`].
pub fn flush_icache_user_page(kernel: &Kernel, frame: Frame) -> Result<(), Error> {
    kernel.sync_instructions(frame)
}

/// uprobes: an instruction into the page from which a process executes it out of line.
///
/// # Errors
/// [`Error`].
pub fn arch_uprobe_copy_ixol(kernel: &Kernel, frame: Frame, address: VirtAddr, instruction: &[u8]) -> Result<(), Error> {
    kernel.poke(frame, kernel.geometry().page_offset(address.0), instruction)
}
