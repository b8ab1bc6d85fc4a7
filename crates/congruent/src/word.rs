//! One atomic word per frame, which the kernel embeds in its own frame table: a [`State`], packed.
//!
//! Guaranteed: a change that needs no maintenance is one compare-and-swap; a change that needs some marks the word busy first, so
//! that nobody can use the frame in between, and no lock is ever waited for. While rights are taken away, which may take long, the
//! word is not busy. Not here: when to change what (`state.rs`).
//!
//! Only `AtomicU32` is used, which every target with atomics has (mipsel: `ll`/`sc`; ARMv6: `ldrex`/`strex`).

use core::fmt;

use crate::Congruent;
use crate::hardware::Platform;
use crate::state::{MAX_USERS, MustRevoke, Refusal, Rules, State, Step};
use crate::sync::{AtomicU32, Ordering};

/// What is known of one frame's copies. All zeros means that nothing of it is cached, so a zeroed table is right at boot:
/// [`Congruent::new`](crate::Congruent::new) empties the cache.
///
/// Two words of 32 bits: the state, in one, and counts that are seldom needed.
#[repr(C)]
pub struct FrameWord {
    state: AtomicU32,
    /// Holds, and above them the transfers that the state has no place for (changed by who has made the state busy).
    more: AtomicU32,
}

// From the top: users 4, transfers 2, five flags, two bits of mappings, then 19 bits of colours.
const USERS: u32 = 28;
const ONE_USER: u32 = 1 << USERS;
const TRANSFERS: u32 = 26;
const FETCHED: u32 = 1 << 25;
const BUSY: u32 = 1 << 24;
const REVOKING: u32 = 1 << 23;
const FETCHABLE: u32 = 1 << 22;
const DIRTY: u32 = 1 << 21;
const MAPPINGS: u32 = 19;

/// In the place of users: a frame that is given to the kernel has none.
const GIVEN: u32 = 15;

/// So many transfers or more: the rest is counted in the other word.
const MANY: u16 = 3;

const HOLDS: u32 = (1 << MORE_TRANSFERS) - 1;
const MORE_TRANSFERS: u32 = 20;

// What user mappings may be: none, of the home and for loads, of the home and for stores, of any colour and for loads.
const UNMAPPED: u32 = 0;
const READABLE: u32 = 1;
const WRITABLE: u32 = 2;
const SPREAD: u32 = 3;

// Exactly tracked: home 3, held 8, stale 8. Coarsely: home 10, held 1, stale 1.
const EXACT: [u32; 3] = [3, 8, 8];
const COARSE: [u32; 3] = [10, 1, 1];

const fn flag(set: bool, bit: u32) -> u32 {
    if set { bit } else { 0 }
}

impl State {
    fn pack(self, exact: bool) -> u32 {
        let [home, held, _] = if exact { EXACT } else { COARSE };
        debug_assert!(self.users <= MAX_USERS && u32::from(self.home) < 1 << home);
        debug_assert!(!self.given || self.users == 0, "{self:?}");
        debug_assert!(!(self.spread && self.writable) && (self.mapped || !(self.spread || self.writable)), "{self:?}");
        let mappings = match (self.mapped, self.writable, self.spread) {
            (false, ..) => UNMAPPED,
            (_, _, true) => SPREAD,
            (_, true, _) => WRITABLE,
            _ => READABLE,
        };
        u32::from(self.home)
            | u32::from(self.held) << home
            | u32::from(self.stale) << (home + held)
            | mappings << MAPPINGS
            | flag(self.dirty, DIRTY)
            | flag(self.fetchable, FETCHABLE)
            | flag(self.fetched, FETCHED)
            | flag(self.revoking, REVOKING)
            | flag(self.busy, BUSY)
            | u32::from(self.transfers.min(MANY)) << TRANSFERS
            | if self.given { GIVEN } else { u32::from(self.users) } << USERS
    }

    fn unpack(word: u32, exact: bool) -> Self {
        let [home, held, stale] = if exact { EXACT } else { COARSE };
        let field = |shift: u32, width: u32| word >> shift & ((1 << width) - 1);
        let mappings = field(MAPPINGS, 2);
        let users = field(USERS, 4);
        Self {
            home: field(0, home) as u16,
            held: field(home, held) as u8,
            stale: field(home + held, stale) as u8,
            dirty: word & DIRTY != 0,
            mapped: mappings != UNMAPPED,
            writable: mappings == WRITABLE,
            spread: mappings == SPREAD,
            fetchable: word & FETCHABLE != 0,
            fetched: word & FETCHED != 0,
            busy: word & BUSY != 0,
            revoking: word & REVOKING != 0,
            given: users == GIVEN,
            transfers: field(TRANSFERS, 2) as u16,
            users: if users == GIVEN { 0 } else { users as u8 },
        }
    }
}

/// Rights to a frame that are being taken away: until this is dropped nobody announces a mapping of it.
pub(crate) struct Claim<'w> {
    word: &'w FrameWord,
    exact: bool,
    /// What is taken away.
    pub(crate) what: MustRevoke,
    /// Whether mappings may have been announced, and not installed yet, when it began: no page table shows those.
    pub(crate) installing: bool,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.word.update(self.exact, |state| State { revoking: false, ..state });
    }
}

/// A frame whose word this CPU has marked busy: nobody else changes anything but ends of uses and of revocations, until
/// [`commit`](Self::commit). The code is not preempted meanwhile.
pub(crate) struct Busy<'w, P: Platform> {
    word: &'w FrameWord,
    congruent: &'w Congruent<P>,
    before: State,
    after: State,
    /// Whether the end of this is the end of a revocation, too.
    revoked: bool,
}

