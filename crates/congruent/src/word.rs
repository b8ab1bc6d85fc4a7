//! One atomic word per frame, which the kernel embeds in its own frame table: a [`State`], packed.
//!
//! Guaranteed: a change that needs no maintenance is one compare-and-swap; a change that needs some marks the word busy first, so
//! that nobody can use the frame in between, and no lock is ever waited for. While rights are taken away, which may take long, the
//! word is not busy. Not here: when to change what (`state.rs`).
//!
//! Where there is one CPU ([`Platform::UNIPROCESSOR`]), no operation costs a barrier.
//!
//! Only `AtomicU32` is used, which every target with atomics has (mipsel: `ll`/`sc`; ARMv6: `ldrex`/`strex`).

use core::fmt;
use core::marker::PhantomData;

use crate::hardware::Platform;
use crate::state::{
    MustRevoke, Plan, Refusal, Rules, State, Step, BUSY, GIVEN, MAPPED, MAX_USERS, PACKED, REVOKING, SPREAD, WRITABLE,
};
use crate::sync::{ordered, AtomicU32, Ordering};
use crate::Congruent;

/// What is known of one frame's copies. All zeros means that nothing of it is cached, so a zeroed table is right at boot:
/// [`Congruent::new`](crate::Congruent::new) empties the cache.
///
/// Two words of 32 bits: the state, in one, and counts that are seldom needed.
///
/// ```
/// # use congruent::{Frame, FrameWord};
/// static TABLE: [FrameWord; 4096] = [const { FrameWord::new() }; 4096]; // all zeros: it takes no place in the image
///
/// fn word(frame: Frame) -> Option<&'static FrameWord> {
///     TABLE.get(frame.0 as usize)
/// }
/// ```
#[repr(C)]
pub struct FrameWord {
    state: AtomicU32,
    /// Holds, and above them the transfers that the state has no place for (changed by who has made the state busy).
    more: AtomicU32,
}

// From the top: users 4, transfers 2, five flags (`PACKED`), two bits of mappings, then 19 bits of colours.
const USERS: u32 = 28;
const ONE_USER: u32 = 1 << USERS;
const TRANSFERS: u32 = 26;
const MAPPINGS: u32 = 19;

/// In the place of users: a frame that is given to the kernel has none.
const GIVEN_USERS: u32 = 15;

/// So many transfers or more: the rest is counted in the other word.
const MANY: u16 = 3;

const HOLDS: u32 = (1 << MORE_TRANSFERS) - 1;
const MORE_TRANSFERS: u32 = 20;

// What user mappings may be: none, of the home and for loads, of the home and for stores, of any colour and for loads.
const FLAGS_OF: [u32; 4] = [0, MAPPED, MAPPED | WRITABLE, MAPPED | SPREAD];
const LOADS: u32 = 1;
const STORES: u32 = 2;

/// Which rights of users have gone.
#[derive(Clone, Copy)]
pub(crate) enum Gone {
    /// All to store.
    Writes,
    /// All.
    All,
}

// Exactly tracked: home 3, held 8, stale 8. Coarsely: home 10, held 1, stale 1.
const EXACT: [u32; 3] = [3, 8, 8];
const COARSE: [u32; 3] = [10, 1, 1];

impl State {
    fn pack(&self, exact: bool) -> u32 {
        let [home, held, _] = if exact { EXACT } else { COARSE };
        debug_assert!(self.users <= MAX_USERS && u32::from(self.home) < 1 << home);
        let (mapped, writable, spread, given) = (self.mapped(), self.writable(), self.spread(), self.given());
        debug_assert!(!given || self.users == 0);
        debug_assert!(!(spread && writable) && (mapped || !(spread || writable)));
        let mappings = if spread { 3 } else { u32::from(mapped) + u32::from(writable) };
        u32::from(self.home)
            | u32::from(self.held) << home
            | u32::from(self.stale) << (home + held)
            | mappings << MAPPINGS
            | self.flags & PACKED
            | u32::from(self.transfers.min(MANY)) << TRANSFERS
            | if given { GIVEN_USERS } else { u32::from(self.users) } << USERS
    }

