//! ARCHITECTURE.md's table of crates says what each may use; the manifests must say the same.

use std::collections::BTreeSet;

use super::File;

/// The crates of the table and of the folder, and what they use, where they differ.
pub fn untrue(files: &[File]) -> Vec<String> {
    let Some(table) = files.iter().find(|file| file.path == "ARCHITECTURE.md") else {
        return vec!["there is no ARCHITECTURE.md".to_owned()];
    };
    let mut wrong = Vec::new();
    for manifest in files.iter() {
        let Some(name) = manifest.path.strip_prefix("crates/").and_then(|path| path.strip_suffix("/Cargo.toml")) else {
            continue;
        };
        if name.contains('/') {
            continue;
        }
        let uses = used(&manifest.text);
        match allowed(&table.text, name) {
            None => wrong.push(format!("ARCHITECTURE.md: its table has no crates/{name}")),
            Some(allowed) if allowed != uses => {
                wrong.push(format!("ARCHITECTURE.md: crates/{name} may use {allowed:?}, and uses {uses:?}"));
            }
            Some(_) => {}
        }
    }
    wrong
}

/// Crates of this workspace in the manifest's `[dependencies]`.
fn used(manifest: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line.trim();
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if section == "[dependencies]" && name.starts_with("congruent") {
            found.insert(name.strip_prefix("congruent-").unwrap_or(name).to_owned());
        }
    }
    found
}

/// The last column of a crate's row.
fn allowed(document: &str, name: &str) -> Option<BTreeSet<String>> {
    let row = document.lines().find(|line| line.starts_with(&format!("| `crates/{name}` |")))?;
    let last = row.trim_end_matches('|').rsplit('|').next()?.trim();
    Some(last.split(',').map(|name| name.trim().to_owned()).filter(|name| name != "nothing" && !name.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_crate_that_uses_what_the_table_does_not_say_is_told() {
        let table = "| `crates/a` | first | nothing |\n| `crates/b` | second | a |\n";
        let manifest = |name: &str, more: &str| file(&format!("crates/{name}/Cargo.toml"), &format!("[dependencies]\n{more}"));
        let told = |a: &str, b: &str| untrue(&[file("ARCHITECTURE.md", table), manifest("a", a), manifest("b", b)]).len();
        assert_eq!(told("serde = \"1\"\n", "congruent-a.workspace = true\n"), 0);
        assert_eq!(told("congruent-b = \"1\"\n", "congruent-a.workspace = true\n"), 1);
        assert_eq!(told("", "[dev-dependencies]\ncongruent-a.workspace = true\n"), 1);
        assert_eq!(untrue(&[file("ARCHITECTURE.md", ""), manifest("a", "")]).len(), 1);
    }
}
