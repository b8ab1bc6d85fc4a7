//! The addresses that a maintenance instruction names, cut where what they lead to may change: at the ends of pages.
//!
//! Guarantees: in order; none is empty; the lines of all of them are the lines from that of the first address to that of the last.

use crate::translation::GRANULE;

/// Bytes on one page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// The first of them.
    pub vaddr: u32,
    /// How many, at least 1.
    pub bytes: u32,
}

impl Stretch {
    /// Lines of this length that it touches.
    pub fn lines(self, line: u32) -> u64 {
        u64::from((self.vaddr + (self.bytes - 1)) / line - self.vaddr / line) + 1
    }
}

/// What an operand names, page by page.
pub struct Stretches {
    /// What is left: from here to there, inclusive.
    left: Option<(u32, u32)>,
}

impl Stretches {
    /// The line of an address.
    pub fn line_of(vaddr: u32) -> Self {
        Self { left: Some((vaddr, vaddr)) }
    }

    /// The lines from that of the first address to that of the last, inclusive: nothing if the last one comes before. Where within its
    /// line an address lies does not matter.
    pub fn between(first: u32, last: u32, line: u32) -> Self {
        Self { left: (first / line <= last / line).then_some((first, last.max(first))) }
    }
}

impl Iterator for Stretches {
    type Item = Stretch;

    fn next(&mut self) -> Option<Stretch> {
        let (vaddr, last) = self.left?;
        let end = (vaddr | (GRANULE - 1)).min(last);
        self.left = end.checked_add(1).filter(|next| *next <= last).map(|next| (next, last));
        Some(Stretch { vaddr, bytes: end - vaddr + 1 })
    }
}

#[cfg(test)]
mod tests {
    use congruent_geometry::{CacheGeometry, PhysAddr, VirtAddr};
    use congruent_trace::{Event, IndexForm, Maintenance, On, Operation, Scope, Site, Target};

    use super::*;

    /// The lines that the judge is given for these addresses, in a cache of lines of this length.
    fn judged(stretches: Stretches, line: u32) -> Vec<u64> {
        let geometry = CacheGeometry::new(32 << 10, 4, line).unwrap();
        let events = stretches.flat_map(|Stretch { vaddr, bytes }| {
            let target = Target::Bytes { vaddr: VirtAddr(vaddr.into()), paddr: PhysAddr(vaddr.into()), bytes };
            let operation = Operation { on: On::Data(Maintenance::WriteBack), target, site: Site(0) };
            operation.events(&geometry, IndexForm::WayAboveSet)
        });
        let line_of = |event| match event {
            Event::Maintain { scope: Scope::Line { vaddr, paddr }, .. } if vaddr.0 == paddr.0 => paddr.0 / u64::from(line),
            other => panic!("{other:?}"),
        };
        events.map(line_of).collect()
    }

    #[test]
    fn a_range_has_the_lines_from_its_first_address_to_its_last_each_once() {
        // Around the end of a page, within one, over several, and at the ends of the address space.
        let edges = [0, 1, 15, 16, 31, 32, 100, 0xfdf, 0xfe0, 0xfff, 0x1000, 0x1001, 0x101f, 0x1020, 0x2fff, 0x3004];
        let addresses: Vec<u32> = edges.into_iter().chain(edges.map(|edge| u32::MAX - edge)).collect();
        let mut empty = 0;
        for line in [16, 32, 64, 128] {
            for (first, last) in addresses.iter().flat_map(|first| addresses.iter().map(move |last| (*first, *last))) {
                if last > first && last - first > 0x1_0000 {
                    continue;
                }
                let expected: Vec<u64> = (u64::from(first / line)..=u64::from(last / line)).collect();
                assert_eq!(
                    judged(Stretches::between(first, last, line), line),
                    expected,
                    "{first:#x} to {last:#x}, lines of {line}"
                );
                let counted: u64 = Stretches::between(first, last, line).map(|stretch| stretch.lines(line)).sum();
                assert_eq!(counted, expected.len() as u64);
                empty += u32::from(expected.is_empty());
            }
        }
        assert!(empty > 100, "{empty} ranges ended before they began");
    }

    #[test]
    fn a_stretch_is_on_one_page_and_an_address_is_its_line() {
        for stretch in Stretches::between(0xffff_0ff0, u32::MAX, 32) {
            assert_eq!(stretch.vaddr / GRANULE, (stretch.vaddr + (stretch.bytes - 1)) / GRANULE);
        }
        assert_eq!(judged(Stretches::line_of(0x1fff), 32), [0xff]);
        assert_eq!(judged(Stretches::line_of(u32::MAX), 128), [u64::from(u32::MAX / 128)]);
    }
}
