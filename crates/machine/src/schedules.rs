//! Every schedule at once: the set of states that the line can be in after a sequence of steps, and what an access could see.
//!
//! Guarantees: exhaustive. A set is closed under everything that hardware may do on its own, so a hazard is reported exactly
//! if some schedule leads to it. Sets and steps between them are remembered, so that long enumerations share their work.

mod line;
mod remapped;
mod state;
mod step;

use alloc::boxed::Box;
use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

pub use self::line::{Impossible, Line};
pub use self::remapped::{RemapStep, RemapVerdict, RemappedSchedules};
use self::state::{MOST_PLACES, State};
pub use self::step::{Bypass, CodeShape, Groups, Move, Op, Shape, Step, Verdict};

/// A set of states, by number, of the [`Schedules`] that gave it out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StateSet(usize);

/// A schedule in which the last of some steps sees old bytes, or threatens newer ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Witness {
    /// Everything that hardware does, in order, up to and including the last step.
    pub moves: Vec<Move>,
    /// What the last step's verdict says about this one schedule.
    pub verdict: Verdict,
}

/// All schedules of one line, over a fixed list of steps.
#[derive(Clone, Debug)]
pub struct Schedules {
    shape: Shape,
    steps: Vec<Step>,
    sets: Vec<Box<[State]>>,
    numbers: BTreeMap<Box<[State]>, usize>,
    /// Per set and step, once it was asked for.
    known: Vec<Vec<Option<(Verdict, StateSet)>>>,
}

impl Schedules {
    /// The schedules of a line of this shape under these steps.
    ///
    /// # Panics
    /// If the shape has more than eight colours in all, or more than four groups or ways; or if it is
    /// speculative and has several colours.
    #[must_use]
    pub fn new(shape: Shape, steps: Vec<Step>) -> Self {
        assert!(
            shape.places() <= MOST_PLACES && shape.groups <= 4 && shape.ways.max(shape.code.map_or(0, |code| code.ways)) <= 4,
            "{shape:?} does not fit into a state"
        );
        assert!(
            shape.cpus == 1 || shape.write_allocate && !shape.writes_through && !shape.speculative,
            "{shape:?}: only caches that are written back and allocate are modelled as coherent"
        );
        assert!(shape.colours == 1 || !shape.speculative, "{shape:?}: only a cache without aliases is modelled as speculative");
        let mut schedules = Self { shape, steps, sets: Vec::new(), numbers: BTreeMap::new(), known: Vec::new() };
        schedules.number([State::start(shape)].into());
        schedules
    }

    /// The steps, in the order in which [`step`](Self::step) numbers them.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The set before the first step: empty caches.
    #[must_use]
    pub const fn start(&self) -> StateSet {
        StateSet(0)
    }

    /// How many sets were reached so far.
    #[must_use]
    pub fn reached(&self) -> usize {
        self.sets.len()
    }

    /// What the step with this number finds after any of the schedules that lead into `from`, and the set after it. Nothing is healed:
    /// whoever comes later may see the same old bytes.
    ///
    /// # Panics
    /// If there is no such set or step.
    pub fn step(&mut self, from: StateSet, step: usize) -> (Verdict, StateSet) {
        if let Some(known) = self.known[from.0][step] {
            return known;
        }
        let (shape, what) = (self.shape, self.steps[step]);
        let states = &self.sets[from.0];
        let verdict = states.iter().fold(Verdict::default(), |all, state| join(all, sees(shape, *state, what)));
        let after = closed(shape, states.iter().flat_map(|state| outcomes(shape, *state, what)).map(|(state, _)| state));
        let known = (verdict, self.number(after));
        self.known[from.0][step] = Some(known);
        known
    }

    /// A schedule in which the last of `steps` sees old bytes or threatens newer ones, if there is one.
    #[must_use]
    pub fn witness(&self, steps: &[Step]) -> Option<Witness> {
        let shape = self.shape;
        let (last, before) = steps.split_last()?;
        // Per step, every state reachable before it, with the state and the move it came from.
        let mut reached: Vec<BTreeMap<State, Option<(State, Move)>>> = vec![spread(shape, [(State::start(shape), None)])];
        for step in before {
            let from = &reached[reached.len() - 1];
            let next: Vec<_> = from
                .keys()
                .flat_map(|state| outcomes(shape, *state, *step).map(|(to, way)| (to, Some((*state, Move::Step(*step, way))))))
                .collect();
            reached.push(spread(shape, next));
        }
        let end = &reached[reached.len() - 1];
        let (state, verdict) =
            end.keys().map(|state| (*state, sees(shape, *state, *last))).find(|(_, verdict)| verdict.groups() != 0)?;
        let way = state.missed(shape, *last).map(|_| 0);
        let mut moves = vec![Move::Step(*last, way)];
        let (mut at, mut stage) = (state, reached.len() - 1);
        while let Some((from, by)) = reached[stage][&at] {
            if matches!(by, Move::Step(..)) {
                stage -= 1;
            }
            moves.push(by);
            at = from;
        }
        moves.reverse();
        Some(Witness { moves, verdict })
    }

