//! Addresses for the library's own accesses and maintenance: the permanent mapping where it fits, a window slot otherwise.
//!
//! Guaranteed: a slot belongs to one CPU and one use; it is given back when its guard is dropped, in any order. Not here: whether the
//! frame may be accessed (`window.rs`).

use core::marker::PhantomData;

use crate::config::stride;
use crate::hardware::Platform;
use crate::kept::Kept;
use crate::{Congruent, Error, Frame, VirtAddr};

/// A window slot of this CPU, which this code will not leave as long as it has it.
pub(crate) struct Slot<'c, P: Platform> {
    congruent: &'c Congruent<P>,
    cpu: u32,
    number: u32,
    // What is mapped in it is this CPU's.
    _one_cpu: PhantomData<*mut ()>,
}

impl<'c, P: Platform> Slot<'c, P> {
    /// A free slot, for a window of any colour. `frame` is named in the error.
    fn take(congruent: &'c Congruent<P>, frame: Frame) -> Result<Self, Error> {
        let windows = congruent.config().windows;
        let platform = congruent.platform();
        let context = platform.enter();
        let thread = mask(windows.thread_slots);
        let candidates = if context.interrupt { mask(windows.thread_slots + windows.interrupt_slots) & !thread } else { thread };
        match platform.slots(context.cpu).take(candidates) {
            Some(number) => Ok(Self { congruent, cpu: context.cpu, number, _one_cpu: PhantomData }),
            None => {
                platform.leave();
                Err(Error::NoSlot { frame, cpu: context.cpu, interrupt: context.interrupt })
            }
        }
    }

    /// Its page of this colour. A slot is one page of every colour, so that the slot alone says who may use it.
    fn page(&self, colour: u16) -> VirtAddr {
        let geometry = self.congruent.geometry();
        let windows = self.congruent.config().windows;
        let place = u64::from(self.cpu * windows.slots() + self.number) * u64::from(stride(geometry));
        windows.base.add(place + u64::from(colour) * u64::from(geometry.page()))
    }
}

impl<P: Platform> Drop for Slot<'_, P> {
    fn drop(&mut self) {
        self.congruent.platform().slots(self.cpu).give_back(self.number);
        self.congruent.platform().leave();
    }
}

/// What makes an address reach the frame.
enum Mapping<'c, P: Platform> {
    Permanent,
    Slot(Slot<'c, P>),
    Kept(#[expect(dead_code, reason = "held for its end")] Kept<'c, P>),
}

/// An address at which a frame can be reached through one colour, for as long as this lives.
pub(crate) struct Reach<'c, P: Platform> {
    pub(crate) address: VirtAddr,
    mapping: Mapping<'c, P>,
    _one_cpu: PhantomData<*mut ()>,
}

impl<'c, P: Platform> Reach<'c, P> {
    #[inline]
    pub(crate) fn new(congruent: &'c Congruent<P>, frame: Frame, colour: u16) -> Result<Self, Error> {
        // First and by itself, so that nothing else is left where every frame has a permanent mapping and nothing aliases.
        match Self::permanent(congruent, frame, colour) {
            Some(reach) => Ok(reach),
            None => Ok(Prepared::window(congruent, frame, colour)?.reach(frame, colour)),
        }
    }

    /// Through the permanent mapping, if that is of this colour.
    #[inline]
    fn permanent(congruent: &Congruent<P>, frame: Frame, colour: u16) -> Option<Self> {
        let address = congruent.platform().linear(frame)?;
        let fits = !P::ALIASES || congruent.colour(address).index() == usize::from(colour);
        fits.then_some(Self { address, mapping: Mapping::Permanent, _one_cpu: PhantomData })
    }

    fn in_slot(slot: Slot<'c, P>, frame: Frame, colour: u16) -> Self {
        slot.congruent.assert_own(colour, frame);
        let address = slot.page(colour);
        // SAFETY: the slot is ours alone since `take`, its pages lie in the area, and this CPU cannot change while we have it.
        unsafe { slot.congruent.platform().map(address, frame) };
        Self { address, mapping: Mapping::Slot(slot), _one_cpu: PhantomData }
    }
}

/// What it takes to reach a frame, without a new mapping yet: on a core that speculates, a mapping alone is a way into the cache.
pub(crate) enum Prepared<'c, P: Platform> {
    Reach(Reach<'c, P>),
    Slot(Slot<'c, P>),
}

impl<'c, P: Platform> Prepared<'c, P> {
    pub(crate) fn new(congruent: &'c Congruent<P>, frame: Frame, colour: u16) -> Result<Self, Error> {
        match Reach::permanent(congruent, frame, colour) {
            Some(reach) => Ok(Self::Reach(reach)),
            None => Self::window(congruent, frame, colour),
        }
    }

    #[inline(never)]
    fn window(congruent: &'c Congruent<P>, frame: Frame, colour: u16) -> Result<Self, Error> {
        if let Some(kept) = Kept::find(congruent, frame, colour) {
            return Ok(Self::Reach(Reach { address: kept.address, mapping: Mapping::Kept(kept), _one_cpu: PhantomData }));
        }
        Slot::take(congruent, frame).map(Self::Slot)
    }

    /// The address. `frame` and `colour` are those that it was prepared for.
    pub(crate) fn reach(self, frame: Frame, colour: u16) -> Reach<'c, P> {
        match self {
            Self::Reach(reach) => reach,
            Self::Slot(slot) => Reach::in_slot(slot, frame, colour),
        }
    }
}

impl<P: Platform> Drop for Reach<'_, P> {
    #[inline]
    fn drop(&mut self) {
        if let Mapping::Slot(slot) = &self.mapping {
            // SAFETY: mapped by `in_slot` on this CPU (`Reach` is not `Send`), and its only user is being dropped.
            unsafe { slot.congruent.platform().unmap(self.address) };
        }
    }
}

const fn mask(bits: u8) -> u32 {
    if bits >= 32 { u32::MAX } else { (1 << bits) - 1 }
}
