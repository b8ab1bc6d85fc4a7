//! Where the guest is stopped, because something was found there (`--stop-at`).
//!
//! Guarantees: each finding stops it once; it stands before the access if that is a load that generated code makes itself, and behind
//! the block otherwise, which the program is told. A store has been made by the time that it is heard of, and making it again would be
//! another one for a conditional store.

use congruent_shadow::Finding;
use congruent_wire::StopAt;

/// Where to stop, and whether to do so now.
pub(super) struct Stops {
    at: StopAt,
    /// So many findings were told.
    told: u64,
    /// The first of them that asks for a stop which has not been made.
    due: Option<u64>,
}

impl Stops {
    /// Nothing was found yet.
    pub fn new(at: StopAt) -> Self {
        Self { at, told: 0, due: None }
    }

    /// Something is found and told.
    pub fn found(&mut self, finding: &Finding) {
        self.told += 1;
        if self.at.covers(self.told, finding) {
            self.due.get_or_insert(self.told);
        }
    }

    /// The finding at which the guest is to be stopped now, counted from 1 as they were told.
    pub fn take(&mut self) -> Option<u64> {
        self.due.take()
    }
}
