//! What the tests of the whole library drive it with.
#![allow(dead_code, missing_docs)] // each test uses its part

pub mod judged;
pub mod kernel;
pub mod line;
pub mod machine;
pub mod memory;
pub mod watched;
pub mod world;
