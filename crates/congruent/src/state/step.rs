//! What can be asked of a frame: which rights must go first, and what is then planned, in one place for each.
//!
//! A trait and not an enum: the engine is compiled once, whatever is asked, and a kernel that never asks for something does not have the
//! code for it.

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
pub(crate) trait Step {
    /// Which user rights must go before it is possible, if any.
    fn revokes(&self, state: &State, rules: &Rules) -> Option<MustRevoke> {
        let _ = (state, rules);
        None
    }

    /// What it takes, when they have gone.
    fn plan(&self, state: State, rules: &Rules) -> Result<Plan, Refusal>;

    /// Whether it changes how many transfers are counted.
    fn counts_transfers(&self) -> bool {
        false
    }
}

/// A guard.
pub(crate) struct Access {
    pub(crate) place: Place,
    pub(crate) kind: AccessKind,
}

impl Step for Access {
    fn revokes(&self, state: &State, rules: &Rules) -> Option<MustRevoke> {
        state.before_access(self.place.pick(state), self.kind, rules)
    }
    fn plan(&self, state: State, rules: &Rules) -> Result<Plan, Refusal> {
        state.access(self.place.pick(&state), self.kind, rules)
    }
}

/// A user's mapping, and a guard while it is installed.
pub(crate) struct Map {
    pub(crate) colour: u16,
    pub(crate) write: bool,
}

impl Map {
    const fn kind(&self) -> AccessKind {
        if self.write {
            AccessKind::Write
        } else {
            AccessKind::Read
        }
    }
}

impl Step for Map {
    fn revokes(&self, state: &State, rules: &Rules) -> Option<MustRevoke> {
        state.before_access(self.colour, self.kind(), rules)
    }
    fn plan(&self, state: State, rules: &Rules) -> Result<Plan, Refusal> {
        if state.busy() {
            return Err(Refusal::Busy);
        }
        if state.revoking() {
            return Err(Refusal::Revoking);
        }
        if state.given() {
            return state.shared(self.colour, self.write).map(Plan::none);
        }
        let mut plan = state.access(self.colour, self.kind(), rules)?;
        plan.after = plan.after.with_mapping(self.write);
        Ok(plan)
    }
}

/// A device begins to write.
pub(crate) struct DeviceWrites {
    pub(crate) whole: bool,
    pub(crate) aligned: bool,
}

impl Step for DeviceWrites {
    fn revokes(&self, state: &State, _: &Rules) -> Option<MustRevoke> {
        state.before_device_writes(self.aligned)
    }
    fn plan(&self, state: State, rules: &Rules) -> Result<Plan, Refusal> {
        state.device_writes(self.whole, self.aligned, rules)
    }
    fn counts_transfers(&self) -> bool {
        true
    }
}

/// It has ended.
pub(crate) struct DeviceWrote {
    pub(crate) whole: bool,
}

impl Step for DeviceWrote {
    fn plan(&self, state: State, rules: &Rules) -> Result<Plan, Refusal> {
        state.device_wrote(self.whole, rules)
    }
    fn counts_transfers(&self) -> bool {
        true
    }
}

/// Kernel code gets it, at the permanent address, which is of this colour.
pub(crate) struct Give {
    pub(crate) linear: u16,
}

impl Step for Give {
    fn revokes(&self, state: &State, rules: &Rules) -> Option<MustRevoke> {
        state.before_access(self.linear, AccessKind::Overwrite, rules)
    }
    fn plan(&self, state: State, rules: &Rules) -> Result<Plan, Refusal> {
        state.give(self.linear, rules)
    }
}

/// Whatever needs no rights to go: a transition is a step.
impl<F: Fn(State, &Rules) -> Result<Plan, Refusal>> Step for F {
    fn plan(&self, state: State, rules: &Rules) -> Result<Plan, Refusal> {
        self(state, rules)
    }
}
