//! What is known of one frame's copies, and the pure transitions between such states: the rules of the library, all of them.
//!
//! The idea in one sentence: *a colour is to a frame what a processor is to a line of a coherence directory.* At most one colour,
//! the *home*, may hold dirty lines; any number may hold clean copies; copies that a write elsewhere made old are remembered and
//! dropped only when somebody is about to read through them. Every transition returns the maintenance it needs, at most two
//! operations, and no operation that could be left out.
//!
//! Guaranteed, and proved by `tests/closure.rs` over every reachable state: a frame driven through these transitions never hands
//! out old bytes, and every operation that they ask for is necessary in some continuation. Not here: atomicity
//! ([`crate::FrameWord`]), addresses, hardware.
//!
//! Sources: Wheeler and Bershad, "Consistency management for virtually indexed caches" (ASPLOS 1992), for the four states of a
//! copy (empty, present, dirty, stale); Linux `Documentation/core-api/cachetlb.rst` for the places a kernel needs them.

mod bits;
mod device;
mod notice;
mod step;

pub(crate) use bits::{BUSY, GIVEN, LOADS, MANY, MAPPINGS, ONE_USER, REVOKING, STORES, TRANSFERS, USERS};
pub(crate) use step::{Access, DeviceWrites, DeviceWrote, Fetch, Give, Map, Place, Step};

/// The most colours whose copies are tracked one by one. Geometries with more are tracked coarsely: one colour at a time may
/// hold copies.
pub const EXACT_COLOURS: u32 = 8;

/// The most guards (windows, mappings being installed) that a word has place for.
pub(crate) const MAX_USERS: u16 = 14;

/// What a transition needs to know of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Whether more than one colour may hold copies at a time ([`EXACT_COLOURS`]).
    pub exact: bool,
    /// Whether stores stay in the cache until written back. A write-through cache (sparc64 sun4u, US-I/II User's Manual, "Data
    /// Cache") never holds dirty lines, only old copies.
    pub write_back: bool,
    /// Whether the core may fill lines without being asked, through any mapping that exists: a user's, the permanent one, a window
    /// while it is open, be it only for maintenance.
    pub speculative: bool,
    /// Whether fetches see what is dirty in the data cache.
    pub fetches_see_data: bool,
}

/// How a frame is about to be accessed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum AccessKind {
    /// Loads only.
    Read,
    /// Loads and stores, to any part.
    Write,
    /// What the frame holds is dead: every byte is stored before it is loaded. What was dirty elsewhere may be discarded, and an old
    /// copy stored over, if nobody sees the frame in between ([`Plan::licence`]). Users who may stay have neither: they read the
    /// newest bytes, at colours that hold no old ones.
    Overwrite,
}

impl AccessKind {
    /// Whether bytes are stored.
    #[must_use]
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Read)
    }
}

/// What a maintenance operation does to the lines that it covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Maintenance {
    /// Dirty bytes go to memory; the copy stays.
    WriteBack,
    /// The copy is dropped; dirty bytes are discarded.
    Invalidate,
    /// Dirty bytes go to memory, then the copy is dropped.
    WriteBackInvalidate,
}

/// One maintenance operation on the lines of a frame that one colour selects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Op {
    /// What is done.
    pub maintenance: Maintenance,
    /// Through which colour, as a number.
    pub colour: u16,
}

impl Op {
    const fn new(maintenance: Maintenance, colour: u16) -> Option<Self> {
        Some(Self { maintenance, colour })
    }
}

/// User rights that must go before a transition is possible.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum MustRevoke {
    /// Every user mapping of the frame becomes read-only.
    Writes,
    /// Every user mapping at another colour than this goes.
    AllBut(u16),
}

/// Why a transition is not possible now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Refusal {
    /// Another CPU, or the code that this interrupt came from, is doing maintenance on the frame.
    Busy,
    /// Somebody is taking user rights to the frame away.
    Revoking,
    /// The frame is in use through its home colour, and was asked for through another one.
    InUse,
    /// A device is writing the frame.
    Device,
    /// The frame belongs to kernel code that knows its permanent address only.
    Kernel,
    /// More guards than the word has place for.
    Full,
}

/// What is known of one frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct State {
    /// Most of it, as it stands in the word (`bits.rs`).
    bits: u32,
    /// The home, and above it transfers that are counted beside the word. One with the other, so that there are two registers, and
    /// compilers move a state by these, in memory too: what is stored in parts and loaded as a whole is waited for.
    rest: u32,
}

