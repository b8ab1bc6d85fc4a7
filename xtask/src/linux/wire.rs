//! Puts our files into a kernel's tree, and edits the lines of it that know of them.
//!
//! The tree is made of symbolic links to the source as it was unpacked; a file that is edited becomes one of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::edits::{EDITS, Edit, How, Of};
use crate::place;

/// Our files, as they are called in `linux/glue`, and where each goes.
const FILES: &[(&str, &str)] = &[
    ("Kconfig", "arch/mips/congruent/Kconfig"),
    ("Kbuild", "arch/mips/congruent/Kbuild"),
    ("internal.h", "arch/mips/congruent/internal.h"),
    ("frames.c", "arch/mips/congruent/frames.c"),
    ("users.c", "arch/mips/congruent/users.c"),
    ("windows.c", "arch/mips/congruent/windows.c"),
    ("mips.c", "arch/mips/congruent/mips.c"),
    ("hooks.h", "include/linux/congruent.h"),
    ("maintenance.h", "arch/mips/include/asm/congruent-maintenance.h"),
    ("windows.h", "arch/mips/include/asm/congruent-windows.h"),
];

/// Where the library goes, as an object file.
pub const LIBRARY: &str = "arch/mips/congruent/library.o_shipped";

/// Makes `tree` the kernel's `source` with the library wired in.
///
/// # Errors
/// If an anchor is not where it is looked for: one line, with the file, the anchor, and what it was for.
pub fn wire(source: &Path, tree: &Path) -> Result<()> {
    let ours: Vec<&Path> = FILES.iter().map(|(_, file)| file).chain([&LIBRARY]).map(Path::new).collect();
    let touched: Vec<&Path> = EDITS.iter().map(|edit| Path::new(edit.file)).chain(ours).collect();
    link(source, tree, &touched)?;
    for (ours, theirs) in FILES {
        let (from, to) = (place::root().join("linux/glue").join(ours), tree.join(theirs));
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let not = if major(source)? < 7 { Of::From7 } else { Of::Before7 };
    EDITS.iter().filter(|edit| edit.of != not).try_for_each(|edit| apply(tree, edit))
}

/// The first number of the kernel's version.
fn major(source: &Path) -> Result<u32> {
    let makefile = source.join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| format!("cannot read {}", makefile.display()))?;
    let version = text.lines().find_map(|line| line.strip_prefix("VERSION = ")?.trim().parse().ok());
    version.with_context(|| format!("{} is not that of a kernel: it says no VERSION", makefile.display()))
}

/// The same files and directories as links; but directories in which something is `touched`, which have links of their own.
fn link(source: &Path, tree: &Path, touched: &[&Path]) -> Result<()> {
    fs::create_dir_all(tree)?;
    for entry in fs::read_dir(source).with_context(|| format!("cannot read {}", source.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), tree.join(entry.file_name()));
        let inside: Vec<&Path> = touched.iter().filter_map(|path| path.strip_prefix(entry.file_name()).ok()).collect();
        if entry.file_type()?.is_dir() && !inside.is_empty() {
            link(&from, &to, &inside)?;
        } else {
            symlink(&from, &to).with_context(|| format!("cannot make {}", to.display()))?;
        }
    }
    Ok(())
}

fn apply(tree: &Path, edit: &Edit) -> Result<()> {
    let path = tree.join(edit.file);
    let text = fs::read_to_string(&path).with_context(|| format!("this kernel has no {}: {}", edit.file, edit.reason))?;
    let edited = edited(&text, edit)?;
    // Not through the link.
    fs::remove_file(&path)?;
    fs::write(&path, edited).with_context(|| format!("cannot write {}", path.display()))
}

/// The text with an edit made.
fn edited(text: &str, edit: &Edit) -> Result<String> {
    let Edit { anchor, text: ours, .. } = *edit;
    let insert = |at: usize| format!("{}{ours}{}", &text[..at], &text[at..]);
    let line_start = |at: usize| text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = |at: usize| text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1);
    let found = match edit.how {
        How::Append => return Ok(format!("{text}\n{ours}")),
        How::BeforeLast => text.rfind(anchor),
        _ => text.find(anchor),
    };
    let Some(at) = found else {
        bail!("this kernel's {} has no `{}` any more, where {}", edit.file, anchor.escape_debug(), edit.reason);
    };
    Ok(match edit.how {
        How::Before | How::BeforeLast => insert(line_start(at)),
        How::After => insert(line_end(at)),
        How::Instead => text.replace(anchor, ours),
        How::Enter => return entered(text, edit),
        How::Append => unreachable!("it has no anchor"),
    })
}

/// With our text at the beginning of each function whose head has the anchor.
fn entered(text: &str, edit: &Edit) -> Result<String> {
    let (mut done, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(edit.anchor) {
        let (until, open) = (rest[at..].find(';'), rest[at..].find("\n{\n"));
        let Some(open) = open.filter(|open| until.is_none_or(|until| *open < until)) else {
            // A declaration.
            let (before, after) = rest.split_at(at + edit.anchor.len());
            done.push_str(before);
            rest = after;
            continue;
        };
        let (before, after) = rest.split_at(at + open + "\n{\n".len());
        done.push_str(before);
        done.push_str(edit.text);
        rest = after;
    }
    ensure!(!done.is_empty(), "this kernel's {} has no `{}` with a body any more", edit.file, edit.anchor);
    done.push_str(rest);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn edit(anchor: &'static str, how: How, text: &'static str) -> Edit {
        Edit { file: "f.c", anchor, how, text, reason: "something is done", of: Of::Any }
    }

    #[test]
    fn edits_are_made_at_their_anchors() {
        let text = "a;\nint f(void)\n{\n\tg();\n}\nint f(void);\na;\n";
        let made = |anchor, how| edited(text, &edit(anchor, how, "X\n")).unwrap();
        assert_eq!(made("a;", How::Before), "X\na;\nint f(void)\n{\n\tg();\n}\nint f(void);\na;\n");
        assert_eq!(made("a;", How::BeforeLast), "a;\nint f(void)\n{\n\tg();\n}\nint f(void);\nX\na;\n");
        assert_eq!(made("g()", How::After), "a;\nint f(void)\n{\n\tg();\nX\n}\nint f(void);\na;\n");
        assert_eq!(made("int f(", How::Enter), "a;\nint f(void)\n{\nX\n\tg();\n}\nint f(void);\na;\n");
        assert_eq!(made("a;\n", How::Instead), "X\nint f(void)\n{\n\tg();\n}\nint f(void);\nX\n");
        assert_eq!(made("", How::Append), format!("{text}\nX\n"));
    }

    #[test]
    fn an_anchor_that_has_gone_is_told_with_what_it_was_for() {
        let gone = edited("a", &edit("b(", How::Before, "X")).unwrap_err().to_string();
        assert_eq!(gone, "this kernel's f.c has no `b(` any more, where something is done");
    }
}
