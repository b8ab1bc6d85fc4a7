//! Transitions for kernel code that asks nothing: it says that it is going to use a frame at an address of its own, and afterwards that
//! it has stored there.
//!
//! Guaranteed as for all transitions (`state.rs`), if nobody else stores to the same lines between the two notices. Nobody is refused and
//! no rights are taken away; so what users of other colours load in between may be old, and only the second notice ends that.

use super::{Maintenance, Op, Plan, Rules, State};

impl State {
    /// Kernel code is about to load and store through `colour`.
    pub fn touched(self, colour: u16, rules: &Rules, plan: &mut Plan) {
        let own = self.bit(colour, rules);
        if colour == self.home() {
            if self.stale() & own != 0 {
                plan.first = Op::new(Maintenance::Invalidate, colour);
                plan.after.drop_stale(own);
            }
            plan.after.add_held(own);
            return;
        }
        if self.dirty() {
            plan.first = Op::new(Maintenance::WriteBack, self.home());
            plan.after.set_dirty(!self.cleanable(0));
        }
        // Coarse tracking knows nothing of this colour, and a core that speculates fills it at any moment.
        if self.stale() & own != 0 || !rules.exact {
            plan.second = Op::new(Maintenance::Invalidate, colour);
        }
        plan.after.add_held(own);
        plan.after.drop_stale(own);
        if plan.after.stored_to(rules) {
            // Whoever stores at the home says nothing.
            plan.after.add_stale(own);
        }
    }

    /// Kernel code has stored through `colour`, since it said that it would.
    pub fn stored(self, colour: u16, rules: &Rules, plan: &mut Plan) {
        let permanent = plan.permanent;
        let after = &mut plan.after;
        after.set_fetchable(false);
        let stays = self.mapped() || self.stays() || self.is_transferred() || self.dirty();
        let own = self.bit(colour, rules);
        let old = self.stale() & own != 0;
        if colour != self.home() && (stays || old) {
            self.stored_elsewhere(colour, rules, plan);
            return;
        }
        // Nobody relies on another home.
        after.set_home(colour);
        let own = after.bit(colour, rules);
        let others = (if rules.exact { self.held() } else { 0 } | after.filled(permanent, rules)) & !own;
        // All that was held is.
        after.add_held(others | own);
        after.drop_stale(u8::MAX);
        after.add_stale(others);
        after.set_dirty(rules.write_back);
        if old {
            // Kernel code has stored beside lines that have become old since it said that it would.
            after.set_dirty(false);
            let drop = if rules.write_back { Maintenance::WriteBackInvalidate } else { Maintenance::Invalidate };
            plan.first = Op::new(drop, colour);
        } else if self.spread() {
            // Readers of other colours do not ask before they load; there are none at colours that were old already. Nobody who could
            // store has been let in beside them.
            after.drop_stale(!self.stale());
            after.set_dirty(false);
            plan.also_invalidate = others & !self.stale();
            if rules.write_back {
                plan.first = Op::new(Maintenance::WriteBack, colour);
            }
        }
    }

    /// Somebody relies on the home, or has stored there meanwhile: it stays where it is, and gives up what it has.
    fn stored_elsewhere(self, colour: u16, rules: &Rules, plan: &mut Plan) {
        let (own, home) = (self.bit(colour, rules), self.bit(self.home(), rules));
        if rules.write_back {
            plan.first = Op::new(Maintenance::WriteBack, colour);
        }
        if self.dirty() {
            plan.second = Op::new(Maintenance::WriteBackInvalidate, self.home());
            plan.after.set_dirty(!self.cleanable(0));
        } else if self.held() & home != 0 {
            plan.second = Op::new(Maintenance::Invalidate, self.home());
        }
        let others = (self.held() | self.filled(plan.permanent, rules)) & !home & !own;
        let after = &mut plan.after;
        after.add_held(others | own);
        after.drop_stale(own | home);
        if self.spread() {
            plan.also_invalidate = others & !self.stale();
        } else {
            after.add_stale(others);
        }
        if self.dirty() || self.stale() & own != 0 || after.stored_to(rules) {
            // What was stored at the home it does not have.
            after.add_stale(own);
        }
    }

    /// Whether somebody may be storing at the home: then it is dirty, if anything ever is.
    const fn stored_to(&self, rules: &Rules) -> bool {
        if rules.write_back {
            self.dirty()
        } else {
            !(self.spread() || self.cleanable(0))
        }
    }

    /// After a store at the home: whatever a core that speculates holds or fetches from now on through the permanent mapping, of
    /// another colour, may be older.
    pub(super) fn may_fill(&mut self, permanent: Option<u16>, rules: &Rules) {
        let bit = self.filled(permanent, rules);
        self.add_held(bit);
        self.add_stale(bit);
    }

    /// The bit of the permanent mapping, if a core that speculates may fill lines of another colour than the home through it.
    fn filled(&self, permanent: Option<u16>, rules: &Rules) -> u8 {
        match permanent {
            Some(permanent) if permanent != self.home() => self.bit(permanent, rules),
            _ => 0,
        }
    }
}
