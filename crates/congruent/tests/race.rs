//! Windows of one frame on several threads at once: safe code, so no data race, in Rust's sense of the word.
//!
//! Run as it is, this checks that no byte is lost. Who can tell a race is Miri, and ThreadSanitizer: with the ordinary copies of Rust in the
//! place of those of `congruent::bytes` they object.
//!
//! ```console
//! $ MIRIFLAGS=-Zmiri-permissive-provenance cargo +nightly miri test -p congruent --test all race::
//! $ RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -p congruent --test all -Zbuild-std --target x86_64-unknown-linux-gnu race::
//! ```

use crate::model::memory::{self, PAGE};
use congruent::{bytes, Congruent, Frame, VirtAddr};

#[test]
fn readers_and_writers_of_one_frame_at_once_lose_nothing_and_race_for_nothing() {
    #[repr(align(4096))]
    struct Pages([u8; 2 * PAGE]);
    let mut pages = Box::new(Pages([0; 2 * PAGE]));
    let frame = memory::frame(&mut pages.0);
    let copy = Frame(frame.0 + 1);
    let kernel: Congruent<memory::Memory<true, false>> = memory::kernel();
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
        // Miri takes a thousand times as long.
        for len in (0..80).step_by(if cfg!(miri) { 13 } else { 1 }) {
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
