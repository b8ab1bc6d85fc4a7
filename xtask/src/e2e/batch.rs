//! Rows of the table that differ in their programs alone share one boot.
//!
//! Each program is then started under a name that begins with its number (`guests/init.sh`), and what is found is told apart by the
//! names of programs that reports have: a finding belongs to the row whose program the reader is, or else the writer. What no program
//! has a part in belongs to every row that expects it, and must be expected by one.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use super::classes;
use super::row::{Expect, Load, Pair, Run};
use super::verdict::{judge, matches, of_another_program, status_of, told};
use crate::guests::console::Console;
use crate::guests::emulator::Qemu;

/// Rows that share a boot.
pub struct Batch {
    rows: Vec<&'static Run>,
}

impl Batch {
    /// Puts rows together as far as they can be, in the order of the table.
    pub fn of(runs: &[&'static Run], qemu: Qemu) -> Vec<Self> {
        let mut batches: Vec<Self> = Vec::new();
        for run in runs {
            match batches.iter_mut().find(|batch| batch.takes(run, qemu)) {
                Some(batch) => batch.rows.push(run),
                None => batches.push(Self { rows: vec![run] }),
            }
        }
        batches
    }

    fn takes(&self, run: &'static Run, qemu: Qemu) -> bool {
        let first = self.rows[0];
        let mut rows = self.rows.clone();
        rows.push(run);
        shares(first) && shares(run) && same_but_for_programs(first, run) && {
            let together = Self { rows }.programs();
            first.boot(qemu, Some(&together)).is_some_and(|boot| boot.fits())
        }
    }

    /// What all of them run.
    fn programs(&self) -> String {
        self.rows.iter().map(|run| programs(run)).collect::<Vec<_>>().join(",")
    }

    /// Runs it and says in one line of each row how it went, or what is wrong with it.
    pub fn perform(&self, qemu: Qemu, reports: &Path) -> Vec<(&'static str, Result<String>)> {
        let start = Instant::now();
        match self.reported(qemu, reports) {
            Err(error) => {
                let text = format!("{error:#}");
                self.rows.iter().map(|run| (run.name, Err(anyhow!("{text}")))).collect()
            }
            Ok((report, status, cases)) => {
                let took = start.elapsed().as_secs_f64();
                let shared = if self.rows.len() > 1 { format!(" in a boot of {} rows", self.rows.len()) } else { String::new() };
                let (accesses, name) = (report["stats"]["accesses"].as_u64().unwrap_or(0) as f64 / 1e9, self.rows[0].name);
                let parts = self.parts(&report, status);
                let wrong = self.unnamed(&report).or_else(|| self.strange(&report));
                let on = kernel(&report).map_or(String::new(), |release| format!(" on {release}"));
                let cases: Vec<&str> = cases.iter().map(String::as_str).collect();
                let line = |run: &Run, part: &(Value, Option<i32>)| {
                    let verdict = judge(&part.0, part.1, &cases, run.expect, run.callers);
                    let findings = part.0["findings"].as_array().map_or(&[][..], Vec::as_slice);
                    if let Some(complaint) = verdict.complaint.or_else(|| classes::missed(run.name, findings)).or(wrong.clone()) {
                        bail!("{complaint}; see {}", reports.join(format!("{name}.txt")).display());
                    }
                    Ok(format!(
                        "{:<10} {:>5} findings {accesses:>6.2} G accesses {took:>6.1} s{on}{shared}",
                        verdict.word, verdict.findings
                    ))
                };
                self.rows.iter().zip(&parts).map(|(run, part)| (run.name, line(run, part))).collect()
            }
        }
    }

    /// The report of the boot, the status that it came with, and the cases that the guest named.
    fn reported(&self, qemu: Qemu, reports: &Path) -> Result<(Value, Option<i32>, Vec<String>)> {
        let first = self.rows[0];
        let path = |suffix: &str| reports.join(format!("{}.{suffix}", first.name));
        let (json, text, said) = (path("json"), path("txt"), path("console"));
        for old in [&json, &text] {
            let _ = fs::remove_file(old);
        }
        let start = Instant::now();
        let form = |form: &str, file: &Path| ["--format".into(), form.into(), "-o".into(), OsString::from(file)];
        let options = [form("json", &json), form("text", &text)].concat();
        let together = self.programs();
        let together = (self.rows.len() > 1).then_some(together.as_str());
        let output = first
            .command(qemu, together, &options)?
            .stdin(Stdio::null())
            .output()
            .context("cannot start congruent: was it built?")?;
        let spoken = [output.stdout, output.stderr].concat();
        fs::write(&said, &spoken)?;
        let report = fs::read_to_string(&json).with_context(|| {
            let last = String::from_utf8_lossy(&spoken);
            format!("no report: {}", last.lines().last().unwrap_or("nothing was said"))
        })?;
        let console = Console::from_bytes(&spoken, start.elapsed());
        console.check(&self.programs()).with_context(|| format!("see {}", said.display()))?;
        let cases = console.results().filter_map(|line| line.strip_prefix("PASS ")).map(str::to_owned).collect();
        let report: Value = serde_json::from_str(&report)?;
        let (word, status) = (report["verdict"].as_str().unwrap_or("none"), output.status.code());
        ensure!(status == Some(status_of(word)), "exit status {status:?} with verdict {word}; see {}", json.display());
        Ok((report, status, cases))
    }

    /// The report as each row would have had it alone, with the status that belongs to it.
    fn parts(&self, report: &Value, status: Option<i32>) -> Vec<(Value, Option<i32>)> {
        if self.rows.len() == 1 || report["verdict"] == "incomplete" {
            return self.rows.iter().map(|_| (report.clone(), status)).collect();
        }
        let findings = report["findings"].as_array().map_or(&[][..], Vec::as_slice);
        let part = |(number, run): (usize, &&'static Run)| {
            let mine: Vec<Value> = findings.iter().filter(|finding| self.belongs(finding, number, run)).cloned().collect();
            let mut part = report.clone();
            let (word, status) = if mine.is_empty() { ("clean", 0) } else { ("findings", 1) };
            part["verdict"] = json!(word);
            part["findings"] = json!(mine);
            (part, Some(status))
        };
        self.rows.iter().enumerate().map(part).collect()
    }

    fn belongs(&self, finding: &Value, number: usize, run: &Run) -> bool {
        match number_of(finding) {
            Some(program) => self.row_of(program) == Some(number),
            None => expected(run).iter().any(|pair| matches(pair, finding)),
        }
    }

    /// The row that has this program.
    fn row_of(&self, program: usize) -> Option<usize> {
        let mut end = 0;
        self.rows.iter().position(|run| {
            end += programs(run).split(',').count();
            program < end
        })
    }

    /// Whether the report of a Linux does not say which one ran.
    fn unnamed(&self, report: &Value) -> Option<String> {
        let is_linux = matches!(self.rows[0].load, Load::Linux { .. });
        (is_linux && kernel(report).is_none()).then(|| "the report does not name the kernel".to_owned())
    }

    /// What belongs to no row: a finding that nobody expects and no program has a part in, or one that is said to be of another program
    /// than those that run.
    fn strange(&self, report: &Value) -> Option<String> {
        let findings = report["findings"].as_array().map_or(&[][..], Vec::as_slice);
        if self.rows.len() == 1 {
            let (Load::Linux { programs, .. }, Expect::Exactly(_)) = (self.rows[0].load, self.rows[0].expect) else {
                return None;
            };
            return of_another_program(findings, programs);
        }
        let homeless = findings.iter().find(|finding| match number_of(finding) {
            Some(program) => self.row_of(program).is_none(),
            None => !self.rows.iter().any(|run| expected(run).iter().any(|pair| matches(pair, finding))),
        });
        homeless.map(|finding| format!("a finding that belongs to no row of the boot: {}", told(finding)))
    }
}

/// The release of the Linux that ran.
fn kernel(report: &Value) -> Option<&str> {
    report["kernel"].as_str()?.strip_prefix("Linux version ")?.split(' ').next()
}

/// Whether a row can be told apart from others: what it expects is written down finding by finding.
const fn shares(run: &Run) -> bool {
    matches!((run.load, run.expect), (Load::Linux { .. }, Expect::Clean | Expect::Exactly(_) | Expect::AtMost(_)))
}

fn same_but_for_programs(one: &Run, other: &Run) -> bool {
    let (
        Load::Linux { guest, cpu, words, devices, .. },
        Load::Linux { guest: guest2, cpu: cpu2, words: words2, devices: devices2, .. },
    ) = (one.load, other.load)
    else {
        return false;
    };
    (guest, cpu, words, devices) == (guest2, cpu2, words2, devices2)
        && (one.dcache, one.icache, one.cpu_caches) == (other.dcache, other.icache, other.cpu_caches)
        && (one.behaviour, one.mute) == (other.behaviour, other.mute)
}

const fn programs(run: &Run) -> &'static str {
    match run.load {
        Load::Linux { programs, .. } => programs,
        Load::Bare(_) => "",
        Load::Skeleton(kernel) => kernel.programs(),
    }
}

