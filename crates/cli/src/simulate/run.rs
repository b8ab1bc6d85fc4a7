//! The runs: one for each computer and policy, side by side on the host's CPUs where there are several.

use anyhow::{Context as _, anyhow};
use congruent_machine::{Damaged, Medium, MediumError};
use congruent_vm::{Outcome, PolicyKind, Setup, Simulation};
use indicatif::{ParallelProgressIterator as _, ProgressBar, ProgressStyle};
use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::SimulateOptions;
use super::disk::FileMedium;
use super::options::Computer;
use super::source::Workload;

/// What the policies came to on one computer.
pub(crate) struct OnComputer {
    pub(crate) computer: Computer,
    pub(crate) outcomes: Vec<Outcome>,
}

/// Runs everything. Beside the outcomes, what was wrong with the disk's file, if anything was.
pub(crate) fn all(
    options: &SimulateOptions,
    computers: &[Computer],
    policies: &[PolicyKind],
    workload: &Workload,
) -> anyhow::Result<(Vec<OnComputer>, Option<String>)> {
    if let Some(path) = &options.disk {
        let (disk, trouble) = FileMedium::open(path, options.sectors()?)?;
        let computer = &computers[0];
        let run = |policy: &PolicyKind| one(options, &with_policy(computer, *policy), workload, disk.again()?);
        let outcomes = policies.iter().map(run).collect::<anyhow::Result<_>>()?;
        let trouble = trouble.take().map(|words| {
            format!(
                "the disk's file `{}` failed: {words}; what was written before is in it, and what failed is in the report",
                path.display()
            )
        });
        return Ok((vec![OnComputer { computer: computer.clone(), outcomes }], trouble));
    }
    let jobs: Vec<(usize, PolicyKind)> =
        (0..computers.len()).flat_map(|computer| policies.iter().map(move |policy| (computer, *policy))).collect();
    let bar = progress(options, jobs.len());
    let run =
        |(computer, policy): &(usize, PolicyKind)| in_memory(options, &with_policy(&computers[*computer], *policy), workload);
    // Collected in the order of the jobs, whichever is done first.
    let outcomes: Vec<Outcome> = jobs.par_iter().progress_with(bar).map(run).collect::<anyhow::Result<_>>()?;
    let mut outcomes = outcomes.into_iter();
    let on = |computer: &Computer| OnComputer {
        computer: computer.clone(),
        outcomes: outcomes.by_ref().take(policies.len()).collect(),
    };
    Ok((computers.iter().map(on).collect(), None))
}

/// One run whose disk is in memory.
pub(crate) fn in_memory(options: &SimulateOptions, setup: &Setup, workload: &Workload) -> anyhow::Result<Outcome> {
    let bytes = usize::try_from(options.sectors()?).ok().and_then(|sectors| sectors.checked_mul(congruent_machine::SECTOR));
    let bytes = bytes.context("--disk-size is more than this host has addresses for")?;
    one(options, setup, workload, vec![0; bytes])
}

/// A computer under a policy.
pub(crate) fn with_policy(computer: &Computer, policy: PolicyKind) -> Setup {
    let mut setup = computer.setup.clone();
    setup.policy = policy;
    setup
}

fn one(options: &SimulateOptions, setup: &Setup, workload: &Workload, medium: impl Medium) -> anyhow::Result<Outcome> {
    let mut medium = Damaged::new(medium);
    for sector in options.bad_sectors()? {
        medium.fail_reads(sector, MediumError::Unreadable);
    }
    let mut simulation =
        Simulation::new(setup.clone(), medium).map_err(|error| anyhow!("this computer cannot be simulated: {error}"))?;
    simulation.run(workload.steps(setup.dcache.page())?);
    Ok(simulation.finish())
}

/// A bar on the terminal, if there are many runs and somebody watches.
fn progress(options: &SimulateOptions, jobs: usize) -> ProgressBar {
    if !options.is_sweep() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {eta} left").expect("the template is right");
    ProgressBar::new(jobs as u64).with_style(style)
}
