//! congruent for Linux: the library behind functions of the C interface, which `linux/glue` calls where Linux maintains caches.
//!
//! Linux's hooks return nothing and hold locks, so of each thing the form is used that cannot fail: notices for the kernel's own windows,
//! transfers by range. Where a call can fail all the same, it says how ([`Answer`]), and the glue counts what it could not have.
//!
//! The kernel has one processor ([`Platform::UNIPROCESSOR`](congruent::Platform)).
#![cfg_attr(target_os = "none", no_std)]

mod kernel;

use core::cell::OnceCell;
#[cfg(target_os = "none")]
use core::panic::PanicInfo;

use congruent::{At, CacheGeometry, Colour, Config, Congruent, Error, Frame, PhysAddr, ReadWrite, Rights, VirtAddr, WindowArea};
use kernel::Linux;

/// What has come of a call: 0, or which [`Error`].
type Answer = i32;

/// The library, once Linux has said what the machine is like.
struct Library(OnceCell<Congruent<Linux>>);

// SAFETY: it is made by the boot processor while nothing else runs, and never changed.
unsafe impl Sync for Library {}

static LIBRARY: Library = Library(OnceCell::new());

/// The library.
///
/// # Panics
/// Before [`congruent_start`].
fn library() -> &'static Congruent<Linux> {
    LIBRARY.0.get().expect("congruent is used before it was started")
}

fn colour(index: u32) -> Colour<Linux> {
    library().colour_from_index(index as usize).expect("a colour that the cache has")
}

fn answer(result: Result<(), Error>) -> Answer {
    match result {
        Ok(()) => 0,
        Err(Error::UnknownFrame(_)) => 1,
        Err(Error::Busy(_)) => 2,
        Err(Error::MustRevoke(_)) => 3,
        Err(Error::InUse { .. }) => 4,
        Err(Error::Device(_)) => 5,
        Err(Error::Kernel(_)) => 6,
        Err(Error::Full(_)) => 7,
        Err(Error::NoSlot { .. }) => 8,
        Err(_) => 9,
    }
}

/// The machine is like this: a data cache of `size` bytes in `ways` ways of lines of `line` bytes, windows from `windows` on for so many
/// `places` of each colour, a core that speculates or not. Empties the caches: from now on frames that have a word are the library's.
///
/// 0, or what cannot be: 1 the cache, 2 its windows, or a second start, 3 the number of places.
#[unsafe(no_mangle)]
extern "C" fn congruent_start(size: u32, ways: u32, line: u32, windows: usize, places: u32, speculative: bool) -> Answer {
    let Ok(geometry) = CacheGeometry::new(size, ways, line) else {
        return 1;
    };
    let area =
        WindowArea::new(VirtAddr(windows as u64), kernel::THREAD_SLOTS, kernel::INTERRUPT_SLOTS).with_levels(kernel::LEVELS);
    if area.slots() != places {
        return 3;
    }
    let mut config = Config::new(geometry, area);
    config.speculative = speculative;
    let made = Congruent::new(Linux, config).ok();
    // Refused, or a second time.
    if made.is_some_and(|made| LIBRARY.0.set(made).is_ok()) { 0 } else { 2 }
}

/// Through which colour the kernel reaches this frame without maintenance.
#[unsafe(no_mangle)]
extern "C" fn congruent_home(frame: usize) -> u32 {
    library().colour_hint(Frame(frame as u64)).map_or(0, |home| home.index() as u32)
}

/// A window of this colour is about to be opened.
#[unsafe(no_mangle)]
extern "C" fn congruent_touches(frame: usize, at: u32) -> Answer {
    answer(library().kernel_touches(Frame(frame as u64), At::Colour(colour(at))))
}

/// Through a window of this colour has been stored.
#[unsafe(no_mangle)]
extern "C" fn congruent_stored(frame: usize, at: u32) -> Answer {
    answer(library().kernel_stored(Frame(frame as u64), At::Colour(colour(at))))
}

/// A page of a user's is about to be mapped at `address`.
#[unsafe(no_mangle)]
extern "C" fn congruent_map(frame: usize, address: usize, write: bool, execute: bool) -> Answer {
    let rights = Rights::READ.with_write(write).with_execute(execute);
    // The caller has the page table's lock, and makes the entry next.
    answer(library().map_user(Frame(frame as u64), VirtAddr(address as u64), rights, || ()))
}

/// `to`, which is nobody's yet, becomes a copy of `from`, to be used at this colour.
#[unsafe(no_mangle)]
extern "C" fn congruent_copy(from: usize, to: usize, at: u32) -> Answer {
    answer(library().copy(Frame(from as u64), Frame(to as u64), At::Colour(colour(at))))
}

/// A frame that is nobody's yet becomes zero, to be used at this colour.
#[unsafe(no_mangle)]
extern "C" fn congruent_clear(frame: usize, at: u32) -> Answer {
    answer(library().clear(Frame(frame as u64), At::Colour(colour(at))))
}

/// Kernel code that knows the permanent address alone gets the frame.
#[unsafe(no_mangle)]
extern "C" fn congruent_give(frame: usize) -> Answer {
    answer(library().give_to_kernel(Frame(frame as u64)).map(drop))
}

/// The frame is free.
#[unsafe(no_mangle)]
extern "C" fn congruent_freed(frame: usize) -> Answer {
    answer(library().freed(Frame(frame as u64)))
}

/// The frame is mapped at an address of this colour, for the kernel's use at any time, until it is released.
#[unsafe(no_mangle)]
extern "C" fn congruent_hold(frame: usize, at: u32) -> Answer {
    answer(library().settle::<ReadWrite>(Frame(frame as u64), At::Colour(colour(at))).map(|settled| settled.hold().leak()))
}

/// One [hold](congruent_hold) of the frame has ended.
#[unsafe(no_mangle)]
extern "C" fn congruent_release(frame: usize) -> Answer {
    answer(library().resume(Frame(frame as u64)).map(drop))
}

/// A device is given the range.
#[unsafe(no_mangle)]
extern "C" fn congruent_sync_for_device(start: u64, len: u64) {
    library().sync_for_device(PhysAddr(start), len);
}

/// A device has written the range.
#[unsafe(no_mangle)]
extern "C" fn congruent_sync_for_cpu(start: u64, len: u64) {
    library().sync_for_cpu(PhysAddr(start), len);
}

/// Code was stored to the frame.
#[unsafe(no_mangle)]
extern "C" fn congruent_sync_instructions(frame: usize) -> Answer {
    answer(library().sync_instructions(Frame(frame as u64)))
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    kernel::bug(info.location().map_or(0, |location| location.line()))
}
