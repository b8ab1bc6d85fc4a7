//! Where things are: the one place that knows the layout of the checkout and of `target/guests`.
//!
//! Guests are kept in `target/guests` of the checkout even when `CARGO_TARGET_DIR` points elsewhere, so that every build finds the
//! same ones.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().expect("xtask lies in the checkout").to_path_buf()
}

/// The sources of guest programs and their `/init`.
pub fn guest_sources() -> PathBuf {
    root().join("guests")
}

/// Where fetched and built guests, emulators and compilers are kept.
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
