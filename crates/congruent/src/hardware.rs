//! What the library asks of the hardware (two `unsafe` traits, the only `unsafe` of the public surface) and of the kernel (one
//! safe trait).
//!
//! An implementation that keeps the contracts below makes every safe function of the crate sound. How two processors meet them is
//! shown in `docs/embedding/`.

use core::fmt;

use crate::{bytes, Colour, CpuSlots, Frame, FrameWord, KeptSlot, VirtAddr};

/// The cache operations of the processor, on virtual addresses.
///
/// # Safety
/// An implementor promises, for every operation on a range:
/// - it covers every line of which a byte lies in the range, in the set that the *virtual* address selects, and returns when the
///   effect is visible to every other observer of memory: MIPS needs `sync` after the `cache` instructions (MIPS32 Architecture
///   Volume II, `CACHE` and `SYNC`); ARMv6 a Data Synchronization Barrier (ARM1176JZF-S TRM, "c7, Cache operations"); SH-4
///   `ocbwb`, `ocbi` and `ocbp` complete in order (SH-4 Software Manual, "OCBWB"); Xtensa `dhwb`, `dhi` and `dhwbi` need `memw`
///   (Xtensa ISA Reference Manual, "Data Cache Option");
/// - it acts on the caches of every processor that could hold such lines, if hardware does not keep those coherent with each
///   other for accesses of one colour (MIPS MT and 1004K: the hit operations are globalised by the coherence manager, MIPS32 1004K
///   Software User's Manual, "Coherence Manager");
/// - it reads and changes no other memory, and does not call back into this crate.
pub unsafe trait CacheOps {
    /// Writes dirty lines of the range to memory; copies may stay.
    ///
    /// # Safety
    /// The range is mapped, cacheable, in the caller's address space, for as long as the call takes.
    unsafe fn write_back(&self, start: VirtAddr, len: u32);

    /// Drops the copies of the range without writing them back. Stores to it that are not in memory yet are lost.
    ///
    /// A processor without such an operation (SH-4's `ocbi` is one; some have only the combined one) may write back first.
    ///
    /// # Safety
    /// As [`write_back`](Self::write_back); and nobody needs what the lines hold: the library calls this for lines that are clean
    /// or whose bytes are dead.
    unsafe fn invalidate(&self, start: VirtAddr, len: u32);

    /// Writes dirty lines of the range to memory, then drops the copies.
    ///
    /// # Safety
    /// As [`write_back`](Self::write_back).
    unsafe fn write_back_invalidate(&self, start: VirtAddr, len: u32);

    /// Writes the whole data cache to memory, drops every copy in it, and drops all that the instruction side holds. Asked for once,
    /// by [`Congruent::new`](crate::Congruent::new); the boot loader may have left anything.
    ///
    /// # Safety
    /// The caller accepts the time it takes; there is no other condition.
    unsafe fn empty(&self);

    /// Drops what the instruction side holds of this frame, under every colour that it could hold it under, on every processor,
    /// pipelines included. The data side has been written back already. Not asked for as long as the instruction side can hold
    /// nothing of the frame.
    ///
    /// Where fetches are kept coherent by hardware there is nothing to do. Where they only see the data cache
    /// ([`Config::fetches_see_data`](crate::Config::fetches_see_data)), old copies have to be dropped all the same.
    ///
    /// Where the instruction cache is itself virtually indexed with more ways than the range can name, dropping all of it is the
    /// right implementation (ARMv6: "Invalidate Entire Instruction Cache", ARM1136 erratum 411920; MIPS: index operations on the
    /// set of every colour, then `jr.hb`, MIPS32 Volume II, `SYNCI`).
    ///
    /// # Safety
    /// The range is mapped as for [`write_back`](Self::write_back).
    unsafe fn drop_instructions(&self, start: VirtAddr, len: u32);
}

/// Where the code that asks for a window runs.
///
/// ```
/// # use congruent::CpuContext;
/// // The timer's handler on the second CPU, which nothing interrupts.
/// let here = CpuContext::new(1, 1);
/// assert_eq!((here.cpu, here.level), (1, 1));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CpuContext {
    /// Whose window slots these are: the number of this CPU, from 0. Where a thread takes its windows along when it is moved to another
    /// CPU, the number of the thread, after those of the CPUs, which interrupt handlers go by.
    pub cpu: u32,
    /// 0 for threads, 1 for interrupt handlers, 2 for those that can interrupt these, and so on; less than
    /// [`WindowArea::levels`](crate::WindowArea::levels). Interrupt handlers take their windows from slots of their own, so that a
    /// thread cannot starve them.
    pub level: u8,
}

impl CpuContext {
    /// This CPU, at this level.
    #[must_use]
    #[inline]
    pub const fn new(cpu: u32, level: u8) -> Self {
        Self { cpu, level }
    }
}

