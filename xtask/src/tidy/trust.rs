//! Where `unsafe` may stand: few files, each with the reason why it cannot do without.
//!
//! A file that is not listed has none, and one that is listed has some. Not here: that each block says why it is sound, which is clippy's
//! (`undocumented_unsafe_blocks`).

use super::File;

/// Files with unsafe code, and why. A folder stands for all of its files.
const TRUSTED: &[(&str, &str)] = &[
    ("crates/qemu/src/api.rs", "QEMU's functions, found by their names"),
    ("crates/qemu/src/moment.rs", "calls of QEMU's functions, each at a time that allows it"),
    ("crates/qemu/src/plugin.rs", "what QEMU calls"),
    ("crates/qemu/src/plugin/", "what QEMU calls of it most"),
    ("crates/qemu/src/global.rs", "the value that callbacks share"),
    ("crates/qemu/src/halt.rs", "QEMU's functions that stop a guest, found by their names; one of them jumps"),
    ("crates/qemu/src/exported.rs", "QEMU's functions beside its plugin interface, found by their names"),
    ("crates/qemu/src/ram.rs", "the guest's memory, by QEMU's functions and by pointers"),
    ("crates/qemu/src/bus/mod.rs", "begun while the plugin is installed"),
    ("crates/qemu/src/bus/apart.rs", "memory that a device reads in place of the guest's"),
    ("crates/qemu/src/bus/qemu.rs", "QEMU's functions for regions of memory"),
    ("crates/qemu/src/bus/region.rs", "QEMU's objects, and what QEMU calls of ours"),
    ("crates/congruent/src/bytes.rs", "copies of bytes that others may write meanwhile"),
    ("crates/congruent/src/content.rs", "what a kernel promises of a frame's bytes"),
    ("crates/congruent/src/engine.rs", "the kernel's hooks, called by their contract"),
    ("crates/congruent/src/hardware.rs", "the contract of a kernel's hooks"),
    ("crates/congruent/src/kept.rs", "pages of user code that stay mapped"),
    ("crates/congruent/src/notice.rs", "windows that are flushed at close"),
    ("crates/congruent/src/reach.rs", "what a kernel promises of its mappings"),
    ("crates/congruent/src/sync/interleaved.rs", "a test's scheduler, found by its name"),
    ("crates/congruent/src/user.rs", "mappings of user code"),
    ("crates/congruent/src/window.rs", "mappings of windows"),
    ("crates/congruent/benches/", "a platform to measure on"),
    ("crates/congruent/tests/", "platforms to test on, and code that must not compile"),
    ("crates/vm/src/platform.rs", "the reference VM as a platform of the library"),
    ("linux/library/src/", "what is between Linux and the library, found by its names"),
    ("examples/skeleton/src/", "kernels: hardware is reached by addresses"),
];

/// Files that have unsafe code without being listed, and the other way round.
pub fn untrusted(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut met = vec![false; TRUSTED.len()];
    for file in files.iter().filter(|file| file.is_rust()) {
        let Some(line) = file.text.lines().position(is_unsafe) else { continue };
        match TRUSTED.iter().position(|(path, _)| covers(path, &file.path)) {
            Some(at) => met[at] = true,
            None => wrong.push(format!(
                "{}:{}: unsafe code in a file that is not among those that may have it (xtask/src/tidy/trust.rs)",
                file.path,
                line + 1
            )),
        }
    }
    for ((path, _), _) in TRUSTED.iter().zip(met).filter(|(_, met)| !met) {
        // A test of this check knows only a few files.
        if files.iter().any(|file| covers(path, &file.path)) || files.iter().any(|file| file.path == "ARCHITECTURE.md") {
            wrong.push(format!("{path}: has no unsafe code any more: take it out of the list"));
        }
    }
    wrong
}

fn covers(listed: &str, path: &str) -> bool {
    path == listed || (listed.ends_with('/') && path.starts_with(listed))
}

/// Whether a line has the keyword, apart from comments, texts, and names that contain it.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let mut outside = code.split('"').step_by(2);
    let opens = |rest: &str| rest.starts_with([' ', '(']) && !rest.trim_start().starts_with("code");
    outside.any(|code| {
        code.match_indices("unsafe").any(|(at, word)| {
            let before = code[..at].chars().next_back();
            before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
                && (code.len() == at + word.len() || opens(&code[at + word.len()..]))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn unsafe_code_is_told_from_what_speaks_of_it() {
        for code in [
            "unsafe {",
            "    pub unsafe fn f() {",
            "#[unsafe(no_mangle)]",
            "let x = unsafe { f() };",
            "unsafe impl T for X {}",
            "unsafe",
        ] {
            assert!(is_unsafe(code), "{code}");
        }
        for word in [
            "// unsafe { }",
            "/// unsafe fn",
            "#![forbid(unsafe_code)]",
            concat!("f(", '\u{22}', "unsafe { }", '\u{22}', ")"),
            "is_unsafe (x)",
            "f(); // unsafe",
        ] {
            assert!(!is_unsafe(word), "{word}");
        }
    }

    #[test]
    fn a_file_that_may_not_have_unsafe_code_is_told_and_so_is_one_that_has_none_any_more() {
        let told = |path: &str, text: &str| untrusted(&[file(path, text)]).len();
        assert_eq!(told("crates/qemu/src/session.rs", "fn f() {}\nunsafe { g() }"), 1);
        assert_eq!(told("crates/qemu/src/session.rs", "// unsafe { g() }"), 0);
        assert_eq!(told("crates/qemu/src/api.rs", "unsafe { g() }"), 0);
        assert_eq!(told("crates/qemu/src/api.rs", "fn f() {}"), 1);
        assert_eq!(told("crates/congruent/tests/a/b.rs", "unsafe { g() }"), 0);
    }
}
