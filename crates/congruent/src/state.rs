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

mod device;
mod flags;
mod notice;
mod step;

pub(crate) use flags::{BUSY, GIVEN, MAPPED, PACKED, REVOKING, SPREAD, WRITABLE};
pub(crate) use step::{Access, DeviceWrites, DeviceWrote, Give, Map, Place, Step};

/// The most colours whose copies are tracked one by one. Geometries with more are tracked coarsely: one colour at a time may
/// hold copies.
pub const EXACT_COLOURS: u32 = 8;

/// The most guards (windows, mappings being installed) that one frame can have at a time. All [holds](crate::Hold) together are
/// one.
pub const MAX_USERS: u16 = 14;

/// The most device-to-memory transfers that one frame can have at a time: more than it has bytes, with pages of 4 KiB.
pub const MAX_TRANSFERS: u16 = 4098;

/// What a transition needs to know of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// How many colours the geometry has.
    pub colours: u16,
    /// Whether stores stay in the cache until written back. A write-through cache (sparc64 sun4u, US-I/II User's Manual, "Data
    /// Cache") never holds dirty lines, only old copies.
    pub write_back: bool,
    /// Whether the core may fill lines without being asked, through any mapping that exists: a user's, the permanent one, a window
    /// while it is open, be it only for maintenance.
    pub speculative: bool,
    /// The colour of the frame's permanent kernel mapping, if it has one.
    pub linear: Option<u16>,
    /// Whether fetches see what is dirty in the data cache.
    pub fetches_see_data: bool,
}

impl Rules {
    /// Whether more than one colour may hold copies at a time.
    #[must_use]
    #[inline]
    pub const fn exact(&self) -> bool {
        self.colours as u32 <= EXACT_COLOURS
    }
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
    /// The counters of the word are full ([`MAX_USERS`], [`MAX_TRANSFERS`]).
    Full,
}

/// What is known of one frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(C)]
pub struct State {
    /// What is either so or not (`flags.rs`).
    pub(crate) flags: u32,
    /// The colour through which the frame was accessed last, as a number: the only one that may hold dirty lines.
    pub home: u16,
    /// Colours that may hold a copy, one bit each (coarsely tracked: bit 0 is the home).
    pub held: u8,
    /// Those whose copy may be older than the newest bytes. Never the home while it is dirty.
    pub stale: u8,
    /// Device-to-memory transfers that are going on.
    pub transfers: u16,
    /// Guards that exist: all of them access the frame through the home colour.
    pub users: u16,
}

#[cfg(any(test, feature = "model"))]
impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { home, held, stale, transfers, users, .. } = self;
        write!(f, "home {home}, held {held:#b}, stale {stale:#b}, {transfers} transfers, {users} users")?;
        self.flags().try_for_each(|flag| write!(f, ", {flag}"))
    }
}

/// What a transition needs: rights that go first, then maintenance, in this order; and the state after it. A transition is given one in
/// which nothing is needed and the state is the one before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Which user rights must go before it is possible, if any. The rest is what it takes when they have gone.
    pub revoke: Option<MustRevoke>,
    /// The operations on the data side. The second must not begin before the first has reached memory.
    pub ops: [Option<Op>; 2],
    /// Colours that are invalidated besides, one bit each, in any order.
    pub also_invalidate: u8,
    /// Whether the instruction side must then drop what it holds of the frame.
    pub drop_instructions: bool,
    /// Whether what is discarded, or left old in the cache, is so only because every byte is stored next: until that has happened
    /// the frame stays busy, or another reader would get what its former owner left in memory.
    pub licence: bool,
    /// The state when they are done.
    pub after: State,
}

impl Plan {
    pub(crate) const fn none(after: State) -> Self {
        Self { revoke: None, ops: [None; 2], also_invalidate: 0, drop_instructions: false, licence: false, after }
    }

    #[inline(never)]
    fn push(&mut self, maintenance: Maintenance, colour: u16) {
        let free = if self.ops[0].is_none() { 0 } else { 1 };
        self.ops[free] = Some(Op { maintenance, colour });
    }

    /// Whether there is nothing to do but to change the state.
    #[must_use]
    #[inline]
    pub const fn is_free(&self) -> bool {
        self.ops[0].is_none() && self.also_invalidate == 0 && !self.drop_instructions && !self.licence
    }
}

impl State {
    /// A frame of which nothing is cached: what an all-zero word means.
    #[cfg(any(feature = "model", test))]
    pub const UNCACHED: Self = Self { flags: 0, home: 0, held: 0, stale: 0, transfers: 0, users: 0 };

    /// A frame that colour 0 alone may hold, with dirty lines.
    #[cfg(any(feature = "model", test))]
    pub const DIRTY_AT_0: Self = Self { flags: flags::DIRTY, held: 1, ..Self::UNCACHED };

    /// The bit of a colour in `held` and `stale`; none if coarse tracking has no place for it.
    const fn bit(&self, colour: u16, rules: &Rules) -> u8 {
        if rules.exact() {
            1 << colour
        } else if colour == self.home {
            1
        } else {
            0
        }
    }

    /// Which user rights must be revoked before [`access`](Self::access) is possible, if any. Once is enough.
    #[must_use]
    pub const fn before_access(&self, colour: u16, kind: AccessKind, rules: &Rules) -> Option<MustRevoke> {
        let moves = colour != self.home;
        if !self.mapped() || !(moves || self.spread()) {
            None
        } else if kind.writes() || (moves && !rules.exact()) {
            Some(MustRevoke::AllBut(colour))
        } else if moves && self.writable() {
            Some(MustRevoke::Writes)
        } else {
            None
        }
    }

