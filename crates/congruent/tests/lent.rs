//! Frames that the library shares with those who say nothing: kernel code at the permanent address, and users who hold on.

use crate::model::judged;
use crate::model::line::COLOURS;
use crate::model::machine::{Machine, Pte, Shape, LINE, PAGE};
use congruent::state::State;
use congruent::{At, Congruent, Error, Frame, ReadOnly, ReadWrite, Rights, Transfer, WindowMapper};
use congruent_shadow::{Config, Shadow};
use congruent_trace::{AccessKind, DmaDirection, Event, Site};

/// Of colour 1 at its permanent address.
const FRAME: Frame = Frame(1);
const WRITE: Rights = Rights::WRITE;

fn kernel(shape: Shape) -> Congruent<Machine> {
    Machine::new(shape, &[State::UNCACHED; 2], vec![[Pte::None; COLOURS]; 2])
}

fn at(kernel: &Congruent<Machine>, colour: usize) -> At<Machine> {
    At::Colour(kernel.colour_from_index(colour).unwrap())
}

fn completed(transfer: Transfer<'_, Machine>) {
    transfer.complete().map_err(|(_, error)| error).unwrap();
}

/// What the judge says of what the library has done, and of what others do.
struct Watch<'k> {
    kernel: &'k Congruent<Machine>,
    judge: Shadow,
}

impl Watch<'_> {
    fn drain(&mut self) {
        for did in std::mem::take(&mut *self.kernel.platform().log.borrow_mut()) {
            judged::events(did, Site(0), |event| {
                self.judge.apply(&event);
            });
        }
    }

    fn access(&mut self, kind: AccessKind, colour: usize) {
        self.drain();
        self.judge.apply(&judged::access(kind, FRAME.0 as usize, colour, 0, PAGE, Site(0)));
    }

    fn device(&mut self, direction: DmaDirection) {
        self.drain();
        let paddr = judged::paddr(FRAME.0 as usize, 0);
        self.judge.apply(&Event::Dma { direction, paddr, len: PAGE.into(), site: Site(0) });
    }

    fn clean(&mut self) {
        self.drain();
        assert!(self.judge.stats().hazards == 0, "{:#?}", self.judge.findings());
    }
}

#[test]
fn a_device_sees_what_the_kernel_stores_to_its_own_memory_between_two_transfers() {
    for speculative in [false, true] {
        for colours in [1, 2, 4, 16] {
            let shape = Shape { speculative, ..Shape::of(colours) };
            let own = 1 % colours as usize;
            let kernel = kernel(shape);
            kernel.clear(FRAME, at(&kernel, 0)).unwrap();
            kernel.freed(FRAME).unwrap();
            let mut watch = Watch { kernel: &kernel, judge: Shadow::new(Config::new(shape.geometry())) };
            kernel.give_to_kernel(FRAME).unwrap();
            for _ in 0..3 {
                watch.access(AccessKind::Store, own);
                kernel.device_reads(FRAME, 0, PAGE).unwrap();
                watch.device(DmaDirection::Read);
                let transfer = kernel.device_writes(FRAME, 0, PAGE).unwrap();
                watch.device(DmaDirection::Write);
                completed(transfer);
                watch.access(AccessKind::Load, own);
            }
            watch.access(AccessKind::Store, own);
            // Given back, it is a page like any other, with what is in it.
            kernel.take_from_kernel(FRAME).unwrap();
            kernel.map_user(FRAME, Machine::user_address(0), WRITE, || ()).unwrap();
            watch.access(AccessKind::Load, 0);
            watch.clean();
        }
    }
}

