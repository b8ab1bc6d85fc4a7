//! What every command that judges does with its report: the options for it, and the way from the judge's result to files and an
//! exit status.
//!
//! Guarantees: everything that can be wrong with the options is found by [`Reporting::open`], before anything runs. Not here: what
//! a report says (`congruent-report`), and how a run ended.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use congruent_report::{Report, Symbols, Verdict};

use crate::output::{Outputs, Targets};

/// The options that say how findings are named and reported, the same for every command that judges.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReportOptions {
    /// Name code after this vmlinux or program (ELF), System.map or kallsyms text; repeatable, the first that knows an address wins
    #[arg(long, value_name = "FILE")]
    pub(crate) symbols: Vec<PathBuf>,
    #[command(flatten)]
    targets: Targets,
    /// How many groups of findings the text tells in full
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    show: usize,
}

impl ReportOptions {
    /// Reads the symbol files.
    ///
    /// # Errors
    /// One line, if one of them gives no symbols.
    pub(crate) fn read_symbols(&self) -> anyhow::Result<Symbols> {
        let mut symbols = Symbols::default();
        for path in &self.symbols {
            let file =
                fs::read(path).with_context(|| format!("cannot read the symbol file `{}`; correct --symbols", path.display()))?;
            symbols.add(&file).map_err(|error| anyhow!("`{}` gives no symbols: {error}", path.display()))?;
        }
        Ok(symbols)
    }
}

/// The options with all their files read and opened.
pub(crate) struct Reporting {
    outputs: Outputs,
    show: usize,
}

impl Reporting {
    /// Opens and reads what the options name, before anything runs.
    ///
    /// # Errors
    /// One line with a remedy, if a file cannot be opened or makes no sense.
    pub(crate) fn open(options: &ReportOptions) -> anyhow::Result<Self> {
        Ok(Self { outputs: Outputs::open(options.targets.list())?, show: options.show })
    }

    /// Whether a report goes to standard output, which the guest's console then leaves to it.
    pub(crate) fn use_stdout(&self) -> bool {
        self.outputs.use_stdout()
    }

    /// Writes the reports and says with which status to exit.
    ///
    /// # Errors
    /// One line with a remedy, if a report cannot be written.
    pub(crate) fn finish(self, report: &Report) -> anyhow::Result<u8> {
        self.outputs.write(report, self.show)?;
        Ok(match report.verdict {
            Verdict::Clean => 0,
            Verdict::Findings => 1,
            Verdict::Incomplete => 3,
        })
    }
}
