//! Calls that overlap, one story each: what another CPU or an interrupt does between two instructions of a call of the library.
//!
//! Each was once enough to make somebody see old bytes, or somebody else's. All interleavings of such calls are in
//! `tests/interleaved`; these are told so that they can be read.

use crate::model::line::COLOURS;
use crate::model::machine::{Machine, Pte, Shape, When, HALF, PAGE};
use crate::model::watched::{Watched, FRAME, READ};
use congruent::state::State;
use congruent::{At, Error, Frame};
use congruent_trace::{AccessKind, DmaDirection};

/// Readers at colours 0 and 1; the home is 1.
fn spread(shape: Shape) -> &'static Watched {
    let w = Watched::of(shape);
    w.kernel.clear(FRAME, w.at(0)).unwrap();
    w.map(FRAME, 0, READ).unwrap();
    w.map(FRAME, 1, READ).unwrap();
    w
}

/// The frame is written: half of it by the kernel at the home, or all of it by a device.
fn overwrite(w: &Watched, by_device: bool) {
    if by_device {
        let transfer = w.kernel.device_writes(FRAME, 0, PAGE).unwrap();
        w.device(DmaDirection::Write, FRAME);
        transfer.complete().unwrap();
    } else {
        w.kernel.write(FRAME, 0, &[1; HALF as usize]).unwrap();
    }
}

#[test]
fn a_mapping_that_is_being_installed_is_not_forgotten_when_the_last_of_the_others_is_revoked() {
    for device in [false, true] {
        let w = spread(Shape::of(4));
        // A third user faults at colour 1, whose entry is not there yet. Colour 1 was unmapped by its user, without a word.
        w.kernel.platform().ptes.borrow_mut()[0][1] = Pte::None;
        w.kernel
            .map_user(FRAME, Machine::user_address(1), READ, || {
                // Another CPU: the one entry that there is goes, and none is left, as the kernel says truthfully.
                overwrite(w, device);
                w.install(FRAME, 1, READ);
            })
            .unwrap();
        w.user(AccessKind::Load, FRAME, 1);
        assert!(w.kernel.state(FRAME).unwrap().mapped(), "the library has forgotten that there is a user");
        // Who writes at another colour takes the user's rights away, or the user would see the old bytes for ever.
        let settled = w.kernel.settle::<congruent::ReadWrite>(FRAME, w.at(2)).unwrap();
        settled.open().unwrap().write(0, &[2; HALF as usize]).unwrap();
        assert_eq!(w.kernel.platform().ptes.borrow()[0], [Pte::None; COLOURS], "nobody revoked it");
        w.clean();
    }
}

/// The cache has what the frame held, clean and old, and memory what a device has brought.
fn old_copy_at_home(w: &Watched) {
    w.kernel.clear(FRAME, w.at(1)).unwrap();
    w.kernel.device_reads(FRAME, 0, PAGE).unwrap();
    let transfer = w.kernel.device_writes(FRAME, 0, PAGE).unwrap();
    w.device(DmaDirection::Write, FRAME);
    transfer.complete().unwrap();
    assert_eq!(w.kernel.state(FRAME).unwrap().stale(), 1 << 1);
}

#[test]
fn what_a_frame_held_is_not_believed_after_an_overwriting_that_found_no_window() {
    let w = Watched::of(Shape { linear: false, speculative: false, ..Shape::of(4) });
    old_copy_at_home(w);
    let others: Vec<_> = (1..4).map(|frame| w.kernel.window::<congruent::ReadWrite>(Frame(frame)).unwrap()).collect();
    let last = w.kernel.window::<congruent::ReadWrite>(Frame(1)).unwrap();
    // It may need none of its own; if it does, nothing has changed.
    let cleared = w.kernel.clear(FRAME, At::Home);
    assert!(matches!(cleared, Ok(()) | Err(Error::NoSlot { .. })), "{cleared:?}");
    drop((others, last));
    w.kernel.read(FRAME, 0, &mut [0; HALF as usize]).unwrap();
    w.clean();
}

#[test]
fn nobody_reads_what_a_frames_former_owner_left_while_it_is_overwritten() {
    for linear in [true, false] {
        for at_home in [false, true] {
            let w = Watched::of(Shape { linear, ..Shape::of(4) });
            let mut place = w.at(2);
            if at_home {
                // The cache has the former owner's bytes, memory what a device has brought.
                old_copy_at_home(w);
                place = At::Home;
            } else {
                // Memory has the former owner's bytes, the cache this one's.
                w.kernel.clear(FRAME, w.at(1)).unwrap();
            }
            w.drain();
            let other_cpu = move || {
                w.drain();
                let busy = Some(Error::Busy(FRAME));
                assert_eq!(w.kernel.read(FRAME, 0, &mut [0; HALF as usize]).err(), busy, "a reader of the kernel's");
                assert_eq!(w.map(FRAME, 2, READ).err(), busy, "a user");
                assert_eq!(w.kernel.device_reads(FRAME, 0, PAGE).err(), busy, "a device");
            };
            w.kernel.platform().meanwhile(When::Storing, other_cpu);
            w.kernel.clear(FRAME, place).unwrap();
            w.map(FRAME, 2, READ).unwrap();
            w.user(AccessKind::Load, FRAME, 2);
            w.clean();
        }
    }
}

