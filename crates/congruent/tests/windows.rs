//! Windows: nesting, interrupts, CPUs, kept windows, and the machines on which there are none.

use crate::model::line::COLOURS;
use crate::model::machine::{Did, Machine, Maintain, Pte, Shape, When, PAGE};
use crate::model::memory::{self, Memory};
use congruent::state::State;
use congruent::{
    At, CacheGeometry, Config, ConfigError, Congruent, CpuContext, Error, Frame, KeptArea, Policy, ReadOnly, ReadWrite, Rights,
    Tags, VirtAddr, WindowArea, Wrote,
};

fn machine(frames: usize) -> Congruent<Machine> {
    configured(frames, |_| ())
}

fn configured(frames: usize, change: impl Fn(&mut Config)) -> Congruent<Machine> {
    Machine::configured(Shape::of(4), &vec![State::UNCACHED; frames], vec![[Pte::None; COLOURS]; frames], change)
}

fn keeping(frames: usize, kept: u32) -> Congruent<Machine> {
    Machine::new(Shape { kept, ..Shape::of(4) }, &vec![State::UNCACHED; frames], vec![[Pte::None; COLOURS]; frames])
}

fn context(kernel: &Congruent<Machine>, cpu: u32, level: u8) {
    kernel.platform().context.set(CpuContext::new(cpu, level));
}

/// Frame 1 at colour 2, which is not that of its permanent mapping.
fn window(kernel: &Congruent<Machine>, frame: u64) -> Result<congruent::Window<'_, Machine, ReadWrite>, Error> {
    let settled = kernel.settle(Frame(frame), At::Colour(kernel.colour_from_index((frame as usize + 1) % 4).unwrap()))?;
    settled.open()
}

#[test]
fn windows_of_one_colour_nest_in_any_order_and_at_different_addresses() {
    let kernel = machine(16);
    let first = window(&kernel, 1).unwrap();
    let second = window(&kernel, 5).unwrap();
    let third = window(&kernel, 9).unwrap();
    let mut addresses = [first.address(), second.address(), third.address()];
    for address in addresses {
        assert_eq!(kernel.colour(address).index(), 2);
    }
    addresses.sort_unstable();
    assert!(addresses[0] < addresses[1] && addresses[1] < addresses[2]);
    drop(second);
    let again = window(&kernel, 13).unwrap();
    drop(first);
    drop(third);
    drop(again);
    assert!(kernel.platform().is_idle());
}

#[test]
fn an_interrupt_finds_its_own_slots_when_a_thread_has_taken_all_of_its() {
    let kernel = machine(16);
    let taken: Vec<_> = [1, 2, 3, 5].map(|frame| window(&kernel, frame).unwrap()).into();
    let full = |level| Error::NoSlot { frame: Frame(9), cpu: 0, level };
    assert_eq!(window(&kernel, 9).err(), Some(full(0)));
    context(&kernel, 0, 1);
    let in_interrupt = [6, 7].map(|frame| window(&kernel, frame).unwrap());
    assert_eq!(window(&kernel, 9).err(), Some(full(1)));
    drop(in_interrupt);
    context(&kernel, 1, 0);
    assert!(window(&kernel, 9).is_ok(), "the other CPU has slots of its own");
    drop(taken);
}

#[test]
fn an_interrupt_reaches_a_frame_that_a_thread_has_open_through_the_same_colour() {
    let kernel = machine(4);
    let thread = window(&kernel, 1).unwrap();
    context(&kernel, 0, 1);
    let interrupt = kernel.window::<ReadWrite>(Frame(1)).unwrap();
    assert_eq!(thread.colour(), interrupt.colour());
    assert_ne!(thread.address(), interrupt.address());
    let elsewhere = kernel.settle::<ReadOnly>(Frame(1), At::Linear).err();
    assert_eq!(elsewhere, Some(Error::InUse { frame: Frame(1), home: 2 }));
}

