//! The skeleton on the host: processes fork, store and exit, files are read and mapped, and everybody sees what was stored last.

use congruent::VirtAddr;
use skeleton::boot::boot;
use skeleton::exec::{LONGEST, Program, exec};
use skeleton::fault::{Fault, break_cow, fault, fork, unmap, zero_fill};
use skeleton::file::{File, fill, map, read, write};
use skeleton::space::{END, START};
use skeleton::{Hardware, Kernel, PAGE, direct, user};

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
fn a_frame_comes_back_when_all_who_shared_it_have_copies_of_their_own() {
    let kernel = kernel();
    for round in 0..2 * skeleton::FRAMES {
        zero_fill(&kernel, PARENT, HEAP).unwrap_or_else(|fault| panic!("round {round}: {fault:?}"));
        fork(&kernel, PARENT, CHILD).unwrap();
        store(&kernel, PARENT, HEAP, 1);
        store(&kernel, CHILD, HEAP, 2);
        unmap(&kernel, PARENT, HEAP).unwrap();
        unmap(&kernel, CHILD, HEAP).unwrap();
    }
}

#[test]
fn a_file_keeps_its_frames_when_nobody_has_them_mapped() {
    let kernel = kernel();
    let frames = [kernel.platform().allocate(|_| true).unwrap()];
    let file = File { frames: &frames };
    fill(&kernel, &file, &[7]).unwrap();
    map(&kernel, PARENT, HEAP, &file, 0, true).unwrap();
    unmap(&kernel, PARENT, HEAP).unwrap();
    assert_ne!(kernel.platform().allocate(|_| true), Some(frames[0]));
    let mut byte = [0];
    assert_eq!((read(&kernel, &file, 0, &mut byte), byte), (Ok(1), [7]));
}

/// A program of a page of code and a page of data, all of whose bytes are 3, made by `exec` in the parent.
fn program(kernel: &Kernel, arguments: &[u8], check: impl FnOnce(VirtAddr)) {
    let frames = [(); 2].map(|()| kernel.platform().allocate(|_| true).unwrap());
    let file = File { frames: &frames };
    fill(kernel, &file, &[3; 2 * PAGE as usize]).unwrap();
    check(exec(kernel, PARENT, &Program { file, code: 1 }, arguments).unwrap());
}

#[test]
fn a_program_sees_its_arguments_its_file_and_nothing_of_what_was_there_before() {
    let kernel = kernel();
    zero_fill(&kernel, PARENT, HEAP).unwrap();
    store(&kernel, PARENT, HEAP, 1);
    program(&kernel, b"init", |address| {
        let mut bytes = [9; 5];
        user::load(&kernel, PARENT, address, &mut bytes).unwrap();
        assert_eq!((&bytes, address.0), (b"init\0", END - LONGEST as u64));
        assert_eq!((byte(&kernel, PARENT, HEAP), byte(&kernel, PARENT, VirtAddr(START))), (0, 3));
        let data = VirtAddr(START + PAGE);
        store(&kernel, PARENT, data, 4);
        assert_eq!(byte(&kernel, PARENT, data), 4);
        assert_eq!(fault(&kernel, PARENT, VirtAddr(START), true), Err(Fault::Segmentation(VirtAddr(START))));
    });
}

#[test]
fn what_a_debugger_pokes_into_code_is_the_childs_alone() {
    let kernel = kernel();
    program(&kernel, b"", |_| {
        let code = VirtAddr(START + 6);
        fork(&kernel, PARENT, CHILD).unwrap();
        user::poke(&kernel, CHILD, code, &[5]).unwrap();
        let (mut parents, mut childs) = ([0], [0]);
        user::load(&kernel, PARENT, code, &mut parents).unwrap();
        user::load(&kernel, CHILD, code, &mut childs).unwrap();
        assert_eq!((parents, childs), ([3], [5]));
        let page = VirtAddr(START);
        assert_eq!(fault(&kernel, CHILD, page, true), Err(Fault::Segmentation(page)), "a breakpoint makes code no data");
    });
}

#[test]
fn system_calls_reach_memory_across_pages_and_break_what_is_shared() {
    let kernel = kernel();
    let middle = VirtAddr(HEAP.0 + PAGE - 2);
    user::store(&kernel, PARENT, middle, b"abcd").unwrap();
    fork(&kernel, PARENT, CHILD).unwrap();
    user::store(&kernel, PARENT, middle, b"efgh").unwrap();
    let (mut parents, mut childs) = ([0; 4], [0; 4]);
    user::load(&kernel, PARENT, middle, &mut parents).unwrap();
    user::load(&kernel, CHILD, middle, &mut childs).unwrap();
    assert_eq!((&parents, &childs), (b"efgh", b"abcd"));
}

#[test]
fn while_a_device_writes_a_part_of_a_page_nobody_stores_beside_it() {
    let kernel = kernel();
    zero_fill(&kernel, PARENT, HEAP).unwrap();
    let (transfer, pieces) = direct::begin(&kernel, PARENT, HEAP.add(PAGE - 500), 1000, true).unwrap();
    assert_eq!(pieces.map(|piece| piece.map(|(_, len)| len)), [Some(500), Some(500), None]);
    assert!(!kernel.platform().spaces[PARENT].get(HEAP).unwrap().write, "a store beside it would put old bytes into the cache");
    assert!(matches!(fault(&kernel, PARENT, HEAP, true), Err(Fault::Library(error)) if error.is_transient()));
    direct::end(&kernel, transfer);
    assert_eq!(fault(&kernel, PARENT, HEAP, true), Ok(()));
}

#[test]
fn a_transfer_of_more_pages_than_there_is_room_for_has_not_begun() {
    let kernel = kernel();
    let refused = direct::begin(&kernel, PARENT, HEAP, 4 * PAGE as usize, true).map(drop);
    assert!(matches!(refused, Err(Fault::Segmentation(_))), "{refused:?}");
    (0..3).for_each(|page| assert_eq!(fault(&kernel, PARENT, HEAP.add(page * PAGE), true), Ok(())));
}

#[test]
fn outside_of_a_users_memory_everything_is_a_segmentation_fault() {
    for address in [VirtAddr(0), VirtAddr(END), VirtAddr(START - PAGE)] {
        assert_eq!(fault(&kernel(), PARENT, address, false), Err(Fault::Segmentation(address)));
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
fn a_file_is_mapped_where_there_is_nothing_and_nowhere_else() {
    let kernel = kernel();
    let frames = [kernel.platform().allocate(|_| true).unwrap()];
    let file = File { frames: &frames };
    zero_fill(&kernel, PARENT, HEAP).unwrap();
    for address in [HEAP, VirtAddr(END), VirtAddr(0)] {
        assert_eq!(map(&kernel, PARENT, address, &file, 0, true), Err(Fault::Segmentation(address)));
    }
    let free = HEAP.add(PAGE);
    assert_eq!(map(&kernel, PARENT, free, &file, 1, true), Err(Fault::Segmentation(free)), "the file has one page");
    assert_eq!(map(&kernel, PARENT, free, &file, 0, true), Ok(()));
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
