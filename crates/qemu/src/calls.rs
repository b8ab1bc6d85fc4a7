//! Which calls the guest is inside of, for recordings: `--mute` on a replay asks what was on the call stack.
//!
//! A call is noted with the stack pointer it was made at. Calls made deeper in the same stack have ended when a new one is made
//! further up, so returns need not be seen. Kernel threads run on other stacks and are told apart by that.
//!
//! Not promised: functions that were left by a jump to another one (a tail call) are not on the stack, and so not named. A function
//! that returned and whose caller made no call since may still be named.

use std::collections::HashMap;

use congruent_trace::file::CHAIN;

use crate::mute::stack_of;

#[derive(Clone, Copy)]
struct Call {
    pc: u32,
    stack: u32,
}

/// The calls under way, stack by stack, outermost first.
#[derive(Default)]
pub struct Calls {
    stacks: HashMap<u32, Vec<Call>>,
}

impl Calls {
    /// A call instruction runs at `pc`.
    pub fn call(&mut self, pc: u32, stack: u32) {
        let calls = self.stacks.entry(stack_of(stack)).or_default();
        while calls.last().is_some_and(|call| call.stack <= stack) {
            calls.pop();
        }
        calls.push(Call { pc, stack });
    }

    /// The calls that code with this stack pointer runs under, innermost first.
    pub fn under_way(&self, stack: u32) -> ([u32; CHAIN], usize) {
        let (mut chain, mut length) = ([0; CHAIN], 0);
        let calls = self.stacks.get(&stack_of(stack)).map_or(&[][..], Vec::as_slice);
        for (place, call) in chain.iter_mut().zip(calls.iter().rev().filter(|call| call.stack >= stack)) {
            *place = call.pc;
            length += 1;
        }
        (chain, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: u32 = 0x8100_1f00;

    fn chain(calls: &Calls, stack: u32) -> Vec<u32> {
        let (chain, length) = calls.under_way(stack);
        chain[..length].to_vec()
    }

    #[test]
    fn calls_are_told_innermost_first_until_their_caller_makes_another() {
        let mut calls = Calls::default();
        calls.call(0x10, STACK);
        calls.call(0x20, STACK - 32);
        assert_eq!(chain(&calls, STACK - 64), [0x20, 0x10]);
        calls.call(0x14, STACK);
        assert_eq!(chain(&calls, STACK - 64), [0x14]);
    }

    #[test]
    fn calls_made_deeper_than_the_stack_pointer_have_ended() {
        let mut calls = Calls::default();
        calls.call(0x10, STACK);
        calls.call(0x20, STACK - 32);
        assert_eq!(chain(&calls, STACK - 16), [0x10]);
    }

    #[test]
    fn another_stack_has_calls_of_its_own() {
        let mut calls = Calls::default();
        calls.call(0x10, STACK);
        calls.call(0x20, STACK + 0x4000);
        assert_eq!(chain(&calls, STACK - 32), [0x10]);
    }
}
