//! Chooses the atomics at which a scheduler can switch (`src/sync.rs`).

fn main() {
    println!("cargo::rustc-cfg=interleaved");
    println!("cargo::rerun-if-changed=build.rs");
}
