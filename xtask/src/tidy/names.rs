//! What comments and documents name must be there: files by their paths, modules in the list of a crate's first comment.

use super::File;

/// Folders whose paths, in backticks, mean files of this repository.
const FOLDERS: [&str; 8] = ["crates/", "docs/", "guests/", "examples/", "recordings/", "workloads/", "xtask/", ".ci/"];

/// Names of files that are not there, with where they are named. A decision that has been superseded may name what was.
pub fn missing(files: &[File], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() || file.is_document()) {
        // Change logs and superseded decisions speak of what was.
        if file.path == "CHANGELOG.md" || file.text.contains("\nStatus: superseded") {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            if file.is_rust() && !line.trim_start().starts_with("//") {
                continue;
            }
            for name in quoted(line).filter(|name| FOLDERS.iter().any(|folder| name.starts_with(folder))) {
                if !is_pattern(name) && !exists(name.trim_end_matches('/')) {
                    wrong.push(format!("{}:{}: there is no {name}", file.path, number + 1));
                }
            }
        }
    }
    wrong
}

/// What stands between backticks, as far as it is one word.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|name| !name.contains(char::is_whitespace))
}

/// `crates/<name>/…` and the like stand for many.
fn is_pattern(name: &str) -> bool {
    name.contains(['<', '*', '{', '…', '$', '('])
}

/// Modules that a crate's first comment lists and that it does not have. A list is lines of the form ``//! - [`name`]: …``.
pub fn untrue_modules(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("src/lib.rs")) {
        let listed = file.text.lines().filter_map(|line| line.strip_prefix("//! - [`")?.split_once('`').map(|(name, _)| name));
        for name in listed.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')) {
            let declares = |line: &str| {
                let name_of = |rest: &str| rest.trim_end_matches(['{', ' ', ';']) == name;
                let module = ["mod ", "pub mod "].iter().any(|word| line.strip_prefix(word).is_some_and(name_of));
                // What is listed may be a function of a private module that is passed on.
                let words = |rest: &str| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == name);
                module || line.strip_prefix("pub use ").is_some_and(words)
            };
            let declared = file.text.lines().any(declares);
            if !declared {
                wrong.push(format!("{}: lists a module {name}, which it does not have", file.path));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_name_of_a_file_that_is_not_there_is_told_with_its_line() {
        let files = [
            file("a.md", "see `crates/a.rs`\nand `crates/gone.rs` and `crates/*/x.rs`"),
            file("b.rs", "// `docs/gone.md`\nlet x = \"`docs/not-a-comment.md`\";"),
            file("docs/adr/1.md", "\nStatus: superseded by 2\n`crates/gone.rs`"),
        ];
        let wrong = missing(&files, &|path| path == "crates/a.rs");
        assert_eq!(wrong, ["a.md:2: there is no crates/gone.rs", "b.rs:1: there is no docs/gone.md"]);
    }

    #[test]
    fn a_module_that_is_listed_must_be_declared() {
        let text = "//! - [`here`]: is\n//! - [`gone`]: was\nmod here;\n";
        assert_eq!(untrue_modules(&[file("crates/x/src/lib.rs", text)]).len(), 1);
    }
}
