//! The defects of real kernels, retold: `docs/embedding/historical-bugs.md` lists them, and this test holds it to its word.
//!
//! Each story is told twice with the same users and devices: with the code as it was, where the judge must object, and with the
//! library in its place, where it must not. The numbers are those of the document.

mod code;
mod devices;
mod document;
mod fork;
mod instructions;
mod page_cache;
mod rings;
mod story;
mod windows;
