//! What every command that judges does with its report: the options for it, and the way from the judge's result to files and an
//! exit status.
//!
//! Guarantees: everything that can be wrong with the options is found by [`Reporting::open`], before anything runs. Not here: what
//! a report says (`congruent-report`), and how a run ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use congruent_report::{Date, Entry, Report, Suppressions, Symbols, Verdict};

use crate::output::{Outputs, Targets, Writable};
use crate::sources::SourceTree;

/// The options that say how findings are named and reported, the same for every command that judges.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReportOptions {
    /// Name code after this vmlinux or program (ELF), System.map or kallsyms text; repeatable, the first that knows an address wins
    #[arg(long, value_name = "FILE")]
    pub(crate) symbols: Vec<PathBuf>,
    #[command(flatten)]
    targets: Targets,
    /// Tell for each function and caller what its cache maintenance was good for: operations, lines covered, lines that mattered to
    /// anybody, and the cycles that the others took
    #[arg(long)]
    pub(crate) ledger: bool,
    /// How many groups of findings, and entries of the ledger, the text tells in full [default: 20; 1 group where findings may all follow
    /// from a cache that the emulated core does not have]
    #[arg(long, value_name = "COUNT")]
    show: Option<usize>,
    /// Let the findings pass that this file names, with its reasons; repeatable
    #[arg(long, value_name = "FILE")]
    suppress: Vec<PathBuf>,
    /// Let the findings pass that this earlier JSON report has: only new ones count
    #[arg(long, value_name = "REPORT")]
    baseline: Option<PathBuf>,
    /// Show source lines in the HTML report from this directory, where symbol files say file and line; repeatable
    #[arg(long, value_name = "DIR")]
    source: Vec<PathBuf>,
}

impl ReportOptions {
    /// Reads the symbol files.
    ///
    /// # Errors
    /// One line, if one of them gives no symbols.
    pub(crate) fn read_symbols(&self) -> anyhow::Result<Symbols> {
        read_symbols(&self.symbols)
    }
}

/// Reads symbol files, the first to be asked first.
///
/// # Errors
/// One line, if one of them gives no symbols.
pub(crate) fn read_symbols(paths: &[PathBuf]) -> anyhow::Result<Symbols> {
    let mut symbols = Symbols::default();
    for path in paths {
        let file =
            fs::read(path).with_context(|| format!("cannot read the symbol file `{}`; correct --symbols", path.display()))?;
        symbols.add(&file).map_err(|error| anyhow!("`{}` gives no symbols: {error}", path.display()))?;
    }
    Ok(symbols)
}

/// The options with all their files read and opened.
pub(crate) struct Reporting {
    outputs: Outputs,
    show: Option<usize>,
    sources: SourceTree,
    suppressions: Option<Suppressions>,
    baseline: Option<Report>,
}

impl Reporting {
    /// Opens and reads what the options name, before anything runs.
    ///
    /// # Errors
    /// One line with a remedy, if a file cannot be opened or makes no sense.
    pub(crate) fn open(options: &ReportOptions) -> anyhow::Result<Self> {
        // The baseline is read before an output is opened, so it may be replaced by this run's report.
        let baseline = options.baseline.as_deref().map(read_baseline).transpose()?;
        let suppressions = read_suppressions(&options.suppress)?;
        let sources = SourceTree::open(&options.source)?;
        Ok(Self { outputs: Outputs::open(options.targets.list())?, show: options.show, sources, suppressions, baseline })
    }

    /// Whether a report goes to standard output, which the guest's console then leaves to it.
    pub(crate) fn use_stdout(&self) -> bool {
        self.outputs.use_stdout()
    }

    /// Whether a report goes to this file.
    pub(crate) fn go_to(&self, file: &Writable) -> bool {
        self.outputs.go_to(file)
    }

    /// Marks what is suppressed or known, writes the reports and says with which status to exit.
    ///
    /// # Errors
    /// One line with a remedy, if a report cannot be written.
    pub(crate) fn finish(self, mut report: Report) -> anyhow::Result<u8> {
        if let Some(suppressions) = &self.suppressions {
            report.suppress(suppressions, today());
        }
        if let Some(baseline) = &self.baseline {
            report.compare(baseline);
        }
        report.reveal();
        self.outputs.write(&report, self.show, &self.sources)?;
        Ok(match report.verdict {
            Verdict::Incomplete => 3,
            Verdict::Findings if report.findings.iter().any(Entry::fails) => 1,
            Verdict::Findings | Verdict::Clean => 0,
        })
    }
}

fn read_baseline(path: &Path) -> anyhow::Result<Report> {
    let text = fs::read(path).with_context(|| format!("cannot read the baseline `{}`; correct --baseline", path.display()))?;
    Report::from_json(&String::from_utf8_lossy(&text)).map_err(|error| anyhow!("`{}` is no baseline: {error}", path.display()))
}

fn read_suppressions(paths: &[PathBuf]) -> anyhow::Result<Option<Suppressions>> {
    let mut suppressions = Suppressions::default();
    for path in paths {
        let name = path.display().to_string();
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read the suppressions `{name}`; correct --suppress"))?;
        suppressions.add(&name, &text).map_err(|error| anyhow!("--suppress: {name}:{error}"))?;
    }
    Ok((!paths.is_empty()).then_some(suppressions))
}

/// The day in UTC, so that a suppression expires everywhere at once.
fn today() -> Date {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now[..10].parse().expect("RFC 3339 begins with the date")
}