/// The kernel's page tables (or TLB) and frame table, as far as windows need them.
///
/// # Safety
/// An implementor promises that between [`map`](Self::map) and [`unmap`](Self::unmap) the page at the slot's address reaches the
/// frame, readable and writable, cacheable with the attributes of ordinary memory, from the CPU that mapped it, *whatever TLB
/// entries are evicted meanwhile* (SH kept only the TLB entry and lost it in mid-copy; MIPS wires its entry: MIPS32 Volume III,
/// "Wired Register"); that [`linear`](Self::linear) tells the truth for as long as the kernel runs; and that [`word`](Self::word)
/// [`slots`](Self::slots) and [`kept`](Self::kept) give one object per frame and per CPU, always the same.
pub unsafe trait WindowMapper {
    /// Begins a stretch of code that stays on this CPU; calls nest. Disabling migration is enough: preemption may stay on, because
    /// every window has a slot of its own, but then the mapping must survive a thread switch.
    ///
    /// With preemption off there are never more windows than the kernel's own code nests, and an area can be made large enough for that.
    /// With preemption on, threads that are preempted, or sleep, in a window keep its slot: as many of them as the CPU has slots
    /// leave none to others ([`Error::NoSlot`](crate::Error::NoSlot)), which users can bring about. A kernel in which that matters
    /// gives slots to threads, as below.
    ///
    /// A kernel may let threads move in it, too, if what they have mapped moves with them (their slots are in page tables of their own, or
    /// are written again at the switch), if no other thread answers with the same [`CpuContext::cpu`], and if the switch orders memory, as
    /// all do. Between [`begin_busy`](Self::begin_busy) and [`end_busy`](Self::end_busy) nothing moves.
    fn enter(&self) -> CpuContext;

    /// Ends what [`enter`](Self::enter) began.
    fn leave(&self);

    /// Begins a stretch in which a frame's word is busy, and others may be waiting for its end: no other thread runs on this CPU
    /// until [`end_busy`](Self::end_busy). Calls nest, on different frames.
    ///
    /// Preemption must be off. Interrupts may stay on; then a handler may find the word busy ([`Error::Busy`](crate::Error::Busy))
    /// and cannot wait for what it interrupted. Where they are off as well, `Busy` is always another CPU, and waiting for it is
    /// always right. How long it takes is bounded: at most two operations on one page, and the stores or the copy of one page.
    fn begin_busy(&self);

    /// Ends what [`begin_busy`](Self::begin_busy) began.
    fn end_busy(&self);

    /// The word of this frame in the kernel's frame table; `None` if there is no such frame, or if it is not plain bytes: windows
    /// store to every frame that has a word, so Rust objects may live in one only while it is
    /// [given to the kernel](crate::Congruent::give_to_kernel). On platforms that do not
    /// [alias](Platform::ALIASES) nothing is remembered in words, so there a frame with objects in it has none.
    fn word(&self, frame: Frame) -> Option<&FrameWord>;

    /// The window slots of this CPU.
    fn slots(&self, cpu: u32) -> &CpuSlots;

    /// The places of this CPU's part of the kept area ([`Config::kept`](crate::Config::kept)), at least as many as it has.
    fn kept(&self, cpu: u32) -> &[KeptSlot] {
        let _ = cpu;
        &[]
    }

    /// Maps `frame` at the page that starts at `slot`. Nothing is mapped there.
    ///
    /// # Safety
    /// `slot` is a page of the window area or the kept area given to [`Congruent::new`](crate::Congruent::new), of the part that
    /// belongs to this CPU, and free.
    unsafe fn map(&self, slot: VirtAddr, frame: Frame);

    /// Removes the mapping at `slot`, from this CPU's TLB too, so that no later access, speculative ones included, goes through it.
    ///
    /// # Safety
    /// `slot` was mapped by this CPU with [`map`](Self::map), and nobody uses it any more.
    unsafe fn unmap(&self, slot: VirtAddr);

    /// The address of the frame in the kernel's permanent mapping of memory, if it has one there: KSEG0, the linear map. On cores
    /// that speculate a permanent mapping is a way into the cache even if nobody uses it.
    fn linear(&self, frame: Frame) -> Option<VirtAddr>;

    /// Copies `to.len()` bytes from a window to kernel memory.
    ///
    /// Others may store to them at the same moment: users, devices, other windows of the frame. The default, of [`bytes`], is
    /// made for that; a kernel's own copy must be, too. A host-side model must put its own here.
    ///
    /// # Safety
    /// The bytes at `from` are those of a mapped window or of a permanent mapping.
    #[inline]
    unsafe fn load(&self, from: VirtAddr, to: &mut [u8]) {
        // SAFETY: the caller says that they are mapped, whole pages of them; the library accesses frames in no other way.
        unsafe { bytes::load(from, to) }
    }

