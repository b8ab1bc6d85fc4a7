//! The one place where a transition meets the hardware: revoke, maintain, commit, in this order.
//!
//! Guaranteed: maintenance is issued through a kernel mapping of the right colour, after the user rights that could undo it are
//! gone, before anybody sees the new state; an operation that fails has issued no maintenance. The word is busy only while
//! maintenance is done, and while the bytes that are to replace what was discarded are stored: a bounded time, in which the CPU does
//! nothing else. Not here: what is needed (`state.rs`).

use congruent_geometry::CacheGeometry;

use crate::config::stride;
use crate::error::Denied;
use crate::hardware::{Platform, Remaining, Revoke};
use crate::reach::Work;
use crate::state::{Maintenance, MustRevoke, Plan, Refusal, Rules, State, Step, EXACT_COLOURS, GIVEN, USERS};
use crate::word::{is_installing, Claim, FrameWord};
use crate::{Colour, Config, ConfigError, Error, Frame, Policy, Tags, VirtAddr};

/// Alias-free access to frames: the library, for one machine.
///
/// A kernel makes one at boot, while all frame words are zero, and uses it from every CPU.
#[derive(Debug)]
pub struct Congruent<P> {
    platform: P,
    config: Config,
    pub(crate) rules: Rules,
}

/// How often rights are taken away before the caller is told to try later: frames move in the meantime, or not.
const ATTEMPTS: u32 = 3;

/// Bytes of a page: `len` of them from `offset`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

/// What is asked of a frame.
pub(crate) struct Asked<'a, 's> {
    pub(crate) frame: Frame,
    /// What maintenance covers.
    pub(crate) range: Range,
    pub(crate) step: &'a dyn Step,
    /// How all of the page is stored, if it is to be, before anybody else can see the frame.
    pub(crate) stores: Option<&'a mut (dyn FnMut(VirtAddr) + 's)>,
}

/// What has come of a step.
pub(crate) struct Done<'c> {
    pub(crate) word: &'c FrameWord,
    /// As wide as a register, as every colour that is handed on: what is stored narrow and loaded wide, as compilers do, is waited for.
    pub(crate) home: u32,
    /// How many guards there are, ours among them; or [`GIVEN`].
    pub(crate) guards: u32,
    /// Whether the page has been stored to, and so is not used any more.
    pub(crate) is_stored: bool,
}

impl<'c> Done<'c> {
    fn new(word: &'c FrameWord, plan: &Plan, is_stored: bool) -> Self {
        let after = &plan.after;
        Self { word, home: after.home().into(), guards: after.guards() >> USERS, is_stored }
    }

    /// Whether kernel code has the frame, so that it cannot move.
    pub(crate) const fn is_given(&self) -> bool {
        self.guards == GIVEN
    }
}

