//! Where the machine's events go.

use alloc::vec::Vec;

use congruent_trace::Event;

/// Who is told of everything that happens, in order: a judge, a recorder, nobody.
pub trait Sink {
    /// Something is about to happen.
    fn event(&mut self, event: &Event);
}

/// Nobody listens; the events are not even made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ignore;

impl Sink for Ignore {
    #[inline(always)]
    fn event(&mut self, _: &Event) {}
}

/// A recording.
impl Sink for Vec<Event> {
    #[inline]
    fn event(&mut self, event: &Event) {
        self.push(*event);
    }
}

impl<S: Sink> Sink for &mut S {
    #[inline]
    fn event(&mut self, event: &Event) {
        (**self).event(event);
    }
}
