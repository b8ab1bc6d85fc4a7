//! Kept windows: mappings that stay until their place is needed, for kernels without a permanent mapping of all memory.
//!
//! A window that is opened again soon finds itself still mapped: no page table is touched and no TLB entry flushed. The area holds
//! as many pages of each colour; a frame can be in a few places of its colour (its *group*), and takes the place of one that has
//! not been used since the others were.
//!
//! Guaranteed: a place in use is never remapped. Not here: coherence. A kept mapping that nobody uses is not an access, on a core
//! that fills lines only when they are accessed; [`Congruent::new`](crate::Congruent::new) refuses kept windows on others.

use crate::hardware::Platform;
use crate::sync::{ordered, AtomicU32, Ordering};
use crate::{Congruent, Frame, VirtAddr};

const LOCKED: u32 = 1 << 31;
const VALID: u32 = 1 << 30;
const RECENT: u32 = 1 << 29;
const USES: u32 = 0xffff;

/// How many places of the area a frame can be in.
const GROUP: u32 = 4;

/// What one place of the kept area holds. A kernel keeps an array of them per CPU, zero at boot.
#[derive(Debug)]
pub struct KeptSlot {
    frame: AtomicU32,
    state: AtomicU32,
}

impl KeptSlot {
    /// An empty place.
    #[must_use]
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { frame: AtomicU32::new(0), state: AtomicU32::new(0) }
    }

    /// An empty place.
    #[must_use]
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { frame: AtomicU32::new(0), state: AtomicU32::new(0) }
    }

    /// Uses the place if it holds this frame.
    fn find(&self, frame: u32) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if state & LOCKED != 0 || state & VALID == 0 || state & USES == USES || self.frame.load(Ordering::Relaxed) != frame {
                return false;
            }
            match ordered(true, Ordering::Acquire, |order| {
                self.state.compare_exchange_weak(state, (state + 1) | RECENT, order, Ordering::Relaxed)
            }) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        // An interrupt may have put another frame there between the look and the grasp; none can any more.
        let ours = self.frame.load(Ordering::Relaxed) == frame;
        if !ours {
            self.release();
        }
        ours
    }

    /// Takes the place for remapping, if nobody uses it, or has lately. Says what was there.
    fn seize(&self) -> Option<Option<u32>> {
        let state = self.state.load(Ordering::Relaxed);
        if state & (LOCKED | RECENT | USES) != 0 {
            return None;
        }
        ordered(true, Ordering::Acquire, |order| self.state.compare_exchange(state, LOCKED, order, Ordering::Relaxed)).ok()?;
        Some((state & VALID != 0).then(|| self.frame.load(Ordering::Relaxed)))
    }

    fn settle(&self, frame: u32) {
        self.frame.store(frame, Ordering::Relaxed);
        ordered(true, Ordering::Release, |order| self.state.store(VALID | RECENT | 1, order));
    }

    fn release(&self) {
        ordered(true, Ordering::Release, |order| self.state.fetch_sub(1, order));
    }
}

impl Default for KeptSlot {
    fn default() -> Self {
        Self::new()
    }
}

/// A stretch of code that stays on its CPU.
struct Stay<'c, P: Platform>(&'c P);

impl<P: Platform> Drop for Stay<'_, P> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// A place that is being mapped. If the kernel's own code panics, nothing is.
struct Locked<'s>(&'s KeptSlot);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        ordered(true, Ordering::Release, |order| self.0.state.store(0, order));
    }
}

/// A kept window in use.
pub(crate) struct Kept<'c, P: Platform> {
    slot: &'c KeptSlot,
    // Dropped after the use has ended.
    _stay: Stay<'c, P>,
    pub(crate) address: VirtAddr,
}

impl<'c, P: Platform> Kept<'c, P> {
    /// The frame at a place of the kept area, mapped there if it was not. `None` if there is no area, or no place free: an ordinary
    /// window does then.
    pub(crate) fn find(congruent: &'c Congruent<P>, frame: Frame, colour: u32) -> Option<Self> {
        let area = congruent.config().kept?;
        let number = u32::try_from(frame.0).ok()?;
        let platform = congruent.platform();
        let geometry = congruent.geometry();
        let colours = geometry.colours();
        // A power of two, as the slots and the colours are.
        let rows = area.slots >> colours.trailing_zeros();
        let cpu = platform.enter().cpu;
        let stay = Stay(platform);
        let slots = platform.kept(cpu);
        // Frames of one colour tend to have numbers that differ by multiples of all colours.
        let group = number >> colours.trailing_zeros() & ((rows / GROUP).max(1) - 1);
        let places = (0..GROUP.min(rows)).map(|k| (group * GROUP + k) * colours + colour);
        let address = |place: u32| area.base.add(u64::from(cpu * area.slots + place) * u64::from(geometry.page()));
        let slot = |place: u32| slots.get(place as usize);
        let found = places.clone().find(|&place| slot(place).is_some_and(|slot| slot.find(number)));
        let seized = || {
            for _ in 0..2 {
                for place in places.clone() {
                    if let Some(before) = slot(place).and_then(KeptSlot::seize) {
                        return Some((place, before));
                    }
                }
                // All were used lately: from now on, none was.
                for slot in places.clone().filter_map(slot) {
                    slot.state.fetch_and(!RECENT, Ordering::Relaxed);
                }
            }
            None
        };
        let place = found.or_else(|| {
            let (place, before) = seized()?;
            // SAFETY: the place is locked by us; it was mapped by this CPU if it held something; it lies in the area.
            unsafe {
                if before.is_some() {
                    platform.unmap(address(place));
                }
                let locked = Locked(&slots[place as usize]);
                platform.map(address(place), frame);
                core::mem::forget(locked);
            }
            slots[place as usize].settle(number);
            Some(place)
        });
        place.map(|place| Self { slot: &slots[place as usize], _stay: stay, address: address(place) })
    }
}

impl<P: Platform> Drop for Kept<'_, P> {
    fn drop(&mut self) {
        self.slot.release();
    }
}
