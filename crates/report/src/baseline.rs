//! A run held against an earlier one: which findings are new, which were known, which are gone.
//!
//! Guarantees: a finding is known only if the earlier report has one of the same [`Identity`]. A finding that an unfinished run
//! did not meet is not called gone. Whatever makes the two runs hard to compare is noted.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Identity, Report, SCHEMA, Verdict};

/// What became of an earlier report's findings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BaselineEntry {
    /// Findings of the earlier report that this run, which finished, did not meet.
    pub gone: Vec<Identity>,
}

/// Whether a finding is in the baseline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// It is not.
    New,
    /// It is.
    Known,
}

/// Why a file is no report.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportFileError {
    /// It is not JSON, or breaks off.
    #[error("it is not a JSON report ({0}); give a file that --format json wrote")]
    NotJson(String),
    /// It is JSON of another kind.
    #[error("its schema is {0:?} and not \"{SCHEMA}\"; give a file that --format json wrote")]
    OtherSchema(String),
    /// It has the right schema and contents that this program does not know.
    #[error("it cannot be read ({0}); write it again with this version of congruent")]
    Unreadable(String),
}

impl Report {
    /// Reads a report back.
    ///
    /// # Errors
    /// [`ReportFileError`] if it is no report of this schema.
    pub fn from_json(text: &str) -> Result<Self, ReportFileError> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| ReportFileError::NotJson(error.to_string()))?;
        let schema = value.get("schema").and_then(serde_json::Value::as_str).unwrap_or_default();
        if schema != SCHEMA {
            return Err(ReportFileError::OtherSchema(schema.to_owned()));
        }
        let mut report: Self = serde_json::from_value(value).map_err(|error| ReportFileError::Unreadable(error.to_string()))?;
        report.clean();
        Ok(report)
    }

    /// Marks every finding as new or known by comparison with an earlier report, and lists those that are gone.
    pub fn compare(&mut self, earlier: &Report) {
        let before: BTreeSet<Identity> = earlier.findings.iter().map(Identity::of).collect();
        // What followed from its findings was there as well.
        let mut known = before.clone();
        known.extend(earlier.consequences.iter().map(|it| Identity::of(&it.finding)));
        let mut now = BTreeSet::new();
        for entry in self.all_entries_mut() {
            let identity = Identity::of(entry);
            entry.baseline = Some(if known.contains(&identity) { Known::Known } else { Known::New });
            now.insert(identity);
        }
        let finished = self.verdict != Verdict::Incomplete;
        let gone = if finished { before.difference(&now).cloned().collect() } else { Vec::new() };
        self.baseline = Some(BaselineEntry { gone });
        if earlier.verdict == Verdict::Incomplete {
            self.notes.push(
                "the baseline is of a run that did not finish: what that run did not come to counts as new here".to_owned(),
            );
        }
        if !finished && !before.is_empty() {
            self.notes.push("this run did not finish, so findings of the baseline that it lacks are not called gone".to_owned());
        }
        let mut differ = |what: &str, differ: bool| {
            if differ {
                self.notes
                    .push(format!("the baseline is of a run with {what}, so it may hold findings that this one cannot have"));
            }
        };
        differ("another guest architecture", earlier.target != self.target);
        differ("another cache", earlier.geometry != self.geometry);
        differ("other muted sites", earlier.muted != self.muted);
        differ("no symbols while this one has some, or the reverse", earlier.symbols != self.symbols);
    }
}
