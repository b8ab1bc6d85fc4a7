//! Finds the Debian mirror that this machine already trusts, so that the repository names none.
//!
//! Both formats of apt's sources are read (`sources.list(5)`): one line per source, and deb822 stanzas. Only binary sources whose
//! address ends in `/debian` carry every suite; one that ends in `/debian-security` has the security suites. A machine that names none of
//! the latter is taken to have it beside the mirror, as Debian's own layout has it.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail, ensure};

/// The keyring that Debian's own packages install.
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An archive and the key that signs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Archive {
    /// Its address.
    pub uri: String,
    /// The keyring file.
    pub keyring: String,
}

/// Where this machine gets Debian's packages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mirror {
    main: Archive,
    security: Archive,
}

impl Mirror {
    /// The archive that has this suite.
    pub fn archive(&self, suite: &str) -> &Archive {
        if suite.ends_with("-security") { &self.security } else { &self.main }
    }
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
    let texts: Vec<(bool, String)> = files
        .iter()
        .filter_map(|file| {
            let stanzas = match file.extension()?.to_str()? {
                "sources" => true,
                "list" => false,
                _ => return None,
            };
            Some((stanzas, fs::read_to_string(file).ok()?))
        })
        .collect();
    let mirror = mirror_of(&texts)?;
    for keyring in [&mirror.main.keyring, &mirror.security.keyring] {
        ensure!(Path::new(keyring).exists(), "the keyring {keyring} is missing: install the package debian-archive-keyring");
    }
    Ok(mirror)
}

/// The mirror that these source files name; of each whether it has stanzas.
fn mirror_of(texts: &[(bool, String)]) -> Result<Mirror> {
    let find = |ending: &str| {
        texts.iter().find_map(|(stanzas, text)| if *stanzas { deb822(text, ending) } else { one_line(text, ending) })
    };
    let Some(main) = find("/debian") else {
        bail!("no Debian mirror in /etc/apt/sources.list or sources.list.d (an address ending in /debian): add one")
    };
    let security = find("/debian-security")
        .unwrap_or_else(|| Archive { uri: format!("{}-security", main.uri), keyring: main.keyring.clone() });
    Ok(Mirror { main, security })
}

fn archive(uri: &str, keyring: Option<&str>, ending: &str) -> Option<Archive> {
    let uri = uri.trim_end_matches('/');
    let keyring = keyring.filter(|path| path.starts_with('/')).unwrap_or(DEBIAN_KEYRING);
    uri.ends_with(ending).then(|| Archive { uri: uri.to_owned(), keyring: keyring.to_owned() })
}

/// The first archive of a `sources.list` whose address ends so: `deb [options] uri suite components…`.
fn one_line(text: &str, ending: &str) -> Option<Archive> {
    text.lines().find_map(|line| {
        let mut rest = line.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
        let mut keyring = None;
        if let Some(bracketed) = rest.strip_prefix('[') {
            let (options, after) = bracketed.split_once(']')?;
            keyring = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
            rest = after;
        }
        archive(rest.split_whitespace().next()?, keyring, ending)
    })
}

/// The first archive of a deb822 file whose address ends so: stanzas of `Field: values`, comments between them.
fn deb822(text: &str, ending: &str) -> Option<Archive> {
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
        field("URIs")?.split_whitespace().find_map(|uri| archive(uri, field("Signed-By"), ending))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_line_source_is_read_with_and_without_options() {
        let read = |text| one_line(text, "/debian").unwrap();
        let plain = read("# a comment\ndeb-src http://a.example/debian x main\ndeb http://b.example/debian/ x main\n");
        assert_eq!((plain.uri.as_str(), plain.keyring.as_str()), ("http://b.example/debian", DEBIAN_KEYRING));
        let signed = read("deb [arch=amd64 signed-by=/k.gpg] https://c.example/debian x main");
        assert_eq!((signed.uri.as_str(), signed.keyring.as_str()), ("https://c.example/debian", "/k.gpg"));
    }

    #[test]
    fn sources_of_other_archives_are_passed_over() {
        let lines = "deb http://a.example/debian-security x main\ndeb http://a.example/apt x main";
        assert_eq!(one_line(lines, "/debian"), None);
        for stanza in [
            "Types: deb\nURIs: http://a.example/debian-security\nSuites: x\n",
            "Types: deb-src\nURIs: http://a.example/debian\n",
            "Enabled: no\nTypes: deb\nURIs: http://a.example/debian\n",
        ] {
            assert_eq!(deb822(stanza, "/debian"), None);
        }
    }

    #[test]
    fn a_deb822_stanza_is_read_past_comments_and_other_stanzas() {
        let text = "Types: deb\nURIs: http://a.example/other\n\nTypes: deb deb-src\n# why\nURIs: http://b.example/debian\nSigned-By: /k.gpg\n";
        let found = deb822(text, "/debian").unwrap();
        assert_eq!((found.uri.as_str(), found.keyring.as_str()), ("http://b.example/debian", "/k.gpg"));
    }

    #[test]
    fn a_key_given_inline_falls_back_to_the_keyring_of_debian() {
        let text = "Types: deb\nURIs: http://b.example/debian\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(deb822(text, "/debian").unwrap().keyring, DEBIAN_KEYRING);
    }

    #[test]
    fn security_suites_are_where_the_machine_has_them_or_beside_the_mirror() {
        let main = (false, "deb http://a.example/debian x main".to_owned());
        let security = (true, "Types: deb\nURIs: http://s.example/debian-security/\n".to_owned());
        let both = mirror_of(&[main.clone(), security]).unwrap();
        assert_eq!(both.archive("trixie-security").uri, "http://s.example/debian-security");
        assert_eq!(both.archive("trixie-updates").uri, "http://a.example/debian");
        assert_eq!(mirror_of(&[main]).unwrap().archive("trixie-security").uri, "http://a.example/debian-security");
    }

    #[test]
    fn a_machine_without_a_mirror_is_told_what_to_add() {
        let text = mirror_of(&[(false, "deb http://a.example/ubuntu x main".to_owned())]).unwrap_err().to_string();
        assert!(text.contains("no Debian mirror") && text.contains("add one"), "{text}");
    }
}
