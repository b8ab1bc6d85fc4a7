//! Whose turn it is: guests with several CPUs, which QEMU runs one after another on one thread.
//!
//! What a session keeps of the CPU that runs is where it is of a guest with one CPU; what it keeps of the others is parked here. Whose
//! turn it is, QEMU says in a variable of its own. Guarantees: of a guest with one CPU, loads, stores and fetches do not ask.

use congruent_wire::CpuCaches;

use super::Session;
use crate::api::Api;
use crate::callbacks::{Fetched, Instruction};
use crate::cpu::Cpu;
use crate::moment::{CpuState, Environment, ExecutionCallback, MemoryCallback, Running, Starting, TurnPlace};
use crate::translation::Translations;

/// What is kept of a CPU while others run.
struct Parked {
    translations: Translations,
    code: Translations,
    cpu: Box<dyn Cpu>,
    environment: Option<Environment>,
    has_run: bool,
}

/// The CPUs, and whose turn it is.
pub(super) struct Turns {
    now: u32,
    /// Whether that CPU has run code.
    has_run: bool,
    caches: CpuCaches,
    /// Where QEMU says whose turn it is; nowhere if there is one CPU, and before the first exists.
    place: Option<TurnPlace>,
    /// What it said last.
    running: CpuState,
    /// What it says of each CPU.
    states: Vec<CpuState>,
    /// By number; the one that runs is not here.
    parked: Vec<Option<Parked>>,
}

