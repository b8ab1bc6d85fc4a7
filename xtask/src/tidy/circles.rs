//! Modules that import one another in a circle can be read in no order. Crates that have no circle must not get one.
//!
//! A module is a file or folder directly in a crate's `src`; what is within a folder is its own affair. Not here: crates that still have
//! circles, which are those that are not listed.

use std::collections::{BTreeMap, BTreeSet};

use super::File;

/// Crates whose modules import one way.
const LAYERED: [&str; 6] = ["arch", "geometry", "qemu", "trace", "wire", "workload"];

/// What each module imports.
type Imports<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Circles among the modules of those crates, each with its way round.
pub fn circles(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in LAYERED {
        let source = format!("crates/{name}/src/");
        let imports = imports(files, &source);
        for module in imports.keys() {
            if let Some(way) = way_back(&imports, module) {
                wrong.push(format!("{source}: modules import in a circle: {}", way.join(" → ")));
            }
        }
    }
    wrong
}

fn imports<'a>(files: &'a [File], source: &str) -> Imports<'a> {
    let of_crate = files.iter().filter_map(|file| Some((file.path.strip_prefix(source)?.strip_suffix(".rs")?, &file.text)));
    let mut imports = Imports::new();
    for (path, text) in of_crate {
        let module = path.split('/').next().unwrap_or(path);
        if !["lib", "main", "tests"].contains(&module) && !path.contains("/tests") {
            imports.entry(module).or_default().extend(named(text));
        }
    }
    let modules: BTreeSet<&str> = imports.keys().copied().collect();
    for (module, imported) in &mut imports {
        imported.retain(|other| other != module && modules.contains(other));
    }
    imports
}

/// What a file names of its crate, apart from comments and its tests, which come last.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| line.split("crate::").skip(1)).flat_map(|rest| {
        // `crate::{a, b::C}` names several.
        let (inner, several) = rest.strip_prefix('{').map_or((rest, false), |inner| (inner, true));
        let end = |part: &str| part.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(part.len());
        inner.split(", ").take(if several { usize::MAX } else { 1 }).map(move |part| &part[..end(part)])
    })
}

/// The shortest way from a module back to itself, told only for the first module of a circle.
fn way_back<'a>(imports: &Imports<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in &imports[way[way.len() - 1]] {
                let way = [&way[..], &[*next]].concat();
                if *next == start {
                    return (way.iter().min() == Some(&start)).then_some(way);
                }
                if seen.insert(*next) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn a_circle_is_told_once_with_its_way_round() {
        let files = [
            file("crates/wire/src/lib.rs", "mod a; use crate::a::X;"),
            file("crates/wire/src/a.rs", "//! See crate::d.\nuse crate::b::B;\n"),
            file("crates/wire/src/b/mod.rs", "use crate::{X, c::C};\n"),
            file("crates/wire/src/b/inner.rs", "use crate::b::B;\n"),
            file("crates/wire/src/c.rs", "use crate::a::A;\n"),
            file("crates/wire/src/d.rs", "use crate::c::C;\n"),
        ];
        assert_eq!(circles(&files), ["crates/wire/src/: modules import in a circle: a → b → c → a"]);
        assert_eq!(circles(&files[..4]), [""; 0]);
    }

    #[test]
    fn what_only_tests_import_makes_no_circle() {
        let files = [
            file("crates/wire/src/a.rs", "use crate::b::B;\n"),
            file("crates/wire/src/b.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n"),
        ];
        assert_eq!(circles(&files), [""; 0]);
    }
}
