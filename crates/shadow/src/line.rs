//! The rules: what every core with this geometry may hold of one line, and which accesses could therefore see old bytes.
//!
//! Guarantees: exact. An access is judged hazardous for exactly the bytes for which some schedule of evictions, write-backs
//! and refills makes it so (proved against `congruent-machine` for all sequences of any length, in this crate's tests). Pure:
//! no time, no addresses, no reports. Not here: how lines are stored compactly (`heads`) and operations that are postponed
//! (`sweep`).
//!
//! # State
//! A [`Copy`] (`terms`) says what colour `c` may hold in some ways of its set. "May" throughout: any chip may have dropped a clean line
//! or written back a dirty one at any moment, so nothing is ever certain to be held. Per byte of the line:
//! - `dirty`: was stored through `c`; the copy may be the only place that has it (memory is old until it is written back).
//!   The units that hold a dirty byte are written back whole. Nothing is ever dirty in a cache that writes through.
//! - `stale`: the copy, if held, may be older than the newest.
//!
//! Per line, bytes whose newest value may exist nowhere: `discarded` with the copy that held it, or `clobbered` by an older
//! copy that was written back over it.
//!
//! # Several CPUs
//! The same colour of several CPUs' data caches is several places (`cpus`) in which the line may be held, with the same bytes: a miss is
//! served by what another CPU may hold there, dirty bytes included, and a store takes that away. Which CPU may hold the line matters to
//! maintenance only, which acts on one. Instruction caches are places of their own.
//!
//! # Why these masks suffice
//! Look at one byte. Memory is old in a schedule only if (1) some dirty copy has the newest, or (2) no copy need have it any
//! more. (1) is `dirty`, (2) is `discarded | clobbered`. (2) comes about when a dirty newest copy is discarded, or when a copy
//! that is stale in a unit with a dirty byte exists at all: the newest copy may be evicted first, the stale one after it. Once possible,
//! (2) stays possible until the byte is written again. A colour can be filled only at an access, and then with whatever memory
//! may hold: `stale |= (1) through other colours | (2)`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use congruent_geometry::ByteMask;
use congruent_trace::Maintenance;

use crate::finding::{Effect, HazardClass, Party};
use crate::sweep::Swept;
pub(crate) use crate::terms::{CODE, Copy, Hazard, Path, Shape, Ways, Writer};
use crate::unhealed::{Unhealed, by_producer};

/// How many writers of a line are told apart; of more, the two oldest become one.
const WRITERS: usize = 4;

/// One line: see the file's head.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Line {
    pub copies: Vec<Copy>,
    pub discarded: ByteMask,
    pub clobbered: ByteMask,
    /// Oldest first. Covers at least the dirty bytes and those newer than a copy or than memory.
    pub writers: Vec<Writer>,
    /// The same line if nothing of what was found is mended, as long as that is another state.
    pub unhealed: Option<Box<Unhealed>>,
}

impl Line {
    /// Judges a load of `bytes`, heals what it found, and carries it out.
    pub fn load(&mut self, shape: Shape, path: Path, bytes: ByteMask, stamp: u32, hazards: &mut Vec<Hazard>) {
        let found = self.judge(bytes, &self.reasons_of_load(shape, path, &self.writers), shape, hazards);
        if !found.is_empty() {
            self.part();
            self.heal_load(shape, path, found);
        }
        self.judge_unhealed(bytes - found, hazards, shape, |line, writers| line.reasons_of_load(shape, path, writers));
        self.each(|line| line.carry_out_load(shape, path, stamp));
    }

    fn carry_out_load(&mut self, shape: Shape, path: Path, stamp: u32) {
        match path {
            Path::Cached(colour) => self.fill(shape, colour, None, stamp),
            Path::Fetch { code, served_by } => self.fill(shape, code, served_by, stamp),
            Path::Uncached | Path::Dma => {}
        }
        self.clobber(shape);
    }

