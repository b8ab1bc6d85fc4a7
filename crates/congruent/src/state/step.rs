//! What can be asked of a frame, as data: one definition of which rights must go first and of what is then planned, so that the
//! engine is compiled once and not once per call.

use super::{AccessKind, MustRevoke, Plan, Refusal, Rules, State};

/// Through which colour, as far as is known before the state is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// This one.
    Fixed(u16),
    /// The home; another one, found by a lookup, if the frame is not in use.
    Home(Option<u16>),
}

impl Place {
    const fn pick(self, state: &State) -> u16 {
        match self {
            Self::Fixed(colour) => colour,
            // A frame in use is reached where it is in use, whatever a lookup finds.
            Self::Home(Some(preferred)) if state.users == 0 => preferred,
            Self::Home(_) => state.home,
        }
    }
}

/// One thing that is asked of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// A guard.
    Access { place: Place, kind: AccessKind },
    /// A user's mapping, and a guard while it is installed.
    Map { colour: u16, write: bool },
    /// Instruction fetches; so many of the users are known not to store.
    Fetch { readers: u8 },
    /// A device reads all of it, or a part.
    DeviceReads { whole: bool },
    /// A device begins to write.
    DeviceWrites { whole: bool, aligned: bool },
    /// It has ended.
    DeviceWrote { whole: bool },
    /// A device that nobody counted has written, if it has.
    Take { whole: bool },
    /// Kernel code is about to use it through this colour, without a guard.
    Touch { colour: u16 },
    /// It has stored there.
    Stored { colour: u16 },
    /// A device that sees the data caches has written.
    DeviceWroteCaches,
    /// The frame is free.
    Free,
    /// Kernel code gets it, at the permanent address, which is of this colour.
    Give { linear: u16 },
    /// Kernel code has returned it.
    Return,
}

impl Step {
    /// Which user rights must go before it is possible, if any.
    pub(crate) const fn revokes(self, state: &State, rules: &Rules) -> Option<MustRevoke> {
        match self {
            Self::Access { place, kind } => state.before_access(place.pick(state), kind, rules),
            Self::Map { colour, write } => state.before_access(colour, Self::kind(write), rules),
            Self::Give { linear } => state.before_access(linear, AccessKind::Overwrite, rules),
            Self::DeviceWrites { aligned, .. } => state.before_device_writes(aligned),
            _ => None,
        }
    }

    /// What it takes, when they have gone.
    pub(crate) fn plan(self, state: State, rules: &Rules) -> Result<Plan, Refusal> {
        if state.busy {
            return Err(Refusal::Busy);
        }
        match self {
            Self::Access { place, kind } => state.access(place.pick(&state), kind, rules),
            Self::Map { colour, write } => {
                if state.revoking {
                    return Err(Refusal::Revoking);
                }
                if state.given {
                    return state.shared(colour, write).map(Plan::none);
                }
                let mut plan = state.access(colour, Self::kind(write), rules)?;
                plan.after = plan.after.mapped(write);
                Ok(plan)
            }
            Self::Fetch { readers } => state.fetch(readers, rules),
            Self::DeviceReads { whole } => state.device_reads(whole),
            Self::DeviceWrites { whole, aligned } => state.device_writes(whole, aligned, rules),
            Self::DeviceWrote { whole } => state.device_wrote(whole, rules),
            Self::Take { whole } => state.taken(whole, rules),
            Self::Touch { colour } => state.touched(colour, rules),
            Self::Stored { colour } => state.stored(colour, rules),
            Self::DeviceWroteCaches => state.device_wrote_caches(),
            Self::Free => state.freed().map(Plan::none),
            Self::Give { linear } => state.given(linear, rules),
            Self::Return => state.returned().map(Plan::none),
        }
    }

    /// Whether it changes how many transfers are counted.
    const fn transfers(self) -> bool {
        matches!(self, Self::DeviceWrites { .. } | Self::DeviceWrote { .. })
    }

    /// Whether the state is all in one word, so that one change of it is enough. Where many transfers are going on, the rest of
    /// them are counted elsewhere, by who has the word.
    pub(crate) const fn fits(self, state: &State, most: u16) -> bool {
        !(self.transfers() && state.transfers == most)
    }

    const fn kind(write: bool) -> AccessKind {
        if write { AccessKind::Write } else { AccessKind::Read }
    }
}
