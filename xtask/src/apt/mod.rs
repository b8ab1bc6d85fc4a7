//! Debian packages without touching the machine's own package state: private package lists, private archives, private trees.

mod failure;
pub mod host;
pub mod root;
pub mod sources;
pub mod suites;
pub mod tree;
