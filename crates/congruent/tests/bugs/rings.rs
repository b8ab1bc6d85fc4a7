//! Memory that kernel and user both have for long: rings, counters, the pages of the VDSO.

use congruent::{Error, ReadWrite, Settled};
use congruent_shadow::HazardClass::*;

use super::story::*;
use crate::model::machine::Machine;

/// Sets a ring up: the user's colour as it was then, and with the library the one at which the kernel holds it.
fn ring<'k>(s: &Story<'k>, kernel: usize, user_then: usize) -> (Option<Settled<'k, Machine, ReadWrite>>, usize) {
    s.zeroed(PAGE);
    s.kernel(
        "the ring is set up",
        |_| (None, user_then),
        |library| {
            let hold = library.settle::<ReadWrite>(PAGE, at(library, kernel))?;
            let user = library.place(Machine::user_address(user_then), hold.colour()).unwrap();
            let user = library.colour(user).index();
            Ok((Some(hold), user))
        },
    )
}

#[test]
fn b15_the_kernel_sees_the_tail_that_a_program_moved_in_its_ring() {
    told(&[(ReadDirtyElsewhere, "the kernel loads the tail")], |s| {
        let (_hold, user) = ring(s, LINEAR, USER);
        for _ in 0..2 {
            s.user_store(PAGE, user, word(0), "the program moves the tail");
            s.kernel(
                "the kernel loads the tail",
                |then| then.load(PAGE, LINEAR, word(0)),
                |library| library.read(PAGE, 0, &mut [0; 4]),
            );
        }
    });
}

#[test]
fn b17_a_program_sees_the_head_that_the_kernel_moved_in_the_buffer() {
    told(&[(ReadDirtyElsewhere, "the program loads the head")], |s| {
        let (_hold, user) = ring(s, LINEAR, USER);
        for _ in 0..2 {
            s.kernel(
                "the kernel moves the head",
                |then| then.store(PAGE, LINEAR, word(0)),
                |library| library.write(PAGE, 0, &[1; 4]),
            );
            s.user_load(PAGE, user, word(0), "the program loads the head");
        }
    });
}

#[test]
fn b18_the_clock_does_not_go_backwards_wherever_a_process_has_the_page() {
    told(&[(ReadDirtyElsewhere, "a process reads the clock")], |s| {
        s.zeroed(PAGE);
        for _ in 0..2 {
            s.kernel("the clock ticks", |then| then.store(PAGE, LINEAR, word(0)), |library| library.write(PAGE, 0, &[1; 4]));
            s.user_load(PAGE, USER, word(0), "a process reads the clock");
            // Where its page happens to be congruent with the kernel's nothing was ever amiss.
            s.user_load(PAGE, LINEAR, word(0), "another process reads the clock");
        }
    });
}

#[test]
fn b25_a_program_sees_the_events_that_the_kernel_put_into_its_aio_ring_page_by_page() {
    told(&[(ReadDirtyElsewhere, "the program loads the tail")], |s| {
        s.zeroed(PAGE);
        s.user_store(PAGE, USER, word(0), "the program clears the head");
        s.then_only("the ring is pinned", |then| then.flush(PAGE, USER));
        for _ in 0..2 {
            s.kernel(
                "an event is stored",
                |then| then.store(PAGE, LINEAR, word(1)),
                |library| library.window::<ReadWrite>(PAGE)?.write(4, &[1; 4]),
            );
            s.user_load(PAGE, USER, word(1), "the program loads the tail");
        }
    });
}

#[test]
fn b26_a_program_sees_what_was_traced_though_the_buffer_is_a_vmap_area() {
    // The linear colour was flushed, and the buffer is stored to through another one.
    let area = USER;
    told(&[(ReadDirtyElsewhere, "the program loads the trace")], |s| {
        let (_hold, user) = ring(s, area, LINEAR);
        s.kernel(
            "an event is traced",
            |then| {
                then.store(PAGE, area, word(0));
                then.flush(PAGE, LINEAR);
            },
            |library| library.write(PAGE, 0, &[1; 4]),
        );
        s.user_load(PAGE, user, word(0), "the program loads the trace");
    });
}

#[test]
fn b26_a_mapping_at_another_colour_than_the_ring_is_refused_by_name() {
    for shape in every_machine() {
        let library = machine(shape);
        library.clear(PAGE, at(&library, USER)).unwrap();
        let _hold = library.settle::<ReadWrite>(PAGE, at(&library, USER)).unwrap();
        let rights = congruent::Rights::READ;
        let mapped = library.map_user(PAGE, Machine::user_address(LINEAR), rights, || panic!("installed on {shape:?}"));
        assert_eq!(mapped, Err(Error::InUse { frame: PAGE, home: USER as u16 }));
    }
}
