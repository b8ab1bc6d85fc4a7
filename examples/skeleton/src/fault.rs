//! Fork, the copy-on-write fault and unmapping: where aliasing caches have hurt most, and where the library asks for next to
//! nothing.

use congruent::{At, Error, Frame, Rights, VirtAddr};

use crate::Kernel;
use crate::duty::{Duty, forgotten};
use crate::space::{self, Entry};

/// Why a fault could not be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The address is not mapped, or a store is not allowed: the process gets a signal.
    Segmentation(VirtAddr),
    /// There is no memory.
    NoMemory,
    /// The library's answer; after [`Error::Busy`] and [`Error::Device`] the access is tried again.
    Library(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

/// A frame that owes nothing if it is used at the colour of `address`, if there is one.
pub(crate) fn frame_for(kernel: &Kernel, address: VirtAddr) -> Result<Frame, Fault> {
    let colour = kernel.colour(address);
    kernel.platform().allocate(|frame| kernel.colour_hint(frame) == Ok(colour)).ok_or(Fault::NoMemory)
}

/// A page of zeros at `address`, for the stack, the heap, `.bss`.
///
/// # Errors
/// [`Fault`].
pub fn zero_fill(kernel: &Kernel, space: usize, address: VirtAddr) -> Result<(), Fault> {
    if !space::is_user(address) {
        return Err(Fault::Segmentation(address));
    }
    let frame = frame_for(kernel, address)?;
    kernel.clear(frame, At::Colour(kernel.colour(address)))?;
    let rights = Rights::WRITE;
    kernel.map_user(frame, address, rights, || {
        kernel.platform().spaces[space].set(address, Some(Entry::new(frame, true, false)));
    })?;
    Ok(())
}

/// A load or store of `space` at `address` has faulted.
///
/// # Errors
/// [`Fault`].
pub fn fault(kernel: &Kernel, space: usize, address: VirtAddr, store: bool) -> Result<(), Fault> {
    let table = &kernel.platform().spaces[space];
    let Some(entry) = table.get(address) else { return zero_fill(kernel, space, address) };
    if store && !entry.may_write {
        return Err(Fault::Segmentation(address));
    }
    if store && entry.copy {
        return break_cow(kernel, space, address);
    }
    if forgotten(Duty::Announce) {
        table.set(address, Some(Entry { present: true, write: entry.may_write && !entry.copy, ..entry }));
        return Ok(());
    }
    // It is used for the first time; or the library had it revoked, because the frame was needed at another colour.
    let now = Entry { present: true, write: store, ..entry };
    let rights = Rights::READ.with_write(now.write).with_execute(now.execute);
    kernel.map_user(now.frame, address, rights, || table.set(address, Some(now)))?;
    Ok(())
}

/// Gives `child` every page of `parent`; those that are not shared are copied by whoever stores first. No maintenance: what the parent's threads
/// have in the cache stays there, at the colour at which all will read it.
///
/// # Errors
/// [`Fault`].
pub fn fork(kernel: &Kernel, parent: usize, child: usize) -> Result<(), Fault> {
    let spaces = &kernel.platform().spaces;
    for (address, entry) in spaces[parent].mapped() {
        let both = if entry.shared { entry } else { Entry { write: false, copy: true, ..entry } };
        spaces[parent].set(address, Some(both));
        // Absent, so that it is announced when it is used, if ever.
        spaces[child].set(address, Some(Entry { present: false, write: false, ..both }));
    }
    kernel.platform().flush_user_tlb();
    // Only now is it true, whichever threads were storing meanwhile.
    for (_, entry) in spaces[parent].mapped().filter(|(_, entry)| entry.copy) {
        kernel.write_protected(entry.frame)?;
    }
    if forgotten(Duty::WriteProtected) {
        // Of what stays shared it is not true.
        spaces[parent].mapped().try_for_each(|(_, entry)| kernel.write_protected(entry.frame))?;
    }
    Ok(())
}

/// A thread of `space` has stored to a page that is shared until somebody stores: it gets its own copy.
///
/// # Errors
/// [`Fault`].
pub fn break_cow(kernel: &Kernel, space: usize, address: VirtAddr) -> Result<(), Fault> {
    let table = &kernel.platform().spaces[space];
    let old = table.get(address).filter(|entry| entry.copy).ok_or(Fault::Segmentation(address))?;
    let frame = frame_for(kernel, address)?;
    // The source is read where it is newest, the copy is made where it will be used.
    kernel.copy(old.frame, frame, At::Colour(kernel.colour(address))).inspect_err(|_| kernel.platform().release(frame))?;
    let own = Entry { frame, present: true, write: old.may_write, copy: false, ..old };
    let rights = Rights::READ.with_write(own.write).with_execute(own.execute);
    kernel.map_user(frame, address, rights, || table.set(address, Some(own)))?;
    kernel.platform().flush_user_tlb();
    let_go(kernel, old.frame)
}

/// Takes a page out of an address space. No maintenance: the next owner of the frame pays what is due then, if anything.
///
/// # Errors
/// [`Fault`].
pub fn unmap(kernel: &Kernel, space: usize, address: VirtAddr) -> Result<(), Fault> {
    let machine = kernel.platform();
    let entry = machine.spaces[space].get(address).ok_or(Fault::Segmentation(address))?;
    machine.spaces[space].set(address, None);
    machine.flush_user_tlb();
    if forgotten(Duty::Unmapped) {
        kernel.unmapped(entry.frame)?;
    }
    let_go(kernel, entry.frame)
}

/// An address space has a frame no longer. If no other one has it, and no file, it is free.
fn let_go(kernel: &Kernel, frame: Frame) -> Result<(), Fault> {
    let machine = kernel.platform();
    if machine.spaces.iter().any(|space| space.mapped().any(|(_, other)| other.frame == frame)) {
        return Ok(());
    }
    kernel.unmapped(frame)?;
    if !machine.is_of_a_file(frame) {
        kernel.freed(frame)?;
        machine.release(frame);
    }
    Ok(())
}
