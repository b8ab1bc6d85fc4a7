//! The smallest kernel that embeds `congruent`: what a kernel has to bring, all of it, and what it does with it. It boots on the malta board
//! (MIPS32, one CPU or two) and on the first Raspberry Pi (ARM1176); what needs no board runs on the host, too, under tests.
//!
//! | file | what a kernel brings or does |
//! |---|---|
//! | `arch/*/` | the cache instructions, the mapping of one page, the way in and out of users' code, a board |
//! | `machine.rs` | the frame table, the window slots, taking user rights back |
//! | `space.rs` | its page tables; here an array |
//! | `boot.rs` | the geometry, read from the processor; the library, made |
//! | `fault.rs` | `fork`, the copy-on-write fault, `munmap` |
//! | `file.rs` | a file's pages, filled by the processor; `read(2)` and `write(2)` |
//! | `user.rs` | a user's memory as system calls and debuggers reach it |
//! | `exec.rs` | programs and their arguments |
//! | `direct.rs` | direct I/O of a user's memory |
//! | `entry.rs`, `system.rs`, `syscall.rs`, `thread.rs` | what its assembly calls, and all that has nothing to do with caches |
//! | `duty.rs` | what a test can have this kernel leave out |
//!
//! `docs/embedding/guide.md` walks through these files. All accesses to frames that have a word go through the library. One CPU at a time
//! is in the kernel, which is not preempted.
#![no_std]
// The instructions of MIPS are not yet stable in `asm!`.
#![cfg_attr(target_arch = "mips", feature(asm_experimental_arch))]

#[cfg(not(target_os = "none"))]
extern crate std;

mod arch;
pub mod boot;
pub mod direct;
pub mod duty;
#[cfg(target_os = "none")]
mod entry;
pub mod exec;
pub mod fault;
pub mod file;
pub mod machine;
pub mod space;
#[cfg(target_os = "none")]
mod syscall;
#[cfg(target_os = "none")]
mod system;
#[cfg(target_os = "none")]
mod thread;
pub mod user;

pub use arch::Hardware;
pub use duty::Duty;
pub use machine::{FRAMES, Machine};

/// The library on this machine.
pub type Kernel = congruent::Congruent<Machine>;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
