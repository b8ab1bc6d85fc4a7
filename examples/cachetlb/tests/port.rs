//! The ported hooks in the order in which a kernel calls them, on the host.

use cachetlb::access::{copy_from_user_page, copy_to_user_page, flush_arg_page, kmap_coherent, kmap_local_page, pin_user_page};
use cachetlb::code::{flush_icache_range, flush_icache_user_range};
use cachetlb::device::{
    Direction, arch_dma_prep_coherent, arch_sync_dma_for_cpu, arch_sync_dma_for_device, dma_free_coherent, flush_cache_vmap,
    flush_cache_vunmap, share_ring,
};
use cachetlb::fault::{clear_user_highpage, copy_user_highpage, set_ptes, vm_insert_page};
use cachetlb::place::{SHMLBA, arch_get_unmapped_area, arch_get_unmapped_area_topdown, map_fixed, pages_do_alias};
use cachetlb::unmap::{flush_cache_dup_mm, flush_cache_range, flush_tlb_range, folio_unmapped, folio_write_protected};
use cachetlb::{Folio, Vma};
use congruent::{Error, Frame, PhysAddr, Placement, VirtAddr, Wrote};
use skeleton::{Hardware, Kernel, PAGE, boot::boot};

const ADDRESS: VirtAddr = VirtAddr(0x1_2000);
const HEAP: Vma = Vma { space: 0, start: VirtAddr(0x1_0000), write: true, execute: false };
const CODE: Vma = Vma { execute: true, ..HEAP };
const ALL: u32 = PAGE as u32;

fn kernel() -> Kernel {
    boot(Hardware::new()).expect("the host's stand-in can be served")
}

fn frame(kernel: &Kernel) -> Frame {
    kernel.platform().allocate(|_| true).expect("there is memory")
}

fn maintenance(kernel: &Kernel, work: impl FnOnce()) -> usize {
    let before = kernel.platform().maintenance();
    work();
    kernel.platform().maintenance() - before
}

#[test]
fn a_page_lives_from_its_zero_fill_to_its_unmapping_without_a_flush() {
    let kernel = kernel();
    let (page, copy) = (frame(&kernel), frame(&kernel));
    let flushes = maintenance(&kernel, || {
        clear_user_highpage(&kernel, page, ADDRESS).unwrap();
        set_ptes(&kernel, &HEAP, ADDRESS, Folio::of(page)).unwrap();
        flush_cache_dup_mm(&kernel, 0);
        folio_write_protected(&kernel, Folio::of(page)).unwrap();
        copy_user_highpage(&kernel, copy, page, ADDRESS).unwrap();
        set_ptes(&kernel, &HEAP, ADDRESS, Folio::of(copy)).unwrap();
        copy_to_user_page(&kernel, &HEAP, copy, ADDRESS.add(8), b"poked").unwrap();
        let mut peeked = [0; 5];
        copy_from_user_page(&kernel, copy, ADDRESS.add(8), &mut peeked).unwrap();
        assert_eq!(&peeked, b"poked");
        flush_cache_range(&HEAP, ADDRESS, ADDRESS.add(PAGE));
        kernel.platform().spaces[0].set(ADDRESS, None);
        flush_tlb_range(&kernel, &HEAP, ADDRESS, ADDRESS.add(PAGE));
        folio_unmapped(&kernel, Folio::of(copy)).unwrap();
    });
    assert_eq!(flushes, 0);
}

#[test]
fn a_window_where_linux_forbids_one_pays_what_the_page_owes() {
    let kernel = kernel();
    let page = frame(&kernel);
    kmap_local_page(&kernel, page).unwrap().write(0, b"new").unwrap();
    let flushes = maintenance(&kernel, || {
        let mut seen = [0; 3];
        kmap_coherent(&kernel, page, ADDRESS).unwrap().read(0, &mut seen).unwrap();
        assert_eq!(&seen, b"new");
    });
    assert_eq!(flushes, 1, "the home that is left is written back");
}

