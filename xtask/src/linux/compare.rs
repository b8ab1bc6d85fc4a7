//! Linux without the library and with it, the same source, configuration and programs, beside each other: the table of `docs/linux.md`.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::e2e::{self, Load, Run};
use crate::guests::boot::Devices;
use crate::guests::emulator::Qemu;
use crate::guests::kernel::Choice;
use crate::guests::machine::Guest;
use crate::{guests, place, run};

/// What is run, and what that is about.
const WORKLOADS: &[(&str, &str, Devices)] = &[
    ("boot, and no more", "counts", Devices::None),
    ("busybox: many processes, pipes and files", "workload,counts", Devices::None),
    ("fork under writing threads", "fork_threads,counts", Devices::None),
    ("long argument lists", "exec_args,counts", Devices::None),
    ("moved mappings", "mremap_odd,counts", Devices::None),
    ("`process_vm_writev`", "vm_writev,counts", Devices::None),
    ("a debugger's stores", "ptrace_pokedata,counts", Devices::None),
    ("a debugger's loads", "ptrace_peekdata,counts", Devices::None),
    ("code that is written", "jit,counts", Devices::None),
    ("a debugger's breakpoints", "breakpoint,counts", Devices::None),
    ("`pread` beside a shared mapping", "shared_pread,counts", Devices::None),
    ("`pwrite` beside a shared mapping", "pwrite_mapped,counts", Devices::None),
    ("files written, then mapped", "write_then_map,counts", Devices::None),
    ("`vmsplice`, and stores behind it", "vmsplice,counts", Devices::None),
    ("a file behind a loop device, mapped", "loop,counts", Devices::None),
    ("rings of AIO", "aio_ring,counts", Devices::None),
    ("rings of io_uring", "uring,counts", Devices::None),
    ("swap, and back at another colour", "swap,counts", Devices::Disk),
    ("direct I/O to the IDE disk", "disk:direct,counts", Devices::Disk),
    ("buffered I/O to the IDE disk", "disk:buffered,counts", Devices::Disk),
];

/// A program that says nothing on the newest Linux, and why.
const NOT_NEXT: (&str, &str) = (
    "breakpoint",
    "it reads files into folios of several pages, each at the colour of its mapping: the relation that it is about is not there",
);

/// What a run came to.
struct Outcome {
    findings: usize,
    operations: u64,
    accesses: u64,
    /// Windows that were opened, and how many of them were stored to, where there are any.
    windows: [u64; 2],
}

/// Runs all of it on the newest Linux that Debian has the source of, with the library alone.
///
/// # Errors
/// If the kernel does not build, a program fails, or there is a finding.
pub fn next() -> Result<()> {
    guests::prepare(&[Guest::PortedNext], &[Qemu::V10_0], Choice::Stock)?;
    e2e::build()?;
    let mut wrong = Vec::new();
    for (about, programs, devices) in WORKLOADS {
        if programs.split(',').any(|program| program == NOT_NEXT.0) {
            println!("  -- left out: {about}: {}", NOT_NEXT.1);
            continue;
        }
        let Outcome { findings, operations, .. } = outcome(Guest::PortedNext, programs, *devices)?;
        println!("{findings:>4} findings  {:>9} operations  {about}", millions(operations));
        if findings > 0 {
            wrong.push(*about);
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("there are findings: {}", wrong.join(", ")) }
}

/// Runs all of it, and writes the table.
///
/// # Errors
/// If a kernel does not build, a program fails, or there is a finding where the library is.
pub fn perform() -> Result<()> {
    guests::prepare(&[Guest::Ported, Guest::Unported], &[Qemu::V10_0], Choice::Stock)?;
    e2e::build()?;
    let mut rows = vec![
        "| | findings | | maintenance operations | | | cached accesses | | windows | |".to_owned(),
        "|---|---|---|---|---|---|---|---|---|---|".to_owned(),
        "| | stock | ported | stock | ported | | stock | ported | opened | stored to |".to_owned(),
    ];
    let mut wrong = Vec::new();
    for (about, programs, devices) in WORKLOADS {
        let [stock, ported] = [Guest::Unported, Guest::Ported].map(|guest| outcome(guest, programs, *devices));
        let (stock, ported) = (stock?, ported?);
        let ratio = ported.operations as f64 / stock.operations as f64;
        let row = format!(
            "| {about} | {} | {} | {} | {} | {ratio:.2} | {} | {} | {} | {} |",
            stock.findings,
            ported.findings,
            millions(stock.operations),
            millions(ported.operations),
            millions(stock.accesses),
            millions(ported.accesses),
            ported.windows[0],
            ported.windows[1],
        );
        println!("{row}");
        rows.push(row);
        if ported.findings > 0 {
            wrong.push(*about);
        }
    }
    write(&rows.join("\n"))?;
    if wrong.is_empty() { Ok(()) } else { bail!("there are findings where the library is: {}", wrong.join(", ")) }
}

fn outcome(guest: Guest, programs: &'static str, devices: Devices) -> Result<Outcome> {
    let row = Run { load: Load::Linux { guest, cpu: None, programs, words: "", devices }, ..e2e::of_linux(guest) };
    let json = place::reports().join("linux.json");
    json.parent().map_or(Ok(()), fs::create_dir_all)?;
    let options = ["--format".into(), "json".into(), "-o".into(), json.clone().into_os_string()];
    let mut command: Command = row.command(Qemu::V10_0, None, &options)?;
    let output = command.output().with_context(|| format!("cannot run {}", run::shown(&command)))?;
    let console = String::from_utf8_lossy(&output.stdout);
    if let Some(bad) = console.lines().find(|line| line.starts_with("FAIL")) {
        bail!("{programs}: {bad}");
    }
    let count = |name: &str| {
        let told = console.lines().find_map(|line| line.strip_prefix("COUNT ")?.strip_prefix(name)?.trim().parse().ok());
        told.unwrap_or(0)
    };
    ensure!(count("refused") == 0, "{programs}: something was refused that cannot be");
    let report = fs::read(&json).with_context(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("{programs}: no report; the check said: {}", said.lines().last().unwrap_or("nothing"))
    })?;
    let report: Value = serde_json::from_slice(&report)?;
    if report["verdict"] == "incomplete" {
        bail!("{programs}: {}", report["incomplete_because"]);
    }
    let number = |name: &str| report["stats"][name].as_u64().with_context(|| format!("the report has no {name}"));
    Ok(Outcome {
        findings: report["findings"].as_array().map_or(0, Vec::len),
        operations: number("maintenance_ops")?,
        accesses: number("accesses")?,
        windows: [count("windows"), count("stored")],
    })
}

/// In millions.
fn millions(number: u64) -> String {
    format!("{:.2} M", number as f64 / 1e6)
}

const BEGIN: &str = "<!-- `cargo xtask linux` writes what follows -->\n";
const END: &str = "<!-- until here -->";

fn write(table: &str) -> Result<()> {
    let path = place::root().join("docs/linux.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = with_table(&text, table).context("docs/linux.md has no place for the table")?;
    Ok(fs::write(&path, text)?)
}

/// The text with this table in the place of the one that it has.
fn with_table(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_written_where_there_was_one_or_none() {
        let empty = format!("before\n{BEGIN}{END}\nafter\n");
        let once = with_table(&empty, "| a |").unwrap();
        assert_eq!(once, format!("before\n{BEGIN}| a |\n{END}\nafter\n"));
        assert_eq!(with_table(&once, "| a |").unwrap(), once);
        let committed = fs::read_to_string(place::root().join("docs/linux.md")).unwrap();
        assert!(with_table(&committed, "").is_some());
    }
}
