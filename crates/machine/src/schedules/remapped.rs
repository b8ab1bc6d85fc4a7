//! Two frames that take turns at the virtual pages of a cache with virtual tags: every schedule of one line of each at once.
//!
//! Guarantees: as for [`Schedules`](super::Schedules), with which it shares what one line does on its own. Added is only that a
//! virtual page holds one frame's copy at a time in each cache, and that an access or a fetch through it hits whichever that is. Each
//! virtual page selects a set of its own.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use congruent_trace::Maintenance;

use super::state::State;
use super::step::{Bypass, Groups, Op, Shape, Step, Verdict};
use super::{StateSet, join, moves, outcomes, sees};

/// What a program or a device does to the two lines. Pages are virtual ones: the colours of the shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemapStep {
    /// An access through a page, which is mapped to this frame now.
    Access(Op, u8, u8, Groups),
    /// A prefetch through a page, which is mapped to this frame now.
    Prefetch(u8, u8),
    /// An access to a frame past the cache.
    Past(Bypass, Op, u8, Groups),
    /// Maintenance of what a page holds, by address.
    Maintain(Maintenance, u8),
    /// Maintenance of one way of the set that a page selects.
    Index(Maintenance, u8, u8),
    /// Maintenance of the whole cache.
    Whole(Maintenance),
    /// A fetch through a page, which is mapped to this frame now.
    Fetch(u8, u8, Groups),
    /// The instruction cache drops what a page holds, by address.
    DropCode(u8),
    /// The instruction cache drops what is in one way of the set that a page selects.
    DropCodeIndex(u8, u8),
    /// The instruction cache is emptied.
    DropCodeWhole,
}

/// What a step may see or threaten.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RemapVerdict {
    /// Bytes of an access or a fetch that may hit the other frame's copy.
    pub homonym: Groups,
    /// What the access finds of its own frame.
    pub own: Verdict,
}

/// The two frames' lines in one schedule.
type Pair = [State; 2];

/// All schedules of the two lines, over a fixed list of steps.
#[derive(Clone, Debug)]
pub struct RemappedSchedules {
    shape: Shape,
    steps: Vec<RemapStep>,
    sets: Vec<Box<[Pair]>>,
    numbers: BTreeMap<Box<[Pair]>, usize>,
    known: Vec<Vec<Option<(RemapVerdict, StateSet)>>>,
}

impl RemappedSchedules {
    /// The schedules of lines of this shape, whose colours are virtual pages, under these steps.
    ///
    /// # Panics
    /// If the shape is speculative, has several CPUs, or an instruction cache that is filled from the data cache or has other virtual
    /// pages.
    #[must_use]
    pub fn new(shape: Shape, steps: Vec<RemapStep>) -> Self {
        let code_fits = shape.code.is_none_or(|code| code.colours == shape.colours && !code.fills_from_data);
        assert!(!shape.speculative && code_fits && shape.cpus == 1, "{shape:?}: virtual tags are modelled without these");
        let mut schedules = Self { shape, steps, sets: Vec::new(), numbers: BTreeMap::new(), known: Vec::new() };
        schedules.number([[State::start(shape); 2]].into());
        schedules
    }

    /// The steps, in the order in which [`step`](Self::step) numbers them.
    #[must_use]
    pub fn steps(&self) -> &[RemapStep] {
        &self.steps
    }

    /// The set before the first step: an empty cache.
    #[must_use]
    pub const fn start(&self) -> StateSet {
        StateSet(0)
    }

    /// How many sets were reached so far.
    #[must_use]
    pub fn reached(&self) -> usize {
        self.sets.len()
    }

