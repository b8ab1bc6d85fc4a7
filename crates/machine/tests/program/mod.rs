//! Random programs for the theorem, and the computer they run on with a flat memory beside it.

use std::collections::BTreeSet;

use congruent_geometry::{CacheGeometry, Frame, PhysAddr, VirtAddr};
use congruent_machine::{Asid, Config, Indexing, Machine, Maintained, Mapping, Random, Refill, Rights};
use congruent_trace::{Event, Maintenance, Site};

/// The first page number of uncached mappings.
const UNCACHED: u64 = 1 << 20;

/// The first page number of those that each address space maps to a frame of its own; a multiple of every number of colours.
const TAKEN_IN_TURNS: u64 = 1 << 21;

/// Every frame at every colour, and uncached: page `frame * colours + colour`, or `UNCACHED + frame`. In address space `frame`,
/// page `TAKEN_IN_TURNS + colour`.
#[derive(Clone)]
struct Tables(CacheGeometry);

impl Refill for Tables {
    fn refill(&mut self, _: usize, space: Asid, page: VirtAddr) -> Option<Mapping> {
        let page = page.0 >> self.0.page_shift();
        if page >= TAKEN_IN_TURNS {
            return Some(Mapping::new(Frame(space.0.into()), Rights::ALL));
        }
        Some(match page.checked_sub(UNCACHED) {
            Some(frame) => Mapping::new(Frame(frame), Rights::WRITE).uncached(),
            None => Mapping::new(Frame(page / u64::from(self.0.colours())), Rights::ALL),
        })
    }
}

/// Bytes of memory: where, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    frame: u64,
    offset: u32,
    len: u32,
}

/// How an access gets there.
#[derive(Clone, Copy, Debug)]
pub enum Path {
    Cached(u32),
    Uncached,
    Device,
}

/// One thing that a program or a device does.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Load { cpu: usize, path: Path, range: Range },
    Store { cpu: usize, path: Path, range: Range, value: u8 },
    Update { cpu: usize, colour: u32, range: Range, value: u8 },
    Prefetch { cpu: usize, colour: u32, range: Range },
    Maintain { cpu: usize, op: Maintenance, colour: u32, range: Range },
    Index { cpu: usize, op: Maintenance, set: u32, way: u32 },
    Whole { cpu: usize, op: Maintenance },
    Fetch { cpu: usize, colour: u32, range: Range },
    DropCode { cpu: usize, colour: u32, range: Range },
    DropCodeIndex { cpu: usize, set: u32, way: u32 },
    DropCodeWhole { cpu: usize },
}

impl Step {
    /// Whether it makes newer bytes.
    pub fn stores(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::Update { .. })
    }

    /// The byte that it stores, again and again, if it does.
    pub fn value(&self) -> Option<u8> {
        match *self {
            Self::Store { value, .. } | Self::Update { value, .. } => Some(value),
            _ => None,
        }
    }

    fn cpu(&self) -> usize {
        match *self {
            Self::Load { cpu, .. }
            | Self::Store { cpu, .. }
            | Self::Update { cpu, .. }
            | Self::Prefetch { cpu, .. }
            | Self::Maintain { cpu, .. }
            | Self::Index { cpu, .. }
            | Self::Whole { cpu, .. }
            | Self::Fetch { cpu, .. }
            | Self::DropCode { cpu, .. }
            | Self::DropCodeIndex { cpu, .. }
            | Self::DropCodeWhole { cpu } => cpu,
        }
    }

    fn range(&self) -> Option<Range> {
        match *self {
            Self::Load { range, .. }
            | Self::Store { range, .. }
            | Self::Update { range, .. }
            | Self::Prefetch { range, .. }
            | Self::Maintain { range, .. }
            | Self::Fetch { range, .. }
            | Self::DropCode { range, .. } => Some(range),
            Self::Index { .. } | Self::Whole { .. } | Self::DropCodeIndex { .. } | Self::DropCodeWhole { .. } => None,
        }
    }
}

