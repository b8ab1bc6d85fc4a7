//! `congruent simulate`: workloads on the reference VM under several policies, side by side.
//!
//! Guarantees: the same words give the same report on every host (`results` is made of the simulation's outcome and nothing else:
//! no clock, no host, no order that varies). Exit status 1 if any policy that was run has a finding or let a wrong byte be seen; 2
//! if something is missing or the disk's file failed. Not here: what a step does (`congruent-vm`), where steps come from
//! (`congruent-workload`).

mod charts;
mod disk;
mod explain;
mod html;
mod options;
mod results;
mod run;
mod source;
mod text;

use anyhow::{Context as _, bail};

use crate::output::{Format, Outputs};
pub(crate) use options::SimulateOptions;
use results::Results;

/// Carries the command out.
///
/// # Errors
/// One line: what is wrong with the options, the workload or the environment.
pub(crate) fn simulate(options: &SimulateOptions) -> anyhow::Result<u8> {
    let workload = source::Workload::of(options)?;
    if let Some(file) = &options.write_script {
        let script = workload.as_script(options.pages()?[0])?;
        std::fs::write(file, script).with_context(|| format!("cannot write the script to `{}`", file.display()))?;
        return Ok(0);
    }
    let computers = options.computers()?;
    let policies = options.policies();
    let targets = options.targets.list();
    if targets.iter().any(|target| !matches!(target.format, Format::Text | Format::Json | Format::Html)) {
        bail!("simulate reports as text, json or html; correct --format");
    }
    if let Some(number) = options.explain {
        return explain::explain(options, &computers, &policies, &workload, number);
    }
    let outputs = Outputs::open(targets)?;
    let (runs, trouble) = run::all(options, &computers, &policies, &workload)?;
    let results = Results::new(&workload, runs);
    outputs.write_each(|format, colour| match format {
        Format::Json => results.to_json(),
        Format::Html => results.to_html(),
        _ => results.to_text(colour, options.show),
    })?;
    if let Some(trouble) = trouble {
        bail!(trouble);
    }
    Ok(u8::from(!results.is_clean()))
}