    /// Why which bytes of the line are hazardous to a load: the reasons in the order in which they are told. `writers` are the line's.
    fn reasons_of_load(&self, shape: Shape, path: Path, writers: &[Writer]) -> [(HazardClass, ByteMask); 4] {
        let none = (HazardClass::ReadLost, ByteMask::EMPTY);
        let discarded = (HazardClass::ReadLost, self.discarded);
        let clobbered = (HazardClass::ClobberedNeighbour, self.clobbered);
        match path {
            Path::Cached(colour) => {
                let stale = self.stale_in(shape, colour);
                // A copy is not older than what was stored through it, unless that was lost and the old bytes filled in again.
                let is_own = |writer: &&Writer| writer.party.colour.is_some_and(|by| shape.are_coherent(by, colour));
                let own = writers.iter().filter(is_own);
                let stale = stale - (self.lost() & own.fold(ByteMask::EMPTY, |mask, writer| mask | writer.bytes));
                let dirty = self.dirty_outside(shape, Some(colour));
                [(HazardClass::ReadDirtyElsewhere, dirty), (HazardClass::ReadStaleCopy, stale), discarded, clobbered]
            }
            Path::Fetch { code, served_by } => {
                let stale = self.stale_in(shape, code) | served_by.map_or(ByteMask::EMPTY, |colour| self.stale_in(shape, colour));
                let dirty = self.dirty_outside(shape, served_by);
                [(HazardClass::FetchDirty, dirty), (HazardClass::FetchStaleCopy, stale), discarded, clobbered]
            }
            Path::Uncached => [(HazardClass::MixedAttributesRead, self.dirty_outside(shape, None)), discarded, clobbered, none],
            Path::Dma => [(HazardClass::DmaReadStale, self.dirty_outside(shape, None) | self.lost()), none, none, none],
        }
    }

    /// Judges a store of `bytes`, heals what it found, and carries it out.
    pub fn store(&mut self, shape: Shape, path: Path, bytes: ByteMask, by: Party, stamp: u32, hazards: &mut Vec<Hazard>) {
        let found = self.judge(bytes, &[self.reason_of_store(shape, path)], shape, hazards);
        if !found.is_empty() {
            self.part();
            self.heal_store(shape, path, found);
        }
        self.judge_unhealed(bytes - found, hazards, shape, |line, _| [line.reason_of_store(shape, path)]);
        self.each(|line| line.carry_out_store(shape, path, bytes, stamp));
        self.note_writer(by, bytes);
    }

    /// Which bytes of the line must not be stored to, and what it is called if they are.
    fn reason_of_store(&self, shape: Shape, path: Path) -> (HazardClass, ByteMask) {
        let class = match path {
            Path::Cached(_) => HazardClass::WriteUnderDirtyAlias,
            Path::Uncached => HazardClass::MixedAttributesWrite,
            // Nothing is stored by a fetch.
            Path::Dma | Path::Fetch { .. } => HazardClass::DmaWriteUnderDirty,
        };
        (class, self.dirty_outside(shape, path.through()))
    }

    fn carry_out_store(&mut self, shape: Shape, path: Path, bytes: ByteMask, stamp: u32) {
        let through = path.through();
        if let Some(colour) = through
            && shape.write_allocate
        {
            self.fill(shape, colour, None, stamp);
            // Filled, it has what other CPUs had, and they have nothing any more.
            self.copies.retain(|copy| copy.colour == colour || !shape.are_coherent(copy.colour, colour));
        }
        for copy in &mut self.copies {
            if Some(copy.colour) == through {
                copy.stale -= bytes;
                copy.spared = ByteMask::EMPTY;
                if !shape.writes_through {
                    copy.dirty |= bytes;
                }
            } else {
                copy.stale |= bytes;
                copy.spared -= bytes;
            }
        }
        if let Some(colour) = through {
            // A byte that was just stored is the same in whatever way the copy sits.
            self.merge(colour);
        }
        self.discarded -= bytes;
        self.clobbered -= bytes;
        self.clobber(shape);
    }

    /// Whether [`load`](Self::load) would find nothing and leave everything as it is; if unsure, no.
    pub fn is_unchanged_by_load(&self, shape: Shape, colour: u16, bytes: ByteMask, stamp: u32) -> bool {
        self.is_unchanged(shape, colour, None, bytes, stamp)
    }

    /// Whether a fetch of `bytes` would find nothing and leave everything as it is; if unsure, no.
    pub fn is_unchanged_by_fetch(&self, shape: Shape, code: u16, served_by: Option<u16>, bytes: ByteMask, stamp: u32) -> bool {
        self.is_unchanged(shape, code, served_by, bytes, stamp)
    }

    fn is_unchanged(&self, shape: Shape, colour: u16, served_by: Option<u16>, bytes: ByteMask, stamp: u32) -> bool {
        if self.unhealed.as_ref().is_some_and(|other| !other.line.is_unchanged(shape, colour, served_by, bytes, stamp)) {
            return false;
        }
        let old = self.old_in_fill(shape, colour, served_by);
        let passed = self.dirty_in_other_cpus(shape, colour);
        self.sole_copy(shape, colour, stamp).is_some_and(|own| {
            ((old - own.stale) | (passed - own.dirty)).is_empty() && !(bytes.intersects(own.stale) || bytes.intersects(old))
        })
    }

