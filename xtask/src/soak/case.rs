//! One case of a soak: a computer, a policy and a workload, all from one number.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use congruent_geometry::CacheGeometry;
use congruent_machine::{Random, Replacement};
use congruent_vm::{PolicyKind, Setup, Simulation, Step};
use congruent_workload::{Kind, Workload};

/// A case.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub seed: u64,
    pub policy: PolicyKind,
    /// Whether findings and wrong bytes count as wrong.
    pub held_to_be_right: bool,
    kind: Kind,
    scale: u32,
    dcache: &'static str,
    page: u32,
    cpus: usize,
    frames: u64,
    replacement: (&'static str, Replacement),
}

/// One colour with large pages, two, four and sixteen; lines of 16 to 64 bytes; a dirty bit per half line.
const CACHES: [&str; 7] = ["p5600", "arm1136-32k", "arm1176-qemu", "16K,1,16", "64K,1,32", "256K,4,64", "8K,1,32"];
const REPLACEMENTS: [(&str, Replacement); 3] =
    [("lru", Replacement::Lru), ("random", Replacement::Random), ("adversarial", Replacement::Adversarial)];
const SWAP: u32 = 64;
const DISK: usize = 16 << 20;

impl Case {
    /// The case of this seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // What is wrong is likeliest to show where steps are of every kind.
        let kind = if random.chance(1, 3) { Kind::Chaos } else { Kind::ALL[random.index(Kind::ALL.len())] };
        Self::of_kind(kind, random.bits()).with_seed(seed)
    }

    /// A case of this workload.
    pub fn of_kind(kind: Kind, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let policy = PolicyKind::ALL[random.index(PolicyKind::ALL.len())];
        Self {
            seed,
            policy,
            held_to_be_right: super::must_be_right(policy),
            kind,
            scale: if kind == Kind::Sharers { 1 + random.below(12) as u32 } else { 10 + random.below(50) as u32 },
            dcache: CACHES[random.index(CACHES.len())],
            page: if random.chance(1, 4) { 16384 } else { 4096 },
            cpus: 1 + random.index(2),
            frames: [96, 192, 1024][random.index(3)],
            replacement: REPLACEMENTS[random.index(REPLACEMENTS.len())],
        }
    }

    /// A case of this workload under a policy that does nothing and is held to be right.
    #[cfg(test)]
    pub fn with_defect(kind: Kind, seed: u64) -> Self {
        Self { policy: PolicyKind::None, held_to_be_right: true, dcache: "p5600", page: 4096, ..Self::of_kind(kind, seed) }
    }

    fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    pub fn steps(&self) -> Vec<Step> {
        Workload::new(self.kind, self.scale, self.seed, self.page).collect()
    }

    /// The options with which `congruent simulate` does the same to a script.
    pub fn options(&self) -> String {
        format!(
            "--policy {} --dcache {} --page-size {} --cpus {} --frames {} --swap {SWAP} --disk-size {DISK} --replacement {} --seed {}",
            self.policy, self.dcache, self.page, self.cpus, self.frames, self.replacement.0, self.seed
        )
    }

    /// What is wrong with these steps on this computer, if anything is.
    pub fn wrong(&self, steps: &[Step]) -> Option<String> {
        match catch_unwind(AssertUnwindSafe(|| self.run(steps))) {
            Ok(wrong) => wrong,
            Err(panic) => {
                let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
                Some(format!("panic: {}", said.unwrap_or("without words")))
            }
        }
    }

    fn run(&self, steps: &[Step]) -> Option<String> {
        let shape: CacheGeometry = self.dcache.parse().expect("the list is right");
        let paged = CacheGeometry::with_page(shape.size(), shape.ways(), shape.line(), self.page);
        let dcache = paged.and_then(|paged| paged.with_write_back_unit(shape.write_back_unit())).expect("pages hold lines");
        let mut setup = Setup::new(dcache);
        setup.policy = self.policy;
        setup.cpus = self.cpus;
        setup.frames = self.frames;
        setup.swap_pages = SWAP;
        setup.replacement = self.replacement.1;
        setup.seed = self.seed;
        let mut simulation = Simulation::new(setup, vec![0; DISK]).expect("the computer can be");
        simulation.run(steps.iter().copied());
        let outcome = simulation.finish();
        if outcome.unnamed_bytes > 0 {
            return Some(format!("{} wrong bytes that the judge had not named", outcome.unnamed_bytes));
        }
        let bad = outcome.findings.len() as u64 + outcome.corrupted_bytes;
        (self.held_to_be_right && bad > 0)
            .then(|| format!("{}: {} findings, {} wrong bytes", self.policy, outcome.findings.len(), outcome.corrupted_bytes))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} scale {} {}", self.kind, self.scale, self.options())
    }
}
