//! Threads: what each has in its registers, and whose turn it is.

use crate::arch::Registers;

/// Threads at a time.
const THREADS: usize = 4;

/// What keeps a thread from running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It does not exist.
    Free,
    /// Nothing.
    Ready,
    /// The disk is at work for it.
    Waiting,
}

/// A thread of a process.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    /// Its registers, while it does not run.
    pub registers: Registers,
    /// The address space of its process.
    pub space: usize,
    /// Whether it can run.
    pub state: State,
}

/// All of them.
#[derive(Debug)]
pub struct Threads {
    threads: [Thread; THREADS],
    running: usize,
}

impl Threads {
    /// None.
    pub fn new() -> Self {
        let thread = Thread { registers: Registers::default(), space: 0, state: State::Free };
        Self { threads: [thread; THREADS], running: 0 }
    }

    /// The one that runs, or has just been interrupted.
    pub fn running(&mut self) -> &mut Thread {
        &mut self.threads[self.running]
    }

    /// The address space of the one that runs.
    pub const fn space(&self) -> usize {
        self.threads[self.running].space
    }

    /// The number of the one that runs.
    pub const fn number(&self) -> usize {
        self.running
    }

    /// The one of this number.
    pub fn get(&mut self, number: usize) -> &mut Thread {
        &mut self.threads[number]
    }

    /// Makes one more. `None` if there are as many as there can be.
    pub fn add(&mut self, registers: Registers, space: usize) -> Option<()> {
        let free = self.threads.iter_mut().find(|thread| thread.state == State::Free)?;
        *free = Thread { registers, space, state: State::Ready };
        Some(())
    }

    /// Ends all threads of a process.
    pub fn end_all(&mut self, space: usize) {
        self.threads.iter_mut().filter(|thread| thread.space == space).for_each(|thread| thread.state = State::Free);
    }

    /// Whether a process has any.
    pub fn any(&self, space: usize) -> bool {
        self.threads.iter().any(|thread| thread.state != State::Free && thread.space == space)
    }

    /// Whether there is none.
    pub fn none(&self) -> bool {
        self.threads.iter().all(|thread| thread.state == State::Free)
    }

    /// Gives the next one its turn that can run. `None` if all wait.
    pub fn next(&mut self) -> Option<()> {
        let others = (1..=THREADS).map(|after| (self.running + after) % THREADS);
        self.running = others.into_iter().find(|&number| self.threads[number].state == State::Ready)?;
        Some(())
    }
}
