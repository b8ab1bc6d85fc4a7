//! Windows of one frame on several threads at once: safe code, so no data race, in Rust's sense of the word.
//!
//! Run as it is, this checks that no byte is lost. Who can tell a race is ThreadSanitizer (`RUSTFLAGS=-Zsanitizer=thread`, on a nightly
//! compiler) or Miri: with the ordinary copies of Rust in the place of those of `congruent::bytes` they object.

use congruent::{
    bytes, CacheGeometry, CacheOps, Config, Congruent, CpuContext, CpuSlots, Frame, FrameWord, Platform, Remaining, Revoke,
    VirtAddr, WindowArea, WindowMapper, WouldBlock,
};

const PAGE: usize = 4096;

/// Real memory, and a cache that does not alias.
struct Memory {
    first: u64,
    words: [FrameWord; 2],
    slots: CpuSlots,
}

// SAFETY: the host keeps its caches coherent; nothing is needed.
unsafe impl CacheOps for Memory {
    unsafe fn write_back(&self, _: VirtAddr, _: u32) {}
    unsafe fn invalidate(&self, _: VirtAddr, _: u32) {}
    unsafe fn write_back_invalidate(&self, _: VirtAddr, _: u32) {}
    unsafe fn empty(&self) {}
    unsafe fn drop_instructions(&self, _: VirtAddr, _: u32) {}
}

// SAFETY: two pages of the test, which live as long as it.
unsafe impl WindowMapper for Memory {
    fn enter(&self) -> CpuContext {
        CpuContext::new(0, 0)
    }
    fn leave(&self) {}
    fn begin_busy(&self) {}
    fn end_busy(&self) {}
    fn word(&self, frame: Frame) -> Option<&FrameWord> {
        self.words.get((frame.0 - self.first) as usize)
    }
    fn slots(&self, _: u32) -> &CpuSlots {
        &self.slots
    }
    unsafe fn map(&self, _: VirtAddr, _: Frame) {}
    unsafe fn unmap(&self, _: VirtAddr) {}
    fn linear(&self, frame: Frame) -> Option<VirtAddr> {
        Some(VirtAddr(frame.0 * PAGE as u64))
    }
}

impl Platform for Memory {
    fn revoke(&self, _: Frame, _: Revoke<Self>) -> Result<Remaining, WouldBlock> {
        Ok(Remaining::None)
    }
}

#[test]
fn readers_and_writers_of_one_frame_at_once_lose_nothing_and_race_for_nothing() {
    #[repr(align(4096))]
    struct Pages([u8; 2 * PAGE]);
    let mut pages = Box::new(Pages([0; 2 * PAGE]));
    let first = pages.0.as_mut_ptr().expose_provenance() as u64 / PAGE as u64;
    let memory = Memory { first, words: [const { FrameWord::new() }; 2], slots: CpuSlots::new() };
    let geometry = CacheGeometry::new(16 << 10, 4, 32).unwrap();
    let kernel = Congruent::new(memory, Config::new(geometry, WindowArea::new(VirtAddr(0), 2, 0))).unwrap();
    let (frame, copy) = (Frame(first), Frame(first + 1));
    let rounds = if cfg!(miri) { 3 } else { 2000 };
    std::thread::scope(|scope| {
        // Two writers share every word, and a third one and a reader look on.
        for writer in 0..2u32 {
            let kernel = &kernel;
            scope.spawn(move || {
                for round in 1..=rounds {
                    for at in (writer..64).step_by(2) {
                        kernel.write(frame, at, &[(round % 200) as u8 + writer as u8]).unwrap();
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..rounds.min(20) {
                kernel.copy(frame, copy, congruent::At::Home).unwrap();
                kernel.write(frame, 100, &[9; 50]).unwrap();
            }
        });
        for _ in 0..rounds {
            kernel.read(frame, 3, &mut [0; 61]).unwrap();
        }
    });
    let mut end = [0; 150];
    kernel.read(frame, 0, &mut end).unwrap();
    let last = (rounds % 200) as u8;
    assert!(end[..64].chunks(2).all(|pair| pair == [last, last + 1]), "{end:?}");
    assert_eq!(end[100..], [9; 50]);
}

#[test]
fn bytes_are_copied_wherever_they_begin_and_end() {
    let page: Vec<usize> = (0..32).map(|word| word * 0x0101_0101).collect();
    let words = page.len() * size_of::<usize>();
    for from in 0..20 {
        for len in 0..80 {
            let (mut source, mut target) = (page.clone(), vec![usize::MAX; page.len()]);
            let address = |words: &mut Vec<usize>| VirtAddr(words.as_mut_ptr().expose_provenance() as u64);
            let (source, target) = (address(&mut source), address(&mut target));
            let mut expected = vec![0xff; words];
            let mut all = vec![0; words];
            let mut part = vec![0; len];
            // SAFETY: both vectors are alive, and nobody else uses them.
            unsafe {
                bytes::load(source, &mut all);
                bytes::load(source.add(from), &mut part);
                assert_eq!(part, all[from as usize..][..len]);
                bytes::store(target.add(3), &part);
                expected[3..3 + len].copy_from_slice(&part);
                bytes::copy(source.add(from), target.add(100), len as u32);
                expected[100..100 + len].copy_from_slice(&part);
                bytes::load(target, &mut all);
                assert_eq!(all, expected);
                bytes::zero(target.add(from), len as u32);
                expected[from as usize..][..len].fill(0);
                bytes::load(target, &mut all);
                assert_eq!(all, expected);
            }
        }
    }
}
