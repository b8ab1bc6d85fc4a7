//! The skeleton on the host: processes fork, store and exit, files are read and mapped, and everybody sees what was stored last.

use congruent::VirtAddr;
use skeleton::boot::boot;
use skeleton::fault::{Fault, break_cow, fault, fork, unmap, zero_fill};
use skeleton::file::{File, fill, map, read, write};
use skeleton::{Hardware, Kernel, PAGE};

const PARENT: usize = 0;
const CHILD: usize = 1;
const HEAP: VirtAddr = VirtAddr(0x1_3000);

fn kernel() -> Kernel {
    boot(Hardware::new()).expect("the host's stand-in can be served")
}

fn frame(kernel: &Kernel, space: usize, address: VirtAddr) -> congruent::Frame {
    kernel.platform().spaces[space].get(address).expect("the page is mapped").frame
}

/// A user's load, which faults if the processor does not have the page.
fn byte(kernel: &Kernel, space: usize, address: VirtAddr) -> u8 {
    if !kernel.platform().spaces[space].get(address).is_some_and(|entry| entry.present) {
        fault(kernel, space, address, false).unwrap();
    }
    let mut byte = [0];
    kernel.platform().peek(frame(kernel, space, address), 0, &mut byte);
    byte[0]
}

/// A user's store, which faults if the processor does not let it through.
fn store(kernel: &Kernel, space: usize, address: VirtAddr, value: u8) {
    if !kernel.platform().spaces[space].get(address).is_some_and(|entry| entry.write) {
        fault(kernel, space, address, true).unwrap();
    }
    kernel.platform().poke(frame(kernel, space, address), 0, &[value]);
}

#[test]
fn a_child_keeps_what_it_saw_at_fork_when_its_parent_stores() {
    let kernel = kernel();
    zero_fill(&kernel, PARENT, HEAP).unwrap();
    store(&kernel, PARENT, HEAP, 1);
    fork(&kernel, PARENT, CHILD).unwrap();
    assert_eq!(frame(&kernel, PARENT, HEAP), frame(&kernel, CHILD, HEAP));
    store(&kernel, PARENT, HEAP, 2);
    assert_eq!((byte(&kernel, PARENT, HEAP), byte(&kernel, CHILD, HEAP)), (2, 1));
}

#[test]
fn fork_and_copy_on_write_into_fresh_frames_of_the_right_colour_need_no_maintenance() {
    let kernel = kernel();
    // The colour that fresh frames suit best.
    let address = kernel.place(VirtAddr(0x1_0000), kernel.colour(VirtAddr(0))).unwrap();
    zero_fill(&kernel, PARENT, address).unwrap();
    store(&kernel, PARENT, address, 1);
    let before = kernel.platform().maintenance();
    fork(&kernel, PARENT, CHILD).unwrap();
    break_cow(&kernel, CHILD, address).unwrap();
    assert_eq!(kernel.platform().maintenance(), before);
}

#[test]
fn a_store_to_what_is_not_mapped_is_a_segmentation_fault() {
    assert_eq!(break_cow(&kernel(), PARENT, HEAP), Err(Fault::Segmentation(HEAP)));
}

#[test]
fn frames_come_back_when_the_last_process_has_gone() {
    let kernel = kernel();
    for round in 0..2 * skeleton::FRAMES {
        zero_fill(&kernel, PARENT, HEAP).unwrap_or_else(|fault| panic!("round {round}: {fault:?}"));
        fork(&kernel, PARENT, CHILD).unwrap();
        unmap(&kernel, PARENT, HEAP).unwrap();
        unmap(&kernel, CHILD, HEAP).unwrap();
    }
}

#[test]
fn processes_that_map_a_file_at_different_colours_take_turns_and_see_each_others_stores() {
    let kernel = kernel();
    let frames = [kernel.platform().allocate(|_| true).unwrap()];
    let file = File { frames: &frames };
    fill(&kernel, &file, &[7]).unwrap();
    let (here, there) = (VirtAddr(0x1_0000), VirtAddr(0x1_1000));
    map(&kernel, PARENT, here, &file, 0, true).unwrap();
    map(&kernel, CHILD, there, &file, 0, true).unwrap();
    for turn in 0..4 {
        assert!(!kernel.platform().spaces[PARENT].get(here).unwrap().write, "the other one has it");
        assert_eq!(byte(&kernel, PARENT, here), 7 + turn);
        store(&kernel, PARENT, here, 17 + turn);
        assert!(!kernel.platform().spaces[CHILD].get(there).unwrap().present, "now this one has it");
        assert_eq!(byte(&kernel, CHILD, there), 17 + turn);
        store(&kernel, CHILD, there, 8 + turn);
    }
    fork(&kernel, CHILD, PARENT).unwrap();
    store(&kernel, PARENT, there, 99);
    assert_eq!(byte(&kernel, CHILD, there), 99, "what is shared stays shared");
}

#[test]
fn a_store_to_a_page_that_may_only_be_read_is_a_segmentation_fault() {
    let kernel = kernel();
    let frames = [kernel.platform().allocate(|_| true).unwrap()];
    map(&kernel, PARENT, HEAP, &File { frames: &frames }, 0, false).unwrap();
    assert_eq!(fault(&kernel, PARENT, HEAP, true), Err(Fault::Segmentation(HEAP)));
}

#[test]
fn a_file_that_is_mapped_at_every_colour_reads_as_written() {
    let kernel = kernel();
    let frames: Vec<_> = (0..2).map(|_| kernel.platform().allocate(|_| true).unwrap()).collect();
    let file = File { frames: &frames };
    let bytes: Vec<u8> = (0..2 * PAGE).map(|k| k as u8).collect();
    fill(&kernel, &file, &bytes).unwrap();
    for page in 0..8 {
        let address = VirtAddr(0x1_0000 + page * PAGE);
        map(&kernel, PARENT, address, &file, 0, page % 2 == 0).unwrap();
        assert_eq!(write(&kernel, &file, PAGE - 1, &[page as u8, 0xee]).unwrap(), 2);
        let mut read_back = [0; 4];
        assert_eq!(read(&kernel, &file, PAGE - 2, &mut read_back).unwrap(), 4);
        assert_eq!(read_back, [0xfe, page as u8, 0xee, 1]);
    }
    assert_eq!(read(&kernel, &file, 2 * PAGE - 1, &mut [0; 9]).unwrap(), 1, "past the end of the file there is nothing");
}
