//! Randomness that is the same everywhere: Marsaglia's xorshift, 64 bits.

use super::schedule::Chooser;

pub struct Random(pub u64);

impl Random {
    pub fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Less than `n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.next() >> 33) as usize) % n
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }
}

impl Chooser for Random {
    fn choose(&mut self, options: &[usize], last: Option<usize>) -> usize {
        // Long stretches of one agent and quick changes are both worth trying.
        match last.filter(|last| options.contains(last)) {
            Some(last) if !self.one_in(3) => last,
            _ => *self.pick(options),
        }
    }
}
