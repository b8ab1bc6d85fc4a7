//! Pages of files: written and read by calls while they are mapped, and filled before they are.

use congruent::{At, ReadWrite};
use congruent_shadow::HazardClass::*;

use super::story::*;

#[test]
fn b03_a_write_to_one_word_leaves_the_word_that_a_mapping_stored_beside_it() {
    told(&[(ClobberedNeighbour, "the program loads the second word")], |s| {
        s.zeroed(PAGE);
        s.user_load(PAGE, USER, word(0), "the program loads");
        s.user_store(PAGE, USER, word(1), "the program stores the second word");
        s.kernel(
            "write(2) stores the first word",
            |then| {
                then.store(PAGE, LINEAR, word(0));
                then.flush(PAGE, LINEAR);
            },
            |library| library.write(PAGE, 0, &[0x11; 4]),
        );
        s.user_load(PAGE, USER, word(1), "the program loads the second word");
    });
}

#[test]
fn b04_what_is_stored_to_a_fresh_shared_page_is_not_zeroed_late() {
    told(&[(WriteUnderDirtyAlias, "the program stores"), (ClobberedNeighbour, "and compares")], |s| {
        s.kernel("the page is zeroed", |then| then.store(PAGE, LINEAR, ALL), |library| library.clear(PAGE, At::Home));
        s.user_store(PAGE, USER, word(0), "the program stores");
        s.user_load(PAGE, USER, word(0), "and compares");
    });
}

#[test]
fn b09_read_sees_what_a_shared_mapping_stored() {
    told(&[(ReadDirtyElsewhere, "read(2) copies the page")], |s| {
        s.zeroed(PAGE);
        s.user_store(PAGE, USER, word(0), "the program stores");
        s.kernel("read(2) copies the page", |then| then.load(PAGE, LINEAR, ALL), |library| library.read(PAGE, 0, &mut [0; 1024]));
    });
}

#[test]
fn b09_the_kernel_reads_an_anonymous_page_that_it_has_pinned() {
    told(&[(ReadDirtyElsewhere, "the kernel reads the pinned page")], |s| {
        s.zeroed(PAGE);
        s.user_store(PAGE, USER, word(0), "the program stores");
        s.kernel(
            "the kernel reads the pinned page",
            |then| then.load(PAGE, LINEAR, word(0)),
            |library| {
                library.pin(PAGE, At::Home, |page| {
                    let read = page.read(0, &mut [0; 4]);
                    page.finish(congruent::Wrote::Nothing, read)
                })?
            },
        );
    });
}

#[test]
fn b10_a_page_that_a_driver_filled_by_hand_is_seen_by_who_maps_it() {
    told(&[(ReadDirtyElsewhere, "the program loads")], |s| {
        s.kernel(
            "the driver fills the page",
            |then| then.store(PAGE, LINEAR, ALL),
            |library| {
                // It knows nothing of windows.
                let settled = library.settle::<ReadWrite>(PAGE, At::Linear)?;
                store_through(library, settled.linear_address().unwrap());
                Ok(())
            },
        );
        s.user_load(PAGE, USER, word(0), "the program loads");
    });
}

#[test]
fn b16_persistent_memory_reads_the_same_through_the_file_system_and_through_a_mapping() {
    told(&[(ReadStaleCopy, "the program loads again")], |s| {
        s.zeroed(PAGE);
        s.user_load(PAGE, USER, word(0), "the program loads");
        s.kernel(
            "the file system stores",
            |then| {
                then.store(PAGE, LINEAR, word(0));
                then.flush(PAGE, LINEAR);
            },
            |library| {
                let settled = library.settle::<ReadWrite>(PAGE, At::Linear)?;
                store_through(library, settled.linear_address().unwrap());
                Ok(())
            },
        );
        s.user_load(PAGE, USER, word(0), "the program loads again");
    });
}

#[test]
fn b24_bytes_copied_or_zeroed_in_a_mapped_page_are_seen_by_its_users() {
    told(&[(ReadDirtyElsewhere, "the program loads again")], |s| {
        s.zeroed(PAGE);
        s.user_load(PAGE, USER, word(0), "the program loads");
        s.kernel(
            "the file system zeroes a part",
            |then| then.store(PAGE, LINEAR, word(0)),
            |library| library.write(PAGE, 0, &[0; 4]),
        );
        s.user_load(PAGE, USER, word(0), "the program loads again");
    });
}
