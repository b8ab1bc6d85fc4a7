//! Where the steps come from: a named workload, a script, or a log; found out and read before anything runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use congruent_vm::{Step, parse_script, write_script};
use congruent_workload::{Kind, Replay, translate};

use super::SimulateOptions;

/// What is to be run.
pub(crate) struct Workload {
    /// Its name for reports: the workload's or the file's.
    pub(crate) name: String,
    what: What,
}

enum What {
    Named {
        kind: Kind,
        scale: u32,
        seed: u64,
    },
    Script(Vec<Step>),
    /// The log's text; its steps depend on the size of pages.
    Log {
        file: PathBuf,
        text: String,
    },
}

/// How a log was understood, for reports.
pub(crate) struct Understood {
    pub(crate) tasks: usize,
    pub(crate) calls: u64,
    pub(crate) failed: u64,
    /// By name, the most frequent first.
    pub(crate) not_modelled: Vec<(String, u64)>,
}

impl Workload {
    pub(crate) fn of(options: &SimulateOptions) -> anyhow::Result<Self> {
        if let Some(file) = &options.script {
            return script(file, &read(file, "--script")?);
        }
        if let Some(file) = &options.strace {
            return log(file, read(file, "--strace")?);
        }
        if let Ok(kind) = options.workload.parse() {
            let what = What::Named { kind, scale: options.scale, seed: options.seed };
            return Ok(Self { name: kind.to_string(), what });
        }
        let file = Path::new(&options.workload);
        let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        let text = std::fs::read_to_string(file).with_context(|| {
            format!("--workload {}: neither a file that can be read nor one of {}", options.workload, known.join(", "))
        })?;
        if is_script(&text) { script(file, &text) } else { log(file, text) }
    }

    /// The steps, for pages of this size.
    pub(crate) fn steps(&self, page: u32) -> anyhow::Result<Box<dyn Iterator<Item = Step> + '_>> {
        Ok(match &self.what {
            What::Named { kind, scale, seed } => Box::new(congruent_workload::Workload::new(*kind, *scale, *seed, page)),
            What::Script(steps) => Box::new(steps.iter().copied()),
            What::Log { file, text } => Box::new(replay(file, text, page)?.steps.into_iter()),
        })
    }

    /// A script that says the same.
    pub(crate) fn as_script(&self, page: u32) -> anyhow::Result<String> {
        let steps: Vec<Step> = self.steps(page)?.collect();
        Ok(format!("# {}, pages of {page} bytes\n{}", self.description(), write_script(&steps)))
    }

    /// What it is, with what it depends on.
    pub(crate) fn description(&self) -> String {
        match &self.what {
            What::Named { kind, scale, seed } => format!("{kind}, scale {scale}, seed {seed}"),
            What::Script(_) => format!("the script {}", self.name),
            What::Log { .. } => format!("the log {}", self.name),
        }
    }

    /// Scale and seed of a named workload.
    pub(crate) fn scale_and_seed(&self) -> Option<(u32, u64)> {
        match &self.what {
            What::Named { scale, seed, .. } => Some((*scale, *seed)),
            _ => None,
        }
    }

    /// For a log, how it was understood.
    pub(crate) fn understood(&self) -> Option<Understood> {
        let What::Log { file, text } = &self.what else { return None };
        let Replay { tasks, calls, failed, not_modelled, .. } = replay(file, text, 4096).ok()?;
        Some(Understood { tasks, calls, failed, not_modelled: by_count(not_modelled) })
    }
}

fn by_count(counts: BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    // Stable: names stay in order where the counts are equal.
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

fn read(file: &Path, option: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`; correct {option}", file.display()))
}

fn script(file: &Path, text: &str) -> anyhow::Result<Workload> {
    let steps = parse_script(text).map_err(|error| anyhow!("the script `{}`, {error}", file.display()))?;
    Ok(Workload { name: file.display().to_string(), what: What::Script(steps) })
}

fn log(file: &Path, text: String) -> anyhow::Result<Workload> {
    replay(file, &text, 4096)?;
    Ok(Workload { name: file.display().to_string(), what: What::Log { file: file.to_owned(), text } })
}

fn replay(file: &Path, text: &str, page: u32) -> anyhow::Result<Replay> {
    translate(text, page).map_err(|error| anyhow!("the log `{}`, {error}", file.display()))
}

/// Whether a text looks like a script: its first line that is no comment begins with a task and a colon, or a `repeat`. Lines of
/// logs begin with a number as well, but then a blank comes.
fn is_script(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next().is_none_or(|line| {
        let step = line.split_once(':').is_some_and(|(task, op)| {
            // After the first colon of a time of day comes a digit, of a step none.
            !task.contains(['(', ' ']) && !op.starts_with(|first: char| first.is_ascii_digit())
        });
        step || line.starts_with("repeat ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_logs_are_told_apart() {
        for script in ["# a title\n0: exit\n", "", "repeat 3 {\n0: exit\n}\n", "7: load 0+0 4"] {
            assert!(is_script(script), "{script}");
        }
        for log in [
            "7 execve(\"/bin/x\", [\"a: b\"], 0x1) = 0\n",
            "execve(\"/a:b\") = 0\n",
            "[pid 7] read(3) = 4\n",
            "# x\n12:00 getpid() = 1",
        ] {
            assert!(!is_script(log), "{log}");
        }
    }
}