impl<P: Platform> Congruent<P> {
    /// The library for a machine. Empties the caches of both sides, because zeroed words say that nothing is cached; from here on,
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
        let aligned = |address: VirtAddr| address.0 & (u64::from(align) - 1) == 0;
        if !aligned(windows.base) {
            return Err(ConfigError::MisplacedWindows { base: windows.base, align });
        }
        if let Some(kept) = config.kept {
            if config.speculative {
                return Err(ConfigError::KeptWindowsOnSpeculatingCore);
            }
            if !aligned(kept.base) {
                return Err(ConfigError::MisplacedWindows { base: kept.base, align });
            }
            if !kept.slots.is_power_of_two() || kept.slots < colours {
                return Err(ConfigError::KeptSlots(kept.slots));
            }
        }
        if windows.thread_slots < 2 || windows.levels == 0 || windows.slots() > 32 {
            return Err(ConfigError::Slots {
                thread: windows.thread_slots,
                interrupt: windows.interrupt_slots,
                levels: windows.levels,
            });
        }
        if config.top.0 & (u64::from(align) - 1) != u64::from(align) - 1 {
            return Err(ConfigError::Top(config.top));
        }
        // SAFETY: there is no condition but the time it takes, once.
        unsafe { platform.empty() };
        let rules = Rules {
            exact: colours <= EXACT_COLOURS,
            write_back: config.write_back,
            speculative: config.speculative,
            fetches_see_data: config.fetches_see_data,
        };
        Ok(Self { platform, config, rules })
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
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, address: VirtAddr) -> Result<(), Error> {
    /// let next = address.add(u64::from(kernel.geometry().page()));
    /// assert!(kernel.geometry().colours() == 1 || kernel.colour(next) != kernel.colour(address));
    /// Ok(())
    /// # }
    /// ```
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
    pub(crate) fn assert_own(&self, colour: Colour<P>) {
        let geometry = self.geometry();
        assert!((colour.0 as u32) < geometry.colours(), "{colour:?} is not one of {geometry}");
    }

    /// The colour of the frame's permanent kernel mapping, if it has one.
    #[must_use]
    pub fn linear_colour(&self, frame: Frame) -> Option<Colour<P>> {
        self.platform.linear(frame).map(|address| self.colour(address))
    }

    /// A hint for the frame allocator: the colour at which this frame is cheapest to use next. A free frame given out at this colour
    /// needs no maintenance; at another one it may need one operation.
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, free: &[Frame], address: VirtAddr) -> Result<(), Error> {
    /// let colour = kernel.colour(address);
    /// let cheap = free.iter().find(|&&frame| kernel.colour_hint(frame) == Ok(colour));
    /// # let _ = cheap;
    /// Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownFrame`].
    pub fn colour_hint(&self, frame: Frame) -> Result<Colour<P>, Error> {
        Ok(Colour::new(self.word(frame)?.load::<P>(self.exact()).home()))
    }

    /// Whether anything of the frame may be in the data cache. Another CPU may have changed that when this returns.
    ///
    /// # Errors
    /// [`Error::UnknownFrame`].
    pub fn is_cached(&self, frame: Frame) -> Result<bool, Error> {
        Ok(self.word(frame)?.load::<P>(self.exact()).held() != 0)
    }

    /// Whether users may have the frame mapped. Another CPU may have changed that when this returns.
    ///
    /// # Errors
    /// [`Error::UnknownFrame`].
    pub fn is_mapped(&self, frame: Frame) -> Result<bool, Error> {
        Ok(self.word(frame)?.load::<P>(self.exact()).mapped())
    }

    /// What is known of the frame now.
    ///
    /// # Errors
    /// [`Error::UnknownFrame`].
    #[cfg(feature = "model")]
    pub fn state(&self, frame: Frame) -> Result<State, Error> {
        Ok(self.word(frame)?.load::<P>(self.exact()))
    }

    pub(crate) fn word(&self, frame: Frame) -> Result<&FrameWord, Error> {
        self.platform.word(frame).ok_or(Error::UnknownFrame(frame))
    }

    /// That there is such a frame, and that it is plain bytes: where nothing is tracked, all that its word says.
    #[inline]
    pub(crate) fn check_known(&self, frame: Frame) -> Result<(), Error> {
        if self.platform.word(frame).is_some() {
            Ok(())
        } else {
            Err(Error::UnknownFrame(frame))
        }
    }

    /// What is known of a frame; nothing if there is no such frame.
    pub(crate) fn state_of(&self, frame: Frame) -> State {
        self.platform.word(frame).map(|word| word.load::<P>(self.exact())).unwrap_or_default()
    }

    pub(crate) const fn exact(&self) -> bool {
        self.rules.exact
    }

    pub(crate) const fn page(&self) -> u32 {
        self.config.geometry.page()
    }

    /// The colour that a reverse lookup finds, if that is the policy.
    pub(crate) fn looked_up(&self, frame: Frame) -> Option<u16> {
        match self.config.policy {
            Policy::ReverseLookup => self.platform.user_address(frame).map(|address| self.colour(address).0),
            Policy::Remember => None,
        }
    }

    /// Takes a frame from one state to another, with what that needs.
    ///
    /// # Errors
    /// What is refused, and [`Refusal::Revoking`] if user rights cannot be taken away now.
    #[inline(never)]
    pub(crate) fn transact(&self, frame: Frame, range: Range, step: &dyn Step) -> Result<(), Error> {
        match self.take(&mut Asked { frame, range, step, stores: None }) {
            Ok(_) => Ok(()),
            Err(denied) => Err(self.denied(frame, denied)),
        }
    }

    /// [`transact`](Self::transact), with what has come of it. If that could not be done by changing the word alone, [`Asked::stores`] is
    /// called before anybody else can see the frame: it is given the page at the address of its new home, and the guard that the step
    /// would leave is not left.
    #[inline(never)]
    pub(crate) fn take(&self, asked: &mut Asked<'_, '_>) -> Result<Done<'_>, Denied> {
        let word = self.platform.word(asked.frame).ok_or(Denied::UnknownFrame)?;
        let permanent = if self.rules.speculative { self.linear_colour(asked.frame).map(|colour| colour.0) } else { None };
        let mut seen = word.peek();
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            let before = State::unpack(seen, self.exact());
            let mut plan = Plan::none(before, permanent);
            if before.busy() {
                return Err(Denied::Refused(Refusal::Busy));
            }
            asked.step.plan(&mut plan, &self.rules)?;
            if plan.revoke.is_some() & before.revoking() {
                break;
            }
            let is_possible = plan.revoke.is_none();
            if let Some(next) = plan.at_once(seen, &before) {
                match word.advance::<P>(seen, next) {
                    Ok(()) if is_possible => return Ok(Done::new(word, &plan, false)),
                    Ok(()) => {}
                    Err(now) => {
                        seen = now;
                        continue;
                    }
                }
            }
            if self.maintain(word, asked, &mut plan, seen)? {
                return Ok(Done::new(word, &plan, asked.stores.is_some()));
            }
            seen = word.peek();
            attempts += 1;
        }
        Err(Denied::Refused(Refusal::Revoking))
    }

    /// With rights to be taken away, maintenance, or both. Says whether it is done.
    #[inline(never)]
    fn maintain(&self, word: &FrameWord, asked: &mut Asked<'_, '_>, plan: &mut Plan, seen: u32) -> Result<bool, Refusal> {
        let revoke = plan.revoke;
        let claim = revoke.map(|_| Claim::<P>::new(word));
        let mut remain = false;
        if let Some(what) = revoke {
            // Without the word: the kernel may have to wait for locks, and others may use the frame where it is.
            let remaining = self.platform.revoke(asked.frame, Self::typed(what)).map_err(|_| Refusal::Revoking)?;
            remain = is_installing(seen) || remaining == Remaining::Some;
        }
        let (mut busy, before) = word.seize(self)?;
        *plan = Plan::none(before, plan.permanent);
        if let Some(what) = revoke {
            plan.after.revoked(what, remain);
            plan.after.set_revoking(false); // that is us
        }
        asked.step.plan(plan, &self.rules)?;
        // Once is enough, even where the kernel does not know what is left; but the frame may have moved meanwhile.
        if plan.revoke.is_some() && plan.revoke != revoke {
            return Ok(false);
        }
        if asked.stores.is_some() {
            plan.after.drop_user();
        }
        if let Some(op) = plan.first {
            self.pass(asked, op.colour.into(), Work::Maintain(op.maintenance));
        }
        if let Some(op) = plan.second {
            self.pass(asked, op.colour.into(), Work::Maintain(op.maintenance));
        }
        let mut others = plan.also_invalidate;
        while others != 0 {
            self.pass(asked, others.trailing_zeros(), Work::Maintain(Maintenance::Invalidate));
            others &= others - 1;
        }
        if plan.drop_instructions {
            self.pass(asked, plan.after.home().into(), Work::DropInstructions);
        }
        busy.leave(&before, &plan.after);
        if asked.stores.is_some() {
            self.pass(asked, plan.after.home().into(), Work::Store);
        }
        if let Some(claim) = claim {
            busy.revoked = true;
            core::mem::forget(claim);
        }
        Ok(true)
    }

    /// Does what a busy stretch is for at one address of the frame, which is mapped there while this runs.
    #[inline(never)]
    pub(crate) fn work(&self, asked: &mut Asked<'_, '_>, work: Work, page: VirtAddr) {
        match work {
            Work::Maintain(maintenance) => self.issue(maintenance, page, asked.range),
            // SAFETY: the whole page is mapped, cacheable, while this runs.
            Work::DropInstructions => unsafe { self.platform.drop_instructions(page, self.page()) },
            Work::Store => {
                if let Some(stores) = &mut asked.stores {
                    stores(page);
                }
            }
        }
    }

    const fn typed(what: MustRevoke) -> Revoke<P> {
        match what {
            MustRevoke::Writes => Revoke::Writes,
            MustRevoke::AllBut(colour) => Revoke::AllBut(Colour::new(colour)),
        }
    }

    /// One operation on the lines that `range` touches of the page mapped at `page`.
    #[inline(never)]
    pub(crate) fn issue(&self, maintenance: Maintenance, page: VirtAddr, range: Range) {
        let line = self.config.geometry.line();
        let start = range.offset & !(line - 1);
        let len = ((range.offset + range.len + line - 1) & !(line - 1)) - start;
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
        if len <= page && offset as usize <= page - len {
            Ok(())
        } else {
            Err(Error::OutOfPage { frame, offset, len })
        }
    }
}
