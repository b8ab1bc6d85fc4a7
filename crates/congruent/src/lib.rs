//! Alias-free kernel mappings for virtually indexed caches: the layer between a kernel and the frames that users map, too.
//!
//! # The model, on one page
//!
//! On a core whose data cache is virtually indexed and physically tagged, with ways larger than a page, one frame can sit in the
//! cache under several *colours* (the index bits above the page offset), and no hardware keeps them equal. This crate does, in
//! software, the way hardware keeps the caches of several processors equal: **a colour is to a frame what a processor is to a line
//! of a coherence directory.** The directory entry is one word per frame, in the kernel's own frame table: a [`FrameWord`].
//!
//! - The frame's *home* is the one colour that may hold dirty lines: that of the last access. Other colours may hold clean copies;
//!   which of them are *stale* is remembered.
//! - The kernel reaches a frame through a [`Window`] *at its home* ([`At::Home`]). Whatever rights the users have, in whatever
//!   address space, a window at home is congruent with them: read, write, copy-on-write, `ptrace` need no maintenance and disturb
//!   nobody.
//! - A frame changes colour only when somebody has to reach it at another one for long: a user's mapping
//!   ([`map_user`](Congruent::map_user)), a `vmap` area, code that knows only the permanent address ([`At::Linear`]). Then, and
//!   not before, its *debts* are paid: at most one operation to bring the newest bytes to memory, and at most one to drop an old
//!   copy. User rights at other colours that contradict the new access are taken back first ([`Platform::revoke`]).
//! - Unmapping, write-protecting, forking, exiting and freeing cost nothing: they leave debts, and most are never called in.
//!   A frame that is reused at its [`colour_hint`](Congruent::colour_hint) owes nothing.
//! - Devices read and write memory: [`device_reads`](Congruent::device_reads) and [`device_writes`](Congruent::device_writes)
//!   maintain the one colour that matters, which the word knows. Instruction fetches are a reader of memory as well.
//!
//! So maintenance is deferred as long as possible, as `flush_dcache_page` tries to; but the debt is in the word, and a window can be
//! had only from a proof that it is paid ([`Settled`]). "Must not be used on a page that is dirty" has become a type error.
//!
//! # What the kernel gives
//!
//! [`CacheOps`] and [`WindowMapper`], the hardware, are the only `unsafe` traits; [`Platform`] adds the way to take user rights back.
//! [`Config`] says what the cache is like. A kernel that runs only on cores that cannot alias says so in a constant
//! ([`Platform::ALIASES`]), and what is left of a copy is a copy.
//!
//! The kernel promises:
//! 1. all words are zero when [`Congruent::new`] empties the cache;
//! 2. from then on every access to a frame that has a word goes through this crate: no store through a permanent address without
//!    [`Settled::linear_address`], no mapping without [`map_user`](Congruent::map_user);
//! 3. [`write_protected`](Congruent::write_protected) and [`unmapped`](Congruent::unmapped) are said with the lock held that
//!    orders changes to the frame's mappings, and only when they are true;
//! 4. what a device has been handed to write is not touched by the kernel until the transfer is complete, and what it has been
//!    handed to read is not given to a new owner (cleared, copied to, filled) until it has been read.
//!
//! # What it gets
//!
//! *Right*: no sequence of calls, with any accesses of users and devices in between, lets anybody see old bytes. *Minimal*: no
//! operation is issued that could be left out, nor one of which half would do. Both are tests, over every reachable state and every
//! history, not samples (`tests/closure.rs`; ADR 0011 lists what a word of 32 bits cannot say). *Without locks*: the word is one
//! atomic; an access that needs no maintenance is one compare-and-swap; who finds a frame under maintenance gets
//! [`Error::Busy`] and is never made to wait (`tests/loom/tests/every.rs`).
//!
//! # Where to read on
//!
//! Each module begins with what it is for, and with the right way to use it: [`window`] (settle, then open), [`user`] (mappings come and
//! go), [`prepared`] (many of them at once), [`content`] (the kernel's own accesses), [`pin`] (work on a user's page that must be
//! finished), [`hold`] (for long), [`device`] and [`dma`] (transfers that are counted, and those that cannot be), [`notice`] (kernel code
//! that asks nothing), [`placement`] (addresses that cost nothing).
//!
//! # What may fail
//!
//! Which errors pass by themselves, and what to do about each, is at [`Error`] ([`Error::is_transient`]). A call that fails has changed
//! nothing. `Busy` is a wait of bounded time for another CPU, whatever locks are held; all others end when somebody else has done something.
//!
//! # What it does not do
//!
//! Virtually *tagged* caches are refused ([`Tags::Virtual`]). Above [`EXACT_COLOURS`] colours only one
//! colour at a time is tracked, which is right but makes readers at two colours take turns. Cached copies in several processors are
//! assumed coherent with each other for one colour, by hardware or by [`CacheOps`]. Second-level caches that are physically indexed
//! are no concern, except that operations must reach memory if devices do not see them.
//!
//! # The smallest example
//!
//! ```
//! # use congruent::*;
//! /// Copy-on-write: the faulting thread gets a copy of `old`, at the colour of its own address.
//! fn break_cow<P: Platform>(congruent: &Congruent<P>, old: Frame, new: Frame, fault: VirtAddr) -> Result<(), Error> {
//!     congruent.copy(old, new, At::Colour(congruent.colour(fault)))?;
//!     congruent.map_user(new, fault, Rights::WRITE, || { /* set the page-table entry */ })
//! }
//! ```
#![cfg_attr(not(loom), no_std)]

pub mod bytes;
mod colour;
mod config;
pub mod content;
pub mod device;
pub mod dma;
mod engine;
mod error;
mod guard;
mod hardware;
pub mod hold;
mod kept;
pub mod notice;
pub mod pin;
pub mod placement;
pub mod prepared;
mod reach;
mod slots;
#[cfg(feature = "model")]
pub mod state;
#[cfg(not(feature = "model"))]
mod state;
mod sync;
pub mod user;
pub mod window;
mod word;

pub use colour::Colour;
pub use config::{Config, ConfigError, KeptArea, Policy, Tags, WindowArea};
pub use congruent_geometry::{CacheGeometry, Frame, PhysAddr, VirtAddr};
pub use device::{Transfer, TransferId};
pub use engine::Congruent;
pub use error::Error;
pub use hardware::{CacheOps, CpuContext, Platform, Remaining, Revoke, WindowMapper, WouldBlock};
pub use hold::Hold;
pub use kept::KeptSlot;
pub use notice::FlushedWindow;
pub use pin::{Finished, Pinned, Wrote};
pub use placement::Placement;
pub use prepared::PreparedAll;
pub use slots::CpuSlots;
pub use state::EXACT_COLOURS;
#[cfg(counted)]
pub use sync::counted;
pub use user::{Prepared, Rights};
pub use window::{Access, At, ReadOnly, ReadWrite, Settled, Stores, Window};
pub use word::FrameWord;