    fn number(&mut self, set: Box<[State]>) -> StateSet {
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

fn join(a: Verdict, b: Verdict) -> Verdict {
    Verdict { hit_old: a.hit_old | b.hit_old, memory_old: a.memory_old | b.memory_old, threatened: a.threatened | b.threatened }
}

/// What a step sees in one state.
fn sees(shape: Shape, state: State, step: Step) -> Verdict {
    let mut verdict = Verdict::default();
    let stored_in = |colour| state.held(colour).map_or(0, |held| held.stored);
    match step {
        Step::Access(Op::Load, colour, groups) => match state.held(colour) {
            Some(held) => verdict.hit_old = groups & !held.newest,
            None => match state.served_by_sibling(shape, colour) {
                Some(held) => verdict.hit_old = groups & !held.newest,
                None => verdict.memory_old = groups & !state.memory(),
            },
        },
        Step::Past(_, Op::Load, groups) => verdict.memory_old = groups & !state.memory(),
        Step::Access(Op::Store, own, groups) => {
            let others = (0..shape.data_places()).filter(|place| place % shape.colours != own % shape.colours);
            verdict.threatened = groups & others.fold(0, |stored, colour| stored | stored_in(colour));
        }
        Step::Past(_, Op::Store, groups) => {
            verdict.threatened = groups & (0..shape.data_places()).fold(0, |stored, place| stored | stored_in(place));
        }
        Step::Fetch(through, groups) => match state.held(shape.code_place(through)) {
            Some(held) => verdict.hit_old = groups & !held.newest,
            None => verdict.memory_old = groups & !state.seen_by_fetch(shape, through),
        },
        Step::Prefetch(_) | Step::Maintain(..) | Step::Index(..) | Step::Whole(..) => {}
        Step::DropCode(_) | Step::DropCodeIndex(..) | Step::DropCodeWhole(_) => {}
    }
    verdict
}

/// The states that a step can lead to from one state, each with the way that was filled. A miss that another CPU's dirty copy serves may
/// take over what is dirty, or leave it where it is.
fn outcomes(shape: Shape, state: State, step: Step) -> impl Iterator<Item = (State, Option<u8>)> {
    let missed = state.missed(shape, step);
    let ways = missed.map_or(0, |place| shape.ways_of(place));
    let unfilled = missed.is_none() || matches!(step, Step::Prefetch(_));
    let ways = (0..ways).map(Some).chain(unfilled.then_some(None));
    ways.flat_map(move |way| {
        let next = state.step(shape, step, way);
        let passed = missed.filter(|_| way.is_some()).map(|place| next.pass_dirty(shape, place)).filter(|passed| *passed != next);
        [Some(next), passed].into_iter().flatten().map(move |next| (next, way))
    })
}

/// What hardware may do on its own in one state.
fn moves(shape: Shape, state: State) -> impl Iterator<Item = (State, Move)> {
    (0..shape.places()).flat_map(move |colour| {
        let dirty = state.held(colour).map(|held| held.dirty);
        let write_backs = (0..shape.units()).filter(move |unit| dirty.is_some_and(|dirty| dirty >> unit & 1 != 0));
        let write_backs = write_backs.map(move |unit| (state.write_back(shape, colour, unit), Move::WriteBack(colour, unit)));
        let fillable = state.is_live() && colour < shape.colours && dirty.is_none();
        let fills =
            (0..if fillable { shape.ways } else { 0 }).map(move |way| (state.fill(colour, Some(way)), Move::Fill(colour, way)));
        write_backs.chain((dirty == Some(0)).then(|| (state.with(colour, None), Move::Drop(colour)))).chain(fills)
    })
}

/// These states and all that hardware may turn them into, in order.
fn closed(shape: Shape, states: impl Iterator<Item = State>) -> Box<[State]> {
    let mut reached: BTreeSet<State> = states.collect();
    let mut left: Vec<State> = reached.iter().copied().collect();
    while let Some(state) = left.pop() {
        left.extend(moves(shape, state).map(|(next, _)| next).filter(|next| reached.insert(*next)));
    }
    reached.into_iter().collect()
}

/// As [`closed`], remembering where each state came from.
fn spread(
    shape: Shape,
    states: impl IntoIterator<Item = (State, Option<(State, Move)>)>,
) -> BTreeMap<State, Option<(State, Move)>> {
    let mut reached = BTreeMap::new();
    let mut left: Vec<_> = states.into_iter().collect();
    while let Some((state, from)) = left.pop() {
        if let Entry::Vacant(new) = reached.entry(state) {
            new.insert(from);
            left.extend(moves(shape, state).map(|(next, by)| (next, Some((state, by)))));
        }
    }
    reached
}