    /// User rights are gone; `remaining` says whether any user mapping is left.
    pub fn revoked(&mut self, what: MustRevoke, remaining: bool) {
        // A mapping that was announced and is being installed is a use, and no page table shows it yet. Users of a frame that a
        // device is writing may have filled lines of it before they went.
        self.set_mapped(self.mapped() && (remaining || self.users > 0 || self.given() || self.transfers > 0));
        match what {
            MustRevoke::Writes => self.set_writable(false),
            MustRevoke::AllBut(colour) => {
                // What is left is of `colour`. That was to be the home; a reader may have taken the frame elsewhere meanwhile.
                self.set_writable(self.writable() && colour == self.home);
                self.set_spread(colour != self.home);
            }
        }
        self.set_writable(self.writable() && self.mapped());
        self.set_spread(self.spread() && self.mapped());
    }

    /// Access through `colour`, by a guard that counts as a user until it ends.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn access(self, colour: u16, kind: AccessKind, rules: &Rules, plan: &mut Plan) -> Result<(), Refusal> {
        if self.given() {
            return Err(Refusal::Kernel);
        }
        if self.transfers > 0 {
            return Err(Refusal::Device);
        }
        if self.users > 0 && colour != self.home {
            return Err(Refusal::InUse);
        }
        if self.users >= MAX_USERS {
            return Err(Refusal::Full);
        }
        plan.revoke = self.before_access(colour, kind, rules);
        if colour != self.home {
            self.leave_home(kind, rules, plan);
        }
        let state = &mut plan.after;
        state.home = colour;
        let own = state.bit(colour, rules);
        if state.stale & own != 0 {
            state.stale &= !own;
            // An overwriter never sees its old copy: every byte of it is stored first.
            if kind == AccessKind::Overwrite {
                plan.licence = true;
            } else {
                plan.push(Maintenance::Invalidate, colour);
            }
        }
        let state = &mut plan.after;
        state.held |= own;
        if kind.writes() {
            state.set_dirty(rules.write_back);
            state.set_fetchable(false);
            state.stale |= state.held & !own;
            state.may_fill_permanent(rules);
        }
        state.users += 1;
        Ok(())
    }

    /// The newest bytes leave the home for memory (or are given up), so that another colour can become the home.
    fn leave_home(self, kind: AccessKind, rules: &Rules, plan: &mut Plan) {
        let home = self.home;
        // Coarse tracking cannot remember a second colour, so the first keeps nothing.
        let shares = kind == AccessKind::Read && rules.exact();
        // A core that speculates may fill the emptied lines again, through the very window in which they are being emptied. So they
        // are emptied when somebody comes back to them.
        let keeps_copy = shares || rules.speculative;
        if self.dirty() {
            plan.licence = kind == AccessKind::Overwrite;
            let maintenance = match kind {
                AccessKind::Overwrite => Maintenance::Invalidate,
                AccessKind::Read | AccessKind::Write if keeps_copy => Maintenance::WriteBack,
                AccessKind::Read | AccessKind::Write => Maintenance::WriteBackInvalidate,
            };
            plan.push(maintenance, home);
        } else if !rules.exact() && self.held != 0 && !keeps_copy {
            plan.push(Maintenance::Invalidate, home);
        }
        let state = &mut plan.after;
        state.set_dirty(false);
        if !rules.exact() {
            // What it held when it was last the home is forgotten; a core that does not speculate was made to drop it.
            state.held = u8::from(rules.speculative);
            state.stale = state.held;
        } else if self.dirty() && !shares {
            // The writer that comes makes old what is held.
            if !rules.speculative {
                state.held &= !self.bit(home, rules);
            }
        }
        // A writer has had every other mapping revoked; a reader leaves them be.
        state.set_spread(state.mapped() && shares);
    }

    /// A user mapping of the home colour has been prepared for.
    #[must_use]
    pub fn with_mapping(mut self, writable: bool) -> Self {
        self.set_mapped(true);
        self.set_writable(self.writable() || writable);
        self
    }

    /// A user maps a frame in which the kernel stores at the permanent address: at that colour, or not at all. No use is counted, for
    /// the frame cannot move anyway.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub const fn shared(self, colour: u16) -> Result<(), Refusal> {
        if self.transfers > 0 {
            Err(Refusal::Device)
        } else if colour != self.home {
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
        self.access(linear, AccessKind::Overwrite, rules, plan)?;
        if self.users > 0 {
            return Err(Refusal::InUse);
        }
        plan.after.set_given(true);
        plan.after.users = 0;
        // Nobody else reads it from now on, so its new owner may store whenever he likes.
        plan.licence = false;
        Ok(())
    }

    /// Kernel code has returned the frame, with what it stored.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn returned(mut self) -> Result<Self, Refusal> {
        if self.transfers > 0 {
            // What the kernel has in the cache of what a device writes is known from the state's being given.
            Err(Refusal::Device)
        } else {
            self.set_given(false);
            Ok(self)
        }
    }

    /// The frame is free: its bytes are dead and nobody maps it. What is cached of it stays known, for its next owner.
    ///
    /// # Errors
    /// [`Refusal`] if it is still in use; nothing has changed then.
    pub fn freed(mut self) -> Result<Self, Refusal> {
        if self.transfers > 0 {
            return Err(Refusal::Device);
        }
        if self.users > 0 {
            return Err(Refusal::InUse);
        }
        self.set_mapped(false);
        self.set_writable(false);
        self.set_spread(false);
        self.set_given(false);
        self.set_fetchable(false);
        Ok(self)
    }
}
