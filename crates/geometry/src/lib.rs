//! Addresses, pages, colours and cache shapes: the words every other crate of Congruent is written in.
//!
//! Two virtual addresses are *congruent* when they select the same set of a virtually indexed cache. What decides that is the
//! geometry alone: the index bits above the page offset, called the *colour*. This crate defines the arithmetic once.
//!
//! It guarantees: addresses of different kinds never mix; a [`Colour`] comes from a [`CacheGeometry`]; a [`CacheGeometry`] is
//! a shape that hardware can have (powers of two, a line no longer than a page). It does no I/O, allocates nothing and has no
//! `unsafe`.

#![no_std]
#![forbid(unsafe_code)]

mod address;
mod behaviour;
mod cache;
mod mask;
#[cfg(feature = "serde")]
mod numbers;
mod parse;
mod preset;

pub use address::{Frame, PhysAddr, VirtAddr};
pub use behaviour::Behaviour;
pub use cache::{CacheGeometry, Colour, GeometryError};
pub use mask::ByteMask;
pub use parse::ParseGeometryError;
pub use preset::{preset, Preset, PRESETS};