#[test]
fn the_library_touches_nothing_that_the_kernel_has_been_given() {
    let kernel = kernel(Shape::of(4));
    kernel.give_to_kernel(FRAME).unwrap();
    kernel.platform().log.borrow_mut().clear();
    let refused = Some(Error::Kernel(FRAME));
    assert_eq!(kernel.read(FRAME, 0, &mut [0]).err(), refused);
    assert_eq!(kernel.write(FRAME, 0, &[0]).err(), refused);
    assert_eq!(kernel.clear(FRAME, At::Home).err(), refused);
    assert_eq!(kernel.fill(FRAME, At::Linear, &[0]).err(), refused);
    assert_eq!(kernel.copy(Frame(0), FRAME, At::Home).err(), refused);
    assert_eq!(kernel.copy(FRAME, Frame(0), At::Home).err(), refused);
    assert_eq!(kernel.settle::<ReadOnly>(FRAME, At::Linear).err(), refused);
    assert_eq!(kernel.window::<ReadWrite>(FRAME).err(), refused);
    assert_eq!(kernel.give_to_kernel(FRAME).err(), refused);
    assert_eq!(kernel.map_user(FRAME, Machine::user_address(2), WRITE, || ()).err(), refused);
    assert!(kernel.platform().log.borrow().is_empty(), "{:?}", kernel.platform().log.borrow());
    // Half a line belongs to neighbours, whose stores nobody can announce.
    assert_eq!(kernel.device_writes(FRAME, 0, LINE / 2).err(), Some(Error::InUse { frame: FRAME, home: 1 }));
    // Where users and the kernel agree, they can share it.
    kernel.map_user(FRAME, Machine::user_address(1), WRITE, || ()).unwrap();
    kernel.unmapped(FRAME).unwrap();
    kernel.freed(FRAME).unwrap();
    kernel.read(FRAME, 0, &mut [0]).unwrap();
}

#[test]
fn any_number_of_rings_leaves_room_for_windows_and_faults() {
    let kernel = kernel(Shape::of(4));
    kernel.clear(FRAME, at(&kernel, 2)).unwrap();
    for _ in 0..1000 {
        kernel.settle::<ReadWrite>(FRAME, at(&kernel, 2)).unwrap().hold().leak();
    }
    kernel.map_user(FRAME, Machine::user_address(2), WRITE, || ()).unwrap();
    kernel.write(FRAME, 0, b"bytes").unwrap();
    let elsewhere = kernel.settle::<ReadOnly>(FRAME, at(&kernel, 3)).err();
    assert_eq!(elsewhere, Some(Error::InUse { frame: FRAME, home: 2 }), "the first ring is as good as the last");
    for left in (0..1000).rev() {
        assert_eq!(kernel.state(FRAME).unwrap().users(), 1, "{left} rings and this one");
        drop(kernel.resume(FRAME).unwrap());
    }
    assert_eq!(kernel.state(FRAME).unwrap().users(), 0);
    drop(kernel.settle::<ReadOnly>(FRAME, at(&kernel, 3)).unwrap());
}

#[test]
fn any_number_of_windows_and_announced_mappings_can_be_had_of_a_frame_at_a_time() {
    // What is left of them when they have ended in this order: the first first, the last first, from the middle on.
    for order in [|_| 0, |left| left - 1, |left| left / 2] {
        let kernel = kernel(Shape::of(4));
        kernel.clear(FRAME, at(&kernel, 2)).unwrap();
        let mut settled = Vec::new();
        let mut prepared = Vec::new();
        for _ in 0..1000 {
            settled.push(kernel.settle::<ReadOnly>(FRAME, At::Home).unwrap());
            prepared.push(kernel.prepare(FRAME, Machine::user_address(2), WRITE).unwrap());
        }
        let refused = || kernel.settle::<ReadOnly>(FRAME, at(&kernel, 3)).err();
        while !settled.is_empty() {
            drop(settled.remove(order(settled.len())));
            prepared.remove(order(prepared.len())).install(|| ());
            kernel.write(FRAME, 0, b"bytes").unwrap();
            assert!(settled.is_empty() || refused().is_some(), "{} are left, and the frame moves", settled.len());
        }
        assert_eq!((kernel.state(FRAME).unwrap().users(), refused()), (0, None));
    }
}

#[test]
fn a_window_among_many_can_become_a_hold() {
    let kernel = kernel(Shape::of(4));
    let mut holds: Vec<_> = (0..20).map(|_| kernel.settle::<ReadOnly>(FRAME, At::Home).unwrap().hold()).collect();
    let settled: Vec<_> = (0..20).map(|_| kernel.settle::<ReadOnly>(FRAME, At::Home).unwrap()).collect();
    holds.extend(settled.into_iter().map(|settled| settled.hold()));
    while holds.pop().is_some() {
        assert_eq!(kernel.state(FRAME).unwrap().users(), u16::from(!holds.is_empty()));
    }
}