/// The machine, and what memory would hold if there were no caches.
pub struct Computer {
    machine: Machine<Tables, Vec<Event>>,
    flat: Vec<u8>,
    /// What the last step loaded.
    loaded: Vec<(PhysAddr, u8)>,
    geometry: CacheGeometry,
    /// Whether frames take turns at the same virtual pages.
    in_turns: bool,
    /// CPUs that are told apart, at least one.
    cpus: usize,
}

impl Computer {
    pub fn new(config: Config) -> Self {
        let geometry = config.data.geometry;
        let mut machine = Machine::with_sink(Config { tlb_entries: 8, ..config }, Tables(geometry), Vec::new()).unwrap();
        let in_turns = config.data.indexing.has_virtual_tags();
        let cpus = if config.maintained == Maintained::Everywhere { 1 } else { config.cpus };
        let page = geometry.page() as usize;
        let mut flat = vec![0; config.frames as usize * page];
        if in_turns {
            // Bytes of the wrong frame must be seen to be wrong.
            flat.chunks_mut(page).zip(0xf0..).for_each(|(frame, value)| frame.fill(value));
            machine.memory_mut().write(PhysAddr(0), &flat);
        }
        Self { machine, flat, loaded: Vec::new(), geometry, in_turns, cpus }
    }

    /// An address of these bytes of this colour, in the address space that the CPU is in now.
    fn address(&mut self, colour: u32, range: Range) -> VirtAddr {
        if !self.in_turns {
            return address(&self.geometry, colour, range);
        }
        self.machine.set_asid(0, Asid(range.frame as u16));
        VirtAddr(((TAKEN_IN_TURNS + u64::from(colour)) << self.geometry.page_shift()) + u64::from(range.offset))
    }

    fn virtual_address(&mut self, path: Path, range: Range) -> Option<VirtAddr> {
        match path {
            Path::Cached(colour) => Some(self.address(colour, range)),
            Path::Uncached => Some(VirtAddr(((UNCACHED + range.frame) << self.geometry.page_shift()) + u64::from(range.offset))),
            Path::Device => None,
        }
    }

    /// The bytes that the last step loaded, with their addresses.
    pub fn loaded(&self) -> &[(PhysAddr, u8)] {
        &self.loaded
    }

    /// What memory would hold if there were no caches.
    pub fn newest(&self) -> &[u8] {
        &self.flat
    }

