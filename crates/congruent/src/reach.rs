//! Addresses for the library's own accesses and maintenance: the permanent mapping where it fits, a window slot otherwise.
//!
//! Guaranteed: a slot belongs to one CPU and one use; it is given back when its guard is dropped, in any order. Maintenance has a slot
//! of its own and never lacks one. Not here: whether the frame may be accessed (`window.rs`).

use core::marker::PhantomData;

use crate::config::stride;
use crate::engine::Asked;
use crate::error::Denied;
use crate::hardware::Platform;
use crate::kept::Kept;
use crate::state::Maintenance;
use crate::{Congruent, CpuContext, CpuSlots, Frame, VirtAddr};

/// A window slot of this CPU, which this code will not leave as long as it has it.
struct Slot<'c> {
    cpu: u32,
    number: u32,
    /// Where it was taken from, if others of this CPU could want it.
    taken: Option<&'c CpuSlots>,
}

impl<'c> Slot<'c> {
    /// A free slot, for a window of any colour. Or the one that this level's maintenance has for itself: nobody else of the level runs in
    /// a busy stretch, so it is not asked for.
    fn choose<P: Platform>(congruent: &'c Congruent<P>, is_maintenance: bool) -> Result<Self, Denied> {
        let windows = congruent.config().windows;
        let platform = congruent.platform();
        let CpuContext { cpu, level } = platform.enter();
        let (threads, both) =
            (u32::from(windows.thread_slots), u32::from(windows.thread_slots) + u32::from(windows.interrupt_slots));
        if is_maintenance {
            return Ok(Self { cpu, number: both + u32::from(level), taken: None });
        }
        // There are less than 32 of both: each level has one for maintenance besides.
        let candidates = if level == 0 { (1 << threads) - 1 } else { (1 << both) - (1 << threads) };
        let slots = platform.slots(cpu);
        if let Some(number) = slots.take(candidates) {
            return Ok(Self { cpu, number, taken: Some(slots) });
        }
        platform.leave();
        Err(Denied::NoSlot { cpu, level })
    }

    /// Its page of this colour. A slot is one page of every colour, so that the slot alone says who may use it.
    fn page<P: Platform>(&self, congruent: &Congruent<P>, colour: u32) -> VirtAddr {
        let geometry = congruent.geometry();
        let windows = congruent.config().windows;
        let place = (self.cpu * windows.slots() + self.number) as usize * stride(geometry) as usize;
        windows.base.add((place + colour as usize * geometry.page() as usize) as u64)
    }
}

/// What makes an address reach the frame.
enum Mapping<'c, P: Platform> {
    Permanent,
    Slot(Slot<'c>),
    Kept(#[expect(dead_code, reason = "held for its end")] Kept<'c, P>),
}

/// An address at which a frame can be reached through one colour, for as long as this lives.
pub(crate) struct Reach<'c, P: Platform> {
    pub(crate) address: VirtAddr,
    congruent: &'c Congruent<P>,
    mapping: Mapping<'c, P>,
    // What is mapped in a slot is this CPU's.
    _one_cpu: PhantomData<*mut ()>,
}

impl<'c, P: Platform> Reach<'c, P> {
    #[inline]
    pub(crate) fn new(congruent: &'c Congruent<P>, frame: Frame, colour: u32) -> Result<Self, Denied> {
        // First and by itself, so that nothing else is left where every frame has a permanent mapping and nothing aliases.
        match Self::permanent(congruent, frame, colour) {
            Some(address) => Ok(Self::at_permanent(congruent, address)),
            None => Self::window(congruent, frame, colour, false),
        }
    }

    #[inline]
    const fn at(congruent: &'c Congruent<P>, address: VirtAddr, mapping: Mapping<'c, P>) -> Self {
        Self { address, congruent, mapping, _one_cpu: PhantomData }
    }

    #[inline]
    pub(crate) const fn at_permanent(congruent: &'c Congruent<P>, address: VirtAddr) -> Self {
        Self::at(congruent, address, Mapping::Permanent)
    }

    /// The permanent address, if that is of this colour.
    #[inline]
    pub(crate) fn permanent(congruent: &Congruent<P>, frame: Frame, colour: u32) -> Option<VirtAddr> {
        let address = congruent.platform().linear(frame)?;
        if !P::ALIASES || u32::from(congruent.colour(address).0) == colour {
            Some(address)
        } else {
            None
        }
    }

    /// Through a kept window, if there is one or place for one; through a slot otherwise, which for maintenance there always is.
    #[inline(never)]
    pub(crate) fn window(congruent: &'c Congruent<P>, frame: Frame, colour: u32, is_maintenance: bool) -> Result<Self, Denied> {
        if let Some(kept) = Kept::find(congruent, frame, colour) {
            return Ok(Self::at(congruent, kept.address, Mapping::Kept(kept)));
        }
        let slot = Slot::choose(congruent, is_maintenance)?;
        let address = slot.page(congruent, colour);
        // SAFETY: the slot is ours alone, taken or that of maintenance in a busy stretch; its pages lie in the area, and this CPU cannot
        // change while we have it.
        unsafe { congruent.platform().map(address, frame) };
        Ok(Self::at(congruent, address, Mapping::Slot(slot)))
    }
}

impl<P: Platform> Drop for Reach<'_, P> {
    #[inline]
    fn drop(&mut self) {
        if let Mapping::Slot(slot) = &self.mapping {
            self.congruent.unmap(self.address, slot);
        }
    }
}

/// What is done at one address of a frame in a busy stretch.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// An operation on bytes of it.
    Maintain(Maintenance),
    /// What the instruction side holds goes.
    DropInstructions,
    /// All of it is stored.
    Store,
}

impl<P: Platform> Congruent<P> {
    /// Does something at the page's address of this colour, in a busy stretch.
    #[inline(never)]
    pub(crate) fn pass(&self, asked: &mut Asked<'_, '_>, colour: u32, work: Work) {
        if let Some(address) = Reach::permanent(self, asked.frame, colour) {
            return self.work(asked, work, address);
        }
        match &Reach::window(self, asked.frame, colour, true) {
            Ok(reach) => self.work(asked, work, reach.address),
            Err(_) => unreachable!("maintenance has a slot of its own"),
        }
    }

    /// The slot is not used any more.
    #[inline(never)]
    fn unmap(&self, page: VirtAddr, slot: &Slot<'_>) {
        // SAFETY: mapped by `window` on this CPU (`Reach` is not `Send`), and its only user is being dropped.
        unsafe { self.platform().unmap(page) };
        if let Some(slots) = slot.taken {
            slots.give_back(slot.number);
        }
        self.platform().leave();
    }
}
