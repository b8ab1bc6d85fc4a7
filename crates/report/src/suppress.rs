//! Findings that somebody has looked at and lets pass: who says so, why, and for how long.
//!
//! Guarantees: a rule has a reason and names at least a class or one party; a rule that has expired suppresses nothing and is
//! said; a rule that suppressed nothing is said. A suppressed finding stays in the report.

use std::ops::Range;

use congruent_shadow::HazardClass;
use serde::Deserialize;
use wildmatch::WildMatch;

use crate::group::function;
use crate::report::{Entry, Suppressed};
use crate::{Date, Report, printable};

/// The rules of any number of suppression files.
#[derive(Clone, Default, Debug)]
pub struct Suppressions {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// `FILE:LINE`.
    place: String,
    class: Option<HazardClass>,
    consumer: Option<WildMatch>,
    producer: Option<WildMatch>,
    reason: String,
    expires: Option<Date>,
}

/// Why a suppression file cannot be used: the line, counted from 1, and what is wrong there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{line}: {problem}")]
pub struct SuppressionError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and the remedy.
    pub problem: String,
}

/// A suppression file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    suppress: Vec<toml::Spanned<Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    class: Option<HazardClass>,
    consumer: Option<String>,
    producer: Option<String>,
    reason: String,
    expires: Option<toml::Spanned<Day>>,
}

/// A date as TOML has it or as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Day {
    Toml(toml::value::Datetime),
    Text(String),
}

impl Suppressions {
    /// Adds the rules of one file, called `name` in reports.
    ///
    /// # Errors
    /// [`SuppressionError`] at the first thing that is wrong; nothing was added then.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), SuppressionError> {
        let at =
            |span: Range<usize>, problem: &str| SuppressionError { line: line_of(text, span.start), problem: problem.to_owned() };
        let file: File = toml::from_str(text).map_err(|error| {
            let problem = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
            at(error.span().unwrap_or_default(), &problem)
        })?;
        let mut rules = Vec::new();
        for written in file.suppress {
            let span = written.span();
            let Written { class, consumer, producer, reason, expires } = written.into_inner();
            if class.is_none() && consumer.is_none() && producer.is_none() {
                return Err(at(span, "this would suppress every finding; name a class, a consumer or a producer"));
            }
            if reason.trim().is_empty() {
                return Err(at(span, "the reason is empty; say why these findings may pass"));
            }
            let expires = match expires {
                None => None,
                Some(day) => {
                    let place = day.span();
                    let day = match day.into_inner() {
                        Day::Toml(day) => day.to_string(),
                        Day::Text(day) => day,
                    };
                    Some(day.parse().map_err(|error| at(place, &format!("expires: {error}")))?)
                }
            };
            rules.push(Rule {
                place: printable(&format!("{name}:{}", line_of(text, span.start))).into_owned(),
                class,
                consumer: consumer.as_deref().map(WildMatch::new),
                producer: producer.as_deref().map(WildMatch::new),
                reason: printable(&reason).into_owned(),
                expires,
            });
        }
        self.rules.extend(rules);
        Ok(())
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count() + 1
}

impl Rule {
    fn matches(&self, entry: &Entry) -> bool {
        let fits = |pattern: &Option<WildMatch>, name: &str| pattern.as_ref().is_none_or(|pattern| pattern.matches(name));
        let producer = entry.producer.as_ref().map(function).unwrap_or_default();
        self.class.is_none_or(|class| class == entry.class)
            && fits(&self.consumer, &function(&entry.consumer))
            && fits(&self.producer, &producer)
    }
}

impl Report {
    /// Marks the findings that a rule lets pass, by the first rule that does, and notes which rules have expired by `today` and
    /// which did nothing. A rule holds until the end of the day on which it expires.
    pub fn suppress(&mut self, suppressions: &Suppressions, today: Date) {
        let mut used = vec![0u64; suppressions.rules.len()];
        for entry in self.all_entries_mut() {
            // Every rule that matches counts as used: of two that overlap, neither is idle.
            for (rule, used) in suppressions.rules.iter().zip(&mut used) {
                if !rule.matches(entry) {
                    continue;
                }
                *used += 1;
                if entry.suppressed.is_none() && rule.expires.is_none_or(|last_day| today <= last_day) {
                    entry.suppressed = Some(Suppressed { reason: rule.reason.clone(), by: rule.place.clone() });
                }
            }
        }
        for (rule, used) in suppressions.rules.iter().zip(used) {
            let place = &rule.place;
            match rule.expires.filter(|&last_day| last_day < today) {
                Some(day) if used > 0 => {
                    self.notes.push(format!(
                        "the suppression at {place} expired on {day}, so it suppresses nothing; renew it or mend the kernel"
                    ));
                }
                Some(day) => self
                    .notes
                    .push(format!("the suppression at {place} expired on {day} and nothing needs it any more; remove it")),
                None if used == 0 => self.notes.push(format!("the suppression at {place} matched no finding of this run")),
                None => {}
            }
        }
    }
}
