//! The code of `docs/embedding/guide.md` is this crate's: every block names its file and is found in it, indented or not.

use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().and_then(Path::parent).expect("the crate lies in the checkout")
}

/// Lines without the indentation that all of them have.
fn dedented(lines: &[&str]) -> Vec<String> {
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let common = lines.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    lines.iter().map(|line| line.get(common..).unwrap_or_default().trim_end().to_owned()).collect()
}

#[test]
fn every_block_of_code_in_the_guide_is_compiled() {
    let guide = fs::read_to_string(root().join("docs/embedding/guide.md")).expect("the guide");
    let blocks: Vec<&str> = guide.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest)).collect();
    assert!(!blocks.is_empty(), "the guide has no code");
    for block in blocks {
        let (first, code) = block.split_once('\n').expect("a block has lines");
        let name = first.strip_prefix("// ").unwrap_or_else(|| panic!("the first line names the file: {first}"));
        let source = fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let code = dedented(&code.lines().collect::<Vec<_>>());
        let source: Vec<&str> = source.lines().collect();
        let found = source.windows(code.len()).any(|window| dedented(window) == code);
        assert!(found, "this is not in {name}:\n{}", code.join("\n"));
    }
}
