//! Where the tests of a crate are one program (`tests/all.rs`), it must have all of them: one that it leaves out is not even compiled.

use super::File;

/// Files beside a `tests/all.rs` that it does not name.
pub fn orphans(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for all in files {
        let Some(folder) = all.path.strip_suffix("all.rs").filter(|folder| folder.ends_with("/tests/")) else { continue };
        for file in files {
            let name = file.path.strip_prefix(folder).and_then(|path| path.strip_suffix(".rs"));
            let Some(name) = name.map(|name| name.strip_suffix("/mod").unwrap_or(name)) else { continue };
            let own = !name.contains('/') && name != "all";
            if own && !all.text.lines().any(|line| line == format!("mod {name};")) {
                wrong.push(format!("{}: has no `mod {name};`, so {} is never compiled", all.path, file.path));
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
    fn a_test_that_no_program_has_is_told() {
        let files = [
            file("crates/a/tests/all.rs", "//! All.\n\nmod one;\nmod model;\n"),
            file("crates/a/tests/one.rs", ""),
            file("crates/a/tests/model/mod.rs", ""),
            file("crates/a/tests/model/part.rs", ""),
            file("crates/b/tests/two.rs", ""),
        ];
        assert!(orphans(&files).is_empty());
        let with = files.into_iter().chain([file("crates/a/tests/two.rs", ""), file("crates/a/tests/three/mod.rs", "")]);
        let told = orphans(&with.collect::<Vec<_>>());
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("`mod two;`") && told[1].contains("`mod three;`"), "{told:?}");
    }
}
