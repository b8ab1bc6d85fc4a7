//! What must not compile, one function per case: the wrong line is there only with the case's feature, the right one without.
//!
//! So each case differs from a program that compiles in one line, and what stops it is that line. Checked by
//! `crates/congruent/tests/compile_fail.rs`.

use congruent::{At, Congruent, Error, Finished, Frame, Pinned, Platform, ReadOnly, ReadWrite, VirtAddr, Wrote};

/// A window can be had from a proof that the frame's debts are paid, not from a frame.
pub fn window_on_a_frame_in_debt<P: Platform>(congruent: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    #[cfg(not(feature = "window_on_a_frame_in_debt"))]
    let paid = congruent.settle::<ReadOnly>(frame, At::Home)?;
    #[cfg(feature = "window_on_a_frame_in_debt")]
    let paid = frame;
    paid.open()?.read(0, &mut [0])
}

/// The work on a pinned page ends with `finish`.
pub fn pinned_page_dropped_without_finish<P: Platform>(congruent: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    congruent.pin(frame, At::Home, |page| {
        #[cfg(not(feature = "pinned_page_dropped_without_finish"))]
        return page.finish(Wrote::Nothing, ());
        #[cfg(feature = "pinned_page_dropped_without_finish")]
        return drop(page);
    })
}

/// Of two pinned pages each needs its own finish.
pub fn pinned_page_finished_for_another<'a, 'b, P: Platform>(one: Pinned<'a, P>, other: Pinned<'b, P>) -> Finished<'a, ()> {
    let _ = (one.frame(), other.frame());
    #[cfg(not(feature = "pinned_page_finished_for_another"))]
    return one.finish(Wrote::Nothing, ());
    #[cfg(feature = "pinned_page_finished_for_another")]
    return other.finish(Wrote::Nothing, ());
}

/// A window is mapped for the CPU that opened it. What it reaches can be sent: the frame.
pub fn window_sent_to_another_cpu<P: Platform + Sync>(congruent: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    std::thread::scope(|scope| {
        #[cfg(not(feature = "window_sent_to_another_cpu"))]
        return scope.spawn(move || congruent.window::<ReadOnly>(frame)?.read(0, &mut [0])).join();
        #[cfg(feature = "window_sent_to_another_cpu")]
        {
            let window = congruent.window::<ReadOnly>(frame);
            return scope.spawn(move || window?.read(0, &mut [0])).join();
        }
    })
    .unwrap_or(Ok(()))
}

/// A colour belongs to the machine that it was asked of.
pub fn colour_from_another_machine<A: Platform, B: Platform>(
    here: &Congruent<A>,
    there: &Congruent<B>,
    frame: Frame,
) -> Result<(), Error> {
    let _ = there.colour(VirtAddr(0));
    #[cfg(not(feature = "colour_from_another_machine"))]
    let colour = here.colour(VirtAddr(0));
    #[cfg(feature = "colour_from_another_machine")]
    let colour = there.colour(VirtAddr(0));
    here.clear(frame, At::Colour(colour))
}

/// Nor does a bare geometry make one.
pub fn colour_without_a_machine<P: Platform>(congruent: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    #[cfg(not(feature = "colour_without_a_machine"))]
    let colour = congruent.colour(VirtAddr(0));
    #[cfg(feature = "colour_without_a_machine")]
    let colour = congruent.geometry().colour(VirtAddr(0));
    congruent.clear(frame, At::Colour(colour))
}

/// A proof is good for one window: the second needs its own, and the frame's word counts both.
pub fn proof_used_twice<P: Platform>(congruent: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    let proof = congruent.settle::<ReadWrite>(frame, At::Home)?;
    let first = proof.open()?;
    #[cfg(not(feature = "proof_used_twice"))]
    let proof = congruent.settle::<ReadWrite>(frame, At::Home)?;
    let second = proof.open()?;
    first.write(0, b"1")?;
    second.write(1, b"2")
}

/// A window for reading has not announced any store.
pub fn store_through_a_window_for_reading<P: Platform>(congruent: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    #[cfg(not(feature = "store_through_a_window_for_reading"))]
    let window = congruent.window::<ReadWrite>(frame)?;
    #[cfg(feature = "store_through_a_window_for_reading")]
    let window = congruent.window::<ReadOnly>(frame)?;
    window.write(0, b"x")
}

/// What is written while a page is pinned cannot be written after its finish.
pub fn permanent_address_after_the_hold<P: Platform>(congruent: &Congruent<P>, frame: Frame) -> Result<(), Error> {
    congruent.pin(frame, At::Linear, |page| {
        #[cfg(not(feature = "permanent_address_after_the_hold"))]
        let written = page.write(0, b"x");
        let finished = page.finish(Wrote::Data, ());
        #[cfg(feature = "permanent_address_after_the_hold")]
        let written = page.write(0, b"x");
        let _ = written;
        finished
    })
}
