//! `docs/embedding/historical-bugs.md` under test: all 36 are in it, and what it says is tested is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const BUGS: usize = 36;

struct Row {
    what: String,
    tests: Vec<String>,
    remark: String,
}

fn crate_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows by number. Each begins with `| B`.
fn rows() -> BTreeMap<usize, Row> {
    let path = crate_directory().join("../../docs/embedding/historical-bugs.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| B")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let &[id, what, tests, remark] = cells.as_slice() else { panic!("not four cells: {line}") };
        let number = id[1..].parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let before = rows.insert(number, Row { what: what.to_owned(), tests, remark: remark.to_owned() });
        assert!(before.is_none(), "B{number} twice");
    }
    rows
}

/// The names of all tests of this crate, with the files that they are in.
fn tests_in(directory: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tests_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut lines = text.lines();
            while lines.by_ref().any(|line| line.trim() == "#[test]") {
                let name = lines.by_ref().find_map(|line| line.trim().strip_prefix("fn ")?.split('(').next());
                found.push((name.expect("a test has a name").to_owned(), path.clone()));
            }
        }
    }
    found
}

#[test]
fn every_bug_is_in_the_document_with_tests_that_exist_or_a_reason() {
    let (rows, tests) = (rows(), tests_in(&crate_directory().join("tests")));
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=BUGS).collect::<Vec<_>>());
    for (number, row) in &rows {
        assert!(!row.what.is_empty(), "B{number} says nothing");
        assert!(!row.tests.is_empty() || row.remark.len() > 20, "B{number} has neither a test nor a reason");
        for name in &row.tests {
            assert!(tests.iter().any(|(test, _)| test == name), "B{number}: there is no test {name}");
        }
    }
}

#[test]
fn every_story_is_in_the_document_under_its_number() {
    let rows = rows();
    let tests = tests_in(&crate_directory().join("tests/bugs"));
    let numbered = |name: &str| name.strip_prefix('b').and_then(|rest| rest.split('_').next()?.parse::<usize>().ok());
    let stories: Vec<_> = tests.iter().filter_map(|(name, _)| Some((numbered(name)?, name))).collect();
    assert!(stories.len() > BUGS, "only {} stories were found", stories.len());
    for (number, name) in stories {
        assert!(rows.get(&number).is_some_and(|row| row.tests.contains(name)), "{name} is not in the row of B{number}");
    }
}
