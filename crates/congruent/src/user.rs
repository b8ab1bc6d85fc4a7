//! What a kernel says when users' mappings of a frame come and go.
//!
//! Only two things are asked of it: that every mapping is announced before it exists ([`Congruent::map_user`]), and that it can
//! take rights back ([`Platform::revoke`]). That rights ended by themselves (unmap, write-protect, exit) it may say, or not:
//! saying so saves a later revocation.

use crate::engine::Asked;
use crate::error::Denied;
use crate::guard::Use;
use crate::hardware::Platform;
use crate::state::{Fetch, Give, Map, Plan, Rules, State, Step};
use crate::word::Gone;
use crate::{Congruent, Error, Frame, VirtAddr};

/// What a user mapping allows besides loads.
///
/// ```
/// # use congruent::Rights;
/// struct Area { may_write: bool }
/// let area = Area { may_write: true };
/// assert_eq!(Rights::READ.with_write(area.may_write), Rights::WRITE);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
#[non_exhaustive]
pub struct Rights {
    /// Stores. A kernel that makes pages writable at the first store only (dirty bits in software: MIPS, ARMv6, Xtensa) should ask
    /// for this at the first store only: until then the frame stays clean, and costs nothing to move or to give to a device.
    pub write: bool,
    /// Instruction fetches.
    pub execute: bool,
}

impl Rights {
    /// Loads.
    pub const READ: Self = Self { write: false, execute: false };
    /// Loads and stores.
    pub const WRITE: Self = Self { write: true, execute: false };
    /// Loads and instruction fetches.
    pub const EXECUTE: Self = Self { write: false, execute: true };

    /// The same, with stores or without.
    #[must_use]
    #[inline]
    pub const fn with_write(mut self, write: bool) -> Self {
        self.write = write;
        self
    }

    /// The same, with instruction fetches or without.
    #[must_use]
    #[inline]
    pub const fn with_execute(mut self, execute: bool) -> Self {
        self.execute = execute;
        self
    }
}

/// A mapping for which everything has been done but to make the page-table entry: made by [`Congruent::prepare`].
///
/// While it lives the frame keeps its colour, and nobody takes the rights away that were asked for.
#[must_use = "the frame is bound to its colour only while this lives"]
pub struct Prepared<'c, P: Platform> {
    frame: Frame,
    // None of a frame that cannot move.
    pub(crate) counted: Use<'c, P>,
}

impl<P: Platform> Prepared<'_, P> {
    /// The frame.
    #[must_use]
    pub const fn frame(&self) -> Frame {
        self.frame
    }

    /// Makes the entry: `install` does. It cannot fail, waits for nothing and does no maintenance, so the lock of the page table may
    /// be held, and any other. A mapping that turns out not to be wanted is dropped instead.
    #[inline]
    pub fn install<R>(self, install: impl FnOnce() -> R) -> R {
        install()
    }
}

impl<P: Platform> Congruent<P> {
    /// A user is about to map `frame` at `address`; `install` makes the page-table entry.
    ///
    /// Everything that has to be done is done before `install` runs, so no other thread can use the mapping too early (Linux/MIPS
    /// flushed after `set_pte` until commit 4d46a67a3eb8, and another thread executed old bytes); and the frame cannot move to
    /// another colour until `install` has returned. A mapping whose rights grow is announced again.
    ///
    /// Where users of different colours disagree, the last one wins and the others fault: any address is *right*; congruent ones
    /// ([`Placement`](crate::Placement)) are free.
    ///
    /// Counterparts in `cachetlb.rst`: `update_mmu_cache_range`, `flush_icache_pages`, and the deferred half of
    /// `flush_dcache_folio`.
    ///
    /// # Errors
    /// `install` has not run then. [`Error::UnknownFrame`]; [`Error::Kernel`] if kernel code has the frame at another colour. What passes:
    /// [`Error::Busy`]; [`Error::MustRevoke`] (let go of locks); [`Error::Full`]; [`Error::InUse`] if a window or hold of another colour is open, and
    /// [`Error::Device`] while a device writes the frame: wait and fault again. For `execute`, those of
    /// [`sync_instructions`](Self::sync_instructions).
    pub fn map_user<R>(&self, frame: Frame, address: VirtAddr, rights: Rights, install: impl FnOnce() -> R) -> Result<R, Error> {
        if !P::ALIASES {
            return Ok(self.prepare(frame, address, rights)?.install(install));
        }
        match self.prepare_tracked(frame, address, rights) {
            Ok(counted) => Ok(Prepared { frame, counted }.install(install)),
            Err(denied) => Err(self.denied(frame, denied)),
        }
    }