/// What a transition needs: rights that go first, then maintenance, in this order; and the state after it. A transition is given one in
/// which nothing is needed and the state is the one before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Which user rights must go before it is possible, if any. The rest is what it takes when they have gone.
    pub revoke: Option<MustRevoke>,
    /// The operation on the data side that comes first, and has reached memory before the second begins.
    pub first: Option<Op>,
    /// The one after it. There may be a second without a first.
    pub second: Option<Op>,
    /// Colours that are invalidated besides, one bit each, in any order.
    pub also_invalidate: u8,
    /// Whether the instruction side must then drop what it holds of the frame.
    pub drop_instructions: bool,
    /// Whether what is discarded, or left old in the cache, is so only because every byte is stored next: until that has happened
    /// the frame stays busy, or another reader would get what its former owner left in memory.
    pub licence: bool,
    /// The state when they are done.
    pub after: State,
    /// The colour of the frame's permanent kernel mapping, if a core that speculates may fill lines through it.
    pub permanent: Option<u16>,
}

impl Plan {
    #[inline]
    pub(crate) const fn none(after: State, permanent: Option<u16>) -> Self {
        Self {
            revoke: None,
            first: None,
            second: None,
            also_invalidate: 0,
            drop_instructions: false,
            licence: false,
            after,
            permanent,
        }
    }

    /// The word that can follow at once on what it said before: after what needs nothing but to change the word; or that says, if rights
    /// have to be taken away, that they are being.
    #[inline]
    pub(crate) fn at_once(&self, seen: u32, before: &State) -> Option<u32> {
        if self.revoke.is_some() {
            return Some(seen | REVOKING);
        }
        // All at once: it is nearly always so.
        let is_free =
            self.first.is_none() & self.second.is_none() & (self.also_invalidate == 0) & !self.drop_instructions & !self.licence;
        // Whether a transfer that begins or ends is counted beside the word.
        let counts = before.has_many() && self.after.counts_other_transfers(before);
        if is_free & !counts {
            Some(self.after.pack())
        } else {
            None
        }
    }
}

impl Plan {
    /// Access through `colour`, by a guard that counts as a user until it ends.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn access(&mut self, colour: u16, kind: AccessKind, rules: &Rules) -> Result<(), Refusal> {
        // A copy, which stays in registers.
        let mut state = self.after;
        if state.given() {
            return Err(Refusal::Kernel);
        }
        if state.is_transferred() {
            return Err(Refusal::Device);
        }
        if state.stays() && colour != state.home() {
            return Err(Refusal::InUse);
        }
        if state.users() >= MAX_USERS {
            return Err(Refusal::Full);
        }
        if colour != state.home() {
            self.leave_home(&mut state, colour, kind, rules);
            state.set_home(colour);
        } else if kind.writes() && state.spread() {
            self.revoke = Some(MustRevoke::AllBut(colour));
        }
        let own = state.own_bit(rules);
        if state.stale() & own != 0 {
            state.drop_stale(own);
            // An overwriter never sees its old copy: every byte of it is stored first.
            if kind == AccessKind::Overwrite {
                self.licence = true;
            } else {
                self.second = Op::new(Maintenance::Invalidate, colour);
            }
        }
        state.add_held(own);
        if kind.writes() {
            state.set_dirty(rules.write_back);
            state.set_fetchable(false);
            state.add_stale(state.held() & !own);
            state.may_fill(self.permanent, rules);
        }
        state.add_user();
        self.after = state;
        Ok(())
    }

    /// The newest bytes leave the home for memory (or are given up), so that another colour can become the home. User rights that
    /// contradict the access go first; once is enough.
    #[inline]
    fn leave_home(&mut self, state: &mut State, colour: u16, kind: AccessKind, rules: &Rules) {
        // Coarse tracking cannot remember a second colour, so the first keeps nothing.
        let shares = kind == AccessKind::Read && rules.exact;
        // A core that speculates may fill the emptied lines again, through the very window in which they are being emptied. So they
        // are emptied when somebody comes back to them.
        let keeps_copy = shares || rules.speculative;
        let maintenance = if state.dirty() {
            if kind == AccessKind::Overwrite {
                self.licence = true;
                Some(Maintenance::Invalidate)
            } else if keeps_copy {
                Some(Maintenance::WriteBack)
            } else {
                Some(Maintenance::WriteBackInvalidate)
            }
        } else if !rules.exact && state.held() != 0 && !keeps_copy {
            Some(Maintenance::Invalidate)
        } else {
            None
        };
        if let Some(maintenance) = maintenance {
            self.first = Op::new(maintenance, state.home());
            if !keeps_copy {
                // The writer that comes makes old what is held.
                state.drop_held(state.own_bit(rules));
            }
        }
        state.set_dirty(false);
        if !rules.exact {
            // What it held when it was last the home is forgotten; a core that does not speculate was made to drop it.
            let may_hold = u8::from(rules.speculative);
            state.drop_held(1);
            state.add_held(may_hold);
            state.drop_stale(1);
            state.add_stale(may_hold);
        }
        if state.mapped() {
            if !shares {
                self.revoke = Some(MustRevoke::AllBut(colour));
                // It has had every other mapping revoked.
                state.gather();
            } else {
                if state.writable() {
                    self.revoke = Some(MustRevoke::Writes);
                }
                state.spread_out();
            }
        }
    }
}

