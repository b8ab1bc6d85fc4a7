//! What a finding hides is what its remedy helps: every short sequence with a finding, and the same with the remedy carried out.
//!
//! After the remedy no access may be found that was not found without it: whoever mends the first finding learns of nothing new. The
//! remedies are those of the reports: maintenance just before the access; for bytes that were lost, where they were lost.

use alloc::vec::Vec;
use std::println;

use congruent_geometry::ByteMask;
use congruent_machine::{Bypass, CodeShape, Op, Shape, Step};
use congruent_trace::Maintenance;

use super::every_step;
use super::rules::carry_out;
use super::sequences::{in_order, one_group};
use crate::finding::HazardClass;
use crate::line::{CODE, Hazard, Line};

/// All sequences up to a length, and how many go on behind the first finding.
struct Search {
    shape: Shape,
    steps: Vec<Step>,
    behind: usize,
    remedied: u64,
}

/// The bytes that these hazards are of, without what only follows from others.
fn named(hazards: &[Hazard]) -> ByteMask {
    hazards.iter().filter(|hazard| !hazard.follows).fold(ByteMask::EMPTY, |all, hazard| all | hazard.bytes)
}

impl Search {
    fn extend(&mut self, line: &Line, so_far: &mut Vec<Step>, left: usize) {
        for number in 0..self.steps.len() {
            let step = self.steps[number];
            if !in_order(self.shape.cpus, so_far, step) {
                continue;
            }
            let mut after = line.clone();
            let hazards = carry_out(&mut after, self.shape, step);
            so_far.push(step);
            if !hazards.is_empty() {
                let mended = self.mended(line, so_far, &hazards);
                self.remedied += 1;
                self.compare(&after, &mended, so_far, self.behind);
            } else if left > 1 {
                self.extend(&after, so_far, left - 1);
            }
            so_far.pop();
        }
    }

    /// The line after the same steps, with the remedies of these findings of the last one. Before that, nothing may be found.
    fn mended(&self, before: &Line, steps: &[Step], hazards: &[Hazard]) -> Line {
        let (last, earlier) = steps.split_last().expect("there is one");
        let mut earlier = earlier.to_vec();
        let mut now = Vec::new();
        let found = named(hazards);
        let write_back = |op, now: &mut Vec<Step>| {
            let data = before.copies.iter().filter(|copy| copy.colour & CODE == 0 && copy.dirty.intersects(found));
            now.extend(data.map(|copy| Step::Maintain(op, copy.colour as u8)));
        };
        for hazard in hazards {
            match hazard.class {
                HazardClass::ReadDirtyElsewhere | HazardClass::MixedAttributesRead => {
                    write_back(Maintenance::WriteBack, &mut now)
                }
                HazardClass::DmaReadStale if !hazard.bytes.intersects(before.lost()) => {
                    write_back(Maintenance::WriteBack, &mut now);
                }
                HazardClass::ReadStaleCopy => {
                    let Step::Access(_, colour, _) = *last else { panic!("{last:?} is no load") };
                    now.push(Step::Maintain(Maintenance::WriteBackInvalidate, colour));
                }
                HazardClass::FetchDirty | HazardClass::FetchStaleCopy => {
                    write_back(Maintenance::WriteBack, &mut now);
                    let Step::Fetch(through, _) = *last else { panic!("{last:?} is no fetch") };
                    let served = self.shape.serves_fetch(through);
                    now.extend(served.map(|colour| Step::Maintain(Maintenance::WriteBackInvalidate, colour)));
                    now.push(Step::DropCode(through));
                }
                HazardClass::WriteUnderDirtyAlias | HazardClass::DmaWriteUnderDirty | HazardClass::MixedAttributesWrite => {
                    write_back(Maintenance::WriteBackInvalidate, &mut now);
                }
                _ => earlier = self.never_lost(&earlier, hazard.bytes),
            }
        }
        let mut line = Line::default();
        for step in earlier.into_iter().chain(now) {
            let found = carry_out(&mut line, self.shape, step);
            assert!(found.is_empty(), "{steps:?}: the remedy is found at {step:?}: {found:?}");
        }
        carry_out(&mut line, self.shape, *last);
        line
    }

