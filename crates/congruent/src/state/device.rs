//! Transitions for those who see memory and not the data cache: devices, and the instruction side.
//!
//! Guaranteed as for all transitions (`state.rs`). Not here: which bytes the operations cover (`crate::device`).

use super::{Maintenance, MustRevoke, Op, Plan, Refusal, Rules, State};

impl State {
    /// A device is about to read the frame, or (`whole` false) part of it: the newest bytes must be in memory.
    pub fn device_reads(self, whole: bool, plan: &mut Plan) {
        if self.dirty() {
            plan.first = Op::new(Maintenance::WriteBack, self.home());
            plan.after.set_dirty(!(whole && self.cleanable(0)));
        }
    }

    /// Which user rights must be revoked before [`device_writes`](Self::device_writes) is possible, if any. One answer is enough.
    ///
    /// `aligned`: the transfer covers whole lines only. If not, a user's store to a neighbour in the first or last line would
    /// make the line dirty, with the old bytes of what the device writes, so stores have to wait until it is done.
    #[must_use]
    pub const fn before_device_writes(&self, aligned: bool) -> Option<MustRevoke> {
        if self.spread() {
            Some(MustRevoke::AllBut(self.home()))
        } else if self.writable() && !aligned {
            Some(MustRevoke::Writes)
        } else {
            None
        }
    }

    /// Whether lines of the home may be filled while a device writes, so that they are dropped, or called old, when it is done.
    const fn dropped_when_done(&self, rules: &Rules) -> bool {
        self.mapped() || self.given() || rules.speculative
    }

    /// A device is about to write the frame, or part of it: nothing dirty may be written back over what it writes.
    ///
    /// Dirty lines are written back, not discarded, even where the device will overwrite them: the transfer may end early, and
    /// what memory held before may be another owner's (Linux chose the same for arm64: commit c50f11c6196f).
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub fn device_writes(self, whole: bool, aligned: bool, rules: &Rules, plan: &mut Plan) -> Result<(), Refusal> {
        if self.stays() && !aligned {
            return Err(Refusal::InUse);
        }
        plan.revoke = self.before_device_writes(aligned);
        let state = &mut plan.after;
        state.begin_transfer();
        state.set_fetchable(false);
        if self.dirty() {
            state.set_dirty(!(whole && self.cleanable(0)));
            if self.dropped_when_done(rules) {
                plan.first = Op::new(Maintenance::WriteBack, self.home());
            } else {
                if !state.dirty() {
                    state.drop_held(self.own_bit(rules));
                }
                plan.first = Op::new(Maintenance::WriteBackInvalidate, self.home());
            }
        }
        Ok(())
    }

    /// The device has written the frame, or (`whole` false) part of it: every copy of the bytes it wrote is old.
    ///
    /// Copies that nobody can reach without asking are dropped when somebody asks; those that a user or a guard can load at once
    /// are dropped now.
    pub fn device_wrote(self, whole: bool, rules: &Rules, plan: &mut Plan) {
        let (home, permanent) = (self.own_bit(rules), plan.permanent);
        let state = &mut plan.after;
        state.end_transfer();
        if let Some(permanent) = permanent {
            state.add_held(state.bit(permanent, rules));
        }
        state.add_stale(state.held() & !home);
        if state.held() & home != 0 {
            // What was dirty was written back before the device began, and nobody has stored to its bytes since.
            let clean = whole && self.cleanable(0);
            state.set_dirty(self.dirty() && !clean);
            if self.mapped() || self.given() || if self.dirty() { rules.speculative } else { self.stays() } {
                plan.first = Op::new(Maintenance::Invalidate, self.home());
            } else if !self.dirty() {
                state.add_stale(home);
            } else if clean {
                // Its copies were dropped then, too.
                state.drop_held(home);
            }
        }
    }

    /// As [`device_wrote`](Self::device_wrote), whatever has happened since the device began, and whether it began at all: mappings and
    /// windows of any colour may have filled lines, and users of several may be reading now.
    pub fn taken(self, whole: bool, rules: &Rules, plan: &mut Plan) {
        let (home, permanent) = (self.own_bit(rules), plan.permanent);
        let state = &mut plan.after;
        state.set_fetchable(false);
        if let Some(permanent) = permanent {
            state.add_held(state.bit(permanent, rules));
        }
        let others = state.held() & !home & !self.stale();
        if self.spread() {
            // Their readers do not ask before they load. Nobody reads at a colour that was old already.
            plan.also_invalidate = others;
        } else {
            state.add_stale(others);
        }
        let state = &mut plan.after;
        if state.held() & home != 0 {
            let clean = whole && self.cleanable(0);
            state.set_dirty(self.dirty() && !clean);
            if self.mapped() || self.stays() || self.dirty() {
                plan.first = Op::new(Maintenance::Invalidate, self.home());
            } else {
                state.add_stale(home);
            }
        }
    }

    /// A device has written the frame through the data caches: only instruction fetches are behind.
    pub fn device_wrote_caches(self, plan: &mut Plan) {
        plan.after.set_fetchable(false);
    }

    /// Instruction fetches are about to be allowed: the newest bytes must be where fetches find them. `readers` of the users are
    /// known not to store.
    ///
    /// # Errors
    /// [`Refusal::Busy`] or [`Refusal::Device`]; nothing has changed then.
    pub fn fetch(self, readers: u16, rules: &Rules, plan: &mut Plan) -> Result<(), Refusal> {
        if self.is_transferred() {
            return Err(Refusal::Device);
        }
        if self.fetchable() {
            return Ok(());
        }
        if self.dirty() && !rules.fetches_see_data {
            plan.first = Op::new(Maintenance::WriteBack, self.home());
            plan.after.set_dirty(!self.cleanable(readers));
        }
        // A core that speculates may have fetched what it was never told to.
        plan.drop_instructions = self.fetched() || rules.speculative;
        if rules.speculative {
            // Through the address at which that is done.
            plan.after.add_held(self.own_bit(rules));
        }
        plan.after.set_fetched(true);
        plan.after.set_fetchable(self.cleanable(readers));
        Ok(())
    }
}
