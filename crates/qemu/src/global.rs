//! The one value that callbacks share.
//!
//! Rests on the invariant of `plugin`, which alone has one: QEMU runs its callbacks one after another.
//!
//! Unsafe, because nothing but that invariant keeps two callbacks from having the value at once.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;

/// The one value that callbacks share. Whoever uses it takes it away for as long, so that a callback within a callback finds nothing.
pub struct Global<T>(UnsafeCell<*mut T>);

// SAFETY: the plugin's invariant: there is never more than one callback at a time.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    /// Nothing yet.
    pub const fn nothing() -> Self {
        Self(UnsafeCell::new(std::ptr::null_mut()))
    }

    /// Puts a value here, which is never freed.
    ///
    /// # Safety
    /// No callback runs, and none has been registered yet.
    pub unsafe fn install(&self, value: T) {
        // SAFETY: by this function's contract nothing else looks at the pointer.
        unsafe { *self.0.get() = Box::into_raw(Box::new(value)) };
    }

    /// Runs `body` on the value; `None` if there is none yet, or if a callback is using it already.
    pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> Option<R> {
        /// Gives the value back, however `body` ends.
        struct Taken<'a, T>(&'a Global<T>, *mut T);
        impl<T> Drop for Taken<'_, T> {
            fn drop(&mut self) {
                // SAFETY: the plugin's invariant; whoever was called in between has found null and left it there.
                unsafe { *self.0.0.get() = self.1 };
            }
        }
        // SAFETY: the plugin's invariant: no other thread looks at the pointer now.
        let taken = Taken(self, unsafe { self.0.get().replace(std::ptr::null_mut()) });
        // SAFETY: the pointer came from a box that is never freed, and is here alone: the global is null until it is given back.
        unsafe { taken.1.as_mut() }.map(body)
    }

    /// As [`with`](Self::with), without writing anything, because this is the path of nearly every access.
    ///
    /// # Safety
    /// `body` does not panic and calls nothing of QEMU's: no callback can run within it.
    #[inline(always)]
    pub unsafe fn quietly<R>(&self, body: impl FnOnce(&mut T) -> R) -> Option<R> {
        // SAFETY: the plugin's invariant, and this function's contract: the reference is the only one while it lives. While another
        // callback uses the value, the pointer is null.
        unsafe { (*self.0.get()).as_mut() }.map(body)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn a_callback_within_a_callback_finds_nothing_and_the_value_is_there_again_afterwards() {
        static VALUE: Global<u32> = Global::nothing();
        // SAFETY: it neither panics nor calls anything.
        let quietly = || unsafe { VALUE.quietly(|value| *value > 0) };
        assert_eq!((VALUE.with(|_| ()), quietly()), (None, None), "before it is installed");
        // SAFETY: this test is alone with it.
        unsafe { VALUE.install(7) };
        let within = VALUE.with(|value| {
            *value += 1;
            (VALUE.with(|_| ()), quietly())
        });
        assert_eq!(within, Some((None, None)));
        assert_eq!((VALUE.with(|value| *value), quietly()), (Some(8), Some(true)));
        let panics = catch_unwind(|| VALUE.with(|_| panic!("a defect")));
        assert!(panics.is_err());
        assert_eq!((VALUE.with(|value| *value), quietly()), (Some(8), Some(true)));
    }
}
