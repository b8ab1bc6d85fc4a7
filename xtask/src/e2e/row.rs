//! What a row of the tables is: a run of a guest, and what must come out.

use congruent_shadow::HazardClass;

use crate::guests::bare::Bare;
use crate::guests::boot::Devices;
use crate::guests::machine::Guest;
use crate::guests::skeleton::Skeleton;

/// One run of a guest under the judge.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What it is called in output and on the command line.
    pub name: &'static str,
    /// What is run.
    pub load: Load,
    /// The modelled cache.
    pub dcache: &'static str,
    /// The modelled instruction cache, if fetches are judged.
    pub icache: Option<&'static str>,
    /// How the caches of two CPUs hang together, if the guest has two.
    pub cpu_caches: Option<&'static str>,
    /// What the data cache does beside its shape, as options of the check.
    pub behaviour: &'static [&'static str],
    /// Sites whose maintenance is muted.
    pub mute: &'static [&'static str],
    /// What must come out.
    pub expect: Expect,
    /// Functions of which each must be a caller of every finding's consumer or producer.
    pub callers: &'static [&'static str],
}

/// What is run.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// Programs under a stock kernel.
    Linux {
        /// Which kernel, on which board.
        guest: Guest,
        /// The core, if not the guest's default one.
        cpu: Option<&'static str>,
        /// What it runs.
        programs: &'static str,
        /// More words for the kernel's command line.
        words: &'static str,
        /// What it has beside its board.
        devices: Devices,
    },
    /// The cases without an operating system.
    Bare(Bare),
    /// The example kernel.
    Skeleton(Skeleton),
}

impl Load {
    /// The guest that is booted; without an operating system, the one whose compiler it shares.
    pub const fn guest(self) -> Guest {
        match self {
            Self::Linux { guest, .. } => guest,
            Self::Bare(bare) => bare.guest(),
            Self::Skeleton(kernel) => kernel.guest(),
        }
    }
}

/// A run that is recorded, and what must hold of the recording. Its replay must say what the check said.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// What it is called in output and on the command line.
    pub name: &'static str,
    /// What is recorded.
    pub run: Run,
    /// What the check must say in a word.
    pub verdict: &'static str,
    /// What `congruent necessity` must say.
    pub truths: &'static [Truth],
}

/// Whether a run needed the maintenance of a function.
#[derive(Clone, Copy, Debug)]
pub struct Truth {
    /// The function, as `necessity --only` takes it.
    pub function: &'static str,
    /// Whether leaving its maintenance out must cause a finding; else it must not.
    pub necessary: bool,
    /// Whether it is known of Debian's own kernel alone: one that is built for the board calls other functions, or this one where its
    /// maintenance is not missed.
    pub of_stock: bool,
}

/// What must come out of a run.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// For every case that the guest names on its console, which are so many: a finding whose consumer has the case's name if that
    /// begins with `stale_`, none if it begins with `clean_`; and no other finding.
    AsNamed(usize),
    /// No finding.
    Clean,
    /// Incomplete, because of something that the reason names.
    Incomplete(&'static str),
    /// Each of these, and nothing else: anything else would be a false alarm.
    Exactly(&'static [Pair]),
    /// Nothing but these, and perhaps none of them: whether they show hangs on where the boot has put something.
    AtMost(&'static [Pair]),
    /// At least each of these: the kernel is broken on purpose or by configuration, and the damage shows in many places.
    AtLeast(&'static [Pair]),
}

/// A finding by its two code places.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Its class, if that matters.
    pub class: Option<HazardClass>,
    /// The access that could see old bytes.
    pub consumer: Side,
    /// The access that made the newer ones.
    pub producer: Side,
}

/// One side of a [`Pair`].
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// One of these functions.
    Function(&'static [&'static str]),
    /// This function, or what it has called.
    Under(&'static str),
    /// Any code of the kernel.
    Kernel,
    /// Any code of a user program.
    User,
    /// A device.
    Device,
}
