//! The reference VM, on a machine whose caches hold bytes.

mod enumerated;
mod free;
mod linux_counts;
mod random;
mod steps;
mod stories;
mod trouble;
