//! Several CPUs at once, as one order of steps that a seed decides.

use alloc::vec::Vec;

use crate::random::Random;

/// Whether a program has more to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It wants another turn.
    Running,
    /// It has ended.
    Done,
}

/// A program, given one step at a time: it knows its CPU, and finds the machine in `W`.
pub type Program<'a, W> = &'a mut dyn FnMut(&mut W) -> Progress;

/// Gives programs turns, one step each, in an order that `seed` decides, until all have ended. Returns how many steps were taken.
///
/// A step is not interrupted: it should be one access, or what a lock protects. Some seeds change programs often, others seldom,
/// because races need both.
pub fn interleave<W>(seed: u64, world: &mut W, programs: &mut [Program<'_, W>]) -> u64 {
    let mut random = Random::new(seed);
    let mut running: Vec<usize> = (0..programs.len()).collect();
    let mut steps = 0;
    let restless = 1 + random.below(4);
    let mut turn = random.index(programs.len().max(1));
    while !running.is_empty() {
        if turn >= running.len() || random.chance(restless, 4) {
            turn = random.index(running.len());
        }
        steps += 1;
        if programs[running[turn]](world) == Progress::Done {
            running.swap_remove(turn);
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    fn order(seed: u64) -> Vec<u8> {
        let program = |name: u8| {
            let mut left = 3;
            move |order: &mut Vec<u8>| {
                order.push(name);
                left -= 1;
                if left == 0 { Progress::Done } else { Progress::Running }
            }
        };
        let (mut a, mut b) = (program(1), program(2));
        let mut order = Vec::new();
        assert_eq!(interleave(seed, &mut order, &mut [&mut a, &mut b]), 6);
        order
    }

    #[test]
    fn every_order_of_two_short_programs_comes_up() {
        let orders: BTreeSet<Vec<u8>> = (0..2000).map(order).collect();
        assert_eq!(orders.len(), 20, "6 steps, 3 of each: 6! / (3! 3!)");
        assert_eq!(order(7), order(7));
    }
}
