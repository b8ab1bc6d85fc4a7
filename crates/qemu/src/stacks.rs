//! Who called whom: the guest's call stacks, kept by watching calls, the points they return to and returns from exceptions.
//!
//! A call pushes a frame, arriving at the point it returns to pops it. Frames belong to stacks, which are told apart by where
//! the stack pointer points: every kernel thread, interrupt stack and user thread has its own, so that what one of them calls is
//! never shown as the caller of another. After a return from an exception nobody can say whose code runs next until a stack
//! pointer has been seen: until then the context is [not known](CallStacks::is_known). Whoever knows which program runs in an address
//! space [says so](CallStacks::set_program) when its code is first seen there; the chains of its code belong to it from then on.
//!
//! Guarantees: pure; a frame is dropped as soon as a stack pointer above it shows that it has gone, however the guest left it
//! (`longjmp`, a killed thread); memory is bounded. Not promised: callers from before the first call that was seen; a function
//! that was left by a jump to another (a tail call) is not shown, nor one that calls without using the stack; frames of a user
//! stack that extends over [`USER_STACK`] bytes are cut off there; a thread whose stack takes the place of another's, in an address
//! space that takes the number of another's, may inherit its outermost callers.

use std::collections::{HashMap, HashSet};

use congruent_trace::{Context, Site};

use crate::contexts::{Contexts, Link};

/// Kernel stacks are aligned to their size, which is at least this (8 KiB on 32-bit Linux; `THREAD_SIZE`).
const KERNEL_STACK: u32 = 8 << 10;
/// User stacks do not come closer to one another.
const USER_STACK: u32 = 128 << 10;
/// No stack reaches up to here. Programs on SH-4 mark sequences that must not be interrupted by small negative numbers in the stack pointer
/// (gUSA; Linux, `CONFIG_GUSA`).
const NO_STACK: u32 = 0xffff_f000;
/// Frames of one stack that are kept; deeper calls are not followed.
const DEEPEST: usize = 1024;
/// Stacks that are kept; then all start anew.
const MOST_STACKS: usize = 1 << 14;
/// The context while nobody can say whose code runs.
const UNKNOWN: Context = Context(u32::MAX);

/// What tells stacks apart: the address space, for user stacks, and the part of the address that all of a stack shares.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct StackKey {
    space: u32,
    region: u32,
}

impl StackKey {
    /// In the place of an address space: there is one kernel.
    const KERNEL: u32 = u32::MAX;

    const fn of_kernel(region: u32) -> Self {
        Self { space: Self::KERNEL, region }
    }

    const fn is_kernels(self) -> bool {
        self.space == Self::KERNEL
    }
}

/// A call that has not returned.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// The stack pointer at the call.
    stack: u32,
    returns_to: u32,
    context: Context,
}

/// The call stacks of the guest.
pub struct CallStacks {
    /// Stack pointers from here on are the kernel's.
    kernel_start: u32,
    contexts: Contexts,
    /// The address space of user code.
    space: u32,
    /// Whether nobody has said yet which program runs in it.
    space_is_new: bool,
    /// The chain without a call of the program in each space.
    programs: HashMap<u32, Context>,
    /// The chain without a call on the stack in use.
    root: Context,
    /// The stack in use, apart from the others.
    key: StackKey,
    frames: Vec<Frame>,
    others: HashMap<StackKey, Vec<Frame>>,
    now: Context,
    /// Where calls return to that stand at the start of a page, out of sight of the call before them.
    at_page_start: HashSet<u32>,
}

impl CallStacks {
    /// Nothing has been called. Stack pointers from `kernel_start` on are the kernel's.
    pub fn new(kernel_start: u32) -> Self {
        Self {
            kernel_start,
            contexts: Contexts::new(),
            space: 0,
            space_is_new: true,
            programs: HashMap::new(),
            root: Context::NONE,
            key: StackKey::of_kernel(0),
            frames: Vec::new(),
            others: HashMap::new(),
            now: UNKNOWN,
            at_page_start: HashSet::new(),
        }
    }

    /// Whether the context of now is known; else a stack pointer is wanted, see [`see`](Self::see).
    #[inline]
    pub fn is_known(&self) -> bool {
        self.now != UNKNOWN
    }

    /// Through which calls the guest got where it is; [`Context::NONE`] if that is not known.
    pub fn now(&self) -> Context {
        if self.is_known() { self.now } else { Context::NONE }
    }

