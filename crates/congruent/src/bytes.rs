//! Copies to and from memory that others may be using at the same moment: users, devices, other windows of the same frame.
//!
//! Two windows of one frame may read and write it at once; so may a user. An ordinary copy would be a data race then, which is
//! undefined behaviour in Rust. Here every access to the shared side is a relaxed atomic one of a whole word, of one size
//! everywhere: who races gets old words or new ones, in any order, and nothing else goes wrong. Stores of less than a word leave the
//! other bytes of it to whoever else stores there.
//!
//! They are what [`WindowMapper`](crate::WindowMapper)'s copies do unless a kernel has its own (in assembly, say, which is outside
//! of what Rust calls a race).
//!
//! ```
//! # use congruent::{bytes, VirtAddr};
//! let mut frame = [0usize; 4]; // mapped, and nobody's but this module's
//! let page = VirtAddr(frame.as_mut_ptr() as usize as u64);
//! let mut read = [0; 3];
//! // SAFETY: the words are mapped, and nothing else accesses them meanwhile.
//! unsafe {
//!     bytes::store(page.add(5), b"abc");
//!     bytes::load(page.add(5), &mut read);
//! }
//! assert_eq!(&read, b"abc");
//! ```

use core::sync::atomic::{AtomicUsize, Ordering};

use crate::VirtAddr;

const WORD: usize = size_of::<usize>();

/// How much goes through registers at a time.
const CHUNK: usize = 8 * WORD;

/// The word that this byte lies in, and how far.
///
/// # Safety
/// The word is mapped, and accessed by atomics of this size only, for `'a`.
#[inline]
unsafe fn word<'a>(at: usize) -> (&'a AtomicUsize, usize) {
    let within = at & (WORD - 1);
    // SAFETY: aligned; the rest is the caller's.
    (unsafe { AtomicUsize::from_ptr((at - within) as *mut usize) }, within)
}

/// Copies bytes out of shared memory.
///
/// # Safety
/// The words that the bytes at `from` lie in are mapped, and whatever Rust code accesses them meanwhile does so by this module.
#[inline]
pub unsafe fn load(from: VirtAddr, to: &mut [u8]) {
    let mut at = from.0 as usize;
    let mut to = to;
    while !to.is_empty() {
        // SAFETY: the caller's.
        let (word, within) = unsafe { word(at) };
        let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        let (now, later) = to.split_at_mut((WORD - within).min(to.len()));
        now.copy_from_slice(&bytes[within..within + now.len()]);
        at += now.len();
        to = later;
    }
}

/// Copies bytes into shared memory.
///
/// # Safety
/// As [`load`]; and they are writable.
#[inline]
pub unsafe fn store(to: VirtAddr, from: &[u8]) {
    let mut at = to.0 as usize;
    let mut from = from;
    while !from.is_empty() {
        // SAFETY: the caller's.
        let (word, within) = unsafe { word(at) };
        let (now, later) = from.split_at((WORD - within).min(from.len()));
        if let Ok(bytes) = now.try_into() {
            word.store(usize::from_ne_bytes(bytes), Ordering::Relaxed);
        } else {
            let mut seen = word.load(Ordering::Relaxed);
            loop {
                let mut bytes = seen.to_ne_bytes();
                bytes[within..within + now.len()].copy_from_slice(now);
                match word.compare_exchange_weak(seen, usize::from_ne_bytes(bytes), Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => break,
                    Err(other) => seen = other,
                }
            }
        }
        at += now.len();
        from = later;
    }
}

/// Copies bytes from one place of shared memory to another; the places do not overlap.
///
/// # Safety
/// As [`load`] and [`store`].
#[inline]
pub unsafe fn copy(from: VirtAddr, to: VirtAddr, len: u32) {
    let mut chunk = [0; CHUNK];
    let mut done = 0;
    while done < len as usize {
        let chunk = &mut chunk[..CHUNK.min(len as usize - done)];
        // SAFETY: the caller's.
        unsafe {
            load(from.add(done as u64), chunk);
            store(to.add(done as u64), chunk);
        }
        done += chunk.len();
    }
}

/// Stores zeros to shared memory.
///
/// # Safety
/// As [`store`].
#[inline]
pub unsafe fn zero(to: VirtAddr, len: u32) {
    let zeros = [0; CHUNK];
    let mut done = 0;
    while done < len as usize {
        let chunk = &zeros[..CHUNK.min(len as usize - done)];
        // SAFETY: the caller's.
        unsafe { store(to.add(done as u64), chunk) };
        done += chunk.len();
    }
}
