//! A kernel, its machine, the judge and the model, and the steps that they take together.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;

use congruent_machine::Medium;

use crate::Step;
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::outcome::{Maintenance, Operations, Outcome, StepOutcome};
use crate::setup::{Setup, SetupError};
use crate::site::At;

/// A simulation under way.
///
/// ```
/// use congruent_vm::{AreaId, Bytes, Op, Place, PolicyKind, Setup, Simulation, Step, TaskId};
///
/// let setup = Setup { policy: PolicyKind::Window, swap_pages: 0, ..Setup::new("32K,4,32".parse()?) };
/// let mut simulation = Simulation::new(setup, vec![0; 1 << 20])?;
/// let bytes = Bytes { area: AreaId(0), offset: 0, len: 64 };
/// let map = Op::MapAnonymous { area: AreaId(0), pages: 1, shared: false, place: Place::Anywhere };
/// simulation.run([map, Op::Store { to: bytes, seed: 7 }, Op::Load(bytes)].map(|op| Step { task: TaskId(0), op }));
/// assert_eq!(simulation.finish().corrupted_bytes, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Simulation<M: Medium> {
    setup: Setup,
    kernel: Kernel<M>,
    /// Of system calls.
    operations: BTreeMap<&'static str, Operations>,
    /// Of the programs' own accesses, which are many: name, how many, how many failed.
    accesses: Vec<(&'static str, u64, u64)>,
    errors: BTreeMap<Errno, u64>,
}

impl<M: Medium> Simulation<M> {
    /// A machine that has just booted, with task 0 alone in an empty address space. Files are made by steps; the medium's old
    /// contents are not looked at.
    ///
    /// # Errors
    /// [`SetupError`] says why there can be no such machine.
    pub fn new(setup: Setup, medium: M) -> Result<Self, SetupError> {
        let kernel = Kernel::new(&setup, medium)?;
        Ok(Self { setup, kernel, operations: BTreeMap::new(), accesses: Vec::new(), errors: BTreeMap::new() })
    }

    /// Takes one step. No other thread's access happens in the middle of it, as none is known.
    pub fn step(&mut self, step: &Step) -> StepOutcome {
        let watched = !step.op.is_access();
        let before = watched.then(|| self.kernel.b.hw().machine.total());
        self.kernel.watch.first = None;
        let result = self.kernel.step(step);
        let failed = u64::from(result.is_err());
        match before {
            Some(before) => {
                let operations = self.operations.entry(step.op.name()).or_default();
                operations.count += 1;
                operations.failed += failed;
                operations.counters += self.kernel.b.hw().machine.total() - before;
            }
            None => self.note_access(step.op.name(), failed),
        }
        if let Err(error) = result {
            *self.errors.entry(error).or_default() += 1;
        }
        self.kernel.watch.step += 1;
        StepOutcome { result, corrupt: self.kernel.watch.first }
    }

    fn note_access(&mut self, name: &'static str, failed: u64) {
        match self.accesses.iter_mut().find(|known| core::ptr::eq(known.0, name)) {
            Some(known) => {
                known.1 += 1;
                known.2 += failed;
            }
            None => self.accesses.push((name, 1, failed)),
        }
    }

    /// Takes these steps, in this order, except that up to [`Setup::lookahead`] steps ahead accesses of other threads may happen
    /// in the middle of a system call. Returns how many were taken.
    pub fn run(&mut self, steps: impl IntoIterator<Item = Step>) -> u64 {
        self.run_with(steps, |_, _| ())
    }

    /// [`run`](Self::run), and hands out what became of each step. Accesses that happened early are not among them.
    pub fn run_with(&mut self, steps: impl IntoIterator<Item = Step>, mut told: impl FnMut(&Step, &StepOutcome)) -> u64 {
        let start = self.kernel.watch.step + self.kernel.preemptions();
        let mut steps = steps.into_iter();
        loop {
            while self.kernel.ahead.len() <= self.setup.lookahead {
                let Some(step) = steps.next() else { break };
                self.kernel.ahead.push_back(step);
            }
            let Some(step) = self.kernel.ahead.pop_front() else { break };
            let outcome = self.step(&step);
            told(&step, &outcome);
        }
        self.kernel.watch.step + self.kernel.preemptions() - start
    }

    /// What the disk stores on, to be looked at or damaged between steps.
    pub fn medium_mut(&mut self) -> &mut M {
        self.kernel.medium_mut()
    }

    /// Frames that are free now.
    #[must_use]
    pub fn free_frames(&self) -> usize {
        self.kernel.free_frames()
    }

    /// What the machine did so far.
    #[must_use]
    pub fn counters(&self) -> congruent_machine::Counters {
        self.kernel.b.hw().machine.total()
    }

    /// What it all came to.
    #[must_use]
    pub fn finish(self) -> Outcome {
        let Self { setup, kernel, mut operations, accesses, errors } = self;
        for (name, count, failed) in accesses {
            let known = operations.entry(name).or_default();
            known.count += count;
            known.failed += failed;
        }
        let board = Rc::clone(&kernel.b);
        let mut hw = board.hw();
        let counters = hw.machine.total();
        let found = hw.machine.sink().judge.findings().iter().cloned();
        let (excused, findings) = found.partition(|finding| finding.consumer.site == At::UserRunEarly.site());
        Outcome {
            policy: setup.policy,
            steps: kernel.watch.step + kernel.preemptions(),
            findings,
            excused,
            stats: hw.machine.sink().judge.stats(),
            corrupted_bytes: kernel.watch.bytes,
            unnamed_bytes: kernel.watch.unnamed,
            corruptions: kernel.watch.corruptions,
            counters,
            cycles: setup.cost.price(&counters, &setup.dcache, &setup.icache),
            maintenance: Maintenance::of(&counters, setup.dcache.lines_per_page()),
            lookups: hw.lookups,
            operations,
            errors,
            preemptions: kernel.preempted.values().sum(),
            preempted: kernel.preempted,
            history: hw.machine.sink_mut().history.take().unwrap_or_default(),
        }
    }
}