    /// The first half of [`map_user`](Self::map_user), for kernels that make their page-table entries under locks: all that may
    /// take rights away, wait, or fail is done here, before the lock is taken; [`Prepared::install`] cannot fail.
    ///
    /// ```
    /// # use congruent::*;
    /// fn fault<P: Platform>(kernel: &Congruent<P>, frame: Frame, address: VirtAddr, rights: Rights) -> Result<(), Error> {
    ///     let prepared = kernel.prepare(frame, address, rights)?; // may sleep
    ///     // Take the page table's lock, and look whether the fault is still to be served. If it is:
    ///     prepared.install(|| { /* set the entry */ });
    ///     Ok(())
    /// }
    /// ```
    ///
    /// An entry that repeats one that exists (the child's at fork, the new one of an `mremap` to a congruent address) with the lock
    /// held that keeps the first one from going needs no announcement: what was done for the first holds for both, and
    /// [`Platform::revoke`] finds both.
    ///
    /// # Errors
    /// As [`map_user`](Self::map_user).
    pub fn prepare(&self, frame: Frame, address: VirtAddr, rights: Rights) -> Result<Prepared<'_, P>, Error> {
        if !P::ALIASES {
            self.check_known(frame)?;
            if rights.execute {
                self.sync_untracked(frame)?;
            }
            return Ok(Prepared { frame, counted: Use::none() });
        }
        match self.prepare_tracked(frame, address, rights) {
            Ok(counted) => Ok(Prepared { frame, counted }),
            Err(denied) => Err(self.denied(frame, denied)),
        }
    }

    /// Compiled once.
    #[inline(never)]
    fn prepare_tracked(&self, frame: Frame, address: VirtAddr, rights: Rights) -> Result<Use<'_, P>, Denied> {
        let colour = self.colour(address).0;
        let mut asked = Asked { frame, range: self.whole_page(), step: &Map { colour, write: rights.write }, stores: None };
        let done = self.take(&mut asked)?;
        // A frame that cannot move has no use that keeps it.
        let counted = if done.is_given() { Use::none() } else { Use::counted(&done) };
        if rights.execute {
            // We are a user ourselves, and one that does not store unless the mapping may; counted with others we speak for them, too.
            let readers = u16::from(!rights.write && !counted.is_hold());
            self.take(&mut Asked { step: &Fetch { readers }, ..asked })?;
        }
        Ok(counted)
    }

    /// A user is about to map `frame` for instruction fetches alone, at whatever address: loads and stores through the mapping fault,
    /// which the processor must be able to enforce (MIPS32 with RI and without XI, PA-RISC, ARMv6 not).
    ///
    /// Fetches do not go through the data cache, so such a mapping has no colour there and is in nobody's way: a
    /// [revocation](Platform::revoke) leaves it, and users store at other colours meanwhile. That is what a program needs whose code, at
    /// one colour, stores to its own page at another one, in one instruction (a JIT that maps its code twice). If the mapping that it
    /// fetches through allowed loads as well, each of the two would revoke the other for ever. Where the processor cannot tell fetches
    /// from loads, the kernel has to carry out that store for the program, with [`write`](Self::write), as it does for unaligned ones.
    ///
    /// Everything that has to be done is done before `install` runs. What is stored later fetches see after
    /// [`sync_instructions`](Self::sync_instructions).
    ///
    /// ```
    /// # use congruent::*;
    /// /// A JIT that maps its code twice.
    /// # fn example<P: Platform>(kernel: &Congruent<P>, code: Frame, page: VirtAddr) -> Result<(), Error> {
    /// kernel.map_execute_only(code, || { /* the entry that it runs from */ })?;
    /// kernel.map_user(code, page, Rights::WRITE, || { /* the one that it stores to */ })
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownFrame`]; [`Error::Device`] while a device writes the frame; [`Error::Busy`]. `install` has not run then.
    pub fn map_execute_only<R>(&self, frame: Frame, install: impl FnOnce() -> R) -> Result<R, Error> {
        self.sync_instructions(frame)?;
        Ok(install())
    }

    /// No user mapping of `frame` allows stores any more: fork has made them read-only, or writeback has. No maintenance.
    ///
    /// Call it with the lock held that orders changes to this frame's mappings, after the TLBs have been flushed. Counterpart of
    /// `flush_cache_dup_mm` and of the `flush_cache_page` of `page_mkclean`, both of which cost a flush.
    ///
    /// ```
    /// # use congruent::*;
    /// /// Fork has made the parent's entries read-only and flushed the TLBs, and still has the lock.
    /// # fn example<P: Platform>(kernel: &Congruent<P>, shared: &[Frame]) -> Result<(), Error> {
    /// shared.iter().try_for_each(|&frame| kernel.write_protected(frame))
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownFrame`].
    pub fn write_protected(&self, frame: Frame) -> Result<(), Error> {
        self.note(frame, Gone::Writes)
    }

    /// No user mapping of `frame` exists any more. No maintenance: what users stored stays in their colour until somebody needs it.
    ///
    /// Call it as [`write_protected`](Self::write_protected). Counterpart of `flush_cache_mm`, `flush_cache_range` and
    /// `flush_cache_page` at unmapping.
    ///
    /// # Errors
    /// [`Error::UnknownFrame`].
    pub fn unmapped(&self, frame: Frame) -> Result<(), Error> {
        self.note(frame, Gone::All)
    }

    /// A change of what is known of the whole frame.
    fn tell(&self, frame: Frame, step: &dyn Step) -> Result<(), Error> {
        if !P::ALIASES {
            return self.check_known(frame);
        }
        self.transact(frame, self.whole_page(), step)
    }

    /// Rights have gone. Missing that is harmless, so it gives way to whoever is at work on the frame.
    fn note(&self, frame: Frame, gone: Gone) -> Result<(), Error> {
        if P::ALIASES {
            self.word(frame).map(|word| word.forget::<P>(gone))
        } else {
            self.check_known(frame)
        }
    }

    /// The frame is free: its bytes are dead. No maintenance; what is still cached of it is dealt with when its next owner needs it,
    /// and not at all if that one uses it at [`colour_hint`](Self::colour_hint).
    ///
    /// A free frame that leaves the care of this library (to a slab that uses the linear map, say) is taken with
    /// [`give_to_kernel`](Self::give_to_kernel).
    ///
    /// ```
    /// # use congruent::*;
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    /// kernel.unmapped(frame)?; // with the lock held that orders its mappings
    /// kernel.freed(frame)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownFrame`]. What passes: [`Error::InUse`] if somebody still uses it, [`Error::Device`] if a device does,
    /// [`Error::Busy`].
    pub fn freed(&self, frame: Frame) -> Result<(), Error> {
        self.tell(frame, &|state: State, _: &Rules, plan: &mut Plan| state.freed().map(|after| plan.after = after))
    }

    /// Gives a free frame to kernel code that knows nothing of this library and loads and stores at its permanent address whenever it
    /// likes: the heap, slabs, page tables, an old driver's buffers. Rust objects may live there.
    ///
    /// Until it is [`freed`](Self::freed) or [taken back](Self::take_from_kernel), the library reads and writes nothing of it and
    /// opens no window ([`Error::Kernel`]); users can map it at the permanent address's colour only. Devices can use it as they use
    /// any frame: [`device_reads`](Self::device_reads) and [`device_writes`](Self::device_writes) take it for stored to every time,
    /// and the latter must cover whole lines, for nobody can keep the kernel from storing beside them.
    ///
    /// ```
    /// # use congruent::*;
    /// /// A slab takes a frame, and returns it.
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    /// let page: VirtAddr = kernel.give_to_kernel(frame)?;
    /// # let _ = page;
    /// kernel.freed(frame)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownFrame`], [`Error::NoLinearMapping`]; [`Error::Kernel`] if it is given already. What passes: [`Error::InUse`] and
    /// [`Error::Device`] if somebody still uses it; [`Error::MustRevoke`]; [`Error::Busy`].
    pub fn give_to_kernel(&self, frame: Frame) -> Result<VirtAddr, Error> {
        let address = self.platform().linear(frame).ok_or(Error::NoLinearMapping(frame))?;
        self.tell(frame, &Give { linear: self.colour(address).0 })?;
        Ok(address)
    }

    /// Kernel code returns a frame that it was [given](Self::give_to_kernel), with what it has stored: from now on it is like any
    /// other. No maintenance.
    ///
    /// No Rust object lives there any more, and nobody uses the permanent address without a word.
    ///
    /// # Errors
    /// [`Error::UnknownFrame`]; [`Error::Device`] while a device writes it; [`Error::Busy`].
    pub fn take_from_kernel(&self, frame: Frame) -> Result<(), Error> {
        self.tell(frame, &|state: State, _: &Rules, plan: &mut Plan| state.returned().map(|after| plan.after = after))
    }

    /// Code has been stored to the frame, through a user's own writable mapping (a JIT, `cacheflush(2)`) or a window: instruction
    /// fetches that begin after this see it. Nothing is done if they do already.
    ///
    /// Counterpart of `flush_icache_range` and `flush_icache_user_range`.
    ///
    /// ```
    /// # use congruent::*;
    /// /// `cacheflush(2)`, or a module that was loaded.
    /// # fn example<P: Platform>(kernel: &Congruent<P>, frame: Frame, code: &[u8]) -> Result<(), Error> {
    /// kernel.write(frame, 0, code)?;
    /// kernel.sync_instructions(frame)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownFrame`]. What passes: [`Error::Busy`]; [`Error::Device`] while a device writes the frame; on a platform that does not
    /// [alias](Platform::ALIASES), [`Error::NoSlot`] for frames without a permanent mapping.
    pub fn sync_instructions(&self, frame: Frame) -> Result<(), Error> {
        if !P::ALIASES {
            return self.sync_untracked(frame);
        }
        self.transact(frame, self.whole_page(), &Fetch { readers: 0 })
    }

    /// Without tracking, nothing is known and everything is done.
    fn sync_untracked(&self, frame: Frame) -> Result<(), Error> {
        self.check_known(frame)?;
        let mapping = crate::reach::Reach::new(self, frame, 0).map_err(|denied| self.denied(frame, denied))?;
        self.issue(crate::state::Maintenance::WriteBack, mapping.address, self.whole_page());
        // SAFETY: the page is mapped, cacheable, while `mapping` lives.
        unsafe { self.platform().drop_instructions(mapping.address, self.page()) };
        Ok(())
    }
}