#[test]
fn mappings_of_frames_that_many_use_are_prepared_at_once_and_end_with_the_others() {
    let kernel = Machine::new(Shape::of(4), &[State::UNCACHED; 4], vec![[Pte::None; COLOURS]; 4]);
    let frames = [0, 1, 2, 3].map(Frame);
    for crowded in 0..4 {
        let crowd: Vec<_> =
            (0..20).map(|_| kernel.prepare(frames[crowded], Machine::user_address(crowded), WRITE).unwrap()).collect();
        let many: Vec<_> = (0..20).map(|_| kernel.prepare_all(&frames, Machine::user_address(0), WRITE).unwrap()).collect();
        drop(crowd);
        for prepared in many {
            assert!(frames.iter().all(|&frame| kernel.state(frame).unwrap().users() > 0));
            prepared.install(|_, _| ());
        }
        assert!(frames.iter().all(|&frame| kernel.state(frame).unwrap().users() == 0));
    }
}

#[test]
fn any_number_of_transfers_to_a_page_can_go_on_at_a_time() {
    let kernel = kernel(Shape::of(4));
    kernel.clear(FRAME, at(&kernel, 0)).unwrap();
    let mut transfers: Vec<_> = (0..70_000).map(|_| kernel.device_writes(FRAME, 0, PAGE).unwrap()).collect();
    while let Some(transfer) = transfers.pop() {
        assert_eq!(kernel.read(FRAME, 0, &mut [0]).err(), Some(Error::Device(FRAME)), "{} go on", transfers.len() + 1);
        completed(transfer);
    }
    kernel.read(FRAME, 0, &mut [0]).unwrap();
}

#[test]
fn as_many_buffers_as_a_page_has_lines_can_be_written_by_devices_at_a_time() {
    for colours in [1, 4, 16] {
        for speculative in [false, true] {
            let kernel = kernel(Shape { speculative, ..Shape::of(colours) });
            kernel.clear(FRAME, at(&kernel, 0)).unwrap();
            let whole = 0..PAGE / LINE;
            let buffers: Vec<_> = whole.map(|line| kernel.device_writes(FRAME, line * LINE, LINE).unwrap()).collect();
            for buffer in buffers {
                assert_eq!(kernel.read(FRAME, 0, &mut [0]).err(), Some(Error::Device(FRAME)));
                completed(buffer);
            }
            kernel.read(FRAME, 0, &mut [0]).unwrap();
        }
    }
}

#[test]
#[should_panic(expected = "nothing holds frame 0x1")]
fn a_hold_that_was_never_made_cannot_be_resumed_though_windows_are_open() {
    let kernel = kernel(Shape::of(4));
    let _window = kernel.window::<ReadOnly>(FRAME).unwrap();
    let _ = kernel.resume(FRAME);
}

#[test]
fn many_mappings_are_prepared_or_none_is_bound() {
    let kernel = Machine::new(Shape::of(4), &[State::UNCACHED; 4], vec![[Pte::None; COLOURS]; 4]);
    let frames = [0, 1, 2, 3].map(Frame);
    let linear = |frame| kernel.platform().linear(Frame(frame)).unwrap();
    let users = || frames.map(|frame| kernel.state(frame).unwrap().users());
    let mut made = Vec::new();
    let prepared = kernel.prepare_all(&frames, Machine::user_address(2), WRITE).unwrap();
    assert_eq!((prepared.frames(), users()), (&frames[..], [1; 4]));
    prepared.install(|frame, address| {
        assert_eq!(users(), [1; 4], "a frame may move before its entry is made");
        made.push((frame, address));
    });
    let pages = [0, 1, 2, 3].map(|page| (Frame(page), Machine::user_address(2).add(page * u64::from(PAGE))));
    assert_eq!((&made[..], users()), (&pages[..], [0; 4]));
    // One of them is held elsewhere: the two before it are free again.
    let hold = kernel.settle::<ReadOnly>(frames[2], at(&kernel, 1)).unwrap();
    let home = hold.colour().index() as u16;
    let refused = kernel.prepare_all(&frames, Machine::user_address(2), WRITE).err();
    assert_eq!((refused, users()), (Some(Error::InUse { frame: frames[2], home }), [0, 0, 1, 0]));
    drop(hold);
    // One of them is the kernel's, which a later return would turn into any other: refused, though its colour would do.
    kernel.unmapped(frames[3]).unwrap();
    kernel.freed(frames[3]).unwrap();
    kernel.give_to_kernel(frames[3]).unwrap();
    let refused = kernel.prepare_all(&frames, linear(0), WRITE).err();
    assert_eq!((refused, users()), (Some(Error::Kernel(frames[3])), [0; 4]));
    kernel.map_user(frames[3], linear(3), WRITE, || ()).unwrap();
}
