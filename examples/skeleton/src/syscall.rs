//! The system calls: a number, and up to four words.

use congruent::VirtAddr;

use crate::exec::LONGEST;
use crate::fault::{Fault, fork, unmap};
use crate::machine::SPACES;
use crate::system::{Answer, System};
use crate::thread::State;
use crate::{PAGE, file, user};

/// The most bytes that `read` and `write` move at a time.
const CHUNK: usize = 512;

impl System {
    /// Carries out the call of the thread that runs.
    pub(crate) fn perform(&mut self) -> Answer {
        let thread = *self.threads.running();
        let (number, [first, second, third, fourth]) = thread.registers.call();
        let address = |word: usize| VirtAddr(word as u64);
        match number {
            0 => self.print(address(first), second),
            // exit: of the process
            1 => self.end(thread.space),
            // exit: of the thread
            2 => {
                self.threads.running().state = State::Free;
                Answer::Done
            }
            // yield
            3 => {
                self.threads.running().registers.answer(0);
                Answer::Done
            }
            4 => {
                let registers = crate::arch::Registers::new(address(first), address(second), third);
                Answer::Value(self.threads.add(registers, thread.space).map_or(usize::MAX, |()| 0))
            }
            5 => self.fork(),
            // wait: until a process has ended
            6 if self.threads.any(first) => Answer::Again,
            6 => Answer::Value(0),
            7 => self.exec(address(first), second),
            8 => value(file::map(&self.kernel, thread.space, address(second), &self.file(), first, third != 0)),
            9 => value(unmap(&self.kernel, thread.space, address(first))),
            10 => value(self.read(first as u64, address(second), third)),
            11 => value(self.write(first as u64, address(second), third)),
            // peek: at another process
            12 => {
                let mut word = [0; 4];
                let read = user::load(&self.kernel, first, address(second), &mut word);
                read.map_or_else(Answer::from, |()| Answer::Value(u32::from_ne_bytes(word) as usize))
            }
            // poke: into another process
            13 => value(user::poke(&self.kernel, first, address(second), &(third as u32).to_ne_bytes())),
            14 => self.direct(first as u32, address(second), third, fourth == 0),
            // kill
            15 if first == thread.space || first >= SPACES => Answer::Value(usize::MAX),
            15 => match self.end(first) {
                Answer::Done => Answer::Value(0),
                other => other,
            },
            _ => Answer::Value(usize::MAX),
        }
    }

    /// The child gets a thread like the one that calls, which is answered 0; the parent is told the child's number.
    fn fork(&mut self) -> Answer {
        let mut child = *self.threads.running();
        let Some(space) = self.free_space() else { return Answer::Again };
        child.registers.answer(0);
        if let Err(fault) = fork(&self.kernel, child.space, space) {
            return fault.into();
        }
        if self.threads.add(child.registers, space).is_none() {
            let _ = self.end(space);
            return Answer::Value(usize::MAX);
        }
        Answer::Value(space)
    }

    fn exec(&mut self, from: VirtAddr, len: usize) -> Answer {
        let mut arguments = [0; LONGEST];
        let arguments = &mut arguments[..len.min(LONGEST)];
        let space = self.space();
        if let Err(fault) = user::load(&self.kernel, space, from, arguments) {
            return fault.into();
        }
        // Its other threads end, and so must what a device does for them.
        match self.end(space) {
            Answer::Done => match self.start(space, arguments) {
                Ok(()) => Answer::Done,
                Err(_) => self.end(space),
            },
            other => other,
        }
    }

    fn read(&self, start: u64, to: VirtAddr, len: usize) -> Result<(), Fault> {
        let mut bytes = [0; CHUNK];
        let bytes = &mut bytes[..len.min(CHUNK)];
        let got = file::read(&self.kernel, &self.file(), start, bytes)?;
        user::store(&self.kernel, self.space(), to, &bytes[..got])
    }

    fn write(&self, start: u64, from: VirtAddr, len: usize) -> Result<(), Fault> {
        let mut bytes = [0; CHUNK];
        let bytes = &mut bytes[..len.min(CHUNK)];
        user::load(&self.kernel, self.space(), from, bytes)?;
        file::write(&self.kernel, &self.file(), start, bytes)?;
        Ok(())
    }
}

fn value(done: Result<(), Fault>) -> Answer {
    done.map_or_else(Answer::from, |()| Answer::Value(0))
}

const _: () = assert!(CHUNK <= PAGE as usize);
