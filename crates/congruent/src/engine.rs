//! The one place where a transition meets the hardware: revoke, maintain, commit, in this order.
//!
//! Guaranteed: maintenance is issued through a kernel mapping of the right colour, after the user rights that could undo it are
//! gone, before anybody sees the new state; an operation that fails has issued no maintenance. Not here: what is needed
//! (`state.rs`).

use congruent_geometry::CacheGeometry;

use crate::config::stride;
use crate::hardware::{Platform, Remaining, Revoke};
use crate::reach::Reach;
use crate::state::{Maintenance, MustRevoke, Plan, Refusal, Rules, State};
use crate::word::{Change, FrameWord};
use crate::{Colour, Config, ConfigError, Error, Frame, Policy, Tags, VirtAddr};

/// Alias-free access to frames: the library, for one machine.
///
/// A kernel makes one at boot, while all frame words are zero, and uses it from every CPU.
#[derive(Debug)]
pub struct Congruent<P> {
    platform: P,
    config: Config,
}

/// Bytes of a page: `len` of them from `offset`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

impl<P: Platform> Congruent<P> {
    /// The library for a machine. Empties the whole data cache, because zeroed words say that nothing is cached; from here on,
    /// frames that have a word are accessed through this only.
    ///
    /// # Errors
    /// [`ConfigError`] if the library cannot serve it.
    pub fn new(platform: P, config: Config) -> Result<Self, ConfigError> {
        let (colours, windows) = (config.geometry.colours(), config.windows);
        let align = stride(&config.geometry);
        if config.tags == Tags::Virtual {
            return Err(ConfigError::VirtuallyTagged);
        }
        if !P::ALIASES && colours > 1 {
            return Err(ConfigError::Aliases { colours });
        }
        if !windows.base.0.is_multiple_of(u64::from(align)) {
            return Err(ConfigError::MisplacedWindows { base: windows.base, align });
        }
        if let Some(kept) = config.kept {
            if config.speculative {
                return Err(ConfigError::KeptWindowsOnSpeculatingCore);
            }
            if !kept.base.0.is_multiple_of(u64::from(align)) {
                return Err(ConfigError::MisplacedWindows { base: kept.base, align });
            }
            if kept.slots == 0 || !kept.slots.is_multiple_of(colours) {
                return Err(ConfigError::KeptSlots(kept.slots));
            }
        }
        if windows.thread_slots < 2 || windows.slots() > 32 {
            return Err(ConfigError::Slots { thread: windows.thread_slots, interrupt: windows.interrupt_slots });
        }
        // SAFETY: there is no condition but the time it takes, once.
        unsafe { platform.write_back_invalidate_all() };
        Ok(Self { platform, config })
    }

    /// The kernel's own part.
    pub const fn platform(&self) -> &P {
        &self.platform
    }

    /// What the library was told of the machine.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The data cache.
    #[must_use]
    #[inline]
    pub const fn geometry(&self) -> &CacheGeometry {
        &self.config.geometry
    }

    /// The colour of an address.
    #[must_use]
    #[inline]
    pub const fn colour(&self, address: VirtAddr) -> Colour<P> {
        Colour::new(self.config.geometry.colour(address).index() as u16)
    }

    /// The colour with this number, `None` if the machine has no such colour.
    #[must_use]
    pub const fn colour_from_index(&self, index: usize) -> Option<Colour<P>> {
        match self.config.geometry.colour_from_index(index) {
            Some(colour) => Some(Colour::new(colour.index() as u16)),
            None => None,
        }
    }

    /// Types keep colours of different platforms apart, but not those of two geometries on one platform.
    pub(crate) fn assert_own(&self, colour: u16, frame: Frame) {
        let geometry = self.geometry();
        assert!(u32::from(colour) < geometry.colours(), "colour {colour} of frame {:#x} is not one of {geometry}", frame.0);
    }

    /// The colour of the frame's permanent kernel mapping, if it has one.
    #[must_use]
    pub fn linear_colour(&self, frame: Frame) -> Option<Colour<P>> {
        self.platform.linear(frame).map(|address| self.colour(address))
    }

    /// A hint for the frame allocator: the colour at which this frame is cheapest to use next. A free frame given out at this colour
    /// needs no maintenance; at another one it may need one operation.
    ///
    /// # Errors
    /// [`Error::UnknownFrame`].
    pub fn colour_hint(&self, frame: Frame) -> Result<Colour<P>, Error> {
        Ok(Colour::new(self.state(frame)?.home))
    }

    /// What is known of the frame now. Another CPU may have changed it when this returns.
    ///
    /// # Errors
    /// [`Error::UnknownFrame`].
    pub fn state(&self, frame: Frame) -> Result<State, Error> {
        Ok(self.word(frame)?.load(self.exact()))
    }

