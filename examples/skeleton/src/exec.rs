//! `exec`: a process forgets its memory, and gets a program's file and its arguments.

use congruent::{At, Rights, VirtAddr};

use crate::fault::{Fault, frame_for, unmap};
use crate::file::File;
use crate::space::{END, Entry, START};
use crate::{Kernel, PAGE};

/// The most bytes of arguments.
pub const LONGEST: usize = 256;

/// The program: a file whose first pages are code, the others data. It is mapped from the first user address on, and begins there.
#[derive(Clone, Copy, Debug)]
pub struct Program<'f> {
    /// Code and data.
    pub file: File<'f>,
    /// How many of its pages are code.
    pub code: usize,
}

/// Replaces what `space` has by `program`, with `arguments` at the end of its memory. Returns their address; below it is the stack.
///
/// # Errors
/// [`Fault`]. The process is lost then.
pub fn exec(kernel: &Kernel, space: usize, program: &Program<'_>, arguments: &[u8]) -> Result<VirtAddr, Fault> {
    clear(kernel, space)?;
    let table = &kernel.platform().spaces[space];
    for (index, &frame) in program.file.frames.iter().enumerate() {
        // Private: who stores gets a copy. Absent, so that it is announced when it is used, if ever.
        let code = index < program.code;
        let entry = Entry { present: false, write: false, copy: true, ..Entry::new(frame, !code, code) };
        table.set(VirtAddr(START + index as u64 * PAGE), Some(entry));
    }
    let page = VirtAddr(END - PAGE);
    let frame = frame_for(kernel, page)?;
    kernel.clear(frame, At::Colour(kernel.colour(page)))?;
    let address = VirtAddr(END - LONGEST as u64);
    // At the address at which the program will see them, though it does not run yet.
    kernel.write_argument(frame, address, &arguments[..arguments.len().min(LONGEST)])?;
    kernel.map_user(frame, page, Rights::WRITE, || table.set(page, Some(Entry::new(frame, true, false))))?;
    Ok(address)
}

/// Takes all pages out of an address space.
///
/// # Errors
/// [`Fault`].
pub fn clear(kernel: &Kernel, space: usize) -> Result<(), Fault> {
    kernel.platform().spaces[space].mapped().try_for_each(|(address, _)| unmap(kernel, space, address))
}
