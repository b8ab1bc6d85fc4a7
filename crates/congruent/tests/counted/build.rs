//! Chooses the counted atomics (`src/sync.rs`).

fn main() {
    println!("cargo::rustc-cfg=counted");
    println!("cargo::rerun-if-changed=build.rs");
}