const fn expected(run: &Run) -> &'static [Pair] {
    match run.expect {
        Expect::Exactly(pairs) | Expect::AtMost(pairs) | Expect::AtLeast(pairs) => pairs,
        _ => &[],
    }
}

/// The number of the program that a finding is about: the reader's, or else the writer's.
fn number_of(finding: &Value) -> Option<usize> {
    ["consumer", "producer"].iter().find_map(|party| finding[party]["program"].as_str()?.split_once('.')?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::super::kernels::KERNELS;
    use super::super::table::rows;
    use super::*;

    fn batches() -> Vec<Batch> {
        let runs: Vec<&Run> = rows().collect();
        Batch::of(&runs, Qemu::V10_0)
    }

    #[test]
    fn every_row_is_in_one_batch_and_only_like_rows_are_together() {
        let batches = batches();
        let mut names: Vec<&str> = batches.iter().flat_map(|batch| batch.rows.iter().map(|run| run.name)).collect();
        assert_eq!(names.len(), rows().count());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), rows().count());
        for batch in &batches {
            let alike = batch.rows.iter().all(|run| run.mute == batch.rows[0].mute && run.dcache == batch.rows[0].dcache);
            assert!(alike && (batch.rows.len() == 1 || batch.rows.iter().all(|run| shares(run))));
        }
        // Our own kernel is another one in each row.
        let own = KERNELS.len();
        assert!((batches.len() - own) * 3 < (rows().count() - own) * 2, "{} boots for {} rows", batches.len(), rows().count());
    }

    fn batch_of(names: &[&str]) -> Batch {
        Batch { rows: names.iter().map(|name| rows().find(|run| run.name == *name).unwrap()).collect() }
    }

    fn finding(consumer: &str, program: Option<&str>, producer: &str) -> Value {
        json!({"class": "read-dirty-elsewhere", "consumer": {"symbol": consumer, "mode": "user", "kind": "load", "program": program},
               "producer": {"symbol": producer, "mode": "kernel"}})
    }

    #[test]
    fn a_finding_belongs_to_the_row_whose_program_has_a_part_in_it() {
        let batch = batch_of(&["mips-ordinary", "mips-vm-writev", "mips-vm-writev-twin"]);
        // The ordinary row has four programs.
        let report =
            |program| json!({"verdict": "findings", "findings": [finding("child_reads_buffer", Some(program), "memcpy")]});
        let words = |program| -> Vec<String> {
            batch.parts(&report(program), Some(1)).iter().map(|(part, _)| part["verdict"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(words("4.vm_writev"), ["clean", "findings", "clean"]);
        assert_eq!(words("5.vm_writev"), ["clean", "clean", "findings"]);
        assert_eq!(words("3.mremap_odd"), ["findings", "clean", "clean"]);
        assert_eq!(batch.strange(&report("5.vm_writev")), None);
        assert!(batch.strange(&report("6.vm_writev")).is_some());
    }

    #[test]
    fn a_report_of_a_linux_names_it() {
        let of = |name| batch_of(&[name]);
        let named = json!({"kernel": "Linux version 6.1.0-50-4kc-malta (debian-kernel@lists.debian.org) #1 SMP"});
        assert_eq!(kernel(&named), Some("6.1.0-50-4kc-malta"));
        assert!(of("mips-ordinary").unnamed(&json!({})).is_some());
        assert_eq!((of("mips-ordinary").unnamed(&named), of("bare-mipsel").unnamed(&json!({}))), (None, None));
    }

    #[test]
    fn what_no_program_has_a_part_in_must_be_expected_by_a_row() {
        let batch = batch_of(&["mips-code", "mips-code-forgotten"]);
        let report = |consumer, producer| json!({"verdict": "findings", "findings": [finding(consumer, None, producer)]});
        let patched = report("ftrace_caller", "ftrace_make_nop");
        assert_eq!(batch.strange(&patched), None);
        assert!(batch.parts(&patched, Some(1)).iter().all(|(part, _)| part["findings"].as_array().unwrap().len() == 1));
        assert!(batch.strange(&report("ftrace_caller", "memcpy")).is_some());
    }

    #[test]
    fn an_incomplete_run_is_incomplete_for_every_row() {
        let batch = batch_of(&["mips-ordinary", "mips-vm-writev"]);
        let parts = batch.parts(&json!({"verdict": "incomplete", "findings": []}), Some(3));
        assert!(parts.iter().all(|(part, status)| part["verdict"] == "incomplete" && *status == Some(3)));
    }
}
