//! Where everything that is known of a frame stands in its word, and what is read and changed there.
//!
//! A [`State`] is that word but for two fields, which do not stand in it as they are used: so the transitions change one register, and
//! packing a state is a handful of instructions. Geometries that are tracked [coarsely](super::Rules::exact) have one bit for what is held, one
//! for what is old, and the rest of the former for the upper bits of their home.

use super::State;

/// The guards that exist, or [`GIVEN`]. At the top, so that no end of one too many changes anything else.
pub(crate) const USERS: u32 = 28;
pub(crate) const ONE_USER: u32 = 1 << USERS;
/// In the place of guards: a frame that is given to the kernel has none.
pub(crate) const GIVEN: u32 = 15;

/// The home, its three lowest bits.
const HOME: u32 = 25;
/// Eight colours each. Of a geometry that is tracked coarsely it is one, and what is left of the held ones is the rest of the home.
const STALE: u32 = 17;
pub(super) const HELD: u32 = 9;

/// The transfers that are going on, or [`MANY`].
pub(crate) const TRANSFERS: u32 = 7;
/// So many transfers or more: the rest is counted elsewhere.
pub(crate) const MANY: u16 = 3;

/// What user mappings may be: none, of the home and for loads, of the home and for stores, of any colour and for loads.
pub(crate) const MAPPINGS: u32 = 5;
pub(crate) const LOADS: u32 = 1;
pub(crate) const STORES: u32 = 2;
const ANYWHERE: u32 = 3;

/// Beside the word, above the home: transfers that are counted there.
const BEYOND: u32 = 16;

// Flags are at the bottom: constants of 16 bits take one instruction.
const FETCHED: u32 = 1 << 4;
pub(crate) const BUSY: u32 = 1 << 3;
pub(crate) const REVOKING: u32 = 1 << 2;
const FETCHABLE: u32 = 1 << 1;
pub(super) const DIRTY: u32 = 1 << 0;

