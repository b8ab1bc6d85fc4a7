//! Uses of a frame that its word counts: what proofs, windows, announced mappings and holds have in common.
//!
//! A word has place for fourteen. Users can bring about more: threads that read one page and fault in the midst of it, one after the
//! other. So there are never many: from the [eighth](ALONE) on a use is counted with the holds, which are one use together and have no
//! end that could be reached. Those that are on their way there are threads between two instructions.

use core::marker::PhantomData;

use crate::engine::Done;
use crate::hardware::Platform;
use crate::word::FrameWord;

/// As many uses are counted one by one. Half of what the word has place for, so that nearly as many again can be on their way.
pub(crate) const ALONE: u32 = 7;

/// A use of a frame, which is not taken to another colour while this lives.
pub(crate) struct Use<'c, P: Platform> {
    // `None` where nothing is tracked, and for a frame that cannot move.
    word: Option<&'c FrameWord>,
    /// Whether it is one of those that are counted together.
    is_hold: bool,
    platform: PhantomData<fn() -> P>,
}

impl<'c, P: Platform> Use<'c, P> {
    /// None that has to be counted.
    #[inline]
    pub(crate) const fn none() -> Self {
        Self { word: None, is_hold: false, platform: PhantomData }
    }

    /// One that has just been counted by itself.
    #[inline]
    pub(crate) fn counted(done: &Done<'c>) -> Self {
        let Done { word, guards, .. } = *done;
        let is_hold = guards > ALONE;
        if is_hold {
            word.hold::<P>();
        }
        Self { word: Some(word), is_hold, platform: PhantomData }
    }

    /// A hold that there is.
    pub(crate) const fn held(word: &'c FrameWord) -> Self {
        Self { word: Some(word), is_hold: true, platform: PhantomData }
    }

    /// Whether anything is counted.
    pub(crate) const fn is_counted(&self) -> bool {
        self.word.is_some()
    }

    /// Whether it is counted with the holds.
    pub(crate) const fn is_hold(&self) -> bool {
        self.is_hold
    }

    /// Counts it with the holds.
    #[inline]
    pub(crate) fn hold(&mut self) {
        if let (true, Some(word), false) = (P::ALIASES, self.word, self.is_hold) {
            word.hold::<P>();
            self.is_hold = true;
        }
    }
}

impl<P: Platform> Drop for Use<'_, P> {
    #[inline]
    fn drop(&mut self) {
        if let (true, Some(word)) = (P::ALIASES, self.word) {
            word.end::<P>(self.is_hold);
        }
    }
}