    /// Copies `from` to a window. Others may use the bytes at the same moment, as in [`load`](Self::load).
    ///
    /// # Safety
    /// As [`load`](Self::load).
    #[inline]
    unsafe fn store(&self, to: VirtAddr, from: &[u8]) {
        // SAFETY: as for `load`, and windows are writable.
        unsafe { bytes::store(to, from) }
    }

    /// Copies `len` bytes from one window to another one of a different frame. Others may use the bytes at the same moment, as in
    /// [`load`](Self::load).
    ///
    /// # Safety
    /// As [`load`](Self::load), for both.
    #[inline]
    unsafe fn copy(&self, from: VirtAddr, to: VirtAddr, len: u32) {
        // SAFETY: both are mapped, and different frames do not overlap.
        unsafe { bytes::copy(from, to, len) }
    }

    /// Stores `len` zeros to a window. Others may use the bytes at the same moment, as in [`load`](Self::load).
    ///
    /// # Safety
    /// As [`load`](Self::load).
    #[inline]
    unsafe fn zero(&self, to: VirtAddr, len: u32) {
        // SAFETY: as for `store`.
        unsafe { bytes::zero(to, len) }
    }
}

/// Which user rights to a frame have to go.
///
/// Exhaustive, unlike other enums of this crate: a kernel that did not know of a third kind would have to be told so by its compiler.
pub enum Revoke<P: ?Sized> {
    /// Make every user mapping of the frame read-only.
    Writes,
    /// Remove every user mapping of the frame at another colour than this that allows loads or stores. Those for
    /// [execution alone](crate::Congruent::map_execute_only) stay.
    AllBut(Colour<P>),
}

impl<P: ?Sized> Clone for Revoke<P> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<P: ?Sized> Copy for Revoke<P> {}
impl<P: ?Sized> PartialEq for Revoke<P> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Writes, Self::Writes) => true,
            (Self::AllBut(a), Self::AllBut(b)) => a == b,
            _ => false,
        }
    }
}
impl<P: ?Sized> Eq for Revoke<P> {}
impl<P: ?Sized> fmt::Debug for Revoke<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writes => f.write_str("Writes"),
            Self::AllBut(colour) => write!(f, "AllBut({colour:?})"),
        }
    }
}

/// What is left of a frame's user mappings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Remaining {
    /// None.
    None,
    /// Some, or the kernel does not know.
    Some,
}

/// The kernel could not take the rights away now: a lock that it needs is held, or it would have to wait and must not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WouldBlock;

/// The kernel that embeds the library.
pub trait Platform: CacheOps + WindowMapper + Sized {
    /// Whether the data cache can alias at all. A kernel built for cores that cannot says `false`, and what the library does about
    /// aliases compiles to nothing: windows are the permanent mapping, a copy is a copy.
    ///
    /// Words are still asked for, to know which frames are plain bytes, and not looked at: a kernel whose frames all are answers
    /// with one word for all of them, and pays nothing.
    const ALIASES: bool = true;

    /// Whether devices see the caches. If so, transfers need no maintenance.
    const COHERENT_DEVICES: bool = false;

    /// Whether one CPU is all there is that runs the kernel. If so, no atomic operation of the library costs a barrier.
    ///
    /// Interrupts and preemption are as on any machine. A core with several hardware threads that run the kernel is not one CPU.
    const UNIPROCESSOR: bool = false;

    /// Takes user rights to `frame` away, everywhere, and returns when no CPU can use them any more: page tables changed, then the
    /// TLBs of all CPUs flushed. The users fault the page in again when they need it.
    ///
    /// No cache maintenance belongs here: the library does it afterwards, through a window, when nobody can store any more. (The
    /// order of Linux's `cachetlb.rst`, flush and then change the mapping, leaves a moment in which another thread stores: the
    /// copy-on-write bug of 2006, commit bcd022801ee5.)
    ///
    /// It is called in whatever context the call of the library was made that needs it, with no word busy: it may wait, and take
    /// locks, if its caller could. It may not call the library for this frame. While it runs, nobody announces a mapping of the frame
    /// ([`Error::MustRevoke`](crate::Error::MustRevoke)); a mapping that was announced before and is being installed is allowed by
    /// what is revoked, and need not be found. One that repeats another (fork) must be found wherever that one is.
    ///
    /// # Errors
    /// [`WouldBlock`] if it would have to wait and must not, because the caller is an interrupt or holds locks; the operation that
    /// asked then fails with [`Error::MustRevoke`](crate::Error::MustRevoke).
    fn revoke(&self, frame: Frame, what: Revoke<Self>) -> Result<Remaining, WouldBlock>;

    /// Reverse lookup: an address at which a user has this frame mapped, found by the kernel's own means (the file's tree of
    /// mappings and the page's index). Asked only under [`Policy::ReverseLookup`](crate::Policy::ReverseLookup).
    fn user_address(&self, frame: Frame) -> Option<VirtAddr> {
        let _ = frame;
        None
    }
}