    /// Whether [`store`](Self::store) would find nothing and leave everything but the writer as it is; if unsure, no.
    pub fn is_unchanged_by_store(&self, shape: Shape, colour: u16, bytes: ByteMask, stamp: u32) -> bool {
        let unchanged = |copy: &Copy| match (copy.colour == colour, shape.writes_through) {
            (false, _) => {
                (bytes - copy.stale).is_empty() && !bytes.intersects(copy.spared) && !shape.are_coherent(copy.colour, colour)
            }
            (true, false) => (bytes - copy.dirty).is_empty() && copy.spared.is_empty(),
            (true, true) => !bytes.intersects(copy.stale),
        };
        let unchanged_unhealed = |other: &Unhealed| other.line.copies.iter().all(unchanged);
        self.is_unchanged_by_load(shape, colour, bytes, stamp)
            && self.copies.iter().all(unchanged)
            && self.unhealed.as_ref().is_none_or(|other| unchanged_unhealed(other))
    }

    /// A fill of `colour` that nobody consumes: a prefetch.
    pub fn prefetch(&mut self, shape: Shape, colour: u16, stamp: u32) {
        self.each(|line| line.fill_for_nobody(shape, colour, stamp));
    }

    fn fill_for_nobody(&mut self, shape: Shape, colour: u16, stamp: u32) {
        self.fill(shape, colour, None, stamp);
        self.clobber(shape);
    }

    /// What a speculative core may do to a line of a live frame at any moment: fill it.
    pub fn speculate(&mut self, shape: Shape, stamp: u32) {
        self.each(|line| {
            line.fill_for_nobody(shape, 0, stamp);
            // What was clobbered by this may be filled once more.
            line.fill(shape, 0, None, stamp);
        });
    }

    /// Carries out maintenance of these ways of `colour`, and says what it did.
    pub fn maintain(&mut self, op: Maintenance, colour: u16, ways: Ways) -> Effect {
        if let Some(other) = &mut self.unhealed {
            other.line.maintain(op, colour, ways);
        }
        self.split(colour, ways);
        let (mut held, mut dirty) = (false, false);
        for copy in self.copies.iter_mut().filter(|copy| copy.colour == colour && !copy.ways.and(ways).is_none()) {
            held = true;
            dirty |= !copy.dirty.is_empty();
            if !op.writes_back() {
                self.discarded |= copy.dirty;
            }
            *copy = copy.written_back();
        }
        if op.invalidates() {
            self.copies.retain(|copy| copy.colour != colour || copy.ways.and(ways).is_none());
        }
        self.merge(colour);
        effect(op, held, dirty)
    }

    /// Accounts for the operations by index and on the whole cache that concern every way a copy may sit in. `swept` tells
    /// what was done to the set of a colour since a stamp. Those that concern only some of its ways stay postponed: what a
    /// copy may hold in the others is all that matters until it is accessed. Returns what was done in the data cache, if
    /// anything, and whether something was dropped from the instruction cache.
    pub fn settle(&mut self, swept: &impl Fn(u16, u32) -> Swept) -> (Effect, bool) {
        if let Some(other) = &mut self.unhealed {
            other.line.settle(swept);
        }
        let (mut wrote_back, mut dropped, mut code_dropped) = (false, false, false);
        self.copies.retain_mut(|copy| {
            let swept = swept(copy.colour, copy.stamp);
            if copy.ways.without(swept.written_back).is_none() {
                wrote_back |= !copy.dirty.is_empty();
                *copy = copy.written_back();
            }
            let gone = copy.ways.without(swept.invalidated).is_none();
            if copy.is_code() {
                code_dropped |= gone;
            } else {
                dropped |= gone;
            }
            !gone
        });
        let effect = match (wrote_back, dropped) {
            (false, false) => Effect::Nothing,
            (true, false) => Effect::WroteBack,
            (false, true) => Effect::Dropped,
            (true, true) => Effect::WroteBackAndDropped,
        };
        (effect, code_dropped)
    }

    /// Accounts for every postponed operation on `colour`, way by way, so that its copies may be given a new stamp.
    pub fn resolve(&mut self, colour: u16, stamp: u32, swept: &impl Fn(u16, u32) -> Swept) {
        if let Some(other) = &mut self.unhealed {
            other.line.resolve(colour, stamp, swept);
        }
        for at in (0..self.copies.len()).rev() {
            let copy = self.copies[at];
            if copy.colour != colour {
                continue;
            }
            let swept = swept(colour, copy.stamp);
            let held = copy.ways.without(swept.invalidated);
            let untouched = Copy { ways: held.without(swept.written_back), stamp, ..copy };
            let cleaned = Copy { ways: held.and(swept.written_back), stamp, ..copy.written_back() };
            self.copies[at] = untouched;
            self.copies.push(cleaned);
        }
        self.copies.retain(|copy| !copy.ways.is_none());
        self.merge(colour);
    }

