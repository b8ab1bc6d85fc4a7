//! The QEMU plugin: turns what a guest executes into cache events and asks the judge about each.
//!
//! A shared object that an unmodified QEMU loads (`-plugin libcongruent_qemu.so,config=FILE`). It watches every load and store,
//! decodes cache maintenance from the instruction bytes (QEMU executes none), translates operands, and feeds
//! `congruent-shadow`; results go to the program `congruent` over a socket (`congruent-wire`).
//!
//! It guarantees that the guest runs exactly as without it, unless it is to be stopped at findings or given old bytes: an internal error ends the
//! judging, never the guest. It does not see what a
//! pipeline fetches ahead, nor what devices do that neither `bus/` nor `dma/` knows; CPUs that do not take turns on one thread are refused.
//!
//! Where what is: [`api`](self) binds QEMU's functions; `moment` says when they may be asked what; `plugin` is the thin shell that QEMU calls,
//! around the one `global` value, `callbacks` what it has called, `install` how it begins; `cpu/` reads the running processor, one file per
//! architecture, whose instructions `congruent-arch` decodes; `calibration` tries whether its registers are where they should be; `bus/` sees
//! what devices do to memory where they do it, `dma/` follows what the guest tells DMA engines to do, one file per engine; `translation`
//! remembers where addresses lead; `stretches` cuts what maintenance names into pages; `mute` knows whether a muted function is running;
//! `halt` stops the guest and has a load made again, `ram` is the guest's memory as bytes, both by what QEMU has `exported`;
//! `judge` judges and records, with the `recorder`; `stacks` keeps the guest's call stacks and `contexts` numbers them; `programs` and `tasks`
//! know what the guest's programs are called; `session` puts them together.
//!
//! Only `api`, `moment`, `global` and `plugin` are unsafe, and `bus/`, `halt` and `ram`, which use functions of QEMU's that are no part of its
//! plugin interface.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#![deny(unsafe_code)]

mod access;
mod api;
mod bus;
mod calibration;
mod callbacks;
mod channel;
mod contexts;
mod cpu;
mod dma;
mod exported;
mod global;
mod halt;
mod install;
mod judge;
mod moment;
mod mute;
mod plugin;
mod programs;
mod ram;
mod recorder;
mod session;
mod settled;
mod stacks;
mod stretches;
mod tasks;
mod translation;
