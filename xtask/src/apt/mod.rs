//! Debian packages without touching the machine's own package state: private package lists, private archives, private trees.

pub mod root;
pub mod sources;
pub mod tree;
