//! Whether the guest is inside a muted function: the run-time half of `--mute`.
//!
//! Maintenance loops sit in leaf functions that everything calls, so to mute "the maintenance of the COW copy" is to mute what
//! runs *while* a function is on the call stack. A function is entered at its first address; it has returned when the return
//! address that was live at its entry runs with the stack pointer of its entry. Kernel threads that the scheduler switches to
//! in between run on other stacks and are told apart by that.
//!
//! Only used when something is muted, so it may cost.

use congruent_wire::MuteRange;

/// Kernel stacks are aligned to their size, which is at least this (8 KiB on 32-bit Linux; `THREAD_SIZE`).
const STACK_MASK: u32 = !(8192 - 1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Activation {
    return_address: u32,
    stack: u32,
}

/// The muted code ranges and their running activations.
#[derive(Default)]
pub struct Mute {
    ranges: Vec<MuteRange>,
    running: Vec<Activation>,
}

impl Mute {
    /// Mutes these ranges.
    pub fn new(ranges: Vec<MuteRange>) -> Self {
        Self { ranges, running: Vec::new() }
    }

    /// No muted function is running: the machine was reset.
    pub fn forget(&mut self) {
        self.running.clear();
    }

    /// Whether anything is muted at all.
    pub fn is_used(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// Whether a muted function starts at this address.
    fn starts_at(&self, pc: u32) -> bool {
        self.ranges.iter().any(|range| range.start == u64::from(pc))
    }

    /// Whether a block that starts at `pc` has to be told to [`on_block`](Self::on_block).
    pub fn wants(&self, pc: u32) -> bool {
        self.starts_at(pc) || self.running.iter().any(|call| call.return_address == pc)
    }

    /// A block starts to run at `pc`: takes note of entries and returns.
    pub fn on_block(&mut self, pc: u32, return_address: u32, stack: u32) {
        self.running.retain(|call| !(call.return_address == pc && call.stack == stack));
        if self.starts_at(pc) {
            // Calls deeper in the same stack than this new one have ended without our seeing it.
            self.running.retain(|call| !same_stack(call.stack, stack) || call.stack > stack);
            self.running.push(Activation { return_address, stack });
        }
    }

    /// Whether maintenance issued at `pc` with this stack pointer is muted.
    pub fn covers(&self, pc: u32, stack: u32) -> bool {
        let pc = u64::from(pc);
        self.ranges.iter().any(|range| range.start <= pc && pc < range.end)
            || self.running.iter().any(|call| same_stack(call.stack, stack) && stack <= call.stack)
    }
}

/// Whether two stack pointers lie in one stack; a pointer at the very top belongs to the stack below it.
fn same_stack(a: u32, b: u32) -> bool {
    stack_of(a) == stack_of(b)
}

/// A number that stands for the stack that a stack pointer lies in.
fn stack_of(pointer: u32) -> u32 {
    pointer.wrapping_sub(1) & STACK_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTION: u32 = 0x8010_0000;
    const CALLER: u32 = 0x8020_0008;
    const LEAF: u32 = 0x8030_0000;
    const STACK: u32 = 0x8100_1f00;

    fn muted() -> Mute {
        Mute::new(vec![MuteRange { start: FUNCTION.into(), end: u64::from(FUNCTION) + 0x100 }])
    }

    #[test]
    fn code_in_the_range_is_muted_wherever_it_was_called_from() {
        let mute = muted();
        assert!(mute.covers(FUNCTION + 8, STACK));
        assert!(!mute.covers(FUNCTION + 0x100, STACK));
    }

    #[test]
    fn callees_are_muted_until_the_function_returns() {
        let mut mute = muted();
        assert!(!mute.covers(LEAF, STACK - 64));
        mute.on_block(FUNCTION, CALLER, STACK);
        mute.on_block(LEAF, FUNCTION + 0x40, STACK - 64);
        assert!(mute.covers(LEAF, STACK - 64));
        mute.on_block(CALLER, CALLER, STACK);
        assert!(!mute.covers(LEAF, STACK - 64));
    }

    #[test]
    fn another_thread_is_not_muted_meanwhile() {
        let mut mute = muted();
        mute.on_block(FUNCTION, CALLER, STACK);
        assert!(!mute.covers(LEAF, STACK + 0x4000));
        // The same return address on another stack is another call's return.
        mute.on_block(CALLER, 0, STACK + 0x4000);
        assert!(mute.covers(LEAF, STACK - 64));
    }

    #[test]
    fn recursion_ends_level_by_level() {
        let mut mute = muted();
        mute.on_block(FUNCTION, CALLER, STACK);
        mute.on_block(FUNCTION, FUNCTION + 0x20, STACK - 64);
        mute.on_block(FUNCTION + 0x20, 0, STACK - 64);
        assert!(mute.covers(LEAF, STACK - 32));
        mute.on_block(CALLER, 0, STACK);
        assert!(!mute.covers(LEAF, STACK - 32));
    }

    #[test]
    fn a_call_that_never_returned_is_forgotten_when_its_stack_is_reused() {
        let mut mute = muted();
        mute.on_block(FUNCTION, CALLER, STACK - 256);
        mute.on_block(FUNCTION, CALLER, STACK);
        mute.on_block(CALLER, 0, STACK);
        assert!(!mute.covers(LEAF, STACK - 512));
    }
}
