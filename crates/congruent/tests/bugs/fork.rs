//! Private pages: fork, copy-on-write, frames that change owners, arguments of a new program.

use congruent::At;
use congruent_shadow::HazardClass::*;

use super::story::*;
use crate::model::machine::Machine;

/// A thread stores while another one forks, and the page is copied for one of the two processes.
fn fork_and_copy(s: &Story<'_>, flush_first: bool) {
    s.zeroed(PAGE);
    s.user_store(PAGE, USER, word(0), "the parent stores");
    if flush_first {
        s.then_only("fork flushes the parent's cache", |then| then.flush(PAGE, USER));
    }
    s.user_store(PAGE, USER, word(1), "the parent's second thread stores");
    s.write_protect(PAGE);
    s.kernel(
        "the page is copied",
        |then| {
            then.copy(PAGE, LINEAR, COPY, LINEAR);
            then.flush(COPY, LINEAR);
        },
        |library| library.copy(PAGE, COPY, at(library, USER)),
    );
    s.user_load(PAGE, USER, word(1), "one process loads the page");
    s.user_load(COPY, USER, word(1), "the other one loads the copy");
    s.user_store(COPY, USER, word(1), "and stores to it");
}

#[test]
fn b01_what_a_second_thread_stores_during_fork_is_in_the_copy() {
    told(&[(ReadDirtyElsewhere, "the page is copied")], |s| fork_and_copy(s, true));
}

#[test]
fn b02_what_a_thread_stored_on_its_stack_before_fork_is_in_the_copy() {
    told(&[(ReadDirtyElsewhere, "the page is copied")], |s| fork_and_copy(s, false));
}

#[test]
fn b23_a_page_that_userfaultfd_filled_is_seen_by_who_waited_for_it() {
    told(&[(ReadDirtyElsewhere, "the program loads")], |s| {
        s.kernel("the page is filled", |then| then.store(PAGE, LINEAR, ALL), |library| library.fill(PAGE, At::Home, b"bytes"));
        s.user_load(PAGE, USER, word(0), "the program loads");
    });
}

#[test]
fn b23_a_page_that_was_migrated_is_seen_by_its_users() {
    told(&[(ReadDirtyElsewhere, "the program loads")], |s| {
        s.zeroed(PAGE);
        s.user_store(PAGE, USER, word(0), "the program stores");
        s.unmap(PAGE);
        s.kernel(
            "the page is migrated",
            |then| {
                then.flush(PAGE, USER);
                then.copy(PAGE, LINEAR, COPY, LINEAR);
            },
            |library| {
                library.copy(PAGE, COPY, At::Home)?;
                library.freed(PAGE)
            },
        );
        s.user_load(COPY, USER, word(0), "the program loads");
    });
}

#[test]
fn b29_a_page_cleared_through_the_wrong_colour_is_seen_as_zeros_nevertheless() {
    // The colour was taken from the address at which the kernel had the page, not from the user's.
    told_on(&every_machine_with_highmem(), &[(ReadDirtyElsewhere, "the program loads")], |s| {
        s.kernel("the page is cleared", |then| then.store(PAGE, LINEAR, ALL), |library| library.clear(PAGE, at(library, LINEAR)));
        s.user_load(PAGE, USER, word(0), "the program loads");
    });
}

#[test]
fn b33_a_frame_that_the_kernel_used_before_comes_clean_to_its_next_owner() {
    told(&[(WriteUnderDirtyAlias, "the program stores"), (ClobberedNeighbour, "and loads")], |s| {
        s.kernel(
            "the kernel uses the frame",
            |then| then.store(PAGE, LINEAR, ALL),
            |library| {
                let address = library.give_to_kernel(PAGE)?;
                store_through(library, address);
                library.freed(PAGE)
            },
        );
        s.now_only("the frame is cleared", |library| library.clear(PAGE, at(library, USER)));
        s.user_store(PAGE, USER, word(0), "the program stores");
        s.user_load(PAGE, USER, word(0), "and loads");
    });
}

#[test]
fn b33_a_page_that_is_lent_to_the_network_is_read_as_its_owner_wrote_it() {
    told(&[(ReadDirtyElsewhere, "the packet is summed")], |s| {
        s.zeroed(PAGE);
        s.user_store(PAGE, USER, word(0), "the program stores");
        s.kernel("the packet is summed", |then| then.load(PAGE, LINEAR, ALL), |library| library.read(PAGE, 0, &mut [0; 64]));
    });
}

#[test]
fn b36_a_program_finds_its_arguments_though_its_stack_was_shifted() {
    told(&[(ReadDirtyElsewhere, "the program loads its arguments")], |s| {
        s.zeroed(PAGE);
        s.kernel(
            "the arguments are written",
            |then| then.store(PAGE, LINEAR, word(0)),
            // Where the stack was to be at first.
            |library| library.write_argument(PAGE, Machine::user_address(LINEAR), b"argv"),
        );
        s.user_load(PAGE, USER, word(0), "the program loads its arguments");
    });
}

#[test]
fn b34_a_debugger_reads_what_the_program_stored() {
    told(&[(ReadDirtyElsewhere, "the debugger peeks")], |s| {
        s.zeroed(PAGE);
        s.user_store(PAGE, USER, word(0), "the program stores");
        s.kernel("the debugger peeks", |then| then.load(PAGE, LINEAR, word(0)), |library| library.read(PAGE, 0, &mut [0; 4]));
    });
}
