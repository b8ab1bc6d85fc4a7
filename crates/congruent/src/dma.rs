//! Devices for kernels that cannot say no: by physical range, in any order, any number of times, and never refused.
//!
//! Some kernels have hooks for devices that return nothing, that are called for any memory, with locks held, again and again for one
//! buffer, or of which one of the two is left out. They have these two calls. What the calls cannot do is refuse, count, or take rights
//! away; so what [`Transfer`](crate::Transfer) enforces is the caller's duty here: while a device writes, nobody stores to the buffer, nor
//! to the rest of its first and last line.

use crate::engine::Range;
use crate::hardware::Platform;
use crate::state::{Maintenance, Plan, Rules, State, Step};
use crate::{Congruent, Frame, PhysAddr};

impl<P: Platform> Congruent<P> {
    /// Memory of which a device is given `len` bytes from `start` on, to read or to write: user pages, page cache, heap, in as many
    /// frames as it takes. What the caches have of it that is newer goes to memory.
    ///
    /// Frames without a word are maintained at their permanent address; if they have none, no cache has anything of them.
    /// Counterpart of `arch_sync_dma_for_device`, in all directions.
    ///
    /// Waits for other CPUs that maintain one of the frames, for a bounded time each. So it must not interrupt such maintenance:
    /// where handlers make this call, [`WindowMapper::begin_busy`](crate::WindowMapper::begin_busy) keeps interrupts off.
    ///
    /// ```
    /// # use congruent::*;
    /// fn dma_map<P: Platform>(kernel: &Congruent<P>, buffer: PhysAddr, len: u64) {
    ///     kernel.sync_for_device(buffer, len);
    ///     // Tell the device. When it has ended, if it was to write:
    ///     kernel.sync_for_cpu(buffer, len);
    /// }
    /// ```
    pub fn sync_for_device(&self, start: PhysAddr, len: u64) {
        if P::COHERENT_DEVICES {
            return;
        }
        self.each_page(start, len, |frame, range, whole| {
            self.sync_page(
                frame,
                range,
                &|state: State, _: &Rules, plan: &mut Plan| {
                    state.device_reads(whole, plan);
                    Ok(())
                },
                Maintenance::WriteBack,
            );
        });
    }

    /// A device that was to write has ended: from now on everybody sees what it wrote. Not needed after one that only read.
    ///
    /// Again, or for a device that wrote nothing, it does no harm, as long as nobody has stored to the buffer since it was given to
    /// the device: what is in the cache of it is taken for old.
    ///
    /// Counterpart of `arch_sync_dma_for_cpu`. Waits as [`sync_for_device`](Self::sync_for_device) does.
    pub fn sync_for_cpu(&self, start: PhysAddr, len: u64) {
        self.each_page(start, len, |frame, range, whole| {
            if !P::COHERENT_DEVICES {
                self.sync_page(
                    frame,
                    range,
                    &|state: State, rules: &Rules, plan: &mut Plan| {
                        state.taken(whole, rules, plan);
                        Ok(())
                    },
                    Maintenance::Invalidate,
                );
            } else if P::ALIASES && self.word(frame).is_ok() {
                self.surely(frame, range, &|state: State, _: &Rules, plan: &mut Plan| {
                    state.device_wrote_caches(plan);
                    Ok(())
                });
            }
        });
    }

    /// One page of it: what its word says, or all that could be needed where nothing is tracked.
    fn sync_page(&self, frame: Frame, range: Range, step: &dyn Step, untracked: Maintenance) {
        if P::ALIASES && self.word(frame).is_ok() {
            self.surely(frame, range, step);
        } else if let Some(page) = self.platform().linear(frame) {
            self.issue(untracked, page, range);
        }
    }

    /// A step that nothing but another CPU's maintenance can be in the way of.
    pub(crate) fn surely(&self, frame: Frame, range: Range, step: &dyn Step) {
        while let Err(error) = self.transact(frame, range, step) {
            debug_assert!(matches!(error, crate::Error::Busy(_)), "{error}");
            crate::sync::wait_for_another_cpu();
        }
    }

    fn each_page(&self, start: PhysAddr, len: u64, mut each: impl FnMut(Frame, Range, bool)) {
        let (shift, page) = (self.geometry().page_shift(), u64::from(self.page()));
        let (mut at, mut left) = (start.0, len);
        while left > 0 {
            let offset = at & (page - 1);
            let now = left.min(page - offset);
            each(Frame(at >> shift), Range { offset: offset as u32, len: now as u32 }, now == page);
            at += now;
            left -= now;
        }
    }
}
