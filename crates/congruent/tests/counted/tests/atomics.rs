//! How many atomic operations each call needs: the table in `docs/performance.md`, which this test compares with what it counts
//! (`UPDATE=1` writes it).

extern crate congruent_counted as library;

#[path = "../../../benches/ops/operations.rs"]
mod operations;

use std::fmt::Write as _;

use library::counted;
use operations::{Idle, kernel, operations};

const BEGIN: &str = "<!-- atomics: written by a test -->\n";
const END: &str = "<!-- end of atomics -->\n";

/// Read-modify-writes, and loads, of each operation's second and third calls together: half of them is one call in a steady state.
fn count<const ALIASES: bool>(colours: u32) -> Vec<(&'static str, String)> {
    let rows = operations::<Idle<ALIASES>>().into_iter().map(|operation| {
        let kernel = kernel::<ALIASES>(colours);
        let call = |odd| (operation.call)(&kernel, odd).unwrap_or_else(|error| panic!("{}: {error}", operation.name));
        (operation.before)(&kernel, false).expect("the page is free");
        call(false);
        let before = counted::operations();
        call(true);
        call(false);
        let after = counted::operations();
        let per_call = |count: usize| if count.is_multiple_of(2) { format!("{}", count / 2) } else { format!("{}½", count / 2) };
        (operation.name, format!("{} + {}", per_call(after.1 - before.1), per_call(after.0 - before.0)))
    });
    rows.collect()
}

#[test]
fn the_atomics_in_the_documentation_are_those_that_are_counted() {
    let never = count::<false>(1);
    let mut table = String::from("| call | one colour, known at compile time | one colour | four colours |\n|---|---|---|---|\n");
    for (((name, never), (_, one)), (_, four)) in never.iter().zip(count::<true>(1)).zip(count::<true>(4)) {
        writeln!(table, "| {name} | {never} | {one} | {four} |").expect("a string grows");
    }
    assert!(never.iter().all(|(_, count)| count == "0 + 0"), "where nothing aliases there is nothing to remember:\n{table}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../../docs/performance.md");
    let text = std::fs::read_to_string(path).expect("docs/performance.md");
    let (before, rest) = text.split_once(BEGIN).expect("docs/performance.md says where the table begins");
    let (written, after) = rest.split_once(END).expect("docs/performance.md says where the table ends");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).expect("docs/performance.md can be written");
    } else {
        assert_eq!(written, table, "the table no longer says what is counted; UPDATE=1 writes it anew");
    }
}
