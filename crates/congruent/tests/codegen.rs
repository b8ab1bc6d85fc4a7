//! Where the cache cannot alias the library is free: what it leaves of a copy is a copy, instruction by instruction.
//!
//! The crate `congruent-codegen` (`tests/codegen`) is compiled to assembly twice, with the library and without, by the compiler that
//! runs this test, for the machine that it runs on. Labels are renumbered and directives left out; the rest must be equal.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Equal with and without the library.
const FREE: &[&str] =
    &["clear", "clear_for_a_user", "copy", "copy_for_a_user", "read", "write", "first_byte", "map", "end", "to_device"];

/// Not equal, and if it were this test would compare nothing.
const NOT_FREE: &str = "copy_where_it_may_alias";

/// The instructions of every function, by name.
fn assembly(name: &str, more: &[&str]) -> BTreeMap<String, Vec<String>> {
    let crate_ = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/codegen/Cargo.toml");
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let built = Command::new(env!("CARGO"))
        .args(["rustc", "--quiet", "--release", "--color=never", "--lib", "--manifest-path"])
        .arg(crate_)
        // No link follows in which anything could still happen.
        .args(["--config", "profile.release.lto=false", "--config", "profile.release.debug=false"])
        .args(more)
        .arg("--")
        .arg(format!("--emit=asm={}", output.display()))
        .env_remove("RUSTFLAGS")
        // Its own, so that it waits for nobody else who builds.
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("codegen"))
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    functions(&fs::read_to_string(&output).unwrap_or_else(|error| panic!("{}: {error}", output.display())))
}

/// Takes assembly apart: a function begins at its label and ends where the compiler marks its end. Functions that the compiler found
/// to be equal share one body: `one = other`.
fn functions(assembly: &str) -> BTreeMap<String, Vec<String>> {
    let mut functions = BTreeMap::new();
    let mut same = Vec::new();
    let mut current: Option<(String, Vec<String>)> = None;
    let mut labels = Vec::new();
    for line in assembly.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim_end();
        if let (Some((name, other)), false) = (line.split_once(" = "), line.starts_with(char::is_whitespace)) {
            same.push((name.to_owned(), other.to_owned()));
        }
        match line.strip_suffix(':') {
            Some(end) if end.starts_with(".Lfunc_end") => functions.extend(current.take()),
            Some(label) if !label.starts_with('.') => {
                labels.clear();
                current = Some((label.to_owned(), Vec::new()));
            }
            _ => {
                let directive = line.trim_start().starts_with('.') && !line.ends_with(':');
                if let (Some((_, body)), false) = (&mut current, line.is_empty() || directive) {
                    body.push(renumbered(line, &mut labels));
                }
            }
        }
    }
    for (name, other) in same {
        let body: Option<&Vec<String>> = functions.get(&other);
        if let Some(body) = body.cloned() {
            functions.insert(name, body);
        }
    }
    functions
}

/// Local labels in the order in which they are met.
fn renumbered(line: &str, labels: &mut Vec<String>) -> String {
    let mut pieces = line.split(".LBB");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(piece.len());
        let number = labels.iter().position(|label| label == &piece[..end]).unwrap_or_else(|| {
            labels.push(piece[..end].to_owned());
            labels.len() - 1
        });
        text += &format!(".L{number}{}", &piece[end..]);
    }
    text
}

#[test]
fn accesses_on_a_machine_that_cannot_alias_compile_to_plain_ones() {
    let (library, plain) = (assembly("library.s", &[]), assembly("plain.s", &["--features", "plain"]));
    for &name in FREE {
        let body = |functions: &BTreeMap<String, Vec<String>>| {
            functions.get(name).cloned().unwrap_or_else(|| panic!("`{name}` was not found in the assembly"))
        };
        let (ours, bare) = (body(&library), body(&plain));
        assert!(!bare.is_empty(), "`{name}` has no instructions");
        assert!(
            ours == bare,
            "`{name}` costs something where nothing aliases. With the library:\n{}\n\nwithout:\n{}\n",
            ours.join("\n"),
            bare.join("\n")
        );
    }
    assert_ne!(library[NOT_FREE], plain[NOT_FREE]);
}

#[test]
fn assembly_is_compared_without_the_names_of_labels() {
    let one = functions("copy:\n\t.cfi_startproc\n\tje .LBB3_7 # why\n.LBB3_7:\n\tret\n.Lfunc_end3:\n");
    let other = functions("copy:\n\tje .LBB0_1\n.LBB0_1:\n\tret\n.Lfunc_end0:\n\t.size copy, 3\n");
    assert_eq!(one, other);
    let merged = functions("copy:\n\tret\n.Lfunc_end0:\n\t.type read,@function\nread = copy\n");
    assert_eq!(merged["read"], merged["copy"]);
    assert_eq!(one["copy"], ["\tje .L0", ".L0:", "\tret"]);
}
