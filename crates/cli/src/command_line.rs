//! The command that starts the guest, with the plugin added.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use anyhow::bail;

/// The two words that make QEMU load the plugin with its configuration.
pub(crate) fn plugin_option(plugin: &Path, config: &Path) -> [OsString; 2] {
    // Naming the key `file` lets the path contain `=`.
    let mut value = OsString::from("file=");
    value.push(commas_doubled(plugin.as_os_str()));
    value.push(",config=");
    value.push(commas_doubled(config.as_os_str()));
    ["-plugin".into(), value]
}

/// The option that makes the guest's CPUs take turns, if it has several and no option says so already. Their accesses could not be put in
/// order otherwise.
///
/// # Errors
/// One line, if the command says how CPUs are emulated, and they would run at the same time.
pub(crate) fn taking_turns(command: &[OsString]) -> anyhow::Result<Option<[OsString; 2]>> {
    let words: Vec<&str> = command.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let values = |name: &'static str| {
        let named = move |word: &str| word.strip_prefix('-').is_some_and(|word| word.strip_prefix('-').unwrap_or(word) == name);
        words.windows(2).filter(move |pair| named(pair[0])).map(|pair| pair[1])
    };
    if !values("smp").any(are_several) || values("icount").next().is_some() {
        return Ok(None);
    }
    let part = |value: &str, wanted: fn(&str) -> bool| value.split(',').any(wanted);
    if values("accel").any(|value| part(value, |part| part == "thread=single")) {
        return Ok(None);
    }
    let chosen = values("accel").next().is_some()
        || ["machine", "M"].into_iter().any(|name| values(name).any(|value| part(value, |part| part.starts_with("accel="))));
    if chosen {
        bail!(
            "the guest has several CPUs, which must take turns to be judged; choose the accelerator with `-accel tcg,thread=single`"
        );
    }
    Ok(Some(["-accel".into(), "tcg,thread=single".into()]))
}

/// Whether the value of `-smp` asks for more than one CPU.
fn are_several(value: &str) -> bool {
    let counts = value.split(',').map(|part| part.rsplit('=').next().unwrap_or(part));
    counts.filter_map(|count| count.parse::<u64>().ok()).any(|count| count > 1)
}

/// A value as QEMU's option syntax wants it: a comma is written twice.
fn commas_doubled(value: &OsStr) -> OsString {
    let bytes = value.as_bytes().iter().flat_map(|&byte| std::iter::repeat_n(byte, if byte == b',' { 2 } else { 1 }));
    OsString::from_vec(bytes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taking_turns_with(words: &str) -> Result<bool, String> {
        let command: Vec<OsString> = words.split(' ').map(OsString::from).collect();
        taking_turns(&command).map(|added| added.is_some()).map_err(|error| error.to_string())
    }

    #[test]
    fn several_cpus_take_turns_unless_they_do_already() {
        for words in ["qemu -smp 1", "qemu -M malta", "qemu -smp 2 -accel tcg,thread=single", "qemu -smp 2 -icount shift=0"] {
            assert_eq!(taking_turns_with(words), Ok(false), "{words}");
        }
        for words in ["qemu -smp 2", "qemu --smp cpus=2", "qemu -smp 1,maxcpus=2", "qemu -smp cores=1,threads=2 -M malta"] {
            assert_eq!(taking_turns_with(words), Ok(true), "{words}");
        }
        for words in ["qemu -smp 2 -accel tcg", "qemu -smp 2 -M malta,accel=tcg", "qemu -smp 2 -accel tcg,thread=multi"] {
            assert!(taking_turns_with(words).unwrap_err().contains("-accel tcg,thread=single"), "{words}");
        }
    }

    #[test]
    fn commas_in_paths_do_not_end_an_option() {
        let [option, value] = plugin_option(Path::new("/a,b/p=1.so"), Path::new("/tmp/c,,d"));
        assert_eq!(option, "-plugin");
        assert_eq!(value, "file=/a,,b/p=1.so,config=/tmp/c,,,,d");
    }
}
