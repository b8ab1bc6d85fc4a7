//! Addresses for the library's own accesses and maintenance: the permanent mapping where it fits, a window slot otherwise.
//!
//! Guaranteed: a slot belongs to one CPU and one use; it is given back when its guard is dropped, in any order. Maintenance has a slot
//! of its own and never lacks one. Not here: whether the frame may be accessed (`window.rs`).

use core::marker::PhantomData;

use crate::config::stride;
use crate::engine::Range;
use crate::hardware::Platform;
use crate::kept::Kept;
use crate::state::Maintenance;
use crate::{Congruent, Error, Frame, VirtAddr};

/// A window slot of this CPU, which this code will not leave as long as it has it.
pub(crate) struct Slot<'c, P: Platform> {
    congruent: &'c Congruent<P>,
    cpu: u32,
    number: u32,
    /// Whether others of this CPU could want it.
    is_taken: bool,
    // What is mapped in it is this CPU's.
    _one_cpu: PhantomData<*mut ()>,
}

impl<'c, P: Platform> Slot<'c, P> {
    /// A free slot, for a window of any colour. `frame` is named in the error.
    fn take(congruent: &'c Congruent<P>, frame: Frame) -> Result<Self, Error> {
        let windows = congruent.config().windows;
        let platform = congruent.platform();
        let context = platform.enter();
        let threads = mask(windows.thread_slots);
        let candidates = match context.level {
            0 => threads,
            _ => mask(windows.thread_slots + windows.interrupt_slots) & !threads,
        };
        match platform.slots(context.cpu).take(candidates) {
            Some(number) => Ok(Self { congruent, cpu: context.cpu, number, is_taken: true, _one_cpu: PhantomData }),
            None => {
                platform.leave();
                Err(Error::NoSlot { frame, cpu: context.cpu, level: context.level })
            }
        }
    }

    /// The one that this level's maintenance has for itself. Nobody else of the level runs in a busy stretch, so it is not asked for.
    fn of_maintenance(congruent: &'c Congruent<P>) -> Self {
        let windows = congruent.config().windows;
        let context = congruent.platform().enter();
        let number = u32::from(windows.thread_slots) + u32::from(windows.interrupt_slots) + u32::from(context.level);
        Self { congruent, cpu: context.cpu, number, is_taken: false, _one_cpu: PhantomData }
    }

    /// Its page of this colour. A slot is one page of every colour, so that the slot alone says who may use it.
    fn page(&self, colour: u16) -> VirtAddr {
        let geometry = self.congruent.geometry();
        let windows = self.congruent.config().windows;
        let place = (self.cpu * windows.slots() + self.number) as usize * stride(geometry) as usize;
        windows.base.add((place + usize::from(colour) * geometry.page() as usize) as u64)
    }
}

impl<P: Platform> Drop for Slot<'_, P> {
    #[inline(never)]
    fn drop(&mut self) {
        if self.is_taken {
            self.congruent.platform().slots(self.cpu).give_back(self.number);
        }
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
            None => Self::window(congruent, frame, colour),
        }
    }

    /// Through the permanent mapping, if that is of this colour.
    #[inline]
    fn permanent(congruent: &Congruent<P>, frame: Frame, colour: u16) -> Option<Self> {
        let address = congruent.platform().linear(frame)?;
        let fits = !P::ALIASES || congruent.colour(address).index() == usize::from(colour);
        fits.then_some(Self { address, mapping: Mapping::Permanent, _one_cpu: PhantomData })
    }

    /// Through a kept window, if there is one or place for one.
    fn kept(congruent: &'c Congruent<P>, frame: Frame, colour: u16) -> Option<Self> {
        let kept = Kept::find(congruent, frame, colour)?;
        Some(Self { address: kept.address, mapping: Mapping::Kept(kept), _one_cpu: PhantomData })
    }

    #[inline(never)]
    fn window(congruent: &'c Congruent<P>, frame: Frame, colour: u16) -> Result<Self, Error> {
        if let Some(kept) = Self::kept(congruent, frame, colour) {
            return Ok(kept);
        }
        let slot = Slot::take(congruent, frame)?;
        let address = slot.page(colour);
        // SAFETY: the slot is ours alone since `take`, its pages lie in the area, and this CPU cannot change while we have it.
        unsafe { congruent.platform().map(address, frame) };
        Ok(Self { address, mapping: Mapping::Slot(slot), _one_cpu: PhantomData })
    }
}

/// What is done at one address of a frame in a busy stretch.
pub(crate) enum Work<'w> {
    /// An operation on these bytes.
    Maintain(Maintenance, Range),
    /// What the instruction side holds goes.
    DropInstructions,
    /// All of it is stored.
    Store(&'w mut dyn FnMut(VirtAddr)),
}

/// The way of one busy stretch to one frame: through all colours that it needs, one after the other, and one slot for all of them.
pub(crate) struct Passage<'c, P: Platform> {
    congruent: &'c Congruent<P>,
    frame: Frame,
    slot: Option<Slot<'c, P>>,
}

impl<'c, P: Platform> Passage<'c, P> {
    pub(crate) const fn new(congruent: &'c Congruent<P>, frame: Frame) -> Self {
        Self { congruent, frame, slot: None }
    }

    /// Does something at the page's address of this colour.
    #[inline(never)]
    pub(crate) fn through(&mut self, colour: u16, work: Work<'_>) {
        let (congruent, frame) = (self.congruent, self.frame);
        if let Some(reach) = Reach::permanent(congruent, frame, colour).or_else(|| Reach::kept(congruent, frame, colour)) {
            return congruent.work(work, reach.address);
        }
        let slot = self.slot.get_or_insert_with(|| Slot::of_maintenance(congruent));
        let mapped = Mapped { slot, address: slot.page(colour) };
        // SAFETY: the slot is ours alone in a busy stretch, its pages lie in the area, and this CPU cannot change while we have it.
        unsafe { congruent.platform().map(mapped.address, frame) };
        congruent.work(work, mapped.address);
    }
}

/// What a passage has mapped now; also if the kernel's own code panics.
struct Mapped<'s, 'c, P: Platform> {
    slot: &'s Slot<'c, P>,
    address: VirtAddr,
}

impl<P: Platform> Drop for Mapped<'_, '_, P> {
    fn drop(&mut self) {
        // SAFETY: mapped by `through` on this CPU, and its only user has returned.
        unsafe { self.slot.congruent.platform().unmap(self.address) };
    }
}

impl<P: Platform> Drop for Reach<'_, P> {
    #[inline]
    fn drop(&mut self) {
        if let Mapping::Slot(slot) = &self.mapping {
            // SAFETY: mapped by `window` on this CPU (`Reach` is not `Send`), and its only user is being dropped.
            unsafe { slot.congruent.platform().unmap(self.address) };
        }
    }
}

const fn mask(bits: u8) -> u32 {
    if bits >= 32 {
        u32::MAX
    } else {
        (1 << bits) - 1
    }
}
