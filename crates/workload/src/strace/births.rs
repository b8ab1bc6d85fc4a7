//! Who a number of the log stands for when: numbers are used again, and a child may act before its parent's call has returned.
//!
//! Guarantees: no life is its own ancestor; the work is proportional to the log. A birth that is told of later counts only if its
//! parent did nothing in between, as a thread does nothing while its `fork` is on the way; else the number's former bearer acts.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::call::{Call, Event, What};

/// One `fork` that returned a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Birth {
    /// The event, by its place in the log.
    pub at: usize,
    pub parent: u32,
    /// Whether the child is a thread of its parent's process.
    pub thread: bool,
    /// The first event that the call may have begun before: what follows the parent's last one.
    since: usize,
}

/// The births of a log that are not told of yet.
#[derive(Clone, Default, Debug)]
pub(super) struct Births {
    /// By child, in the order of the log.
    to_come: BTreeMap<u32, VecDeque<Birth>>,
    /// Every number that is ever given to a child.
    children: BTreeSet<u32>,
}

impl Births {
    pub fn of(events: &[Event]) -> Self {
        let mut births = Self::default();
        let mut acted: BTreeMap<u32, usize> = BTreeMap::new();
        for (at, event) in events.iter().enumerate() {
            if let What::Call(call) = &event.what
                && let Some(child) = child_of(call)
            {
                let thread = call.arguments.iter().any(|argument| argument.contains("CLONE_THREAD"));
                let since = acted.get(&event.pid).map_or(0, |last| last + 1);
                births.to_come.entry(child).or_default().push_back(Birth { at, parent: event.pid, thread, since });
                births.children.insert(child);
            }
            acted.insert(event.pid, at);
        }
        births
    }

    /// Takes the birth that the event at `at` is from those that are to come, if its child has not acted before.
    pub fn told(&mut self, child: u32, at: usize) -> Option<Birth> {
        let births = self.to_come.get_mut(&child)?;
        births.pop_front_if(|birth| birth.at == at)
    }

    /// The births behind a number that acts now and is nobody's yet, ancestors first, from the first one whose parent `is_known` (or from
    /// the program that the log begins with, if nobody is known). Empty if the log shows none.
    pub fn line_of(&self, child: u32, now: usize, is_known: impl Fn(u32) -> bool, is_anybody_known: bool) -> Vec<(u32, Birth)> {
        let (mut line, mut seen, mut number) = (Vec::new(), BTreeSet::new(), child);
        while seen.insert(number) {
            let next = self.to_come.get(&number).and_then(|births| births.front());
            let Some(birth) = next.copied().filter(|birth| birth.at > now && birth.since <= now) else { break };
            line.push((number, birth));
            number = birth.parent;
            if is_known(number) || !is_anybody_known && !self.children.contains(&number) {
                line.reverse();
                return line;
            }
        }
        Vec::new()
    }
}

/// The child that a call made, if it is one that does.
pub(super) fn child_of(call: &Call) -> Option<u32> {
    let makes_children = matches!(call.name.as_str(), "fork" | "vfork" | "clone" | "clone3");
    call.result
        .filter(|_| makes_children && !call.failed())
        .and_then(|child| u32::try_from(child).ok())
        .filter(|child| *child > 0)
}
