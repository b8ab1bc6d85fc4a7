//! One atomic word per frame, which the kernel embeds in its own frame table: a [`State`], packed.
//!
//! Guaranteed: a change that needs no maintenance is one compare-and-swap; a change that needs some marks the word busy first, so
//! that nobody can use the frame in between, and no lock is ever waited for. Not here: when to change what (`state.rs`).
//!
//! Only `AtomicU32` is used, which every target with atomics has (mipsel: `ll`/`sc`; ARMv6: `ldrex`/`strex`).

use core::fmt;

use crate::state::{MAX_TRANSFERS, MAX_USERS, Plan, Refusal, State};
use crate::sync::{AtomicU32, Ordering};

/// What is known of one frame's copies. All zeros means that nothing of it is cached, so a zeroed table is right at boot:
/// [`Congruent::new`](crate::Congruent::new) empties the cache.
#[repr(transparent)]
pub struct FrameWord(AtomicU32);

// From the top: users 5, transfers 2, six flags, then 19 bits of colours.
const USERS: u32 = 27;
const ONE_USER: u32 = 1 << USERS;
const TRANSFERS: u32 = 25;
const BUSY: u32 = 1 << 24;
const FETCHABLE: u32 = 1 << 23;
const SPREAD: u32 = 1 << 22;
const WRITABLE: u32 = 1 << 21;
const MAPPED: u32 = 1 << 20;
const DIRTY: u32 = 1 << 19;

// Exactly tracked: home 3, held 8, stale 8. Coarsely: home 10, held 1, stale 1.
const EXACT: [u32; 3] = [3, 8, 8];
const COARSE: [u32; 3] = [10, 1, 1];

const fn flag(set: bool, bit: u32) -> u32 {
    if set { bit } else { 0 }
}

impl State {
    fn pack(self, exact: bool) -> u32 {
        let [home, held, _] = if exact { EXACT } else { COARSE };
        debug_assert!(self.users <= MAX_USERS && self.transfers <= MAX_TRANSFERS && u32::from(self.home) < 1 << home);
        u32::from(self.home)
            | u32::from(self.held) << home
            | u32::from(self.stale) << (home + held)
            | flag(self.dirty, DIRTY)
            | flag(self.mapped, MAPPED)
            | flag(self.writable, WRITABLE)
            | flag(self.spread, SPREAD)
            | flag(self.fetchable, FETCHABLE)
            | flag(self.busy, BUSY)
            | u32::from(self.transfers) << TRANSFERS
            | u32::from(self.users) << USERS
    }

    fn unpack(word: u32, exact: bool) -> Self {
        let [home, held, stale] = if exact { EXACT } else { COARSE };
        let field = |shift: u32, width: u32| word >> shift & ((1 << width) - 1);
        Self {
            home: field(0, home) as u16,
            held: field(home, held) as u8,
            stale: field(home + held, stale) as u8,
            dirty: word & DIRTY != 0,
            mapped: word & MAPPED != 0,
            writable: word & WRITABLE != 0,
            spread: word & SPREAD != 0,
            fetchable: word & FETCHABLE != 0,
            busy: word & BUSY != 0,
            transfers: field(TRANSFERS, 2) as u8,
            users: field(USERS, 5) as u8,
        }
    }
}

/// A frame whose word this CPU has marked busy: nobody else changes anything but ends of uses, until [`commit`](Self::commit).
pub(crate) struct Busy<'w> {
    word: &'w FrameWord,
    exact: bool,
    before: State,
}

impl Busy<'_> {
    /// Ends the change: the frame is in state `after`, less the uses that ended meanwhile.
    pub(crate) fn commit(self, after: State) {
        let (word, exact, added) = (self.word, self.exact, i16::from(after.users) - i16::from(self.before.users));
        core::mem::forget(self);
        word.update(exact, |now| {
            debug_assert!(now.busy);
            State { busy: false, users: (i16::from(now.users) + added) as u8, ..after }
        });
    }
}

/// A change given up, by an error or a panic of the kernel's own code, leaves the state as it was.
impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let before = self.before;
        self.word.update(self.exact, |now| State { busy: false, users: now.users, ..before });
    }
}

/// What [`FrameWord::change`] found.
pub(crate) enum Change<'w> {
    /// No maintenance was needed; the word has changed.
    Done(State),
    /// Something has to be done first; the word is busy meanwhile.
    Slow(Busy<'w>, State),
}

impl FrameWord {
    /// A frame of which nothing is cached.
    #[must_use]
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// A frame of which nothing is cached.
    #[must_use]
    #[cfg(loom)]
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// A frame in this state, as a word for a geometry with `colours` colours: for a frame that is known to be cached at boot,
    /// and for tests.
    #[must_use]
    pub fn with_state(state: State, colours: u32) -> Self {
        Self(AtomicU32::new(state.pack(colours <= crate::state::EXACT_COLOURS)))
    }

    /// The state, as a word for a geometry with `colours` colours. Other CPUs may have changed it when this returns.
    #[must_use]
    pub fn state(&self, colours: u32) -> State {
        self.load(colours <= crate::state::EXACT_COLOURS)
    }

    pub(crate) fn load(&self, exact: bool) -> State {
        State::unpack(self.0.load(Ordering::Acquire), exact)
    }

    /// Changes the state by a transition that cannot fail.
    pub(crate) fn update(&self, exact: bool, change: impl Fn(State) -> State) {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let wanted = change(State::unpack(seen, exact)).pack(exact);
            match self.0.compare_exchange_weak(seen, wanted, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Changes the state by the transition `plan` if that needs nothing else; marks the word busy otherwise. `revokes` says
    /// whether user rights must go first.
    ///
    /// # Errors
    /// What `plan` refuses; the word has not changed then.
    pub(crate) fn change(
        &self,
        exact: bool,
        revokes: impl Fn(&State) -> bool,
        plan: impl Fn(State) -> Result<Plan, Refusal>,
    ) -> Result<Change<'_>, Refusal> {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let before = State::unpack(seen, exact);
            let plan = plan(before)?;
            let free = plan.is_free() && !revokes(&before);
            let wanted = if free { plan.after } else { State { busy: true, ..before } };
            match self.0.compare_exchange_weak(seen, wanted.pack(exact), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if free => return Ok(Change::Done(wanted)),
                Ok(_) => return Ok(Change::Slow(Busy { word: self, exact, before }, before)),
                Err(now) => seen = now,
            }
        }
    }

    /// Ends one use.
    pub(crate) fn release(&self) {
        let before = self.0.fetch_sub(ONE_USER, Ordering::Release);
        assert!(before >= ONE_USER, "a use of a frame ended that never began: its word was {before:#010x}");
    }
}

impl Default for FrameWord {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FrameWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameWord({:#010x})", self.0.load(Ordering::Relaxed))
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
                            for (transfers, users) in [(0, 0), (1, 31), (3, 1)] {
                                let on = |bit: u32| flags & bit != 0;
                                let state = State {
                                    home,
                                    held,
                                    stale,
                                    dirty: on(1),
                                    mapped: on(2),
                                    writable: on(4),
                                    spread: on(8),
                                    fetchable: on(16),
                                    busy: on(32),
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