    /// The last access known to have written the line.
    pub fn last_writer(&self) -> Option<Party> {
        self.writers.last().map(|writer| writer.party)
    }

    /// Whether the last access known to have written the line is `by`, and wrote these bytes among others.
    pub fn is_last_written_by(&self, by: Party, bytes: ByteMask) -> bool {
        self.writers.last().is_some_and(|writer| writer.party == by && (bytes - writer.bytes).is_empty())
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.copies.clear();
        self.writers.clear();
        self.discarded = ByteMask::EMPTY;
        self.clobbered = ByteMask::EMPTY;
        self.unhealed = None;
    }

    /// Bytes whose newest value may exist nowhere.
    pub fn lost(&self) -> ByteMask {
        self.discarded | self.clobbered
    }

    /// Notes that `by` made the newest value of `bytes`.
    pub fn note_writer(&mut self, by: Party, bytes: ByteMask) {
        let mut all = bytes;
        self.writers.retain_mut(|writer| {
            if writer.party == by {
                all |= writer.bytes;
                return false;
            }
            writer.bytes -= bytes;
            !writer.bytes.is_empty()
        });
        if self.writers.len() == WRITERS {
            let oldest = self.writers.remove(0);
            self.writers[0].bytes |= oldest.bytes;
        }
        self.writers.push(Writer { party: by, bytes: all });
    }

    /// Bytes that a copy of this colour may have old.
    fn stale_in(&self, shape: Shape, colour: u16) -> ByteMask {
        let own = self.copies.iter().filter(|copy| shape.are_coherent(copy.colour, colour));
        own.fold(ByteMask::EMPTY, |mask, copy| mask | copy.stale)
    }

    /// Bytes that may be old in what a miss of `colour` gets: from memory, from another CPU, or from the data cache's colour that serves it.
    fn old_in_fill(&self, shape: Shape, colour: u16, served_by: Option<u16>) -> ByteMask {
        let served = served_by.map_or(ByteMask::EMPTY, |colour| self.stale_in(shape, colour));
        let others = self.in_other_cpus(shape, colour).fold(ByteMask::EMPTY, |mask, copy| mask | copy.stale);
        self.dirty_outside(shape, Some(served_by.unwrap_or(colour))) | self.lost() | served | others
    }

    /// The copies of other CPUs that serve a miss of this colour.
    fn in_other_cpus(&self, shape: Shape, colour: u16) -> impl Iterator<Item = &Copy> {
        self.copies.iter().filter(move |copy| copy.colour != colour && shape.are_coherent(copy.colour, colour))
    }

    /// Bytes that may become this CPU's to write back when it gets the line.
    fn dirty_in_other_cpus(&self, shape: Shape, colour: u16) -> ByteMask {
        self.in_other_cpus(shape, colour).fold(ByteMask::EMPTY, |mask, copy| mask | copy.dirty)
    }

    /// The copy of `colour`, if it may sit in any way and was accessed in this epoch.
    fn sole_copy(&self, shape: Shape, colour: u16, stamp: u32) -> Option<&Copy> {
        self.copies.iter().find(|copy| copy.colour == colour && copy.ways == shape.ways_of(colour) && copy.stamp == stamp)
    }

    /// Bytes that may be newest only in a colour other than `colour` (in any, if `None`).
    fn dirty_outside(&self, shape: Shape, colour: Option<u16>) -> ByteMask {
        let others = self.copies.iter().filter(|copy| colour.is_none_or(|colour| !shape.are_coherent(copy.colour, colour)));
        others.fold(ByteMask::EMPTY, |mask, copy| mask | copy.dirty)
    }

    /// Reports the bytes of an access that some reason applies to, each byte under the first that does, and by producer. Returns them.
    fn judge(&self, bytes: ByteMask, reasons: &[(HazardClass, ByteMask)], shape: Shape, hazards: &mut Vec<Hazard>) -> ByteMask {
        let mut found = ByteMask::EMPTY;
        for &(class, mask) in reasons {
            let left = (bytes & mask) - found;
            found |= left;
            by_producer(left, &self.writers, |bytes, producer| hazards.push(self.hazard(shape, class, bytes, producer)));
        }
        found
    }