    pub(crate) fn word(&self, frame: Frame) -> Result<&FrameWord, Error> {
        self.platform.word(frame).ok_or(Error::UnknownFrame(frame))
    }

    pub(crate) const fn exact(&self) -> bool {
        self.config.geometry.colours() <= crate::state::EXACT_COLOURS
    }

    pub(crate) const fn page(&self) -> u32 {
        self.config.geometry.page()
    }

    /// The rules of this machine for this frame.
    pub(crate) fn rules(&self, frame: Frame) -> Rules {
        Rules {
            colours: self.config.geometry.colours() as u16,
            write_back: self.config.write_back,
            speculative: self.config.speculative,
            linear: self.linear_colour(frame).map(|colour| colour.0),
        }
    }

    /// The colour that a reverse lookup finds, if that is the policy.
    pub(crate) fn looked_up(&self, frame: Frame) -> Option<u16> {
        match self.config.policy {
            Policy::ReverseLookup => self.platform.user_address(frame).map(|address| self.colour(address).0),
            Policy::Remember => None,
        }
    }

    /// Takes a frame from one state to another, with what that needs. `range` is what maintenance covers.
    ///
    /// # Errors
    /// What `plan` refuses, [`Error::Busy`] if user rights cannot be revoked now, [`Error::NoSlot`].
    pub(crate) fn transact(
        &self,
        frame: Frame,
        range: Range,
        before: impl Fn(&State) -> Option<MustRevoke>,
        plan: impl Fn(State) -> Result<Plan, Refusal>,
    ) -> Result<State, Error> {
        let word = self.word(frame)?;
        let refused = |refusal| Error::refused(frame, refusal, word.load(self.exact()).home);
        match word.change(self.exact(), |state| before(state).is_some(), &plan).map_err(refused)? {
            Change::Done(after) => Ok(after),
            Change::Slow(busy, mut state) => {
                if let Some(what) = before(&state) {
                    let remaining = self.platform.revoke(frame, Self::typed(what)).map_err(|_| Error::Busy(frame))?;
                    state = state.revoked(what, remaining == Remaining::Some);
                }
                let plan = plan(state).map_err(refused)?;
                self.maintain(frame, range, &plan)?;
                busy.commit(plan.after);
                Ok(plan.after)
            }
        }
    }

    const fn typed(what: MustRevoke) -> Revoke<P> {
        match what {
            MustRevoke::Writes => Revoke::Writes,
            MustRevoke::AllBut(colour) => Revoke::AllBut(Colour::new(colour)),
        }
    }

    /// Issues the maintenance of a plan.
    fn maintain(&self, frame: Frame, range: Range, plan: &Plan) -> Result<(), Error> {
        // Every mapping first, so that nothing has been issued if one of them cannot be had.
        let [first, second] = plan.ops;
        let reach = |op: Option<crate::state::Op>| op.map(|op| Reach::new(self, frame, op.colour)).transpose();
        let mappings = [reach(first)?, reach(second)?];
        let instructions = if plan.drop_instructions { Some(Reach::new(self, frame, plan.after.home)?) } else { None };
        for (op, mapping) in plan.ops.iter().zip(&mappings) {
            if let (Some(op), Some(mapping)) = (op, mapping) {
                self.issue(op.maintenance, mapping.address, range);
            }
        }
        if let Some(mapping) = instructions {
            // SAFETY: the whole page is mapped, cacheable, until `mapping` is dropped.
            unsafe { self.platform.drop_instructions(mapping.address, self.page()) };
        }
        Ok(())
    }

    /// One operation on the lines that `range` touches of the page mapped at `page`.
    pub(crate) fn issue(&self, maintenance: Maintenance, page: VirtAddr, range: Range) {
        let line = self.config.geometry.line();
        let start = range.offset & !(line - 1);
        let len = (range.offset + range.len).next_multiple_of(line) - start;
        let start = page.add(u64::from(start));
        // SAFETY: whole lines of a page that the caller has mapped, cacheable. Invalidation is asked for only by plans, for lines
        // that are clean or whose bytes are dead (state.rs).
        unsafe {
            match maintenance {
                Maintenance::WriteBack => self.platform.write_back(start, len),
                Maintenance::Invalidate => self.platform.invalidate(start, len),
                Maintenance::WriteBackInvalidate => self.platform.write_back_invalidate(start, len),
            }
        }
    }

    /// All bytes of a page.
    pub(crate) const fn whole_page(&self) -> Range {
        Range { offset: 0, len: self.page() }
    }

    pub(crate) const fn check_bounds(&self, frame: Frame, offset: u32, len: usize) -> Result<(), Error> {
        let page = self.page() as usize;
        if len <= page && offset as usize <= page - len { Ok(()) } else { Err(Error::OutOfPage { frame, offset, len }) }
    }
}
