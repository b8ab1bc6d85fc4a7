//! What apt says when a download fails: which files the mirror does not have, or that there is no mirror to be reached.

use std::collections::BTreeMap;

/// Why a download failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The mirror answered, and does not have these, each with why in a word: other versions may be had.
    NotThere(Vec<(String, &'static str)>),
    /// Anything else; the line that says most.
    Other(String),
}

/// What an answer that names one file means.
const REASONS: [(&str, &str); 7] = [
    ("404", "404"),
    ("403", "403"),
    ("410", "410"),
    ("unexpected size", "of another size than listed"),
    ("Hash Sum mismatch", "of other contents than listed"),
    ("Mirror sync in progress", "of other contents than listed"),
    ("Size mismatch", "of another size than listed"),
];

/// Reads apt's complaints.
pub fn read(said: &str) -> Failure {
    let complaints: Vec<&str> = said.lines().filter(|line| line.starts_with("E: ") || line.starts_with("Err:")).collect();
    let mut missing = BTreeMap::new();
    for line in said.lines().filter_map(|line| line.strip_prefix("E: Failed to fetch ")) {
        let Some((uri, why)) = line.split_once(' ') else { continue };
        match REASONS.iter().find(|(mark, _)| why.contains(mark)) {
            Some((_, reason)) => missing.insert(uri.to_owned(), *reason),
            // One file of many that fails for want of a network says that the others may, too.
            None => return Failure::Other(line.to_owned()),
        };
    }
    if missing.is_empty() {
        return Failure::Other(complaints.first().map_or_else(|| "apt did not say why".to_owned(), |line| (*line).to_owned()));
    }
    Failure::NotThere(missing.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_the_mirror_does_not_have_are_told_apart_from_a_mirror_that_cannot_be_reached() {
        let gone = "E: Failed to fetch http://m.example/debian/pool/l/linux-image-6.12.117%2bdeb13-rpi_6.12.117-1_armel.deb  404  Not Found [IP: 192.0.2.1 80]\n\
                    E: Some files failed to download\n";
        let file = "http://m.example/debian/pool/l/linux-image-6.12.117%2bdeb13-rpi_6.12.117-1_armel.deb".to_owned();
        assert_eq!(read(gone), Failure::NotThere(vec![(file, "404")]));
        let unreachable = "E: Failed to fetch http://m.example/debian/x.deb  Temporary failure resolving 'm.example'\n";
        assert!(matches!(read(unreachable), Failure::Other(line) if line.contains("resolving")));
        assert!(matches!(read(&format!("{gone}{unreachable}")), Failure::Other(_)));
    }

    #[test]
    fn a_mirror_that_is_being_brought_up_to_date_has_the_file_wrong() {
        let said = "E: Failed to fetch http://m.example/Packages.xz  File has unexpected size (720 != 1108). Mirror sync in progress? [IP: 192.0.2.1 80]\n";
        assert!(matches!(read(said), Failure::NotThere(files) if files[0].1 == "of another size than listed"));
    }

    #[test]
    fn what_apt_cannot_solve_is_quoted() {
        assert_eq!(read("E: Unable to locate package x\n"), Failure::Other("E: Unable to locate package x".to_owned()));
        assert_eq!(read(""), Failure::Other("apt did not say why".to_owned()));
    }
}