impl State {
    /// A frame of which nothing is cached: what an all-zero word means.
    #[cfg(any(feature = "model", test))]
    pub const UNCACHED: Self = Self { bits: 0, rest: 0 };

    /// A frame that colour 0 alone may hold, with dirty lines.
    #[cfg(any(feature = "model", test))]
    pub const DIRTY_AT_0: Self = Self { bits: bits::DIRTY | 1 << bits::HELD, ..Self::UNCACHED };

    /// The bit of a colour in `held` and `stale`; none if coarse tracking has no place for it.
    const fn bit(&self, colour: u16, rules: &Rules) -> u8 {
        if rules.exact {
            1 << colour
        } else if colour == self.home() {
            1
        } else {
            0
        }
    }

    /// The bit of the home.
    const fn own_bit(&self, rules: &Rules) -> u8 {
        // Without a branch: it is asked for all the time.
        1 << (self.home() & if rules.exact { 7 } else { 0 })
    }

    /// User rights are gone; `remaining` says whether any user mapping is left.
    pub fn revoked(&mut self, what: MustRevoke, remaining: bool) {
        // A mapping that was announced and is being installed is a use, and no page table shows it yet. Users of a frame that a
        // device is writing may have filled lines of it before they went.
        if !(remaining || self.stays() || self.is_transferred()) {
            self.unmap();
        }
        match what {
            MustRevoke::Writes => self.write_protect(),
            MustRevoke::AllBut(colour) if colour == self.home() => self.gather(),
            // What is left is of a colour that was to be the home; a reader may have taken the frame elsewhere meanwhile.
            MustRevoke::AllBut(_) => self.spread_out(),
        }
    }

    /// A user mapping of the home colour has been prepared for.
    #[must_use]
    pub fn with_mapping(mut self, writable: bool) -> Self {
        self.map(writable);
        self
    }

    /// A user maps a frame in which the kernel stores at the permanent address: at that colour, or not at all. No use is counted, for
    /// the frame cannot move anyway.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub const fn shared(self, colour: u16) -> Result<(), Refusal> {
        if self.is_transferred() {
            Err(Refusal::Device)
        } else if colour != self.home() {
            Err(Refusal::Kernel)
        } else {
            Ok(())
        }
    }

    /// Kernel code gets the frame, whose bytes are dead, at its permanent address of this colour.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn give(self, linear: u16, rules: &Rules, plan: &mut Plan) -> Result<(), Refusal> {
        plan.access(linear, AccessKind::Overwrite, rules)?;
        if self.stays() {
            return Err(Refusal::InUse);
        }
        plan.after.give_away();
        // Nobody else reads it from now on, so its new owner may store whenever he likes.
        plan.licence = false;
        Ok(())
    }

    /// Kernel code has returned the frame, with what it stored.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn returned(mut self) -> Result<Self, Refusal> {
        if self.is_transferred() {
            // What the kernel has in the cache of what a device writes is known from the state's being given.
            Err(Refusal::Device)
        } else {
            self.take_back();
            Ok(self)
        }
    }

    /// The frame is free: its bytes are dead and nobody maps it. What is cached of it stays known, for its next owner.
    ///
    /// # Errors
    /// [`Refusal`] if it is still in use; nothing has changed then.
    pub fn freed(mut self) -> Result<Self, Refusal> {
        if self.is_transferred() {
            return Err(Refusal::Device);
        }
        if self.users() > 0 {
            return Err(Refusal::InUse);
        }
        self.unmap();
        self.take_back();
        self.set_fetchable(false);
        Ok(self)
    }
}
