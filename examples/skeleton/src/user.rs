//! A user's memory as system calls and debuggers reach it: through the library, in whatever address space it is, with whatever rights.

use congruent::VirtAddr;

use crate::duty::{Duty, forgotten, load_at_permanent_address};
use crate::fault::{Fault, break_cow, fault};
use crate::space::Entry;
use crate::{Kernel, PAGE};

/// The pieces of a range that each lie in one page: where each begins, and which bytes of the range it is.
pub(crate) fn pieces(start: VirtAddr, len: usize) -> impl Iterator<Item = (VirtAddr, core::ops::Range<usize>)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let at = VirtAddr(start.0 + done as u64);
        let size = (len - done).min((PAGE - at.0 % PAGE) as usize);
        let piece = (at, done..done + size);
        done += size;
        (size > 0).then_some(piece)
    })
}

/// What the page of an address is mapped to, made to exist; if it is to be stored to, the address space's own.
///
/// A page that was revoked need not come back for this: the kernel has windows of its own.
///
/// # Errors
/// [`Fault`].
pub fn reach(kernel: &Kernel, space: usize, address: VirtAddr, store: bool) -> Result<Entry, Fault> {
    let page = address.align_down(PAGE);
    let table = kernel.platform().spaces.get(space).ok_or(Fault::Segmentation(address))?;
    match table.get(page) {
        Some(entry) if !store || (entry.may_write && !entry.copy) => Ok(entry),
        _ => {
            fault(kernel, space, page, store)?;
            table.get(page).ok_or(Fault::Segmentation(address))
        }
    }
}

/// Copies from a user's memory.
///
/// # Errors
/// [`Fault`].
pub fn load(kernel: &Kernel, space: usize, from: VirtAddr, to: &mut [u8]) -> Result<(), Fault> {
    for (at, piece) in pieces(from, to.len()) {
        let entry = reach(kernel, space, at, false)?;
        let offset = kernel.geometry().page_offset(at.0);
        if forgotten(Duty::Window) {
            load_at_permanent_address(kernel, entry.frame, offset, &mut to[piece])?;
        } else {
            kernel.read(entry.frame, offset, &mut to[piece])?;
        }
    }
    Ok(())
}

/// Copies to a user's memory.
///
/// # Errors
/// [`Fault`].
pub fn store(kernel: &Kernel, space: usize, to: VirtAddr, from: &[u8]) -> Result<(), Fault> {
    for (at, piece) in pieces(to, from.len()) {
        let entry = reach(kernel, space, at, true)?;
        kernel.write(entry.frame, kernel.geometry().page_offset(at.0), &from[piece])?;
    }
    Ok(())
}

/// A debugger's store to another process: whatever the page's rights are, code included. A page that others share is copied first.
///
/// # Errors
/// [`Fault`].
pub fn poke(kernel: &Kernel, space: usize, to: VirtAddr, from: &[u8]) -> Result<(), Fault> {
    for (at, piece) in pieces(to, from.len()) {
        let page = at.align_down(PAGE);
        if reach(kernel, space, at, false)?.copy {
            break_cow(kernel, space, page)?;
        }
        let (frame, offset) = (reach(kernel, space, at, false)?.frame, kernel.geometry().page_offset(at.0));
        if forgotten(Duty::Instructions) {
            kernel.write(frame, offset, &from[piece])?;
        } else {
            kernel.poke(frame, offset, &from[piece])?;
        }
    }
    Ok(())
}