    /// A call at `site` is about to run, with this stack pointer; it returns to `returns_to`.
    pub fn call(&mut self, site: Site, returns_to: u32, stack: u32) {
        self.select(stack);
        // A frame at the same place is one of a call that never returned.
        while self.frames.last().is_some_and(|frame| frame.stack <= stack) {
            self.frames.pop();
        }
        if self.frames.len() < DEEPEST {
            let context = self.contexts.called_from(self.top(), site);
            self.frames.push(Frame { stack, returns_to, context });
        }
        self.now = self.top();
    }

    /// Code that follows a call, at `pc`, is about to run: because the call returned, or for another reason.
    pub fn arrive(&mut self, pc: u32, stack: u32) {
        self.select(stack);
        while self.frames.last().is_some_and(|frame| frame.stack < stack || (frame.stack == stack && frame.returns_to == pc)) {
            self.frames.pop();
        }
        self.now = self.top();
    }

    /// Something runs with this stack pointer, while the context is not known; and stays so if this is none.
    pub fn see(&mut self, stack: u32) {
        if stack > NO_STACK {
            return;
        }
        self.select(stack);
        while self.frames.last().is_some_and(|frame| frame.stack < stack) {
            self.frames.pop();
        }
        self.now = self.top();
    }

    /// Whether user code runs, as far as its stack says, of which nobody has said to what program it belongs.
    pub fn wants_program(&self) -> bool {
        self.space_is_new && !self.key.is_kernels()
    }

    /// The user code that runs belongs to this program, which goes by a number, or to one that is not known. If another one ran in this
    /// space before, its calls are no callers of this one.
    pub fn set_program(&mut self, program: Option<u32>) {
        let space = self.space;
        let root = program.map_or(Context::NONE, |program| self.contexts.of_program(program));
        let before = if program.is_some() { self.programs.insert(space, root) } else { self.programs.remove(&space) };
        if before.unwrap_or_default() != root {
            self.others.retain(|key, _| key.space != space);
            self.frames.clear();
        }
        (self.space_is_new, self.root) = (false, root);
        self.now = self.top();
    }

    /// What runs from now on may have another stack: an exception has ended.
    pub fn forget_who_runs(&mut self) {
        self.now = UNKNOWN;
    }

    /// User code runs in this address space from now on.
    pub fn enter_space(&mut self, space: u32) {
        if self.space != space {
            self.space = space;
            self.space_is_new = true;
            self.now = UNKNOWN;
        }
    }

    /// Nobody has called anything: the machine was reset. Contexts stay what they are.
    pub fn forget_all(&mut self) {
        self.others.clear();
        self.frames.clear();
        self.programs.clear();
        self.root = Context::NONE;
        self.space_is_new = true;
        self.now = UNKNOWN;
    }

    /// Takes note of where a call returns to, when the call is first seen.
    pub fn note_return(&mut self, returns_to: u32) {
        self.at_page_start.insert(returns_to);
    }

    /// Whether a call is known to return to `pc`.
    pub fn returns_to(&self, pc: u32) -> bool {
        self.at_page_start.contains(&pc)
    }

    /// The calls behind a context, the innermost first, at most `most`.
    pub fn callers(&self, context: Context, most: usize) -> Vec<Site> {
        self.contexts.callers(context).take(most).collect()
    }

    /// The program that a context belongs to, by its number.
    pub fn program(&self, context: Context) -> Option<u32> {
        self.contexts.program(context)
    }

