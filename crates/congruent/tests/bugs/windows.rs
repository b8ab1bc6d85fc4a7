//! Windows taken twice, or sized for another machine: what cannot be expressed, or is an error.

use congruent::{ConfigError, CpuContext, Error, Frame, ReadWrite, VirtAddr, Window, WindowArea, WindowMapper};
use congruent_shadow::HazardClass::*;

use super::story::*;
use crate::model::machine::{Did, Machine, Shape};

fn window(library: &Library, frame: Frame) -> Result<Window<'_, Machine, ReadWrite>, Error> {
    library.settle(frame, at(library, USER))?.open()
}

fn interrupt(library: &Library, is: bool) {
    library.platform().context.set(CpuContext::new(0, u8::from(is)));
}

#[test]
fn b06_an_interrupt_in_the_middle_of_a_copy_flushes_the_same_page_through_a_window_of_its_own() {
    let library = machine(Shape::of(4));
    library.clear(PAGE, at(&library, USER)).unwrap();
    let (source, destination) = (window(&library, PAGE).unwrap(), window(&library, COPY).unwrap());
    interrupt(&library, true);
    library.device_reads(PAGE, 0, 64).unwrap();
    let third = window(&library, PAGE).unwrap();
    assert_eq!(third.colour(), source.colour());
    let addresses = [source.address(), destination.address(), third.address()];
    assert!(addresses.is_sorted_by(|a, b| a < b), "{addresses:?}");
    drop(third);
    interrupt(&library, false);
    drop((source, destination));
    assert!(library.platform().is_idle());
}

#[test]
fn b06_interrupts_that_nest_too_deeply_are_told_so() {
    let library = machine(Shape::of(4));
    interrupt(&library, true);
    let _open = [window(&library, PAGE).unwrap(), window(&library, COPY).unwrap()];
    let full = Error::NoSlot { frame: PAGE, cpu: 0, level: 1 };
    assert_eq!(window(&library, PAGE).err(), Some(full));
}

/// Windows whose address depends on nothing but the colour, as they were then.
fn by_colour_alone(library: &Library, colour: usize, frame: Frame) {
    // SAFETY: this machine's windows reach no memory.
    unsafe { library.platform().map(VirtAddr(0xff00_0000 + colour as u64 * 1024), frame) };
}

#[test]
#[should_panic(expected = "two windows at")]
fn b06_an_interrupt_that_maps_by_colour_alone_maps_twice() {
    let library = machine(Shape::of(4));
    by_colour_alone(&library, USER, PAGE);
    interrupt(&library, true);
    by_colour_alone(&library, USER, PAGE);
}

#[test]
fn b08_two_tasks_that_preempt_each_other_in_mid_copy_store_each_to_its_own_frame() {
    let library = machine(Shape::of(4));
    let first = window(&library, PAGE).unwrap();
    first.write(0, b"half").unwrap();
    let second = window(&library, COPY).unwrap();
    second.write(0, b"other").unwrap();
    first.write(4, b"rest").unwrap();
    drop(first);
    second.write(4, b"rest").unwrap();
    let log = library.platform().log.borrow();
    let stored: Vec<u64> =
        log.iter().filter_map(|did| if let Did::Store { frame, .. } = did { Some(*frame) } else { None }).collect();
    assert_eq!(stored, [PAGE.0, COPY.0, PAGE.0, COPY.0]);
}

#[test]
#[should_panic(expected = "two windows at")]
fn b08_tasks_that_map_by_colour_alone_take_each_others_window() {
    let library = machine(Shape::of(4));
    by_colour_alone(&library, USER, PAGE);
    by_colour_alone(&library, USER, COPY);
}

#[test]
fn b27_a_kernel_built_for_two_colours_copies_rightly_where_there_are_four() {
    told_on(&[Shape::of(4), Shape::of(16)], &[(ReadDirtyElsewhere, "the page is copied")], |s| {
        let user = 3;
        s.zeroed(PAGE);
        s.user_store(PAGE, user, word(0), "the program stores");
        s.kernel(
            "the page is copied",
            |then| then.copy(PAGE, user % 2, COPY, user),
            |library| library.copy(PAGE, COPY, at(library, user)),
        );
        s.user_load(COPY, user, word(0), "the program loads the copy");
    });
}

#[test]
fn b27_a_window_area_is_as_large_as_the_machine_wants_it_and_its_alignment_is_checked() {
    let area = WindowArea::new(VirtAddr(0xff00_0800), 2, 1);
    let bytes = [1, 2, 4, 16].map(|colours| area.bytes(1, &Shape::of(colours).geometry()));
    assert_eq!(bytes, [5 << 10, 10 << 10, 20 << 10, 80 << 10]);
    let refused = |colours| Machine::attempt(Shape::of(colours), &[], vec![], |config| config.windows = area).err();
    assert_eq!(refused(2), None);
    assert_eq!(refused(4), Some(ConfigError::MisplacedWindows { base: area.base, align: 4096 }));
}
