//! A scheduler of coroutines: who goes on is chosen before every atomic operation and every call into the platform.
//!
//! An agent is a thread or an interrupt handler on a CPU. One of a lower level does not go on while one of a higher is at work on its
//! CPU; another thread of a CPU does not while the one at work there must not be preempted. Apart from that, anybody can go on at any
//! place; where tasks move, it is on another CPU that one goes on after somebody else. A run is the sequence of choices, so it can be repeated.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::world::{Wait, World};

thread_local! {
    static YIELDER: Cell<*const Yielder<(), ()>> = const { Cell::new(std::ptr::null()) };
    static WAIT: Cell<Option<Wait>> = const { Cell::new(None) };
    static CURRENT: Cell<(usize, u32, u8)> = const { Cell::new((usize::MAX, 0, 0)) };
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// Called by the library before every atomic operation.
#[unsafe(no_mangle)]
fn congruent_may_switch() {
    switch();
}

/// Called by the library where it waits for another CPU.
#[unsafe(no_mangle)]
fn congruent_must_switch() {
    WAIT.set(Some(Wait::Others));
    switch();
}

/// Somebody else may go on now.
pub fn switch() {
    let yielder = YIELDER.get();
    // SAFETY: set by the coroutine that runs now, which has it until it ends; null outside of all.
    if let Some(this) = unsafe { yielder.as_ref() } {
        this.suspend(());
        YIELDER.set(yielder);
    }
}

/// Waits until the world says that this agent can go on.
pub fn wait(world: &World, what: Wait) {
    while !world.is_over(what) {
        assert!(!YIELDER.get().is_null(), "{what:?} waits for ever");
        WAIT.set(Some(what));
        switch();
    }
}

/// Which agent runs now, on which CPU and level.
pub fn current() -> (usize, u32, u8) {
    CURRENT.get()
}

/// Sets who runs, for what is done outside of all coroutines.
pub fn alone() {
    YIELDER.set(std::ptr::null());
    CURRENT.set((usize::MAX, 0, 0));
}

pub struct Agent {
    pub cpu: u32,
    pub level: u8,
    coroutine: Option<Coroutine<(), (), (), DefaultStack>>,
    started: bool,
    waits: Option<Wait>,
}

impl Agent {
    pub fn new(cpu: u32, level: u8, program: impl FnOnce() + 'static) -> Self {
        let stack = STACKS.with_borrow_mut(Vec::pop).unwrap_or_else(|| DefaultStack::new(256 << 10).expect("memory for a stack"));
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            YIELDER.set(yielder);
            program();
            YIELDER.set(std::ptr::null());
        });
        Self { cpu, level, coroutine: Some(coroutine), started: false, waits: None }
    }
}

/// Chooses, given who can go on and which of them ran last.
pub trait Chooser {
    fn choose(&mut self, options: &[usize], last: Option<usize>) -> usize;
}

