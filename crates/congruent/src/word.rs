//! One atomic word per frame, which the kernel embeds in its own frame table: a [`State`], packed, and two counts beside it.
//!
//! Guaranteed: a change that needs no maintenance is one compare-and-swap; a change that needs some marks the word busy first, so
//! that nobody can use the frame in between, and no lock is ever waited for. While rights are taken away, which may take long, the
//! word is not busy. The counts have no end that could be reached. Not here: when to change what (`state.rs`).
//!
//! Where there is one CPU ([`Platform::UNIPROCESSOR`]), no operation costs a barrier.
//!
//! Only atomics of 32 bits and of a pointer's size are used, which every target with atomics has (mipsel: `ll`/`sc`; ARMv6:
//! `ldrex`/`strex`).

use core::fmt;
use core::marker::PhantomData;

use crate::hardware::Platform;
use crate::state::{Refusal, State, BUSY, GIVEN, LOADS, MANY, MAPPINGS, ONE_USER, REVOKING, STORES, TRANSFERS, USERS};
use crate::sync::{ordered, send_out, AtomicU32, AtomicUsize, Ordering};
use crate::Congruent;

/// What is known of one frame's copies. All zeros means that nothing of it is cached, so a zeroed table is right at boot:
/// [`Congruent::new`](crate::Congruent::new) empties the cache.
///
/// 12 bytes, 16 where pointers have 64 bits: the state, in 32 bits, and counts that are seldom needed.
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
    /// The transfers that the state has no place for. Changed by who has made the state busy. Each has a name that the kernel keeps: as
    /// many as this can count take 64 GB.
    transfers: AtomicU32,
    /// Holds, and guards that are counted with them. Each is remembered somewhere, in a byte at least.
    holds: AtomicUsize,
}

/// Which rights of users have gone.
#[derive(Clone, Copy)]
pub(crate) enum Gone {
    /// All to store.
    Writes,
    /// All.
    All,
}

/// Rights to a frame that are being taken away: until this is dropped nobody announces a mapping of it.
pub(crate) struct Claim<'w, P: Platform> {
    word: &'w FrameWord,
    platform: PhantomData<fn() -> P>,
}

impl<'w, P: Platform> Claim<'w, P> {
    /// For what a word says that has been [advanced](FrameWord::advance) to [`REVOKING`].
    pub(crate) const fn new(word: &'w FrameWord) -> Self {
        Self { word, platform: PhantomData }
    }
}

/// Whether mappings may have been announced, and not installed yet, when the word said this: no page table shows those.
pub(crate) const fn is_installing(seen: u32) -> bool {
    !matches!(seen >> USERS, 0 | GIVEN)
}

impl<P: Platform> Drop for Claim<'_, P> {
    #[inline(never)]
    fn drop(&mut self) {
        ordered(P::UNIPROCESSOR, Ordering::AcqRel, |order| self.word.state.fetch_and(!REVOKING, order));
    }
}

/// A frame whose word this CPU has marked busy: nobody else changes anything but ends of uses and of revocations, until this is dropped.
/// The code is not preempted meanwhile.
pub(crate) struct Busy<'w, P: Platform> {
    word: &'w FrameWord,
    congruent: &'w Congruent<P>,
    /// What is added to the guards that there are when this is dropped; also if the change is given up by an error or a panic of the
    /// kernel's own code.
    after: u32,
    /// Transfers that are counted beside the word by then, and were not.
    more: u32,
    /// Whether the end of this is the end of a revocation, too.
    pub(crate) revoked: bool,
}

impl<P: Platform> Busy<'_, P> {
    /// What the frame is left as when this is dropped, less the uses that end meanwhile. Without this, as it was.
    #[inline]
    pub(crate) fn leave(&mut self, before: &State, after: &State) {
        // Guards are the top of the word, so nothing is carried away.
        self.after = after.pack().wrapping_sub(before.guards()) & !(REVOKING | BUSY);
        self.more = after.beyond().wrapping_sub(before.beyond());
    }
}

impl<P: Platform> Drop for Busy<'_, P> {
    #[inline(never)]
    fn drop(&mut self) {
        self.word.end_busy::<P>(self.after, self.more, self.revoked);
        self.congruent.platform().end_busy();
    }
}

