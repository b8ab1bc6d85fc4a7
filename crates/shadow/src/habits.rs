//! What the guest's maintenance shows of the cache that its kernel believes in: how far it sweeps, and in what steps it goes.
//!
//! A kernel sweeps a whole cache by index from the first set on, line by line, way after way; and a range of memory by address, line by line. So
//! steps longer than a line of the modelled cache pass lines over, and sweeps that end early leave sets or ways out. Guarantees: nothing is concluded
//! from operations that do not follow one another; of steps, the shortest counts; of sweeps, the longest, and none of exactly a page, which may
//! be the sweep of a page. Not here: what that means for a modelled cache, which is the report's to say.

use congruent_trace::{IndexForm, On, Operation, Target};

/// A row of operations, each as far from the one before as that from the one before it.
#[derive(Clone, Copy, Debug)]
struct Row {
    by_index: bool,
    first: u64,
    last: u64,
    step: u64,
    operations: u64,
}

/// So many operations make a row.
const ROW: u64 = 8;
/// No line is longer, in bytes.
const LONGEST_STEP: u64 = 256;
/// Operands of index operations are addresses; that of the first set of the first way is a multiple of this.
const FIRST_SET: u64 = 1 << 16;

/// What was seen of the guest's maintenance of its data cache.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    row: Option<Row>,
    /// The shortest step in bytes; 0 before there was a row.
    pub step: u32,
    /// How far the longest sweep by index reached that was seen twice, in bytes; 0 before there was one.
    pub sweep: u32,
    /// How far the last one reached.
    last_sweep: u32,
}

impl Habits {
    /// Takes note of an operation on the data cache. `page` is the size of a page.
    pub fn note(&mut self, operation: &Operation, form: IndexForm, page: u32) {
        let (by_index, at) = match (operation.on, operation.target) {
            (On::Data(_), Target::Bytes { vaddr, bytes: 1, .. }) => (false, vaddr.0),
            // Where ways are in the topmost bits, no sweep goes from one way on into the next.
            (On::Data(_), Target::Index(operand)) if form == IndexForm::WayAboveSet => (true, operand.into()),
            _ => return,
        };
        let begun = Row { by_index, first: at, last: at, step: 0, operations: 1 };
        let next = match self.row {
            None => begun,
            Some(row) => match at.checked_sub(row.last) {
                Some(step @ 1..=LONGEST_STEP) if row.by_index == by_index && (row.operations == 1 || row.step == step) => {
                    Row { last: at, step, operations: row.operations + 1, ..row }
                }
                _ => {
                    self.end(row, page);
                    begun
                }
            },
        };
        if next.operations == ROW {
            let step = next.step as u32;
            self.step = if self.step == 0 { step } else { self.step.min(step) };
        }
        self.row = Some(next);
    }

    /// Once may be a sweep that an interrupt has cut in two, and no cache has a size that is no power of 2 but for its ways.
    fn end(&mut self, row: Row, page: u32) {
        let reached = (row.last - row.first + row.step).min(u64::from(u32::MAX)) as u32;
        let is_sweep = row.by_index && row.operations >= ROW && row.first.is_multiple_of(FIRST_SET);
        if is_sweep && reached != page && reached.is_power_of_two() {
            if reached == self.last_sweep {
                self.sweep = self.sweep.max(reached);
            }
            self.last_sweep = reached;
        }
    }
}

#[cfg(test)]
mod tests {
    use congruent_geometry::{PhysAddr, VirtAddr};
    use congruent_trace::{Maintenance, Site};

    use super::*;

    const PAGE: u32 = 4096;

    #[derive(Default)]
    struct Guest(Habits);

    impl Guest {
        fn note(&mut self, target: Target) {
            let operation = Operation { on: On::Data(Maintenance::WriteBackInvalidate), target, site: Site(1) };
            self.0.note(&operation, IndexForm::WayAboveSet, PAGE);
        }

        fn sweep(&mut self, from: u32, bytes: u32, step: u32) {
            for at in (from..from + bytes).step_by(step as usize) {
                self.note(Target::Index(at));
            }
        }

        fn range(&mut self, from: u64, bytes: u64, step: u64) {
            for at in (from..from + bytes).step_by(step as usize) {
                self.note(Target::Bytes { vaddr: VirtAddr(at), paddr: PhysAddr(at), bytes: 1 });
            }
        }

        fn shows(&self) -> (u32, u32) {
            (self.0.sweep, self.0.step)
        }
    }

    const FIRST: u32 = 0x8000_0000;

    #[test]
    fn a_sweep_of_the_whole_cache_shows_its_size_when_it_is_seen_again() {
        let mut guest = Guest::default();
        guest.sweep(FIRST, 2048, 16);
        guest.sweep(FIRST, 2048, 16);
        assert_eq!(guest.shows(), (0, 16));
        guest.sweep(FIRST, 2048, 16);
        assert_eq!(guest.shows(), (2048, 16));
        // The longest counts.
        for _ in 0..3 {
            guest.sweep(FIRST, 32 << 10, 32);
        }
        guest.sweep(FIRST, 2048, 16);
        assert_eq!(guest.shows(), (32 << 10, 16));
    }

    #[test]
    fn sweeps_of_a_page_of_another_colour_or_cut_in_two_show_nothing_of_the_size() {
        for (from, bytes) in [(FIRST, 4096), (FIRST + 4096, 8192), (FIRST, 5120)] {
            let mut guest = Guest::default();
            for _ in 0..4 {
                guest.sweep(from, bytes, 32);
            }
            assert_eq!(guest.shows(), (0, 32));
        }
        let mut guest = Guest::default();
        for cut in [1024, 2048, 4096] {
            guest.sweep(FIRST, cut, 32);
            guest.range(0x4000, 32, 32);
            guest.sweep(FIRST + cut, 8192 - cut, 32);
        }
        assert_eq!(guest.shows(), (0, 32));
    }

    #[test]
    fn the_shortest_step_counts_and_no_accident_is_one() {
        let mut guest = Guest::default();
        guest.range(0x4000, 6 * 64, 64);
        assert_eq!(guest.shows(), (0, 0));
        guest.range(0x4000, 4096, 64);
        assert_eq!(guest.shows(), (0, 64));
        guest.range(0x8000, 4096, 32);
        guest.range(0x1_0000, 4096, 128);
        assert_eq!(guest.shows(), (0, 32));
    }
}
