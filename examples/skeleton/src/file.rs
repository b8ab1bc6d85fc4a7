//! A file's pages in memory: filled by the processor, mapped by users, read and written by system calls.

use congruent::{At, Error, Frame, Rights, VirtAddr};

use crate::fault::Fault;
use crate::space::{self, Entry};
use crate::{Kernel, PAGE};

/// A file that is all in memory.
#[derive(Clone, Copy, Debug)]
pub struct File<'f> {
    /// Its frames, in order.
    pub frames: &'f [Frame],
}

/// Puts `bytes` into the frames of a file, which are the file's from then on, as a driver does that copies sectors with the processor.
///
/// # Errors
/// [`Error`].
pub fn fill(kernel: &Kernel, file: &File<'_>, bytes: &[u8]) -> Result<(), Error> {
    for (index, (&frame, page)) in file.frames.iter().zip(bytes.chunks(PAGE as usize)).enumerate() {
        kernel.platform().give_to_file(frame);
        // At the colour at which users who let the kernel choose the address will map it.
        kernel.fill(frame, At::Colour(kernel.file_colour(index as u64)), page)?;
    }
    Ok(())
}

/// Maps page `index` of a file, shared, at `address`: any address is right, and one that `Congruent::place` has found is free.
///
/// # Errors
/// [`Fault`]; [`Fault::Segmentation`] if the address is no user's or has been mapped, or the file has no such page.
pub fn map(kernel: &Kernel, space: usize, address: VirtAddr, file: &File<'_>, index: usize, write: bool) -> Result<(), Fault> {
    let (frame, table) = (file.frames.get(index), &kernel.platform().spaces[space]);
    let (Some(&frame), true, None) = (frame, space::is_user(address), table.get(address)) else {
        return Err(Fault::Segmentation(address));
    };
    let entry = Entry { shared: true, ..Entry::new(frame, write, false) };
    let rights = Rights::READ.with_write(write);
    kernel.map_user(frame, address, rights, || table.set(address, Some(entry)))?;
    Ok(())
}

/// `read(2)`: copies from the file to kernel memory, whoever has it mapped, wherever, and stores to it. Returns how many bytes.
///
/// # Errors
/// [`Error`].
pub fn read(kernel: &Kernel, file: &File<'_>, start: u64, to: &mut [u8]) -> Result<usize, Error> {
    let mut done = 0;
    while done < to.len() {
        let at = start + done as u64;
        let Some(&frame) = file.frames.get((at / PAGE) as usize) else { break };
        let len = (to.len() - done).min((PAGE - at % PAGE) as usize);
        kernel.read(frame, (at % PAGE) as u32, &mut to[done..done + len])?;
        done += len;
    }
    Ok(done)
}

/// `write(2)` within the file's length. Returns how many bytes.
///
/// # Errors
/// [`Error`].
pub fn write(kernel: &Kernel, file: &File<'_>, start: u64, from: &[u8]) -> Result<usize, Error> {
    let mut done = 0;
    while done < from.len() {
        let at = start + done as u64;
        let Some(&frame) = file.frames.get((at / PAGE) as usize) else { break };
        let len = (from.len() - done).min((PAGE - at % PAGE) as usize);
        kernel.write(frame, (at % PAGE) as u32, &from[done..done + len])?;
        done += len;
    }
    Ok(done)
}
