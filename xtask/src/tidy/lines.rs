//! Lines that fit, and files that can be held in the head.

use super::File;

/// Columns of a line of Rust; rustfmt holds code to fewer and leaves comments and texts alone.
const COLUMNS: usize = 150;

/// Lines of a file of code.
const LINES: usize = 550;

/// Lines and files that are too long.
pub fn too_long(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for (number, line) in file.text.lines().enumerate() {
            // A row of a table cannot be broken.
            let comment = line.trim_start().starts_with("//") && !line.contains("//! |");
            if comment && line.chars().count() > COLUMNS {
                wrong.push(format!("{}:{}: a comment of more than {COLUMNS} columns", file.path, number + 1));
            }
        }
        let count = file.text.lines().count();
        if file.path.contains("/src/") && count > LINES {
            wrong.push(format!("{}: {count} lines: divide it", file.path));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn long_comments_and_long_files_are_told() {
        let long = format!("// {}\nlet x = \"{}\";\n", "x".repeat(COLUMNS), "x".repeat(COLUMNS));
        assert_eq!(too_long(&[file("crates/a/src/a.rs", &long)]).len(), 1);
        let many = "x\n".repeat(LINES + 1);
        assert_eq!(too_long(&[file("crates/a/src/a.rs", &many), file("crates/a/tests/a.rs", &many)]).len(), 1);
    }
}