/// Runs all agents to their ends, or until somebody could see old bytes. `after_each` is what users, devices and the core do.
pub fn run(world: &Rc<World>, mut agents: Vec<Agent>, chooser: &mut dyn Chooser, mut after_each: impl FnMut(&World)) -> u64 {
    let mut last = None;
    let mut options = Vec::new();
    let moves = world.shape.moves;
    let mut steps = 0;
    loop {
        options.clear();
        // Whether somebody else is in this one's way on that CPU.
        let blocked = |agents: &[Agent], at: usize, cpu: u32| {
            let agent = &agents[at];
            agents.iter().enumerate().any(|(number, other)| {
                number != at
                    && other.started
                    && other.coroutine.is_some()
                    && other.cpu == cpu
                    && (other.level > agent.level
                        || (other.level == agent.level && (agent.level > 0 || world.is_unpreempted(number))))
            })
        };
        let goes_on = |agents: &[Agent], at: usize| {
            let Agent { cpu, level, started, .. } = agents[at];
            let moved = moves > 0 && level == 0 && started && last != Some(at) && !world.is_unpreempted(at);
            let elsewhere = (1..moves).map(|further| (cpu + further) % moves).filter(|_| moved);
            elsewhere.chain([cpu]).find(|&cpu| !blocked(agents, at, cpu))
        };
        for (at, agent) in agents.iter().enumerate() {
            let free = agent.coroutine.is_some() && agent.waits.is_none_or(|what| world.is_over(what));
            if free && goes_on(&agents, at).is_some() {
                options.push(at);
            }
        }
        // Who waits for others gives them precedence.
        if options.iter().any(|&at| agents[at].waits != Some(Wait::Others)) {
            options.retain(|&at| agents[at].waits != Some(Wait::Others) || last != Some(at));
        }
        if options.is_empty() {
            assert!(agents.iter().all(|agent| agent.coroutine.is_none()), "all wait for one another");
            break;
        }
        let chosen = if options.len() == 1 { options[0] } else { chooser.choose(&options, last) };
        let cpu = goes_on(&agents, chosen).expect("an option");
        last = Some(chosen);
        let agent = &mut agents[chosen];
        agent.cpu = cpu;
        agent.started = true;
        CURRENT.set((chosen, agent.cpu, agent.level));
        WAIT.set(None);
        let result = agent.coroutine.as_mut().expect("has not ended").resume(());
        YIELDER.set(std::ptr::null());
        agent.waits = WAIT.take();
        if let CoroutineResult::Return(()) = result {
            let stack = agent.coroutine.take().expect("has not ended").into_stack();
            STACKS.with_borrow_mut(|stacks| stacks.push(stack));
        }
        steps += 1;
        assert!(steps < 5000, "some call does not end");
        after_each(world);
        if world.hazard.borrow().is_some() {
            break;
        }
    }
    for agent in &mut agents {
        if let Some(coroutine) = &mut agent.coroutine {
            // Its guards belong to a machine that nobody looks at any more.
            // SAFETY: nothing on the stack is used again; what it owns leaks.
            unsafe { coroutine.force_reset() };
        }
        if let Some(coroutine) = agent.coroutine.take() {
            STACKS.with_borrow_mut(|stacks| stacks.push(coroutine.into_stack()));
        }
    }
    alone();
    steps
}

/// Every schedule with at most so many preemptions, one after the other: depth first, by repetition.
pub struct Every {
    /// Per choice: which option, and how many there are.
    path: Vec<(usize, usize)>,
    at: usize,
    preemptions: u32,
    most: u32,
}

impl Every {
    pub fn new(most: u32) -> Self {
        Self { path: Vec::new(), at: 0, preemptions: 0, most }
    }

    /// Prepares for the next schedule; false if there is none.
    pub fn next(&mut self) -> bool {
        self.at = 0;
        self.preemptions = 0;
        while let Some((choice, options)) = self.path.pop() {
            if choice + 1 < options {
                self.path.push((choice + 1, options));
                return true;
            }
        }
        false
    }

    pub fn path(&self) -> Vec<usize> {
        self.path.iter().map(|(choice, _)| *choice).collect()
    }
}

impl Chooser for Every {
    fn choose(&mut self, options: &[usize], last: Option<usize>) -> usize {
        let goes_on = last.and_then(|last| options.iter().position(|&option| option == last));
        // The one that ran goes on, if it can: the others are preemptions.
        let number = match goes_on {
            Some(_) if self.preemptions >= self.most => 1,
            _ => options.len(),
        };
        if self.at == self.path.len() {
            self.path.push((0, number));
        }
        let (choice, _) = self.path[self.at];
        self.at += 1;
        match goes_on {
            Some(first) => {
                self.preemptions += u32::from(choice > 0);
                // Itself first, then the rest in order.
                if choice == 0 { options[first] } else { options[if choice <= first { choice - 1 } else { choice }] }
            }
            None => options[choice],
        }
    }
}
