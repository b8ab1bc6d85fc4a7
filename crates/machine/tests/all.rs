//! The machine from without.

mod computer;
mod program;
mod theorem;
