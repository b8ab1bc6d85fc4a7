//! Long lists made short: what of a list of steps is needed to show what it shows.
//!
//! Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", IEEE TSE 2002), on complements
//! only: chunks are taken out, ever smaller ones, while what remains still shows it. Then lengths are halved.

use alloc::vec::Vec;

use congruent_vm::{Op, Step};

/// A sublist of `steps`, some with shorter stretches of bytes, for which `shows` holds and from which no single step can be left
/// out. `shows` must hold for `steps`, and for the same list always say the same.
///
/// Calls `shows` about `n log n` times for a result much shorter than `n`, and at worst `n²` times.
pub fn shrink(steps: &[Step], mut shows: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut steps = steps.to_vec();
    // What comes after the step that shows it is not needed; half by half finds that end if more steps never hide it, and what it
    // gets wrong costs only time.
    let (mut too_short, mut enough) = (0, steps.len());
    while enough - too_short > 1 {
        let middle = too_short.midpoint(enough);
        if shows(&steps[..middle]) {
            enough = middle;
        } else {
            too_short = middle;
        }
    }
    steps.truncate(enough);
    let mut chunk = steps.len().div_ceil(2).max(1);
    loop {
        let mut removed = false;
        let mut end = steps.len();
        // From the end: what depends on earlier steps goes before they do.
        while end > 0 {
            let start = end.saturating_sub(chunk);
            let rest = [&steps[..start], &steps[end..]].concat();
            if shows(&rest) {
                steps = rest;
                removed = true;
            }
            end = start;
        }
        if chunk > 1 {
            chunk = chunk.div_ceil(2);
        } else if !removed {
            break;
        }
    }
    for at in 0..steps.len() {
        while let Some(op) = shorter(steps[at].op) {
            let longer = core::mem::replace(&mut steps[at].op, op);
            if !shows(&steps) {
                steps[at].op = longer;
                break;
            }
        }
    }
    steps
}

/// The same with half as many bytes, down to a word.
fn shorter(mut op: Op) -> Option<Op> {
    let len = match &mut op {
        Op::Load(bytes) | Op::Run(bytes) | Op::SyncCode(bytes) | Op::RingTake(bytes) => &mut bytes.len,
        Op::Store { to, .. } | Op::Poke { to, .. } | Op::RemoteWrite { to, .. } | Op::RingPost { to, .. } => &mut to.len,
        Op::Peek { from, .. } | Op::RemoteRead { from, .. } => &mut from.len,
        Op::Read { to, .. } | Op::PipeRead { to, .. } => &mut to.len,
        Op::Write { from, .. } | Op::PipeWrite { from, .. } => &mut from.len,
        _ => return None,
    };
    if *len <= 4 {
        return None;
    }
    *len = (*len / 2).next_multiple_of(4);
    Some(op)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use congruent_vm::{AreaId, Bytes, TaskId};

    use super::*;

    fn load(offset: u32, len: u32) -> Step {
        Step { task: TaskId(0), op: Op::Load(Bytes { area: AreaId(0), offset, len }) }
    }

    #[test]
    fn only_the_steps_that_matter_are_left() {
        let steps: Vec<Step> = (0..1000).map(|at| load(at, 4)).collect();
        let needed = [load(17, 4), load(500, 4), load(501, 4), load(900, 4)];
        let mut asked = 0;
        let short = shrink(&steps, |steps| {
            asked += 1;
            needed.iter().all(|step| steps.contains(step))
        });
        assert_eq!(short, needed);
        assert!(asked < 500, "{asked} runs");
    }

    #[test]
    fn lengths_are_halved_while_they_can_be() {
        let wide = |steps: &[Step]| steps.iter().any(|step| matches!(step.op, Op::Load(bytes) if bytes.len > 100));
        assert_eq!(shrink(&[load(0, 4096), load(8, 4096)], wide), vec![load(0, 128)]);
    }

    #[test]
    fn what_later_steps_would_hide_is_still_found() {
        // Shown by an even number of steps with the first among them.
        let odd = |steps: &[Step]| steps.first() == Some(&load(0, 4)) && steps.len().is_multiple_of(2);
        let steps: Vec<Step> = (0..64).map(|at| load(at, 4)).collect();
        let short = shrink(&steps, odd);
        assert!(odd(&short) && short.len() < 64, "{short:?}");
    }
}
