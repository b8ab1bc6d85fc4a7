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
use crate::api::{Block, ExecCallback, Insn, Registers};
use crate::cpu::Cpu;
use crate::plugin;
use crate::programs::Programs;
use crate::registers::{self, Environment};
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
    /// Where the CPU state has the stack pointer, in words from its start.
    stack_word: usize,
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
    ///
    /// # Safety
    /// Called from QEMU's translation callback with its block.
    pub(super) unsafe fn watch_returns(&mut self, block: *mut Block, first: *mut Insn, pc: u32) {
        let Some(following) = &self.callers.following else { return };
        let distance = following.calls.returns_after;
        let follows_call = if pc % PAGE < distance {
            following.stacks.returns_to(pc)
        } else {
            // SAFETY: by this function's contract; what precedes is on the same page.
            let before = unsafe { self.reach.api.bytes_before(first, distance as usize) };
            before
                .and_then(|bytes| self.reach.cpu.arch().facts().word(bytes, following.calls.length))
                .is_some_and(|word| self.reach.cpu.flow(word) == Flow::Call)
        };
        if follows_call {
            // SAFETY: by this function's contract; the callback takes an address as data.
            unsafe { self.reach.api.on_block(block, registers::arrival_with_environment, Registers::Read, pc as usize) };
        }
    }

    /// Has calls and returns from exceptions told of.
    ///
    /// # Safety
    /// Called from QEMU's translation callback with one of its instructions.
    pub(super) unsafe fn watch_flow(&mut self, insn: *mut Insn, pc: u32, word: u32) {
        let Some(following) = &mut self.callers.following else { return };
        let (callback, registers): (ExecCallback, _) = match self.reach.cpu.flow(word) {
            Flow::Other => return,
            Flow::Call => (registers::call_with_environment, Registers::Read),
            Flow::ExceptionReturn => (plugin::on_exception_return, Registers::Unused),
        };
        let returns_to = pc.wrapping_add(following.calls.returns_after);
        if returns_to % PAGE < following.calls.returns_after {
            following.stacks.note_return(returns_to);
        }
        // SAFETY: by this function's contract; the callbacks take an address as data, or nothing.
        unsafe { self.reach.api.on_execution(insn, callback, registers, pc as usize) };
    }

    /// A call at `pc` is about to run.
    ///
    /// # Safety
    /// Called from an execution callback that reads registers, with the environment it received.
    #[inline]
    pub unsafe fn called(&mut self, pc: u32, environment: Environment) {
        // SAFETY: by this function's contract.
        unsafe { self.compare_stack_pointers(environment) };
        // SAFETY: as above.
        unsafe { self.see_who_runs(environment) };
        let Some(following) = &mut self.callers.following else { return };
        let returns_to = pc.wrapping_add(following.calls.returns_after);
        // SAFETY: by this function's contract.
        let stack = unsafe { registers::state_word(environment, following.stack_word) };
        following.environment = Some(environment);
        following.stacks.call(Site(pc), returns_to, stack);
        self.context_changed();
    }

    /// Code that follows a call is about to run.
    ///
    /// # Safety
    /// As [`called`](Self::called).
    #[inline]
    pub unsafe fn arrived(&mut self, pc: u32, environment: Environment) {
        // SAFETY: by this function's contract.
        unsafe { self.see_who_runs(environment) };
        let Some(following) = &mut self.callers.following else { return };
        // SAFETY: by this function's contract.
        let stack = unsafe { registers::state_word(environment, following.stack_word) };
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
    pub(super) fn learn_context(&mut self) {
        if self.callers.unknown
            && let Some(environment) = self.callers.following.as_ref().and_then(|following| following.environment)
        {
            // SAFETY: the CPU state stays where it is as long as the CPU exists.
            unsafe { self.see_who_runs(environment) };
            self.context_changed();
        }
    }

    /// Looks at the stack pointer if nobody can say whose code runs.
    ///
    /// # Safety
    /// `environment` is the CPU state.
    #[inline]
    unsafe fn see_who_runs(&mut self, environment: Environment) {
        if self.callers.unknown
            && let Some(following) = &mut self.callers.following
        {
            // SAFETY: by this function's contract.
            let stack = unsafe { registers::state_word(environment, following.stack_word) };
            following.stacks.see(stack);
            if following.stacks.wants_program() {
                self.learn_program();
            }
        }
    }

    /// User code runs in an address space that was entered.
    #[cold]
    fn learn_program(&mut self) {
        let Some(following) = &mut self.callers.following else { return };
        let (reader, judge, geometry) = (&mut self.reach.reader, &self.judge, self.reach.geometry);
        let program = self.reach.cpu.page_table().and_then(|table| {
            following.programs.number(table, |address, to| {
                // Only memory that the guest has used through its cache is read: reading a device's registers might change it.
                // SAFETY: called from callbacks on the CPU's thread.
                judge.knows(geometry.frame(address)) && unsafe { reader.physical_bytes(address.0, to) }
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

    /// # Safety
    /// As [`called`](Self::called).
    #[inline]
    unsafe fn compare_stack_pointers(&mut self, environment: Environment) {
        if let Some(following) = &mut self.callers.following
            && following.samples < SAMPLES
        {
            following.samples += 1;
            // SAFETY: by this function's contract.
            let (held, said) = unsafe {
                let held = registers::state_word(environment, following.stack_word);
                (held, self.reach.register(self.reach.cpu.stack_pointer(), environment))
            };
            if held != said {
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
    pub(super) fn chains_of(&self, findings: &[Finding]) -> Vec<Chain> {
        let Some(following) = &self.callers.following else { return Vec::new() };
        let contexts = findings.iter().flat_map(|finding| [finding.contexts.consumer, finding.contexts.producer]);
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
