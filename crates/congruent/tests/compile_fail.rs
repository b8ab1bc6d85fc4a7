//! What must not compile does not, and for the reason it should: one line makes the difference, and all that the compiler complains of is
//! that line.
//!
//! The cases are the crate `congruent-compile-fail` (`tests/compile_fail`), which the workspace compiles as it should be; here each
//! is compiled as it should not be. Error codes and a few words are compared, because whole messages change with the compiler.

use std::path::Path;
use std::process::Command;

/// Feature, error code (lifetime errors have none), and words that the message must contain.
const CASES: &[(&str, &str, &str)] = &[
    ("window_on_a_frame_in_debt", "E0599", "no method named `open` found for struct `Frame`"),
    ("pinned_page_dropped_without_finish", "E0308", "expected `Finished<'_, _>`, found `()`"),
    ("pinned_page_finished_for_another", "", "lifetime may not live long enough"),
    ("window_sent_to_another_cpu", "E0277", "`*mut ()` cannot be sent between threads safely"),
    ("colour_from_another_machine", "E0308", "expected `Colour<A>`, found `Colour<B>`"),
    ("colour_without_a_machine", "E0308", "expected `Colour<P>`, found"),
    ("proof_used_twice", "E0382", "use of moved value: `proof`"),
    ("store_through_a_window_for_reading", "E0599", "`ReadOnly: Stores`"),
    ("permanent_address_after_the_hold", "E0382", "borrow of moved value: `page`"),
];

/// What the compiler says of the crate with this feature.
fn compile(feature: Option<&str>) -> (bool, String) {
    let crate_ = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail/Cargo.toml");
    let mut command = Command::new(env!("CARGO"));
    command.args(["check", "--quiet", "--color=never", "--manifest-path"]).arg(crate_);
    if let Some(feature) = feature {
        command.args(["--features", feature]);
    }
    let output = command.env_remove("RUSTFLAGS").output().expect("cargo runs");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_right_use_compiles() {
    let (compiled, messages) = compile(None);
    assert!(compiled, "{messages}");
}

#[test]
fn each_misuse_is_an_error_and_no_other_than_expected() {
    for (feature, code, words) in CASES {
        let (compiled, messages) = compile(Some(feature));
        assert!(!compiled, "{feature} compiles");
        let headings: Vec<_> = messages.lines().filter(|line| line.starts_with("error") && !line.contains("aborting")).collect();
        let errors: Vec<_> = headings.iter().filter(|line| !line.starts_with("error: could not compile")).collect();
        let heading = if code.is_empty() { "error: ".to_owned() } else { format!("error[{code}]: ") };
        let all = !errors.is_empty() && errors.iter().all(|error| error.starts_with(&heading));
        assert!(all, "{feature}: {heading}was expected:\n{messages}");
        assert!(messages.contains(words), "{feature}: `{words}` was expected:\n{messages}");
    }
}

#[test]
fn every_case_is_tried() {
    let manifest = include_str!("compile_fail/Cargo.toml");
    let features = manifest.split("[features]").nth(1).expect("the features come last");
    let declared: Vec<_> = features.lines().filter_map(|line| line.strip_suffix(" = []")).collect();
    let tried: Vec<_> = CASES.iter().map(|(feature, ..)| *feature).collect();
    assert_eq!(declared, tried);
}
