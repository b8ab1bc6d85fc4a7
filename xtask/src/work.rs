//! Several jobs at a time, of which the first to fail ends all.
//!
//! The others are not waited for: this program ends with the failure, and with it what they have started (`run::bound`). Jobs that do not
//! write half of something (`cache`) lose nothing by it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use anyhow::{Result, anyhow};

/// How many jobs run at a time: they wait for a mirror most of the time.
const AT_A_TIME: usize = 6;

type Job<T> = Box<dyn FnOnce() -> Result<T> + Send>;

/// Jobs that have not begun.
pub struct Jobs<T>(Vec<Job<T>>);

impl<T: Send + 'static> Jobs<T> {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one that uses `what`.
    pub fn add<W: Send + Sync + 'static>(&mut self, what: &Arc<W>, job: impl FnOnce(&W) -> Result<T> + Send + 'static) {
        let what = Arc::clone(what);
        self.0.push(Box::new(move || job(&what)));
    }

    /// Runs all, in the order in which they were added as far as there are hands, and returns what they came to, in the order of their ends.
    ///
    /// # Errors
    /// That of the first job that fails, as soon as it does.
    pub fn run(self) -> Result<Vec<T>> {
        let count = self.0.len();
        let queue = Arc::new(Mutex::new(self.0.into_iter()));
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        for _ in 0..AT_A_TIME.min(count) {
            let (queue, stop, sender) = (Arc::clone(&queue), Arc::clone(&stop), sender.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Some(job) = queue.lock().unwrap_or_else(PoisonError::into_inner).next() else { return };
                    if sender.send(job()).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut done = Vec::new();
        for result in receiver {
            match result {
                Ok(value) => done.push(value),
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        // A job that panicked has said nothing.
        if done.len() == count { Ok(done) } else { Err(anyhow!("a job broke off; what it said stands above")) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use anyhow::bail;

    use super::*;

    #[test]
    fn every_job_is_done() {
        let (unit, mut jobs) = (Arc::new(()), Jobs::new());
        (0..20).for_each(|number| jobs.add(&unit, move |()| Ok(number)));
        let mut done = jobs.run().unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_failure_is_not_kept_waiting_and_nothing_begins_after_it() {
        let (unit, mut jobs) = (Arc::new(()), Jobs::new());
        let (release, held) = channel::<()>();
        let (began, begun) = channel();
        let held = Mutex::new(held);
        // Nobody releases it until the failure has been told.
        jobs.add(&unit, move |()| {
            let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(60));
            Ok(())
        });
        jobs.add(&unit, |()| bail!("no network"));
        for _ in 0..50 {
            let began = began.clone();
            jobs.add(&unit, move |()| {
                thread::sleep(Duration::from_millis(50));
                let _ = began.send(());
                Ok(())
            });
        }
        assert_eq!(jobs.run().unwrap_err().to_string(), "no network");
        drop(release);
        thread::sleep(Duration::from_millis(300));
        assert!(begun.try_iter().count() < 50);
    }

    #[test]
    fn a_job_that_panics_is_a_failure() {
        let (unit, mut jobs) = (Arc::new(()), Jobs::<()>::new());
        jobs.add(&unit, |()| panic!("on purpose"));
        assert!(jobs.run().is_err());
    }
}
