//! Threads: what each has in its registers, and whose turn it is.

use crate::arch::{CPUS, Registers, cpu};

/// Threads at a time.
const THREADS: usize = 4;

/// What keeps a thread from running.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It does not exist.
    Free,
    /// That others do.
    Ready,
    /// Nothing: it runs.
    Running,
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
    /// Which one each CPU runs, or has just interrupted.
    running: [Option<usize>; CPUS],
}

impl Threads {
    /// None.
    pub fn new() -> Self {
        let thread = Thread { registers: Registers::default(), space: 0, state: State::Free };
        Self { threads: [thread; THREADS], running: [None; CPUS] }
    }

    /// The number of the one that this CPU runs, if it runs any: another CPU may have ended it.
    pub fn number(&self) -> Option<usize> {
        self.running[cpu()]
    }

    /// The one that this CPU runs.
    ///
    /// # Panics
    /// If there is none.
    pub fn running(&mut self) -> &mut Thread {
        let number = self.number().expect("this CPU runs a thread");
        &mut self.threads[number]
    }

    /// The address space of the one that this CPU runs.
    ///
    /// # Panics
    /// If there is none.
    pub fn space(&self) -> usize {
        self.threads[self.number().expect("this CPU runs a thread")].space
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

    /// Ends all threads of a process. Those that other CPUs run go on until these are interrupted.
    pub fn end_all(&mut self, space: usize) {
        for (number, thread) in self.threads.iter_mut().enumerate().filter(|(_, thread)| thread.space == space) {
            thread.state = State::Free;
            self.running.iter_mut().filter(|running| **running == Some(number)).for_each(|running| *running = None);
        }
    }

    /// Whether a process has any.
    pub fn any(&self, space: usize) -> bool {
        self.threads.iter().any(|thread| thread.state != State::Free && thread.space == space)
    }

    /// Whether there is none.
    pub fn none(&self) -> bool {
        self.threads.iter().all(|thread| thread.state == State::Free)
    }

    /// Gives the next one its turn on this CPU, that can run and does not. `None` if there is none.
    pub fn next(&mut self) -> Option<&mut Thread> {
        let before = self.running[cpu()].take();
        if let Some(thread) = before.map(|number| &mut self.threads[number]).filter(|thread| thread.state == State::Running) {
            thread.state = State::Ready;
        }
        let mut others = (1..=THREADS).map(|after| (before.unwrap_or(0) + after) % THREADS);
        let next = others.find(|&number| self.threads[number].state == State::Ready)?;
        self.running[cpu()] = Some(next);
        self.threads[next].state = State::Running;
        Some(&mut self.threads[next])
    }
}