#[test]
fn misuse_is_named_with_the_frame() {
    let kernel = machine(2);
    assert_eq!(kernel.read(Frame(7), 0, &mut [0]).err(), Some(Error::UnknownFrame(Frame(7))));
    assert_eq!(kernel.write(Frame(1), 1020, b"12345").err(), Some(Error::OutOfPage { frame: Frame(1), offset: 1020, len: 5 }));
    assert_eq!(kernel.copy(Frame(1), Frame(1), At::Home).err(), Some(Error::SameFrame(Frame(1))));
    assert!(kernel.colour_from_index(4).is_none());
    assert_eq!(Error::UnknownFrame(Frame(7)).to_string(), "there is no frame 0x7");
}

#[test]
fn a_transfer_that_is_forgotten_leaves_its_frame_to_the_device() {
    let kernel = machine(2);
    // A panic while one is alive is a panic, and no more.
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _transfer = kernel.device_writes(Frame(1), 0, 64).unwrap();
        panic!("in a driver");
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"in a driver"));
    assert_eq!(kernel.read(Frame(1), 0, &mut [0]).err(), Some(Error::Device(Frame(1))));
    assert_eq!(kernel.freed(Frame(1)).err(), Some(Error::Device(Frame(1))));
}

#[test]
fn a_transfer_is_resumed_by_the_name_that_it_was_given() {
    let kernel = machine(2);
    let name = kernel.device_writes(Frame(1), 128, 256).unwrap().leak();
    assert_eq!((name.frame(), name.bytes()), (Frame(1), (128, 256)));
    kernel.resume_transfer(name).complete().unwrap();
    kernel.read(Frame(1), 0, &mut [0]).unwrap();
}

#[test]
fn a_proof_opens_on_the_machine_that_it_is_a_proof_of() {
    let (here, there) = (machine(2), machine(2));
    let settled = there.settle::<ReadOnly>(Frame(1), At::Colour(there.colour_from_index(2).unwrap())).unwrap();
    let window = settled.open().unwrap();
    assert!(here.platform().is_idle() && !there.platform().is_idle());
    drop(window);
    assert!(there.platform().is_idle());
}

#[test]
fn a_colour_of_a_machine_with_more_colours_is_no_place() {
    let foreign = machine(2).colour_from_index(3).unwrap();
    let two = Machine::new(Shape::of(2), &[], vec![]);
    let refused = |what: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(what)).is_err();
    assert!(refused(&|| _ = two.place(VirtAddr(0), foreign)));
    assert!(refused(&|| _ = two.place_below(VirtAddr(0x8000), foreign)));
    assert!(refused(&|| _ = two.judge(VirtAddr(0), foreign)));
    assert!(refused(&|| _ = two.object_colour(foreign, 1)));
}

#[test]
fn no_place_is_found_beyond_the_end_of_the_address_space() {
    let kernel = configured(1, |config| config.top = VirtAddr(0xffff_ffff));
    let colour = |index| kernel.colour_from_index(index).unwrap();
    let last = VirtAddr(0x1_0000_0000 - 1024);
    assert_eq!(kernel.place(last, colour(3)), Some(last));
    assert_eq!(kernel.place(last, colour(0)), None);
    assert_eq!(kernel.place(last.add(1), colour(3)), None);
    assert_eq!(configured(1, |_| ()).place(last, colour(0)), Some(last.add(1024)));
    let mut config = *kernel.config();
    config.top = VirtAddr(0xffff_f000);
    assert_eq!(
        Machine::attempt(Shape::of(4), &[], vec![], |other| *other = config).err(),
        Some(ConfigError::Top(VirtAddr(0xffff_f000)))
    );
}

#[test]
fn a_place_whose_mapping_panicked_can_be_used_again() {
    // One place of each colour.
    let kernel = keeping(8, 4);
    kernel.platform().meanwhile(When::Mapping, || panic!("out of page tables"));
    let open = || window(&kernel, 1).map(|window| window.address());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(open)).is_err());
    assert!(kernel.platform().is_idle(), "the CPU was not left");
    assert!(open().unwrap().0 < 0xf000_0000, "the place in the kept area is lost");
}

