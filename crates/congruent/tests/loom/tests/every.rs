//! Several CPUs at once, every interleaving: `RUSTFLAGS="--cfg loom" cargo test -p congruent-loom`.
//!
//! What is checked: maintenance on a frame never runs while anybody uses it through a colour that it takes it from; users of one
//! frame all use one colour; the orderings of the word make what one user did visible to the next; slots are never given twice.
#![cfg(loom)]

use congruent_loom::state::State;
use congruent_loom::{
    At, CacheGeometry, CacheOps, Config, Congruent, CpuContext, CpuSlots, Frame, FrameWord, KeptArea, KeptSlot, Platform,
    ReadOnly, ReadWrite, Remaining, Revoke, Rights, VirtAddr, WindowArea, WindowMapper, WouldBlock,
};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::Arc;
use loom::thread;

const COLOURS: u32 = 2;
const PAGE: Frame = Frame(0);

struct Cpus {
    words: Vec<FrameWord>,
    slots: CpuSlots,
    kept: Vec<KeptSlot>,
    /// Used (shared) by whoever accesses the page, maintained (exclusively) by whoever empties a colour of it.
    lines: UnsafeCell<()>,
    /// Uses through each colour.
    uses: [AtomicU32; COLOURS as usize],
    /// What is mapped where: a place is mapped once at a time.
    mapped: [AtomicU32; 16],
}

// SAFETY: `lines` is accessed as the library's guarantees allow; that they hold is what loom checks.
unsafe impl Sync for Cpus {}
// SAFETY: as above.
unsafe impl Send for Cpus {}

impl Cpus {
    fn maintain(&self) {
        self.lines.with_mut(|_| ());
        for uses in &self.uses {
            assert_eq!(uses.load(Ordering::Relaxed), 0, "maintenance under a user");
        }
    }

    fn place(slot: VirtAddr) -> usize {
        (slot.0 / 4096) as usize % 16
    }
}

// SAFETY: no memory is touched.
unsafe impl CacheOps for Cpus {
    unsafe fn write_back(&self, _: VirtAddr, _: u32) {
        self.maintain();
    }
    unsafe fn invalidate(&self, _: VirtAddr, _: u32) {
        self.maintain();
    }
    unsafe fn write_back_invalidate(&self, _: VirtAddr, _: u32) {
        self.maintain();
    }
    unsafe fn empty(&self) {}
    unsafe fn drop_instructions(&self, _: VirtAddr, _: u32) {}
}

// SAFETY: no memory is touched.
unsafe impl WindowMapper for Cpus {
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
    fn kept(&self, _: u32) -> &[KeptSlot] {
        &self.kept
    }
    unsafe fn map(&self, slot: VirtAddr, frame: Frame) {
        assert_eq!(self.mapped[Self::place(slot)].swap(frame.0 as u32 + 1, Ordering::Relaxed), 0, "mapped twice");
    }
    unsafe fn unmap(&self, slot: VirtAddr) {
        assert_ne!(self.mapped[Self::place(slot)].swap(0, Ordering::Relaxed), 0, "unmapped twice");
    }
    fn linear(&self, _: Frame) -> Option<VirtAddr> {
        None
    }
}

impl Platform for Cpus {
    fn revoke(&self, _: Frame, _: Revoke<Self>) -> Result<Remaining, WouldBlock> {
        Ok(Remaining::None)
    }
}

fn cpus(state: State, kept: u32) -> Arc<Congruent<Cpus>> {
    let platform = Cpus {
        words: vec![FrameWord::with_state(state), FrameWord::new()],
        slots: CpuSlots::new(),
        kept: (0..kept).map(|_| KeptSlot::new()).collect(),
        lines: UnsafeCell::new(()),
        uses: [AtomicU32::new(0), AtomicU32::new(0)],
        mapped: std::array::from_fn(|_| AtomicU32::new(0)),
    };
    let geometry = CacheGeometry::new(4096 * COLOURS, 1, 32).unwrap();
    let windows = WindowArea::new(VirtAddr(0), 2, 0);
    let mut config = Config::new(geometry, windows);
    config.speculative = false;
    config.kept = (kept > 0).then_some(KeptArea::new(VirtAddr(4 * 4096), kept));
    Arc::new(Congruent::new(platform, config).unwrap())
}

