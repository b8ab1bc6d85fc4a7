//! Where things are: the one place that knows the layout of the checkout and of `target/guests`.
//!
//! Guests are found in `target/guests` of the checkout even when `CARGO_TARGET_DIR` points elsewhere, so that every build finds the
//! same ones. What is there leads into the cache (`cache`).

use std::env;
use std::path::PathBuf;

/// The root of the checkout: the one whose `cargo xtask` this is, even if the program was built in another.
pub fn root() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().expect("xtask lies in the checkout").to_path_buf()
}

/// The sources of guest programs and their `/init`.
pub fn guest_sources() -> PathBuf {
    root().join("guests")
}

/// Where fetched and built guests, emulators and compilers are found.
pub fn guests() -> PathBuf {
    root().join("target/guests")
}

/// The recordings that are part of the repository.
pub fn recordings() -> PathBuf {
    root().join("recordings")
}

/// Where reports of test runs are kept.
pub fn reports() -> PathBuf {
    root().join("target/reports")
}

/// Where cargo puts what it builds with `--release`.
pub fn release() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join("release")
}
