//! The machine from without.

mod computer;
mod given;
mod program;
mod theorem;
