//! Kernels that cannot say no: transfers by physical range, notices, and windows that are flushed at close, one story each.
//!
//! That they are right and minimal is `tests/closure.rs`'s and `tests/interleaved`'s; here is what their callers rely on besides.

use crate::model::machine::{Did, Maintain, Pte, Shape, HALF, PAGE};
use crate::model::watched::{Watched, FRAME, READ};
use congruent::{At, Error, Frame, PhysAddr, Rights};
use congruent_trace::{AccessKind, DmaDirection};

const WRITE: Rights = Rights::WRITE;
const PAGES: u64 = PAGE as u64;

fn operations(w: &Watched) -> Vec<(Maintain, u64, usize)> {
    let log = w.kernel.platform().log.borrow();
    let operation = |did: &Did| match *did {
        Did::Maintain { op, frame, colour, .. } => Some((op, frame, colour)),
        _ => None,
    };
    log.iter().filter_map(operation).collect()
}

#[test]
fn a_transfer_by_range_goes_over_as_many_frames_as_it_takes() {
    let w = Watched::of(Shape::of(4));
    for frame in 0..3 {
        w.kernel.clear(Frame(frame), w.at(3)).unwrap();
    }
    w.drain();
    // From the middle of the first to the middle of the third.
    w.kernel.sync_for_device(PhysAddr(PAGES / 2), 2 * PAGES);
    assert_eq!(operations(w), [0, 1, 2].map(|frame| (Maintain::WriteBack, frame, 3)));
    w.device(DmaDirection::Read, Frame(1));
    w.clean();
}

#[test]
fn the_end_of_a_transfer_may_be_said_twice_or_of_one_that_never_began() {
    let w = Watched::of(Shape::of(4));
    w.kernel.clear(FRAME, w.at(1)).unwrap();
    w.map(FRAME, 1, WRITE).unwrap();
    for _ in 0..2 {
        w.kernel.sync_for_device(PhysAddr(0), PAGES);
        w.device(DmaDirection::Write, FRAME);
        for _ in 0..3 {
            w.kernel.sync_for_cpu(PhysAddr(0), PAGES);
        }
        w.user(AccessKind::Load, FRAME, 1);
        w.user(AccessKind::Store, FRAME, 1);
        // Given to a device that is then not started.
        w.kernel.sync_for_device(PhysAddr(0), PAGES);
        w.kernel.sync_for_cpu(PhysAddr(0), PAGES);
        w.user(AccessKind::Load, FRAME, 1);
    }
    w.clean();
}

#[test]
fn more_transfers_by_range_than_any_counter_holds_are_no_trouble() {
    let w = Watched::of(Shape::of(4));
    w.kernel.clear(FRAME, w.at(1)).unwrap();
    for _ in 0..10_000 {
        w.kernel.sync_for_device(PhysAddr(0), 64);
    }
    assert_eq!(w.kernel.state(FRAME).unwrap().transfers(), 0);
    w.kernel.freed(FRAME).unwrap();
}

#[test]
fn memory_of_the_heap_and_memory_without_a_word_are_given_to_devices_alike() {
    let w = Watched::of(Shape::of(4));
    w.kernel.give_to_kernel(Frame(1)).unwrap();
    w.drain();
    for _ in 0..2 {
        // The kernel may have stored again, and says nothing.
        w.kernel.platform().log.borrow_mut().clear();
        w.kernel.sync_for_device(PhysAddr(PAGES), 128);
        assert_eq!(operations(w), [(Maintain::WriteBack, 1, 1)]);
    }
}

#[test]
fn a_window_that_is_flushed_at_close_revokes_nobody_and_shows_everybody_what_was_stored() {
    let w = Watched::of(Shape::of(4));
    w.kernel.clear(FRAME, w.at(0)).unwrap();
    w.map(FRAME, 0, READ).unwrap();
    w.map(FRAME, 1, READ).unwrap();
    w.user(AccessKind::Load, FRAME, 0);
    w.user(AccessKind::Load, FRAME, 1);
    for place in [At::Home, At::Linear, w.at(2), w.at(3)] {
        let window = w.kernel.flushed_window(FRAME, place).unwrap();
        window.write(0, &[1; HALF as usize]).unwrap();
        window.read(0, &mut [0; HALF as usize]).unwrap();
        drop(window);
        assert_eq!(w.kernel.platform().ptes.borrow()[0][..3], [Pte::Read, Pte::Read, Pte::None]);
        w.user(AccessKind::Load, FRAME, 0);
        w.user(AccessKind::Load, FRAME, 1);
    }
    w.clean();
    assert!(w.kernel.platform().is_idle());
}

#[test]
fn kernel_code_that_stores_to_a_page_before_anybody_maps_it_pays_nothing_afterwards() {
    let w = Watched::of(Shape::of(4));
    // Dirty at the colour of a former owner.
    w.kernel.clear(FRAME, w.at(2)).unwrap();
    w.kernel.freed(FRAME).unwrap();
    w.kernel.kernel_touches(FRAME, At::Linear).unwrap();
    w.drain();
    w.kernel.kernel_stored(FRAME, At::Linear).unwrap();
    assert_eq!(operations(w), []);
    assert_eq!(w.kernel.colour_hint(FRAME).unwrap().index(), 0, "where it was stored");
}

#[test]
fn many_pages_are_held_or_none_is() {
    let w = Watched::of(Shape::of(4));
    let frames = [0, 1, 2].map(Frame);
    let first = w.kernel.colour_from_index(2).unwrap();
    w.kernel.hold_all(&frames, first).unwrap();
    let homes = frames.map(|frame| w.kernel.colour_hint(frame).unwrap().index());
    assert_eq!(homes, [2, 3, 0]);
    w.kernel.release_all(&frames).unwrap();
    // One of them is in use elsewhere, so none is held.
    let other = w.kernel.settle::<congruent::ReadWrite>(Frame(1), w.at(1)).unwrap();
    assert!(matches!(w.kernel.hold_all(&frames, first), Err(Error::InUse { frame: Frame(1), .. })));
    drop(other);
    for frame in frames {
        w.kernel.freed(frame).unwrap();
    }
}
