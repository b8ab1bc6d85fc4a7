//! Long steps say that they go on: what is still being done, and for how long, every half minute.

use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a step is told of.
const EVERY: Duration = Duration::from_secs(30);

static GOING_ON: Mutex<Vec<(u64, String, Instant)>> = Mutex::new(Vec::new());

/// Something that takes a while.
pub struct Step {
    name: String,
    number: u64,
    start: Instant,
}

impl Step {
    /// Says that it begins.
    pub fn begin(name: &str) -> Self {
        static TICKING: Once = Once::new();
        TICKING.call_once(|| {
            thread::spawn(tick);
        });
        eprintln!("  {name} …");
        let mut going_on = GOING_ON.lock().unwrap_or_else(PoisonError::into_inner);
        let number = going_on.last().map_or(0, |(number, ..)| number + 1);
        let start = Instant::now();
        going_on.push((number, name.to_owned(), start));
        Self { name: name.to_owned(), number, start }
    }

    /// Says that it is done, and how long it took.
    pub fn end(self) {
        eprintln!("  {} done in {:.1} s", self.name, self.start.elapsed().as_secs_f64());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        GOING_ON.lock().unwrap_or_else(PoisonError::into_inner).retain(|(number, ..)| *number != self.number);
    }
}

fn tick() {
    loop {
        thread::sleep(EVERY);
        let going_on = GOING_ON.lock().unwrap_or_else(PoisonError::into_inner);
        let long = going_on.iter().filter(|(.., start)| start.elapsed() >= EVERY);
        let told: Vec<String> = long.map(|(_, name, start)| format!("{name} {} s", start.elapsed().as_secs())).collect();
        drop(going_on);
        if !told.is_empty() {
            eprintln!("  going on: {}", told.join(", "));
        }
    }
}
