//! Follows the guest's calls, so that a finding can say who had called its consumer and its producer.
//!
//! A callback at each call, one at each point that a call returns to, one at each return from an exception. The judge is told the
//! context whenever it changes; where it is not known, the next store, and any access that is not quiet, looks at the stack pointer
//! first. When user code is first seen in an address space again, the name of its program is looked up (`programs`). Guarantees: switched
//! off, no instruction has a callback for it. What the stacks promise is said in `stacks`.

use congruent_arch::{Calls, Flow};
use congruent_shadow::Finding;
use congruent_trace::{Context, Site};
use congruent_wire::Chain;

use super::Session;
use crate::cpu::Cpu;
use crate::moment::{Environment, Executing, Insn, Running, StateWord, Translating};
use crate::programs::Programs;
use crate::stacks::CallStacks;

/// Callers that a finding tells of.
const TOLD: usize = 16;
/// How often the stack pointer in the CPU state is compared with what QEMU says, where QEMU says it.
const SAMPLES: u32 = 1024;
/// What lies on one page: what precedes an instruction there can be seen.
const PAGE: u32 = 4096;

/// Who called, as far as that is followed.
pub(super) struct Callers {
    pub following: Option<Following>,
    /// Whether calls are followed and nobody can say through which the guest got here.
    pub unknown: bool,
    /// Whether calls were to be followed, and this QEMU does not let them be.
    lost: bool,
}

impl Callers {
    /// Nobody has called yet.
    pub fn new(following: Option<Following>) -> Self {
        Self { unknown: following.is_some(), following, lost: false }
    }

    /// Nobody has called: the machine was reset.
    pub fn begin_anew(&mut self) {
        if let Some(following) = &mut self.following {
            following.stacks.forget_all();
        }
        self.unknown = self.following.is_some();
    }
}

/// The following of calls.
pub struct Following {
    stacks: CallStacks,
    calls: Calls,
    /// Where the CPU state has the stack pointer.
    stack_word: StateWord,
    programs: Programs,
    /// The CPU state, once it was seen.
    environment: Option<Environment>,
    samples: u32,
}

impl Following {
    /// Of this processor's calls; `None` if they cannot be followed.
    pub fn of(cpu: &dyn Cpu) -> Option<Self> {
        let (calls, stack_word) = (cpu.arch().facts().calls?, cpu.stack_word()?);
        let (stacks, programs) = (CallStacks::new(calls.kernel_stacks), Programs::of(cpu.arch()));
        Some(Self { stacks, calls, stack_word, programs, environment: None, samples: 0 })
    }

    /// The programs' names, by number.
    pub(super) fn programs(&self) -> &[String] {
        self.programs.names()
    }

    /// Another CPU runs, whose state is here; returns where that of the one before is.
    pub(super) fn replace_environment(&mut self, environment: Option<Environment>) -> Option<Environment> {
        std::mem::replace(&mut self.environment, environment)
    }
}

impl Session {
    /// Has the points told of that calls return to. `first` is the first instruction of `block`, at `pc`.
    pub(super) fn watch_returns(&mut self, block: &Translating, first: &Insn<'_>, pc: u32) {
        let Some(following) = &self.callers.following else { return };
        let distance = following.calls.returns_after;
        let follows_call = if pc % PAGE < distance {
            following.stacks.returns_to(pc)
        } else {
            first
                .bytes_before(distance as usize)
                .and_then(|bytes| self.reach.cpu.arch().facts().word(bytes, following.calls.length))
                .is_some_and(|word| self.reach.cpu.flow(word) == Flow::Call)
        };
        if follows_call {
            block.on_start(&self.callbacks.arrival, Site(pc));
        }
    }

    /// Has calls and returns from exceptions told of.
    pub(super) fn watch_flow(&mut self, insn: &Insn<'_>, pc: u32, word: u32) {
        let Some(following) = &mut self.callers.following else { return };
        match self.reach.cpu.flow(word) {
            Flow::Other => return,
            Flow::Call => insn.on_execution(&self.callbacks.call, Site(pc)),
            Flow::ExceptionReturn => insn.on_execution(&self.callbacks.exception_return, ()),
        }
        let returns_to = pc.wrapping_add(following.calls.returns_after);
        if returns_to % PAGE < following.calls.returns_after {
            following.stacks.note_return(returns_to);
        }
    }

    /// A call at this site is about to run.
    #[inline]
    pub fn called(&mut self, Site(pc): Site, now: &Executing) {
        self.compare_stack_pointers(now);
        self.see_who_runs(now.environment(), now);
        let Some(following) = &mut self.callers.following else { return };
        let returns_to = pc.wrapping_add(following.calls.returns_after);
        let stack = now.word(following.stack_word);
        following.environment = Some(now.environment());
        following.stacks.call(Site(pc), returns_to, stack);
        self.context_changed();
    }

