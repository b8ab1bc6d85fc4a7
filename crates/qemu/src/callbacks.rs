//! What QEMU is to call while a guest runs, and what each callback is given: handed down to whoever chooses callbacks, so that nothing of a
//! check knows the functions behind them.
//!
//! Guarantees: what a callback is given survives the one pointer that QEMU hands back.

use congruent_trace::Site;

use crate::moment::{Data, ExecutionCallback, MemoryCallback};

/// The callbacks of a running guest.
pub struct Callbacks {
    /// Loads and stores.
    pub memory: MemoryCallback<Instruction>,
    /// The same while the run is recorded.
    pub memory_recorded: MemoryCallback<Instruction>,
    /// The same of guests with several CPUs.
    pub memory_in_turn: MemoryCallback<Instruction>,
    /// The same on guests where an address belongs to a space.
    pub memory_in_space: MemoryCallback<Instruction>,
    /// The same while generated code may be left at any of them.
    pub memory_leaving: MemoryCallback<Instruction>,
    /// The same of the few instructions whose registers are needed.
    pub memory_with_registers: MemoryCallback<Instruction>,
    /// Blocks, while fetches are judged.
    pub fetch: ExecutionCallback<Fetched>,
    /// The same of blocks that generated code compares a mark of first.
    pub fetch_settling: ExecutionCallback<Fetched>,
    /// The same of guests with several CPUs.
    pub fetch_in_turn: ExecutionCallback<Fetched>,
    /// The same of guests whose blocks run wherever they are mapped.
    pub fetch_anywhere: ExecutionCallback<Fetched>,
    /// Blocks, while something is muted or addresses belong to spaces.
    pub block: ExecutionCallback<Site>,
    /// Instructions that are more than loads and stores.
    pub execution: ExecutionCallback<Instruction>,
    /// Calls.
    pub call: ExecutionCallback<Site>,
    /// Blocks that follow a call.
    pub arrival: ExecutionCallback<Site>,
    /// Returns from exceptions.
    pub exception_return: ExecutionCallback<()>,
}

/// An instruction: its address and its word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instruction {
    /// Its address.
    pub pc: u32,
    /// Its bytes, zero if they are no instruction.
    pub word: u32,
}

impl Instruction {
    /// Its site.
    #[inline]
    pub fn site(self) -> Site {
        Site(self.pc)
    }
}

impl Data for Instruction {
    fn pack(self) -> usize {
        ((self.word as usize) << 32) | self.pc as usize
    }

    #[inline]
    fn unpack(data: usize) -> Self {
        Self { pc: data as u32, word: (data >> 32) as u32 }
    }
}

/// The bytes of a block: address and length.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Fetched {
    /// The first one's address.
    pub pc: u32,
    /// How many.
    pub len: u32,
}

impl Fetched {
    /// The next instruction of the block.
    pub fn extend(&mut self, pc: u32, len: u32) {
        if self.len == 0 {
            self.pc = pc;
        }
        self.len = pc.wrapping_sub(self.pc) + len;
    }
}

impl Data for Fetched {
    fn pack(self) -> usize {
        ((self.len as usize) << 32) | self.pc as usize
    }

    #[inline]
    fn unpack(data: usize) -> Self {
        Self { pc: data as u32, len: (data >> 32) as u32 }
    }
}

impl Data for Site {
    fn pack(self) -> usize {
        self.0 as usize
    }

    #[inline]
    fn unpack(data: usize) -> Self {
        Self(data as u32)
    }
}

impl Data for () {
    fn pack(self) -> usize {
        0
    }

    fn unpack(_data: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_all_bytes_from_its_first_instruction_to_its_last() {
        let mut fetched = Fetched::default();
        for (pc, len) in [(0x8000_0ffe, 2), (0x8000_1000, 4), (0x8000_1004, 4)] {
            fetched.extend(pc, len);
        }
        assert_eq!(fetched, Fetched { pc: 0x8000_0ffe, len: 10 });
    }

    #[test]
    fn what_a_callback_is_given_survives_the_pointer_it_travels_in() {
        for word in [0, 1, 0x8000_0000, u32::MAX] {
            let (instruction, fetched) = (Instruction { pc: !word, word }, Fetched { pc: word, len: !word });
            assert_eq!(Instruction::unpack(instruction.pack()), instruction);
            assert_eq!(Fetched::unpack(fetched.pack()), fetched);
            assert_eq!(Site::unpack(Site(word).pack()), Site(word));
        }
    }
}