    /// What was said since this was last asked.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(self.machine.sink_mut())
    }

    /// Carries a step out; returns the bytes of which old values were returned.
    pub fn take(&mut self, step: &Step) -> BTreeSet<PhysAddr> {
        self.turn_to(step.cpu());
        self.loaded.clear();
        let paddr = step.range().map_or(PhysAddr(0), |range| self.physical(range));
        match *step {
            Step::Load { cpu, path, range } => {
                let mut bytes = vec![0; range.len as usize];
                match (path, self.virtual_address(path, range)) {
                    // The two ways to load.
                    (_, Some(vaddr)) if range.len <= 8 => {
                        let word = self.machine.load(cpu, vaddr, range.len).unwrap();
                        bytes.copy_from_slice(&word.to_le_bytes()[..range.len as usize]);
                    }
                    (_, Some(vaddr)) => self.machine.read(cpu, vaddr, &mut bytes).unwrap(),
                    (_, None) => self.machine.device_reads(Site(1), paddr, &mut bytes).unwrap(),
                }
                self.older(range, &bytes)
            }
            Step::Store { cpu, path, range, value } => {
                let bytes = vec![value; range.len as usize];
                match (path, self.virtual_address(path, range)) {
                    (_, Some(vaddr)) if range.len <= 8 => {
                        self.machine.store(cpu, vaddr, range.len, u64::from_le_bytes([value; 8])).unwrap();
                    }
                    (_, Some(vaddr)) => self.machine.write(cpu, vaddr, &bytes).unwrap(),
                    (_, None) => self.machine.device_writes(Site(1), paddr, &bytes).unwrap(),
                }
                self.flat_mut(range).copy_from_slice(&bytes);
                BTreeSet::new()
            }
            Step::Update { cpu, colour, range, value } => {
                let vaddr = self.address(colour, range);
                let word = self.machine.update(cpu, vaddr, range.len, |_| u64::from_le_bytes([value; 8])).unwrap();
                let old = self.older(range, &word.to_le_bytes()[..range.len as usize]);
                self.flat_mut(range).fill(value);
                old
            }
            Step::Prefetch { cpu, colour, range } => {
                let vaddr = self.address(colour, range);
                self.machine.prefetch(cpu, vaddr);
                BTreeSet::new()
            }
            Step::Maintain { cpu, op, colour, range } => {
                let vaddr = self.address(colour, range);
                self.machine.maintain(cpu, op, vaddr).unwrap();
                BTreeSet::new()
            }
            Step::Index { cpu, op, set, way } => {
                self.machine.maintain_index(cpu, op, set, way);
                BTreeSet::new()
            }
            Step::Whole { cpu, op } => {
                self.machine.maintain_whole(cpu, op);
                BTreeSet::new()
            }
            Step::Fetch { cpu, colour, range } => {
                let vaddr = self.address(colour, range);
                let word = self.machine.fetch(cpu, vaddr, range.len).unwrap();
                self.older(range, &word.to_le_bytes()[..range.len as usize])
            }
            Step::DropCode { cpu, colour, range } => {
                let vaddr = self.address(colour, range);
                self.machine.invalidate_code(cpu, vaddr).unwrap();
                BTreeSet::new()
            }
            Step::DropCodeIndex { cpu, set, way } => {
                self.machine.invalidate_code_index(cpu, set, way);
                BTreeSet::new()
            }
            Step::DropCodeWhole { cpu } => {
                self.machine.invalidate_code_whole(cpu);
                BTreeSet::new()
            }
        }
    }

    /// Says whose events follow, if that is of interest.
    fn turn_to(&mut self, cpu: usize) {
        if self.cpus > 1 {
            self.machine.sink_mut().push(Event::Cpu { cpu: cpu as u16 });
        }
    }

    /// Brings the lines of a step into order, as a program could: nothing is held, and memory has the newest bytes.
    pub fn repair(&mut self, step: &Step) {
        let Some(range) = step.range() else { return };
        let line = self.geometry.line();
        let (first, end) = (range.offset / line * line, (range.offset + range.len).next_multiple_of(line));
        // What was held for another frame may have been met.
        let frames = if self.in_turns { 0..self.frames() } else { range.frame..range.frame + 1 };
        let lines = (first..end).step_by(line as usize);
        for (frame, offset) in frames.flat_map(|frame| lines.clone().map(move |offset| (frame, offset))) {
            let range = Range { frame, offset, len: line };
            for colour in 0..self.geometry.colours() {
                let vaddr = self.address(colour, range);
                for cpu in 0..self.cpus {
                    self.turn_to(cpu);
                    self.machine.maintain(cpu, Maintenance::WriteBackInvalidate, vaddr).unwrap();
                    self.machine.invalidate_code(cpu, vaddr).unwrap();
                }
            }
            let newest = self.flat_mut(range).to_vec();
            self.machine.device_writes(Site(2), self.physical(range), &newest).unwrap();
            for colour in 0..self.geometry.colours() {
                // Filled meanwhile by a speculative core, and clean.
                let vaddr = self.address(colour, range);
                self.machine.maintain(0, Maintenance::Invalidate, vaddr).unwrap();
            }
        }
    }

    /// The bytes of a store whose newest value is gone when everything was written back, the store's own colour first.
    pub fn lost_once_written_back(mut self, step: &Step) -> BTreeSet<PhysAddr> {
        let Some(range) = step.range() else { return BTreeSet::new() };
        if let Step::Store { path: Path::Cached(colour), .. } | Step::Update { colour, .. } = *step {
            let vaddr = self.address(colour, range);
            for cpu in 0..self.cpus {
                self.machine.maintain(cpu, Maintenance::WriteBack, vaddr).unwrap();
            }
        }
        (0..self.cpus).for_each(|cpu| self.machine.maintain_whole(cpu, Maintenance::WriteBack));
        let mut bytes = vec![0; range.len as usize];
        self.machine.memory().read(self.physical(range), &mut bytes);
        self.older(range, &bytes)
    }

    fn frames(&self) -> u64 {
        self.flat.len() as u64 / u64::from(self.geometry.page())
    }

    fn physical(&self, range: Range) -> PhysAddr {
        self.geometry.frame_base(Frame(range.frame)).add(range.offset.into())
    }

    fn flat_mut(&mut self, range: Range) -> &mut [u8] {
        let at = self.physical(range).0 as usize;
        &mut self.flat[at..at + range.len as usize]
    }

    fn older(&mut self, range: Range, bytes: &[u8]) -> BTreeSet<PhysAddr> {
        let first = self.physical(range);
        self.loaded = bytes.iter().enumerate().map(|(at, byte)| (first.add(at as u64), *byte)).collect();
        let newest = self.flat_mut(range);
        let differ = (0..bytes.len()).filter(|at| bytes[*at] != newest[*at]);
        differ.map(|at| first.add(at as u64)).collect()
    }
}

