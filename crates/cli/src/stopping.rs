//! `--stop-at`: at which findings the guest is paused, and what is said then.
//!
//! The plugin pauses it; here stands what the user asked for in words, and what helps to go on: the finding, and how to look at the guest with a
//! debugger.

use std::ffi::OsString;
use std::path::Path;

use anyhow::anyhow;
use congruent_arch::Arch;
use congruent_report::{Chains, Report, Run, Symbols, class_name};
use congruent_shadow::{Config, Finding, HazardClass};
use congruent_wire::StopAt;
use serde_json::{Value, from_value};

use crate::guest_symbols;

/// What `--stop-at` says.
///
/// # Errors
/// One line, if it is no number, no class and no code.
pub(crate) fn stop_at(text: &str, symbols: &Symbols) -> anyhow::Result<StopAt> {
    if text == "first" {
        return Ok(StopAt::From(1));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = text.parse().ok().filter(|&number| number > 0);
        return number.map(StopAt::From).ok_or_else(|| anyhow!("--stop-at: findings are counted from 1; {text} is none of them"));
    }
    if let Ok(class) = from_value(Value::String(text.to_owned())) {
        return Ok(StopAt::Class(class));
    }
    let ranges = symbols.ranges(text).map_err(|error| {
        let classes = HazardClass::ALL.map(class_name).join(", ");
        anyhow!("--stop-at: {error}; or say first, the number of a finding, or a class of them ({classes})")
    })?;
    Ok(StopAt::Code(ranges))
}

/// Whether the command has a debugger's port opened, itself or by a shell.
fn listens(command: &[OsString]) -> bool {
    let opens = |word: &str| ["-s", "--s", "-gdb", "--gdb"].contains(&word);
    command.iter().any(|words| words.to_string_lossy().split_whitespace().any(opens))
}

/// What is said at each stop.
pub(crate) struct Stopping {
    pub(crate) at: StopAt,
    symbols: Symbols,
    caches: Config,
    /// Whether a debugger's port is there without us.
    listens: bool,
    has_looked: bool,
}

impl Stopping {
    /// Nothing was found yet.
    pub(crate) fn new(at: StopAt, symbols: Symbols, caches: Config, command: &[OsString]) -> Self {
        Self { at, symbols, caches, listens: listens(command), has_looked: false }
    }

    /// Whether QEMU has to be told to listen for a debugger.
    pub(crate) fn wants_a_port(&self) -> bool {
        !self.listens
    }

    /// What is told of the finding that the guest was stopped at.
    pub(crate) fn text(&mut self, told: &Told<'_>) -> String {
        if let (Some(memory), false) = (&told.memory, self.has_looked) {
            self.has_looked = true;
            guest_symbols::add(&mut self.symbols, told.arch, std::slice::from_ref(told.finding), memory);
        }
        let (geometry, behaviour) = (self.caches.geometry, self.caches.behaviour());
        let run = Run::of_findings(told.arch, geometry, behaviour, std::slice::from_ref(told.finding), told.chains);
        let account = Report::new(&run, &self.symbols).account(told.number);
        let place = if told.before { "before the access takes effect" } else { "behind the block of instructions that has it" };
        let port = if self.listens { "localhost:1234".to_owned() } else { told.port.display().to_string() };
        let asked = if self.listens { " (or what -gdb says)" } else { "" };
        format!(
            "\n{account}\ncongruent: the guest is paused at this finding, {place}\n  to look at it: gdb-multiarch -ex 'target remote {port}'{asked}, with the \
             kernel's vmlinux\n  to go on, to the next one: `continue` there, or `cont` in QEMU's monitor"
        )
    }
}

/// A finding at which the guest was stopped.
pub(crate) struct Told<'a> {
    /// Counted from 1, in the order in which they are found.
    pub(crate) number: usize,
    pub(crate) finding: &'a Finding,
    pub(crate) chains: &'a Chains,
    pub(crate) arch: Arch,
    /// The copy of the guest's memory, if there is one.
    pub(crate) memory: Option<Vec<u8>>,
    /// Whether it stands before the access; else behind the block.
    pub(crate) before: bool,
    /// Where QEMU listens for a debugger if the command does not say.
    pub(crate) port: &'a Path,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(text: &str) -> Result<StopAt, String> {
        let mut symbols = Symbols::default();
        symbols.add(b"80001000 T copy_page\n80002000 T _etext\n").unwrap();
        stop_at(text, &symbols).map_err(|error| error.to_string())
    }

    #[test]
    fn findings_are_named_by_number_class_or_code() {
        assert_eq!(says("first"), Ok(StopAt::From(1)));
        assert_eq!(says("12"), Ok(StopAt::From(12)));
        assert_eq!(says("dma-read-stale"), Ok(StopAt::Class(HazardClass::DmaReadStale)));
        let code = std::iter::once(0x8000_1000..0x8000_2000).collect();
        assert_eq!(says("copy_page"), Ok(StopAt::Code(code)));
        for (wrong, why) in [("0", "counted from 1"), ("99999999999999999999", "counted from 1"), ("copy_pages", "read-lost")] {
            let said = says(wrong).unwrap_err();
            assert!(said.starts_with("--stop-at: ") && said.contains(why) && !said.contains('\n'), "{said}");
        }
    }

    #[test]
    fn a_port_that_the_command_opens_is_enough() {
        let command = |words: &str| words.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(listens(&command("qemu -M malta -s")) && listens(&command("qemu --gdb unix:x")));
        assert!(listens(&["sh".into(), "-c".into(), "qemu -s \"$@\"".into()]));
        assert!(!listens(&command("qemu -M malta -append s")));
    }
}
