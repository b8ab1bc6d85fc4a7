//! The judge from without.

mod contexts;
mod recorded;
mod stories;