fn address(geometry: &CacheGeometry, colour: u32, range: Range) -> VirtAddr {
    let page = range.frame * u64::from(geometry.colours()) + u64::from(colour);
    VirtAddr((page << geometry.page_shift()) + u64::from(range.offset))
}

/// What kind of program it is.
#[derive(Clone, Debug)]
pub struct Style {
    cpus: usize,
    frames: u64,
    lines: u32,
    colours: Vec<u32>,
    /// Out of 8: how often devices and uncached accesses, maintenance, and index or whole operations come up.
    past: u64,
    maintenance: u64,
    sweeps: u64,
    /// Out of 8: how often the instruction side comes up.
    code: u64,
    code_geometry: CacheGeometry,
    /// Whether accesses may be longer than a line.
    long: bool,
}

impl Style {
    /// A program that goes on for long, over several frames that compete for the cache.
    pub fn long(random: &mut Random, config: &Config) -> Self {
        let (geometry, cpus) = (&config.data.geometry, config.cpus);
        Self {
            cpus,
            // Instruction caches of several CPUs, which are not coherent, may be one to the judge.
            code: if cpus == 1 || config.maintained != Maintained::Everywhere { random.below(5) } else { 0 },
            code_geometry: config.code.geometry,
            frames: 1 + random.below(4),
            lines: 1 + random.below(3) as u32,
            colours: some_colours(random, geometry),
            past: random.below(4),
            maintenance: 1 + random.below(6),
            sweeps: random.below(4),
            long: random.chance(1, 2),
        }
    }

    /// A program of a few steps, on one line, or on two that may be met under one address.
    pub fn short(random: &mut Random, config: &Config) -> Self {
        // Two frames that are never at one address would only compete for the set, which is not judged.
        let frames = if config.data.indexing == Indexing::VivtUntagged { 2 } else { 1 };
        Self { frames, lines: 1, long: false, ..Self::long(random, config) }
    }

    /// A step of this kind. Steps of different numbers store different bytes.
    pub fn step(&self, number: u64, random: &mut Random, geometry: &CacheGeometry) -> Step {
        let cpu = random.index(self.cpus);
        let colour = self.colours[random.index(self.colours.len())];
        let op =
            [Maintenance::WriteBack, Maintenance::Invalidate, Maintenance::WriteBackInvalidate, Maintenance::WriteBackInvalidate]
                [random.index(4)];
        let range = self.range(random, geometry);
        if random.chance(self.code, 8) {
            if random.chance(self.maintenance, 12) {
                return self.drop_code(cpu, colour, range, random, geometry);
            }
            return Step::Fetch { cpu, colour, range: Range { len: range.len.min(8), ..range } };
        }
        if random.chance(self.maintenance, 8) {
            if !random.chance(self.sweeps, 8) {
                return Step::Maintain { cpu, op, colour, range: Range { len: 1, ..range } };
            }
            if random.chance(1, 4) {
                return Step::Whole { cpu, op };
            }
            let set = geometry.set(address(geometry, colour, range));
            return Step::Index { cpu, op, set, way: random.below(geometry.ways().into()) as u32 };
        }
        // Never zero, which is what memory begins with.
        let value = 1 + (number % 255) as u8;
        let path = match random.below(2) {
            _ if !random.chance(self.past, 8) => Path::Cached(colour),
            0 => Path::Uncached,
            _ => Path::Device,
        };
        match random.below(16) {
            0 => Step::Prefetch { cpu, colour, range },
            1 => Step::Update { cpu, colour, range: Range { len: range.len.min(8), ..range }, value },
            2..8 => Step::Store { cpu, path, range, value },
            _ => Step::Load { cpu, path, range },
        }
    }

