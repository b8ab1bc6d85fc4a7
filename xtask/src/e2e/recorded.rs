//! What must hold of recordings of stock kernels: a replay says what the check said, and `necessity` tells what is known to be true.
//!
//! Through the command line only, as anybody would.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::row::{Load, Recorded, Truth};
use crate::guests::emulator::Qemu;
use crate::guests::machine::Guest;
use crate::guests::{kernel, programs};
use crate::place;

impl Recorded {
    /// Records the run, replays it, asks what was necessary, and says in one line how it went.
    ///
    /// # Errors
    /// If anything is not as the table has it.
    pub fn perform(&self, qemu: Qemu, reports: &Path) -> Result<String> {
        let start = Instant::now();
        let path = |suffix: &str| reports.join(format!("{}.{suffix}", self.name));
        let (recording, live, replayed) = (path("congruent"), path("json"), path("replay.json"));
        for old in [&recording, &live, &replayed] {
            let _ = fs::remove_file(old);
        }
        let record: [OsString; 7] = [
            "--record".into(),
            recording.clone().into(),
            "--ledger".into(),
            "--format".into(),
            "json".into(),
            "-o".into(),
            live.clone().into(),
        ];
        let run = self.run;
        let said =
            run.command(qemu, None, &record)?.stdin(Stdio::null()).output().context("cannot start congruent: was it built?")?;
        let live = report(&live, &said.stderr)?;
        ensure!(live["verdict"] == self.verdict, "the check says {}, not {}", live["verdict"], self.verdict);

        let mut replay = self.congruent("replay", &recording)?;
        replay.args(["--dcache", run.dcache, "--ledger", "--format", "json", "-o"]).arg(&replayed);
        let said = replay.output().context("cannot start congruent")?;
        let replayed = report(&replayed, &said.stderr)?;
        let differences = differences(&live, &replayed);
        ensure!(differences.is_empty(), "the replay differs from the check in {}", differences.join(", "));

        let stock = kernel::is_stock(self.guest()?)?;
        let truths = self.truths.iter().filter(|truth| stock || !truth.of_stock);
        truths.clone().try_for_each(|truth| self.hold(&recording, truth))?;
        Ok(format!("replayed alike, {} truths hold {:>6.1} s", truths.count(), start.elapsed().as_secs_f64()))
    }

    /// Asks `necessity` of one function.
    fn hold(&self, recording: &Path, truth: &Truth) -> Result<()> {
        let mut necessity = self.congruent("necessity", recording)?;
        necessity.args(["--dcache", self.run.dcache, "--only", truth.function]);
        let output = necessity.output().context("cannot start congruent")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let necessary = text.lines().find_map(|line| match line.strip_prefix("not shown ") {
            Some(rest) => rest.ends_with(truth.function).then_some(false),
            None => (line.starts_with("necessary ") && line.ends_with(truth.function)).then_some(true),
        });
        match necessary {
            None => bail!("necessity does not speak of {}: {}", truth.function, String::from_utf8_lossy(&output.stderr)),
            Some(necessary) if necessary != truth.necessary => {
                bail!("{} is wrong of {}: {text}", truth.necessary, truth.function)
            }
            Some(_) => Ok(()),
        }
    }

    fn congruent(&self, command: &str, recording: &Path) -> Result<Command> {
        let mut congruent = Command::new(place::release().join("congruent"));
        congruent.arg(command).arg(recording).stdin(Stdio::null());
        for file in programs::symbols(self.guest()?) {
            congruent.arg("--symbols").arg(file);
        }
        Ok(congruent)
    }

    fn guest(&self) -> Result<Guest> {
        match self.run.load {
            Load::Linux { guest, .. } => Ok(guest),
            Load::Bare(_) | Load::Skeleton(_) => bail!("only guests with a kernel are recorded here"),
        }
    }
}

fn report(path: &Path, said: &[u8]) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| {
        let said = String::from_utf8_lossy(said);
        format!("no report: {}", said.lines().last().unwrap_or("nothing was said"))
    })?;
    Ok(serde_json::from_str(&text)?)
}

/// The fields of a check's report that its replay does not repeat to the letter.
fn differences(live: &Value, replayed: &Value) -> Vec<String> {
    let fields = [live, replayed].into_iter().filter_map(Value::as_object).flat_map(|report| report.keys());
    fields.collect::<BTreeSet<_>>().into_iter().filter(|field| live[*field] != replayed[*field]).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_is_other_or_on_one_side_only_is_a_difference() {
        let live = json!({"verdict": "clean", "findings": [], "ledger": [{"lines": 1}]});
        assert_eq!(differences(&live, &live), [""; 0]);
        assert_eq!(differences(&live, &json!({"verdict": "clean", "findings": [], "ledger": [{"lines": 2}]})), ["ledger"]);
        assert_eq!(differences(&live, &json!({"findings": [], "ledger": [{"lines": 1}], "notes": []})), ["notes", "verdict"]);
    }
}
