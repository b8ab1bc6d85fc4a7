//! One line in every schedule: as few states as all others can come from, and none that does more harm.
//!
//! A state stands for whatever hardware may make of it on its own. And for every state that holds the same but newer bytes: whatever
//! happens, that one never shows an old byte where this one does not, unless other lines' bytes are expected there. What is left is one or two
//! states for most lines. Or one schedule is followed, by chance; then it is one state.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::state::State;
use crate::line::Shape;

/// Which schedules are gone through.
#[derive(Clone, Debug)]
pub(super) enum Schedule {
    /// All.
    Worst,
    /// One, by chance.
    Seeded(Chance),
}

/// Numbers that look random: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), as
/// `congruent-machine` has it, which shares no code with the judge.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below the limit; 0 if there is none.
    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.bits()) * limit as u128) >> 64) as usize
    }

    /// What hardware did to the line on its own since it was last used. It lets lines be for half of the time: old bytes take long quiet, and
    /// then much at once.
    fn stir(&mut self, mut state: State, shape: Shape) -> State {
        if self.below(2) == 0 {
            return state;
        }
        for _ in 0..=self.below(4 * state.held.len()) {
            let mut moves: Vec<State> = state.moves(shape).collect();
            if moves.is_empty() {
                break;
            }
            state = moves.swap_remove(self.below(moves.len()));
        }
        state
    }
}

/// The states that a line can be in.
#[derive(Clone, Debug)]
pub(super) struct States(Vec<State>);

/// States of a line that are kept, at most. Beyond it, some old bytes are not known, which is counted.
const MOST: usize = 32;
/// States that are gone through at once, at most; beyond it likewise.
const MOST_AT_ONCE: usize = 1 << 10;

impl States {
    pub fn of(states: Vec<State>) -> Self {
        Self(states)
    }

    /// All that a step, which takes a state to these, can lead to. `cut` counts how often that was more than is gone through.
    pub fn outcomes(
        &self,
        shape: Shape,
        schedule: &mut Schedule,
        cut: &mut u64,
        step: impl Fn(State) -> Vec<State>,
    ) -> Vec<State> {
        match schedule {
            Schedule::Worst => {
                let mut all = BTreeSet::new();
                for state in &self.0 {
                    *cut += u64::from(!add(&mut all, state.clone(), shape));
                }
                all.into_iter().flat_map(step).collect()
            }
            Schedule::Seeded(chance) => {
                let Some(state) = self.0.get(chance.below(self.0.len())) else { return Vec::new() };
                let mut after = step(chance.stir(state.clone(), shape));
                let chosen = chance.below(after.len());
                if after.is_empty() { after } else { alloc::vec![after.swap_remove(chosen)] }
            }
        }
    }

    /// The least that stands for these states; `cut` as above. If these bytes may be met where another line's are expected (`strays`), each
    /// value counts, as long as that leaves few enough.
    pub fn least(states: Vec<State>, shape: Shape, newest: &[u8], strays: bool, cut: &mut u64) -> Self {
        if states.len() <= 1 {
            return Self(states);
        }
        let mut next = states;
        // What holds more, and more of it dirty, can become what holds less; and what is older covers what is newer.
        let weight = |state: &State| {
            let dirty: u32 = state.held.iter().map(|held| held.dirty.count()).sum();
            let held = state.held.iter().map(|held| &held.bytes).chain([&state.memory]);
            let new = held.map(|bytes| bytes.iter().zip(newest).filter(|(own, newest)| own == newest).count());
            (Reverse((dirty, state.held.len())), new.sum::<usize>())
        };
        next.sort_by_cached_key(weight);
        if strays {
            let (kept, lost) = keep(&next, shape, None);
            if lost == 0 {
                return Self(kept);
            }
        }
        let (kept, lost) = keep(&next, shape, Some(newest));
        *cut += lost + u64::from(strays);
        Self(kept)
    }

    /// Those that are kept.
    pub fn as_they_are(&self) -> &[State] {
        &self.0
    }

    /// The places that hold the line in any of them.
    pub fn places(&self) -> impl Iterator<Item = u16> {
        self.0.iter().flat_map(|state| state.held.iter().map(|held| held.place))
    }

    /// What memory may have: of each byte an old value, if it has one in any of them.
    pub fn memory(&self, newest: &[u8]) -> Vec<u8> {
        let of = |(at, newest): (usize, &u8)| {
            let mut values = self.0.iter().map(|state| state.memory[at]);
            values.find(|value| value != newest).unwrap_or(*newest)
        };
        newest.iter().enumerate().map(of).collect()
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|state| state.memory.len() * (1 + state.held.len())).sum()
    }
}

/// Of these states, those that no other one before them stands for, and how often there were more than are gone through; `newest` as
/// [`State::is_worse`] has it.
fn keep(states: &[State], shape: Shape, newest: Option<&[u8]>) -> (Vec<State>, u64) {
    let (mut kept, mut covered, mut cut) = (Vec::<State>::new(), BTreeSet::new(), 0);
    for state in states {
        if covered.iter().any(|other: &State| other.is_worse(state, newest)) {
            continue;
        }
        if kept.len() == MOST {
            cut += 1;
            break;
        }
        cut += u64::from(!add(&mut covered, state.clone(), shape));
        kept.push(state.clone());
    }
    (kept, cut)
}

/// Adds a state and all that hardware may make of it; false if that was too much.
fn add(all: &mut BTreeSet<State>, state: State, shape: Shape) -> bool {
    let mut left = alloc::vec![state];
    while let Some(state) = left.pop() {
        if all.contains(&state) {
            continue;
        }
        if all.len() == MOST_AT_ONCE {
            return false;
        }
        left.extend(state.moves(shape));
        all.insert(state);
    }
    true
}
