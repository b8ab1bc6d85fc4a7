//! Reports and names from without.

mod kallsyms;
mod report;
mod symbols;
