//! Public names that nothing names again: the compiler does not tell them, because somebody outside might.
//!
//! A name counts as used wherever the same word stands in code. So what is told is certainly unused, and what is not told may be.

use std::collections::HashMap;

use super::File;

/// What makes a name, after `pub`.
const ITEMS: [&str; 7] = ["fn", "struct", "enum", "trait", "const", "static", "type"];

/// Names that crates make public and that stand nowhere else.
pub fn unused(files: &[File]) -> Vec<String> {
    let mut times: HashMap<&str, u32> = HashMap::new();
    for word in files.iter().filter(|file| file.is_rust()).flat_map(|file| code(&file.text)).flat_map(words) {
        *times.entry(word).or_default() += 1;
    }
    let sources = files.iter().filter(|file| file.path.starts_with("crates/") && file.path.contains("/src/") && file.is_rust());
    let made = sources.flat_map(|file| code(&file.text).filter_map(public_name).map(|name| (&file.path, name)));
    made.filter(|(_, name)| times[name] == 1).map(|(path, name)| format!("{path}: nothing uses {name}")).collect()
}

fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The name that a line makes public, in the crate or beyond; what C calls has its uses there.
fn public_name(line: &str) -> Option<&str> {
    if line.contains("extern \"C\"") {
        return None;
    }
    let rest = line.strip_prefix("pub")?.trim_start_matches(|c: char| c != ' ');
    let mut words = words(rest).skip_while(|word| ["unsafe", "async"].contains(word)).peekable();
    let item = words.next().filter(|word| ITEMS.contains(word))?;
    // `pub const fn name`, `pub const unsafe fn name`
    let follows = |word: &&str| item == "const" && ["fn", "unsafe"].contains(word) || item == "static" && *word == "mut";
    words.find(|word| !follows(word))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_public_name_is_what_stands_behind_its_kind() {
        for line in [
            "pub fn name(",
            "pub(crate) const fn name()",
            "pub const unsafe fn name()",
            "pub struct name<T>",
            "pub static mut name: u8",
        ] {
            assert_eq!(public_name(line), Some("name"), "{line}");
        }
        for line in ["fn name()", "pub use name::x;", "pub name: u32,", "publish()", "pub unsafe extern \"C\" fn name()"] {
            assert_eq!(public_name(line), None, "{line}");
        }
    }

    #[test]
    fn a_public_name_that_stands_nowhere_else_is_told() {
        let made = file("crates/a/src/a.rs", "/// alone\npub fn alone() {}\npub fn called() {}\n");
        let caller = file("crates/b/tests/b.rs", "// alone\nfn f() { called() }\n");
        assert_eq!(unused(&[made, caller]), ["crates/a/src/a.rs: nothing uses alone"]);
    }
}