    /// Code that follows a call is about to run.
    #[inline]
    pub fn arrived(&mut self, Site(pc): Site, now: &Executing) {
        self.see_who_runs(now.environment(), now);
        let Some(following) = &mut self.callers.following else { return };
        let stack = now.word(following.stack_word);
        following.stacks.arrive(pc, stack);
        self.context_changed();
    }

    /// A return from an exception is about to run.
    #[inline]
    pub fn exception_returns(&mut self) {
        if let Some(following) = &mut self.callers.following {
            following.stacks.forget_who_runs();
            self.context_changed();
        }
    }

    /// The address space may have changed.
    pub(super) fn space_changes(&mut self) {
        let turn = self.turn();
        if let Some(following) = &mut self.callers.following {
            // Each CPU numbers address spaces by itself.
            following.stacks.enter_space(self.reach.cpu.address_space() ^ turn << 16);
            self.context_changed();
        }
    }

    /// An access is about to be judged whose context is perhaps not known.
    ///
    /// Called from memory callbacks, and from those that read registers, only: generated code has stored the stack pointer before the
    /// access then, which could have been interrupted. What calls these callbacks is not always generated code, so the CPU state is
    /// where it was at the last call.
    #[inline]
    pub(super) fn learn_context(&mut self, now: &Running) {
        if self.callers.unknown
            && let Some(environment) = self.callers.following.as_ref().and_then(|following| following.environment)
        {
            self.see_who_runs(environment, now);
            self.context_changed();
        }
    }

    /// Looks at the stack pointer if nobody can say whose code runs.
    #[inline]
    fn see_who_runs(&mut self, environment: Environment, now: &Running) {
        if self.callers.unknown
            && let Some(following) = &mut self.callers.following
        {
            following.stacks.see(environment.word(following.stack_word, now));
            if following.stacks.wants_program() {
                self.learn_program(now);
            }
        }
    }

    /// User code runs in an address space that was entered.
    #[cold]
    fn learn_program(&mut self, now: &Running) {
        let Some(following) = &mut self.callers.following else { return };
        let (judge, geometry) = (&self.judge, self.reach.geometry);
        let program = self.reach.cpu.page_table().and_then(|table| {
            following.programs.number(table, |address, to| {
                // Only memory that the guest has used through its cache is read: reading a device's registers might change it.
                judge.knows(geometry.frame(address)) && now.physical_bytes(address.0, to)
            })
        });
        following.stacks.set_program(program);
    }

    #[inline]
    fn context_changed(&mut self) {
        if let Some(following) = &self.callers.following {
            if let Some(known) = self.judge.known_calls() {
                self.judge.learn_calls(following.stacks.calls_since(known));
            }
            self.callers.unknown = !following.stacks.is_known();
            self.judge.set_context(following.stacks.now());
        }
    }

    #[inline]
    fn compare_stack_pointers(&mut self, now: &Executing) {
        if let Some(following) = &mut self.callers.following
            && following.samples < SAMPLES
        {
            following.samples += 1;
            let said = self.reach.cpu.register(self.reach.cpu.stack_pointer(), now);
            if now.word(following.stack_word) != said {
                self.callers.following = None;
                self.callers.unknown = false;
                self.judge.set_context(Context::NONE);
                self.callers.lost = true;
            }
        }
    }

    /// The nearest callers behind a context, at most so many.
    pub(super) fn callers_of(&self, context: Context, most: usize) -> Vec<Site> {
        self.callers.following.as_ref().map_or_else(Vec::new, |following| following.stacks.callers(context, most))
    }

    /// The call chains that these findings name.
    pub(super) fn chains_of<'a>(&self, findings: impl IntoIterator<Item = &'a Finding>) -> Vec<Chain> {
        let Some(following) = &self.callers.following else { return Vec::new() };
        let contexts = findings.into_iter().flat_map(|finding| [finding.contexts.consumer, finding.contexts.producer]);
        let distinct: std::collections::BTreeSet<Context> = contexts.filter(|context| *context != Context::NONE).collect();
        let chain = |context| Chain {
            context,
            program: following.stacks.program(context).and_then(|number| following.programs.name(number)).map(str::to_owned),
            callers: following.stacks.callers(context, TOLD),
        };
        distinct.into_iter().map(chain).collect()
    }

    /// What the following of calls leaves out.
    pub(super) fn limits_of_following(&self) -> Option<String> {
        if self.callers.lost {
            return Some("callers are not named: this QEMU keeps its registers elsewhere than those that are supported".into());
        }
        let full = self.callers.following.as_ref().is_some_and(|following| following.stacks.is_full());
        full.then(|| "there were more call chains than can be told apart: some findings name no callers".into())
    }
}