    /// See [`Contexts::since`].
    pub fn calls_since(&self, known: usize) -> impl Iterator<Item = Link> + '_ {
        self.contexts.since(known)
    }

    /// Whether some calls could not be told apart any more because there were too many.
    pub fn is_full(&self) -> bool {
        self.contexts.is_full()
    }

    fn top(&self) -> Context {
        self.frames.last().map_or(self.root, |frame| frame.context)
    }

    #[inline]
    fn select(&mut self, stack: u32) {
        // A pointer at the very top belongs to the stack below it.
        let inside = stack.wrapping_sub(1);
        let key = if inside >= self.kernel_start {
            StackKey::of_kernel(inside & !(KERNEL_STACK - 1))
        } else {
            StackKey { space: self.space, region: inside & !(USER_STACK - 1) }
        };
        if key != self.key {
            self.change_stack(key);
        }
    }

    #[cold]
    fn change_stack(&mut self, key: StackKey) {
        if self.others.len() >= MOST_STACKS {
            self.others.clear();
        }
        let frames = self.others.remove(&key).unwrap_or_default();
        let left = std::mem::replace(&mut self.frames, frames);
        if !left.is_empty() {
            self.others.insert(self.key, left);
        }
        self.key = key;
        let program = if key.is_kernels() { None } else { self.programs.get(&key.space) };
        self.root = program.copied().filter(|_| !self.space_is_new).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: u32 = 0x8000_0000;
    const STACK: u32 = 0x8100_1f00;
    const USER: u32 = 0x7fff_f000;

    fn stacks() -> CallStacks {
        CallStacks::new(KERNEL)
    }

    fn callers(calls: &CallStacks) -> Vec<u32> {
        calls.callers(calls.now(), 16).into_iter().map(|site| site.0).collect()
    }

    #[test]
    fn callers_are_told_from_the_innermost_until_they_return() {
        let mut calls = stacks();
        calls.call(Site(0x10), 0x18, STACK);
        calls.call(Site(0x20), 0x28, STACK - 64);
        assert_eq!(callers(&calls), [0x20, 0x10]);
        calls.arrive(0x28, STACK - 64);
        assert_eq!(callers(&calls), [0x10]);
        calls.arrive(0x18, STACK);
        assert!(callers(&calls).is_empty());
    }

    #[test]
    fn code_after_a_call_that_is_reached_otherwise_ends_nothing_else() {
        // The entry of a function that stands behind a call which never returns.
        let mut calls = stacks();
        calls.call(Site(0x10), 0x18, STACK);
        calls.arrive(0x30, STACK);
        assert_eq!(callers(&calls), [0x10]);
    }

    #[test]
    fn frames_that_were_jumped_over_are_gone() {
        let mut calls = stacks();
        for depth in 0..8 {
            calls.call(Site(0x10 + depth), 0x100, STACK - 16 * depth);
        }
        calls.arrive(0x200, STACK - 16 * 3 + 8);
        assert_eq!(callers(&calls), [0x12, 0x11, 0x10]);
        calls.call(Site(0x50), 0x58, STACK);
        assert_eq!(callers(&calls), [0x50]);
    }

    #[test]
    fn after_an_exception_nothing_is_known_until_a_stack_pointer_is_seen() {
        let mut calls = stacks();
        calls.call(Site(0x10), 0x18, USER);
        calls.call(Site(0x8000_0010), 0x8000_0018, STACK);
        assert_eq!(callers(&calls), [0x8000_0010]);
        calls.forget_who_runs();
        assert!(!calls.is_known());
        assert_eq!(calls.now(), Context::NONE);
        calls.see(USER - 16);
        assert_eq!(callers(&calls), [0x10]);
    }

    #[test]
    fn processes_whose_stacks_have_the_same_addresses_are_told_apart() {
        let mut calls = stacks();
        calls.enter_space(1);
        calls.call(Site(0x10), 0x18, USER);
        calls.enter_space(2);
        assert!(!calls.is_known());
        calls.see(USER - 16);
        assert!(callers(&calls).is_empty());
        calls.enter_space(1);
        calls.see(USER - 16);
        assert_eq!(callers(&calls), [0x10]);
        // The kernel's stacks are in every space.
        calls.call(Site(0x8000_0010), 0x8000_0018, STACK);
        calls.enter_space(2);
        calls.see(STACK - 16);
        assert_eq!(callers(&calls), [0x8000_0010]);
    }

    #[test]
    fn after_a_reset_nobody_has_called_and_old_contexts_are_still_known() {
        let mut calls = stacks();
        calls.set_program(Some(3));
        calls.call(Site(0x10), 0x18, STACK);
        let before = calls.now();
        calls.forget_all();
        assert!(!calls.is_known());
        calls.see(STACK - 16);
        assert!(callers(&calls).is_empty());
        calls.see(USER - 16);
        assert!(calls.wants_program());
        assert_eq!(calls.callers(before, 16), [Site(0x10)]);
    }

    /// Threads as they really are: each with the list of its calls.
    struct Thread {
        space: u32,
        top: u32,
        /// Call site, stack pointer at the call.
        stack: Vec<(u32, u32)>,
    }

    impl Thread {
        fn stack_pointer(&self) -> u32 {
            self.stack.last().map_or(self.top - 64, |(_, stack)| stack - 8)
        }
    }

    #[test]
    fn user_code_belongs_to_the_program_of_its_space_and_kernel_code_to_none() {
        let mut calls = stacks();
        calls.enter_space(1);
        calls.see(STACK);
        assert!(!calls.wants_program());
        calls.forget_who_runs();
        calls.see(USER - 16);
        assert!(calls.wants_program());
        calls.set_program(Some(7));
        assert!(!calls.wants_program());
        assert_eq!(calls.program(calls.now()), Some(7));
        calls.call(Site(0x10), 0x18, USER - 16);
        assert_eq!((callers(&calls), calls.program(calls.now())), (vec![0x10], Some(7)));
        calls.call(Site(0x8000_0010), 0x8000_0018, STACK);
        assert_eq!(calls.program(calls.now()), None);
        calls.enter_space(2);
        calls.see(USER - 16);
        assert_eq!(calls.program(calls.now()), None);
        calls.set_program(None);
        calls.enter_space(1);
        calls.see(USER - 32);
        assert_eq!((callers(&calls), calls.program(calls.now())), (vec![0x10], Some(7)));
        assert!(calls.wants_program(), "in the meantime another one may have taken the space");
    }

    #[test]
    fn a_program_that_takes_the_space_of_another_inherits_no_callers() {
        let mut calls = stacks();
        calls.enter_space(1);
        calls.see(USER - 16);
        calls.set_program(Some(7));
        calls.call(Site(0x10), 0x18, USER - 16);
        calls.call(Site(0x14), 0x1c, USER - USER_STACK - 16);
        for (program, callers_left) in [(Some(7), vec![0x14]), (Some(8), vec![]), (None, vec![])] {
            calls.enter_space(2);
            calls.enter_space(1);
            calls.see(USER - USER_STACK - 32);
            calls.set_program(program);
            assert_eq!((callers(&calls), calls.program(calls.now())), (callers_left, program));
        }
        calls.see(USER - 32);
        assert!(callers(&calls).is_empty(), "nor on another stack of the space");
    }

    #[test]
    fn what_is_no_stack_pointer_tells_nothing() {
        let mut calls = stacks();
        calls.call(Site(0x10), 0x18, USER);
        calls.forget_who_runs();
        calls.see(-6i32 as u32);
        assert!(!calls.is_known());
        calls.see(USER - 8);
        assert_eq!(callers(&calls), [0x10]);
    }

    #[test]
    fn random_calls_returns_jumps_and_switches_of_threads_are_followed() {
        for seed in 0..200u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut random = move |below: u32| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 33) as u32 % below
            };
            let mut threads: Vec<Thread> = (0..3)
                .map(|n| Thread { space: 0, top: 0x8100_2000 + 0x2000 * n, stack: Vec::new() })
                .chain((0..3).map(|n| Thread { space: n / 2 + 1, top: USER - n % 2 * USER_STACK, stack: Vec::new() }))
                .collect();
            let (mut calls, mut running) = (stacks(), 0);
            for step in 0..400 {
                let thread = &mut threads[running];
                match random(10) {
                    0..5 if thread.stack.len() < 60 => {
                        // A function moves the stack pointer before it calls.
                        let (site, stack) = (0x1000 + 8 * random(20), thread.stack_pointer() - 8 * random(4));
                        thread.stack.push((site, stack));
                        calls.call(Site(site), site + 8, stack);
                    }
                    0..8 => {
                        if let Some((site, stack)) = thread.stack.pop() {
                            calls.arrive(site + 8, stack);
                        }
                    }
                    8 => {
                        // A jump out of some calls, to where none of them returns.
                        let keep = random(thread.stack.len() as u32 + 1) as usize;
                        if let Some((_, stack)) = thread.stack.drain(keep..).next() {
                            calls.arrive(0x10, stack + 4);
                        }
                    }
                    _ => {
                        running = random(6) as usize;
                        let thread = &threads[running];
                        if thread.space != 0 {
                            calls.enter_space(thread.space);
                        }
                        calls.forget_who_runs();
                        calls.see(thread.stack_pointer());
                    }
                }
                let mut expected: Vec<u32> = threads[running].stack.iter().rev().map(|(site, _)| *site).collect();
                expected.truncate(16);
                if calls.is_known() {
                    assert_eq!(callers(&calls), expected, "seed {seed}, step {step}");
                } else {
                    assert!(expected.is_empty() && step == 0 || calls.frames.is_empty(), "seed {seed}, step {step}");
                }
            }
        }
    }
}