#[test]
fn code_that_stores_to_its_own_page_at_another_colour_goes_on() {
    let kernel = machine(2);
    let (code, data) = (1, 2);
    let map = |colour: usize, write| {
        kernel.map_user(Frame(1), Machine::user_address(colour), Rights::READ.with_write(write).with_execute(!write), || {
            kernel.platform().ptes.borrow_mut()[1][colour] = if write { Pte::Write } else { Pte::Read };
        })
    };
    let has = |colour: usize| kernel.platform().ptes.borrow()[1][colour] != Pte::None;
    kernel.clear(Frame(1), At::Home).unwrap();
    // With loads allowed where it executes, one mapping ends the other, and the instruction never has both.
    for _ in 0..3 {
        map(code, false).unwrap();
        assert!(has(code) && kernel.platform().ptes.borrow()[1][data] != Pte::Write);
        map(data, true).unwrap();
        assert!(kernel.platform().ptes.borrow()[1][data] == Pte::Write && !has(code));
    }
    // Without, it has: nothing is taken away any more.
    kernel.platform().ptes.borrow_mut()[1] = [Pte::None; COLOURS];
    kernel.unmapped(Frame(1)).unwrap();
    kernel.map_execute_only(Frame(1), || ()).unwrap();
    kernel.platform().meanwhile(When::Revoking, || panic!("a mapping that nothing is loaded through is in the way"));
    map(data, true).unwrap();
    kernel.map_execute_only(Frame(1), || ()).unwrap();
    assert!(has(data));
}

#[test]
fn what_is_fetched_through_a_mapping_for_execution_alone_is_what_was_stored() {
    let kernel = machine(2);
    kernel.clear(Frame(1), At::Home).unwrap();
    // Whoever executes it has fetched what was there.
    kernel.map_execute_only(Frame(1), || ()).unwrap();
    kernel.write(Frame(1), 0, &[1; 32]).unwrap();
    kernel.platform().log.borrow_mut().clear();
    let mut done = Vec::new();
    kernel.map_execute_only(Frame(1), || done = kernel.platform().log.borrow().clone()).unwrap();
    let written_back = |did: &Did| matches!(did, Did::Maintain { op: Maintain::WriteBack, frame: 1, offset: 0, len: PAGE, .. });
    let dropped = |did: &Did| matches!(did, Did::DropInstructions { frame: 1 });
    let [first, second] = [done.iter().position(written_back), done.iter().position(dropped)];
    assert!(first.is_some() && first < second, "when the mapping was made, this had been done: {done:?}");
}

#[test]
#[should_panic(expected = "colour:3 is not one of")]
fn a_colour_of_a_machine_with_more_colours_is_refused_before_anything_happens() {
    let of_colours = |colours| Machine::new(Shape::of(colours), &[State::UNCACHED; 2], vec![[Pte::None; COLOURS]; 2]);
    let foreign = of_colours(4).colour_from_index(3).unwrap();
    let _ = of_colours(2).settle::<ReadOnly>(Frame(1), At::Colour(foreign));
}

#[test]
fn machines_that_cannot_be_served_are_refused() {
    let config = Config::new(Shape::of(4).geometry(), WindowArea::new(VirtAddr(0x4000), 2, 2));
    let one_colour = CacheGeometry::new(4096, 1, 32).unwrap();
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = config;
        config.geometry = one_colour;
        change(&mut config);
        Congruent::new(Memory::<false, true>::default(), config).err()
    };
    assert_eq!(refused(&|_| ()), None);
    assert_eq!(refused(&|config| config.tags = Tags::Virtual), Some(ConfigError::VirtuallyTagged));
    let misplaced = ConfigError::MisplacedWindows { base: VirtAddr(0x4100), align: 0x1000 };
    assert_eq!(refused(&|config| config.windows.base = VirtAddr(0x4100)), Some(misplaced));
    let slots = ConfigError::Slots { thread: 1, interrupt: 2, levels: 2 };
    assert_eq!(refused(&|config| config.windows.thread_slots = 1), Some(slots));
    let kept = Some(KeptArea::new(VirtAddr(0x8000), 4));
    assert_eq!(refused(&|config| config.kept = kept), Some(ConfigError::KeptWindowsOnSpeculatingCore));
    assert_eq!(Congruent::new(Memory::<false, true>::default(), config).err(), Some(ConfigError::Aliases { colours: 4 }));
}