fn use_page(kernel: &Congruent<Cpus>, colour: usize) {
    let platform = kernel.platform();
    platform.uses[colour].fetch_add(1, Ordering::Relaxed);
    platform.lines.with(|_| ());
    assert_eq!(platform.uses[1 - colour].load(Ordering::Relaxed), 0, "two colours at once");
    platform.uses[colour].fetch_sub(1, Ordering::Relaxed);
}

fn at(kernel: &Congruent<Cpus>, colour: usize) -> At<Cpus> {
    At::Colour(kernel.colour_from_index(colour).unwrap())
}

#[test]
fn a_frame_does_not_move_under_its_users() {
    loom::model(|| {
        let kernel = cpus(State::DIRTY_AT_0, 0);
        let mover = {
            let kernel = kernel.clone();
            thread::spawn(move || {
                if let Ok(settled) = kernel.settle::<ReadWrite>(PAGE, at(&kernel, 1)) {
                    use_page(&kernel, settled.colour().index());
                }
            })
        };
        if let Ok(settled) = kernel.settle::<ReadOnly>(PAGE, At::Home) {
            use_page(&kernel, settled.colour().index());
        }
        mover.join().unwrap();
        let state = kernel.state(PAGE).unwrap();
        assert!(state.users() == 0 && !state.busy() && state.dirty(), "{state:?}");
    });
}

#[test]
fn two_faults_at_different_colours_take_turns() {
    loom::model(|| {
        let kernel = cpus(State::DIRTY_AT_0, 0);
        let fault = |kernel: &Congruent<Cpus>, colour: usize| {
            let rights = Rights::WRITE;
            let _ = kernel.map_user(PAGE, VirtAddr(4096 * colour as u64), rights, || use_page(kernel, colour));
        };
        let other = {
            let kernel = kernel.clone();
            thread::spawn(move || fault(&kernel, 1))
        };
        fault(&kernel, 0);
        other.join().unwrap();
        let state = kernel.state(PAGE).unwrap();
        assert!(state.users() == 0 && !state.busy(), "{state:?}");
    });
}

#[test]
fn a_device_and_a_window_never_share_a_frame() {
    loom::model(|| {
        let kernel = cpus(State::DIRTY_AT_0, 0);
        let device = {
            let kernel = kernel.clone();
            thread::spawn(move || {
                if let Ok(transfer) = kernel.device_writes(PAGE, 0, 4) {
                    kernel.platform().lines.with_mut(|_| ());
                    let mut ending = transfer.complete();
                    while let Err((transfer, _)) = ending {
                        thread::yield_now();
                        ending = transfer.complete();
                    }
                }
            })
        };
        if let Ok(settled) = kernel.settle::<ReadWrite>(PAGE, At::Home) {
            use_page(&kernel, settled.colour().index());
        }
        device.join().unwrap();
        let state = kernel.state(PAGE).unwrap();
        assert!(state.users() == 0 && state.transfers() == 0 && !state.busy(), "{state:?}");
    });
}

#[test]
fn two_windows_never_get_one_slot() {
    loom::model(|| {
        let kernel = cpus(State::UNCACHED, 0);
        let other = {
            let kernel = kernel.clone();
            thread::spawn(move || drop(kernel.window::<ReadWrite>(Frame(1)).unwrap()))
        };
        drop(kernel.window::<ReadWrite>(PAGE).unwrap());
        other.join().unwrap();
    });
}

#[test]
fn a_kept_place_in_use_is_never_remapped() {
    loom::model(|| {
        // One place of each colour: both frames want the same.
        let kernel = cpus(State::UNCACHED, COLOURS);
        let open = |kernel: &Congruent<Cpus>, frame: Frame| {
            let window = kernel.window::<ReadWrite>(frame).unwrap();
            let there = kernel.platform().mapped[Cpus::place(window.address())].load(Ordering::Relaxed);
            assert_eq!(u64::from(there), frame.0 + 1, "another frame is mapped at an open window");
        };
        let other = {
            let kernel = kernel.clone();
            thread::spawn(move || open(&kernel, Frame(1)))
        };
        open(&kernel, PAGE);
        other.join().unwrap();
    });
}