#[test]
fn a_page_that_others_map_is_overwritten_without_a_moment_in_which_they_read_older_bytes() {
    let w = Watched::of(Shape::of(4));
    w.kernel.clear(FRAME, w.at(1)).unwrap();
    w.map(FRAME, 1, READ).unwrap();
    w.kernel.platform().meanwhile(When::Storing, move || w.user(AccessKind::Load, FRAME, 1));
    w.kernel.clear(FRAME, At::Home).unwrap();
    w.user(AccessKind::Load, FRAME, 1);
    w.clean();
}

#[test]
fn two_thread_slots_are_enough_for_a_copy_onto_a_frame_that_is_dirty_elsewhere() {
    for old in [0, 1, 2, 3] {
        let kernel = Machine::configured(
            Shape { linear: false, ..Shape::of(4) },
            &[State::UNCACHED; 4],
            vec![[Pte::None; COLOURS]; 4],
            |config| config.windows = congruent::WindowArea::new(config.windows.base, 2, 0),
        );
        let at = |colour| At::Colour(kernel.colour_from_index(colour).unwrap());
        kernel.clear(Frame(1), at(1)).unwrap();
        kernel.clear(FRAME, at(old)).unwrap();
        kernel.copy(Frame(1), FRAME, at(2)).unwrap();
        // Maintenance needs none of them.
        let windows = [2, 3].map(|frame| kernel.window::<congruent::ReadOnly>(Frame(frame)).unwrap());
        drop(kernel.settle::<congruent::ReadWrite>(FRAME, at(3)).unwrap());
        drop(windows);
        assert!(kernel.platform().is_idle());
    }
}

#[test]
fn while_rights_are_taken_away_others_use_the_frame_where_it_is_and_announce_nothing() {
    let w = spread(Shape::of(4));
    let other_cpu = move || {
        assert!(!w.kernel.state(FRAME).unwrap().busy(), "a revocation may take long");
        w.kernel.read(FRAME, 0, &mut [0; HALF as usize]).unwrap();
        w.kernel.device_reads(FRAME, 0, PAGE).unwrap();
        assert_eq!(w.map(FRAME, 1, READ).err(), Some(Error::MustRevoke(FRAME)), "it would be missed, or revoked in vain");
        assert_eq!(w.kernel.settle::<congruent::ReadWrite>(FRAME, w.at(3)).err(), Some(Error::MustRevoke(FRAME)));
    };
    w.kernel.platform().meanwhile(When::Revoking, other_cpu);
    let settled = w.kernel.settle::<congruent::ReadWrite>(FRAME, w.at(2)).unwrap();
    settled.open().unwrap().write(0, &[1; HALF as usize]).unwrap();
    w.map(FRAME, 2, READ).unwrap();
    w.user(AccessKind::Load, FRAME, 2);
    w.clean();
}

#[test]
fn a_frame_that_a_reader_takes_elsewhere_while_its_users_are_revoked_for_a_writer_is_not_taken_for_unmapped_there() {
    for device in [false, true] {
        let w = spread(Shape::of(4));
        // The writer is going to write at the home, colour 1, and has taken the rights of all others away. Before it goes on, a reader
        // of another CPU settles the frame at colour 2: the users that are left are not at the home any more.
        let other_cpu = move || drop(w.kernel.settle::<congruent::ReadOnly>(FRAME, w.at(2)).unwrap());
        w.kernel.platform().meanwhile(When::Revoking, other_cpu);
        overwrite(w, device);
        let user = w.kernel.platform().ptes.borrow()[0][1];
        if user != Pte::None {
            w.user(AccessKind::Load, FRAME, 1);
        }
        w.clean();
    }
}

#[test]
fn maintenance_is_done_while_the_cpu_runs_nothing_else() {
    let w = Watched::of(Shape { linear: false, ..Shape::of(4) });
    w.kernel.clear(FRAME, w.at(1)).unwrap();
    let before = w.kernel.platform().preemptible();
    assert!(before);
    let seen = move || assert!(!w.kernel.platform().preemptible(), "who waits for this waits for ever, under fixed priorities");
    w.kernel.platform().meanwhile(When::Maintaining, seen);
    drop(w.kernel.settle::<congruent::ReadWrite>(FRAME, w.at(2)).unwrap());
    assert!(w.kernel.platform().preemptible());
}