#[test]
fn a_kept_window_is_mapped_once() {
    let kernel = keeping(64, 32);
    let maps = || kernel.platform().window_maps.get();
    let first = window(&kernel, 1).unwrap().address();
    assert_eq!(maps(), 1);
    for _ in 0..10 {
        assert_eq!(window(&kernel, 1).unwrap().address(), first);
        kernel.write(Frame(1), 0, b"again").unwrap();
    }
    assert_eq!(maps(), 1, "a window that was kept was mapped again");
    // Many others come by; it is remapped at last, and never while in use.
    let held = window(&kernel, 5).unwrap();
    let address = held.address();
    for frame in 6..64 {
        assert_ne!(window(&kernel, frame).unwrap().address(), address);
    }
    assert_eq!(window(&kernel, 5).unwrap().address(), address);
    drop(held);
    assert!(kernel.platform().is_idle());
}

#[test]
fn kept_windows_hold_most_of_a_working_set_that_fits() {
    let kernel = keeping(32, 64);
    for round in 0..8 {
        for frame in 0..32 {
            drop(window(&kernel, frame).unwrap());
        }
        if round == 0 {
            kernel.platform().window_maps.set(0);
        }
    }
    let maps = kernel.platform().window_maps.get();
    assert_eq!(maps, 0, "{maps} of 224 windows were mapped anew");
}

#[test]
fn reverse_lookup_asks_and_needs_the_same_maintenance() {
    let counts = [Policy::Remember, Policy::ReverseLookup].map(|policy| {
        let kernel = Machine::new(Shape { policy, ..Shape::of(4) }, &[State::UNCACHED; 2], vec![[Pte::None; COLOURS]; 2]);
        let (page, new) = (Frame(0), Frame(1));
        let user = At::Colour(kernel.colour_from_index(3).unwrap());
        kernel.clear(page, user).unwrap();
        kernel
            .map_user(page, Machine::user_address(3), Rights::WRITE, || {
                kernel.platform().ptes.borrow_mut()[0][3] = Pte::Write;
            })
            .unwrap();
        kernel.read(page, 0, &mut [0; 8]).unwrap();
        kernel.write(page, 0, &[0; 8]).unwrap();
        kernel.copy(page, new, user).unwrap();
        let log = kernel.platform().log.borrow();
        (log.iter().filter(|did| matches!(did, Did::Maintain { .. })).count(), kernel.platform().looked_up.get())
    });
    assert_eq!(counts, [(0, 0), (0, 3)]);
}

#[test]
fn a_pinned_page_of_code_is_synchronised_when_it_is_finished() {
    let kernel = machine(2);
    kernel.clear(Frame(1), At::Home).unwrap();
    // The first time, the instruction side can hold nothing of it.
    for (wrote, expected) in [(Wrote::Nothing, 0), (Wrote::Data, 0), (Wrote::Code, 0), (Wrote::Code, 1), (Wrote::Code, 1)] {
        kernel.platform().log.borrow_mut().clear();
        kernel
            .pin(Frame(1), At::Linear, |page| {
                let written = page.write(0, b"code");
                page.finish(wrote, written)
            })
            .unwrap()
            .unwrap();
        let log = kernel.platform().log.borrow();
        let dropped = log.iter().filter(|did| matches!(did, Did::DropInstructions { .. })).count();
        assert_eq!(dropped, expected, "{wrote:?}");
    }
}