    /// Heals what a load found: what it sees of `found` counts as the newest from now on. That is what the missing maintenance, done just
    /// before, would have done for this consumer, and no more: copies that the load did not look at stay as old as they are, and what the
    /// load saw dirty stays dirty. (Whether what a copy is dirty with was stored before or after the bytes that it may overwrite is not
    /// known, so neither counts as maintained.)
    fn heal_load(&mut self, shape: Shape, path: Path, found: ByteMask) {
        for copy in &mut self.copies {
            if path.sees(shape, copy.colour) {
                copy.stale -= found;
            } else {
                // Old where it is dirty is only what was lost from there and filled in again.
                copy.stale -= found & copy.dirty;
                copy.dirty -= found;
            }
        }
        for copy in &mut self.copies {
            // Written back for their neighbours' sake, these would undo it at once.
            copy.spared |= copy.stale & found & copy.dirty.widen(shape.unit);
        }
        self.discarded -= found;
        self.clobbered -= found;
    }

    /// Heals what a store found: what it stores to is dirty nowhere else any more.
    fn heal_store(&mut self, shape: Shape, path: Path, found: ByteMask) {
        let through = path.through();
        for copy in &mut self.copies {
            if through.is_none_or(|colour| !shape.are_coherent(copy.colour, colour)) {
                copy.dirty -= found;
            }
        }
    }

    pub(crate) fn hazard(&self, shape: Shape, class: HazardClass, bytes: ByteMask, producer: Option<Party>) -> Hazard {
        let through = producer.and_then(|producer| producer.colour);
        let mut held = self.copies.iter().filter(|copy| through.is_some_and(|through| shape.are_coherent(copy.colour, through)));
        Hazard {
            class,
            bytes,
            producer,
            follows: false,
            producer_is_last: producer == self.last_writer(),
            producer_stamp: held.clone().map(|copy| copy.stamp).max(),
            still_dirty: held.any(|copy| copy.dirty.intersects(bytes)),
        }
    }

    /// An access through `colour`: it hits what is held, or fills any way with what memory (or what serves it) may hold. What is held was given
    /// the new stamp when it was [resolved](Self::resolve).
    fn fill(&mut self, shape: Shape, colour: u16, served_by: Option<u16>, stamp: u32) {
        let old = self.old_in_fill(shape, colour, served_by);
        let dirty = self.dirty_in_other_cpus(shape, colour);
        let mut missing = shape.ways_of(colour);
        for copy in self.copies.iter_mut().filter(|copy| copy.colour == colour) {
            copy.stale |= old;
            copy.dirty |= dirty;
            missing = missing.without(copy.ways);
        }
        if !missing.is_none() {
            self.copies.push(Copy { colour, ways: missing, stamp, stale: old, dirty, spared: ByteMask::EMPTY });
        }
        self.merge(colour);
    }

    /// A stale copy that is dirty for its neighbours' sake may be written back after the newest bytes were.
    fn clobber(&mut self, shape: Shape) {
        for copy in &self.copies {
            if !copy.stale.is_empty() {
                self.clobbered |= (copy.dirty.widen(shape.unit) & copy.stale) - copy.spared;
            }
        }
    }

    /// Makes every copy of `colour` lie wholly inside or wholly outside `ways`.
    fn split(&mut self, colour: u16, ways: Ways) {
        for at in 0..self.copies.len() {
            let copy = self.copies[at];
            let (inside, outside) = (copy.ways.and(ways), copy.ways.without(ways));
            if copy.colour == colour && !inside.is_none() && !outside.is_none() {
                self.copies[at].ways = inside;
                self.copies.push(Copy { ways: outside, ..copy });
            }
        }
    }

    /// Joins the copies of `colour` that differ in their ways only.
    fn merge(&mut self, colour: u16) {
        let mut at = 0;
        while at < self.copies.len() {
            let copy = self.copies[at];
            if copy.colour == colour
                && let Some(twin) = self.copies[..at].iter_mut().find(|twin| twin.alike(&copy))
            {
                twin.ways = twin.ways.or(copy.ways);
                self.copies.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }
}

/// The effect of `op` on a copy that may be held and may be dirty.
pub(crate) fn effect(op: Maintenance, held: bool, dirty: bool) -> Effect {
    match op {
        _ if !held => Effect::Nothing,
        Maintenance::WriteBack if !dirty => Effect::Nothing,
        Maintenance::WriteBack => Effect::WroteBack,
        Maintenance::WriteBackInvalidate if dirty => Effect::WroteBackAndDropped,
        Maintenance::WriteBackInvalidate | Maintenance::Invalidate => Effect::Dropped,
    }
}
