//! What a run of several steps did: which, how often, for how long. Told at its end, however it ends.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The steps of a run so far.
pub struct Summary {
    start: Instant,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    count: String,
    took: Duration,
}

impl Summary {
    /// Nothing has been done yet.
    pub fn new() -> Self {
        Self { start: Instant::now(), rows: Vec::new() }
    }

    /// Does a step, which says what it did, as in `12 tests`.
    ///
    /// # Errors
    /// If the step fails.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> Result<String>) -> Result<()> {
        eprintln!("{name}");
        let start = Instant::now();
        let result = work();
        let count = result.as_ref().map_or_else(|_| "FAILED".to_owned(), Clone::clone);
        self.rows.push(Row { name: name.to_owned(), count, took: start.elapsed() });
        result.map(drop)
    }
}

impl Drop for Summary {
    fn drop(&mut self) {
        println!("\nwhat ran:");
        for Row { name, count, took } in &self.rows {
            println!("  {name:<44} {count:<40} {:>7.1} s", took.as_secs_f64());
        }
        println!("  {:<44} {:<40} {:>7.1} s", "in all", "", self.start.elapsed().as_secs_f64());
    }
}
