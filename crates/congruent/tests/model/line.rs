//! A judge of one cache line in two halves, small enough to be a key in a table: the rules of the judge (`congruent-shadow`), without
//! reports. `judge.rs` compares the two.
//!
//! "Any chip": a clean line may be dropped at any moment, a dirty one written back at any moment. Nothing is healed: the first
//! hazard ends a run.

/// Halves of a line, one bit each.
pub type Halves = u8;
pub const BOTH: Halves = 3;

/// Colours that a test can use.
pub const COLOURS: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
struct Copy_ {
    present: bool,
    dirty: Halves,
    stale: Halves,
}

/// What some schedule of evictions may have made of one line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, PartialOrd, Ord)]
pub struct Line {
    copies: [Copy_; COLOURS],
    lost: Halves,
    /// What the instruction side holds, if anything, and of that what is older than the newest.
    fetched: bool,
    fetched_stale: Halves,
}

/// Somebody could see old bytes, or newer ones be destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Hazard(pub &'static str);

/// One thing that happens to the line.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    Load {
        colour: usize,
        halves: Halves,
    },
    Store {
        colour: usize,
        halves: Halves,
    },
    /// The core fills the line for no reason.
    Fill {
        colour: usize,
    },
    WriteBack {
        colour: usize,
    },
    Invalidate {
        colour: usize,
    },
    WriteBackInvalidate {
        colour: usize,
    },
    DeviceReads {
        halves: Halves,
    },
    DeviceWrites {
        halves: Halves,
    },
    /// An instruction fetch that must see the newest bytes.
    Fetch {
        halves: Halves,
        sees_data: bool,
    },
    /// One that need not, for whatever reason: the line is there then.
    FillInstructions {
        sees_data: bool,
    },
    DropInstructions,
}

impl Line {
    pub fn apply(&mut self, event: Event, write_back: bool) -> Result<(), Hazard> {
        match event {
            Event::Load { colour, halves } => {
                if halves & self.dirty_elsewhere(colour) != 0 {
                    return Err(Hazard("read-dirty-elsewhere"));
                }
                if self.copies[colour].present && halves & self.copies[colour].stale != 0 {
                    return Err(Hazard("read-stale-copy"));
                }
                if halves & self.lost != 0 {
                    return Err(Hazard("read-lost"));
                }
                self.fill(colour);
            }
            Event::Store { colour, halves } => {
                self.fill(colour);
                if halves & self.dirty_elsewhere(colour) != 0 {
                    return Err(Hazard("write-under-dirty-alias"));
                }
                for copy in &mut self.copies {
                    if copy.present {
                        copy.stale |= halves;
                    }
                }
                let own = &mut self.copies[colour];
                own.stale &= !halves;
                if write_back {
                    own.dirty |= halves;
                }
                self.lost &= !halves;
                self.fetched_stale |= if self.fetched { halves } else { 0 };
            }
            Event::Fill { colour } => self.fill(colour),
            Event::WriteBack { colour } => self.copies[colour].dirty = 0,
            Event::Invalidate { colour } => {
                self.lost |= self.copies[colour].dirty;
                self.copies[colour] = Copy_::default();
            }
            Event::WriteBackInvalidate { colour } => self.copies[colour] = Copy_::default(),
            Event::DeviceReads { halves } => {
                if halves & (self.dirty_elsewhere(COLOURS) | self.lost) != 0 {
                    return Err(Hazard("dma-read-stale"));
                }
            }
            Event::DeviceWrites { halves } => {
                if halves & self.dirty_elsewhere(COLOURS) != 0 {
                    return Err(Hazard("dma-write-under-dirty"));
                }
                for copy in &mut self.copies {
                    if copy.present {
                        copy.stale |= halves;
                    }
                }
                self.lost &= !halves;
                self.fetched_stale |= if self.fetched { halves } else { 0 };
            }
            Event::Fetch { halves, sees_data } => {
                if self.fetched && halves & self.fetched_stale != 0 {
                    return Err(Hazard("fetch-stale-copy"));
                }
                if halves & self.behind(sees_data) != 0 {
                    return Err(Hazard("fetch-dirty"));
                }
                self.fill_instructions(sees_data);
            }
            Event::FillInstructions { sees_data } => self.fill_instructions(sees_data),
            Event::DropInstructions => {
                self.fetched = false;
                self.fetched_stale = 0;
            }
        }
        // A dirty line with old bytes in it may be written back now, whole.
        for copy in &self.copies {
            if copy.dirty != 0 {
                self.lost |= copy.stale;
            }
        }
        Ok(())
    }

    /// What a fetch that misses does not find.
    fn behind(&self, sees_data: bool) -> Halves {
        self.lost | if sees_data { 0 } else { self.dirty_elsewhere(COLOURS) }
    }

    /// Filled, or dropped and filled again.
    fn fill_instructions(&mut self, sees_data: bool) {
        self.fetched = true;
        self.fetched_stale |= self.behind(sees_data);
    }

    fn dirty_elsewhere(&self, colour: usize) -> Halves {
        self.copies.iter().enumerate().filter(|&(c, _)| c != colour).fold(0, |all, (_, copy)| all | copy.dirty)
    }

    /// Filled, or dropped and filled again: memory may lack what is dirty elsewhere or lost.
    fn fill(&mut self, colour: usize) {
        let missing = (self.dirty_elsewhere(colour) | self.lost) & !self.copies[colour].dirty;
        let copy = &mut self.copies[colour];
        copy.present = true;
        copy.stale |= missing;
    }
}