impl FrameWord {
    /// A frame of which nothing is cached.
    #[must_use]
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { state: AtomicU32::new(0), transfers: AtomicU32::new(0), holds: AtomicUsize::new(0) }
    }

    /// A frame of which nothing is cached.
    #[must_use]
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { state: AtomicU32::new(0), transfers: AtomicU32::new(0), holds: AtomicUsize::new(0) }
    }

    /// A frame in this state.
    #[must_use]
    #[cfg(feature = "model")]
    pub fn with_state(state: State) -> Self {
        let word = Self::new();
        word.state.store(state.pack(), Ordering::Relaxed);
        word
    }

    /// The same, with so many holds.
    #[must_use]
    #[cfg(feature = "model")]
    pub fn with_holds(self, holds: usize) -> Self {
        self.holds.store(holds, Ordering::Relaxed);
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

    /// What it says now.
    #[inline]
    pub(crate) fn peek(&self) -> u32 {
        self.state.load(Ordering::Relaxed)
    }

    /// Goes on from what the word said, if it still does.
    ///
    /// # Errors
    /// What the word says now.
    #[inline]
    pub(crate) fn advance<P: Platform>(&self, seen: u32, next: u32) -> Result<(), u32> {
        if next == seen {
            // What changes nothing needs no store: nobody could tell a word that was swapped for itself from one that was not. But what
            // this CPU has stored before goes out as ever: kernel code that says once more that it has stored changes nothing here.
            send_out(P::UNIPROCESSOR);
            if ordered(P::UNIPROCESSOR, Ordering::Acquire, |order| self.state.load(order)) == seen {
                return Ok(());
            }
        }
        self.exchange::<P>(seen, next).map(|_| ())
    }

    /// Marks the word busy, and says what the state was.
    ///
    /// # Errors
    /// [`Refusal::Busy`] if it is.
    pub(crate) fn seize<'w, P: Platform>(&'w self, congruent: &'w Congruent<P>) -> Result<(Busy<'w, P>, State), Refusal> {
        congruent.platform().begin_busy();
        let seen = ordered(P::UNIPROCESSOR, Ordering::AcqRel, |order| self.state.fetch_or(BUSY, order));
        if seen & BUSY != 0 {
            congruent.platform().end_busy();
            return Err(Refusal::Busy);
        }
        let before = State::unpack(seen, congruent.rules.exact);
        let before = before.with_beyond(before.has_many() && self.transfers.load(Ordering::Relaxed) > 0);
        let mut busy = Busy { word: self, congruent, after: 0, more: 0, revoked: false };
        busy.leave(&before, &before);
        Ok((busy, before))
    }

    /// The frame was busy and changed from one state to another. Uses may have ended meanwhile, and a revocation if it is not ours.
    fn end_busy<P: Platform>(&self, after: u32, more: u32, revoked: bool) {
        if more != 0 {
            self.transfers.fetch_add(more, Ordering::Relaxed);
        }
        let kept = u32::MAX << USERS | if revoked { 0 } else { REVOKING };
        let mut now = self.state.load(Ordering::Relaxed);
        while let Err(other) = {
            debug_assert!(now & BUSY != 0);
            self.exchange::<P>(now, after.wrapping_add(now & kept))
        } {
            now = other;
        }
    }

    /// Ends one use.
    fn release<P: Platform>(&self) {
        let before = ordered(P::UNIPROCESSOR, Ordering::Release, |order| self.state.fetch_sub(ONE_USER, order));
        assert!(before >= ONE_USER, "a use of a frame ended that never began: its word was {before:#010x}");
    }

    /// Makes a use a hold. All holds together are one use: who makes the first keeps his for all of them, who ends the last ends it.
    #[inline(never)]
    pub(crate) fn hold<P: Platform>(&self) {
        if ordered(P::UNIPROCESSOR, Ordering::AcqRel, |order| self.holds.fetch_add(1, order)) > 0 {
            self.release::<P>();
        }
    }

    /// Whether there are holds.
    pub(crate) fn is_held(&self) -> bool {
        self.holds.load(Ordering::Relaxed) > 0
    }

    /// Ends a use, or a hold.
    #[inline(never)]
    pub(crate) fn end<P: Platform>(&self, is_hold: bool) {
        if !is_hold || ordered(P::UNIPROCESSOR, Ordering::AcqRel, |order| self.holds.fetch_sub(1, order)) == 1 {
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
    fn a_word_is_as_large_as_the_documentation_says() {
        assert_eq!(size_of::<FrameWord>(), 8 + size_of::<usize>());
    }

    #[test]
    fn a_zeroed_word_is_an_uncached_frame() {
        assert_eq!(FrameWord::new().state(4), State::UNCACHED);
        assert_eq!(FrameWord::new().state(1024), State::UNCACHED);
    }
}