    /// The steps with the remedy against losing these bytes: what was invalidated is written back as well; all copies are written back
    /// and invalidated before the step with which an old one may be written over them.
    fn never_lost(&self, steps: &[Step], bytes: ByteMask) -> Vec<Step> {
        let mut line = Line::default();
        let mut kept = Vec::new();
        for step in steps {
            let lost = |line: &Line| [line.discarded & bytes, line.clobbered & bytes];
            let [mut next, mut other] = [line.clone(), line.clone()];
            carry_out(&mut next, self.shape, *step);
            let mut step = *step;
            if let (true, Step::Maintain(Maintenance::Invalidate, colour)) = (lost(&next)[0] != lost(&line)[0], step) {
                step = Step::Maintain(Maintenance::WriteBackInvalidate, colour);
            }
            if let (true, Step::Whole(Maintenance::Invalidate, cpu)) = (lost(&next)[0] != lost(&line)[0], step) {
                step = Step::Whole(Maintenance::WriteBackInvalidate, cpu);
            }
            if !(lost(&next)[1] - lost(&line)[1]).is_empty() {
                let all = Step::Whole(Maintenance::WriteBackInvalidate, 0);
                carry_out(&mut other, self.shape, all);
                kept.push(all);
            }
            carry_out(&mut other, self.shape, step);
            kept.push(step);
            line = other;
        }
        kept
    }

    /// Whatever comes next is found of the mended line only if it is found of the other.
    fn compare(&self, line: &Line, mended: &Line, so_far: &mut Vec<Step>, left: usize) {
        for step in &self.steps {
            if left == 0 || !in_order(self.shape.cpus, so_far, *step) {
                continue;
            }
            let [mut line, mut mended] = [line.clone(), mended.clone()];
            let found = named(&carry_out(&mut line, self.shape, *step));
            let found_mended = named(&carry_out(&mut mended, self.shape, *step));
            assert!(
                (found_mended - found).is_empty(),
                "after {so_far:?}: {step:?} is found only once the first finding is mended"
            );
            // What comes behind another finding is for that one to hide.
            if found.is_empty() {
                so_far.push(*step);
                self.compare(&line, &mended, so_far, left - 1);
                so_far.pop();
            }
        }
    }
}

fn search(shape: Shape, kept: impl Fn(&Step) -> bool, before: usize, behind: usize) {
    let steps = every_step(shape).into_iter().filter(one_group).filter(kept);
    let mut search = Search { shape, steps: steps.collect(), behind, remedied: 0 };
    search.extend(&Line::default(), &mut Vec::new(), before);
    println!("{shape:?}: {} sequences with a finding", search.remedied);
    assert!(search.remedied > 1000, "{shape:?}: too few");
}

fn is_usual(step: &Step) -> bool {
    !matches!(step, Step::Index(..) | Step::DropCodeIndex(..) | Step::Prefetch(_) | Step::Past(Bypass::Uncached, ..))
}

#[test]
fn whoever_mends_the_first_finding_of_two_colours_learns_of_nothing_new() {
    search(Shape::new(2, 2, 1), |step| is_usual(step) && !matches!(step, Step::Whole(..)), 4, 2);
    search(Shape { groups_per_unit: 1, ..Shape::new(2, 2, 1) }, |step| is_usual(step) && !matches!(step, Step::Whole(..)), 4, 1);
}

#[test]
fn whoever_mends_the_first_finding_of_three_colours_learns_of_nothing_new() {
    search(Shape::new(3, 1, 1), |step| is_usual(step) && !matches!(step, Step::Past(_, Op::Store, _) | Step::Whole(..)), 5, 2);
}

#[test]
fn whoever_mends_the_first_finding_of_code_learns_of_nothing_new() {
    for fills_from_data in [false, true] {
        let shape = Shape::new(2, 1, 1).with_code(CodeShape { colours: 1, ways: 1, fills_from_data });
        search(shape, |step| is_usual(step) && !matches!(step, Step::Whole(..)), 4, 2);
    }
}
