//! Alias-free kernel mappings for virtually indexed caches.
#![cfg_attr(not(loom), no_std)]

mod colour;
mod config;
mod content;
mod device;
mod engine;
mod error;
mod hardware;
mod kept;
mod pin;
mod placement;
mod reach;
mod slots;
pub mod state;
mod sync;
mod user;
mod window;
mod word;

pub use colour::Colour;
pub use config::{Config, ConfigError, KeptArea, Policy, Tags, WindowArea};
pub use congruent_geometry::{CacheGeometry, Frame, VirtAddr};
pub use device::Transfer;
pub use engine::Congruent;
pub use error::Error;
pub use hardware::{CacheOps, Context, Platform, Remaining, Revoke, WindowMapper, WouldBlock};
pub use kept::KeptSlot;
pub use pin::{Finished, Pinned, Wrote};
pub use placement::Placement;
pub use slots::CpuSlots;
pub use user::Rights;
pub use window::{Access, At, Read, Settled, Stores, Window, Write};
pub use word::FrameWord;
