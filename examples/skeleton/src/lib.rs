//! The smallest kernel that embeds `congruent`: what a kernel has to bring, all of it, and two things that it does with it.
//!
//! | file | what a kernel brings or does |
//! |---|---|
//! | `arch/*.rs` | the cache instructions and the mapping of one page: MIPS32r2, ARMv6, and a stand-in so that it runs on the host |
//! | `machine.rs` | the frame table, the window slots, taking user rights back |
//! | `space.rs` | its page tables; here an array |
//! | `boot.rs` | the geometry, read from the processor; the library, made |
//! | `fault.rs` | `fork`, the copy-on-write fault, `munmap` |
//! | `file.rs` | a file's pages, filled by the processor; `read(2)` |
//! | `entry.rs` | what its assembly would call |
//!
//! `docs/embedding/guide.md` walks through these files. Not here: threads, drivers, exception vectors, an allocator worth the name;
//! none of them touches the library. One CPU, no preemption.
#![no_std]
// The instructions of MIPS are not yet stable in `asm!`.
#![cfg_attr(target_arch = "mips", feature(asm_experimental_arch))]

#[cfg(not(target_os = "none"))]
extern crate std;

mod arch;
pub mod boot;
mod entry;
pub mod fault;
pub mod file;
pub mod machine;
pub mod space;

pub use arch::Hardware;
pub use machine::{FRAMES, Machine};

/// The library on this machine.
pub type Kernel = congruent::Congruent<Machine>;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
