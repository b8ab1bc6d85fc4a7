//! The library from without, on machines that are models.

mod bugs;
mod closure;
mod codegen;
mod compile_fail;
mod interface;
mod judge;
mod lent;
mod model;
mod overlap;
mod race;
mod table;
mod unasked;
mod windows;