    fn unpack(word: u32, exact: bool) -> Self {
        let [home, held, stale] = if exact { EXACT } else { COARSE };
        let field = |shift: u32, width: u32| word >> shift & ((1 << width) - 1);
        let users = field(USERS, 4);
        let given = users == GIVEN_USERS;
        Self {
            flags: word & PACKED | FLAGS_OF[field(MAPPINGS, 2) as usize] | if given { GIVEN } else { 0 },
            home: field(0, home) as u16,
            held: field(home, held) as u8,
            stale: field(home + held, stale) as u8,
            transfers: field(TRANSFERS, 2) as u16,
            users: if given { 0 } else { users as u16 },
        }
    }
}

/// Rights to a frame that are being taken away: until this is dropped nobody announces a mapping of it.
pub(crate) struct Claim<'w, P: Platform> {
    word: &'w FrameWord,
    platform: PhantomData<fn() -> P>,
    /// What is taken away.
    pub(crate) what: MustRevoke,
    /// Whether mappings may have been announced, and not installed yet, when it began: no page table shows those.
    pub(crate) installing: bool,
}

impl<P: Platform> Drop for Claim<'_, P> {
    #[inline(never)]
    fn drop(&mut self) {
        ordered(P::UNIPROCESSOR, Ordering::AcqRel, |order| self.word.state.fetch_and(!REVOKING, order));
    }
}

/// A frame whose word this CPU has marked busy: nobody else changes anything but ends of uses and of revocations, until
/// [`commit`](Self::commit). The code is not preempted meanwhile.
pub(crate) struct Busy<'w, P: Platform> {
    word: &'w FrameWord,
    congruent: &'w Congruent<P>,
    before: Counted,
    after: Counted,
    /// Whether the end of this is the end of a revocation, too.
    revoked: bool,
}

/// A state, packed, and its transfers, for which the word may have no place.
#[derive(Clone, Copy)]
struct Counted {
    word: u32,
    transfers: u16,
}

impl Counted {
    /// What the other word has of the transfers.
    fn more(self) -> u32 {
        u32::from(self.transfers.max(MANY) - MANY) << MORE_TRANSFERS
    }
}

impl<P: Platform> Busy<'_, P> {
    /// The state when it was marked.
    pub(crate) fn before(&self) -> State {
        let Counted { word, transfers } = self.before;
        State { transfers, ..State::unpack(word, self.congruent.exact()) }
    }

    /// From here on, this is the state even if the change is given up.
    pub(crate) fn becomes(&mut self, after: &State) {
        self.after = Counted { word: after.pack(self.congruent.exact()), transfers: after.transfers };
    }

    /// Ends the change, and the revocation that it needed: the frame is in the state that it has become, less the uses that ended meanwhile.
    pub(crate) fn commit(mut self, claim: Option<Claim<'_, P>>) {
        if let Some(claim) = claim {
            self.revoked = true;
            core::mem::forget(claim);
        }
    }
}

/// A change given up, by an error or a panic of the kernel's own code, leaves the state as it was, or as it
/// [becomes](Busy::becomes).
impl<P: Platform> Drop for Busy<'_, P> {
    #[inline(never)]
    fn drop(&mut self) {
        self.word.end_busy::<P>(self.before, self.after, self.revoked);
        self.congruent.platform().end_busy();
    }
}

/// What the step needs of a frame whose word was this.
fn planned(word: u32, step: &dyn Step, rules: &Rules, plan: &mut Plan) -> Result<(), Refusal> {
    if word & BUSY != 0 {
        return Err(Refusal::Busy);
    }
    *plan = Plan::none(State::unpack(word, rules.exact()));
    step.plan(plan, rules)
}