    /// Some maintenance of the instruction side.
    fn drop_code(&self, cpu: usize, colour: u32, range: Range, random: &mut Random, geometry: &CacheGeometry) -> Step {
        match random.below(4) {
            0 => Step::DropCodeWhole { cpu },
            1 => {
                let set = self.code_geometry.set(address(geometry, colour, range));
                Step::DropCodeIndex { cpu, set, way: random.below(self.code_geometry.ways().into()) as u32 }
            }
            _ => Step::DropCode { cpu, colour, range: Range { len: 1, ..range } },
        }
    }

    /// Some bytes: quarters of a line, or ragged pieces, or more than a line.
    fn range(&self, random: &mut Random, geometry: &CacheGeometry) -> Range {
        let line = geometry.line();
        let frame = random.below(self.frames);
        let base = random.below(self.lines.into()) as u32 * line;
        let quarter = line / 4;
        let start = random.below(4) as u32;
        let (offset, len) = match random.below(4) {
            0 => (0, line),
            1 => {
                let offset = random.below(line.into()) as u32;
                (offset, 1 + random.below(8.min(line - offset).into()) as u32)
            }
            2 if self.long => (start * quarter, line + quarter),
            _ => (start * quarter, (1 + random.below((4 - start).into()) as u32) * quarter),
        };
        Range { frame, offset: base + offset, len }
    }
}

/// Some of the geometry's colours: few, so that they meet.
fn some_colours(random: &mut Random, geometry: &CacheGeometry) -> Vec<u32> {
    let count = 1 + random.index(4);
    (0..count).map(|_| random.below(geometry.colours().into()) as u32).collect()
}

/// The physical range of an access; `None` for everything else.
fn range_of(event: &Event) -> Option<(PhysAddr, u64)> {
    match *event {
        Event::Access { paddr, size, .. } | Event::Uncached { paddr, size, .. } | Event::Fetch { paddr, size, .. } => {
            Some((paddr, size.into()))
        }
        Event::Dma { paddr, len, .. } => Some((paddr, len)),
        _ => None,
    }
}

/// The bytes of an access.
pub fn bytes(event: &Event) -> impl Iterator<Item = PhysAddr> + use<> {
    let (first, len) = range_of(event).unwrap_or((PhysAddr(0), 0));
    (0..len).map(move |at| first.add(at))
}

/// Whether the event can be reported.
pub fn is_consumer(event: &Event) -> bool {
    range_of(event).is_some()
}

/// The same access of this one byte, if it covers it.
pub fn narrowed(event: &Event, byte: PhysAddr) -> Option<Event> {
    let (first, len) = range_of(event)?;
    let at = byte.0.checked_sub(first.0).filter(|at| *at < len)?;
    Some(match *event {
        Event::Access { kind, vaddr, site, .. } => Event::Access { kind, vaddr: vaddr.add(at), paddr: byte, size: 1, site },
        Event::Fetch { vaddr, site, .. } => Event::Fetch { vaddr: vaddr.add(at), paddr: byte, size: 1, site },
        Event::Uncached { kind, site, .. } => Event::Uncached { kind, paddr: byte, size: 1, site },
        Event::Dma { direction, site, .. } => Event::Dma { direction, paddr: byte, len: 1, site },
        other => other,
    })
}