impl<P: Platform> Busy<'_, P> {
    /// The state when it was marked.
    pub(crate) const fn before(&self) -> State {
        State { busy: false, ..self.before }
    }

    /// From here on, this is the state even if the change is given up.
    pub(crate) const fn becomes(&mut self, after: State) {
        self.after = after;
    }

    /// Ends the change, and the revocation that it needed: the frame is in state `after`, less the uses that ended meanwhile.
    pub(crate) fn commit(mut self, after: State, claim: Option<Claim<'_>>) {
        self.after = after;
        if let Some(claim) = claim {
            self.revoked = true;
            core::mem::forget(claim);
        }
    }
}

/// A change given up, by an error or a panic of the kernel's own code, leaves the state as it was, or as it
/// [becomes](Busy::becomes).
impl<P: Platform> Drop for Busy<'_, P> {
    fn drop(&mut self) {
        let (after, added) = (self.after, i16::from(self.after.users) - i16::from(self.before.users));
        let more = |state: &State| u32::from(state.transfers.max(MANY) - MANY) << MORE_TRANSFERS;
        if more(&after) != more(&self.before) {
            self.word.more.fetch_add(more(&after).wrapping_sub(more(&self.before)), Ordering::Relaxed);
        }
        self.word.update(self.congruent.exact(), |now| {
            debug_assert!(now.busy);
            State { busy: false, revoking: now.revoking && !self.revoked, users: (i16::from(now.users) + added) as u8, ..after }
        });
        self.congruent.platform().end_busy();
    }
}

/// What came of trying to do with a change of the word alone.
pub(crate) enum Attempt {
    /// It was enough.
    Done(State),
    /// Maintenance is needed. The word has not changed.
    Maintain,
    /// User rights must go first. The word has not changed.
    Revoke,
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
        self.load(colours <= crate::state::EXACT_COLOURS)
    }

    pub(crate) fn load(&self, exact: bool) -> State {
        State::unpack(self.state.load(Ordering::Acquire), exact)
    }

    /// Changes the state by a transition that cannot fail.
    pub(crate) fn update(&self, exact: bool, change: impl Fn(State) -> State) {
        let mut seen = self.state.load(Ordering::Relaxed);
        loop {
            let wanted = change(State::unpack(seen, exact)).pack(exact);
            match self.state.compare_exchange_weak(seen, wanted, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Takes the step if that needs nothing but to change the word.
    ///
    /// # Errors
    /// What is refused.
    #[inline]
    pub(crate) fn attempt(&self, exact: bool, step: Step, rules: &Rules) -> Result<Attempt, Refusal> {
        let mut seen = self.state.load(Ordering::Relaxed);
        loop {
            let before = State::unpack(seen, exact);
            let plan = step.plan(before, rules)?;
            if step.revokes(&before, rules).is_some() {
                return Ok(Attempt::Revoke);
            }
            if !plan.is_free() || !step.fits(&before, MANY) {
                return Ok(Attempt::Maintain);
            }
            match self.state.compare_exchange_weak(seen, plan.after.pack(exact), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(Attempt::Done(plan.after)),
                Err(now) => seen = now,
            }
        }
    }

    /// Says that rights are being taken away, if the step needs that.
    ///
    /// # Errors
    /// [`Refusal::Revoking`] if somebody else is at it; what is refused whatever is revoked.
    pub(crate) fn claim(&self, exact: bool, step: Step, rules: &Rules) -> Result<Option<Claim<'_>>, Refusal> {
        let mut seen = self.state.load(Ordering::Relaxed);
        loop {
            let before = State::unpack(seen, exact);
            step.plan(before, rules)?;
            let Some(what) = step.revokes(&before, rules) else { return Ok(None) };
            if before.revoking {
                return Err(Refusal::Revoking);
            }
            match self.state.compare_exchange_weak(seen, seen | REVOKING, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(Some(Claim { word: self, exact, what, installing: before.users > 0 })),
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
        let before = self.state.fetch_or(BUSY, Ordering::AcqRel);
        if before & BUSY != 0 {
            congruent.platform().end_busy();
            return Err(Refusal::Busy);
        }
        let mut before = State::unpack(before, congruent.exact());
        if before.transfers == MANY {
            before.transfers += (self.more.load(Ordering::Relaxed) >> MORE_TRANSFERS) as u16;
        }
        Ok(Busy { word: self, congruent, before, after: before, revoked: false })
    }

    /// Ends one use.
    pub(crate) fn release(&self) {
        let before = self.state.fetch_sub(ONE_USER, Ordering::Release);
        assert!(before >= ONE_USER, "a use of a frame ended that never began: its word was {before:#010x}");
    }

    /// Makes a use a hold. All holds together are one use: who makes the first keeps his for all of them, who ends the last ends it.
    pub(crate) fn hold(&self) {
        let before = self.more.fetch_add(1, Ordering::AcqRel) & HOLDS;
        assert!(before < HOLDS, "more than a million holds of one frame");
        if before > 0 {
            self.release();
        }
    }

    /// Whether there are holds.
    pub(crate) fn is_held(&self) -> bool {
        self.more.load(Ordering::Relaxed) & HOLDS > 0
    }

    /// Ends a hold.
    pub(crate) fn unhold(&self) {
        if self.more.fetch_sub(1, Ordering::AcqRel) & HOLDS == 1 {
            self.release();
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
                                let mappings = flags & 3;
                                let state = State {
                                    home,
                                    held,
                                    stale,
                                    dirty: on(4),
                                    mapped: mappings != UNMAPPED,
                                    writable: mappings == WRITABLE,
                                    spread: mappings == SPREAD,
                                    fetchable: on(8),
                                    fetched: on(2),
                                    busy: on(16),
                                    revoking: on(32),
                                    given: on(4) && users == 0,
                                    transfers,
                                    users,
                                };
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