impl FrameWord {
    /// A frame of which nothing is cached.
    #[must_use]
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { state: AtomicU32::new(0), more: AtomicU32::new(0) }
    }

    /// A frame of which nothing is cached.
    #[must_use]
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { state: AtomicU32::new(0), more: AtomicU32::new(0) }
    }

    /// A frame in this state, as a word for a geometry with `colours` colours.
    #[must_use]
    #[cfg(feature = "model")]
    pub fn with_state(state: State, colours: u32) -> Self {
        let state = state.pack(colours <= crate::state::EXACT_COLOURS);
        Self { state: AtomicU32::new(state), more: AtomicU32::new(0) }
    }

    /// The same, with so many holds.
    #[must_use]
    #[cfg(feature = "model")]
    pub fn with_holds(self, holds: u32) -> Self {
        self.more.store(holds, Ordering::Relaxed);
        self
    }

    /// The state, as a word for a geometry with `colours` colours. Other CPUs may have changed it when this returns.
    #[must_use]
    #[cfg(any(feature = "model", test))]
    pub fn state(&self, colours: u32) -> State {
        State::unpack(self.state.load(Ordering::Acquire), colours <= crate::state::EXACT_COLOURS)
    }

    pub(crate) fn load<P: Platform>(&self, exact: bool) -> State {
        State::unpack(ordered(P::UNIPROCESSOR, Ordering::Acquire, |order| self.state.load(order)), exact)
    }

    fn exchange<P: Platform>(&self, from: u32, to: u32) -> Result<u32, u32> {
        ordered(P::UNIPROCESSOR, Ordering::AcqRel, |order| self.state.compare_exchange_weak(from, to, order, Ordering::Relaxed))
    }

    /// User rights have gone by themselves: no mapping can store any more, or there is none. What was stored stays where it is, so this
    /// is a change of the word alone; while somebody uses the frame, or is at work on it, there is none.
    #[inline(never)]
    pub(crate) fn forget<P: Platform>(&self, gone: Gone) {
        let mut seen = self.state.load(Ordering::Relaxed);
        while seen & BUSY == 0 && seen >> USERS == 0 {
            let left = match (gone, seen >> MAPPINGS & 3) {
                // While a device writes it, users may have filled lines of it since it began: none of them is forgotten.
                (Gone::All, _) if seen >> TRANSFERS & u32::from(MANY) == 0 => 0,
                (_, STORES) => LOADS,
                (_, other) => other,
            };
            match self.exchange::<P>(seen, seen & !(3 << MAPPINGS) | left << MAPPINGS) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Takes the step if that needs nothing but to change the word: says whether it did, and what it takes in `plan`.
    ///
    /// # Errors
    /// What is refused.
    #[inline]
    pub(crate) fn attempt<P: Platform>(&self, step: &dyn Step, rules: &Rules, plan: &mut Plan) -> Result<bool, Refusal> {
        let mut seen = self.state.load(Ordering::Relaxed);
        loop {
            planned(seen, step, rules, plan)?;
            let counts = seen >> TRANSFERS & u32::from(MANY) == u32::from(MANY) && plan.after.transfers != MANY;
            if plan.revoke.is_some() || !plan.is_free() || counts {
                return Ok(false);
            }
            match self.exchange::<P>(seen, plan.after.pack(rules.exact())) {
                Ok(_) => return Ok(true),
                Err(now) => seen = now,
            }
        }
    }

    /// Says that rights are being taken away, if the step needs that.
    ///
    /// # Errors
    /// [`Refusal::Revoking`] if somebody else is at it; what is refused whatever is revoked.
    pub(crate) fn claim<P: Platform>(
        &self,
        step: &dyn Step,
        rules: &Rules,
        plan: &mut Plan,
    ) -> Result<Option<Claim<'_, P>>, Refusal> {
        let mut seen = self.state.load(Ordering::Relaxed);
        loop {
            planned(seen, step, rules, plan)?;
            let Some(what) = plan.revoke else { return Ok(None) };
            if seen & REVOKING != 0 {
                return Err(Refusal::Revoking);
            }
            let installing = !matches!(seen >> USERS, 0 | GIVEN_USERS);
            match self.exchange::<P>(seen, seen | REVOKING) {
                Ok(_) => return Ok(Some(Claim { word: self, platform: PhantomData, what, installing })),
                Err(now) => seen = now,
            }
        }
    }

    /// Marks the word busy.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if it is.
    pub(crate) fn seize<'w, P: Platform>(&'w self, congruent: &'w Congruent<P>) -> Result<Busy<'w, P>, Refusal> {
        congruent.platform().begin_busy();
        let before = ordered(P::UNIPROCESSOR, Ordering::AcqRel, |order| self.state.fetch_or(BUSY, order));
        if before & BUSY != 0 {
            congruent.platform().end_busy();
            return Err(Refusal::Busy);
        }
        let mut transfers = (before >> TRANSFERS) as u16 & MANY;
        if transfers == MANY {
            transfers += (self.more.load(Ordering::Relaxed) >> MORE_TRANSFERS) as u16;
        }
        let before = Counted { word: before, transfers };
        Ok(Busy { word: self, congruent, before, after: before, revoked: false })
    }

    /// The frame was busy and changed from one state to another. Uses may have ended meanwhile, and a revocation if it is not ours.
    fn end_busy<P: Platform>(&self, before: Counted, after: Counted, revoked: bool) {
        let more = after.more().wrapping_sub(before.more());
        if more != 0 {
            self.more.fetch_add(more, Ordering::Relaxed);
        }
        let (before, after) = (before.word, after.word);
        // Counted from what the word says now. They are the top of it, so nothing is carried away.
        let change = (after >> USERS).wrapping_sub(before >> USERS) << USERS;
        let kept = if revoked { 0 } else { REVOKING };
        let others = after & !(u32::MAX << USERS | REVOKING | BUSY);
        let mut now = self.state.load(Ordering::Relaxed);
        while let Err(other) = {
            debug_assert!(now & BUSY != 0);
            self.exchange::<P>(now, others | now & kept | (now & u32::MAX << USERS).wrapping_add(change))
        } {
            now = other;
        }
    }

    /// Ends one use.
    pub(crate) fn release<P: Platform>(&self) {
        let before = ordered(P::UNIPROCESSOR, Ordering::Release, |order| self.state.fetch_sub(ONE_USER, order));
        assert!(before >= ONE_USER, "a use of a frame ended that never began: its word was {before:#010x}");
    }

    /// Makes a use a hold. All holds together are one use: who makes the first keeps his for all of them, who ends the last ends it.
    pub(crate) fn hold<P: Platform>(&self) {
        let before = ordered(P::UNIPROCESSOR, Ordering::AcqRel, |order| self.more.fetch_add(1, order)) & HOLDS;
        assert!(before < HOLDS, "more than a million holds of one frame");
        if before > 0 {
            self.release::<P>();
        }
    }

    /// Whether there are holds.
    pub(crate) fn is_held(&self) -> bool {
        self.more.load(Ordering::Relaxed) & HOLDS > 0
    }

    /// Ends a hold.
    pub(crate) fn unhold<P: Platform>(&self) {
        if ordered(P::UNIPROCESSOR, Ordering::AcqRel, |order| self.more.fetch_sub(1, order)) & HOLDS == 1 {
            self.release::<P>();
        }
    }
}

impl Default for FrameWord {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FrameWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameWord({:#010x})", self.state.load(Ordering::Relaxed))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_packing() {
        for exact in [true, false] {
            let homes: &[u16] = if exact { &[0, 1, 7] } else { &[0, 9, 1023] };
            let masks: &[u8] = if exact { &[0, 1, 0x80, 0xff] } else { &[0, 1] };
            for &home in homes {
                for &held in masks {
                    for &stale in masks {
                        for flags in 0..64u32 {
                            for (transfers, users) in [(0, 0), (1, MAX_USERS), (3, 1)] {
                                let on = |bit: u32| flags & bit != 0;
                                let given = if on(4) && users == 0 { GIVEN } else { 0 };
                                let flags = FLAGS_OF[flags as usize & 3] | (flags & 31) << 21 & PACKED | given;
                                let state = State { flags, home, held, stale, transfers, users };
                                assert_eq!(State::unpack(state.pack(exact), exact), state);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_zeroed_word_is_an_uncached_frame() {
        assert_eq!(FrameWord::new().state(4), State::UNCACHED);
        assert_eq!(FrameWord::new().state(1024), State::UNCACHED);
    }
}
