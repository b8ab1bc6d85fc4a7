//! Finds the Debian mirror that this machine already trusts, so that the repository names none.
//!
//! Both formats of apt's sources are read (`sources.list(5)`): one line per source, and deb822 stanzas. Only binary sources whose
//! address ends in `/debian` count: security and backports archives of other layouts do not carry every suite.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The keyring that Debian's own packages install.
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A Debian mirror and the key that signs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mirror {
    /// Its address, ending in `/debian`.
    pub uri: String,
    /// The keyring file.
    pub keyring: String,
}

/// The first Debian mirror of this machine's apt sources.
///
/// # Errors
/// If there is none, or the keyring is missing.
pub fn debian_mirror() -> Result<Mirror> {
    let mut files = vec![Path::new("/etc/apt/sources.list").to_path_buf()];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files.sort();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let found = match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => deb822(&text),
            Some("list") => one_line(&text),
            _ => None,
        };
        if let Some(mirror) = found {
            fs::metadata(&mirror.keyring).with_context(|| {
                format!("the keyring {} is missing: install the package debian-archive-keyring", mirror.keyring)
            })?;
            return Ok(mirror);
        }
    }
    bail!("no Debian mirror in /etc/apt/sources.list or sources.list.d (an address ending in /debian): add one")
}

fn mirror(uri: &str, keyring: Option<&str>) -> Option<Mirror> {
    let uri = uri.trim_end_matches('/');
    let keyring = keyring.filter(|path| path.starts_with('/')).unwrap_or(DEBIAN_KEYRING);
    uri.ends_with("/debian").then(|| Mirror { uri: uri.to_owned(), keyring: keyring.to_owned() })
}

/// The first Debian mirror of a `sources.list`: `deb [options] uri suite components…`.
fn one_line(text: &str) -> Option<Mirror> {
    text.lines().find_map(|line| {
        let mut rest = line.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
        let mut keyring = None;
        if let Some(bracketed) = rest.strip_prefix('[') {
            let (options, after) = bracketed.split_once(']')?;
            keyring = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
            rest = after;
        }
        mirror(rest.split_whitespace().next()?, keyring)
    })
}

/// The first Debian mirror of a deb822 file: stanzas of `Field: values`, comments between them.
fn deb822(text: &str) -> Option<Mirror> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).find_map(|stanza| {
        let field = |name: &str| {
            stanza.iter().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        if !field("Types")?.split_whitespace().any(|kind| kind == "deb") || field("Enabled") == Some("no") {
            return None;
        }
        field("URIs")?.split_whitespace().find_map(|uri| mirror(uri, field("Signed-By")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_line_source_is_read_with_and_without_options() {
        let plain =
            one_line("# a comment\ndeb-src http://a.example/debian x main\ndeb http://b.example/debian/ x main\n").unwrap();
        assert_eq!((plain.uri.as_str(), plain.keyring.as_str()), ("http://b.example/debian", DEBIAN_KEYRING));
        let signed = one_line("deb [arch=amd64 signed-by=/k.gpg] https://c.example/debian x main").unwrap();
        assert_eq!((signed.uri.as_str(), signed.keyring.as_str()), ("https://c.example/debian", "/k.gpg"));
    }

    #[test]
    fn sources_of_other_archives_are_passed_over() {
        assert_eq!(one_line("deb http://a.example/debian-security x main\ndeb http://a.example/apt x main"), None);
        assert_eq!(deb822("Types: deb\nURIs: http://a.example/debian-security\nSuites: x\n"), None);
        assert_eq!(deb822("Types: deb-src\nURIs: http://a.example/debian\n"), None);
        assert_eq!(deb822("Enabled: no\nTypes: deb\nURIs: http://a.example/debian\n"), None);
    }

    #[test]
    fn a_deb822_stanza_is_read_past_comments_and_other_stanzas() {
        let text = "Types: deb\nURIs: http://a.example/other\n\nTypes: deb deb-src\n# why\nURIs: http://b.example/debian\nSigned-By: /k.gpg\n";
        let found = deb822(text).unwrap();
        assert_eq!((found.uri.as_str(), found.keyring.as_str()), ("http://b.example/debian", "/k.gpg"));
    }

    #[test]
    fn a_key_given_inline_falls_back_to_the_keyring_of_debian() {
        let text = "Types: deb\nURIs: http://b.example/debian\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(deb822(text).unwrap().keyring, DEBIAN_KEYRING);
    }
}
