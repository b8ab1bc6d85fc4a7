//! What maintenance was good for: operations by their site and caller, the lines they covered, and how many of those *mattered*.
//!
//! A line mattered to an operation that made a difference to somebody: it wrote back bytes, and before they were stored anew somebody
//! else came to the line; it dropped a copy that was old, or that somebody else's store made old, and then its colour was used
//! again; it discarded dirty bytes. What an operation changed is remembered (`changes`) until somebody meets it or the line is as it
//! would be without the operation.
//!
//! Guarantees (`tests::ledger` proves it by enumeration): all operations of all sites of which no line mattered can be left out
//! *together*, and the judge finds the same. So what the ledger calls redundant in a run was redundant in that run. Not promised: the
//! converse; a line may be said to matter though another operation would have done for it. Of several operations that would each have
//! done, the first takes the credit. What nobody came to see before the run was over did not matter.

mod book;
mod changes;
mod sweeps;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use congruent_trace::{Context, Site};

use crate::finding::Side;
use crate::heads::LineId;
pub(crate) use changes::{Change, Touch, What};
use changes::{Changes, Fate};
pub(crate) use sweeps::SweepLog;

/// How an operation says which lines it covers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Reach {
    /// By address: one line each.
    Line,
    /// By set and way: one line each.
    Index,
    /// The whole cache: every line of it.
    Whole,
}

/// The operations of one site through one call chain: a line of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LedgerLine {
    /// Where in the guest's code.
    pub site: Site,
    /// Through which calls, if the source says ([`Shadow::set_context`](crate::Shadow::set_context)).
    pub context: Context,
    /// Of which cache.
    pub side: Side,
    /// How they say which lines they cover.
    pub reach: Reach,
    /// How many there were. What was muted is not counted.
    pub operations: u64,
    /// Lines of the cache that they covered, over all of them.
    pub lines: u64,
    /// Of these, how many mattered.
    pub mattered: u64,
}

/// What makes operations one line of the ledger.
type Key = (Site, Context, Side, Reach);

/// One operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Operation {
    /// Its number, in the order in which they came.
    pub serial: u32,
    /// Its place in the list of [`LedgerLine`]s.
    entry: u32,
}

/// Operations of which it is known how many lines have mattered: the last of this many.
const RECENT: usize = 1 << 22;

/// The ledger of a run.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    lines: Vec<LedgerLine>,
    places: BTreeMap<Key, u32>,
    /// Per recent operation, how many more lines may matter to it: no more than it covers.
    left: Vec<u32>,
    next_serial: u32,
    /// The operation in hand.
    now: Operation,
    changes: Changes,
    /// Whom the line in hand is looked at for: changes that are noticed meanwhile are met at once.
    touch: Option<(LineId, Touch)>,
    pub data_sweeps: SweepLog,
    pub code_sweeps: SweepLog,
    writes_through: bool,
    write_allocate: bool,
}

impl Ledger {
    pub fn new(lines_per_page: u32, data: SweepLog, code: SweepLog, writes_through: bool, write_allocate: bool) -> Self {
        Self {
            lines: Vec::new(),
            places: BTreeMap::new(),
            left: Vec::new(),
            next_serial: 0,
            now: Operation::default(),
            changes: Changes::new(lines_per_page),
            touch: None,
            data_sweeps: data,
            code_sweeps: code,
            writes_through,
            write_allocate,
        }
    }

    /// Adds a page of memory.
    pub fn push_page(&mut self) {
        self.changes.push_page();
    }

    /// Begins an operation that covers so many lines.
    pub fn begin(&mut self, key: Key, lines: u32) {
        let (site, context, side, reach) = key;
        let all = &mut self.lines;
        let entry = *self.places.entry(key).or_insert_with(|| {
            all.push(LedgerLine { site, context, side, reach, operations: 0, lines: 0, mattered: 0 });
            all.len() as u32 - 1
        });
        let line = &mut self.lines[entry as usize];
        line.operations += 1;
        line.lines += u64::from(lines);
        self.now = Operation { serial: self.next_serial, entry };
        match self.left.get_mut(self.next_serial as usize % RECENT) {
            Some(left) => *left = lines,
            None => self.left.push(lines),
        }
        self.next_serial = self.next_serial.wrapping_add(1);
    }

    /// The operation in hand.
    pub fn now(&self) -> Operation {
        self.now
    }

    /// Says for whom a line is looked at from now on.
    pub fn look(&mut self, id: LineId, touch: Option<Touch>) {
        self.touch = touch.map(|touch| (id, touch));
    }

    /// Nobody is looking at a line.
    pub fn look_away(&mut self) {
        self.touch = None;
    }

    /// Whether operations changed the line in ways that nobody has met yet.
    pub fn has_changes(&self, id: LineId) -> bool {
        self.changes.any(id)
    }

    /// A line mattered to this operation.
    pub fn credit(&mut self, operation: Operation) {
        let is_recent = self.next_serial.wrapping_sub(operation.serial) as usize <= RECENT;
        if is_recent && let Some(left) = self.left.get_mut(operation.serial as usize % RECENT) {
            if *left == 0 {
                return;
            }
            *left -= 1;
        }
        let line = &mut self.lines[operation.entry as usize];
        line.mattered = line.lines.min(line.mattered + 1);
    }

    /// Notes a change that an operation made to the line. Whoever looks at the line meets it at once.
    pub fn change(&mut self, id: LineId, change: Change) {
        if let Some((touched, touch)) = self.touch
            && touched == id
        {
            let mut change = change;
            match change.meet(touch, self.writes_through, self.write_allocate) {
                Fate::Mattered => self.credit(change.by),
                Fate::Undone => {}
                Fate::Stays => self.add(id, change),
            }
            return;
        }
        self.add(id, change);
    }

    fn add(&mut self, id: LineId, change: Change) {
        // What does not fit any more is taken to matter.
        if let Some(oldest) = self.changes.add(id, change) {
            self.credit(oldest.by);
        }
    }

    /// Goes through the changes of a line. `fate` may alter them and says what becomes of each; of an operation's several changes of one
    /// colour, one that mattered is enough.
    pub fn review(&mut self, id: LineId, mut fate: impl FnMut(&mut Change) -> Fate) {
        let mut mattered: Vec<Change> = Vec::new();
        self.changes.retain(id, |change| match fate(change) {
            Fate::Mattered => {
                mattered.push(*change);
                false
            }
            Fate::Undone => false,
            Fate::Stays => true,
        });
        for (at, change) in mattered.iter().enumerate() {
            let same = |other: &Change| (other.by, other.colour) == (change.by, change.colour);
            if !mattered[..at].iter().any(same) {
                self.changes.retain(id, |other| !same(other));
                self.credit(change.by);
            }
        }
    }

    /// As [`review`](Self::review), of an access.
    pub fn meet(&mut self, id: LineId, touch: Touch) {
        let (writes_through, write_allocate) = (self.writes_through, self.write_allocate);
        self.review(id, |change| change.meet(touch, writes_through, write_allocate));
    }

    /// Every line, in order of first appearance.
    pub fn lines(&self) -> &[LedgerLine] {
        &self.lines
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.lines.capacity() * size_of::<LedgerLine>()
            + self.places.len() * size_of::<(Key, u32)>() * 3 / 2
            + self.left.capacity() * size_of::<u32>()
            + self.changes.bytes()
            + self.data_sweeps.bytes()
            + self.code_sweeps.bytes()
    }
}