macro_rules! flags {
    ($($(#[$doc:meta])* $get:ident, $set:ident = $bit:expr;)*) => {
        impl State {
            $(
                $(#[$doc])*
                #[must_use]
                #[inline]
                #[allow(dead_code, reason = "as below")]
                pub const fn $get(&self) -> bool {
                    self.bits & $bit != 0
                }

                #[inline]
                #[allow(dead_code, reason = "of one flag only the word is changed")]
                pub(crate) fn $set(&mut self, on: bool) {
                    if on {
                        self.bits |= $bit;
                    } else {
                        self.bits &= !$bit;
                    }
                }
            )*
        }
    };
}

flags! {
    /// Whether the home colour may hold dirty lines.
    dirty, set_dirty = DIRTY;
    /// Whether instruction fetches see the newest bytes.
    fetchable, set_fetchable = FETCHABLE;
    /// Whether the instruction side may hold anything of the frame: it has been fetchable since the caches were empty.
    fetched, set_fetched = FETCHED;
    /// Whether maintenance is going on: nobody else may change the state, except to end a use.
    busy, set_busy = BUSY;
    /// Whether somebody is taking user rights away: nobody announces a mapping meanwhile, or takes rights away as well.
    revoking, set_revoking = REVOKING;
}

impl State {
    /// What a word says.
    #[inline]
    pub(crate) const fn unpack(word: u32, exact: bool) -> Self {
        let of_home = if exact { 0 } else { 0xfe << HELD };
        let home = (word >> HOME & 7) | (word & of_home) >> (HELD - 2);
        Self { bits: word & !(7 << HOME | of_home), rest: home }
    }

    /// The same, with transfers that are counted beside the word, or without.
    #[inline]
    pub(crate) const fn with_beyond(self, are_any: bool) -> Self {
        Self { rest: self.rest | (are_any as u32) << BEYOND, ..self }
    }

    /// The word that says it.
    #[inline]
    pub(crate) fn pack(&self) -> u32 {
        let home = u32::from(self.home());
        self.bits | (home & 7) << HOME | (home >> 3) << (HELD + 1)
    }

    /// The colour through which the frame was accessed last, as a number: the only one that may hold dirty lines.
    #[must_use]
    #[inline]
    pub const fn home(&self) -> u16 {
        self.rest as u16
    }

    #[inline]
    pub(super) fn set_home(&mut self, colour: u16) {
        self.rest = self.rest >> BEYOND << BEYOND | u32::from(colour);
    }

    /// Transfers that are counted beside the word: one for all there were, then as they begin and end.
    #[inline]
    pub(crate) const fn beyond(&self) -> u32 {
        self.rest >> BEYOND
    }

    /// Device-to-memory transfers that are going on; however many more than three there are, it is three.
    #[must_use]
    #[inline]
    pub const fn transfers(&self) -> u16 {
        (self.bits >> TRANSFERS) as u16 & MANY
    }

    /// Whether there are any.
    #[inline]
    pub(super) const fn is_transferred(&self) -> bool {
        self.transfers() > 0
    }

    /// One more.
    #[inline]
    pub(super) fn begin_transfer(&mut self) {
        if self.transfers() < MANY {
            self.bits += 1 << TRANSFERS;
        } else {
            self.rest += 1 << BEYOND;
        }
    }

    /// One less, if there is one.
    #[inline]
    pub(super) fn end_transfer(&mut self) {
        if self.beyond() > 0 {
            self.rest -= 1 << BEYOND;
        } else if self.is_transferred() {
            self.bits -= 1 << TRANSFERS;
        }
    }

    /// Whether it counts others than that one.
    #[inline]
    pub(crate) const fn counts_other_transfers(&self, other: &Self) -> bool {
        self.transfers() != other.transfers() || self.beyond() != other.beyond()
    }

    /// Whether some may be counted beside the word.
    #[inline]
    pub(crate) const fn has_many(&self) -> bool {
        self.transfers() == MANY
    }

    /// Colours that may hold a copy, one bit each (coarsely tracked: bit 0 is the home).
    #[must_use]
    #[inline]
    pub const fn held(&self) -> u8 {
        (self.bits >> HELD) as u8
    }

    /// Those whose copy may be older than the newest bytes. Never the home while it is dirty.
    #[must_use]
    #[inline]
    pub const fn stale(&self) -> u8 {
        (self.bits >> STALE) as u8
    }

    #[inline]
    pub(super) fn add_held(&mut self, colours: u8) {
        self.bits |= u32::from(colours) << HELD;
    }

    #[inline]
    pub(super) fn drop_held(&mut self, colours: u8) {
        self.bits &= !(u32::from(colours) << HELD);
    }

    #[inline]
    pub(super) fn add_stale(&mut self, colours: u8) {
        self.bits |= u32::from(colours) << STALE;
    }

    #[inline]
    pub(super) fn drop_stale(&mut self, colours: u8) {
        self.bits &= !(u32::from(colours) << STALE);
    }

    #[inline]
    const fn mappings(&self) -> u32 {
        self.bits >> MAPPINGS & 3
    }

    #[inline]
    fn set_mappings(&mut self, mappings: u32) {
        self.bits = self.bits & !(3 << MAPPINGS) | mappings << MAPPINGS;
    }

    /// Whether user mappings may exist.
    #[must_use]
    #[inline]
    pub const fn mapped(&self) -> bool {
        self.mappings() != 0
    }

    /// Whether a user mapping may allow stores. Then all of them are of the home colour.
    #[must_use]
    #[inline]
    pub const fn writable(&self) -> bool {
        self.mappings() == STORES
    }

    /// Whether user mappings may exist at other colours than the home.
    #[must_use]
    #[inline]
    pub const fn spread(&self) -> bool {
        self.mappings() == ANYWHERE
    }

    /// There is no user mapping.
    #[inline]
    pub(super) fn unmap(&mut self) {
        self.set_mappings(0);
    }

    /// User mappings, if there are any, are for loads.
    #[inline]
    pub(super) fn write_protect(&mut self) {
        if self.writable() {
            self.set_mappings(LOADS);
        }
    }

    /// User mappings, if there are any, are of any colour and for loads.
    #[inline]
    pub(super) fn spread_out(&mut self) {
        if self.mapped() {
            self.set_mappings(ANYWHERE);
        }
    }

    /// User mappings, if there are any, are of the home colour.
    #[inline]
    pub(super) fn gather(&mut self) {
        if self.spread() {
            self.set_mappings(LOADS);
        }
    }

    /// There is a user mapping, of the home colour.
    #[inline]
    pub(super) fn map(&mut self, writable: bool) {
        if writable {
            self.set_mappings(STORES);
        } else if !self.mapped() {
            self.set_mappings(LOADS);
        }
    }

    /// Guards that exist: all of them access the frame through the home colour.
    #[must_use]
    #[inline]
    pub const fn users(&self) -> u16 {
        if self.given() {
            0
        } else {
            (self.bits >> USERS) as u16
        }
    }

    /// Guards that exist, where they stand in the word.
    #[inline]
    pub(crate) const fn guards(&self) -> u32 {
        self.bits & u32::MAX << USERS
    }

    /// Whether there are guards, or the kernel has it: it stays where it is.
    #[inline]
    pub(super) const fn stays(&self) -> bool {
        self.bits >= ONE_USER
    }

    /// One guard more, or one less, of a frame that is not given.
    #[inline]
    pub(super) fn add_user(&mut self) {
        self.bits += ONE_USER;
    }

    #[inline]
    pub(crate) fn drop_user(&mut self) {
        self.bits -= ONE_USER;
    }

    /// Whether kernel code loads and stores at the permanent address, without a word, whenever it likes. That is the home then.
    #[must_use]
    #[inline]
    pub const fn given(&self) -> bool {
        self.bits >> USERS == GIVEN
    }

    /// The kernel gets it: there is no guard.
    #[inline]
    pub(super) fn give_away(&mut self) {
        self.bits |= GIVEN << USERS;
    }

    /// The kernel does not have it, if it had.
    #[inline]
    pub(super) fn take_back(&mut self) {
        if self.given() {
            self.bits &= !(GIVEN << USERS);
        }
    }

    /// Whether the home is clean once all of it has been written back: nobody can store meanwhile. `readers` of the users are known
    /// not to.
    pub(super) const fn cleanable(&self, readers: u16) -> bool {
        // Who has it given may store, and stands for more guards than there can be readers.
        !self.writable() && self.bits >> USERS <= readers as u32
    }
}

#[cfg(any(test, feature = "model"))]
impl core::fmt::Debug for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (held, stale, users) = (self.held(), self.stale(), self.users());
        write!(f, "home {}, held {held:#b}, stale {stale:#b}, {} transfers, {users} users", self.home(), self.transfers())?;
        let flags = [
            ("dirty", self.dirty()),
            ("mapped", self.mapped()),
            ("writable", self.writable()),
            ("spread", self.spread()),
            ("fetchable", self.fetchable()),
            ("fetched", self.fetched()),
            ("busy", self.busy()),
            ("revoking", self.revoking()),
            ("given", self.given()),
        ];
        flags.iter().filter(|(_, is)| *is).try_for_each(|(name, _)| write!(f, ", {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_packing() {
        for exact in [true, false] {
            let homes: &[u16] = if exact { &[0, 1, 7] } else { &[0, 9, 511, 1023] };
            let masks: &[u8] = if exact { &[0, 1, 0x80, 0xff] } else { &[0, 1] };
            for &home in homes {
                for (held, stale) in masks.iter().flat_map(|&held| masks.iter().map(move |&stale| (held, stale))) {
                    // Five flags, below the two bits of mappings and two of transfers.
                    for flags in 0..512u32 {
                        for users in [0, 1, 14, GIVEN] {
                            let bits = u32::from(held) << HELD | u32::from(stale) << STALE | flags | users << USERS;
                            let state = State { bits, rest: u32::from(home) };
                            assert_eq!(State::unpack(state.pack(), exact), state);
                            assert_eq!((state.held(), state.stale(), state.home()), (held, stale, home));
                        }
                    }
                }
            }
        }
    }
}
