//! The command that starts the guest, with the plugin added.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The two words that make QEMU load the plugin with its configuration.
pub(crate) fn plugin_option(plugin: &Path, config: &Path) -> [OsString; 2] {
    // Naming the key `file` lets the path contain `=`.
    let mut value = OsString::from("file=");
    value.push(commas_doubled(plugin.as_os_str()));
    value.push(",config=");
    value.push(commas_doubled(config.as_os_str()));
    ["-plugin".into(), value]
}

/// A value as QEMU's option syntax wants it: a comma is written twice.
fn commas_doubled(value: &OsStr) -> OsString {
    let bytes = value.as_bytes().iter().flat_map(|&byte| std::iter::repeat_n(byte, if byte == b',' { 2 } else { 1 }));
    OsString::from_vec(bytes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_paths_do_not_end_an_option() {
        let [option, value] = plugin_option(Path::new("/a,b/p=1.so"), Path::new("/tmp/c,,d"));
        assert_eq!(option, "-plugin");
        assert_eq!(value, "file=/a,,b/p=1.so,config=/tmp/c,,,,d");
    }
}
