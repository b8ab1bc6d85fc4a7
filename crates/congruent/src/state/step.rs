//! What can be asked of a frame: which rights must go first, and what is then planned, in one place for each.
//!
//! A trait and not an enum: the engine is compiled once, whatever is asked, and a kernel that never asks for something does not have the
//! code for it.

use super::{AccessKind, Plan, Refusal, Rules, State};

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
            Self::Home(Some(preferred)) if state.users() == 0 => preferred,
            Self::Home(_) => state.home(),
        }
    }
}

/// One thing that is asked of a frame.
pub(crate) trait Step {
    /// What it takes: `plan` comes with the state before, of a frame that is not busy, and nothing to do.
    fn plan(&self, plan: &mut Plan, rules: &Rules) -> Result<(), Refusal>;
}

/// A guard.
pub(crate) struct Access {
    pub(crate) place: Place,
    pub(crate) kind: AccessKind,
}

impl Step for Access {
    fn plan(&self, plan: &mut Plan, rules: &Rules) -> Result<(), Refusal> {
        let state = plan.after;
        plan.access(self.place.pick(&state), self.kind, rules)
    }
}

/// A user's mapping, and a guard while it is installed.
pub(crate) struct Map {
    pub(crate) colour: u16,
    pub(crate) write: bool,
}

impl Step for Map {
    fn plan(&self, plan: &mut Plan, rules: &Rules) -> Result<(), Refusal> {
        let state = plan.after;
        if state.revoking() {
            return Err(Refusal::Revoking);
        }
        if state.given() {
            state.shared(self.colour)?;
        } else {
            let kind = if self.write { AccessKind::Write } else { AccessKind::Read };
            plan.access(self.colour, kind, rules)?;
        }
        plan.after = plan.after.with_mapping(self.write);
        Ok(())
    }
}

/// A device begins to write.
pub(crate) struct DeviceWrites {
    pub(crate) whole: bool,
    pub(crate) aligned: bool,
}

impl Step for DeviceWrites {
    fn plan(&self, plan: &mut Plan, rules: &Rules) -> Result<(), Refusal> {
        plan.after.device_writes(self.whole, self.aligned, rules, plan)
    }
}

/// It has ended.
pub(crate) struct DeviceWrote {
    pub(crate) whole: bool,
}

impl Step for DeviceWrote {
    fn plan(&self, plan: &mut Plan, rules: &Rules) -> Result<(), Refusal> {
        plan.after.device_wrote(self.whole, rules, plan);
        Ok(())
    }
}

/// Kernel code gets it, at the permanent address, which is of this colour.
pub(crate) struct Give {
    pub(crate) linear: u16,
}

impl Step for Give {
    fn plan(&self, plan: &mut Plan, rules: &Rules) -> Result<(), Refusal> {
        plan.after.give(self.linear, rules, plan)
    }
}

/// Instruction fetches are about to be allowed.
pub(crate) struct Fetch {
    pub(crate) readers: u16,
}

impl Step for Fetch {
    fn plan(&self, plan: &mut Plan, rules: &Rules) -> Result<(), Refusal> {
        plan.after.fetch(self.readers, rules, plan)
    }
}

/// A transition is a step.
impl<F: Fn(State, &Rules, &mut Plan) -> Result<(), Refusal>> Step for F {
    fn plan(&self, plan: &mut Plan, rules: &Rules) -> Result<(), Refusal> {
        self(plan.after, rules, plan)
    }
}