    /// What the step with this number finds after any of the schedules that lead into `from`, and the set after it. Before the step
    /// is carried out another frame's copy that it could hit is written back and dropped. Nothing else is healed.
    ///
    /// # Panics
    /// If there is no such set or step.
    pub fn step(&mut self, from: StateSet, step: usize) -> (RemapVerdict, StateSet) {
        if let Some(known) = self.known[from.0][step] {
            return known;
        }
        let (shape, what) = (self.shape, self.steps[step]);
        let pairs = &self.sets[from.0];
        let mut verdict = RemapVerdict::default();
        for pair in pairs {
            match what {
                RemapStep::Access(_, page, frame, groups) if pair[other(frame)].held(page).is_some() => verdict.homonym |= groups,
                RemapStep::Access(op, page, frame, groups) => {
                    verdict.own = join(verdict.own, sees(shape, pair[own(frame)], Step::Access(op, page, groups)));
                }
                RemapStep::Fetch(page, frame, groups) if pair[other(frame)].held(shape.code_place(page)).is_some() => {
                    verdict.homonym |= groups;
                }
                RemapStep::Fetch(page, frame, groups) => {
                    verdict.own = join(verdict.own, sees(shape, pair[own(frame)], Step::Fetch(page, groups)));
                }
                RemapStep::Past(by, op, frame, groups) => {
                    verdict.own = join(verdict.own, sees(shape, pair[own(frame)], Step::Past(by, op, groups)));
                }
                _ => {}
            }
        }
        let healed = closed(shape, pairs.iter().map(|pair| heal(shape, *pair, what)));
        let mut after = Vec::new();
        for pair in &healed {
            after.extend(carried_out(shape, *pair, what));
        }
        let known = (verdict, self.number(closed(shape, after.into_iter())));
        self.known[from.0][step] = Some(known);
        known
    }

    fn number(&mut self, set: Box<[Pair]>) -> StateSet {
        if let Some(number) = self.numbers.get(&set) {
            return StateSet(*number);
        }
        let number = self.sets.len();
        self.sets.push(set.clone());
        self.numbers.insert(set, number);
        self.known.push(vec![None; self.steps.len()]);
        StateSet(number)
    }
}

const fn own(frame: u8) -> usize {
    frame as usize & 1
}

const fn other(frame: u8) -> usize {
    own(frame) ^ 1
}

fn heal(shape: Shape, mut pair: Pair, step: RemapStep) -> Pair {
    match step {
        RemapStep::Access(_, page, frame, _) => {
            pair[other(frame)] = pair[other(frame)].maintain(shape, Maintenance::WriteBackInvalidate, page);
        }
        RemapStep::Fetch(page, frame, _) => pair[other(frame)] = pair[other(frame)].with(shape.code_place(page), None),
        _ => {}
    }
    pair
}

/// What a step can make of a pair in which it hits no other frame's copy, unless it is a prefetch.
fn carried_out(shape: Shape, pair: Pair, step: RemapStep) -> Vec<Pair> {
    let of_frame = |frame: u8, step: Step| -> Vec<Pair> {
        let with = |state| if own(frame) == 0 { [state, pair[1]] } else { [pair[0], state] };
        outcomes(shape, pair[own(frame)], step).map(|(state, _)| with(state)).collect()
    };
    let of_both = |step: Step| vec![pair.map(|state| state.step(shape, step, None))];
    match step {
        RemapStep::Access(op, page, frame, groups) => of_frame(frame, Step::Access(op, page, groups)),
        RemapStep::Prefetch(page, frame) if pair[other(frame)].held(page).is_some() => vec![pair],
        RemapStep::Prefetch(page, frame) => of_frame(frame, Step::Prefetch(page)),
        RemapStep::Past(by, op, frame, groups) => of_frame(frame, Step::Past(by, op, groups)),
        RemapStep::Maintain(op, page) => of_both(Step::Maintain(op, page)),
        RemapStep::Index(op, page, way) => of_both(Step::Index(op, page, way)),
        RemapStep::Whole(op) => of_both(Step::Whole(op, 0)),
        RemapStep::Fetch(page, frame, groups) => of_frame(frame, Step::Fetch(page, groups)),
        RemapStep::DropCode(page) => of_both(Step::DropCode(page)),
        RemapStep::DropCodeIndex(page, way) => of_both(Step::DropCodeIndex(page, way)),
        RemapStep::DropCodeWhole => of_both(Step::DropCodeWhole(0)),
    }
}

/// These pairs and all that hardware may turn them into, in order.
fn closed(shape: Shape, pairs: impl Iterator<Item = Pair>) -> Box<[Pair]> {
    let mut reached: BTreeSet<Pair> = pairs.collect();
    let mut left: Vec<Pair> = reached.iter().copied().collect();
    while let Some(pair) = left.pop() {
        let first = moves(shape, pair[0]).map(|(state, _)| [state, pair[1]]);
        let second = moves(shape, pair[1]).map(|(state, _)| [pair[0], state]);
        left.extend(first.chain(second).filter(|next| reached.insert(*next)));
    }
    reached.into_iter().collect()
}