#[test]
fn unaligned_transfers_are_maintained_in_whole_lines_and_stop_stores_to_their_neighbours() {
    let kernel = machine(1);
    let user = At::Colour(kernel.colour_from_index(1).unwrap());
    kernel.clear(Frame(0), user).unwrap();
    let rights = Rights::WRITE;
    kernel
        .map_user(Frame(0), Machine::user_address(1), rights, || kernel.platform().ptes.borrow_mut()[0][1] = Pte::Write)
        .unwrap();
    kernel.platform().log.borrow_mut().clear();
    let transfer = kernel.device_writes(Frame(0), 200, 120).unwrap();
    assert_eq!(kernel.platform().ptes.borrow()[0][1], Pte::Read);
    assert_eq!(kernel.map_user(Frame(0), Machine::user_address(1), rights, || ()).err(), Some(Error::Device(Frame(0))));
    transfer.complete().unwrap();
    let op = |op| Did::Maintain { op, frame: 0, colour: 1, offset: 128, len: 256 };
    assert_eq!(*kernel.platform().log.borrow(), [op(Maintain::WriteBack), op(Maintain::Invalidate)]);
}

#[test]
fn where_nothing_aliases_a_copy_is_a_copy() {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let (mut from, mut to) = (Box::new(Page([7; 4096])), Box::new(Page([0; 4096])));
    let (source, destination) = (memory::frame(&mut *from), memory::frame(&mut *to));
    let kernel = direct::<true>();
    kernel.copy(source, destination, At::Home).unwrap();
    kernel.write(destination, 4095, b"x").unwrap();
    let mut bytes = [0; 2];
    kernel.read(destination, 4094, &mut bytes).unwrap();
    assert_eq!(bytes, *b"\x07x");
    kernel.clear(source, At::Home).unwrap();
    kernel.device_writes(source, 1, 2).unwrap().complete().unwrap();
    kernel.map_user(source, VirtAddr(0x1000), Rights::WRITE, || ()).unwrap();
    assert!(from.0.iter().all(|&byte| byte == 0));
    assert_eq!(to.0[..4095], [7; 4095]);
}

fn direct<const COHERENT: bool>() -> Congruent<Memory<false, COHERENT>> {
    memory::kernel()
}

#[test]
fn where_nothing_aliases_frames_that_are_not_plain_bytes_are_refused_all_the_same() {
    // Frame 0 has no word: the kernel's own objects live there.
    let (kernel, own) = (direct::<true>(), Frame(0));
    let refused = Some(Error::UnknownFrame(own));
    assert_eq!(kernel.read(own, 0, &mut [0]).err(), refused);
    assert_eq!(kernel.write(own, 0, &[0]).err(), refused);
    assert_eq!(kernel.clear(own, At::Home).err(), refused);
    assert_eq!(kernel.fill(own, At::Home, &[0]).err(), refused);
    assert_eq!(kernel.copy(Frame(1), own, At::Home).err(), refused);
    assert_eq!(kernel.window::<ReadWrite>(own).err(), refused);
    assert_eq!(kernel.map_user(own, VirtAddr(0x1000), Rights::WRITE, || ()).err(), refused);
    assert_eq!(kernel.device_reads(own, 0, 32).err(), refused);
    assert_eq!(kernel.device_writes(own, 0, 32).err(), refused);
    assert_eq!(kernel.unmapped(own).err(), refused);
    assert_eq!(kernel.freed(own).err(), refused);
    assert_eq!(direct::<false>().device_reads(own, 0, 32).err(), refused);
    assert_eq!(direct::<false>().device_writes(own, 0, 32).err(), refused);
}

#[test]
fn where_nothing_is_tracked_a_device_does_not_get_a_part_of_a_line() {
    // A neighbour's store in between would be discarded with the line, when the device has ended.
    let kernel = direct::<false>();
    for (offset, len) in [(0, 16), (16, 16), (8, 32), (32, 40)] {
        let refused = Error::PartOfLine { frame: Frame(1), offset, len };
        assert_eq!(kernel.device_writes(Frame(1), offset, len).err(), Some(refused));
        kernel.device_reads(Frame(1), offset, len).unwrap();
    }
    kernel.device_writes(Frame(1), 32, 64).unwrap().complete().unwrap();
    // A device that sees the caches sees the line that has both.
    direct::<true>().device_writes(Frame(1), 8, 16).unwrap().complete().unwrap();
}
