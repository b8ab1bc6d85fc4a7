//! What is measured and counted: the library's calls in a steady state, on hardware whose operations do nothing.
//!
//! So what is left is the library's own cost: no cache is emptied, no page copied, no page table changed. Used by `ops.rs` and by
//! `tests/counted`; whoever includes it has the library as `crate::library`.

use crate::library::{
    At, CacheGeometry, CacheOps, Config, Congruent, CpuContext, CpuSlots, Error, Frame, FrameWord, Platform, ReadOnly, Remaining,
    Revoke, Rights, VirtAddr, WindowArea, WindowMapper, WouldBlock, Wrote,
};

const PAGE: u32 = 4096;

/// The frame that is worked on; its permanent mapping is of colour 1 where there are colours.
const FRAME: Frame = Frame(1);
const OTHER: Frame = Frame(2);

/// Hardware that does nothing. `ALIASES` as in [`Platform::ALIASES`].
#[derive(Debug)]
pub struct Idle<const ALIASES: bool> {
    words: [FrameWord; 4],
    slots: CpuSlots,
}

// SAFETY: no memory is touched.
unsafe impl<const ALIASES: bool> CacheOps for Idle<ALIASES> {
    unsafe fn write_back(&self, _: VirtAddr, _: u32) {}
    unsafe fn invalidate(&self, _: VirtAddr, _: u32) {}
    unsafe fn write_back_invalidate(&self, _: VirtAddr, _: u32) {}
    unsafe fn empty(&self) {}
    unsafe fn drop_instructions(&self, _: VirtAddr, _: u32) {}
}

// SAFETY: no memory is touched.
unsafe impl<const ALIASES: bool> WindowMapper for Idle<ALIASES> {
    fn enter(&self) -> CpuContext {
        CpuContext::new(0, 0)
    }
    fn leave(&self) {}
    fn begin_busy(&self) {}
    fn end_busy(&self) {}
    fn word(&self, frame: Frame) -> Option<&FrameWord> {
        self.words.get(frame.0 as usize)
    }
    fn slots(&self, _: u32) -> &CpuSlots {
        &self.slots
    }
    unsafe fn map(&self, _: VirtAddr, _: Frame) {}
    unsafe fn unmap(&self, _: VirtAddr) {}
    fn linear(&self, frame: Frame) -> Option<VirtAddr> {
        Some(VirtAddr(0x8000_0000 + frame.0 * u64::from(PAGE)))
    }
    unsafe fn load(&self, _: VirtAddr, _: &mut [u8]) {}
    unsafe fn store(&self, _: VirtAddr, _: &[u8]) {}
    unsafe fn copy(&self, _: VirtAddr, _: VirtAddr, _: u32) {}
    unsafe fn zero(&self, _: VirtAddr, _: u32) {}
}

impl<const ALIASES: bool> Platform for Idle<ALIASES> {
    const ALIASES: bool = ALIASES;
    fn revoke(&self, _: Frame, _: Revoke<Self>) -> Result<Remaining, WouldBlock> {
        Ok(Remaining::None)
    }
}

/// The library for a cache with as many colours, on a core that does not speculate.
///
/// # Panics
/// If there is no such cache.
pub fn kernel<const ALIASES: bool>(colours: u32) -> Congruent<Idle<ALIASES>> {
    let geometry = CacheGeometry::new(colours * PAGE * 4, 4, 32).expect("four ways of as many pages");
    let windows = WindowArea::new(VirtAddr(0xc000_0000), 4, 2);
    let platform = Idle { words: [const { FrameWord::new() }; 4], slots: CpuSlots::new() };
    let mut config = Config::new(geometry, windows);
    config.speculative = false;
    Congruent::new(platform, config).expect("a machine that can be served")
}

/// An address of the user's: colour 2 of four.
const USER: VirtAddr = VirtAddr(0x2000);
/// Another one, of colour 3.
const ELSEWHERE: VirtAddr = VirtAddr(0x3000);

type Call<P> = fn(&Congruent<P>, odd: bool) -> Result<(), Error>;

/// One row: its name, what is done once before, and what is repeated. `odd` is true every other time.
pub struct Operation<P> {
    /// What it is.
    pub name: &'static str,
    /// Once.
    pub before: Call<P>,
    /// Repeated.
    pub call: Call<P>,
}

fn user<P: Platform>(kernel: &Congruent<P>) -> At<P> {
    At::Colour(kernel.colour(USER))
}

fn either<P: Platform>(kernel: &Congruent<P>, odd: bool) -> At<P> {
    At::Colour(kernel.colour(if odd { ELSEWHERE } else { USER }))
}

/// The page is dirty at the user's colour, which is not that of its permanent mapping where there are four.
fn used<P: Platform>(kernel: &Congruent<P>, _: bool) -> Result<(), Error> {
    kernel.clear(FRAME, user(kernel))?;
    kernel.clear(OTHER, user(kernel))
}

/// All of them.
pub fn operations<P: Platform>() -> Vec<Operation<P>> {
    const WRITE: Rights = Rights::WRITE;
    const EXECUTE: Rights = Rights::EXECUTE;
    let row = |name, call: Call<P>| Operation { name, before: used, call };
    vec![
        row("nothing: the loop around the calls", |_, _| Ok(())),
        row("window at home, opened and closed", |k, _| k.window::<ReadOnly>(FRAME).map(drop)),
        row("read", |k, _| k.read(FRAME, 8, &mut [0; 8])),
        row("write", |k, _| k.write(FRAME, 8, &[0; 8])),
        row("clear, frame chosen by its hint", |k, _| k.clear(FRAME, user(k))),
        row("clear, at another colour each time", |k, odd| k.clear(FRAME, either(k, odd))),
        row("copy, frame chosen by its hint", |k, _| k.copy(FRAME, OTHER, user(k))),
        row("copy, at another colour each time", |k, odd| k.copy(FRAME, OTHER, either(k, odd))),
        row("map_user, writable", |k, _| k.map_user(FRAME, USER, WRITE, || ())),
        row("map_user, writable, at another colour each time", |k, odd| {
            k.map_user(FRAME, if odd { ELSEWHERE } else { USER }, WRITE, || ())
        }),
        row("map_user, executable", |k, _| k.map_user(FRAME, USER, EXECUTE, || ())),
        row("write_protected", |k, _| k.write_protected(FRAME)),
        row("unmapped, freed", |k, _| k.unmapped(FRAME).and_then(|()| k.freed(FRAME))),
        row("settle at the permanent address, and back", |k, odd| {
            let at = if odd { At::Linear } else { user(k) };
            k.settle::<ReadOnly>(FRAME, at).map(drop)
        }),
        row("device_reads, nothing written since", |k, _| k.device_reads(FRAME, 0, PAGE)),
        row("write, device_reads", |k, _| k.write(FRAME, 0, &[1]).and_then(|()| k.device_reads(FRAME, 0, PAGE))),
        row("device_writes, complete", |k, _| {
            let ended = k.device_writes(FRAME, 0, PAGE)?.complete();
            ended.map_err(|(_, error)| error)
        }),
        row("pin, finish", |k, _| k.pin(FRAME, At::Home, |page| page.finish(Wrote::Data, ()))),
        row("sync_instructions, nothing written since", |k, _| k.sync_instructions(FRAME)),
        row("poke", |k, _| k.poke(FRAME, 0, &[1])),
    ]
}
