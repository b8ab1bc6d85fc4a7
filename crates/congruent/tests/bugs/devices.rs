//! Devices, and drivers that are their own device.

use congruent::{At, ReadWrite, Transfer, Wrote};
use congruent_shadow::HazardClass::*;

use super::story::*;
use crate::model::machine::{Machine, Shape, PAGE as PAGE_SIZE};

/// Announces that a device is going to write the page: what the kernel did then, or the library's transfer.
fn device_will_write<'k>(s: &Story<'k>, what: &'static str, then: impl FnOnce(&Then<'_, 'k>)) -> Option<Transfer<'k, Machine>> {
    s.kernel(
        what,
        |kernel| {
            then(kernel);
            None
        },
        |library| library.device_writes(PAGE, 0, PAGE_SIZE).map(Some),
    )
}

#[test]
fn b11_a_sector_that_the_processor_moved_for_direct_io_is_seen_by_the_program() {
    told(&[(ReadDirtyElsewhere, "the program loads the sector")], |s| {
        s.zeroed(PAGE);
        s.user_store(PAGE, USER, word(0), "the program stores");
        s.then_only("the page is pinned", |then| {
            then.flush(PAGE, USER);
            then.flush(PAGE, LINEAR);
        });
        s.kernel(
            "the driver moves the sector",
            |then| then.store(PAGE, LINEAR, ALL),
            |library| {
                library.pin(PAGE, At::Linear, |page| {
                    store_through(library, page.linear_address().unwrap());
                    page.finish(Wrote::Data, ())
                })
            },
        );
        s.user_load(PAGE, USER, word(0), "the program loads the sector");
    });
}

/// The colour of the vmap area.
const AREA: usize = 1;

#[test]
fn b12_a_device_reads_what_was_stored_in_a_vmap_area() {
    told(&[(DmaReadStale, "the disk reads")], |s| {
        s.zeroed(PAGE);
        let area = s.kernel(
            "the area is mapped",
            |_| None,
            |library| library.settle::<ReadWrite>(PAGE, at(library, AREA))?.open().map(Some),
        );
        s.kernel("metadata is stored", |then| then.store(PAGE, AREA, word(0)), |_| area.as_ref().unwrap().write(0, &[1; 4]));
        s.kernel("the disk is told", |then| then.flush(PAGE, LINEAR), |library| library.device_reads(PAGE, 0, PAGE_SIZE));
        s.device_reads(PAGE, ALL, "the disk reads");
    });
}

#[test]
fn b12_a_vmap_area_shows_what_a_device_wrote() {
    told(&[(ReadStaleCopy, "metadata is loaded again")], |s| {
        s.zeroed(PAGE);
        let area = s.kernel(
            "the area is mapped",
            |_| None,
            |library| library.settle::<ReadWrite>(PAGE, at(library, AREA))?.open().map(Some),
        );
        s.kernel("metadata is loaded", |then| then.load(PAGE, AREA, ALL), |_| area.as_ref().unwrap().read(0, &mut [0; 64]));
        let transfer = device_will_write(s, "the disk is told", |then| then.flush(PAGE, LINEAR));
        s.device_writes(PAGE, ALL, "the disk writes");
        s.kernel("the disk is done", |then| then.invalidate(PAGE, LINEAR), |_| complete(transfer));
        s.kernel("metadata is loaded again", |then| then.load(PAGE, AREA, ALL), |_| area.as_ref().unwrap().read(0, &mut [0; 64]));
    });
}

fn direct_output(s: &Story<'_>) {
    s.zeroed(PAGE);
    s.user_store(PAGE, USER, word(0), "the program stores");
    s.kernel("the disk is told", |then| then.flush(PAGE, LINEAR), |library| library.device_reads(PAGE, 0, PAGE_SIZE));
    s.device_reads(PAGE, ALL, "the disk reads");
}

#[test]
fn b13_direct_output_takes_what_the_program_stored() {
    told(&[(DmaReadStale, "the disk reads")], direct_output);
}

#[test]
fn the_judge_objects_to_the_library_if_its_maintenance_is_left_out() {
    // What the kernel had cleared, and what the program had stored.
    assert_eq!(told_without_maintenance(direct_output), [(DmaReadStale, "the disk reads"); 2]);
}

#[test]
fn b13_direct_input_is_seen_by_a_program_that_looked_before() {
    told(&[(ReadStaleCopy, "the program loads again")], |s| {
        s.zeroed(PAGE);
        s.user_load(PAGE, USER, word(0), "the program loads");
        let transfer = device_will_write(s, "the disk is told", |then| then.flush(PAGE, LINEAR));
        s.device_writes(PAGE, ALL, "the disk writes");
        s.kernel("the disk is done", |then| then.invalidate(PAGE, LINEAR), |_| complete(transfer));
        s.user_load(PAGE, USER, word(0), "the program loads again");
    });
}

#[test]
fn b20_a_device_reads_a_page_that_was_mapped_for_a_moment_only() {
    told_on(&every_machine_with_highmem(), &[(DmaReadStale, "the disk reads")], |s| {
        s.zeroed(PAGE);
        s.kernel("the kernel stores", |then| then.store(PAGE, LINEAR, word(0)), |library| library.write(PAGE, 0, &[1; 4]));
        s.now_only("the disk is told", |library| library.device_reads(PAGE, 0, PAGE_SIZE));
        s.device_reads(PAGE, ALL, "the disk reads");
    });
}

#[test]
fn b28_whichever_colour_is_dirty_reaches_the_device() {
    for dirty in 2..4 {
        told_on(&[Shape::of(4), Shape::of(16)], &[(DmaReadStale, "the disk reads")], |s| {
            s.zeroed(PAGE);
            s.user_store(PAGE, dirty, word(0), "the program stores");
            s.kernel(
                "every alias is killed",
                // Digits meant in binary and written in hexadecimal: of four colours, two, twice.
                |then| [0, 1, 0x10, 0x11].into_iter().for_each(|alias| then.flush(PAGE, alias % 4)),
                |library| library.device_reads(PAGE, 0, PAGE_SIZE),
            );
            s.device_reads(PAGE, ALL, "the disk reads");
        });
    }
}

#[test]
fn b35_an_uncached_view_of_a_page_is_a_device_to_the_cache() {
    told(&[(MixedAttributesRead, "the other core loads"), (ReadStaleCopy, "the program loads again")], |s| {
        s.zeroed(PAGE);
        s.user_store(PAGE, USER, word(0), "the program stores");
        s.kernel(
            "the other core loads",
            |then| then.uncached_load(PAGE, word(0)),
            |library| library.device_reads(PAGE, 0, PAGE_SIZE),
        );
        s.device_reads(PAGE, word(0), "the other core loads");
        let transfer = device_will_write(s, "the other core stores", |then| then.uncached_store(PAGE, word(0)));
        s.device_writes(PAGE, word(0), "the other core stores");
        s.kernel("the other core is done", |_| (), |_| complete(transfer));
        s.user_load(PAGE, USER, word(0), "the program loads again");
    });
}
