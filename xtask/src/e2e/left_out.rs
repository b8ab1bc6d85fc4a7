//! Which rows of the table say nothing under an emulator, or nothing new, and why.

use super::row::{Load, Recorded, Run};
use super::table::RECORDED;
use crate::guests::emulator::Qemu;
use crate::guests::machine::Guest;
use crate::guests::skeleton::Skeleton;

impl Recorded {
    /// As [`Run::left_out`].
    pub fn left_out(&self, qemu: Qemu, again: bool) -> Option<&'static str> {
        let is_another = again && self.name != RECORDED[0].name;
        let another = is_another.then_some(
            "what is kept and found again is the recorder's affair: under another emulator one row shows that it works",
        );
        self.run.left_out(qemu, again).or(another)
    }
}

impl Run {
    /// Why it says nothing under this emulator, if so, or nothing `again`: where the table has been held against another emulator just before.
    pub fn left_out(&self, qemu: Qemu, again: bool) -> Option<&'static str> {
        match (self.load, qemu) {
            (Load::Linux { guest: Guest::Hppa, .. }, Qemu::V11_1) => {
                Some("this QEMU's firmware tells the kernel that one operation empties the cache, which no PA-7300LC does")
            }
            (Load::Linux { .. }, _) if again && !self.mute.is_empty() => {
                Some("what is missed where maintenance is muted, the judge has shown under the other emulator")
            }
            (Load::Linux { words, .. }, _) if again && !words.is_empty() => {
                Some("what a kernel does that is told of another machine, it has shown under the other emulator")
            }
            (Load::Linux { .. }, _) if again && !self.behaviour.is_empty() => {
                Some("what the judge makes of another core, it has shown under the other emulator")
            }
            (Load::Linux { .. }, _) if again && self.name.ends_with("-twin") => {
                Some("that nothing is found in a program that does it rightly, the judge has shown under the other emulator")
            }
            (Load::Skeleton(Skeleton { forgets: Some(_), .. }), _) if again => {
                Some("what is missed where a duty is left out, the judge has shown under the other emulator")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::rows;
    use super::*;

    #[test]
    fn what_is_left_out_again_has_run_and_each_board_is_judged_under_each_emulator() {
        let of = |again: bool| rows().filter(move |run| run.left_out(Qemu::V11_1, again).is_none());
        assert!(of(true).count() < of(false).count());
        assert!(rows().all(|run| run.left_out(Qemu::V10_0, false).is_none()));
        assert!(RECORDED.iter().all(|row| row.left_out(Qemu::V11_1, false).is_none()));
        assert_eq!(RECORDED.iter().filter(|row| row.left_out(Qemu::V11_1, true).is_none()).count(), 1);
        let guests = |again: bool| {
            let guest = |run: &Run| if let Load::Linux { guest, .. } = run.load { Some(guest) } else { None };
            of(again).filter_map(guest).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(guests(true), guests(false));
    }
}