impl Turns {
    /// CPU 0 of `count` runs; the others are as they are at reset.
    ///
    /// # Errors
    /// A sentence, if several such CPUs are not judged.
    pub fn new(first: &dyn Cpu, api: &Api, count: u32, caches: CpuCaches) -> Result<Self, String> {
        if count > 1 && !api.knows_running_cpu() {
            return Err(
                "this QEMU does not tell which CPU runs; install a distribution's build, or start the guest with -smp 1".into()
            );
        }
        let another = |number| match (number, first.another()) {
            (0, _) => Ok(None),
            (_, Some(cpu)) => Ok(Some(Parked {
                translations: Translations::new(),
                code: Translations::new(),
                cpu,
                environment: None,
                has_run: false,
            })),
            (_, None) => {
                let target = first.arch().facts().name;
                Err(format!("the guest has {count} CPUs, and {target} guests are judged with one; start it with -smp 1"))
            }
        };
        Ok(Self {
            now: 0,
            has_run: false,
            caches,
            place: None,
            running: CpuState::NONE,
            states: vec![CpuState::NONE; count as usize],
            parked: (0..count).map(another).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn are_several(&self) -> bool {
        self.parked.len() > 1
    }
}

impl Session {
    /// Makes a CPU known, whose turn it is now.
    pub(super) fn meet_cpu(&mut self, now: &Starting) {
        if !self.turns.are_several() {
            return;
        }
        let number = now.number();
        if let (Some(known), Some(state), Some(place)) =
            (self.turns.states.get_mut(number as usize), now.state(), now.turn_place())
        {
            (*known, self.turns.place) = (state, Some(place));
            self.turns.running = state;
            self.change_turns(number, false);
        }
    }

    /// Finds out whose turn it is: what follows is done by that CPU.
    #[inline]
    pub fn take_turn(&mut self, now: &Running) {
        if let Some(place) = self.turns.place {
            let running = now.turn(place);
            if running != self.turns.running {
                self.take_turn_of(running);
            }
        }
    }

    /// Whether it is still the turn of the CPU whose turn it was last.
    #[inline]
    pub fn has_turn(&self, now: &Running) -> bool {
        self.turns.place.is_none_or(|place| now.turn(place) == self.turns.running)
    }

    #[cold]
    fn take_turn_of(&mut self, running: CpuState) {
        if let Some(number) = self.turns.states.iter().position(|state| *state == running) {
            self.turns.running = running;
            self.change_turns(number as u32, true);
        }
    }

    fn change_turns(&mut self, number: u32, runs: bool) {
        let Some(next) = self.turns.parked.get_mut(number as usize).and_then(Option::take) else { return };
        let left = Parked {
            translations: std::mem::replace(&mut self.reach.translations, next.translations),
            code: std::mem::replace(&mut self.reach.code, next.code),
            cpu: std::mem::replace(&mut self.reach.cpu, next.cpu),
            has_run: std::mem::replace(&mut self.turns.has_run, runs || next.has_run),
            environment: self.callers.following.as_mut().and_then(|following| following.replace_environment(next.environment)),
        };
        self.turns.parked[self.turns.now as usize] = Some(left);
        self.turns.now = number;
        self.reach.api.turn_to(number);
        self.judge.enter_cpu(number as u16);
        self.exception_returns();
        self.space_changes();
    }

    /// Whether the guest has one CPU, and one address space at a time of which nothing is said with each access.
    #[inline]
    pub fn is_alone(&self) -> bool {
        self.alone
    }

    /// The callback of plain loads and stores.
    pub(super) fn memory_callback(&self) -> &'static MemoryCallback<Instruction> {
        if self.leaves() {
            return &self.callbacks.memory_leaving;
        }
        match (self.turns.are_several(), self.reach.cpu.has_spaces(), self.judge.is_recording()) {
            // Several CPUs are not recorded.
            (true, ..) => &self.callbacks.memory_in_turn,
            (_, true, _) => &self.callbacks.memory_in_space,
            (_, _, true) => &self.callbacks.memory_recorded,
            (false, false, false) => &self.callbacks.memory,
        }
    }

    /// The callback of blocks that fetch.
    pub(super) fn fetch_callback(&self) -> &'static ExecutionCallback<Fetched> {
        match (self.block_word, self.turns.are_several()) {
            (Some(_), _) => &self.callbacks.fetch_anywhere,
            (None, true) => &self.callbacks.fetch_in_turn,
            (None, false) => &self.callbacks.fetch,
        }
    }

    /// The number of the CPU that runs.
    pub(super) fn turn(&self) -> u32 {
        self.turns.now
    }

    /// Tells CPUs that have not run yet how they are configured.
    pub(super) fn configure_others(&mut self, value: u32) {
        for parked in self.turns.parked.iter_mut().flatten().filter(|parked| !parked.has_run) {
            parked.cpu.be_configured(value);
        }
    }

    /// Every CPU is as it is after a reset.
    pub(super) fn reset_cpus(&mut self) {
        self.reach.cpu.reset();
        self.turns.has_run = false;
        for parked in self.turns.parked.iter_mut().flatten() {
            parked.cpu.reset();
            parked.has_run = false;
        }
        if self.turns.are_several() {
            self.judge.enter_cpu(self.turns.now as u16);
        }
    }

    /// Forgets where addresses lead, on every CPU.
    pub(super) fn forget_translations(&mut self) {
        self.reach.forget();
        for parked in self.turns.parked.iter_mut().flatten() {
            parked.translations.forget();
            parked.code.forget();
        }
    }

    /// What the models of the CPUs leave out, in sentences.
    pub(super) fn limits_of_cpus(&self) -> Vec<String> {
        let mut limits = self.reach.cpu.limits();
        let count = self.turns.parked.len();
        let reach = match self.turns.caches {
            _ if !self.turns.are_several() => None,
            CpuCaches::Broadcast => Some("reaches all of them"),
            CpuCaches::Local => Some("reaches those of the CPU that runs it, as all other maintenance does"),
            CpuCaches::Shared => {
                limits.push(format!("the {count} CPUs are taken to share their caches"));
                None
            }
        };
        limits.extend(reach.map(|reach| {
            format!(
                "each of the {count} CPUs is taken to have caches of its own, data caches that the hardware keeps coherent at each \
                 colour, and instruction caches that it does not; maintenance by address {reach} (--cpu-caches)"
            )
        }));
        for sentence in self.turns.parked.iter().flatten().flat_map(|parked| parked.cpu.limits()) {
            if !limits.contains(&sentence) {
                limits.push(sentence);
            }
        }
        limits
    }
}