#[test]
fn code_is_flushed_once_and_not_again() {
    let kernel = kernel();
    let page = frame(&kernel);
    let first = maintenance(&kernel, || {
        flush_arg_page(&kernel, page, ADDRESS, b"code").unwrap();
        set_ptes(&kernel, &Vma { write: false, ..CODE }, ADDRESS, Folio::of(page)).unwrap();
    });
    let again = maintenance(&kernel, || {
        flush_icache_user_range(&kernel, 0, ADDRESS, ADDRESS.add(PAGE)).unwrap();
        flush_icache_range(&kernel, Folio::of(page)).unwrap();
    });
    assert_eq!((first, again), (2, 0), "written back and dropped by the instruction side");
}

#[test]
fn a_frame_is_the_devices_from_one_hook_to_the_other() {
    let kernel = kernel();
    let page = frame(&kernel);
    let (start, len) = (PhysAddr(page.0 * u64::from(ALL)), u64::from(ALL));
    arch_sync_dma_for_device(&kernel, start, len, Direction::FromDevice);
    // As often as it likes, and nobody is refused.
    arch_sync_dma_for_device(&kernel, start, len, Direction::FromDevice);
    arch_sync_dma_for_cpu(&kernel, start, len, Direction::FromDevice);
    kernel.read(page, 0, &mut [0]).unwrap();

    let uncached = arch_dma_prep_coherent(&kernel, page).unwrap();
    assert_eq!(kernel.write(page, 0, &[0]), Err(Error::Device(page)));
    dma_free_coherent(&kernel, uncached).unwrap();
    kernel.write(page, 0, &[0]).unwrap();
    assert_eq!(maintenance(&kernel, || arch_sync_dma_for_device(&kernel, start, len, Direction::ToDevice)), 1);
}

#[test]
fn a_vmap_area_holds_each_frame_at_the_colour_of_its_address() {
    let kernel = kernel();
    let frames = [frame(&kernel), frame(&kernel), frame(&kernel)];
    let start = VirtAddr(0xd000_1000);
    flush_cache_vmap(&kernel, start, &frames).unwrap();
    for (page, &frame) in frames.iter().enumerate() {
        assert_eq!(kernel.colour_hint(frame).unwrap().index(), page + 1);
        assert_eq!(kmap_coherent(&kernel, frame, VirtAddr(0)).err(), Some(Error::InUse { frame, home: page as u16 + 1 }));
    }
    let known = [frames[0], Frame(7)];
    assert_eq!(flush_cache_vmap(&kernel, start, &known), Err(Error::UnknownFrame(Frame(7))), "and the first is let go");
    flush_cache_vunmap(&kernel, &frames).unwrap();
    assert!(frames.iter().all(|&frame| kernel.freed(frame).is_ok()), "one is still held");
}

#[test]
fn the_users_side_of_a_ring_at_the_colour_it_is_told_costs_nothing() {
    let kernel = kernel();
    let page = frame(&kernel);
    let colour = share_ring(&kernel, page, VirtAddr(0xd000_3000)).unwrap();
    let user = kernel.place(HEAP.start, colour).unwrap();
    assert_eq!(maintenance(&kernel, || vm_insert_page(&kernel, &HEAP, user, page).unwrap()), 0);
    let elsewhere = vm_insert_page(&kernel, &HEAP, user.add(PAGE), page);
    assert_eq!(elsewhere, Err(Error::InUse { frame: page, home: 3 }));
}

#[test]
fn addresses_are_congruent_when_they_differ_by_a_multiple_of_shmlba() {
    let kernel = kernel();
    let low = arch_get_unmapped_area(&kernel, HEAP.start, 5).unwrap();
    let high = arch_get_unmapped_area_topdown(&kernel, HEAP.start.add(0x9000), 5).unwrap();
    assert!(!pages_do_alias(&kernel, low, high) && (high.0 - low.0).is_multiple_of(SHMLBA(&kernel)));
    assert_eq!(map_fixed(&kernel, low, 5), Placement::Free);
    assert_eq!(map_fixed(&kernel, low, 6), Placement::TakingTurns);
}

#[test]
fn a_pinned_page_is_worked_on_and_finished() {
    let kernel = kernel();
    let page = frame(&kernel);
    let done = pin_user_page(&kernel, page, |page| {
        let written = page.write(0, b"packet");
        page.finish(Wrote::Data, written)
    });
    assert_eq!(done, Ok(Ok(())));
}
